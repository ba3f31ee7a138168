"""Objects with the keys of both dialects."""

from collections.abc import Mapping
from typing import Any

from app.actor import Actor
from app.core import access

KEY_LENGTH = 40  # characters of a key as RhodeCode makes them, and so of a masked one


def mask_key(prefix: str) -> str:
    return prefix + "*" * (KEY_LENGTH - len(prefix))


def render_user(row: Mapping[str, Any], actor: Actor, extern_type: str) -> dict[str, Any]:
    """Render a user. Keys are masked. Only the user and administrators see the e-mail address, and with an
    unrestricted token how the keys begin.
    """
    firstname, _, lastname = row["fullname"].partition(" ")
    keys = [mask_key(prefix) for prefix in row["prefixes"]] if access.may_see_tokens(actor, row["username"]) else []
    keys = keys or [mask_key("")]
    email = row["email"].lower() if access.may_see_email(actor, row["username"]) else None
    return {
        "user_id": row["user_id"],
        "username": row["username"],
        "firstname": firstname,
        "lastname": lastname,
        "email": email,
        "emails": [] if email is None else [email],
        "active": True,
        "admin": row["admin"],
        "extern_type": extern_type,
        "extern_name": extern_type if extern_type == "rhodecode" else "",
        "ldap_dn": None,
        "last_login": None,
        "last_activity": None,
        "ip_addresses": [],
        "language": None,
        "description": None,
        "api_key": keys[0],
        "api_keys": keys,
        "auth_tokens": keys,
    }
