"""Execute commands and move refs on behalf of a request."""

import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import commands
from app.core.access import authorize
from app.core.commands import Command, Outcome
from app.core.instance_policy import InstancePolicy
from app.core.pushes import RefWriter
from app.errors import Conflict, Forbidden, NotFound, Subject
from app.http.keys import ACTION, DATABASE, HELD_KEY, REQUEST_ID, SETTINGS, TAIL
from app.stores.idempotency_keys import HeldKey


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
    """Return whether an earlier attempt of the request has carried out its command.

    Rows that the command reads may have been deleted since, and secrets that were stored with it replaced.
    """
    key = request.get(HELD_KEY)
    return key is not None and key.outcome is not None


def recall_project(request: web.Request, actor: Actor, project: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the row of the project that the command of an earlier attempt saw, so that the same reply is rendered.

    Without such an attempt it is `project`, the present row. Raises Conflict if the actor has lost the right to do this
    since, unless by the command itself.
    """
    key = request.get(HELD_KEY)
    if key is None or key.project is None:
        return project
    if not _left_so(key, project):
        try:
            authorize(actor, request[ACTION], project)
        except (Forbidden, NotFound):
            raise Conflict(Subject.COMMAND_REPEATED) from None
    kept: Mapping[str, Any] = key.project
    return kept


def _left_so(key: HeldKey, project: Mapping[str, Any]) -> bool:
    """Return whether the project is as the command of the earlier attempt left it."""
    rows = [each["row"] or {} for each in (key.outcome or {"events": []})["events"]]
    return (project["project_id"], project["revision"]) in [
        (row.get("project_id"), row.get("revision")) for row in rows
    ]


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
