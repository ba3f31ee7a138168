"""Pushes, merges, forks, issues and web hooks, while every part of the forge is killed, frozen and cut off at random.

The soak test ends after a number of pushes or minutes, whichever comes first, and then looks for what was lost, doubled
or left behind: `make soak`. The exit code is 1 if there is anything of that.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.logs import configure
from tests.processes import restart_service
from tests.promises.cluster import LEASE, Cluster, read_stat, run_cluster
from tests.promises.nemeses import CUT
from tests.promises.parts import kill
from tests.promises.soak_checks import Audit, audit
from tests.promises.soak_clients import PROJECTS, Clients, Ledger
from tests.receiver import Receiver, run_receiver

PAUSES = 0.3, 1.5  # seconds between two things that happen, at least and at most
SAMPLE_INTERVAL = 5.0  # seconds between two looks at the memory of the processes
WARM_UP = 0.5  # share of the time after which memory should not grow any more
LINE_INTERVAL = 15.0  # seconds between two lines of progress, where there is no terminal
SPARED = ("serve", "relay", "work")  # of each of these one process lives through the whole test


@dataclass
class Report:
    """What has happened, and what was found."""

    seed: int
    seconds: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    audit: Audit = field(default_factory=Audit)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # seconds and KiB, by process

    def render(self) -> str:
        """Render the figures and the first faults."""
        ledger = self.ledger
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s, {sum(self.happened.values())} nemeses: "
            + ", ".join(f"{count} {name}" for name, count in sorted(self.happened.items())),
            f"acknowledged: {ledger.pushes} pushes, {len(ledger.merges)} merges, {len(ledger.forks)} forks, "
            f"{len(ledger.issues)} issues",
            ", ".join(f"{count} {kind}" for kind, count in self.audit.counts.items())
            + f"; {self.audit.late_repetitions} late repetitions of deliveries",
        ]
        for name, samples in self.memory.items():
            first, last = samples[0][1] / 1024, samples[-1][1] / 1024
            lines.append(f"memory of {name}: {first:.1f} to {last:.1f} MiB, {find_slope(samples):+.2f} MiB a minute")
        return "\n".join([*lines, *self.audit.lines[:40]])


def find_slope(samples: list[tuple[float, int]]) -> float:
    """The slope of memory in MiB a minute, by least squares, after the first part of the time."""
    later = [sample for sample in samples if sample[0] >= samples[-1][0] * WARM_UP]
    if len(later) < 2:
        return 0.0
    middle = sum(at for at, _ in later) / len(later)
    spread = sum((at - middle) ** 2 for at, _ in later)
    return sum((at - middle) * size for at, size in later) / spread * 60 / 1024


class Nemesis:
    """Lets something happen every moment."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self.cluster = cluster
        self.chance = chance
        self.spared = {role: next(each for each in self._list(role)) for role in SPARED}
        self.happened: Counter[str] = Counter()
        # The first ones happen more often: what belongs to all processes takes them all down at once.
        self._choices: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
            ("kills", 6, self._kill),
            ("freezes", 4, self._freeze),
            ("kills of git", 5, self._kill_git),
            ("cut connections", 2, self._cut),
            ("restarts of the database", 1, self._restart_database),
            ("kills of the queue", 1, self._restart_queue),
            ("freezes of the queue", 1, self._freeze_queue),
            ("flushes of the queue", 1, self._flush_queue),
        ]

    async def rage(self) -> None:
        """Let one thing after the other happen, until cancelled."""
        names, weights, actions = zip(*self._choices, strict=True)
        while True:
            await asyncio.sleep(self.chance.uniform(*PAUSES))
            index = self.chance.choices(range(len(names)), weights)[0]
            await actions[index]()
            self.happened[names[index]] += 1

    def _list(self, *roles: str) -> list[Any]:
        alive: list[Any] = [process for process in self.cluster.processes if process.poll() is None]
        return [process for process in alive if process.name in roles]

    async def _kill(self) -> None:
        victims = [each for each in self._list(*SPARED) if each not in self.spared.values()]
        await kill(self.chance.choice(victims))
        await asyncio.sleep(self.chance.uniform(0, 0.3))
        await self.cluster.replace_ended()

    async def _freeze(self) -> None:
        process = self.chance.choice(self._list(*SPARED))
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.1, 2 * LEASE))
        process.send_signal(signal.SIGCONT)

    async def _kill_git(self) -> None:
        """Kill a git that an API process or a worker has started, or what that has started."""
        for _ in range(50):
            if running := list_git(self.cluster):
                with suppress(ProcessLookupError):
                    os.kill(self.chance.choice(running), signal.SIGKILL)
                return
            await asyncio.sleep(0.01)

    async def _cut(self) -> None:
        await self.cluster.query(CUT)

    async def _restart_database(self) -> None:
        service = self.cluster.postgres
        service.process.send_signal(self.chance.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]))
        await asyncio.to_thread(service.process.wait, 20)
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        await restart_service(service)

    async def _restart_queue(self) -> None:
        service = self.cluster.valkey
        await kill(service.process)
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        await restart_service(service)

    async def _freeze_queue(self) -> None:
        self.cluster.valkey.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.2, 2.0))
        self.cluster.valkey.process.send_signal(signal.SIGCONT)

    async def _flush_queue(self) -> None:
        async with Redis.from_url(self.cluster.valkey.url) as redis:
            await redis.flushall()


