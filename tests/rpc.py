"""Calls methods of the JSON-RPC dialects."""

import json
from io import BytesIO
from typing import Any

from tests.conftest import Client

KALLITHEA, RHODECODE = "/kallithea/_admin/api", "/rhodecode/_admin/api"


class Rpc:
    """Calls methods in the name of a client, in one dialect."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address

    async def ask(self, method: str, /, **args: Any) -> Any:
        """The result of a call that succeeds."""
        body = await self.envelope({"id": 7, "api_key": self.client.token, "method": method, "args": args})
        assert body["error"] is None, body
        assert body["id"] == 7
        return body["result"]

    async def fail(self, method: str, /, **args: Any) -> str:
        """The error of a call that fails."""
        body = await self.envelope({"id": 7, "api_key": self.client.token, "method": method, "args": args})
        assert body["result"] is None, body
        assert body["id"] == 7
        return str(body["error"])

    async def envelope(self, sent: Any, **options: Any) -> dict[str, Any]:
        """The whole answer to a whole request."""
        return json.loads(await self.send(json.dumps(sent).encode(), **options))  # type: ignore[no-any-return]

    async def send(
        self, body: bytes | BytesIO | None, *, method: str = "POST", address: str = "", **headers: str
    ) -> str:
        """The answer to any bytes, which has status 200."""
        url = self.client.forge.url + (address or self.address)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.forge.session.request(
            method, url, data=body, headers=names, allow_redirects=False
        ) as answer:
            text = await answer.text()
            assert answer.status == 200, (answer.status, text)
            assert answer.content_type == "application/json"
            assert text.isascii()
            assert "\n" not in text
            self.client.headers = answer.headers
            return text
