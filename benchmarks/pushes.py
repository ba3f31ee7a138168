"""The price of syncing: pushes to a forge that waits for the disk and to one that does not, in alternating rounds."""

import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forge import Forge, create_projects, run_forge
from benchmarks.report import Row

AIM_SYNCED = 0.7  # of the speed without sync
MODES = ("batch", "off")  # of POLYFORGE_FSYNC
GIT = ("git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "http.proxy=", "-c", "gc.auto=0")


@dataclass
class Pusher:
    """A clone from which is pushed to one of the forges."""

    forge: Forge
    clone: Path

    @property
    def url(self) -> str:
        return f"http://admin:{self.forge.token}@127.0.0.1:{self.forge.port}/pushed-0.git"

    def git(self, *arguments: str, stdin: str = "") -> None:
        subprocess.run([*GIT, *arguments], cwd=self.clone, input=stdin.encode(), check=True, capture_output=True)

    def commit_objects(self, count: int) -> None:
        """Make a commit that adds this number of objects: itself, and above one a folder and files in it."""
        contents = [secrets.token_hex(100) for _ in range(count - 2)]
        files = "".join(f"M 100644 inline {number}\ndata {len(text)}\n{text}\n" for number, text in enumerate(contents))
        commit = "commit refs/heads/main\ncommitter Bench <bench@example.org> {} +0000\ndata 4\nmore\n{}{}\n"
        parent = "from refs/heads/main^0\n" if (self.clone / "refs/heads/main").exists() else ""
        self.git("fast-import", "--quiet", stdin=commit.format(int(time.time()), parent, files))

    def time_push(self, *refs: str) -> float:
        """Push, and return the milliseconds that it took."""
        begun = time.perf_counter()
        self.git("push", "-q", self.url, *refs)
        return (time.perf_counter() - begun) * 1000

    def push_objects(self, count: int) -> float:
        self.commit_objects(count)
        return self.time_push("main")

    def push_refs(self, count: int) -> float:
        name = secrets.token_hex(4)
        return self.time_push(*(f"main:refs/heads/{name}-{number}" for number in range(count)))


@dataclass(frozen=True)
class Push:
    """A kind of push, made `rounds` times to each forge. `aim` is the least share of the speed without sync."""

    name: str
    run: Callable[[Pusher, int], float]
    count: int
    rounds: int
    aim: float = 0


PUSHES = (
    Push("push of 1 object", Pusher.push_objects, 1, 20, AIM_SYNCED),
    Push("push of 90 objects", Pusher.push_objects, 90, 20, AIM_SYNCED),  # which git keeps as single files
    Push("push of 100 objects", Pusher.push_objects, 100, 20, AIM_SYNCED),
    Push("push of 10,000 objects", Pusher.push_objects, 10_000, 6, AIM_SYNCED),
    Push("push of 300 new branches", Pusher.push_refs, 300, 4),
)


@contextmanager
def open_pushers(folder: Path, token: str) -> Iterator[dict[str, Pusher]]:
    """Run a forge for each mode, with an empty project."""
    with ExitStack() as stack:
        pushers = {}
        for mode in MODES:
            data = folder / f"pushes-{mode}" / "data"
            data.parent.mkdir()
            forge = stack.enter_context(run_forge(data, token, POLYFORGE_FSYNC=mode))
            create_projects(forge, "pushed", 1)
            pushers[mode] = Pusher(forge, data.parent / "clone.git")
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", pushers[mode].clone], check=True)
            pushers[mode].push_objects(10)
        yield pushers


def measure(folder: Path, token: str) -> list[Row]:
    """Measure both forges in turn; returns a row for each kind of push."""
    with open_pushers(folder, token) as pushers:
        return [_build_row(push, _measure_push(push, pushers)) for push in PUSHES]


def _measure_push(push: Push, pushers: Mapping[str, Pusher]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {mode: [] for mode in MODES}
    for index in range(push.rounds):
        for mode in MODES if index % 2 else MODES[::-1]:
            taken[mode].append(push.run(pushers[mode], push.count))
    return taken


def _build_row(push: Push, taken: Mapping[str, list[float]]) -> Row:
    """Build the row of a push. The ratio is one of speeds, the median of the rounds'."""
    synced, unsynced = (statistics.median(taken[mode]) for mode in MODES)
    ratio = statistics.median(off / on for on, off in zip(*(taken[mode] for mode in MODES), strict=True))
    figure, floor = f"p50 {synced:,.1f} ms", f"{unsynced:,.1f} ms (without sync)"
    if not push.aim:
        return Row(push.name, figure, floor, ratio)
    return Row(push.name, figure, floor, ratio, f"≥ {push.aim:.2f} of the speed", ratio >= push.aim)
