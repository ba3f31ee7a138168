"""`polyforge rpc`: call methods of the JSON-RPC dialects, and wait for the tasks that they start."""

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from uuid import UUID, uuid4

import typer
from rich.console import Console

from app.cli.client import Data, ForgeClient, RequestRefused, connect, run, strip_control
from app.cli.rpc_config import Server, choose_server, split_dialect
from app.cli.tasks import INTERRUPTED, add_bar, build_progress, describe_state, fetch_state, name_task, watch_task
from app.config import SettingError

Dialect = Literal["kallithea", "rhodecode"]
Format = Literal["json", "pretty"]
DIALECTS = frozenset(get_args(Dialect))
STDIN = Path("-")


def rpc(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method, such as get_repo.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY:VALUE", help="Arguments of the method. The values are sent as strings."),
    ] = None,
    args_file: Annotated[
        Path | None,
        typer.Option(
            help="File with a JSON object of more arguments, such as passwords and values that are no strings. "
            "`-` is the standard input."
        ),
    ] = None,
    output: Annotated[
        Format | None, typer.Option("--format", help="Default: pretty at a terminal, json otherwise.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    dialect: Annotated[
        Dialect | None, typer.Option(help="Default: the one at the end of the URL, or the one that the forge chooses.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Config file of kallithea-api, rhodecode-api or RhodeCode Tools. Default: the first in HOME."
        ),
    ] = None,
    instance_name: Annotated[
        str | None, typer.Option(help="Server in the config file of RhodeCode Tools. Default: the only one.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the task that the call starts.")] = True,
    url: Annotated[
        str | None, typer.Option(help="URL of the server. Default: the config file's, or POLYFORGE_URL.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the key. Default: the config file's, or POLYFORGE_TOKEN_FILE, or POLYFORGE_TOKEN."
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Call a method of RhodeCode's or Kallithea's JSON-RPC.

    The exit code is 0 if the call and the task that it started succeeded, 1 if not, 2 if an option, an argument or a
    file is wrong. Options take precedence over the config file, which takes precedence over variables.
    """
    if json and output == "pretty":
        raise typer.BadParameter("--json and --format pretty contradict each other.")
    sent = read_arguments(method, arguments or [], args_file)
    server = choose_server(config, instance_name, url, token_file, data)
    pretty = output == "pretty" or (output is None and not json and sys.stdout.isatty())
    code = run(call_and_wait(server, dialect, method, sent, pretty=pretty, wait=wait))
    raise typer.Exit(INTERRUPTED if code is None else code)


async def call_and_wait(
    server: Server, dialect: str | None, method: str, sent: dict[str, Any], *, pretty: bool, wait: bool
) -> int:
    """Call a method, print its result and wait for its task. Return 0. Raises RequestRefused and Unreachable."""
    forge_url, last = split_dialect(server.url, DIALECTS)
    path = "/".join(["", *filter(None, [dialect or last]), "_admin", "api"])
    async with connect(forge_url, server.key, None) as forge:
        if pretty:
            typer.echo(f"Calling method {strip_control(method)} => {strip_control(server.url)}")
        result = await call_method(forge, path, server.key, method, sent)
        print_result(result, pretty=pretty)
        if wait and (task_id := find_task(result)) is not None:
            await wait_for_task(forge, task_id)
    return 0


def read_arguments(method: str, words: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Return the arguments of a call. A word is split at its first colon. The errors do not repeat it: it may be a
    password that was not quoted.
    """
    sent: dict[str, Any] = read_arguments_file(file) if file is not None else {}
    if not all(_is_unicode(word) for word in (method, *words)):
        raise typer.BadParameter("Methods, keys and values must be text in UTF-8.")
    for place, word in enumerate(words, 1):
        key, colon, value = word.partition(":")
        if not (key and colon):
            raise typer.BadParameter(f"Arguments are KEY:VALUE; number {place} has no key or no colon.")
        if key in sent:
            raise typer.BadParameter(f"Argument number {place} has a key that was given before.")
        sent[key] = value
    return sent


def read_arguments_file(file: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        text = (sys.stdin.buffer.read() if file == STDIN else file.read_bytes()).decode()
        sent = jsonlib.loads(text, parse_constant=refuse)
    except OSError as error:
        raise SettingError(f"Cannot read {file}: {error.strerror}.") from None
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise SettingError(f"{'The standard input' if file == STDIN else file} is not a JSON object.")
    return sent


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def call_method(forge: ForgeClient, path: str, key: str, method: str, args: dict[str, Any]) -> Any:
    """Call a method and return its result. Raises RequestRefused and Unreachable."""
    call_id = str(uuid4())
    body = {"id": call_id, "api_key": key, "method": method, "args": args}
    async with forge.request(path, method="POST", body=body) as answer:
        content = await answer.read()
    try:
        reply = jsonlib.loads(content)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or not reply.keys() >= {"result", "error"}:
        raise RequestRefused(f"{forge.url}{path} does not speak JSON-RPC.")
    if reply["error"] is not None:
        raise RequestRefused(describe_error(reply["error"]).replace(key, "***"))
    if reply.get("id") != call_id:
        raise RequestRefused(f"{forge.url}{path} answered another call.")
    return reply["result"]


def describe_error(error: Any) -> str:
    """Describe the error of a call, which is a text or, from newer RhodeCode servers, an object with one per field."""
    texts = [f"{name}: {text}" for name, text in error.items()] if isinstance(error, dict) else [str(error)]
    return strip_control("; ".join(texts))


def print_result(result: Any, *, pretty: bool) -> None:
    """Print a result as the older clients do: in ASCII, which cannot manipulate a terminal."""
    if pretty:
        typer.echo("Server response ")
        typer.echo(jsonlib.dumps(result, indent=4, sort_keys=True))
    else:
        typer.echo(jsonlib.dumps(result))


def find_task(result: Any) -> UUID | None:
    """Return the id of the task that a call has started; None if it has started none. Raises RequestRefused."""
    task = result.get("task") if isinstance(result, dict) else None
    if not isinstance(task, str):
        return None
    try:
        return UUID(task)
    except ValueError:
        raise RequestRefused("The call has started a task that cannot be watched.") from None


async def wait_for_task(forge: ForgeClient, task_id: UUID) -> None:
    """Wait for a task. Standard error shows a progress bar, or a line for each state if it is not a terminal.

    Raises RequestRefused if the task does not succeed.
    """
    task = await fetch_state(forge, f"/v1/tasks/{task_id}")
    if sys.stderr.isatty():
        with build_progress(Console(stderr=True, highlight=False)) as progress:
            task = await watch_task(forge, task, add_bar(progress, task))
    else:
        task = await watch_task(forge, task, print_state)
    if task["status"] != "succeeded":
        raise RequestRefused(f"{name_task(task)}: {describe_state(task)}")


def print_state(task: Any) -> None:
    percent = "" if task["percent"] is None else f" {task['percent']}%"
    typer.echo(f"{name_task(task)}: {describe_state(task)}{percent}", err=True)
