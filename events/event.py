"""Event and Fact: what may happen, and that it did."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

TYPES: dict[str, "type[Event]"] = {}


class Event:
    """Something that can happen. Subclasses are frozen dataclasses of plain JSON values.

    `type` is the name the world knows it by, dotted and in the past tense.
    `stream` is the name of the story that it continues, with its own fields in braces; versions count within it.
    `takes_number` says that its field `number` is the next one of its project. It is handed out behind the project's
    row lock while the event is stored; until then it is 0, and the stream's name ends before it.
    `outlives_project` says that it may happen when its project is gone already.
    """

    type: ClassVar[str]
    stream_template: ClassVar[str]
    takes_number: ClassVar[bool] = False
    outlives_project: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, type: str, stream: str, takes_number: bool = False, outlives_project: bool = False
    ) -> None:
        cls.type = type
        cls.stream_template = stream
        cls.takes_number = takes_number
        cls.outlives_project = outlives_project
        TYPES[type] = cls

    @property
    def stream(self) -> str:
        """The story's name as far as it is known: without a number that is still to be handed out."""
        told = vars(self)
        return self.stream_template.format_map({**told, "number": told["number"] or ""} if self.takes_number else told)

    @property
    def project(self) -> int | None:
        """The project whose story this is part of."""
        return getattr(self, "project_id", None)


@dataclass(frozen=True)
class StoredEvent:
    """An event that did happen, as the log holds it. `seq` is 0 until it has been numbered."""

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
        """The event as today's code knows it; fields that are gone are left out."""
        cls = TYPES[self.type]
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in self.data.items() if key in known})
