"""What git's own hooks look at before a push moves anything: the commits it brings, while they are in quarantine.

The hooks (`hooks/`) are the program's, not a repository's, and know of a push what their environment says. A push that
nothing is demanded of runs none.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

HOOKS = Path(__file__).with_name("hooks")
EVERY_BRANCH = "*"


@dataclass(frozen=True)
class CommitRequirements:
    """`forward` are the names of branches that only move forward, or EVERY; `signed` asks for sign-offs."""

    forward: frozenset[str] = frozenset()
    signed: bool = False

    def __bool__(self) -> bool:
        return bool(self.forward) or self.signed

    def only_forward(self, branch: str) -> bool:
        return EVERY_BRANCH in self.forward or branch in self.forward


NO_REQUIREMENTS = CommitRequirements()


class Fault(StrEnum):
    """In the words of the hook."""

    NOT_FORWARD = "not-forward"
    UNSIGNED = "unsigned"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    fault: Fault
    commit: str = ""


class HookSession:
    """What receive-pack has to be started with, and what the hooks have found when it has ended."""

    def __init__(self, file: Path, demands: CommitRequirements, atomic: bool) -> None:
        self._file = file
        self.config = {"core.hooksPath": str(HOOKS.resolve())}
        names = EVERY_BRANCH if EVERY_BRANCH in demands.forward else f" {' '.join(sorted(demands.forward))} "
        self.variables = {
            "POLYFORGE_VERDICTS": str(file),
            "POLYFORGE_FORWARD": names,
            "POLYFORGE_SIGNED": "1" if demands.signed else "",
            "POLYFORGE_ATOMIC": "1" if atomic else "",
        }

    def verdicts(self) -> dict[bytes, Verdict]:
        """Of each ref that was declined."""
        found = {}
        for line in self._file.read_bytes().splitlines():
            ref, fault, *commit = line.split(b" ")
            found[ref] = Verdict(Fault(fault.decode()), b"".join(commit).decode())
        return found


def are_hooks_executable() -> bool:
    """Whether git can run the hooks: those that it may not execute it leaves out without a word."""
    return all(os.access(HOOKS / name, os.X_OK) for name in ("pre-receive", "update"))


@contextmanager
def run_hooks(demands: CommitRequirements, *, atomic: bool) -> Iterator[HookSession]:
    """For one push."""
    with tempfile.NamedTemporaryFile(prefix="polyforge-verdicts-") as file:
        yield HookSession(Path(file.name), demands, atomic)
