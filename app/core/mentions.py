"""Find mentions of issues and pull requests in texts: `Fixes #3`, `relates to https://…/issue/4`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_NUMBER = 2**31 - 1
ISSUE, PULL_REQUEST = "issue", "pull-request"
# Of several mentions with the same word in a line only the last one counts.
WORDS = ("fix(?:e[sd])?", "merge[sd]?", "close[sd]?", "resolve[sd]?", "relate[sd]?(?:[^\\S\n]+to)?")
RELATES = WORDS[-1]


@dataclass(frozen=True)
class Mention:
    """`kind` is the thing that the text says the number belongs to; None after a bare `#`."""

    number: int
    kind: str | None
    fixes: bool


def find_mentions(text: str, home: str) -> Iterator[Mention]:
    """The mentions in the text, line by line. `home` is the URL of its project; URLs of other projects are ignored, so
    that a commit or comment in one project cannot close an issue of another.

    Source: pull-request contract 7.
    """
    for line in text.splitlines():
        for word, pattern in _patterns(home):
            found = None
            for found in pattern.finditer(line):  # noqa: B007 - the last one is kept
                pass
            if found is None:
                continue
            number = int(found["bare"] or found["number"])
            if 0 < number <= MAX_NUMBER:
                yield Mention(number, found["kind"], fixes=word != RELATES)


@lru_cache(64)
def _patterns(home: str) -> list[tuple[str, re.Pattern[str]]]:
    return [(word, re.compile(_pattern(word, home), re.IGNORECASE)) for word in WORDS]


def _pattern(word: str, home: str) -> str:
    kinds = ISSUE if word == RELATES else f"{ISSUE}|{PULL_REQUEST}"
    here = rf"{re.escape(home)}/(?P<kind>{kinds})/(?P<number>[0-9]{{1,10}})"
    return rf"(?:^|(?<=\s)){word}[^\S\n]*(?::[^\S\n]*)?(?:\#(?P<bare>[0-9]{{1,10}})|{here})(?![0-9])"


def linked_issues(text: str | None, home: str) -> list[int]:
    """The numbers of the issues that a description or a message mentions, with any word."""
    return sorted({each.number for each in find_mentions(text or "", home) if each.kind != PULL_REQUEST})
