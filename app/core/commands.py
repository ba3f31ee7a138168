"""Commands, their handlers, and their execution: decide, then store the events.

A handler decides on rows that were read without a lock. One statement then stores the events after checking, under the
project's row lock, that nothing the decision rested on has changed (`events/log.py`); if it has, the handler is called
again. So a command costs one read and one write, and holds no lock while Python runs.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID
from weakref import WeakValueDictionary

import orjson

from app.actor import Actor
from app.core.access import ACTIONS, authorize
from app.core.instance_policy import STRICTEST, InstancePolicy
from app.database import Database
from app.errors import Conflict, Refused, Subject
from app.logs import log
from app.metrics import COMMANDS
from app.points import Point, reach
from app.queries import projects
from app.stores.idempotency_keys import HeldKey, keep_outcome
from events.event import TYPES, Event
from events.log import CommandRepeated, VersionConflict
from events.record import NewEvent, Recorded, record

MAX_TRIES = 50


class Command:
    """Base class of commands, which are frozen dataclasses.

    `kind` is the name in kebab case, as tasks and the audit trail show it. `single_try` is for commands that record
    what has happened already, so that calling the handler again cannot make them fit. `shows_secret` is for commands
    whose reply contains a secret that cannot be shown again.
    """

    kind: ClassVar[str]
    makes_project: ClassVar[bool] = False
    single_try: ClassVar[bool] = False
    shows_secret: ClassVar[bool] = False

    def __init_subclass__(
        cls, makes_project: bool = False, single_try: bool = False, shows_secret: bool = False
    ) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
        cls.makes_project = makes_project
        cls.single_try = single_try
        cls.shows_secret = shows_secret


class CommandContext:
    """What a handler decides with. It remembers the revision of the project that the decision rests on."""

    def __init__(
        self, db: Database, actor: Actor, seen: Mapping[str, Any] | None, policy: InstancePolicy = STRICTEST
    ) -> None:
        self.db = db
        self.actor = actor
        self.policy = policy
        self.revision: int | None = None
        self.seen = seen

    async def project(self, project_id: int) -> Mapping[str, Any]:
        """The project's row; the decision holds only while its revision stays."""
        row = self.seen
        if row is None or row["project_id"] != project_id:
            row = await projects.by_id(self.db, project_id)
        self.seen, self.revision = row, row["revision"]
        return row


@dataclass(frozen=True)
class Outcome:
    """The result of a command. `command_id` is also the id of the task, if the command started one."""

    command_id: UUID
    recorded: list[Recorded]
    events: list[Event]

    def to_json(self) -> dict[str, Any]:
        """Everything but the id, as JSON values."""
        stored = zip(self.recorded, self.events, strict=True)
        return {
            "events": [
                {"position": each.position, "at": each.at, "row": each.row, "type": event.type, "data": event}
                for each, event in stored
            ]
        }

    @classmethod
    def from_json(cls, command_id: UUID, kept: Mapping[str, Any]) -> "Outcome":
        """Read what `to_json` has written."""
        return cls(
            command_id,
            [Recorded(each["position"], datetime.fromisoformat(each["at"]), each["row"]) for each in kept["events"]],
            [TYPES[each["type"]](**each["data"]) for each in kept["events"]],
        )

    @property
    def row(self) -> dict[str, Any]:
        """The row that the first event created or changed."""
        row = self.recorded[0].row
        assert row is not None  # noqa: S101 - asked only of events whose projection returns one
        return row

    def project(self, seen: Mapping[str, Any]) -> Mapping[str, Any]:
        """The project as it is now, with the columns that `seen` had besides the row's own."""
        return {**seen, **self.row} if self.recorded else seen


C = TypeVar("C", bound=Command)
Handler = Callable[[CommandContext, Any], Awaitable[list[NewEvent]]]
HANDLERS: dict[type[Command], Handler] = {}
_project_locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()


