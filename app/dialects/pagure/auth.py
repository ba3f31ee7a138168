"""`Authorization: token …` as Pagure reads it: required with ACLs, optional, or ignored when bad."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import NOBODY, Actor
from app.core import credentials
from app.core.credentials import BadToken
from app.dialects.pagure.errors import bad_token
from app.http.keys import DATABASE

REASONS = {"unknown": "Invalid token", "expired": "Expired token"}


def read_token(request: web.Request) -> str | None:
    """The secret: everything after the scheme, which is matched in any case."""
    header = request.headers.get("Authorization", "")
    at = header.lower().find("token")
    if at < 0 or not header:
        return None
    return header[at + len("token") :].strip()


async def identify(request: web.Request) -> Actor:
    """Whoever the token speaks for. Raises BadToken."""
    return await credentials.identify(request.config_dict[DATABASE], read_token(request))


Admission = Callable[[Actor | BadToken], Actor]


def allow_anonymous(found: Actor | BadToken) -> Actor:
    """Nobody without a token; a bad one is refused."""
    if isinstance(found, BadToken):
        raise bad_token(REASONS[found.reason])
    return found


def ignore_bad_token(found: Actor | BadToken) -> Actor:
    """For public reads: a good token shows what is private, a stale one does no harm."""
    return NOBODY if isinstance(found, BadToken) else found


def require_acls(*acls: str) -> Admission:
    """A user whose token has at least one of the ACLs."""

    def admit(found: Actor | BadToken) -> Actor:
        actor = allow_anonymous(found)
        if actor.anonymous:
            raise bad_token("Invalid token")
        if actor.acls is not None and acls and actor.acls.isdisjoint(acls):
            raise bad_token("Missing ACLs: " + ", ".join(sorted(set(acls) - actor.acls)))
        return actor

    return admit


async def identify_caller(request: web.Request, admit: Admission) -> Actor:
    """Who asks, if the endpoint admits them."""
    try:
        return admit(await identify(request))
    except BadToken as bad:
        return admit(bad)


def require_bound(actor: Actor, project: Mapping[str, Any]) -> None:
    """A token made for one project is good for that project alone."""
    if actor.token_project not in (None, project["project_id"]):
        raise bad_token()


def require_project_token(actor: Actor, project: Mapping[str, Any]) -> None:
    """Some things take a token that was made for this very project."""
    if actor.token_project != project["project_id"]:
        raise bad_token()
