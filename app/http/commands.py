"""Execute commands and move refs on behalf of a request."""

import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import commands
from app.core.commands import Command, Outcome
from app.core.instance_policy import InstancePolicy
from app.core.pushes import RefWriter
from app.http.keys import ACTION, DATABASE, HELD_KEY, REQUEST_ID, SETTINGS, TAIL


async def execute(
    request: web.Request, actor: Actor, command: Command, *, seen: Mapping[str, Any] | None = None
) -> Outcome:
    """Execute a command under the action that the route declares, and wake the relay."""
    key = request.get(HELD_KEY)
    outcome = await commands.execute(
        request.config_dict[DATABASE],
        actor,
        command,
        command_id=key.command_id if key else uuid.uuid4(),
        request=request[REQUEST_ID],
        action=request[ACTION],
        seen=seen,
        policy=InstancePolicy.from_settings(request.config_dict[SETTINGS]),
        key=key,
    )
    request.config_dict[TAIL].ring()
    return outcome


def was_carried_out(request: web.Request) -> bool:
    """Whether an earlier attempt of the request has carried out its command, so that what it needs may be gone."""
    key = request.get(HELD_KEY)
    return key is not None and key.outcome is not None


def ref_writer(request: web.Request, actor: Actor, project: Mapping[str, Any]) -> RefWriter:
    """Build the writer that moves refs of the project for the actor, under the action that the route declares."""
    settings = request.config_dict[SETTINGS]
    return RefWriter(
        db=request.config_dict[DATABASE],
        root=settings.repositories,
        actor=actor,
        action=request[ACTION],
        project=project,
        request=request[REQUEST_ID],
        ring=request.config_dict[TAIL].ring,
        key=request.get(HELD_KEY),
    )
