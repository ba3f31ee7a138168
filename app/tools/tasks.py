"""`polyforge tasks`: what work there is, and how far it is."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column, Table

from app.tools.forge import WAIT, Address, Away, Data, Forge, Json, Patience, Token, plain, reached, run, say, terminal

FINAL = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
TOLD_TO_STOP = 130


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
        async with reached(url, token, data) as forge:
            found = await chosen(forge, task_id, query, unfinished=watch)
            if watch:
                return await watched(forge, found, console)
            listed(found, console)
            return 0

    code = run(main())
    raise typer.Exit(TOLD_TO_STOP if code is None else code)


async def chosen(forge: Forge, task_id: UUID | None, query: dict[str, str], unfinished: bool) -> list[Any]:
    """The task, or the newest of the list; of those that are to be watched, one's own that have not ended."""
    if task_id is not None:
        return [await forge.get(f"/v1/tasks/{task_id}")]
    if not unfinished:
        return list((await forge.get("/v1/tasks", query))["tasks"])
    if "actor" not in query:
        query = {**query, "actor": (await forge.get("/api/0/-/whoami", method="POST"))["username"]}
    pages = [await forge.get("/v1/tasks", {**query, "status": status}) for status in ("queued", "running")]
    return list({task["id"]: task for page in pages for task in page["tasks"]}.values())


async def watched(forge: Forge, found: list[Any], console: Console | None) -> int:
    """1 if one of them did not succeed."""
    if console is None:
        ends = await asyncio.gather(*(until_ended(forge, task, say) for task in found))
    else:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
            console=console,
        ) as progress:  # fmt: skip
            ends = await asyncio.gather(*(until_ended(forge, task, bar(progress, task)) for task in found))
        if not found:
            console.print("Nothing is queued or running.")
    return 0 if all(end == "succeeded" for end in ends) else 1


async def until_ended(forge: Forge, task: Any, tell: Callable[[Any], None]) -> str:
    """How it ended. Each state that it is found in is told once."""
    tell(task)
    patience = Patience()
    patience.answered = True
    while task["status"] not in FINAL:
        try:
            later = await forge.get(f"/v1/tasks/{task['id']}", {"wait": str(WAIT), "after": str(task["seq"])})
        except Away as away:
            await patience.after(away)
            continue
        if later != task:
            tell(later)
        task = later
    return str(task["status"])


def bar(progress: Progress, task: Any) -> Callable[[Any], None]:
    """A line of the display, which follows what it is told."""
    name = progress.add_task(plain(f"{task['kind']} {task['project'] or ''}"), total=None, state="")

    def tell(task: Any) -> None:
        total = 100 if task["percent"] is not None or task["status"] in FINAL else None
        progress.update(name, total=total, completed=task["percent"] or 0, state=state(task))

    return tell


def state(task: Any) -> str:
    """Status, stage, attempts from the second on, and what went wrong."""
    color = FINAL.get(task["status"])
    words = [
        f"[{color}]{task['status']}[/]" if color else task["status"],
        plain(task["stage"] or ""),
        f"attempt {task['attempts']}" if task["attempts"] > 1 else "",
        plain(task["message"] or "").replace("[", r"\["),
    ]
    return " ".join(filter(None, words))


def listed(found: list[Any], console: Console | None) -> None:
    if console is None:
        for task in found:
            say(task)
        return
    table = Table(Column("id", no_wrap=True), "kind", "project", "actor", "state", "made")
    for task in found:
        names = [plain(task[name] or "").replace("[", r"\[") for name in ("kind", "project", "actor")]
        table.add_row(task["id"], *names, state(task), task["created_at"])
    console.print(table)
