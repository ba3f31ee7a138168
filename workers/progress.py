"""How far a fetch is, as part of a whole."""

from app.git.process import Progress

# Where in a fetch each stage of git's begins and ends, in percent.
SPANS = {"count": (0, 5), "compress": (5, 10), "receive": (10, 85), "resolve": (85, 100)}


class StagedProgress:
    """The stages of git as one that never goes back; when the fetch is done, `upto` percent of the work are."""

    def __init__(self, say: Progress, upto: int) -> None:
        self._say = say
        self._upto = upto
        self._latest = ("count", 0)

    def __call__(self, stage: str, percent: int) -> None:
        begin, end = SPANS[stage]
        whole = (begin * 100 + (end - begin) * percent) * self._upto // 10_000
        if whole >= self._latest[1]:
            self._latest = stage, whole
        self._say(*self._latest)
