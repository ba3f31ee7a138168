"""Event and Fact: what may happen, and that it did."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

TYPES: dict[str, "type[Event]"] = {}


class Event:
    """Something that can happen. Subclasses are frozen dataclasses of plain JSON values.

    `type` is the name the world knows it by, dotted and in the past tense.
    `decides` says that it changes what may be decided about its project, so that a
    command that was weighed against the old state is weighed again.
    `takes_number` says that its field `number` is the next one of its project. It is handed out behind the project's
    row lock while the event is stored; until then it is 0, and the stream's name ends before it.
    `outlives_project` says that it may happen when its project is gone already.
    """

    type: ClassVar[str]
    decides: ClassVar[bool] = False
    takes_number: ClassVar[bool] = False
    outlives_project: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, type: str, decides: bool = False, takes_number: bool = False, outlives_project: bool = False
    ) -> None:
        cls.type = type
        cls.decides = decides
        cls.takes_number = takes_number
        cls.outlives_project = outlives_project
        TYPES[type] = cls

    @property
    def stream(self) -> str:
        """The story this event continues; versions count within it. Every event names its own."""
        raise TypeError(f"{type(self).__name__} names no stream")

    @property
    def project(self) -> int | None:
        """The project whose story this is part of."""
        return getattr(self, "project_id", None)


@dataclass(frozen=True)
class Fact:
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
