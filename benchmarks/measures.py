"""The measures, in the order in which they run: those that need an idle forge come first."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from benchmarks import fairness, floor, latency, machine, pushes, sizes, statements
from benchmarks import forge as forges
from benchmarks.forge import Forge
from benchmarks.load import Load, build_get, build_post, quantile, run_load
from benchmarks.receiver import Receiver, run_receiver
from benchmarks.report import Row
from benchmarks.waiters import raise_file_limit, run_waiters

CONNECTIONS = (1, 16, 64)
PROJECTS = 10_000
WAITER_COUNTS = (5_000, 10_000)
ISSUES = 100  # issues opened to measure the cost of an event
MEGABYTES = 50  # size of the large repository
ENDPOINTS = 20  # endpoints of a project, of which one is dead
LISTING = "/api/0/projects?per_page=20"
AIM_READY = 5.0  # seconds
AIM_COMMANDS = 1000  # accepted commands per second
AIM_WAKE = 100.0  # milliseconds, p99
AIM_FORK = 150.0  # milliseconds, p50
AIM_UNCHANGED = 1.25  # ratio to the p99 of an undisturbed run; on a shared machine that itself varies as much
AIM_FIRST, AIM_FAR = 1.5, 3.0  # ratios of pages of a large forge to the first page of a small one

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run a blocking function in a thread."""
    return await asyncio.to_thread(work, *arguments)


