"""`polyforge tasks`: list tasks and watch their progress."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn
from rich.progress import Task as ProgressTask
from rich.text import Text

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
    open_console,
    print_json,
    print_table,
    run,
    strip_control,
)
from app.cli.secret_options import read_option

FINAL = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
INTERRUPTED = 130  # exit code


def tasks(
    task_id: Annotated[
        UUID | None, typer.Argument(metavar="[ID]", help="Show this task. Default: the newest tasks.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Watch until the end. Without an ID: your own unfinished tasks.")
    ] = False,
    status: Annotated[str | None, typer.Option(help="One of queued, running, succeeded, failed, cancelled.")] = None,
    project: Annotated[str | None, typer.Option(help="Path of a project.")] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of task, such as create-project.")] = None,
    actor: Annotated[str | None, typer.Option(help="Name of the user who started the tasks.")] = None,
    json: Json = False,
    url: Address = None,
    token_file: Token = None,
    data: Data = None,
) -> None:
    """List tasks, or watch them until they end.

    With --watch, the exit code is 1 if a task failed or was cancelled.
    """
    filters = {"status": status, "project": project, "kind": kind, "actor": actor}
    query = {name: value for name, value in filters.items() if value is not None}
    console = open_console(json)

    async def main() -> int:
        async with connect(url, read_option("POLYFORGE_TOKEN", token_file), data) as forge:
            selected = await select_tasks(forge, task_id, query, unfinished=watch)
            if watch:
                return await watch_tasks(forge, selected, console)
            print_tasks(selected, console)
            return 0

    code = run(main())
    raise typer.Exit(INTERRUPTED if code is None else code)


async def select_tasks(forge: ForgeClient, task_id: UUID | None, query: dict[str, str], unfinished: bool) -> list[Any]:
    """Return one task by id, the newest tasks, or the unfinished tasks of the user or of the requested actor."""
    if task_id is not None:
        return [await forge.get(f"/v1/tasks/{task_id}", key="seq")]
    if not unfinished:
        return list((await forge.get("/v1/tasks", query, key="tasks"))["tasks"])
    if "actor" not in query:
        actor = (await forge.get("/api/0/-/whoami", key="username", method="POST"))["username"]
        query = {**query, "actor": actor}
    pages = [await forge.get("/v1/tasks", {**query, "status": status}, key="tasks") for status in ("queued", "running")]
    return list({task["id"]: task for page in pages for task in page["tasks"]}.values())


class StateColumn(ProgressColumn):
    """The state of a task, in the color of its status."""

    def render(self, task: ProgressTask) -> Text:
        state: Text = task.fields["state"]
        return state


async def watch_tasks(forge: ForgeClient, selected: list[Any], console: Console | None) -> int:
    """Watch tasks until all have ended; return the exit code: 1 if one did not succeed."""
    if console is None:
        results = await asyncio.gather(*(watch_task(forge, task, print_json) for task in selected))
    else:
        with build_progress(console) as progress:
            results = await asyncio.gather(*(watch_task(forge, task, add_bar(progress, task)) for task in selected))
        if not selected:
            console.print("No tasks are queued or running.")
    return 0 if all(result["status"] == "succeeded" for result in results) else 1


async def watch_task(forge: ForgeClient, task: Any, report: Callable[[Any], None]) -> Any:
    """Report each state of a task once, until it has ended; return the last one."""
    report(task)
    while task["status"] not in FINAL:
        query = {"wait": str(LONG_POLL_SECONDS), "after": str(task["seq"])}
        later = await fetch_state(forge, f"/v1/tasks/{task['id']}", query)
        if later != task:
            report(later)
        task = later
    return task


async def fetch_state(forge: ForgeClient, path: str, query: Mapping[str, str] | None = None) -> Any:
    """Fetch the state of a task from a forge that has answered before: until it answers again if it is away."""
    backoff = Backoff()
    backoff.answered = True
    while True:
        try:
            return await forge.get(path, query, key="seq")
        except Unreachable as error:
            await backoff.wait(error)


def build_progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), StateColumn(),
        console=console,
    )  # fmt: skip


def add_bar(progress: Progress, task: Any) -> Callable[[Any], None]:
    """Add a progress bar for a task; return the function that updates it."""
    bar = progress.add_task(name_task(task), total=None, state=Text())

    def update(task: Any) -> None:
        state = Text(describe_state(task), FINAL.get(task["status"], ""))
        total = 100 if task["percent"] is not None or task["status"] in FINAL else None
        progress.update(
            bar,
            total=total,
            completed=task["percent"] or 0,
            state=state,
        )

    return update


def name_task(task: Any) -> str:
    """Return the kind of a task and, if there is one, its project."""
    return strip_control(" ".join(filter(None, (task["kind"], task["project"]))))


def describe_state(task: Any) -> str:
    """Describe status, stage, message and, from the second one on, the attempt."""
    words = [
        task["status"],
        strip_control(task["stage"] or ""),
        f"attempt {task['attempts']}" if task["attempts"] > 1 else "",
        strip_control(task["message"] or ""),
    ]
    return " ".join(filter(None, words))


def print_tasks(selected: list[Any], console: Console | None) -> None:
    if console is None:
        for task in selected:
            print_json(task)
        return
    rows = [{**task, "project": task["project"] or "", "state": describe_state(task)} for task in selected]
    print_table(("id", "kind", "project", "actor", "state", "created_at"), rows)
