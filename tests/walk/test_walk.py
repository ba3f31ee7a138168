"""Random walks over all commands of a forge, as users with and without access.

Hypothesis prints the shortest failing walk that it finds, with a line that starts with `@reproduce_failure`: put it
above `class Walk` and run the test again. `POLYFORGE_WALKS=500` takes more walks.
"""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import initialize, multiple, run_state_machine_as_test

from app.core.commands import HANDLERS, Command
from app.core.mirrors import MarkMirror, PullMirror
from app.core.subscriptions import MarkSubscription
from app.core.tasks import CancelTask
from tests.walk.boards import STATUSES
from tests.walk.checks import Checks
from tests.walk.people import People
from tests.walk.projects import REFERENCES_PLUGIN, WORDS
from tests.walk.world import REQUESTED, Who, issues, projects, pulls

pytestmark = pytest.mark.slow

WALKS, STEPS = int(os.environ.get("POLYFORGE_WALKS", "8")), 80


class Walk(People, Checks):
    """A walk that begins with a project of alice's, bob's fork of it, an issue and a pull request."""

    def set_up_project(self) -> None:
        alice, bob = Who("alice"), Who("bob")
        self.create_project(who=alice, name="game", namespace=None, private=False, readme=True, wait=True)
        self.configure_tracker(who=alice, path="game", words=set(WORDS), tag="pet")
        self.push(who=alice, path="game", branch="topic", file="own", message="Change")
        self.fork_project(who=bob, path="game", wait=True)
        self.open_issue(
            who=bob, path="game", title="Dog", private=False, wanted={"pet"}, assignee="alice", milestone="v1"
        )
        self.open_pull_request(who=bob, path="game", source="fork/bob/game", branch="topic")

    @initialize(target=projects)
    def add_projects(self) -> Any:
        return multiple("game", "fork/bob/game")

    @initialize(target=issues)
    def add_issue(self) -> Any:
        return "game", 1

    @initialize(target=pulls)
    def add_pull_request(self) -> Any:
        return "game", 2


@pytest.fixture
async def walk(services: tuple[str, str]) -> type[Walk]:
    """The walk; each one starts a forge of its own on this event loop."""
    Walk.loop, Walk.services = asyncio.get_running_loop(), services
    return Walk


@pytest.mark.timeout(900)
async def test_wherever_a_walk_leads_rows_listings_and_pages_agree_with_the_log(walk: type[Walk]) -> None:
    chosen = hypothesis_settings(
        max_examples=WALKS, stateful_step_count=STEPS, deadline=None, print_blob=True, suppress_health_check=HealthCheck
    )
    await asyncio.to_thread(run_state_machine_as_test, walk, settings=chosen)


# Commands that no rule executes, and why.
EXCLUDED: dict[type[Command], str] = {
    CancelTask: "a worker that notices it late may still move a branch, at an unknown time",
    MarkMirror: "internal, for mirrors: a walk has none, since it connects to no other server",
    PullMirror: "for mirrors, as above",
    MarkSubscription: "internal, for failing endpoints: a walk delivers nothing",
}


def test_every_command_is_part_of_the_walk() -> None:
    assert set(HANDLERS) - REQUESTED == EXCLUDED.keys()


async def test_every_rule_can_succeed(walk: type[Walk]) -> None:
    """Otherwise a walk might consist of refusals, unnoticed."""

    def every() -> set[str]:
        state = walk()
        try:
            run_every_rule(StrangersFirst(state))
            state.check_everything()
            state.delete_project(who=Who("carol"), path="game")
            state.check_everything()
            rows = state.run(state.forge.db.fetch("select distinct name from commands"))
            return {row["name"] for row in rows}
        finally:
            state.failed = True
            state.teardown()

    taken = await asyncio.to_thread(every)
    assert {command.kind for command in REQUESTED} - taken == set()


