"""The table of actions: levels, tokens, blocks and bindings, without a dialect."""

from dataclasses import replace
from typing import Any

import pytest

from app.actor import NOBODY, Actor
from app.core.access import ACTIONS, Level, Token, authorize, may, require
from app.errors import Forbidden, NotFound

PUBLIC: dict[str, Any] = {
    "project_id": 1, "owner": "alice", "private": False, "access": {"user": {}, "group": {}}, "blocked": [],
}  # fmt: skip
LEVELS = [(name, action.level) for name, action in ACTIONS.items() if action.level is not None]
WRITING = [name for name, action in ACTIONS.items() if action.writes and action.level is not None]
ALICE = Actor("alice")


@pytest.mark.parametrize(("action", "level"), LEVELS)
def test_without_a_grant_users_may_only_read_a_public_project(action: str, level: Level) -> None:
    reads = action in ("read-project", "read-issues", "read-code", "read-pull-requests")
    assert may(NOBODY, action, PUBLIC) == reads
    assert may(Actor("bob"), action, PUBLIC) == (level == Level.READ)
    if not reads:
        with pytest.raises(Forbidden, match=action):
            require(NOBODY, action, PUBLIC)


def test_every_action_says_which_token_it_takes() -> None:
    assert [name for name, action in ACTIONS.items() if not action.token] == []


@pytest.mark.parametrize(
    "action", [name for name, it in ACTIONS.items() if it.token not in (Token.NONE, Token.OPTIONAL)]
)
def test_a_token_without_the_scope_is_refused(action: str) -> None:
    authorize(replace(ALICE, admin=True), action, PUBLIC)
    if ACTIONS[action].token is not Token.ANY:
        with pytest.raises(Forbidden, match="token"):
            authorize(replace(ALICE, acls=frozenset({"internal_access"})), action, PUBLIC)
    with pytest.raises(Forbidden, match="token"):
        authorize(NOBODY, action, PUBLIC)


@pytest.mark.parametrize("action", WRITING)
def test_writing_is_refused_to_a_blocked_owner_and_to_a_token_bound_elsewhere(action: str) -> None:
    owner = replace(ALICE, admin=ACTIONS[action].administers)
    authorize(owner, action, PUBLIC)
    if ACTIONS[action].blocks:
        with pytest.raises(Forbidden, match="blocked"):
            authorize(owner, action, {**PUBLIC, "blocked": ["alice"]})
    if ACTIONS[action].binds:
        with pytest.raises(Forbidden, match="token"):
            authorize(replace(owner, token_project=2), action, PUBLIC)


@pytest.mark.parametrize(("action", "level"), LEVELS)
def test_a_private_project_is_not_found_by_strangers(action: str, level: Level) -> None:
    secret = {**PUBLIC, "private": True}
    with pytest.raises((NotFound, Forbidden)) as refused:
        authorize(NOBODY, action, secret)
    assert refused.type is NotFound or ACTIONS[action].token is not Token.OPTIONAL
    # What only administrators may do is refused to others before the project is looked at.
    with pytest.raises(Forbidden if ACTIONS[action].administers else NotFound):
        authorize(Actor("bob"), action, secret)
