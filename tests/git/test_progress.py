"""Progress reports of running git processes."""

import os
import resource
import select
import time
from pathlib import Path

import pytest

from app.git import pulls, refs
from app.git.errors import GitFailed, TimedOut, TooLarge
from app.git.process import MAX_STDERR, run, stream
from tests.git.limits import using_limits
from tests.git.repositories import create_bare, grow_linear_history, write_object

Steps = list[tuple[str, int]]


def run_script(repo_path: Path, script: str, steps: Steps, **options: float) -> bytes:
    """Run a shell script as an alias of git, and return its output."""
    return run(
        repo_path, "script", config={"alias.script": f"!{script}"}, progress=lambda *step: steps.append(step), **options
    )


async def test_a_fetch_reports_its_progress(tmp_path: Path) -> None:
    source, repo_path, steps = await create_bare(tmp_path, "source"), await create_bare(tmp_path), Steps()
    grow_linear_history(source, 100)
    head = pulls.copy_source_head(repo_path, 7, source, "main", lambda *step: steps.append(step))
    assert refs.find_target(repo_path, refs.pull_ref(7)) == head
    assert list(dict(steps)) == ["count", "compress", "receive", "resolve"]
    for stage in dict(steps):
        percents = [percent for which, percent in steps if which == stage]
        assert percents == sorted(percents)
        assert percents[-1] == 100


async def test_progress_lines_are_recognised_by_their_form(tmp_path: Path) -> None:
    steps = Steps()
    lines = [
        r"remote: Enumerating objects: 7, done.\n", r"remote: Counting objects:  10%% (1/10)        \r",
        r"Receiving objects:  42%% (5/12), 1.00 MiB | 2.00 MiB/s\r", r"Resolving deltas: 5%% (1/20)\n",
        r"Updating files:  50%% (1/2)\r", r"remote: of 30%% (or so)\n", r"Receiving objects: 999%% (9/1)\r",
        r"Unpacking objects: 100%% (3/3), done.",
    ]  # fmt: skip
    assert (
        run_script(await create_bare(tmp_path), f"printf '{''.join(lines)}' >&2; echo answer; true", steps)
        == b"answer\n"
    )
    assert steps == [("count", 10), ("receive", 42), ("resolve", 5), ("receive", 100), ("receive", 100)]


async def test_error_output_is_kept_apart_from_progress(tmp_path: Path) -> None:
    steps = Steps()
    loop = r"for n in $(seq 2000); do printf 'Receiving objects:  42%% (5/12)\r'; done"
    with pytest.raises(GitFailed) as caught:
        run_script(
            await create_bare(tmp_path), rf"({loop}; printf 'fatal: no\xff more\n'; exit 3) >&2; exit 3; true", steps
        )
    assert str(caught.value) == r"git script: fatal: no\xff more"
    assert steps == [("receive", 42)] * 2000


@pytest.mark.parametrize(("length", "letters"), [(1 << 26, "tr '\\0' x"), (1 << 20, "tr '\\0' x | fold -w 99")])
async def test_error_output_is_kept_up_to_its_limit(tmp_path: Path, length: int, letters: str) -> None:
    repo_path = await create_bare(tmp_path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    try:
        with pytest.raises(GitFailed) as caught:
            run_script(repo_path, f"head -c {length} /dev/zero | {letters} >&2; exit 1; true", Steps(), deadline=20.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert len(str(caught.value)) <= len("git script: ") + MAX_STDERR


async def test_git_that_prints_all_the_time_ends_at_its_deadline(tmp_path: Path) -> None:
    def slow(stage: str, percent: int) -> None:
        time.sleep(0.0001)

    endless = {"alias.script": "!yes 'Receiving objects:  42% (5/12)' >&2; true"}
    with pytest.raises(TimedOut):
        run(await create_bare(tmp_path), "script", config=endless, deadline=0.5, progress=slow)


async def test_progress_is_reported_again_while_git_is_silent(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    steps = Steps()

    def enough(*step: int | str) -> None:
        steps.append(step)  # type: ignore[arg-type]
        if len(steps) == 2:
            raise EnoughError

    script = {"alias.script": r"!printf 'Receiving objects:  42%% (5/12)\r' >&2; sleep 600; true"}
    with pytest.raises(EnoughError):
        run(await create_bare(tmp_path), "script", config=script, progress=enough)
    assert steps == [("receive", 42)] * 2


async def test_the_output_can_be_limited(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    with using_limits(output=5000):
        fitting = run(repo_path, "script", config={"alias.script": "!head -c 5000 /dev/zero; true"})
        assert fitting == bytes(5000)
        for read in (run, lambda *arguments, **options: list(stream(*arguments, **options))):
            with pytest.raises(TooLarge):
                read(repo_path, "script", config={"alias.script": "!cat /dev/zero; true"})


async def test_git_ends_when_the_progress_callback_raises(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def enough(stage: str, percent: int) -> None:
        raise EnoughError

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = rf"!exec 3>{pipe}; echo here >&3; printf 'Receiving objects:  42%% (5/12)\r' >&2; sleep 600; true"
    with pytest.raises(EnoughError):
        run(await create_bare(tmp_path), "script", config={"alias.script": script}, progress=enough)
    assert os.read(reader, 100) == b"here\n"
    # The other end stays open as long as any process of this git runs.
    poll = select.poll()
    poll.register(reader, 0)
    assert poll.poll(10_000)
    assert os.read(reader, 100) == b""
    os.close(reader)


async def test_a_large_output_is_complete(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    large = write_object(repo_path, "blob", b"x" * (1 << 21))
    assert len(run(repo_path, "cat-file", "blob", large, progress=lambda *step: None)) == 1 << 21
