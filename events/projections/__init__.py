"""The only code that writes read tables: for each type of event, the SQL that folds it in.

A projection is the text of one data-modifying statement that reads the event from a relation
named `event` (a row of the table `events`). The same text serves twice: while an event is being
recorded, as a common table expression of the statement that appends it, and in a rebuild, over the
event read back from the log. So there is no second way to write a row.

The statements of one event run on one snapshot, so no two of them may write the same row.

An event that changes what may be decided about its project sets the project's `revision`, so that a command that was
weighed against the old state is weighed again.
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
    """Register a statement for these events. At most one of an event's statements returns the row it made."""

    def register(statement: str) -> str:
        for event in events:
            PROJECTIONS.setdefault(event.type, []).append(statement.strip())
        return statement

    return register


def projection_sql(type: str) -> tuple[str, str | None]:
    """The projections of this type as common table expressions, and the name of the one that returns the row."""
    statements = PROJECTIONS.get(type, [])
    parts = [f",\nprojection_{n} as (\n{statement}\n)" for n, statement in enumerate(statements)]
    returning = next((f"projection_{n}" for n, each in enumerate(statements) if "returning" in each), None)
    return "".join(parts), returning


for noun in NOUNS:
    import_module(f"events.projections.{noun}")

unprojected = PROJECTIONS.keys() - TYPES.keys()
assert not unprojected, unprojected  # noqa: S101 - a misspelt type would silently project nothing
