"""How far git is, told while it works."""

import os
import resource
import select
import time
from pathlib import Path

import pytest

from app.git import pulls, refs
from app.git.errors import GitFailed, TimedOut, TooLarge
from app.git.process import MAX_STDERR, run
from tests.git.repositories import bare, straight, typed

Told = list[tuple[str, int]]


def says(repo_path: Path, script: str, told: Told, **options: float) -> bytes:
    """What comes of a git that runs this script, which is what an alias may be."""
    return run(
        repo_path, "script", config={"alias.script": f"!{script}"}, progress=lambda *step: told.append(step), **options
    )


async def test_a_fetch_tells_how_far_it_is(tmp_path: Path) -> None:
    source, repo_path, told = await bare(tmp_path, "source"), await bare(tmp_path), Told()
    straight(source, 100)
    head = pulls.copy_source_head(repo_path, 7, source, "main", lambda *step: told.append(step))
    assert refs.find_target(repo_path, refs.pull_ref(7)) == head
    assert list(dict(told)) == ["count", "compress", "receive", "resolve"]
    for stage in dict(told):
        percents = [percent for which, percent in told if which == stage]
        assert percents == sorted(percents)
        assert percents[-1] == 100


async def test_what_tells_of_progress_is_known_by_its_form(tmp_path: Path) -> None:
    told = Told()
    lines = [
        r"remote: Enumerating objects: 7, done.\n", r"remote: Counting objects:  10%% (1/10)        \r",
        r"Receiving objects:  42%% (5/12), 1.00 MiB | 2.00 MiB/s\r", r"Resolving deltas: 5%% (1/20)\n",
        r"Updating files:  50%% (1/2)\r", r"remote: of 30%% (or so)\n", r"Receiving objects: 999%% (9/1)\r",
        r"Unpacking objects: 100%% (3/3), done.",
    ]  # fmt: skip
    assert says(await bare(tmp_path), f"printf '{''.join(lines)}' >&2; echo answer; true", told) == b"answer\n"
    assert told == [("count", 10), ("receive", 42), ("resolve", 5), ("receive", 100), ("receive", 100)]


async def test_words_of_failure_are_kept_apart_from_progress(tmp_path: Path) -> None:
    told = Told()
    steps = r"for n in $(seq 2000); do printf 'Receiving objects:  42%% (5/12)\r'; done"
    with pytest.raises(GitFailed) as caught:
        says(await bare(tmp_path), rf"({steps}; printf 'fatal: no\xff more\n'; exit 3) >&2; exit 3; true", told)
    assert str(caught.value) == r"git script: fatal: no\xff more"
    assert told == [("receive", 42)] * 2000


@pytest.mark.parametrize(("length", "letters"), [(1 << 26, "tr '\\0' x"), (1 << 20, "tr '\\0' x | fold -w 99")])
async def test_no_more_words_are_kept_than_anybody_reads(tmp_path: Path, length: int, letters: str) -> None:
    repo_path = await bare(tmp_path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    try:
        with pytest.raises(GitFailed) as caught:
            says(repo_path, f"head -c {length} /dev/zero | {letters} >&2; exit 1; true", Told(), deadline=20.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert len(str(caught.value)) <= len("git script: ") + MAX_STDERR


async def test_git_that_never_falls_silent_ends_with_its_deadline(tmp_path: Path) -> None:
    def slow(stage: str, percent: int) -> None:
        time.sleep(0.0001)

    endless = {"alias.script": "!yes 'Receiving objects:  42% (5/12)' >&2; true"}
    with pytest.raises(TimedOut):
        run(await bare(tmp_path), "script", config=endless, deadline=0.5, progress=slow)


async def test_who_hears_of_git_hears_it_again_in_silence(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    told = Told()

    def enough(*step: int | str) -> None:
        told.append(step)  # type: ignore[arg-type]
        if len(told) == 2:
            raise EnoughError

    script = {"alias.script": r"!printf 'Receiving objects:  42%% (5/12)\r' >&2; sleep 600; true"}
    with pytest.raises(EnoughError):
        run(await bare(tmp_path), "script", config=script, progress=enough)
    assert told == [("receive", 42)] * 2


async def test_an_output_may_be_limited(tmp_path: Path) -> None:
    repo_path = await bare(tmp_path)
    assert run(repo_path, "script", config={"alias.script": "!head -c 5000 /dev/zero; true"}, max_output=5000) == bytes(
        5000
    )
    with pytest.raises(TooLarge):
        run(repo_path, "script", config={"alias.script": "!cat /dev/zero; true"}, max_output=5000)


async def test_git_ends_when_whoever_hears_of_it_has_heard_enough(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def enough(stage: str, percent: int) -> None:
        raise EnoughError

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = rf"!exec 3>{pipe}; echo here >&3; printf 'Receiving objects:  42%% (5/12)\r' >&2; sleep 600; true"
    with pytest.raises(EnoughError):
        run(await bare(tmp_path), "script", config={"alias.script": script}, progress=enough)
    assert os.read(reader, 100) == b"here\n"
    # The other end is open for as long as any process of git's is there.
    poll = select.poll()
    poll.register(reader, 0)
    assert poll.poll(10_000)
    assert os.read(reader, 100) == b""
    os.close(reader)


async def test_a_large_answer_comes_whole(tmp_path: Path) -> None:
    repo_path = await bare(tmp_path)
    large = typed(repo_path, "blob", b"x" * (1 << 21))
    assert len(run(repo_path, "cat-file", "blob", large, progress=lambda *step: None)) == 1 << 21
