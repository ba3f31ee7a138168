"""The cache of rendered rows: what it keeps, and how much."""

from typing import Any

from app.http.render_cache import MAX_ENTRY_SIZE, RenderCache


async def render(cache: RenderCache, reads: list[list[int]], *row_ids: int, width: int = 8) -> None:
    """Get rows from the cache and note which ones it has to read."""

    async def read_rows(missing: list[int]) -> list[Any]:
        reads.append(missing)
        return [{"id": row_id, "version": "1"} for row_id in missing]

    keys: list[Any] = [{"id": row_id, "version": "1"} for row_id in row_ids]
    assert len(await cache.get_many(keys, read_rows, lambda row: "x" * width)) == len(row_ids)


async def test_the_cache_evicts_the_oldest_rows_beyond_its_size() -> None:
    cache, reads = RenderCache(max_size=30), list[list[int]]()  # three of ten bytes each
    for row_ids in ([1, 2], [1, 2], [3, 4], [1, 4]):
        await render(cache, reads, *row_ids)
    assert reads == [[1, 2], [3, 4], [1]]


async def test_a_row_that_is_too_large_is_rendered_and_not_cached() -> None:
    cache, reads = RenderCache(), list[list[int]]()
    for _ in range(2):
        await render(cache, reads, 1, width=MAX_ENTRY_SIZE)
    assert reads == [[1], [1]]
