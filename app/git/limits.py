"""What git processes may use, by kind of work.

A limit of memory or CPU time ends the process; waiting time and output are counted by the code that reads from it.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

from app.config import Settings
from app.config.types import GitLimits
from app.git import durability

MAPPED_PACKS = 1 << 30  # bytes of address space for packs, which are mapped and do not count as memory
CPU_GRACE = 1  # seconds of CPU time between SIGXCPU and SIGKILL


class Work(StrEnum):
    """Kinds of work, each with a setting `git_<kind>`."""

    READ = "read"
    CHANGE = "change"
    FETCH = "fetch"
    PUSH = "push"
    MIRROR = "mirror"


# What git keeps in memory or maps for speed must fit into the limits, whatever the number of processors.
CONFIG = {
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "core.bigFileThreshold": "64m",
    "core.deltaBaseCacheLimit": "64m",
    "pack.threads": str(min(os.cpu_count() or 1, 4)),
    "pack.windowMemory": "256m",
}
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}  # each arena of glibc reserves 64 MiB of address space

_settings = [Settings.model_construct()]


@contextmanager
def using_settings(settings: Settings) -> Iterator[None]:
    """Take from these settings the limits of all git processes of this program, and whether it waits for the disk."""
    _settings.append(settings)
    try:
        with durability.syncing_as_set(settings):
            yield
    finally:
        _settings.remove(settings)


def current_settings() -> Settings:
    return _settings[-1]


def limits_of(work: Work) -> GitLimits:
    limits: GitLimits = getattr(current_settings(), f"git_{work}")
    return limits


def limit(pid: int, work: Work) -> None:
    """Limit the memory and the CPU time of a process that has just been started, and of those that it will start.

    Not by a program in front of git: each one that is executed costs a millisecond or two.
    """
    limits = limits_of(work)
    values = {
        resource.RLIMIT_DATA: (limits.memory, limits.memory),
        resource.RLIMIT_AS: (limits.memory + MAPPED_PACKS,) * 2,
        resource.RLIMIT_CPU: (limits.cpu, limits.cpu + CPU_GRACE),
        resource.RLIMIT_CORE: (0, 0),
    }
    with suppress(ProcessLookupError):  # it has ended already
        for kind, (soft, hard) in values.items():
            _, highest = resource.prlimit(pid, kind)
            if highest == resource.RLIM_INFINITY:
                highest = hard
            resource.prlimit(pid, kind, (min(soft, highest), min(hard, highest)))
