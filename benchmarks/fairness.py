"""What one user's work costs another: tasks of a stranger while 10,000 refs are pushed, and merges at the same time."""

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.forge import Forge, create_projects, run_forge
from benchmarks.load import quantile
from benchmarks.pushes import GIT, Pusher
from benchmarks.report import Row

REFS = 10_000
TASKS = 30  # of the stranger, in each of the two cases
AIM_TASK = 500.0  # milliseconds, p99
MERGES = {12: 3.0, 50: None}  # merges at once, and the seconds that they may take
TIMEOUT = 120.0  # seconds for all merges


def measure(folder: Path, token: str) -> list[Row]:
    data = folder / "fairness" / "data"
    data.parent.mkdir()
    with run_forge(data, token) as forge:
        create_projects(forge, "pushed", 1)
        pusher = Pusher(forge, data.parent / "clone.git")
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", pusher.clone], check=True)
        pusher.push_objects(10)
        return [*_measure_tasks(forge, pusher), *(_measure_merges(forge, folder, count) for count in MERGES)]


def _time_task(forge: Forge, name: str) -> float:
    """Create a project and wait for its task; return the milliseconds that it took."""
    begun = time.perf_counter()
    task = forge.call("POST", "/api/0/new", {"name": name, "description": "d", "wait": False})["taskid"]
    while forge.call("GET", f"/v1/tasks/{task}?wait=30")["status"] != "succeeded":
        pass
    return (time.perf_counter() - begun) * 1000


def _measure_tasks(forge: Forge, pusher: Pusher) -> list[Row]:
    alone = [_time_task(forge, f"alone-{number}") for number in range(TASKS)]
    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(pusher.push_refs, REFS)
        beside: list[float] = []
        while not pushing.done() or len(beside) < TASKS:
            beside.append(_time_task(forge, f"beside-{len(beside)}"))
        pushed = pushing.result() / 1000
    p99, least = quantile(beside, 0.99), quantile(alone, 0.99)
    return [
        Row(f"push of {REFS:,} new branches", f"{pushed:.1f} s"),
        Row(
            f"task of a stranger meanwhile ({len(beside)} tasks)",
            f"p50 {quantile(beside, 0.5):.0f} ms, p99 {p99:.0f} ms",
            f"p99 {least:.0f} ms (alone)",
            p99 / least,
            f"p99 ≤ {AIM_TASK:.0f} ms",
            p99 <= AIM_TASK,
        ),
    ]


def _measure_merges(forge: Forge, folder: Path, count: int) -> Row:
    """Merge pull requests of one project that do not conflict, all asked for at once."""
    name, work = f"merged-{count}", folder / f"merges-{count}"
    create_projects(forge, name, 1)
    name = f"{name}-0"
    url = f"http://admin:{forge.token}@127.0.0.1:{forge.port}/{name}.git"

    def git(*arguments: str) -> None:
        subprocess.run([*GIT, *arguments], cwd=work, check=True, capture_output=True)

    work.mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "first")
    for number in range(count):
        git("checkout", "-q", "-b", f"topic-{number}", "main")
        (work / f"file-{number}").write_text("text\n")
        git("add", ".")
        git("commit", "-q", "-m", "more")
    git("push", "-q", url, "--all")
    opening = {"title": "t", "branch_to": "main", "initial_comment": "c", "repo_from": name}
    numbers = [
        forge.call("POST", f"/api/0/{name}/pull-request/new", {**opening, "branch_from": f"topic-{number}"})["id"]
        for number in range(count)
    ]
    _wait(lambda: _count(forge, name, "Open") == count)
    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda number: forge.request("POST", f"/api/0/{name}/pull-request/{number}/merge"), numbers))
    _wait(lambda: _count(forge, name, "Merged") == count)
    seconds, aim = time.perf_counter() - begun, MERGES[count]
    if aim is None:
        return Row(f"{count} merges at once", f"{seconds:.1f} s")
    return Row(f"{count} merges at once", f"{seconds:.1f} s", aim=f"≤ {aim:.0f} s", met=seconds <= aim)


def _count(forge: Forge, name: str, status: str) -> int:
    total: int = forge.call("GET", f"/api/0/{name}/pull-requests?status={status}&per_page=1")["total_requests"]
    return total


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the merges did not end")
        time.sleep(0.02)
