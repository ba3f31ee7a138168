"""The published schemas of Pagure's messages, by topic (the package pagure-messages)."""

from importlib.metadata import entry_points
from typing import Any

import jsonschema

PREFIX = "pagure."
UNPUBLISHED = {"request.assigned.added", "request.assigned.reset"}  # Pagure sends these too, without a schema


def load_schemas() -> dict[str, list[Any]]:
    """Load the schemas of each topic; one topic may have several versions."""
    found: dict[str, list[Any]] = {}
    for entry in entry_points(group="fedora.messages"):
        if entry.module.startswith("pagure_messages"):
            message = entry.load()
            found.setdefault(message.topic.removeprefix(PREFIX), []).append(message.body_schema)
    return found


SCHEMAS = load_schemas()


def validate(topic: str, body: Any) -> None:
    """Check a message against the schemas of its topic, one of which must fit. Raises ValidationError."""
    if topic in UNPUBLISHED:
        return
    failures = []
    for schema in SCHEMAS[topic]:
        try:
            jsonschema.validate(body, schema)
        except jsonschema.ValidationError as failure:
            failures.append(failure)
        else:
            return
    raise failures[-1]
