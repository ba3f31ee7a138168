"""The named points of the write path and the scenarios that lead there."""

import re
from pathlib import Path

from app.points import Point
from tests.promises.scenarios import CASES

ROOT = Path(__file__).parents[1]


def test_every_point_is_in_the_code_and_in_a_scenario_that_has_to_reach_it() -> None:
    sources = [path for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    found = [name for path in sources for name in re.findall(r"^ *reach\(Point\.(\w+)", path.read_text(), re.MULTILINE)]
    hook = (ROOT / "app" / "git" / "hooks" / "pre-receive").read_text()
    assert f"$POLYFORGE_POINTS/{Point.PUSH_IN_HOOK}\n" in hook
    assert {point.name for point in Point} == {*found, Point.PUSH_IN_HOOK.name}
    assert {point.partition("@")[0] for _, point in CASES} == set(Point)
