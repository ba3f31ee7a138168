"""Limits of what git processes may use, and of what is read into the forge itself."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import Settings
from app.git import commits, diff, limits, merge, process, store, tree
from app.git.errors import GitFailed, TimedOut, TooLarge
from app.git.limits import Work
from app.git.process import run, serve
from tests.conftest import commit, git
from tests.git import bombs
from tests.git.limits import using_limits
from tests.git.repositories import clone_work_tree, create_bare, git_words, write_object

HUNGRY = f"!exec {sys.executable} -c 'x = bytes(400 << 20)'"
BUSY = f"!exec {sys.executable} -c 'while True: pass'"
SHOW_LIMITS = "!ulimit -d; ulimit -v; ulimit -t; true"


def run_alias(repo_path: Path, script: str, work: Work = Work.READ) -> str:
    return run(repo_path, "script", config={"alias.script": script}, work=work).decode()


@pytest.mark.parametrize("work", Work)
async def test_each_kind_of_work_has_its_own_limits(tmp_path: Path, work: Work) -> None:
    repo_path = await create_bare(tmp_path)
    with using_limits(work, memory=700 << 20, cpu=7):
        data, space, cpu = run_alias(repo_path, SHOW_LIMITS, work).split()
    assert (int(data), int(space), int(cpu)) == (700 << 10, (700 << 10) + (limits.MAPPED_PACKS >> 10), 7)


async def test_a_program_that_needs_too_much_memory_fails(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    run_alias(repo_path, HUNGRY)
    with using_limits(memory=200 << 20), pytest.raises(GitFailed):
        run_alias(repo_path, HUNGRY)


async def test_a_git_that_runs_out_of_memory_is_told_as_too_large(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    large = write_object(repo_path, "blob", bytes(60 << 20))
    whole = {"core.bigFileThreshold": "1g"}
    # Git reads a loose object in pieces, and one in a pack as a whole.
    run(repo_path, "pack-objects", "-q", "objects/pack/pack", stdin=f"{large}\n".encode(), config=whole)
    run(repo_path, "prune-packed")
    with using_limits(memory=40 << 20), pytest.raises(TooLarge):
        run(repo_path, "cat-file", "blob", large, config=whole)


@pytest.mark.slow
async def test_a_program_that_computes_too_long_is_ended(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    with using_limits(cpu=1), pytest.raises(TimedOut):
        run_alias(repo_path, BUSY)


async def test_a_program_that_only_waits_is_ended_too(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    with using_limits(seconds=0.2), pytest.raises(TimedOut):
        run_alias(repo_path, "!sleep 60; true")
    with using_limits("push", seconds=0.2), pytest.raises(TimeoutError):
        async with serve("receive-pack", repo_path, advertise=False) as served:
            await served.wait()


async def test_the_services_of_git_are_limited(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    for service, kind in (("upload-pack", "fetch"), ("receive-pack", "push")):
        with using_limits(kind, memory=900 << 20, cpu=9):
            async with serve(service, repo_path, advertise=False) as served, asyncio.timeout(10):
                while Path(f"/proc/{served.pid}/comm").read_text() != "git\n":
                    await asyncio.sleep(0.01)
                lines = Path(f"/proc/{served.pid}/limits").read_text().splitlines()
        found = {line[:26].strip(): line[26:].split()[0] for line in lines}
        assert (found["Max data size"], found["Max cpu time"]) == (str(900 << 20), "9")


async def test_a_shell_sets_the_limits_where_there_is_no_prlimit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PRLIMIT", None)
    with using_limits(memory=700 << 20, cpu=7):
        data, _, cpu = run_alias(await create_bare(tmp_path), SHOW_LIMITS).split()
    assert (int(data), int(cpu)) == (700 << 10, 7)


def test_limits_are_settings_of_which_some_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYFORGE_GIT_READ", '{"cpu": 5}')
    given = Settings().git_read
    assert (given.cpu, given.memory) == (5, Settings.model_fields["git_read"].default.memory)


@pytest.mark.slow
async def test_a_tree_of_trees_is_refused_before_git_compares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    base = await commit(work)
    await git("push", "-q", "origin", "main", cwd=work)
    bomb = bombs.write_commit(repo_path, bombs.write_tree_of_trees(repo_path), base)
    merging = bombs.write_commit(repo_path, bombs.write_tree_of_trees(repo_path), bomb, base)

    def refuse_comparing(*arguments: str, **options: object) -> list[str]:
        assert not {"diff-tree", "merge-tree"} & set(arguments), arguments
        return build_command(*arguments, **options)  # type: ignore[arg-type]

    build_command = process.build_command
    monkeypatch.setattr(process, "build_command", refuse_comparing)
    for read in (
        lambda: diff.patch(repo_path, bomb),
        lambda: diff.patches(repo_path, bomb, base),
        lambda: diff.diffs(repo_path, bomb, base),
        lambda: diff.diffs(repo_path, merging, base),
        lambda: diff.statistics(repo_path, base, bomb),
        lambda: diff.changed_files(repo_path, base, bomb),
        lambda: diff.changed_files(repo_path, None, bomb),
        lambda: merge.combine(repo_path, base, bomb),
    ):
        with pytest.raises(TooLarge):
            list(read() or ())


@pytest.mark.slow
async def test_a_deep_tree_without_files_is_refused(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    below = write_object(repo_path, "tree", b"")
    for _ in range(30):
        below = bombs.write_tree(repo_path, [("40000", name, below) for name in "ab"])
    with pytest.raises(TooLarge):
        list(diff.patch(repo_path, bombs.write_commit(repo_path, below)))


@pytest.mark.slow
async def test_large_contents_and_long_messages_are_not_shown_as_patches(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    nothing = write_object(repo_path, "tree", b"")
    line = bombs.write_commit(repo_path, bombs.write_long_line(repo_path, diff.CONTENT_LIMIT + 1))
    wordy = bombs.write_commit(repo_path, nothing, message="x" * (commits.MESSAGE_LIMIT - 1))
    assert b"".join(diff.patch(repo_path, wordy))
    wordier = bombs.write_commit(repo_path, nothing, message="x" * commits.MESSAGE_LIMIT)
    for large in (line, wordier):
        with pytest.raises(TooLarge):
            list(diff.patch(repo_path, large))


async def test_a_commit_a_tag_and_a_folder_of_any_size_are_not_read_into_the_forge(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    blob = write_object(repo_path, "blob", b"x")
    folder = bombs.write_many_files(repo_path, tree.ENTRIES_LIMIT + 1)
    message = "x" * (9 << 20)
    endless = bombs.write_commit(repo_path, folder, message=message)
    tagged = write_object(
        repo_path, "tag", f"object {blob}\ntype blob\ntag t\ntagger {bombs.PERSON}\n\n{message}".encode()
    )
    bombs.set_branch(repo_path, "main", endless)
    subprocess.run(["git", "update-ref", "refs/tags/t", tagged], cwd=repo_path, check=True)
    assert len(store.list_refs(repo_path)) == 2
    for read in (
        lambda: commits.find(repo_path, endless),
        lambda: tree.find_entry(repo_path, "t"),
        lambda: tree.find_entry(repo_path, "main"),
    ):
        with pytest.raises(TooLarge):
            read()
    assert list(commits.list_between(repo_path, endless, None)) == []
    plain = bombs.write_commit(repo_path, folder)
    bombs.set_branch(repo_path, "plain", plain)
    with pytest.raises(TooLarge):
        tree.find_entry(repo_path, "plain")
    assert tree.find_entry(repo_path, "plain", "0000007") == tree.File("0000007", blob, 1)


async def test_a_long_message_is_cut(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    nothing = write_object(repo_path, "tree", b"")
    long = bombs.write_commit(repo_path, nothing, message="x" * (commits.MESSAGE_LIMIT + 1))
    [found] = commits.list_between(repo_path, long, None)
    assert (len(found.message), found.cut) == (commits.MESSAGE_LIMIT, True)


async def test_a_chain_of_tags_has_an_end(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    target, kind = bombs.write_commit(repo_path, write_object(repo_path, "tree", b"")), "commit"
    for _ in range(101):
        body = f"object {target}\ntype {kind}\ntag t\ntagger {bombs.PERSON}\n\nm\n".encode()
        target, kind = write_object(repo_path, "tag", body), "tag"
    await git("update-ref", "refs/tags/t", target, cwd=repo_path)
    with pytest.raises(TooLarge):
        tree.find_entry(repo_path, "t")
    assert store.list_refs(repo_path) == [("refs/tags/t", target, target)]


async def test_a_preview_leaves_nothing_in_the_repository(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    base = await commit(work)
    ours = await commit(work, "ours")
    await git("checkout", "-q", base, cwd=work)
    theirs = await commit(work, "theirs")
    await git("push", "-q", "origin", f"{ours}:refs/heads/main", f"{theirs}:refs/heads/topic", cwd=work)
    before = await git_words(repo_path, "count-objects", "-v")
    assert merge.preview_merge(repo_path, "main", theirs).status is merge.Status.MERGE
    assert await git_words(repo_path, "count-objects", "-v") == before
