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
from app.http.keys import ACTION, COMMAND_ID, DATABASE, REQUEST_ID, SETTINGS, TAIL


async def execute(
    request: web.Request, actor: Actor, command: Command, *, seen: Mapping[str, Any] | None = None
) -> Outcome:
    """Execute a command under the action that the route declares, and wake the relay."""
    outcome = await commands.execute(
        request.config_dict[DATABASE],
        actor,
        command,
        command_id=request.get(COMMAND_ID) or uuid.uuid4(),
        request=request[REQUEST_ID],
        action=request[ACTION],
        seen=seen,
        policy=InstancePolicy.from_settings(request.config_dict[SETTINGS]),
    )
    request.config_dict[TAIL].ring()
    return outcome


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
    )
