"""Pagure's tokens: read, identify and refuse them."""

import re
from contextlib import suppress
from enum import Enum
from typing import Any

from aiohttp import web

from app.actor import NOBODY, Actor
from app.core.access import ACTIONS, Token
from app.core.credentials import BadToken
from app.database import Row
from app.dialects.pagure.errors import bad_token
from app.http import auth

OTHER_SCHEMES = re.compile(r"(bearer|basic) +[^ ]+ *\Z", re.IGNORECASE)
REASONS = {"unknown": "Invalid token", "expired": "Expired token", "missing": "Invalid token"}


class BadTokenPolicy(Enum):
    """Treatment of a bad token on a route that needs none."""

    IGNORED = "ignored"  # the client is treated as anonymous
    REFUSED = "refused"


def read_token(request: web.Request) -> str | None:
    """Read the secret: everything after the first `token`, in any case, in the Authorization header.

    A token after `Bearer`, or in Basic, is read as well.
    """
    header = request.headers.get("Authorization", "")
    if is_in_other_scheme(request):
        with suppress(BadToken):
            return auth.read_credentials(request).secret
        return None
    at = header.lower().find("token")
    return None if at < 0 else header[at + len("token") :].strip()


def is_in_other_scheme(request: web.Request) -> bool:
    """Whether the credentials are in a scheme that Pagure does not know. There, bad ones are none: it ignores them."""
    return OTHER_SCHEMES.match(request.headers.get("Authorization", "")) is not None


async def identify(request: web.Request) -> Actor:
    """Return the owner of the token, or NOBODY without one. Raises BadToken."""
    found, _ = await identify_with_row(request, None)
    if isinstance(found, BadToken):
        raise found
    return found


async def identify_with_row(
    request: web.Request, statement: str | None, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """Return the actor (or the token's error) and the row that `statement` finds, in one round trip."""
    found, row = await auth.identify_with_row(request, read_token(request), statement, *arguments)
    if not is_in_other_scheme(request):
        return found, row
    try:
        if isinstance(found, BadToken):
            return NOBODY, row
        auth.require_owner(found, auth.read_credentials(request).username)
    except BadToken:
        return NOBODY, row
    return found, row


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
