"""Progress of a git fetch as a part of a task's progress."""

from app.git.process import Progress

# Where each of git's stages begins and ends within a fetch, in percent.
SPANS = {"count": (0, 5), "compress": (5, 10), "receive": (10, 85), "resolve": (85, 100)}


class StagedProgress:
    """Combine the stages of a fetch into one progress that never decreases; the fetch ends at `upto` percent."""

    def __init__(self, report: Progress, upto: int) -> None:
        self._report = report
        self._upto = upto
        self._latest = ("count", 0)

    def __call__(self, stage: str, percent: int) -> None:
        begin, end = SPANS[stage]
        whole = (begin * 100 + (end - begin) * percent) * self._upto // 10_000
        if whole >= self._latest[1]:
            self._latest = stage, whole
        self._report(*self._latest)
