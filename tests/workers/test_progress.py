"""Progress of a git fetch."""

from workers.progress import StagedProgress


def test_the_progress_of_a_fetch_never_decreases() -> None:
    reports: list[tuple[str, int]] = []
    progress = StagedProgress(lambda *step: reports.append(step), 99)
    steps = [("count", 100), ("receive", 50), ("compress", 10), ("receive", 49), ("receive", 100), ("resolve", 100)]
    for step in steps:
        progress(*step)
    assert reports == [("count", 4), *[("receive", 47)] * 3, ("receive", 84), ("resolve", 99)]
