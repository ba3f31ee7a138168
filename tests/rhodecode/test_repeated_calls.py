"""Calls that are sent again under their idempotency key after the first answer was lost."""

from typing import Any
from uuid import UUID

import pytest

from app.database import Database
from app.http import idempotency
from app.stores import idempotency_keys
from tests.rpc import Rpc

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("create_user", {"username": "bob", "email": "bob@example.org"}),
    ("create_user_group", {"group_name": "hackers"}),
    ("create_repo", {"repo_name": "moria"}),
]


async def lose_response(db: Database, principal: str, key: str, command_id: UUID, response: Any) -> None:
    """Leave the key as a process does that dies before it has stored the response."""
    await idempotency_keys.release(db, principal, key, command_id)


@pytest.mark.parametrize(("method", "args"), CALLS, ids=[method for method, _ in CALLS])
async def test_what_was_created_is_no_conflict(
    admin: Rpc, monkeypatch: pytest.MonkeyPatch, method: str, args: dict[str, Any]
) -> None:
    sent = {"id": 1, "api_key": admin.client.token, "method": method, "args": args}
    with monkeypatch.context() as dying:
        dying.setattr(idempotency, "_store_response", lose_response)
        first = await admin.envelope(sent, Idempotency_Key="k")
    assert first["error"] is None
    assert await admin.envelope(sent, Idempotency_Key="k") == first
    assert "Idempotency-Replayed" not in admin.client.headers
    again = await admin.envelope(sent, Idempotency_Key="another")
    assert again["error"].endswith("already exist")
