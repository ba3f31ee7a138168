"""Deliveries in Pagure's words: an envelope with a topic and a message, and the headers that go with it.

What is told of is rendered when it is sent, as the API would show it at that moment.
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
_send_messages = itertools.count(1)  # by this process


@formats.register_format("pagure", RENDERERS)
async def render_messages(occasion: DeliveryContext) -> list[Message]:
    """Raises NotFound when what it is about is gone, and GitError when git cannot tell."""
    event, base = occasion.event, occasion.settings.url
    project = await _project(occasion)
    if event["type"] == "ping":
        said = [PING]
    elif project is None or event["type"] not in RENDERERS:
        return []
    else:
        root = occasion.settings.repositories
        said = await RENDERERS[event["type"]](
            HookContext(db=occasion.db, base=base, root=root, event=event, project=project)
        )
    about = paths.fullname(project) if project else None
    return [_message(occasion, n, topic, msg, about) for n, (topic, msg) in enumerate(said)]


async def _project(occasion: DeliveryContext) -> Mapping[str, Any] | None:
    """What the event is about; of a ping, what the subscription is about."""
    if occasion.gone is not None:
        return {**occasion.gone, "line": await projects.list_ancestors(occasion.db, occasion.gone["ancestors"])}
    if occasion.event["type"] != "ping":
        told = occasion.event["project"]
        return None if told is None else dict(await projects.by_id(occasion.db, told["id"]))
    if occasion.project_id is not None:
        with suppress(NotFound):
            return dict(await projects.by_id(occasion.db, occasion.project_id))
    return None


def _message(occasion: DeliveryContext, n: int, topic: str, msg: Mapping[str, Any], about: str | None) -> Message:
    event, base = occasion.event, occasion.settings.url
    at = datetime.fromisoformat(event["at"])
    injected = {"pagure_instance": base, "project_fullname": about}
    # The same for every attempt: receivers tell repetitions by it.
    name = uuid.UUID(bytes=uuid.uuid5(occasion.delivery_id, str(n)).bytes, version=4)
    envelope = {
        "topic": topic,
        "timestamp": int(at.timestamp()),
        "msg_id": f"{at.year}-{name}",
        "i": next(_send_messages),
    }
    body = _encode({**envelope, "msg": {**msg, **injected}})
    if len(body) > MAX_BODY:
        thin = {"agent": msg.get("agent"), "link": f"{base}/v1/events/{event['seq']}"}
        body = _encode({**envelope, "msg": {**thin, **injected}})
    headers = {"X-Pagure": base, "X-Pagure-Topic": topic, **signing.sign_pagure(occasion.secret, body)}
    return Message(body, headers=headers if about is None else {**headers, "X-Pagure-Project": about})


def _encode(envelope: Mapping[str, Any]) -> bytes:
    """As Pagure writes it: sorted keys, blanks after commas and colons, nothing but ASCII."""
    return json.dumps(envelope, sort_keys=True).encode()