class StrangersFirst:
    """A walk in which every rule is tried first by users who may not do it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def __getattr__(self, name: str) -> Any:
        rule = getattr(self.walk, name)

        def ask(**chosen: Any) -> Any:
            who = chosen.get("who", Who("alice"))
            strangers = [Who("") if name != "push" else Who("carol"), who._replace(token="other")]
            strangers += [] if name in OPEN_RULES else [Who("carol")]
            for stranger in strangers if "who" in chosen else ():
                rule(**{**chosen, "who": stranger})
            return rule(**chosen)

        return ask


# Rules that need no access to a public project, so carol may do them.
OPEN_RULES = {
    "comment_on_issue", "comment_on_pull_request", "create_group", "flag_commit", "flag_pull_request", "open_issue",
    "refresh_access", "subscribe", "subscribe_to_issue", "subscribe_to_pull_request", "push",
}  # fmt: skip


def run_every_rule(walk: Any) -> None:
    """Run every rule once, as a user who may."""
    alice, bob, admin = Who("alice"), Who("bob"), Who("admin")
    game, pull, issue = "game", ("game", 2), ("game", 1)
    walk.create_user(who=admin, name="dave")
    walk.revoke_token(who=alice, token=walk.issue_token(who=alice, name="alice"))
    walk.project_token(who=alice, path=game)
    walk.create_group(who=alice, name="hackers")
    walk.add_member(who=alice, group="hackers", name="bob")
    walk.grant(who=alice, path=game, to="@hackers", level="ticket")
    walk.grant(who=alice, path=game, to="carol", level="commit")
    walk.revoke(who=alice, path=game, to="carol")
    walk.remove_member(who=alice, group="hackers", name="bob")
    walk.install_plugin(who=alice, path=game, plugin="IRC", room="#dogs", secret=True)
    walk.install_plugin(who=alice, path=game, plugin="Mail", room="", secret=False)
    walk.remove_plugin(who=alice, path=game, plugin="Mail")
    walk.configure(who=alice, path=game, option="always_merge", on=True)
    walk.refresh_access(who=alice, path=game)
    walk.watch(who=bob, path=game, name="bob", status="3")
    walk.define_tag(who=alice, path=game, tag="bug", color="red")
    other = walk.open_issue(
        who=alice, path=game, title="Cat", private=True, wanted={"bug"}, assignee="", milestone="v1"
    )  # fmt: skip
    walk.comment_on_issue(who=alice, at=other)
    walk.edit_issue(who=alice, at=issue, title="Big dog")
    walk.set_milestone(who=alice, at=issue, milestone="v2")
    walk.assign_issue(who=alice, at=issue, assignee="bob")
    walk.set_custom_fields(who=alice, at=issue, reviewer="bob", docs="")
    walk.subscribe_to_issue(who=bob, at=issue, wanted=True)
    walk.add_dependency(name="alice", at=other, other=issue)
    third = walk.open_issue(who=bob, path=game, title="Dog", private=False, wanted=set(), assignee="", milestone="")
    walk.change_status(who=alice, at=third, status="Fixed")
    walk.import_dependency(who=alice, at=third, other=other)
    walk.set_boards(who=alice, path=game, wanted={"plan", "sprint"}, tag="pet")
    walk.set_board_statuses(who=alice, path=game, board="plan", statuses=STATUSES[0])
    walk.place_issue(who=alice, at=issue, board="plan", status="Backlog")
    walk.delete_board(who=alice, path=game, board="sprint")
    walk.delete_tag(who=alice, path=game, tag="bug")
    walk.comment_on_pull_request(who=bob, at=pull, text="+1", line=False)
    walk.edit_pull_request(who=bob, at=pull, title="Better change")
    walk.assign_pull_request(who=alice, at=pull, assignee="bob")
    walk.subscribe_to_pull_request(who=bob, at=pull, wanted=True)
    walk.flag_pull_request(who=bob, at=pull, uid="ci", percent="100")
    walk.flag_commit(who=bob, path=game, status="success")
    walk.close_pull_request(who=alice, at=pull)
    walk.reopen_pull_request(who=alice, at=pull)
    walk.install_plugin(who=alice, path=game, plugin=REFERENCES_PLUGIN, room="", secret=False)
    walk.push(who=alice, path=game, branch="main", file="own", message="Relates to #1")
    walk.rebase_pull_request(who=alice, at=pull)
    walk.merge_pull_request(who=alice, at=pull, wait=True)
    walk.create_branch(who=alice, path=game, name="fresh", start="main")
    walk.create_git_tag(who=alice, path=game, name="v1", at="main")
    walk.alias(who=alice, path=game, existing="main", drop=False)
    walk.alias(who=alice, path=game, existing="main", drop=True)
    walk.set_default_branch(who=alice, path=game, name="fresh")
    hook = walk.subscribe(who=bob, path=game)
    walk.change_subscription(who=bob, subscription=hook, ordered=False)
    kept = walk.subscribe(who=bob, path="fork/bob/game")
    walk.delete_subscription(who=bob, subscription=hook)
    walk.block_users(who=alice, path=game, names={"bob"})
    walk.transfer(who=alice, path=game, owner="carol", retain=True)
    walk.delete_project(who=bob, path="fork/bob/game")
    walk.delete_subscription(who=Who("bob", "whole"), subscription=kept)
