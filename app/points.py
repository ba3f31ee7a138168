"""Named points of the write path, at which a process can be stopped, to see what happens if it dies or freezes there.

They do nothing unless the process was started with the variable POLYFORGE_POINTS, the name of a folder. Then a process
that reaches a point, and finds a file named like it there, renames that file to `<name>.<process id>` and stops itself
(SIGSTOP): all of its threads, at this very line. Whoever made the file can now kill the process, or take away what it
needs and let it go on (SIGCONT). The files are for one process each. `tests/promises/points.py` does all that.

A file may also be named `<point>@<detail>`, to stop only at that command, reaction or event.
"""

import os
import signal
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

VARIABLE = "POLYFORGE_POINTS"
FOLDER = os.environ.get(VARIABLE)


class Point(StrEnum):
    """Each says what has happened when it is reached."""

    # A command of a request. The detail is its kind.
    COMMAND_DECIDED = "command.decided"  # nothing is stored
    COMMAND_STORED = "command.stored"  # its events are committed, the client has no answer
    KEY_CLAIMED = "key.claimed"  # the idempotency key is taken, nothing else has happened
    KEY_ANSWERED = "key.answered"  # there is an answer, neither kept nor sent

    # A push, in the order of its steps.
    PUSH_ADVERTISED = "push.advertised"  # the client has read the refs
    PUSH_STARTED = "push.started"  # receive-pack runs and has read nothing
    PUSH_IN_HOOK = "push.pre-receive"  # the objects are in quarantine; the hook is what stops, not the API
    PUSH_HANDED_OVER = "push.handed-over"  # the objects are checked, the refs are for the forge to move
    PUSH_REPORTED = "push.reported"  # all is done, the client has no answer

    # Whatever moves refs: pushes, merges, changes of branches.
    REFS_LOCKED = "refs.locked"  # the lock is taken, no row in `open_pushes` says so
    REFS_OPENED = "refs.opened"  # the row is there, nothing has moved
    REFS_MOVED = "refs.moved"  # the refs have moved, the log does not know
    REFS_RECORDED = "refs.recorded"  # the log knows, the row is still there
    REFS_CLOSED = "refs.closed"  # the row is gone, the lock is still held
    REFS_FINISHING = "refs.finishing"  # another process is about to record what one that died has moved

    # Work. The detail is the name of the reaction.
    WORK_CLAIMED = "work.claimed"  # the lease is taken
    WORK_DONE = "work.done"  # the reaction has run, its answers are not stored
    WORK_SETTLING = "work.settling"  # they are, in a transaction that is not committed
    WORK_SETTLED = "work.settled"  # it is committed, nobody has been told
    REPOSITORY_STAGED = "repository.staged"  # a new repository is complete, but not in its place
    REPOSITORY_PLACED = "repository.placed"  # it is in its place, and no event says so
    MERGE_COPIED = "merge.copied"  # the target has the commits of the pull request, its branch has not moved

    # The relay.
    RELAY_NUMBERING = "relay.numbering"  # it leads and is about to number events
    RELAY_NUMBERED = "relay.numbered"  # events have their numbers, and nobody has been told

    # Deliveries. The detail is the type of the event.
    DELIVERY_CLAIMED = "delivery.claimed"  # the lane is claimed; there is no detail yet
    DELIVERY_SENDING = "delivery.sending"  # the message is about to be sent
    DELIVERY_SENT = "delivery.sent"  # the receiver has answered, and that is not recorded
    DELIVERY_RECORDED = "delivery.recorded"  # it is recorded


def reach(point: Point, detail: str = "") -> None:
    """Stop this process here if someone has asked for that."""
    if FOLDER is not None:
        _stop_if_asked(Path(FOLDER), point, detail)


def _stop_if_asked(folder: Path, point: Point, detail: str) -> None:
    for name in (point, f"{point}@{detail}"):
        with suppress(FileNotFoundError):
            (folder / name).rename(folder / f"{name}.{os.getpid()}")
            os.kill(os.getpid(), signal.SIGSTOP)
