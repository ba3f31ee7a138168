"""Rendered rows are remembered, but not without end."""

from typing import Any

from app.http.render_cache import MAX_ENTRY_SIZE, RenderCache


async def shown(fragments: RenderCache, asked: list[list[int]], *ids: int, width: int = 8) -> None:
    async def read(missing: list[int]) -> list[Any]:
        asked.append(missing)
        return [{"id": id, "version": "1"} for id in missing]

    keys: list[Any] = [{"id": id, "version": "1"} for id in ids]
    assert len(await fragments.of(keys, read, lambda row: "x" * width)) == len(ids)


async def test_no_more_bytes_are_remembered_than_wanted() -> None:
    fragments, asked = RenderCache(max_size=30), list[list[int]]()  # three of ten bytes each
    for ids in ([1, 2], [1, 2], [3, 4], [1, 4]):
        await shown(fragments, asked, *ids)
    assert asked == [[1, 2], [3, 4], [1]]


async def test_a_giant_is_shown_and_not_remembered() -> None:
    fragments, asked = RenderCache(), list[list[int]]()
    for _ in range(2):
        await shown(fragments, asked, 1, width=MAX_ENTRY_SIZE)
    assert asked == [[1], [1]]
