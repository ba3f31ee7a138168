"""Projections: the SQL that writes the read tables, registered by event type.

A projection is the text of one data-modifying statement that reads the event from a relation named `event` (a row of
the table `events`). The same text is used twice: as a common table expression of the statement that appends the event,
and in a rebuild, over the event read back from the log. So there is only one way to write a row.

The statements of one event run on one snapshot, so no two of them may write the same row.

An event that changes what commands on its project depend on sets the project's `revision`. A command that was decided
on the old state then conflicts and is decided again.
"""

from collections.abc import Callable
from importlib import import_module

from events.event import TYPES, Event

PROJECTIONS: dict[str, list[str]] = {}
NOUNS = (
    "users",
    "groups",
    "projects",
    "repositories",
    "issues",
    "boards",
    "pull_requests",
    "activity",
    "subscriptions",
    "tasks",
)


def projection(*events: type[Event]) -> Callable[[str], str]:
    """Register a statement for these events. At most one statement of an event returns the row that it wrote."""

    def register(statement: str) -> str:
        for event in events:
            PROJECTIONS.setdefault(event.type, []).append(statement.strip())
        return statement

    return register


def projection_sql(event_type: str) -> tuple[str, str | None]:
    """The projections of this type as common table expressions, and the name of the one that returns the row."""
    statements = PROJECTIONS.get(event_type, [])
    parts = [f",\nprojection_{index} as (\n{statement}\n)" for index, statement in enumerate(statements)]
    returning = next((f"projection_{index}" for index, each in enumerate(statements) if "returning" in each), None)
    return "".join(parts), returning


for noun in NOUNS:
    import_module(f"events.projections.{noun}")

unknown_types = PROJECTIONS.keys() - TYPES.keys()
assert not unknown_types, unknown_types  # noqa: S101 - a misspelt type would silently project nothing
