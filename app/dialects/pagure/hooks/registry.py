"""The registry of functions that render events as messages of Pagure's web hooks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.database import Database
from app.dialects.pagure import render

Rendered = tuple[str, dict[str, Any]]  # a topic and its message
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class HookContext:
    """What a renderer needs.

    `event` has the form of the feed, `data` are all fields of the event, `root` is the directory of the repositories.
    """

    db: Database
    base: str
    root: Path
    event: Mapping[str, Any]
    data: Mapping[str, Any]
    project: Row

    @property
    def seq(self) -> int:
        seq: int = self.event["seq"]
        return seq

    @property
    def project_id(self) -> int:
        project_id: int = self.project["project_id"]
        return project_id

    @property
    def agent(self) -> dict[str, Any]:
        return {"agent": self.event["actor"]}

    @property
    def about(self) -> dict[str, Any]:
        """The project and the agent."""
        return {"project": render.project(self.base, self.project), **self.agent}


Renderer = Callable[[HookContext], Awaitable[list[Rendered]]]
RENDERERS: dict[str, Renderer] = {}


def renders(*types: str) -> Callable[[Renderer], Renderer]:
    """Register the renderer of these event types. It returns any number of messages for an event."""

    def register(renderer: Renderer) -> Renderer:
        for event_type in types:
            RENDERERS[event_type] = renderer
        return renderer

    return register
