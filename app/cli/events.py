"""`polyforge events`: print a page of the event feed, or follow it."""

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
    open_console,
    print_json,
    run,
    strip_control,
)
from app.cli.secret_options import read_option

EVENT_STREAM = "text/event-stream"
SUMMARY_FIELDS = ("title", "ref", "name", "username", "reason")  # the first one present is printed


def events(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new events as they happen, until Ctrl-C.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(help="Start after this event number, or `now`. Default: 0, with --follow `now`.", metavar="SEQ"),
    ] = None,
    types: Annotated[str | None, typer.Option(help="Event types, such as issue.*,ref.updated.")] = None,
    project: Annotated[str | None, typer.Option(help="Path of a project.")] = None,
    actor: Annotated[str | None, typer.Option(help="Name of the user who caused the events.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of events in the page.")] = 100,
    json: Json = False,
    url: Address = None,
    token_file: Token = None,
    data: Data = None,
) -> None:
    """Print a page of events, or follow them with --follow.

    Following reconnects after interruptions, and neither misses nor repeats an event.
    """
    filters = {"after": after, "types": types, "project": project, "actor": actor}
    query = {name: value for name, value in filters.items() if value is not None}
    console = open_console(json)

    async def main() -> None:
        async with connect(url, read_option("POLYFORGE_TOKEN", token_file), data) as forge:
            if follow:
                async with aclosing(follow_events(forge, {"after": "now", **query})) as following:
                    async for event in following:
                        print_event(event, console)
            else:
                page = await forge.get("/v1/events", {**query, "limit": str(limit)}, key="events")
                for event in page["events"]:
                    print_event(event, console)
                if page["next"] < page["head"]:
                    typer.echo(f"There are more events: continue with --after {page['next']}.", err=True)

    run(main())


async def follow_events(forge: ForgeClient, query: Mapping[str, str]) -> AsyncGenerator[Any, None]:
    """Yield every event after `after`, without end; a stream that breaks off is resumed."""
    backoff, stream = Backoff(), sse.Stream()
    if query["after"] == "now":
        # Resolved to a number: if the connection is lost before the first message, `now` would skip events on return.
        head = (await forge.get("/v1/events", {**query, "limit": "1"}, key="next"))["next"]
        query = {**query, "after": str(head)}
        backoff.answered = True
    while True:
        try:
            async with forge.request("/v1/events", query, accept=EVENT_STREAM, last_id=stream.last_id) as answer:
                backoff.answered = True
                async for message in stream.read(answer.content.iter_any()):
                    if message.event != "bookmark":
                        yield orjson.loads(message.data)
            raise Unreachable(f"{forge.url} closed the stream")
        except Unreachable as error:
            await backoff.wait(error, stream.retry)


def print_event(event: Any, console: Console | None) -> None:
    if console is None:
        print_json(event)
        return
    at = datetime.fromisoformat(event["at"]).astimezone()
    project = (event["project"] or {}).get("path") or ""
    summary = next((str(event["data"][name]) for name in SUMMARY_FIELDS if event["data"].get(name)), "")
    line = Text.assemble(
        (f"{at:%Y-%m-%d %H:%M:%S}", "dim"),
        (f" {event['seq']:>7} ", "cyan"),
        (f"{strip_control(event['type']):<28} ", "bold"),
        (f"{strip_control(event['actor']):<12} ", "green"),
        strip_control(project),
        " ",
        (strip_control(event["subject"]), "dim"),
        " ",
        strip_control(summary),
    )
    console.print(line, soft_wrap=True)
