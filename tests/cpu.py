"""Measure the CPU time of every test: `python -m pytest -p tests.cpu`.

What counts is the time that this process and everything below it has used, PostgreSQL, Valkey and git included, from
the start of a test's setup to the end of its teardown. Waiting costs nothing, so the numbers hold on a busy machine
too. What the tests of one process share is charged to the first and the last of them: the mean includes it, the median
does not.
"""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest

TICKS = os.sysconf("SC_CLK_TCK")
SLOWEST = 15  # tests that are listed
USED_BEFORE = pytest.StashKey[dict[str, float]]()
_measured: list[tuple[str, dict[str, float]]] = []
_closed: list[str] = []  # why the shared forge was not given to another test


def cpu_seconds() -> dict[str, float]:
    """The time used so far, by program: this process, its children that have ended, and each that still runs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = defaultdict(float, tests=time.process_time(), ended=ended.ru_utime + ended.ru_stime)
    children = defaultdict(list)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, fields = (process / "stat").read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        children[int(fields.split()[1])].append((int(process.name), name.partition("(")[2], fields.split()))
    below = children[os.getpid()]
    while below:
        pid, name, fields = below.pop()
        # Its own time comes in nanoseconds, that of its children which have ended in ticks.
        used[name] += _running(pid, sum(map(int, fields[11:13]))) + sum(map(int, fields[13:15])) / TICKS
        below += children[pid]
    return used


def _running(pid: int, ticks: int) -> float:
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        return ticks / TICKS


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[USED_BEFORE] = cpu_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        before, after = item.stash[USED_BEFORE], cpu_seconds()
        used = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {*before, *after}}
        item.user_properties.append(("cpu", used))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "cpu":
                _measured.append((report.nodeid, dict(value)))  # type: ignore[call-overload]
            elif name == "forge_closed":
                _closed.append(f"{report.nodeid}: {value}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if len(_measured) < 2:
        return
    programs: dict[str, float] = defaultdict(float)
    for _, used in _measured:
        if min(used.values()) < 0:
            continue  # a server has ended, and all that it has ever used is that of a child which ended
        for name, seconds in used.items():
            programs[name] += seconds
    slowest = sorted(((sum(used.values()), test) for test, used in _measured), reverse=True)
    times = [seconds for seconds, _ in slowest]
    terminalreporter.section("CPU seconds")
    terminalreporter.line(
        f"{len(times)} tests: {sum(times):.1f} in all, {sum(times) / len(times):.3f} a test,"
        f" median {median(times):.3f}, 90th percentile {quantiles(times, n=10)[-1]:.3f}"
    )
    shares = [f"{name} {seconds:.1f}" for name, seconds in sorted(programs.items()) if seconds > 0.05]
    terminalreporter.line(", ".join(shares))
    for seconds, test in slowest[:SLOWEST]:
        terminalreporter.line(f"{seconds:8.2f}  {test}")
    terminalreporter.section("Shared forges closed after a test")
    for line in _closed:
        terminalreporter.line(line)
