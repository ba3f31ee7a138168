"""HTTP client of the command line: requests to a forge by URL and token, with retries when it is unreachable."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from app.ops.supervise import load_settings, wait_for_signal

READ_TIMEOUT = (
    60.0  # seconds without a byte after which a connection counts as lost; no stream or poll is silent so long
)
LONG_POLL_SECONDS = 30  # that the server may hold a poll
RETRY_PAUSE = 2.0  # seconds until the next attempt, unless the forge asks for another pause

Address = Annotated[
    str | None,
    typer.Option("--url", envvar="POLYFORGE_URL", help="URL of the forge. Default: the one that runs with --data."),
]
Token = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="POLYFORGE_TOKEN_FILE",
        help="File with an API token. Default: POLYFORGE_TOKEN. Without a token, only public data is shown.",
    ),
]
Data = Annotated[Path | None, typer.Option(help="Data directory of a running `polyforge up`.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON lines, as is done anyway if the output is not a terminal.")
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


class RequestRefused(Exception):
    """The request failed and would fail again. The message is for the user."""


class Unreachable(Exception):
    """No response, an incomplete one, or one that asks to retry later: after `pause` seconds, if known."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
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
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; yield a successful response of the content type `accept`.

        A `body` is sent as JSON. It may contain a key, so it does not follow a redirect. Raises RequestRefused and
        Unreachable, the latter also if the connection is lost while the response is read.
        """
        headers = {"Accept": accept, **({"Last-Event-ID": last_id} if last_id else {})}
        try:
            async with self.session.request(
                method, self.url + path, params=query, headers=headers, json=body, allow_redirects=body is None
            ) as answer:
                if answer.status != 200:
                    raise await _describe_failure(answer)
                if answer.content_type != accept:
                    raise self.refuse_answer()
                yield answer
        except aiohttp.ClientPayloadError:
            raise Unreachable(f"Lost the connection to {self.url}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = strip_control(str(error)) or type(error).__name__
            raise Unreachable(f"Cannot reach {self.url}: {reason}") from None

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, key: str, method: str = "GET") -> Any:
        """Return the JSON object that a forge sends, which has this key. Raises RequestRefused and Unreachable."""
        async with self.request(path, query, method=method) as answer:
            content = await answer.read()
        try:
            found = orjson.loads(content)
        except ValueError:
            raise self.refuse_answer() from None
        if not isinstance(found, dict) or key not in found:
            raise self.refuse_answer()
        return found

    def refuse_answer(self) -> RequestRefused:
        return RequestRefused(f"{self.url} is not a Polyforge API.")


async def _describe_failure(answer: aiohttp.ClientResponse) -> RequestRefused | Unreachable:
    try:
        problem = orjson.loads(await answer.read())
        prefix = problem["errors"][0]["pointer"] + ": " if problem.get("errors") else ""
        message = prefix + (problem.get("detail") or problem.get("title") or problem["error"])
    except (ValueError, TypeError, LookupError, AttributeError):
        message = f"{answer.url.with_query(None)} returned {answer.status} {answer.reason}"
    retry_after = answer.headers.get("Retry-After", "")
    if answer.status in (408, 429) or answer.status >= 500:
        pause = float(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else None
        return Unreachable(strip_control(message), pause)
    return RequestRefused(strip_control(message))


class Backoff:
    """Waits between attempts. A forge that has never answered is not waited for: its URL is probably wrong."""

    def __init__(self) -> None:
        self.answered = False

    async def wait(self, error: Unreachable, pause: float = RETRY_PAUSE) -> None:
        """Wait `pause` seconds, or as long as the forge asks for. Raises the error if there was no answer yet."""
        if not self.answered:
            raise error
        seconds = pause if error.pause is None else error.pause
        typer.echo(f"{error} (retrying in {seconds:g} s)", err=True)
        await asyncio.sleep(seconds)


@asynccontextmanager
async def connect(url: str | None, token: str | None, data: Path | None) -> AsyncIterator[ForgeClient]:
    address = (url or load_settings(data).url).rstrip("/")
    if "@" in address.partition("://")[2].partition("/")[0]:
        # It would be printed with every error.
        raise RequestRefused("The URL of a forge has no user and no password; use --token or POLYFORGE_TOKEN.")
    headers = {"Authorization": f"token {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=READ_TIMEOUT)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield ForgeClient(address, session)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine and return its result; None if Ctrl-C or SIGTERM stopped it."""

    async def run_until_signal() -> Any:
        task = asyncio.create_task(main)
        await wait_for_signal(task)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    return asyncio.run(run_until_signal())


def open_console(json: bool) -> Console | None:
    """Return a console if the output is a terminal; None if JSON is requested or the output is redirected."""
    return Console(highlight=False) if sys.stdout.isatty() and not json else None


def print_json(value: Any) -> None:
    """Print a line of JSON and flush it."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, json: bool = False) -> None:
    """Print a line for each row: aligned below a line of names, or JSON. Nothing is wrapped, cut or decorated."""
    if json:
        for row in rows:
            print_json({column: row[column] for column in columns})
        return
    lines = [list(columns), *([strip_control(row[column]) for column in columns] for row in rows)]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        padded = (set_cell_size(text, width) for text, width in zip(line, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


def strip_control(text: str) -> str:
    """Replace line ends and control characters, which could manipulate the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