def handles(kind: type[C]) -> Callable[[Callable[[CommandContext, C], Awaitable[list[NewEvent]]]], Handler]:
    def register(handler: Callable[[CommandContext, C], Awaitable[list[NewEvent]]]) -> Handler:
        HANDLERS[kind] = cast(Handler, handler)
        return HANDLERS[kind]

    return register


async def execute(
    db: Database,
    actor: Actor,
    command: Command,
    *,
    command_id: UUID,
    request: str = "",
    action: str | None = None,
    seen: Mapping[str, Any] | None = None,
    policy: InstancePolicy = STRICTEST,
    key: HeldKey | None = None,
) -> Outcome:
    """Decide on a command and store its events: all of them or none. Raises Refused.

    `action` is what the caller declared to do (`access.ACTIONS`): it is checked against the rows that the decision
    rests on before anything is stored. None is for the forge's own commands. `seen` is the project's row if the caller
    has just read it, which saves the handler a round trip. Without a `policy` the strictest one holds, which allows
    nothing that the settings may switch off. `key` is the idempotency key that the request holds: a command that an
    earlier attempt has carried out is not decided on again, and has the outcome that it had then.
    """
    if key is not None and key.outcome is not None:
        if key.outcome["kind"] != command.kind:  # a reply is rendered from the outcome of its own command only
            raise Conflict(Subject.COMMAND_REPEATED)
        return Outcome.from_json(command_id, key.outcome)
    started = time.perf_counter()
    try:
        outcome = await _execute(db, actor, command, command_id, request, action, seen, policy, key)
    except Refused as no:
        COMMANDS.labels(command.kind, "refused").observe(time.perf_counter() - started)
        log.info("command", command=command.kind, actor=actor.username, refused=str(no.subject))
        raise
    seconds = time.perf_counter() - started
    COMMANDS.labels(command.kind, "accepted").observe(seconds)
    log.info("command", command=command.kind, actor=actor.username, id=str(command_id), ms=round(seconds * 1000, 1))
    return outcome


async def _execute(
    db: Database,
    actor: Actor,
    command: Command,
    command_id: UUID,
    request: str,
    action: str | None,
    seen: Mapping[str, Any] | None,
    policy: InstancePolicy,
    key: HeldKey | None,
) -> Outcome:
    body = (command.kind, orjson.dumps(command))
    async with AsyncExitStack() as stack:
        project_id = getattr(command, "project_id", None)
        if project_id is not None:
            # Commands on one project take turns here, where waiting holds no connection, instead of in the database.
            await stack.enter_async_context(_project_locks.setdefault(project_id, asyncio.Lock()))
        for attempt in range(1 if command.single_try else MAX_TRIES):
            ctx = CommandContext(db, actor, seen if attempt == 0 else None, policy)
            events = await HANDLERS[type(command)](ctx, command)
            if action is not None:
                if ACTIONS[action].level is not None and ctx.seen is None:
                    raise LookupError(f"{command.kind} decided on {action} without reading the project")
                authorize(actor, action, ctx.seen)
            if not events:
                return Outcome(command_id, [], [])
            reach(Point.COMMAND_DECIDED, command.kind)
            try:
                async with db.acquire() as connection:
                    keeps = key is not None and not command.shows_secret
                    async with connection.transaction() if keeps else nullcontext():
                        recorded = await record(
                            connection,
                            body,
                            events,
                            command_id=command_id,
                            actor=actor.username,
                            request=request,
                            revision=ctx.revision,
                            anchored=not command.makes_project,
                        )
                        outcome = Outcome(command_id, recorded, [each.event for each in events])
                        if keeps:
                            kept = {"kind": command.kind, **outcome.to_json()}
                            await keep_outcome(connection, command_id, kept, ctx.seen)
                reach(Point.COMMAND_STORED, command.kind)
                return outcome
            except VersionConflict:
                await asyncio.sleep(0.001 * min(attempt, 10))
            except CommandRepeated:
                raise Conflict(Subject.COMMAND_REPEATED) from None
    raise Conflict(Subject.CONTENTION)
