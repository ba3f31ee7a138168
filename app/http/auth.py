"""Read credentials in every spelling that clients use, and identify the actor."""

import base64
import binascii
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import credentials
from app.core.access import ACTIONS, Token
from app.core.credentials import BadToken
from app.database import Row
from app.http.keys import DATABASE, HELD_KEY
from app.http.rate_limits import count_failed_login
from app.queries import projects

# User names that clients of other git hosts write before a token; they stand for the token's owner.
PLACEHOLDERS = ("git", "token", "oauth2", "x-access-token")
SCHEMES = ("token", "bearer", "basic")


@dataclass(frozen=True)
class Credentials:
    """The Authorization header. `secret` is a token or a password; None without a header."""

    scheme: str = ""
    secret: str | None = None
    username: str | None = None


def read_credentials(request: web.Request) -> Credentials:
    """Read `token …`, `Bearer …` or Basic, where the token is the password or stands alone as the user name.

    The scheme is in lower case. Raises BadToken for a Basic header that cannot be decoded.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return Credentials()
    scheme, _, value = header.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme != "basic":
        return Credentials(scheme, value)
    try:
        username, _, secret = base64.b64decode(value).decode().partition(":")
    except (ValueError, binascii.Error):
        raise BadToken("malformed") from None
    return Credentials(scheme, secret, username) if secret else Credentials(scheme, username)


def read_token(request: web.Request) -> str | None:
    """Read the token after `token` or `Bearer`, or that of Basic. Raises BadToken."""
    sent = read_credentials(request)
    if sent.scheme and (sent.scheme not in SCHEMES or not sent.secret):
        raise BadToken("unknown")
    return sent.secret


async def identify(request: web.Request, token: str | None) -> Actor:
    """Return the owner of the token, or NOBODY without a token. Raises BadToken, and HTTPTooManyRequests after many."""
    try:
        return await credentials.identify(request.config_dict[DATABASE], token)
    except BadToken:
        _count_failure(request)
        raise


async def identify_with_row(
    request: web.Request, token: str | None, statement: str | None, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """Return the actor (or the token's error) and the row that `statement` finds, in one round trip.

    Raises HTTPTooManyRequests after many bad tokens.
    """
    db = request.config_dict[DATABASE]
    if statement is None:
        try:
            return await identify(request, token), None
        except BadToken as bad:
            return bad, None
    actor, row = await credentials.identify_with_row(db, token, statement, *arguments)
    if isinstance(actor, BadToken):
        _count_failure(request)
    if row is None and statement == projects.BY_ADDRESS and (key := request.get(HELD_KEY)) is not None:
        return actor, key.project  # an earlier attempt has deleted the project, or changed its address
    return actor, row


def _count_failure(request: web.Request) -> None:
    with suppress(BadToken):
        count_failed_login(request, read_credentials(request).username)


def require_user(actor: Actor, action: str) -> None:
    """Raise BadToken if the action takes a user and the actor is anonymous."""
    if actor.anonymous and ACTIONS[action].token not in (Token.NONE, Token.OPTIONAL):
        raise BadToken("missing")


def require_owner(actor: Actor, username: str | None) -> None:
    """Raise BadToken if the user name sent with a token is neither its owner's nor a placeholder."""
    if username and username not in (actor.username, *PLACEHOLDERS):
        raise BadToken("another user's")
