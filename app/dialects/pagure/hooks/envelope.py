"""Web hook deliveries in Pagure's format: an envelope with a topic and a message, and its headers.

The subject of the event is rendered when the delivery is sent: issues, pull requests and flags as they were right after
the event, their project as the API would show it then.
"""

import itertools
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from app.core import paths
from app.dialects.pagure.hooks import git_topics, topics
from app.dialects.pagure.hooks.registry import RENDERERS, HookContext, Rendered
from app.errors import NotFound
from app.feed import formats, signing
from app.feed.formats import MAX_BODY, DeliveryContext, Message
from app.queries import projects

__all__ = ["git_topics", "topics"]

PING: Rendered = ("Test.notification", {"content": "Test message"})
_message_counter = itertools.count(1)  # of this process


@formats.register_format("pagure", RENDERERS)
async def render_messages(delivery: DeliveryContext) -> list[Message]:
    """Render the messages of an event. Raises NotFound if its subject is deleted, or GitError."""
    event, base = delivery.event, delivery.settings.url
    project = await _find_project(delivery)
    if event["type"] == "ping":
        rendered = [PING]
    elif project is None or event["type"] not in RENDERERS:
        return []
    else:
        root = delivery.settings.repositories
        rendered = await RENDERERS[event["type"]](
            HookContext(db=delivery.db, base=base, root=root, event=event, data=delivery.data, project=project)
        )
    fullname = paths.fullname(project) if project else None
    return [_build_message(delivery, n, topic, msg, fullname) for n, (topic, msg) in enumerate(rendered)]


async def _find_project(delivery: DeliveryContext) -> Mapping[str, Any] | None:
    """Find the project of the event, or the project of the subscription for a ping. That of a deleted project is in
    the event.
    """
    if (kept := delivery.data.get("snapshot")) is not None:
        return dict(kept)
    if delivery.gone is not None:
        return {**delivery.gone, "line": await projects.list_ancestors(delivery.db, delivery.gone["ancestors"])}
    if delivery.event["type"] != "ping":
        project = delivery.event["project"]
        return None if project is None else dict(await projects.by_id(delivery.db, project["id"]))
    if delivery.project_id is not None:
        with suppress(NotFound):
            return dict(await projects.by_id(delivery.db, delivery.project_id))
    return None


def _build_message(
    delivery: DeliveryContext, n: int, topic: str, msg: Mapping[str, Any], fullname: str | None
) -> Message:
    event, base = delivery.event, delivery.settings.url
    at = datetime.fromisoformat(event["at"])
    injected = {"pagure_instance": base, "project_fullname": fullname}
    # The same for every attempt, so that receivers recognize repetitions.
    message_id = uuid.UUID(bytes=uuid.uuid5(delivery.delivery_id, str(n)).bytes, version=4)
    envelope = {
        "topic": topic,
        "timestamp": int(at.timestamp()),
        "msg_id": f"{at.year}-{message_id}",
        "i": next(_message_counter),
    }
    body = _encode({**envelope, "msg": {**msg, **injected}})
    if len(body) > MAX_BODY:
        summary = {"agent": msg.get("agent"), "link": f"{base}/v1/events/{event['seq']}"}
        body = _encode({**envelope, "msg": {**summary, **injected}})
    headers = {"X-Pagure": base, "X-Pagure-Topic": topic, **signing.sign_pagure(delivery.secret, body)}
    return Message(body, headers=headers if fullname is None else {**headers, "X-Pagure-Project": fullname})


def _encode(envelope: Mapping[str, Any]) -> bytes:
    """Encode as Pagure does: sorted keys, spaces after commas and colons, ASCII only."""
    return json.dumps(envelope, sort_keys=True).encode()
