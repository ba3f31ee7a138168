"""Single commits, and the commits of a pull-request."""

import itertools
import random
from hashlib import sha1
from pathlib import Path

import pytest

from app.git import commits, store
from app.git.errors import GitFailed, NoCommit, NoRepository, NotSignedOff, TimedOut
from app.git.process import run, stream
from tests.conftest import commit, git
from tests.git.repositories import clone_work_tree, create_bare, git_words, grow_history, write_object


async def test_a_commit_has_the_fields_that_git_shows(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    first = await commit(work)
    await git("commit", "-qm", "Second\n\nWith a body", "--allow-empty", "--date=1500000000 +0130", cwd=work)
    await git("push", "-q", "origin", "main", cwd=work)
    second, tree = await git_words(work, "log", "-1", "--format=%H %T")
    found = commits.find(repo_path, second)
    assert (found.id, found.tree, found.parents) == (second, tree, (first,))
    assert (found.author.name, found.author.email) == ("Alice", "alice@example.org")
    assert (found.author.time, found.author.offset) == (1500000000, 90)
    assert (found.message, found.subject) == ("Second\n\nWith a body\n", "Second")
    assert commits.find(repo_path, second[:7]).id == commits.find(repo_path, second.upper()).id == second


async def test_only_commits_are_found(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work)
    await git("tag", "-am", "t", "v1", cwd=work)
    await git("push", "-q", "origin", "main", "v1", cwd=work)
    tree, blob, tag = await git_words(repo_path, "rev-parse", "main^{tree}", "main:file", "v1")
    wrong = ["", "main", "HEAD", "abc", "zzzz", "f" * 40, "f" * 41, "--all", "é" * 8, "ab\0cd", "v1", "main~0"]
    for spelling in [*wrong, tree, blob, tag, tree[:9]]:
        with pytest.raises(NoCommit):
            commits.find(repo_path, spelling)


async def test_an_abbreviated_id_finds_the_only_commit_it_matches(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    known = await commit(work)
    await git("push", "-q", "origin", "main", cwd=work)
    numbers = (b"%d" % n for n in itertools.count())
    twin = next(n for n in numbers if sha1(b"blob %d\0" % len(n) + n).hexdigest()[:4] == known[:4])
    write_object(repo_path, "blob", twin)
    assert len(await git_words(repo_path, "rev-parse", f"--disambiguate={known[:4]}")) == 2
    assert commits.find(repo_path, known[:4]).id == known


async def test_names_and_messages_in_any_encoding_are_decoded(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    tree = write_object(repo_path, "tree", b"").encode()
    head = b"tree " + tree + b"\nauthor Andr\xe9 <a@b> 1 +0000\ncommitter  <> 2 -0200\n"
    latin = commits.find(
        repo_path, write_object(repo_path, "commit", head + b"encoding latin1\n\ncaf\xe9"), hidden=True
    )
    assert (latin.author.name, latin.message) == ("André", "café")
    for encoding in (b"", b"encoding unicode_escape\n", b"encoding idna\n", b"encoding nonsense\n"):
        raw = write_object(repo_path, "commit", head + encoding + b"\ncaf\xe9 \\ud800")
        assert commits.find(repo_path, raw, hidden=True).message == "caf\\xe9 \\ud800"
    assert (latin.committer.name, latin.committer.email, latin.committer.offset) == ("", "", -120)


async def test_commits_that_are_unreachable_from_visible_refs_are_hidden(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    kept, secret = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", "main", cwd=work)
    await git("push", "-qf", "origin", f"{kept}:main", cwd=work)
    assert commits.find(repo_path, kept).id == kept
    with pytest.raises(NoCommit):
        commits.find(repo_path, secret)
    await git("update-ref", "refs/internal/x", secret, cwd=repo_path)
    with pytest.raises(NoCommit):
        commits.find(repo_path, secret[:8])
    await git("update-ref", "refs/pull/1/head", secret, cwd=repo_path)
    assert commits.find(repo_path, secret[:8]).id == secret


@pytest.mark.parametrize("seed", range(4))
async def test_a_pull_request_brings_the_commits_that_rev_list_lists(tmp_path: Path, seed: int) -> None:
    branches = grow_history(repo_path := await create_bare(tmp_path), seed)
    heads = dict(zip(branches, await git_words(repo_path, "rev-parse", *branches), strict=True))
    dice = random.Random(seed)
    for source, target in (dice.sample(branches, k=2) for _ in range(12)):
        expected = await git_words(repo_path, "rev-list", "--date-order", f"{target}..{source}")
        assert list(commits.list_ids(repo_path, heads[source], heads[target])) == expected
        span = commits.find_span(repo_path, heads[source], heads[target])
        if expected:
            assert span == commits.CommitSpan(expected[-1], heads[source], len(expected))
        else:
            assert span is None
        assert commits.contains(repo_path, heads[target], heads[source]) == (not expected)
        bases = await git_words(repo_path, "log", "--format=%H", "--no-walk", source) if not expected else []
        assert not bases or commits.merge_base(repo_path, heads[source], heads[target]) == bases[0]


async def test_all_commits_are_new_to_an_empty_target_and_none_to_one_that_has_them(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    made = [await commit(work, name) for name in "abc"]
    await git("push", "-q", "origin", "main", cwd=work)
    assert commits.find_span(repo_path, made[2], None) == commits.CommitSpan(made[0], made[2], 3)
    assert commits.find_span(repo_path, made[1], made[2]) is None
    assert [one.subject for one in commits.list_between(repo_path, made[2], made[0])] == ["Add c", "Add b"]


async def test_two_repositories_are_compared_without_writing_to_either(tmp_path: Path) -> None:
    work = await clone_work_tree(target := await create_bare(tmp_path))
    base = await commit(work)
    await git("push", "-q", "origin", "main", cwd=work)
    odd = tmp_path / 'a:"b'
    odd.mkdir()
    source = await create_bare(odd, "fork")
    new = await commit(work, "new")
    await git("push", "-q", str(source), "main", cwd=work)
    before = sorted(target.rglob("*"))
    assert commits.find_span(target, new, base, alternate=source) == commits.CommitSpan(new, new, 1)
    assert [one.id for one in commits.list_between(target, new, base, alternate=source)] == [new]
    with pytest.raises(NoCommit):
        commits.find_span(target, new, base)
    assert sorted(target.rglob("*")) == before


async def test_a_sign_off_may_be_anywhere_in_the_message_and_in_any_case(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    base = await commit(work)
    await git("commit", "-qm", "One, siGNED-OFF-by nobody", "--allow-empty", cwd=work)
    await git("commit", "-qsm", "Two", "--allow-empty", cwd=work)
    signed = (await git_words(work, "rev-parse", "HEAD"))[0]
    bad = await commit(work, "bad")
    await git("commit", "-qsm", "Three", "--allow-empty", cwd=work)
    head = (await git_words(work, "rev-parse", "HEAD"))[0]
    await git("push", "-q", "origin", "main", cwd=work)
    commits.require_sign_off(repo_path, signed, base)
    with pytest.raises(NotSignedOff) as refusal:
        commits.require_sign_off(repo_path, head, base)
    assert refusal.value.subject == bad


async def test_git_ends_when_its_reader_stops_at_its_deadline_and_on_errors(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    with pytest.raises(NoRepository):
        run(tmp_path / "nowhere", "rev-list", "--all")
    with pytest.raises(NoRepository):
        commits.find(tmp_path / "nowhere", "abcd")
    with pytest.raises(GitFailed, match=r"git rev-list: fatal: .*nothing"):
        list(stream(repo_path, "rev-list", "nothing"))
    grow_history(repo_path, 1, 300)
    pieces = stream(repo_path, "log", "-p", "--all")
    assert next(pieces)
    pieces.close()
    with pytest.raises(TimedOut):
        run(repo_path, "log", "-p", "--all", deadline=0)
    with pytest.raises(TimedOut):
        list(stream(repo_path, "log", "-p", "--all", deadline=0))


async def test_a_dangling_alias_does_not_break_the_listing_of_refs(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    made = await commit(work)
    await git("push", "-q", "origin", "main", cwd=work)
    await git("symbolic-ref", "refs/heads/old", "refs/heads/gone", cwd=repo_path)
    await git("symbolic-ref", "refs/heads/new", "refs/heads/main", cwd=repo_path)
    assert store.list_refs(repo_path) == [("refs/heads/main", made, made), ("refs/heads/new", made, made)]