def list_git(cluster: Cluster) -> list[int]:
    """List the processes that the forge's processes have started, directly or not."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(read_stat(int(entry.name))[1])
    ours = {process.pid for process in cluster.processes}

    def is_started(pid: int) -> bool:
        while (pid := parents.get(pid, 0)) > 1:
            if pid in ours:
                return True
        return False

    return [pid for pid in parents if is_started(pid)]


class Soak:
    """One run of the soak test."""

    def __init__(self, pushes: int, minutes: float, seed: int) -> None:
        self.pushes = pushes
        self.seconds = minutes * 60
        self.report = Report(seed)

    async def run(self, show: Callable[[Report], None] = lambda report: None) -> Report:
        """Run until there are enough pushes or the time is over, and look for faults."""
        report = self.report
        with tempfile.TemporaryDirectory(prefix="polyforge-soak-") as folder:
            async with run_receiver() as receiver, run_cluster() as cluster:
                chance = random.Random(report.seed)
                clients = Clients(cluster, Path(folder), chance)
                report.ledger = clients.ledger
                await clients.prepare()
                subscribed = await _subscribe(cluster, receiver)
                nemesis = Nemesis(cluster, chance)
                report.happened = nemesis.happened
                await self._let_happen(clients, nemesis, show)
                await cluster.stand_up()
                await cluster.wait_until_ready()
                await cluster.wait_until_settled()
                report.audit = await audit(cluster, clients.ledger, receiver, subscribed)
        return report

    async def _let_happen(self, clients: Clients, nemesis: Nemesis, show: Callable[[Report], None]) -> None:
        began, sample_at = time.monotonic(), 0.0
        working = asyncio.create_task(clients.run())
        raging = asyncio.create_task(nemesis.rage())
        try:
            while not self._is_over(time.monotonic() - began):
                await asyncio.wait([working, raging], timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for task in (working, raging):
                    if task.done():
                        task.result()
                self.report.seconds = time.monotonic() - began
                if self.report.seconds >= sample_at:
                    sample_at += SAMPLE_INTERVAL
                    self._sample_memory(nemesis)
                show(self.report)
        finally:
            clients.running = False
            raging.cancel()
            await asyncio.wait([raging])
            await clients.cluster.stand_up()
            clients.cluster.valkey.process.send_signal(signal.SIGCONT)
            await working

    def _is_over(self, seconds: float) -> bool:
        return seconds >= self.seconds or self.report.ledger.pushes >= self.pushes

    def _sample_memory(self, nemesis: Nemesis) -> None:
        for role, process in nemesis.spared.items():
            status = Path(f"/proc/{process.pid}/status").read_text()
            size = int(status.partition("RssAnon:")[2].split()[0])
            self.report.memory.setdefault(role, []).append((self.report.seconds, size))


async def _subscribe(cluster: Cluster, receiver: Receiver) -> dict[str, int]:
    """Subscribe to the events of each project; returns the number of the newest event after which they are sent."""
    newest = {}
    for project in PROJECTS:
        wanted = {"url": f"{receiver.url}/{project}", "project": project}
        status, body = await cluster.admin.json("POST", "/v1/subscriptions", wanted)
        assert status == 201, body
        await cluster.wait_until_settled()
        newest[project] = await cluster.query("select max(seq) from numbers")
    return newest


def show_bar(pushes: int, seconds: float) -> tuple[Progress, Callable[[Report], None]]:
    """Build a progress bar, which is about pushes or about time, whatever is nearer to its end."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    progress = Progress(*columns, TextColumn("{task.fields[faults]} faults"))
    by_pushes = progress.add_task("pushes", total=pushes, faults=0)
    by_time = progress.add_task("seconds", total=round(seconds), faults=0)

    def show(report: Report) -> None:
        faults = len(report.ledger.faults)
        progress.update(by_pushes, completed=report.ledger.pushes, faults=faults)
        progress.update(by_time, completed=round(report.seconds), faults=faults)

    return progress, show


def show_lines() -> Callable[[Report], None]:
    """Build a function that prints a line of progress now and then."""
    due = LINE_INTERVAL

    def show(report: Report) -> None:
        nonlocal due
        if report.seconds >= due:
            due += LINE_INTERVAL
            ledger, happened = report.ledger, sum(report.happened.values())
            print(
                f"{report.seconds:.0f} s: {ledger.pushes} pushes, {len(ledger.merges)} merges, {len(ledger.forks)} "
                f"forks, {len(ledger.issues)} issues, {happened} nemeses, {len(ledger.faults)} faults "
                + "; ".join(ledger.faults[-1:]),
                flush=True,
            )

    return show


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.promises.soak", description=__doc__)
    parser.add_argument("--pushes", type=int, default=10_000, help="end after so many pushes (10,000)")
    parser.add_argument("--minutes", type=float, default=60, help="end after so many minutes at the latest (60)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1 << 31), help="choose what happens by this number"
    )
    options = parser.parse_args()
    configure("critical")
    logging.getLogger("asyncpg").setLevel("CRITICAL")  # it warns of each connection that cannot be opened
    soak = Soak(options.pushes, options.minutes, options.seed)
    if sys.stdout.isatty():
        progress, show = show_bar(soak.pushes, soak.seconds)
        with progress:
            report = asyncio.run(soak.run(show))
    else:
        report = asyncio.run(soak.run(show_lines()))
    print(report.render())
    return int(bool(sum(report.audit.counts.values())))


if __name__ == "__main__":
    sys.exit(main())
