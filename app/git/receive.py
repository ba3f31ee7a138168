"""Git hooks that check the commits of a push while its objects are in quarantine, before any ref moves.

The hooks are files of this package (`hooks/`), not of a repository, and get what they need to know from environment
variables. A push to a project without requirements runs no hook.
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
    """`forward` holds the branches that accept fast-forwards only, or EVERY_BRANCH; `signed` requires sign-offs."""

    forward: frozenset[str] = frozenset()
    signed: bool = False

    def __bool__(self) -> bool:
        return bool(self.forward) or self.signed

    def only_forward(self, branch: str) -> bool:
        return EVERY_BRANCH in self.forward or branch in self.forward


NO_REQUIREMENTS = CommitRequirements()


class Fault(StrEnum):
    """Reasons to decline a ref, as written by the hook."""

    NOT_FORWARD = "not-forward"
    UNSIGNED = "unsigned"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    fault: Fault
    commit: str = ""


class HookSession:
    """Configuration and environment for one run of receive-pack, and the verdicts of its hooks once it has ended."""

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
        """Read the verdicts on the declined refs, by ref."""
        by_ref = {}
        for line in self._file.read_bytes().splitlines():
            ref, fault, *commit = line.split(b" ")
            by_ref[ref] = Verdict(Fault(fault.decode()), b"".join(commit).decode())
        return by_ref


def are_hooks_executable() -> bool:
    """Return whether git can run the hooks: it silently skips those that are not executable."""
    return all(os.access(HOOKS / name, os.X_OK) for name in ("pre-receive", "update"))


@contextmanager
def run_hooks(demands: CommitRequirements, *, atomic: bool) -> Iterator[HookSession]:
    """Prepare the hooks for one push."""
    with tempfile.NamedTemporaryFile(prefix="polyforge-verdicts-") as file:
        yield HookSession(Path(file.name), demands, atomic)
