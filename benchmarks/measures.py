"""The measures, in the order in which they run: what wants an idle forge comes first."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from benchmarks import floor, latency, machine, sizes, statements
from benchmarks import forge as forges
from benchmarks.forge import Forge
from benchmarks.load import Load, drive, get, post, quantile
from benchmarks.receiver import Receiver, receiving
from benchmarks.report import Row
from benchmarks.waiters import raise_limit, waiting

CONNECTIONS = (1, 16, 64)
PROJECTS = 10_000
CROWDS = (5_000, 10_000)
ISSUES = 100
MEGABYTES = 50
ENDPOINTS = 20  # of which one is dead
LISTING = "/api/0/projects?per_page=20"
READY, COMMANDS, WAKE, FORK = 5.0, 1000, 100.0, 150.0  # the aims
UNCHANGED = 1.25  # times the p99 of an undisturbed run, which repeats itself no closer on a shared machine
FIRST, FAR = 1.5, 3.0  # times what the first page of a small forge takes: the first page of a large one, and a far one

T = TypeVar("T")


async def aside(work: Callable[..., T], *arguments: object) -> T:
    """Blocking work, without holding up the loop."""
    return await asyncio.to_thread(work, *arguments)


class Bench:
    """One run: the forge, its projects and the rows so far."""

    forge: Forge

    def __init__(self, folder: Path, token: str, seconds: float) -> None:
        self.folder = folder
        self.token = token
        self.seconds = seconds
        self.rows: list[Row] = []
        self.floor_url = ""
        self.floor_port = forges.free_port()
        self.floor_pid = 0
        self.floors: dict[tuple[str, int], Load] = {}
        self.projects: list[str] = []

    async def run(self, wanted: list[str]) -> list[Row]:
        if not ALONE.issuperset(wanted):
            await self._run_shared([name for name in MEASURES if name in wanted and name not in ALONE])
        for name in MEASURES:
            if name in wanted and name in ALONE:
                say(name)
                await MEASURES[name](self)
        return self.rows

    async def _run_shared(self, wanted: list[str]) -> None:
        """The measures of one forge, which all of them share."""
        if "waiters" in wanted:
            raise_limit(CROWDS[-1] + 1000)  # the forge is started with it
        with ExitStack() as stack:
            data = self.folder / "data"
            with forges.started(data, self.token) as fresh:
                first = fresh.ready
            self.forge = stack.enter_context(forges.started(data, self.token))
            self.first_ready = first
            say("seeding")
            self.floor_url = await floor.prepare(self.forge.database_url)
            self.floor_pid = stack.enter_context(floor.serving(self.floor_url, self.floor_port))
            await forges.seed_projects(self.forge, PROJECTS)
            self.projects = await aside(forges.make_projects, self.forge, "busy", forges.ISSUES)
            for name in wanted:
                say(name)
                await MEASURES[name](self)

    async def ready(self) -> None:
        for name, seconds in (("first start", self.first_ready), ("next start", self.forge.ready)):
            self.rows.append(Row(f"ready, {name}", f"{seconds:.1f} s", aim=f"≤ {READY:.0f} s", met=seconds <= READY))

    async def tasks(self) -> None:
        taken = await latency.tasks(self.forge, 50)
        least = await aside(floor.git, 20, self.folder, "init", "--bare")
        self._latency("POST /new until its repository is there", taken, "git init", least)

    async def wakeups(self) -> None:
        sent, replied = await latency.wake_ups(self.forge, self.projects[0], 50)
        least = quantile(await floor.published(self.forge.redis_url, 200), 0.5)
        self._latency("long poll hears an issue, since POST", sent, "Valkey publish", least, p99=WAKE)
        self._latency("long poll hears an issue, since its reply", replied, "Valkey publish", least, p99=WAKE)

    async def streams(self) -> None:
        sent, replied = await latency.streamed(self.forge, self.projects[0], 50)
        least = quantile(await floor.published(self.forge.redis_url, 200), 0.5)
        self._latency("stream tells of an issue, since POST", sent, "Valkey publish", least, p99=WAKE)
        self._latency("stream tells of an issue, since its reply", replied, "Valkey publish", least, p99=WAKE)

    async def webhooks(self) -> None:
        with receiving(forges.free_port()) as receiver:
            await self._first_attempts(receiver)
            for ordered in (True, False):
                await self._beside_a_dead_one(receiver, ordered=ordered)
            await self._deliveries(receiver)

    async def _first_attempts(self, receiver: Receiver) -> None:
        made = self._subscribe(receiver, self.projects[0])
        sent, replied = await latency.sent(self.forge, self.projects[0], receiver, 50)
        _, taken = await floor.posts(receiver.url, b"x" * 1000, 200, 1)
        least = quantile(taken, 0.5)
        self._latency("webhook is sent, since POST", sent, "bare POST", least, p99=WAKE)
        self._latency("webhook is sent, since its reply", replied, "bare POST", least, p99=WAKE)
        self.forge.request("DELETE", f"/v1/subscriptions/{made}")

    async def _beside_a_dead_one(self, receiver: Receiver, *, ordered: bool) -> None:
        """Of twenty endpoints one takes its deliveries and never answers: what that does to the first attempts at the
        others. Turns in which it answers alternate, so that what else the machine does touches both.
        """
        project, others = self.projects[0], ENDPOINTS - 1
        made = [self._subscribe(receiver, project) for _ in range(others)]
        await latency.sent(self.forge, project, receiver, 3, others)  # what is done once is done
        taken: dict[str, list[float]] = {"aside": [], "dead": []}
        for path in ("aside", "dead", "dead", "aside") * 2:
            last = self._subscribe(receiver, project, ordered=ordered, path=path)
            await aside(receiver.ask, "DELETE")
            _, replied = await latency.sent(self.forge, project, receiver, 40, others)
            taken[path] += replied
            self.forge.request("DELETE", f"/v1/subscriptions/{last}")
        for each in made:
            self.forge.request("DELETE", f"/v1/subscriptions/{each}")
        middle, alone = (quantile(taken["aside"], share) for share in (0.5, 0.99))
        self.rows.append(
            Row(
                f"webhooks of {others} endpoints are sent beside a dead one, {'' if ordered else 'un'}ordered",
                f"p50 {quantile(taken['dead'], 0.5):.1f} ms, p99 {quantile(taken['dead'], 0.99):.1f} ms",
                f"p50 {middle:.1f} ms, p99 {alone:.1f} ms (beside a living one)",
                quantile(taken["dead"], 0.99) / alone,
                f"p99 ≤ {UNCHANGED}",
                quantile(taken["dead"], 0.99) <= UNCHANGED * alone,
            )
        )

    async def _deliveries(self, receiver: Receiver) -> None:
        """All that there is of issues, once more, to an endpoint for each project."""
        port, body = self.forge.port, {"title": "Something is wrong", "issue_content": "It does this. " * 10}
        requests = [post(f"/api/0/{name}/new_issue", port, self.token, body) for name in self.projects]
        await aside(drive, port, requests, 16, 2.0)
        least, _ = await floor.posts(receiver.url, b"x" * 1000, 2000, len(self.projects))
        for ordered in (True, False):
            made = [self._subscribe(receiver, name, ordered=ordered) for name in self.projects]
            await aside(receiver.ask, "DELETE")
            worker = machine.found(self.forge.process.pid, "work")
            os.kill(worker, signal.SIGSTOP)  # until all of it waits
            count, busy = 0, machine.spent(worker)
            for each in made:
                answer = await aside(self.forge.call, "POST", f"/v1/subscriptions/{each}/replay", {"after": 0})
                count += answer["count"]
            os.kill(worker, signal.SIGCONT)
            came = await receiver.came(count)
            rate = count / (came[-1] - came[0])
            of = "ordered" if ordered else "unordered"
            share = (machine.spent(worker) - busy) / (came[-1] - came[0])
            figure = f"{rate:,.0f}/s of {count:,} ({share:.0%} of a core)"
            what = f"{least:,.0f}/s (bare POSTs, {len(self.projects)} at once)"
            name = f"deliveries of one worker to {len(self.projects)} endpoints, {of}"
            self.rows.append(Row(name, figure, what, rate / least))
            for each in made:
                self.forge.request("DELETE", f"/v1/subscriptions/{each}")

    def _subscribe(self, receiver: Receiver, project: str, *, ordered: bool = True, path: str = "") -> str:
        command = {"url": receiver.url + path, "project": project, "types": ["issue.opened"], "ordered": ordered}
        made: str = self.forge.call("POST", "/v1/subscriptions", command)["id"]
        return made

    async def waiters(self) -> None:
        """Idle ones, what they hold, what an event costs that none of them wants, and one that all want."""
        bare = await self._idle(self.floor_port, self.floor_pid, CROWDS[0], "/wait", "")
        alone = await self._per_event(await self._fresh())
        for count in CROWDS:
            for kind, accept in (("long polls", "*/*"), ("streams", "text/event-stream")):
                path = "/v1/events?after=now&wait=55&types=group.created"
                if kind == "streams":
                    path = path.replace("&wait=55", "")
                serve = await self._fresh()
                before = machine.resident(serve)
                request = get(path, self.forge.port, self.token).replace("\r\n", f"\r\nAccept: {accept}\r\n", 1)
                with waiting(self.forge.port, count, request) as crowd:
                    held = (machine.resident(serve) - before) * 1024 / count
                    cost = await self._per_event(serve)
                    lost = (await aside(crowd.ask))["lost"]
                each = f"{held:.1f} KB each" + (f", {lost} lost" if lost else "")
                self.rows.append(Row(f"{count:,} idle {kind}", each, f"{bare:.1f} KB (bare handler)", held / bare))
                self.rows.append(
                    Row(f"an issue beside {count:,} {kind} that do not want it", f"{cost:.1f} ms of a core",
                        f"{alone:.1f} ms (nobody waits)", cost / alone)
                )  # fmt: skip
                say(f"{count} {kind}")
        await self._fresh()
        request = get("/v1/events?after=now&wait=55", self.forge.port, self.token)
        with waiting(self.forge.port, 1000, request) as crowd:
            begun = time.perf_counter()
            await aside(self._open_issue)
            while (said := await aside(crowd.ask))["heard"] < 1000:
                await asyncio.sleep(0.02)
            taken = said["last"] - begun
        load = await self._floor("/read", 64)
        least = 1000 / load.rate
        self.rows.append(
            Row("one event wakes 1,000 long polls that want it", f"{taken * 1000:.0f} ms until the last has its answer",
                f"{least * 1000:.0f} ms (1,000 bare reads)", taken / least)
        )  # fmt: skip

    async def _fresh(self) -> int:
        """An API process that has not seen much yet, and so holds no memory of earlier crowds; its id."""
        old = machine.found(self.forge.process.pid, "serve")
        os.kill(old, signal.SIGTERM)
        while old in (serves := machine.running(self.forge.process.pid, "serve")) or not serves:
            await asyncio.sleep(0.1)
        await aside(self.forge.await_ready)
        await self._per_event(serves[0])
        return serves[0]

    async def _idle(self, port: int, pid: int, count: int, path: str, accept: str) -> float:
        """Kilobytes of each request that waits."""
        before = machine.resident(pid)
        with waiting(port, count, get(path, port)):
            return (machine.resident(pid) - before) * 1024 / count

    async def _per_event(self, serve: int) -> float:
        """Milliseconds of processor time of the API process for opening one issue."""
        before = machine.spent(serve)
        for _ in range(ISSUES):
            await aside(self._open_issue)
        return (machine.spent(serve) - before) * 1000 / ISSUES

    def _open_issue(self) -> None:
        self.forge.call("POST", f"/api/0/{self.projects[3]}/new_issue", {"title": "t", "issue_content": "c"})

    async def forks(self) -> None:
        tokens = await forges.seed_users(self.forge, 10)
        await aside(forges.push_random, self.forge, self.projects[1], MEGABYTES)
        large = next((self.forge.data / "repositories").glob(f"*/{await self._id(self.projects[1])}.git"))
        for name, project, what, command in (
            ("of an empty repository", self.projects[0], "git init", ["init", "--bare"]),
            (f"of {MEGABYTES} MB", self.projects[1], "git clone", ["clone", "--bare", "--local", str(large)]),
        ):
            taken = await latency.forks(self.forge, project, tokens)
            least = await aside(floor.git, 10, self.folder, *command)
            self._latency(f"fork {name}", taken, what, least, p50=FORK)

    async def _id(self, project: str) -> int:
        shown = await aside(self.forge.call, "GET", f"/api/0/{project}")
        found: int = shown["id"]
        return found

    async def read(self) -> None:
        await self._reads("GET /api/0/<repo>", f"/api/0/{self.projects[2]}", aim=0.5)

    async def listing(self) -> None:
        await self._reads(f"20 of {PROJECTS:,} projects", LISTING, aim=0.5)
        count = await statements.counted(self.forge, LISTING)
        self.rows.append(Row("listing, SQL statements", str(count), aim="≤ 2", met=count <= 2))

    async def commands(self) -> None:
        port = self.forge.port
        body = {"title": "Something is wrong", "issue_content": "It does this, it should do that. " * 10}
        requests = [post(f"/api/0/{name}/new_issue", port, self.token, body) for name in self.projects]
        least = await floor.inserts(self.floor_url, self.seconds)
        for connections in CONNECTIONS:
            seen = await aside(drive, port, requests, connections, self.seconds)
            last = connections == CONNECTIONS[-1]
            self.rows.append(
                Row(
                    f"POST new_issue, {plural(connections)}" + (" = accepted commands" if last else ""),
                    shown(seen),
                    f"{least:,.0f}/s (one insert each, {floor.CONNECTIONS} connections)",
                    seen.rate / least,
                    f"≥ {COMMANDS:,}/s" if last else "",
                    seen.rate >= COMMANDS if last else None,
                )
            )

    async def sizes(self) -> None:
        with ExitStack() as stack:
            small, large = (
                stack.enter_context(forges.started(self.folder / name, self.token)) for name in ("small", "large")
            )
            await sizes.seed(small, sizes.SMALL)
            say("seeding much")
            await sizes.seed(large, sizes.LARGE)
            taken = await aside(sizes.medians, sizes.pages(small.port, large.port), sizes.ROUNDS)
        for name in sizes.LISTINGS:
            least = taken[name, sizes.Where.SMALL]
            for where, most in ((sizes.Where.FIRST, FIRST), (sizes.Where.FAR, FAR)):
                middle = taken[name, where]
                ratio = middle / least
                self.rows.append(
                    Row(
                        f"20 of {getattr(sizes.LARGE, name):,} {name.replace('_', ' ')}, {where.value}",
                        f"p50 {middle:.2f} ms",
                        f"{least:.2f} ms (of {getattr(sizes.SMALL, name):,})",
                        ratio,
                        f"≤ {most:.1f}",
                        ratio <= most,
                    )
                )

    async def memory(self) -> None:
        for each in machine.memory(self.forge.process.pid):
            processes = f" ({each.processes} processes)" if each.processes > 1 else ""
            self.rows.append(Row(f"memory of {each.name}{processes}", f"{each.rss:.0f} MB RSS, {each.pss:.0f} MB PSS"))

    async def _reads(self, name: str, path: str, aim: float) -> None:
        """One path at every number of connections, beside the bare handler that reads one row."""
        for connections in CONNECTIONS:
            bare = await self._floor("/plain", connections)
            least = await self._floor("/read", connections)
            request = get(path, self.forge.port)
            seen = await aside(drive, self.forge.port, [request], connections, self.seconds)
            ratio = seen.rate / least.rate
            self.rows.append(
                Row(
                    f"{name}, {plural(connections)}",
                    shown(seen),
                    f"{least.rate:,.0f}/s (no SQL: {bare.rate:,.0f}/s)",
                    ratio,
                    f"≥ {aim:.2f}",
                    ratio >= aim,
                )
            )

    async def _floor(self, path: str, connections: int) -> Load:
        key = (path, connections)
        if key not in self.floors:
            request = get(path, self.floor_port)
            self.floors[key] = await aside(drive, self.floor_port, [request], connections, self.seconds)
        return self.floors[key]

    def _latency(
        self, name: str, taken: list[float], what: str, least: float, *, p50: float = 0, p99: float = 0
    ) -> None:
        middle, worst = quantile(taken, 0.5), quantile(taken, 0.99)
        aim = f"p50 < {p50:.0f} ms" if p50 else f"p99 < {p99:.0f} ms" if p99 else ""
        met = middle < p50 if p50 else worst < p99 if p99 else None
        figure = f"p50 {middle:.1f} ms, p99 {worst:.1f} ms"
        self.rows.append(Row(name, figure, f"{least:.1f} ms ({what})", middle / least, aim, met))


def plural(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


def shown(seen: Load) -> str:
    errors = f", {seen.errors} errors" if seen.errors else ""
    return f"{seen.rate:,.0f}/s, p50 {seen.p50:.1f} ms, p99 {seen.p99:.1f} ms{errors}"


def say(what: str) -> None:
    """Progress goes to standard error."""
    print(f"… {what}", file=sys.stderr, flush=True)


MEASURES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "ready": Bench.ready,
    "tasks": Bench.tasks,
    "wakeups": Bench.wakeups,
    "streams": Bench.streams,
    "webhooks": Bench.webhooks,
    "forks": Bench.forks,
    "read": Bench.read,
    "listing": Bench.listing,
    "commands": Bench.commands,
    "sizes": Bench.sizes,
    "memory": Bench.memory,
    "waiters": Bench.waiters,
}
ALONE = {"sizes"}  # with forges of their own
