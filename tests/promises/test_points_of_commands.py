"""Whatever happens to a process between a request and its consequences, what a client saw succeed has happened once."""

import pytest

from tests.promises import scenarios
from tests.promises.scenarios import Case, Stage, choose_cases, play

pytestmark = pytest.mark.slow
SCENARIOS = (
    scenarios.open_an_issue_with_a_key,
    scenarios.open_an_issue_without_a_key,
    scenarios.create_a_project,
    scenarios.fork_a_project,
    scenarios.deliver_a_web_hook,
)


@pytest.mark.parametrize("case", choose_cases(*SCENARIOS), ids=str)
async def test_what_clients_saw_succeed_has_happened_once(stage: Stage, case: Case) -> None:
    await play(stage, case)
