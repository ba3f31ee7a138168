"""`Authorization: token …` as Pagure reads it: required with ACLs, optional, or ignored when bad."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core import credentials
from app.core.access import NOBODY, Actor
from app.core.credentials import BadToken
from app.dialects.pagure.errors import bad_token
from app.web import DATABASE

REASONS = {"unknown": "Invalid token", "expired": "Expired token"}


def token(request: web.Request) -> str | None:
    """The secret: everything after the scheme, which is matched in any case."""
    header = request.headers.get("Authorization", "")
    at = header.lower().find("token")
    if at < 0 or not header:
        return None
    return header[at + len("token") :].strip()


async def optional(request: web.Request) -> Actor:
    """Nobody without a token; a bad one is refused."""
    try:
        return await credentials.identify(request.config_dict[DATABASE], token(request))
    except BadToken as bad:
        raise bad_token(REASONS[bad.reason]) from None


async def lenient(request: web.Request) -> Actor:
    """For public reads: a good token shows what is private, a stale one does no harm."""
    try:
        return await credentials.identify(request.config_dict[DATABASE], token(request))
    except BadToken:
        return NOBODY


async def required(request: web.Request, *acls: str) -> Actor:
    """A user whose token has at least one of the ACLs."""
    if token(request) is None:
        raise bad_token("Invalid token")
    actor = await optional(request)
    if actor.acls is not None and acls and actor.acls.isdisjoint(acls):
        raise bad_token("Missing ACLs: " + ", ".join(sorted(set(acls) - actor.acls)))
    return actor


def bound(actor: Actor, project: Mapping[str, Any]) -> None:
    """A token made for one project is good for that project alone."""
    if actor.token_project not in (None, project["project_id"]):
        raise bad_token()
