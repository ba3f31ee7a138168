"""Who may do what: what no dialect lets anybody ask, and the core refuses all the same."""

from typing import Any

import pytest

from app.actor import NOBODY, Actor
from app.core.access import ACTIONS, Level, may, require
from app.errors import Forbidden

PUBLIC: dict[str, Any] = {"project_id": 1, "owner": "alice", "private": False, "access": {"user": {}, "group": {}}}
LEVELS = [(action, level) for action, level in ACTIONS.items() if level is not None]


@pytest.mark.parametrize(("action", "level"), LEVELS)
def test_whoever_has_no_name_may_look_at_a_public_project_and_no_more(action: str, level: Level) -> None:
    looks = action.startswith("read-")
    assert may(NOBODY, action, PUBLIC) == looks
    assert may(Actor("bob"), action, PUBLIC) == (level == Level.READ)
    if not looks:
        with pytest.raises(Forbidden, match=action):
            require(NOBODY, action, PUBLIC)
