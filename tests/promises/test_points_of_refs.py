"""Whatever happens to a process while refs move, each move that a client saw succeed is in the log, once, in order."""

import asyncio

import pytest

from app.points import Point
from tests.conftest import git
from tests.promises import nemeses, scenarios
from tests.promises.persistent_clients import make_commit
from tests.promises.scenarios import Case, Stage, choose_cases, play

pytestmark = pytest.mark.slow
SCENARIOS = (
    scenarios.push_a_branch,
    scenarios.finish_what_a_killed_push_has_moved,
    scenarios.create_a_branch_with_a_key,
    scenarios.choose_the_default_branch_with_a_key,
    scenarios.merge_a_pull_request,
)


@pytest.mark.parametrize("case", choose_cases(*SCENARIOS), ids=str)
async def test_what_clients_saw_succeed_has_happened_once(stage: Stage, case: Case) -> None:
    await play(stage, case)


async def test_a_push_that_is_slow_keeps_its_quarantine_while_others_push(stage: Stage) -> None:
    slow, quick = [await make_commit(stage.work, name) for name in ("slow", "quick")]
    nemeses.arm(stage.cluster, Point.PUSH_IN_HOOK)
    pushing = asyncio.create_task(git("push", "-q", stage.url, f"{slow}:refs/heads/slow", cwd=stage.work))
    stopped = await nemeses.wait_for_stop(stage.cluster, Point.PUSH_IN_HOOK)
    assert stage.cluster.list_leftovers()
    await git("push", "-q", stage.url, f"{quick}:refs/heads/quick", cwd=stage.work)
    stopped.go_on()
    await pushing
    assert stage.cluster.list_leftovers() == []
