"""Pagure's tokens: read, identify and refuse them."""

from enum import Enum

from aiohttp import web

from app.actor import NOBODY, Actor
from app.core.access import ACTIONS, Token
from app.core.credentials import BadToken
from app.dialects.pagure.errors import bad_token
from app.http import auth

REASONS = {"unknown": "Invalid token", "expired": "Expired token", "missing": "Invalid token"}


class BadTokenPolicy(Enum):
    """Treatment of a bad token on a route that needs none."""

    IGNORED = "ignored"  # the client is treated as anonymous
    REFUSED = "refused"


def read_token(request: web.Request) -> str | None:
    """Read the secret: everything after the first `token`, in any case, in the Authorization header."""
    header = request.headers.get("Authorization", "")
    at = header.lower().find("token")
    if at < 0 or not header:
        return None
    return header[at + len("token") :].strip()


async def identify(request: web.Request) -> Actor:
    """Return the owner of the token, or NOBODY without one. Raises BadToken."""
    return await auth.identify(request, read_token(request))


def admit(found: Actor | BadToken, action: str, bad: BadTokenPolicy) -> Actor:
    """Return the actor if the token satisfies the action. Raises ApiError."""
    token = ACTIONS[action].token
    if isinstance(found, BadToken):
        if token is Token.OPTIONAL and bad is BadTokenPolicy.IGNORED:
            return NOBODY
        raise bad_token(REASONS[found.reason])
    if found.anonymous and token is not Token.OPTIONAL:
        raise bad_token(REASONS["missing"])
    if isinstance(token, frozenset) and found.acls is not None and found.acls.isdisjoint(token):
        raise bad_token("Missing ACLs: " + ", ".join(sorted(token)))
    return found
