"""The JSON of rows that listings show again and again, remembered for as long as the row stays what it is."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from app.database import Row

MAX_ENTRIES = 8 << 20  # bytes in all
MAX_RENDERED_SIZE = 64 << 10  # bytes of one that is worth remembering


class RenderCache:
    """Rendered rows by id, of what is public and so the same for everybody.

    A listing asks only for ids and versions, and renders what it has not seen yet. A row's version is PostgreSQL's own:
    the transaction that wrote it, and those of the other rows it shows. So there is nothing to invalidate, and nothing
    that a projection could forget.
    """

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self.limit = limit
        self._kept: dict[int, tuple[str, bytes]] = {}
        self._size = 0

    async def of(
        self, keys: list[Row], read: Callable[[list[int]], Awaitable[list[Row]]], shown: Callable[[Row], Any]
    ) -> list[orjson.Fragment]:
        """The fragments of rows known by (id, version), in their order; `read` gives whole rows with the same two.

        What is gone meanwhile has none.
        """
        found: dict[int, orjson.Fragment] = {}
        missing = []
        for id, version in ((key["id"], key["version"]) for key in keys):
            kept = self._kept.get(id)
            if kept is not None and kept[0] == version:
                found[id] = orjson.Fragment(kept[1])
            else:
                missing.append(id)
        for row in await read(missing) if missing else ():
            rendered = orjson.dumps(shown(row))
            found[row["id"]] = orjson.Fragment(rendered)
            self._keep(row["id"], row["version"], rendered)
        return [found[key["id"]] for key in keys if key["id"] in found]

    def _keep(self, id: int, version: str, rendered: bytes) -> None:
        self._drop(id)
        if len(rendered) > MAX_RENDERED_SIZE:
            return
        self._kept[id] = (version, rendered)
        self._size += len(rendered)
        while self._size > self.limit:
            self._drop(next(iter(self._kept)))

    def _drop(self, id: int) -> None:
        kept = self._kept.pop(id, None)
        self._size -= len(kept[1]) if kept else 0