class Bench:
    """One run of the benchmarks: the forge, its projects and the rows so far."""

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

    async def run(self, names: list[str]) -> list[Row]:
        """Run these measures and return their rows."""
        if not ALONE.issuperset(names):
            await self._run_shared([name for name in MEASURES if name in names and name not in ALONE])
        for name in MEASURES:
            if name in names and name in ALONE:
                report_progress(name)
                await MEASURES[name](self)
        return self.rows

    async def _run_shared(self, names: list[str]) -> None:
        """Run the measures that share one forge."""
        if "waiters" in names:
            raise_file_limit(WAITER_COUNTS[-1] + 1000)  # before the start of the forge, which inherits it
        with ExitStack() as stack:
            data = self.folder / "data"
            with forges.run_forge(data, self.token) as fresh:
                self.first_ready = fresh.ready
            self.forge = stack.enter_context(forges.run_forge(data, self.token))
            report_progress("seeding")
            self.floor_url = await floor.prepare(self.forge.database_url)
            self.floor_pid = stack.enter_context(floor.run_server(self.floor_url, self.floor_port))
            await forges.seed_projects(self.forge, PROJECTS)
            self.projects = await in_thread(forges.create_projects, self.forge, "busy", forges.ISSUE_PROJECTS)
            for name in names:
                report_progress(name)
                await MEASURES[name](self)

    async def measure_ready(self) -> None:
        for name, seconds in (("first start", self.first_ready), ("next start", self.forge.ready)):
            met = seconds <= AIM_READY
            self.rows.append(Row(f"ready, {name}", f"{seconds:.1f} s", aim=f"≤ {AIM_READY:.0f} s", met=met))

    async def measure_tasks(self) -> None:
        taken = await latency.measure_tasks(self.forge, 50)
        least = await in_thread(floor.measure_git, 20, self.folder, "init", "--bare")
        self._add_latency("POST /new until its repository exists", taken, "git init", least)

    async def measure_wakeups(self) -> None:
        since_post, since_reply = await latency.measure_wake_ups(self.forge, self.projects[0], 50)
        least = quantile(await floor.measure_publish(self.forge.redis_url, 200), 0.5)
        self._add_latency("long poll gets an issue, since POST", since_post, "Valkey publish", least, p99=AIM_WAKE)
        self._add_latency("long poll gets an issue, since reply", since_reply, "Valkey publish", least, p99=AIM_WAKE)

    async def measure_streams(self) -> None:
        since_post, since_reply = await latency.measure_stream(self.forge, self.projects[0], 50)
        least = quantile(await floor.measure_publish(self.forge.redis_url, 200), 0.5)
        self._add_latency("stream sends an issue, since POST", since_post, "Valkey publish", least, p99=AIM_WAKE)
        self._add_latency("stream sends an issue, since reply", since_reply, "Valkey publish", least, p99=AIM_WAKE)

    async def measure_webhooks(self) -> None:
        with run_receiver(forges.free_port()) as receiver:
            await self._measure_first_attempts(receiver)
            for ordered in (True, False):
                await self._measure_dead_endpoint(receiver, ordered=ordered)
            await self._measure_deliveries(receiver)

    async def _measure_first_attempts(self, receiver: Receiver) -> None:
        subscription = self._subscribe(receiver, self.projects[0])
        since_post, since_reply = await latency.measure_deliveries(self.forge, self.projects[0], receiver, 50)
        _, taken = await floor.measure_posts(receiver.url, b"x" * 1000, 200, 1)
        least = quantile(taken, 0.5)
        self._add_latency("webhook is sent, since POST", since_post, "bare POST", least, p99=AIM_WAKE)
        self._add_latency("webhook is sent, since reply", since_reply, "bare POST", least, p99=AIM_WAKE)
        self._unsubscribe(subscription)

    async def _measure_dead_endpoint(self, receiver: Receiver, *, ordered: bool) -> None:
        """Measure how an endpoint that never answers affects the first attempts at the other endpoints of a project.

        Rounds with a dead and with a living endpoint alternate, so that other load on the machine affects both.
        """
        project, others = self.projects[0], ENDPOINTS - 1
        subscriptions = [self._subscribe(receiver, project) for _ in range(others)]
        await latency.measure_deliveries(self.forge, project, receiver, 3, others)  # warm up
        taken: dict[str, list[float]] = {"aside": [], "dead": []}
        for path in ("aside", "dead", "dead", "aside") * 2:
            last = self._subscribe(receiver, project, ordered=ordered, path=path)
            await in_thread(receiver.ask, "DELETE")
            _, since_reply = await latency.measure_deliveries(self.forge, project, receiver, 40, others)
            taken[path] += since_reply
            self._unsubscribe(last)
        for subscription in subscriptions:
            self._unsubscribe(subscription)
        living_p50, living_p99 = (quantile(taken["aside"], share) for share in (0.5, 0.99))
        dead_p50, dead_p99 = (quantile(taken["dead"], share) for share in (0.5, 0.99))
        self.rows.append(
            Row(
                f"webhooks of {others} endpoints are sent beside a dead one, {'' if ordered else 'un'}ordered",
                f"p50 {dead_p50:.1f} ms, p99 {dead_p99:.1f} ms",
                f"p50 {living_p50:.1f} ms, p99 {living_p99:.1f} ms (beside a living one)",
                dead_p99 / living_p99,
                f"p99 ≤ {AIM_UNCHANGED}",
                dead_p99 <= AIM_UNCHANGED * living_p99,
            )
        )

    async def _measure_deliveries(self, receiver: Receiver) -> None:
        """Measure the rate at which one worker replays all issues, to one endpoint per project."""
        port, body = self.forge.port, {"title": "Something is wrong", "issue_content": "It does this. " * 10}
        requests = [build_post(f"/api/0/{name}/new_issue", port, self.token, body) for name in self.projects]
        await in_thread(run_load, port, requests, 16, 2.0)
        least, _ = await floor.measure_posts(receiver.url, b"x" * 1000, 2000, len(self.projects))
        for ordered in (True, False):
            subscriptions = [self._subscribe(receiver, name, ordered=ordered) for name in self.projects]
            await in_thread(receiver.ask, "DELETE")
            worker = machine.find_process(self.forge.process.pid, "work")
            os.kill(worker, signal.SIGSTOP)  # until all deliveries wait
            count, before = 0, machine.processor_seconds(worker)
            for subscription in subscriptions:
                path = f"/v1/subscriptions/{subscription}/replay"
                count += (await in_thread(self.forge.call, "POST", path, {"after": 0}))["count"]
            os.kill(worker, signal.SIGCONT)
            arrivals = await receiver.wait_for_arrivals(count)
            seconds = arrivals[-1] - arrivals[0]
            rate, share = count / seconds, (machine.processor_seconds(worker) - before) / seconds
            self.rows.append(
                Row(
                    f"deliveries of one worker to {len(self.projects)} endpoints, {'' if ordered else 'un'}ordered",
                    f"{rate:,.0f}/s of {count:,} ({share:.0%} of a core)",
                    f"{least:,.0f}/s (bare POSTs, {len(self.projects)} at once)",
                    rate / least,
                )
            )
            for subscription in subscriptions:
                self._unsubscribe(subscription)

    def _subscribe(self, receiver: Receiver, project: str, *, ordered: bool = True, path: str = "") -> str:
        body = {"url": receiver.url + path, "project": project, "types": ["issue.opened"], "ordered": ordered}
        subscription_id: str = self.forge.call("POST", "/v1/subscriptions", body)["id"]
        return subscription_id

    def _unsubscribe(self, subscription_id: str) -> None:
        self.forge.request("DELETE", f"/v1/subscriptions/{subscription_id}")

    async def measure_waiters(self) -> None:
        """Measure the memory of idle waiters, and the cost of events that none or all of them want."""
        bare = await self._measure_bare_waiters(WAITER_COUNTS[0])
        alone = await self._measure_event(await self._restart_serve())
        for count in WAITER_COUNTS:
            for kind, query, accept in (("long polls", "&wait=55", "*/*"), ("streams", "", "text/event-stream")):
                await self._measure_idle_waiters(count, kind, query, accept, bare, alone)
                report_progress(f"{count} {kind}")
        await self._measure_wake_up()

    async def _measure_idle_waiters(
        self, count: int, kind: str, query: str, accept: str, bare: float, alone: float
    ) -> None:
        """Measure the memory of idle waiters and the cost of an event that none of them wants.

        `bare` are the kilobytes of a waiter of the bare server, `alone` is the cost of an event without waiters.
        """
        serve = await self._restart_serve()
        before = machine.resident_megabytes(serve)
        path = f"/v1/events?after=now{query}&types=group.created"
        request = build_get(path, self.forge.port, self.token).replace("\r\n", f"\r\nAccept: {accept}\r\n", 1)
        with run_waiters(self.forge.port, count, request) as waiters:
            kilobytes = (machine.resident_megabytes(serve) - before) * 1024 / count
            cost = await self._measure_event(serve)
            lost = (await in_thread(waiters.ask))["lost"]
        figure = f"{kilobytes:.1f} KB each" + (f", {lost} lost" if lost else "")
        self.rows.append(Row(f"{count:,} idle {kind}", figure, f"{bare:.1f} KB (bare handler)", kilobytes / bare))
        self.rows.append(
            Row(
                f"an issue beside {count:,} {kind} that do not want it",
                f"{cost:.1f} ms of a core",
                f"{alone:.1f} ms (no waiters)",
                cost / alone,
            )
        )

    async def _measure_wake_up(self) -> None:
        """Measure the time until one event has woken 1,000 long polls."""
        await self._restart_serve()
        request = build_get("/v1/events?after=now&wait=55", self.forge.port, self.token)
        with run_waiters(self.forge.port, 1000, request) as waiters:
            begun = time.perf_counter()
            await in_thread(self._open_issue)
            while (counts := await in_thread(waiters.ask))["answered"] < 1000:
                await asyncio.sleep(0.02)
            taken = counts["last"] - begun
        load = await self._measure_floor("/read", 64)
        least = 1000 / load.rate
        self.rows.append(
            Row(
                "one event wakes 1,000 long polls that want it",
                f"{taken * 1000:.0f} ms until the last has its answer",
                f"{least * 1000:.0f} ms (1,000 bare reads)",
                taken / least,
            )
        )

    async def _restart_serve(self) -> int:
        """Restart the API process, so that it holds no memory of earlier waiters. Returns its process id."""
        old = machine.find_process(self.forge.process.pid, "serve")
        os.kill(old, signal.SIGTERM)
        while old in (serves := machine.list_processes(self.forge.process.pid, "serve")) or not serves:
            await asyncio.sleep(0.1)
        await in_thread(self.forge.await_ready)
        await self._measure_event(serves[0])
        return serves[0]

    async def _measure_bare_waiters(self, count: int) -> float:
        """Measure the kilobytes of each waiting request in the bare server."""
        before = machine.resident_megabytes(self.floor_pid)
        with run_waiters(self.floor_port, count, build_get("/wait", self.floor_port)):
            return (machine.resident_megabytes(self.floor_pid) - before) * 1024 / count

    async def _measure_event(self, serve: int) -> float:
        """Measure the API process's processor time for opening one issue, in milliseconds."""
        before = machine.processor_seconds(serve)
        for _ in range(ISSUES):
            await in_thread(self._open_issue)
        return (machine.processor_seconds(serve) - before) * 1000 / ISSUES

    def _open_issue(self) -> None:
        self.forge.call("POST", f"/api/0/{self.projects[3]}/new_issue", {"title": "t", "issue_content": "c"})

    async def measure_forks(self) -> None:
        tokens = await forges.seed_users(self.forge, 10)
        await in_thread(forges.push_random, self.forge, self.projects[1], MEGABYTES)
        project_id = (await in_thread(self.forge.call, "GET", f"/api/0/{self.projects[1]}"))["id"]
        large = next((self.forge.data / "repositories").glob(f"*/{project_id}.git"))
        for name, project, floor_name, command in (
            ("of an empty repository", self.projects[0], "git init", ["init", "--bare"]),
            (f"of {MEGABYTES} MB", self.projects[1], "git clone", ["clone", "--bare", "--local", str(large)]),
        ):
            taken = await latency.measure_forks(self.forge, project, tokens)
            least = await in_thread(floor.measure_git, 10, self.folder, *command)
            self._add_latency(f"fork {name}", taken, floor_name, least, p50=AIM_FORK)

    async def measure_read(self) -> None:
        await self._measure_reads("GET /api/0/<repo>", f"/api/0/{self.projects[2]}", aim=0.5)

    async def measure_listing(self) -> None:
        await self._measure_reads(f"20 of {PROJECTS:,} projects", LISTING, aim=0.5)
        count = await statements.count_statements(self.forge, LISTING)
        self.rows.append(Row("listing, SQL statements", str(count), aim="≤ 2", met=count <= 2))

    async def measure_commands(self) -> None:
        port = self.forge.port
        body = {"title": "Something is wrong", "issue_content": "It does this, it should do that. " * 10}
        requests = [build_post(f"/api/0/{name}/new_issue", port, self.token, body) for name in self.projects]
        least = await floor.measure_inserts(self.floor_url, self.seconds)
        for connections in CONNECTIONS:
            load = await in_thread(run_load, port, requests, connections, self.seconds)
            last = connections == CONNECTIONS[-1]
            self.rows.append(
                Row(
                    f"POST new_issue, {format_connections(connections)}" + (" = accepted commands" if last else ""),
                    format_load(load),
                    f"{least:,.0f}/s (one insert each, {floor.CONNECTIONS} connections)",
                    load.rate / least,
                    f"≥ {AIM_COMMANDS:,}/s" if last else "",
                    load.rate >= AIM_COMMANDS if last else None,
                )
            )

    async def measure_sizes(self) -> None:
        with ExitStack() as stack:
            small, large = (
                stack.enter_context(forges.run_forge(self.folder / name, self.token)) for name in ("small", "large")
            )
            await sizes.seed(small, sizes.SMALL)
            report_progress("seeding the large forge")
            await sizes.seed(large, sizes.LARGE)
            medians = await in_thread(sizes.measure_pages, sizes.list_pages(small.port, large.port), sizes.ROUNDS)
        for name in sizes.LISTINGS:
            least = medians[name, sizes.Where.SMALL]
            for where, aim in ((sizes.Where.FIRST, AIM_FIRST), (sizes.Where.FAR, AIM_FAR)):
                median = medians[name, where]
                ratio = median / least
                self.rows.append(
                    Row(
                        f"20 of {getattr(sizes.LARGE, name):,} {name.replace('_', ' ')}, {where.value}",
                        f"p50 {median:.2f} ms",
                        f"{least:.2f} ms (of {getattr(sizes.SMALL, name):,})",
                        ratio,
                        f"≤ {aim:.1f}",
                        ratio <= aim,
                    )
                )

    async def measure_pushes(self) -> None:
        self.rows += await in_thread(pushes.measure, self.folder, self.token)

    async def measure_fairness(self) -> None:
        self.rows += await in_thread(fairness.measure, self.folder, self.token)

    async def measure_memory(self) -> None:
        for each in machine.measure_memory(self.forge.process.pid):
            processes = f" ({each.processes} processes)" if each.processes > 1 else ""
            self.rows.append(Row(f"memory of {each.name}{processes}", f"{each.rss:.0f} MB RSS, {each.pss:.0f} MB PSS"))

    async def _measure_reads(self, name: str, path: str, aim: float) -> None:
        """Measure one path at each number of connections, compared with the bare handler that reads one row."""
        for connections in CONNECTIONS:
            bare = await self._measure_floor("/plain", connections)
            least = await self._measure_floor("/read", connections)
            request = build_get(path, self.forge.port)
            load = await in_thread(run_load, self.forge.port, [request], connections, self.seconds)
            ratio = load.rate / least.rate
            self.rows.append(
                Row(
                    f"{name}, {format_connections(connections)}",
                    format_load(load),
                    f"{least.rate:,.0f}/s (no SQL: {bare.rate:,.0f}/s)",
                    ratio,
                    f"≥ {aim:.2f}",
                    ratio >= aim,
                )
            )

    async def _measure_floor(self, path: str, connections: int) -> Load:
        """Measure the bare server, once for each path and number of connections."""
        key = (path, connections)
        if key not in self.floors:
            request = build_get(path, self.floor_port)
            self.floors[key] = await in_thread(run_load, self.floor_port, [request], connections, self.seconds)
        return self.floors[key]

    def _add_latency(
        self, name: str, taken: list[float], floor_name: str, least: float, *, p50: float = 0, p99: float = 0
    ) -> None:
        """Add the row of a latency in milliseconds; `p50` or `p99` is its aim."""
        measured_p50, measured_p99 = quantile(taken, 0.5), quantile(taken, 0.99)
        aim = f"p50 < {p50:.0f} ms" if p50 else f"p99 < {p99:.0f} ms" if p99 else ""
        met = measured_p50 < p50 if p50 else measured_p99 < p99 if p99 else None
        figure = f"p50 {measured_p50:.1f} ms, p99 {measured_p99:.1f} ms"
        self.rows.append(Row(name, figure, f"{least:.1f} ms ({floor_name})", measured_p50 / least, aim, met))


def format_connections(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


def format_load(load: Load) -> str:
    errors = f", {load.errors} errors" if load.errors else ""
    return f"{load.rate:,.0f}/s, p50 {load.p50:.1f} ms, p99 {load.p99:.1f} ms{errors}"


def report_progress(step: str) -> None:
    print(f"… {step}", file=sys.stderr, flush=True)


MEASURES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "ready": Bench.measure_ready,
    "tasks": Bench.measure_tasks,
    "wakeups": Bench.measure_wakeups,
    "streams": Bench.measure_streams,
    "webhooks": Bench.measure_webhooks,
    "forks": Bench.measure_forks,
    "read": Bench.measure_read,
    "listing": Bench.measure_listing,
    "commands": Bench.measure_commands,
    "pushes": Bench.measure_pushes,
    "fairness": Bench.measure_fairness,
    "sizes": Bench.measure_sizes,
    "memory": Bench.measure_memory,
    "waiters": Bench.measure_waiters,
}
ALONE = {"pushes", "fairness", "sizes"}  # measures that start forges of their own
