"""The machine under measurement, and memory and processor time of processes."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Memory of one kind of process in megabytes. Shared pages count fully in `rss` and proportionally in `pss`."""

    name: str
    processes: int
    rss: float
    pss: float


def describe_machine() -> str:
    """Describe processor, cores, memory and versions."""
    processor = _field(PROC / "cpuinfo", "model name") or platform.machine()
    memory = int((_field(PROC / "meminfo", "MemTotal") or "0").split()[0]) / 1e6
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.1f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def measure_memory(root: int) -> list[Memory]:
    """Measure the memory of a process and all its descendants, by kind."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for pid in _list_family(root):
        try:
            rss = int((_field(PROC / pid / "status", "VmRSS") or "0").split()[0]) / 1024
            pss = int((_field(PROC / pid / "smaps_rollup", "Pss") or "0").split()[0]) / 1024
            kinds.setdefault(_find_kind(pid), []).append((rss, pss))
        except OSError:
            continue  # the process has ended
    return [
        Memory(name, len(each), sum(rss for rss, _ in each), sum(pss for _, pss in each))
        for name, each in sorted(kinds.items())
    ]


def resident_megabytes(pid: int) -> float:
    """The resident memory of a process in megabytes."""
    return int((_field(PROC / str(pid) / "status", "VmRSS") or "0").split()[0]) / 1024


def processor_seconds(pid: int) -> float:
    """The processor time of a process so far, in seconds."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def find_process(root: int, kind: str) -> int:
    """Find the only process of this kind below `root`."""
    [pid] = list_processes(root, kind)
    return pid


def list_processes(root: int, kind: str) -> list[int]:
    """List the processes of this kind below `root`."""
    return [int(pid) for pid in _list_family(root) if (PROC / pid).exists() and _find_kind(pid) == kind]


def _list_family(root: int) -> list[str]:
    children: dict[str, list[str]] = {}
    for status in PROC.glob("[0-9]*/status"):
        parent = _field(status, "PPid")
        if parent is not None:
            children.setdefault(parent, []).append(status.parent.name)
    family = [str(root)]
    for pid in family:
        family += children.get(pid, [])
    return family


def _find_kind(pid: str) -> str:
    line = (PROC / pid / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    for mark, name in (("valkey", "Valkey"), ("postgres", "PostgreSQL"), (" up ", "up")):
        if mark in line:
            return name
    return line.split()[-1] if line.strip() else "?"


def _field(path: Path, name: str) -> str | None:
    """The value of a `name: value` line in a file under /proc."""
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return None
