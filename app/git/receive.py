"""Git hooks of a push. `pre-receive` checks the commits while their objects are in quarantine, before any ref moves;
`proc-receive` passes the ref changes to the forge.

The hooks are files of this package (`hooks/`), not of a repository, and get what they need to know from environment
variables.
"""

import os
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app import points

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
    """Configuration and environment for one run of receive-pack, and the verdicts of `pre-receive`."""

    def __init__(self, requirements: CommitRequirements, *, atomic: bool) -> None:
        self._file = None
        if requirements:
            self._file = tempfile.NamedTemporaryFile(prefix="polyforge-verdicts-")  # noqa: SIM115 - closed by `close`
        self.config = {"core.hooksPath": str(HOOKS.resolve()), "receive.procReceiveRefs": "refs"}
        names = f" {' '.join(sorted(requirements.forward))} " if requirements.forward else ""
        self.variables = {
            "POLYFORGE_VERDICTS": self._file.name if self._file else "",
            "POLYFORGE_FORWARD": EVERY_BRANCH if EVERY_BRANCH in requirements.forward else names,
            "POLYFORGE_SIGNED": "1" if requirements.signed else "",
            "POLYFORGE_ATOMIC": "1" if atomic else "",
            points.VARIABLE: points.FOLDER or "",
        }

    def close(self) -> None:
        """Remove the file of the verdicts."""
        if self._file:
            self._file.close()

    def verdicts(self) -> dict[bytes, Verdict]:
        """Read the verdicts on the declined refs, by ref."""
        by_ref = {}
        for line in Path(self._file.name).read_bytes().splitlines() if self._file else []:
            ref, fault, *commit = line.split(b" ")
            by_ref[ref] = Verdict(Fault(fault.decode()), b"".join(commit).decode())
        return by_ref


def are_hooks_executable() -> bool:
    """Return whether git can run the hooks: it silently skips those that are not executable."""
    names = ("pre-receive", "proc-receive", "refs/reference-transaction")
    return all(os.access(HOOKS / name, os.X_OK) for name in names)
