"""`polyforge events`: the event feed, by the page or as it happens."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from app.cli import sse
from app.cli.client import (
    Address,
    Backoff,
    Data,
    ForgeClient,
    Json,
    Token,
    Unreachable,
    connect,
    print_json,
    run,
    strip_control,
    terminal,
)

STREAM = "text/event-stream"
RENDERERS = ("title", "ref", "name", "username", "reason")  # fields that say most of an event, the first that is there


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    after: Annotated[
        str | None, typer.Option(help="A number, or `now`; default: 0, and `now` with --follow.", metavar="SEQ")
    ] = None,
    types: Annotated[str | None, typer.Option(help="Such as issue.*,ref.updated")] = None,
    project: Annotated[str | None, typer.Option(help="A project's path.")] = None,
    actor: Annotated[str | None, typer.Option(help="A username.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Events of the page.")] = 100,
    json: Json = False,
    url: Address = None,
    token: Token = None,
    data: Data = None,
) -> None:
    """Show events: one page, or with --follow all that happen, over cuts and restarts, none missing and none twice."""
    wanted = {"after": after, "types": types, "project": project, "actor": actor}
    query = {name: value for name, value in wanted.items() if value is not None}
    console = terminal(json)

    async def main() -> None:
        async with connect(url, token, data) as forge:
            if follow:
                async with aclosing(follow_events(forge, {"after": "now", **query})) as following:
                    async for event in following:
                        print_event(event, console)
            else:
                page = await forge.get("/v1/events", {**query, "limit": str(limit)})
                for event in page["events"]:
                    print_event(event, console)
                if page["next"] < page["head"]:
                    typer.echo(f"Go on with --after {page['next']}.", err=True)

    run(main())


async def follow_events(forge: ForgeClient, query: Mapping[str, str]) -> AsyncGenerator[Any, None]:
    """Every event from `after` on, for ever: where a stream breaks off, the next one goes on."""
    backoff, stream = Backoff(), sse.Stream()
    if query["after"] == "now":
        # As a number, or whatever happens between a cut before the first message and the return would be missed.
        head = (await forge.get("/v1/events", {**query, "limit": "1"}))["next"]
        query = {**query, "after": str(head)}
        backoff.answered = True
    while True:
        try:
            async with forge.request("/v1/events", query, accept=STREAM, last_id=stream.last_id) as answer:
                backoff.answered = True
                async for message in stream.read(answer.content.iter_any()):
                    if message.event != "bookmark":
                        yield orjson.loads(message.data)
            raise Unreachable(f"{forge.url} ended the stream")
        except Unreachable as away:
            await backoff.wait(away, stream.retry)


def print_event(event: Any, console: Console | None) -> None:
    if console is None:
        print_json(event)
        return
    at = datetime.fromisoformat(event["at"]).astimezone()
    project = (event["project"] or {}).get("path") or ""
    told = next((str(event["data"][name]) for name in RENDERERS if event["data"].get(name)), "")
    line = Text.assemble(
        (f"{at:%Y-%m-%d %H:%M:%S}", "dim"),
        (f" {event['seq']:>7} ", "cyan"),
        (f"{strip_control(event['type']):<28} ", "bold"),
        (f"{strip_control(event['actor']):<12} ", "green"),
        strip_control(project),
        " ",
        (strip_control(event["subject"]), "dim"),
        " ",
        strip_control(told),
    )
    console.print(line, soft_wrap=True)
