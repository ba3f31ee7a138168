"""Runs `polyforge rpc` in a home of its own, with config files of both formats."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cli.command import RunningCommand, start_command
from tests.conftest import Client
from tests.receiver import ReceivedRequest, Receiver


class Home:
    """A home directory, in which commands are run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> str:
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return str(file)

    def write_json(self, name: str, url: str | None, key: str | None) -> str:
        values = {"apihost": url, "apikey": key}
        return self.write(name, json.dumps({name: value for name, value in values.items() if value is not None}))

    def write_ini(self, name: str, **servers: tuple[str, str | None]) -> str:
        """Write a file of RhodeCode Tools with these servers by their names, each with an address and a key."""
        sections = [
            f"[instance:{server}]\napi_host = {url}\napi_key = {key}\nrepo_dir = /srv/%repos\n\n"
            for server, (url, key) in servers.items()
        ]
        return self.write(name, "# Configure servers\n" + "".join(sections))

    def start(self, *words: str, **options: Any) -> AbstractAsyncContextManager[RunningCommand]:
        return start_command("rpc", *words, **{"HOME": str(self.path), **options})

    async def run(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Run `polyforge rpc` to its end; return exit code, standard output and standard error."""
        async with self.start(*words, **environment) as command, asyncio.timeout(40):
            output, errors = await command.process.communicate()
        assert command.process.returncode is not None
        return command.process.returncode, output.decode(), errors.decode()

    async def ask(self, client: Client, *words: str) -> Any:
        """Return the result of a call that succeeds."""
        assert client.token
        code, output, errors = await self.run(*words, "--url", client.forge.url, POLYFORGE_TOKEN=client.token)
        assert code == 0, errors
        return json.loads(output)

    async def fail(self, client: Client, *words: str) -> str:
        """Return the error of a call that is refused."""
        assert client.token
        code, output, errors = await self.run(*words, "--url", client.forge.url, POLYFORGE_TOKEN=client.token)
        assert (code, output) == (1, ""), errors
        return errors

    async def send(self, server: Receiver, *words: str, **environment: str) -> tuple[int, str, str]:
        """Run a call of `ping` at a server that is not a forge, with a key of forty characters."""
        environment = {"POLYFORGE_TOKEN": KEY, **environment}
        return await self.run("ping", "--url", server.url, *words, **environment)


KEY = "0123456789abcdef0123456789abcdef01234567"


def answer_with(text: str, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Any:
    """Return an answer for a receiver, in which `ID` and `KEY` stand for what was sent."""

    async def answer(got: ReceivedRequest) -> web.Response:
        body = text.replace("ID", json.dumps(got.json["id"])).replace("KEY", got.json["api_key"])
        return web.Response(status=status, text=body, content_type=content_type, headers=headers)

    return answer


PONG = answer_with('{"id": ID, "result": "pong", "error": null}')
