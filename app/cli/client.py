"""A forge as its clients reach it: by address and token, patient with what breaks off."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console

from app.ops.supervise import settings_for, wait_for_signal

READ_TIMEOUT = (
    60.0  # seconds without a byte after which a connection is taken for dead; streams and polls are never so long
)
LONG_POLL_SECONDS = 30  # seconds that a poll is held
RETRY_PAUSE = 2.0  # seconds until the next try where the forge names none

Address = Annotated[
    str | None,
    typer.Option("--url", envvar="POLYFORGE_URL", help="Address of the forge; default: the one that runs over --data."),
]
Token = Annotated[
    str | None, typer.Option(envvar="POLYFORGE_TOKEN", help="Whose eyes to use; default: those of anybody.")
]
Data = Annotated[Path | None, typer.Option(help="Directory of a running `up`.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines, which is what others than terminals get anyway.")]


class RequestRefused(Exception):
    """The forge refuses, and would refuse again. Its text is for people."""


class Unreachable(Exception):
    """There is no answer, or it broke off, or it asks for backoff: for `pause` seconds, if it says so."""

    def __init__(self, said: str, pause: float | None = None) -> None:
        super().__init__(said)
        self.pause = pause


@dataclass(frozen=True)
class ForgeClient:
    url: str
    session: aiohttp.ClientSession

    @asynccontextmanager
    async def request(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        accept: str = "application/json",
        last_id: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of the wanted kind. Raises No and Away, the latter also when it breaks off while it is read."""
        headers = {"Accept": accept, **({"Last-Event-ID": last_id} if last_id else {})}
        try:
            async with self.session.request(method, self.url + path, params=query, headers=headers) as answer:
                if answer.status != 200:
                    raise await _describe_failure(answer)
                if answer.content_type != accept:
                    raise RequestRefused(f"{self.url} does not answer as a forge does.")
                yield answer
        except aiohttp.ClientPayloadError:
            raise Unreachable(f"{self.url} broke off") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(
                f"{self.url} cannot be reached: {strip_control(str(error)) or type(error).__name__}"
            ) from None

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, method: str = "GET") -> Any:
        async with self.request(path, query, method=method) as answer:
            return orjson.loads(await answer.read())


async def _describe_failure(answer: aiohttp.ClientResponse) -> RequestRefused | Unreachable:
    try:
        said = orjson.loads(await answer.read())
        where = said["errors"][0]["pointer"] + ": " if said.get("errors") else ""
        sentence = where + (said.get("detail") or said.get("title") or said["error"])
    except (ValueError, TypeError, LookupError, AttributeError):
        sentence = f"{answer.url.with_query(None)} answers {answer.status} {answer.reason}"
    again = answer.headers.get("Retry-After", "")
    if answer.status in (408, 429) or answer.status >= 500:
        return Unreachable(strip_control(sentence), float(again) if re.fullmatch("[0-9]{1,6}", again) else None)
    return RequestRefused(strip_control(sentence))


class Backoff:
    """A forge that never answered is a mistake of whoever asks; one that has answered will be back."""

    def __init__(self) -> None:
        self.answered = False

    async def wait(self, away: Unreachable, pause: float = RETRY_PAUSE) -> None:
        """Wait so many seconds, or those the forge asks for; raises what happened if nothing was ever answered."""
        if not self.answered:
            raise away
        seconds = pause if away.pause is None else away.pause
        typer.echo(f"{away} (again in {seconds:g} s)", err=True)
        await asyncio.sleep(seconds)


@asynccontextmanager
async def connect(url: str | None, token: str | None, data: Path | None) -> AsyncIterator[ForgeClient]:
    address = (url or settings_for(data).url).rstrip("/")
    headers = {"Authorization": f"token {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=READ_TIMEOUT)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield ForgeClient(address, session)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it; None when it was told to stop first, by Ctrl-C or SIGTERM."""

    async def until_the_end() -> Any:
        job = asyncio.create_task(main)
        await wait_for_signal(job)
        if job.done():
            return job.result()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        return None

    return asyncio.run(until_the_end())


def terminal(json: bool) -> Console | None:
    """Where people read; None when JSON is wanted, or nobody is there."""
    return Console(highlight=False) if sys.stdout.isatty() and not json else None


def print_json(value: Any) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def strip_control(text: str) -> str:
    """What others wrote, on one line and without anything that would steer a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
