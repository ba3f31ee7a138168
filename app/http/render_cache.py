"""A cache of the JSON that listings render from rows, valid as long as the row does not change."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from app.database import Row

MAX_SIZE = 8 << 20  # bytes of all entries
MAX_ENTRY_SIZE = 64 << 10  # bytes; larger rows are not cached


class RenderCache:
    """Rendered public rows by id; public, because an entry is shown to every client.

    A listing queries only ids and versions, and reads and renders the rows that are not cached. The version of a row
    comes from PostgreSQL: the transaction that wrote it and those that wrote the other rows it shows. So nothing has
    to be invalidated, and no projection can forget to.
    """

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self._entries: dict[int, tuple[str, bytes]] = {}
        self._size = 0

    async def get_many(
        self, keys: list[Row], read_rows: Callable[[list[int]], Awaitable[list[Row]]], render: Callable[[Row], Any]
    ) -> list[orjson.Fragment]:
        """Return the JSON of the rows with these `id`s and `version`s, in order.

        `read_rows` returns whole rows, which have the same two columns. Rows that are gone by then are left out.
        """
        fragments: dict[int, orjson.Fragment] = {}
        missing = []
        for key in keys:
            version, rendered = self._entries.get(key["id"], (None, b""))
            if version == key["version"]:
                fragments[key["id"]] = orjson.Fragment(rendered)
            else:
                missing.append(key["id"])
        for row in await read_rows(missing) if missing else ():
            rendered = orjson.dumps(render(row))
            fragments[row["id"]] = orjson.Fragment(rendered)
            self._store(row["id"], row["version"], rendered)
        return [fragments[key["id"]] for key in keys if key["id"] in fragments]

    def _store(self, row_id: int, version: str, rendered: bytes) -> None:
        self._evict(row_id)
        if len(rendered) > MAX_ENTRY_SIZE:
            return
        self._entries[row_id] = (version, rendered)
        self._size += len(rendered)
        while self._size > self.max_size:
            self._evict(next(iter(self._entries)))

    def _evict(self, row_id: int) -> None:
        entry = self._entries.pop(row_id, None)
        self._size -= len(entry[1]) if entry else 0
