"""What must be true after the soak test, whatever has happened during it."""

from collections import Counter
from typing import Any

import orjson

from app.ops.doctor import run_checks
from tests.promises.cluster import Cluster
from tests.promises.parts import wait_until
from tests.promises.scenarios import IN_ORDER
from tests.promises.soak_clients import PROJECTS, ZEROS, Ledger
from tests.receiver import Receiver

MOVES = """
    select coalesce(json_agg(json_build_array(projects.path, data ->> 'ref', data ->> 'old', data ->> 'new')
                             order by position), '[]')::text
    from   events join projects using (project_id)
    where  type = 'ref.updated' and data ->> 'ref' !~ '^refs/pull/'
"""
ISSUES = """
    select coalesce(json_agg(json_build_array(concat(path, ' ', data ->> 'title'), data -> 'number')), '[]')::text
    from   (select events.type, events.data, projects.path from events join projects using (project_id)) as known
    where  type = 'issue.opened'
"""
MERGES = """
    select coalesce(json_agg(json_build_array(projects.path, data -> 'number')), '[]')::text
    from   events join projects using (project_id)
    where  type = 'pull-request.merged'
"""
CREATED = """
    select coalesce(json_agg(data ->> 'path'), '[]')::text from events where type = 'repository.created'
"""
EVENTS = """
    select coalesce(json_agg(numbers.seq order by numbers.seq), '[]')::text
    from   events join numbers using (position) join projects using (project_id)
    where  projects.path = $1 and events.type like any ('{issue.%,pull-request.merged,ref.updated}')
    and    numbers.seq > $2
"""

Counts = dict[str, int]


class Audit:
    """The faults that were found, counted by kind, with a line on each."""

    def __init__(self) -> None:
        self.counts: Counts = dict.fromkeys(
            ("lost", "doubled", "out of order", "wrong answers", "refs that differ", "left behind"), 0
        )
        self.lines: list[str] = []
        self.late_repetitions = 0  # deliveries that were repeated after a later event

    def add(self, kind: str, line: str) -> None:
        self.counts[kind] += 1
        self.lines.append(f"{kind}: {line}")


async def audit(cluster: Cluster, ledger: Ledger, receiver: Receiver, subscribed: dict[str, int]) -> Audit:
    """Compare the log, the disk and what was delivered with what the clients saw succeed. Nothing happens any more.

    `subscribed` is the number of the last event before the subscription of each project.
    """
    found = Audit()
    for line in ledger.faults:
        found.add("lost" if "not in the log" in line else "wrong answers", line)
    _check_moves(found, await _read(cluster, MOVES), ledger)
    _check_issues(found, await _read(cluster, ISSUES), ledger)
    _check_merges(found, Counter(map(tuple, await _read(cluster, MERGES))), ledger)
    created = Counter(await _read(cluster, CREATED))
    for path in ledger.forks:
        if created[path] != 1:
            found.add("doubled" if created[path] else "lost", f"{path} was created {created[path]} times")
    if not await cluster.query(IN_ORDER):
        found.add("out of order", "the numbers of events are not dense or not in the order of the log")
    for project in PROJECTS:
        _check_deliveries(found, project, await _read(cluster, EVENTS, project, subscribed[project]), receiver)
    await _check_disk(found, cluster)
    return found


async def _read(cluster: Cluster, sql: str, *arguments: Any) -> Any:
    return orjson.loads(await cluster.query(sql, *arguments))


def _check_moves(found: Audit, moves: list[tuple[str, str, str, str]], ledger: Ledger) -> None:
    """Each ref is a chain of moves, and those that a pusher has made are all it consists of."""
    chains: dict[tuple[str, str], list[str]] = {}
    for project, ref, old, new in moves:
        chain = chains.setdefault((project, ref), [])
        if old != (chain[-1] if chain else ZEROS) and (chain or ref != "refs/heads/main"):
            found.add("out of order", f"{project} {ref} moves from {old}")
        chain.append(new)
    for key, pushed in ledger.moves.items():
        chain = chains.get(key, [])
        for new in pushed:
            times = chain.count(new)
            if times != 1:
                found.add("doubled" if times else "lost", f"{key}: {new} is {times} times in the log")
        if [new for new in chain if new in pushed] != pushed:
            found.add("out of order", f"{key}")


def _check_issues(found: Audit, opened: list[tuple[str, int]], ledger: Ledger) -> None:
    numbers: dict[str, list[int]] = {}
    for title, number in opened:
        numbers.setdefault(title, []).append(number)
    for title, number in ledger.issues.items():
        known = numbers.get(title, [])
        if number not in known:
            found.add("lost", f"{title} was answered with {number}, the log has {known}")
        if int(title.rpartition(" ")[2]) % 2 and len(known) > 1:
            found.add("doubled", f"{title} was sent with a key and opened as {known}")


def _check_merges(found: Audit, merged: Counter[Any], ledger: Ledger) -> None:
    for project, number, _ in ledger.merges:
        times = merged[project, number]
        if times != 1:
            found.add("doubled" if times else "lost", f"{project}#{number} was merged {times} times")


def _check_deliveries(found: Audit, project: str, expected: list[int], receiver: Receiver) -> None:
    """Every event has arrived, and none did for the first time after a later one.

    A repetition may be late: a worker that was stopped while it opened a connection may send when it goes on, although
    another one has its lane by then.
    """
    arrived = [got.json["data"]["seq"] for got in receiver.received if got.path.endswith(f"/{project}")]
    if missing := set(expected) - set(arrived):
        found.add("lost", f"{len(missing)} events of {project} were not delivered, such as {min(missing)}")
    first = list(dict.fromkeys(arrived))
    if first != sorted(first):
        late = next(seq for index, seq in enumerate(first) if index and seq < first[index - 1])
        found.add("out of order", f"event {late} of {project} was delivered after a later one")
    newest = 0
    for seq in arrived:
        newest = max(newest, seq)
        found.late_repetitions += seq < newest


async def _check_disk(found: Audit, cluster: Cluster) -> None:
    results: dict[str, str] = {}
    await run_checks(cluster.settings, results.__setitem__)
    for name, result in results.items():
        if result != "ok":
            found.add("refs that differ" if name == "refs" else "left behind", f"{name}: {result}")

    async def is_tidy() -> bool:
        return not cluster.list_leftovers()

    try:
        await wait_until(is_tidy, 5)
    except TimeoutError:
        for path in cluster.list_leftovers():
            found.add("left behind", path)
