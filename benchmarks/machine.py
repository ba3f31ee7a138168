"""What the measurements ran on, and how much memory the forge's processes hold."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Megabytes of one kind of process. Shared pages count in `rss` of each, and divided in `pss`."""

    name: str
    processes: int
    rss: float
    pss: float


def described() -> str:
    """Processor, cores, memory, versions."""
    processor = _field(PROC / "cpuinfo", "model name") or platform.machine()
    memory = int((_field(PROC / "meminfo", "MemTotal") or "0").split()[0]) / 1e6
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.1f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def memory(root: int) -> list[Memory]:
    """The memory of a process and all its descendants, by kind."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for pid in _family(root):
        try:
            rss = int((_field(PROC / pid / "status", "VmRSS") or "0").split()[0]) / 1024
            pss = int((_field(PROC / pid / "smaps_rollup", "Pss") or "0").split()[0]) / 1024
            kinds.setdefault(_kind(pid), []).append((rss, pss))
        except OSError:
            continue  # it has ended meanwhile
    return [
        Memory(name, len(each), sum(rss for rss, _ in each), sum(pss for _, pss in each))
        for name, each in sorted(kinds.items())
    ]


def resident(pid: int) -> float:
    """Megabytes that a process holds at the moment."""
    return int((_field(PROC / str(pid) / "status", "VmRSS") or "0").split()[0]) / 1024


def spent(pid: int) -> float:
    """Seconds of processor time that a process has taken so far."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def found(root: int, kind: str) -> int:
    """The only process of this kind below `root`."""
    [pid] = running(root, kind)
    return pid


def running(root: int, kind: str) -> list[int]:
    """The processes of this kind below `root`."""
    return [int(pid) for pid in _family(root) if (PROC / pid).exists() and _kind(pid) == kind]


def _family(root: int) -> list[str]:
    children: dict[str, list[str]] = {}
    for status in PROC.glob("[0-9]*/status"):
        parent = _field(status, "PPid")
        if parent is not None:
            children.setdefault(parent, []).append(status.parent.name)
    found = [str(root)]
    for pid in found:
        found += children.get(pid, [])
    return found


def _kind(pid: str) -> str:
    line = (PROC / pid / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    for mark, name in (("valkey", "Valkey"), ("postgres", "PostgreSQL"), (" up ", "up")):
        if mark in line:
            return name
    return line.split()[-1] if line.strip() else "?"


def _field(path: Path, name: str) -> str | None:
    """The value of a `name: value` line of a file under /proc."""
    try:
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return None
