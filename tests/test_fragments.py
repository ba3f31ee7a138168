"""Rendered rows are remembered, but not without end."""

from typing import Any

from app.fragments import Fragments


async def test_no_more_rows_are_remembered_than_wanted() -> None:
    fragments = Fragments(limit=3)
    asked: list[list[int]] = []

    async def read(ids: list[int]) -> list[Any]:
        asked.append(ids)
        return [{"id": id, "version": "1"} for id in ids]

    for ids in ([1, 2], [1, 2], [3, 4], [1, 4]):
        keys: list[Any] = [{"id": id, "version": "1"} for id in ids]
        assert len(await fragments.of(keys, read, lambda row: row["id"])) == 2
    assert asked == [[1, 2], [3, 4], [1]]
