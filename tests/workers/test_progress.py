"""How far a fetch is."""

from workers.progress import StagedProgress


def test_the_course_of_a_fetch_never_goes_back() -> None:
    told: list[tuple[str, int]] = []
    course = StagedProgress(lambda *step: told.append(step), 99)
    steps = [("count", 100), ("receive", 50), ("compress", 10), ("receive", 49), ("receive", 100), ("resolve", 100)]
    for step in steps:
        course(*step)
    assert told == [("count", 4), *[("receive", 47)] * 3, ("receive", 84), ("resolve", 99)]
