"""`polyforge tasks`: what work there is, and how far it is."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column, Table

from app.cli.client import (
    LONG_POLL_SECONDS,
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

FINAL = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
INTERRUPTED = 130


def tasks(
    task_id: Annotated[UUID | None, typer.Argument(metavar="[ID]", help="One task; default: a list.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Until they have ended; without an ID, your own that have not.")
    ] = False,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled")] = None,
    project: Annotated[str | None, typer.Option(help="A project's path.")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as create-project")] = None,
    actor: Annotated[str | None, typer.Option(help="A username.")] = None,
    json: Json = False,
    url: Address = None,
    token: Token = None,
    data: Data = None,
) -> None:
    """Show tasks, or watch them until they end: exit code 1 if one of them failed or was cancelled."""
    wanted = {"status": status, "project": project, "kind": kind, "actor": actor}
    query = {name: value for name, value in wanted.items() if value is not None}
    console = terminal(json)

    async def main() -> int:
        async with connect(url, token, data) as forge:
            found = await select_tasks(forge, task_id, query, unfinished=watch)
            if watch:
                return await watch_tasks(forge, found, console)
            build_table(found, console)
            return 0

    code = run(main())
    raise typer.Exit(INTERRUPTED if code is None else code)


async def select_tasks(forge: ForgeClient, task_id: UUID | None, query: dict[str, str], unfinished: bool) -> list[Any]:
    """The task, or the newest of the list; of those that are to be watched, one's own that have not ended."""
    if task_id is not None:
        return [await forge.get(f"/v1/tasks/{task_id}")]
    if not unfinished:
        return list((await forge.get("/v1/tasks", query))["tasks"])
    if "actor" not in query:
        query = {**query, "actor": (await forge.get("/api/0/-/whoami", method="POST"))["username"]}
    pages = [await forge.get("/v1/tasks", {**query, "status": status}) for status in ("queued", "running")]
    return list({task["id"]: task for page in pages for task in page["tasks"]}.values())


async def watch_tasks(forge: ForgeClient, found: list[Any], console: Console | None) -> int:
    """1 if one of them did not succeed."""
    if console is None:
        ends = await asyncio.gather(*(follow_until_ended(forge, task, print_json) for task in found))
    else:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
            console=console,
        ) as progress:  # fmt: skip
            ends = await asyncio.gather(
                *(follow_until_ended(forge, task, update_bar(progress, task)) for task in found)
            )
        if not found:
            console.print("Nothing is queued or running.")
    return 0 if all(end == "succeeded" for end in ends) else 1


async def follow_until_ended(forge: ForgeClient, task: Any, tell: Callable[[Any], None]) -> str:
    """How it ended. Each state that it is found in is told once."""
    tell(task)
    backoff = Backoff()
    backoff.answered = True
    while task["status"] not in FINAL:
        try:
            later = await forge.get(
                f"/v1/tasks/{task['id']}", {"wait": str(LONG_POLL_SECONDS), "after": str(task["seq"])}
            )
        except Unreachable as away:
            await backoff.wait(away)
            continue
        if later != task:
            tell(later)
        task = later
    return str(task["status"])


def update_bar(progress: Progress, task: Any) -> Callable[[Any], None]:
    """A line of the display, which follows what it is told."""
    name = progress.add_task(strip_control(f"{task['kind']} {task['project'] or ''}"), total=None, state="")

    def tell(task: Any) -> None:
        total = 100 if task["percent"] is not None or task["status"] in FINAL else None
        progress.update(name, total=total, completed=task["percent"] or 0, state=describe_state(task))

    return tell


def describe_state(task: Any) -> str:
    """Status, stage, attempts from the second on, and what went wrong."""
    color = FINAL.get(task["status"])
    words = [
        f"[{color}]{task['status']}[/]" if color else task["status"],
        strip_control(task["stage"] or ""),
        f"attempt {task['attempts']}" if task["attempts"] > 1 else "",
        strip_control(task["message"] or "").replace("[", r"\["),
    ]
    return " ".join(filter(None, words))


def build_table(found: list[Any], console: Console | None) -> None:
    if console is None:
        for task in found:
            print_json(task)
        return
    table = Table(Column("id", no_wrap=True), "kind", "project", "actor", "state", "made")
    for task in found:
        names = [strip_control(task[name] or "").replace("[", r"\[") for name in ("kind", "project", "actor")]
        table.add_row(task["id"], *names, describe_state(task), task["created_at"])
    console.print(table)
