"""What git processes may use, by kind of work.

A limit of memory or CPU time ends the process; waiting time and output are counted by the code that reads from it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from app.config import Settings
from app.config.types import GitLimits
from app.git import durability

PRLIMIT = shutil.which("prlimit")
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


def limiting_command(work: Work) -> list[str]:
    """Return a command prefix that limits the memory and the CPU time of a program and of those that it starts."""
    limits = limits_of(work)
    space, killed_at = limits.memory + MAPPED_PACKS, limits.cpu + CPU_GRACE
    if PRLIMIT is None:
        kibibytes = (limits.memory >> 10, space >> 10)
        script = 'ulimit -c 0; ulimit -d {}; ulimit -v {}; ulimit -H -t {}; ulimit -S -t {}; exec "$@"'
        return ["sh", "-c", script.format(*kibibytes, killed_at, limits.cpu), "sh"]
    return [PRLIMIT, f"--data={limits.memory}", f"--as={space}", f"--cpu={limits.cpu}:{killed_at}", "--core=0"]
