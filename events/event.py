"""Event types and stored events."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

TYPES: dict[str, "type[Event]"] = {}


class Event:
    """Base class of all event types. Subclasses are frozen dataclasses of plain JSON values.

    `event_type` is the public name, dotted and in the past tense; it is kept as `type`.
    `stream` is the name of the stream that the event belongs to, with fields of the event in braces; versions count
    within a stream.
    `takes_number` means that the field `number` is the next number of the project. It is assigned under the project's
    row lock while the event is stored; until then it is 0, and the stream's name ends before it.
    `outlives_project` means that the event may be stored after its project was deleted.
    `batched` means that several of these events, from one command, are stored by one statement: no two of them may
    belong to one stream or write the same row.
    """

    type: ClassVar[str]
    stream_template: ClassVar[str]
    takes_number: ClassVar[bool] = False
    outlives_project: ClassVar[bool] = False
    batched: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        event_type: str,
        stream: str,
        takes_number: bool = False,
        outlives_project: bool = False,
        batched: bool = False,
    ) -> None:
        cls.type = event_type
        cls.stream_template = stream
        cls.takes_number = takes_number
        cls.outlives_project = outlives_project
        cls.batched = batched
        TYPES[event_type] = cls

    @property
    def stream(self) -> str:
        """The name of the stream, without a number that is not assigned yet."""
        values = dict(vars(self))
        if self.takes_number:
            values["number"] = values["number"] or ""
        return self.stream_template.format_map(values)

    @property
    def project(self) -> int | None:
        """The id of the project that the event is about, or None."""
        return getattr(self, "project_id", None)


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is stored in the log. `seq` is 0 until the event is numbered."""

    seq: int
    position: int
    id: UUID
    stream: str
    version: int
    type: str
    data: dict[str, Any]
    actor: str
    project_id: int | None
    command_id: UUID
    cause: int | None
    request: str
    at: datetime

    @property
    def event(self) -> Event:
        """The event as an instance of its current class; fields that no longer exist are dropped."""
        cls = TYPES[self.type]
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in self.data.items() if key in known})
