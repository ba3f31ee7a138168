"""Credentials in the spellings that clients use, and the actor that they stand for."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import credentials
from app.core.access import ACTIONS, Token
from app.core.credentials import BadToken
from app.database import Row
from app.http.keys import DATABASE

# User names that stand for whoever owns the token: what git hosts and their clients write before a token.
PLACEHOLDERS = ("git", "token", "oauth2", "x-access-token")


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


async def identify(request: web.Request, token: str | None) -> Actor:
    """The user that the token belongs to; nobody without a token. Raises BadToken."""
    return await credentials.identify(request.config_dict[DATABASE], token)


async def identify_with_row(
    request: web.Request, token: str | None, statement: str | None, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """The actor, or why the token is no good, and the one row that `statement` returns, in one round trip."""
    db = request.config_dict[DATABASE]
    if statement is not None:
        return await credentials.identify_with_row(db, token, statement, *arguments)
    try:
        return await credentials.identify(db, token), None
    except BadToken as bad:
        return bad, None


def require_user(actor: Actor, action: str) -> None:
    """Raise BadToken for nobody, where the action takes a user."""
    if actor.anonymous and ACTIONS[action].token not in (Token.NONE, Token.OPTIONAL):
        raise BadToken("missing")


def require_owner(actor: Actor, username: str | None) -> None:
    """Raise BadToken if the user name beside a token is neither its owner's nor a placeholder."""
    if username and username not in (actor.username, *PLACEHOLDERS):
        raise BadToken("another user's")
