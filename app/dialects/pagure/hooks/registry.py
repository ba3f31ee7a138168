"""An event with all that is needed to tell it in Pagure's words, and who tells which."""

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
    """`event` is as the feed shows it, `project` the row of its project, `root` where repositories lie."""

    db: Database
    base: str
    root: Path
    event: Mapping[str, Any]
    project: Row

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.event["data"]
        return data

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
        """The project and who did it."""
        return {"project": render.project(self.base, self.project), **self.agent}


Renderer = Callable[[HookContext], Awaitable[list[Rendered]]]
RENDERERS: dict[str, Renderer] = {}


def renders(*types: str) -> Callable[[Renderer], Renderer]:
    """Register what tells events of these types: the messages that each is, several or none."""

    def register(teller: Renderer) -> Renderer:
        for type in types:
            RENDERERS[type] = teller
        return teller

    return register
