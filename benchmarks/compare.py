"""Compare this checkout with another one: `python -m benchmarks.compare OTHER` runs both forges and alternates between
them, so that other load on the machine affects both.
"""

import argparse
import asyncio
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import latency, machine
from benchmarks.forge import Forge, create_projects, run_forge
from benchmarks.load import build_get, build_post, run_load

ROUNDS = 5
SECONDS = 1.5  # of each load
PROJECTS = 40
ISSUES = 60
COMMITTER = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "http.proxy="]


class Side:
    """One of the two forges, seeded, and a clone to push from."""

    def __init__(self, forge: Forge, folder: Path) -> None:
        self.forge = forge
        self.clone = folder / "clone"
        self.url = f"http://admin:{forge.token}@127.0.0.1:{forge.port}/busy-0.git"
        self.projects = create_projects(forge, "busy", PROJECTS)
        for number in range(ISSUES):
            issue = {"title": f"Issue {number}", "issue_content": "Seeded"}
            forge.call("POST", "/api/0/busy-1/new_issue", issue)
        folder.mkdir()
        self.git("init", "-q", "-b", "main", str(self.clone))
        self.commit_files(1)
        self.git("push", "-q", self.url, "main")

    def git(self, *arguments: str) -> None:
        folder = self.clone if self.clone.exists() else self.clone.parent
        subprocess.run(["git", *COMMITTER, *arguments], cwd=folder, check=True, capture_output=True, timeout=120)

    def commit_files(self, count: int) -> None:
        """Commit this number of new files, each of its own folder, which makes three objects for each."""
        for number in range(count):
            folder = self.clone / secrets.token_hex(4)
            folder.mkdir()
            (folder / f"{number}").write_text(secrets.token_hex(32))
        self.git("add", ".")
        self.git("commit", "-q", "-m", "Files")

    def read(self, path: str) -> float:
        """Read this path over 16 connections; returns requests per second."""
        return run_load(self.forge.port, [build_get(path, self.forge.port, self.forge.token)], 16, SECONDS).rate

    def post_issues(self) -> float:
        """Open issues in all projects over 16 connections; returns issues per second."""
        body = {"title": "An issue", "issue_content": "Its content"}
        port, token = self.forge.port, self.forge.token
        requests = [build_post(f"/api/0/{name}/new_issue", port, token, body) for name in self.projects]
        return run_load(port, requests, 16, SECONDS).rate

    def push(self, files: int) -> float:
        """Push a commit with new files; returns milliseconds."""
        self.commit_files(files)
        return self.time_git("push", "-q", self.url, "main")

    def time_git(self, *arguments: str) -> float:
        begun = time.perf_counter()
        self.git(*arguments)
        return (time.perf_counter() - begun) * 1000

    def clone_bare(self) -> float:
        target = self.clone.parent / secrets.token_hex(4)
        return self.time_git("clone", "-q", "--bare", self.url, str(target))

    def create_project(self) -> float:
        """Create a project; returns the milliseconds until its repository exists."""
        begun = time.perf_counter()
        self.forge.call("POST", "/api/0/new", {"name": f"new-{secrets.token_hex(4)}", "description": "Measured"})
        return (time.perf_counter() - begun) * 1000

    def wake_waiter(self) -> float:
        """Wake a long poll with an issue; returns the median of the milliseconds since the POST."""
        since_post, _ = asyncio.run(latency.measure_wake_ups(self.forge, "busy-2", 4))
        return statistics.median(since_post)


Measure = Callable[[Side], float]
RATES: dict[str, Measure] = {
    "GET a project": lambda side: side.read("/api/0/busy-0"),
    "list 20 of 40 projects": lambda side: side.read("/api/0/projects?per_page=20"),
    "list 20 of 60 issues": lambda side: side.read("/api/0/busy-1/issues?per_page=20"),
    "GET an issue": lambda side: side.read("/api/0/busy-1/issue/1"),
    "GET the branches": lambda side: side.read("/api/0/busy-0/git/branches"),
    "POST new_issue": Side.post_issues,
}
TIMES: dict[str, Measure] = {
    "POST /new": Side.create_project,
    "long poll gets an issue": Side.wake_waiter,
    "git ls-remote": lambda side: side.time_git("ls-remote", "-q", side.url),
    "git clone": Side.clone_bare,
    "git push, 3 objects": lambda side: side.push(1),
    "git push, 300 objects": lambda side: side.push(100),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout, set up with `make setup`")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each measure")
    parser.add_argument("--only", action="append", choices=[*RATES, *TIMES], help="one measure only; may be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyforge-compare-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        sides = []
        for name, checkout in (("before", options.other), ("after", Path.cwd())):
            data = Path(folder, name)
            data.mkdir()
            program = checkout.resolve() / ".venv/bin/polyforge"
            forge = stack.enter_context(run_forge(data / "data", secrets.token_hex(24), program))
            sides.append(Side(forge, data / "work"))
        print(f"{machine.describe_machine()}; medians of {options.rounds} alternating rounds\n")
        print("| measure | before | after | after : before |\n| --- | --- | --- | --- |")
        for measures, unit in ((RATES, "/s"), (TIMES, " ms")):
            for name, measure in measures.items():
                if name in (options.only or measures):
                    print(compare(name, measure, unit, sides, options.rounds), flush=True)


def compare(name: str, measure: Measure, unit: str, sides: list[Side], rounds: int) -> str:
    """Measure both sides in turn, the first one first in every other round; returns a row of the table.

    The ratio is the median of the rounds' ratios, with the lowest and the highest one.
    """
    figures: list[list[float]] = [[], []]
    for index in range(rounds + 1):
        order = (0, 1) if index % 2 else (1, 0)
        for side in order:
            figures[side].append(measure(sides[side]))
        sys.stderr.write(f"\r{name}: {index}/{rounds}   ")
    before, after = (values[1:] for values in figures)  # the first round warms up
    ratios = [late / early for early, late in zip(before, after, strict=True)]
    medians = [f"{statistics.median(values):,.{0 if unit == '/s' else 1}f}{unit}" for values in (before, after)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {name} | {medians[0]} | {medians[1]} | {spread} |"


if __name__ == "__main__":
    main()
