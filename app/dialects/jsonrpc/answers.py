"""Render and encode answers in threads, since long ones would block the event loop. Their size is limited."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from app.git.errors import TooLarge

T = TypeVar("T")
R = TypeVar("R")

MAX_ANSWER = 32 << 20  # bytes


class Allowance:
    """The characters that an answer may still get while it is put together, so that it never fills the memory."""

    def __init__(self) -> None:
        self.left = MAX_ANSWER

    def spend(self, characters: int) -> None:
        """Count a part of the answer. Raises TooLarge."""
        self.left -= characters
        if self.left < 0:
            raise TooLarge("answer")


async def render_in_thread(render: Callable[[T], R], rows: Sequence[T]) -> list[R]:
    """Render the rows of a long listing."""
    return await asyncio.to_thread(lambda: [render(row) for row in rows])


async def encode_in_thread(answer: Any) -> bytes:
    """Encode an answer whose size is not known. Raises TooLarge above MAX_ANSWER bytes."""
    return await asyncio.to_thread(_encode, answer)


def _encode(answer: Any) -> bytes:
    allowance, pieces = Allowance(), []
    for piece in _split(answer):
        allowance.spend(len(piece))
        pieces.append(piece)
    return "".join(pieces).encode()


def _split(value: Any) -> Iterator[str]:
    """Yield the JSON of a value in pieces: one call of json.dumps lets no other thread run before it has ended."""
    if isinstance(value, list):
        separator = "["
        for each in value:
            yield separator
            yield from _split(each)
            separator = ", "
        yield "]" if value else "[]"
    elif isinstance(value, dict) and any(isinstance(each, list | dict) for each in value.values()):
        separator = "{"
        for key, each in value.items():
            yield f"{separator}{json.dumps(key)}: "
            yield from _split(each)
            separator = ", "
        yield "}"
    else:
        yield json.dumps(value)
