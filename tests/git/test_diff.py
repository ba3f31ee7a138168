"""Diffs and statistics, compared with those of the git program."""

import random
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.git import commits, diff, process
from app.git.errors import EmptyDiff, NoCommit, TooLarge
from tests.conftest import commit, git
from tests.git.repositories import (
    clone_work_tree,
    create_bare,
    git_words,
    grow_history,
    grow_linear_history,
    write_object,
)

NOTHING = "0" * 40


async def commit_all(work: Path, message: str = "change") -> str:
    await git("add", "-A", cwd=work)
    await git("commit", "-qm", message, "--allow-empty", cwd=work)
    return (await git_words(work, "rev-parse", "HEAD"))[0]


async def create_eventful_history(tmp_path: Path) -> tuple[Path, Path, str, str]:
    """Commit every kind of change; return the repository, the work tree, and the commits before and after."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    for name in ("kept", "changed", "gone", "typed"):
        (work / name).write_text(f"{name}\n" * 3)
    (work / "from here").write_text("".join(f"{n}\n" for n in range(40)))
    (work / "binary").write_bytes(b"\0" * 100)
    sub = f"160000,{'1' * 40},sub"
    gone = f"160000,{'3' * 40},old-sub"
    await git("update-index", "--add", "--cacheinfo", sub, "--cacheinfo", gone, cwd=work)
    await git("add", "kept", "changed", "gone", "typed", "from here", "binary", cwd=work)
    await git("commit", "-qm", "before", cwd=work)
    (work / "changed").write_text("changed\nnew\n")
    (work / "gone").unlink()
    (work / "typed").unlink()
    (work / "typed").symlink_to("kept")
    (work / "from here").rename(work / "to thére")
    (work / "binary").write_bytes(b"\0" * 101)
    (work / "odd\udcff\n\"'").write_text("one\n")
    await git("update-index", "--add", "--cacheinfo", f"160000,{'2' * 40},sub", cwd=work)
    await git("rm", "-q", "--cached", "old-sub", cwd=work)
    await git("add", "changed", "gone", "typed", "from here", "to thére", "binary", "odd\udcff\n\"'", cwd=work)
    await git("commit", "-qm", "after", cwd=work)
    await git("push", "-q", "origin", "main", cwd=work)
    old, new = await git_words(work, "rev-parse", "HEAD~1", "HEAD")
    return repo_path, work, old, new


async def test_the_statistics_list_the_change_of_each_file(tmp_path: Path) -> None:
    repo_path, _, old, new = await create_eventful_history(tmp_path)
    found = diff.statistics(repo_path, old, new)
    changes = {path: (one.status, one.old_path, one.lines_added, one.lines_removed) for path, one in found.items()}
    assert changes == {
        "binary": ("M", "binary", 0, 0),
        "changed": ("M", "changed", 1, 2),
        "gone": ("D", "gone", 0, 3),
        "odd\\xff\n\"'": ("A", "odd\\xff\n\"'", 1, 0),
        "old-sub": ("D", "old-sub", 0, 1),
        "sub": ("M", "sub", 1, 1),
        "to thére": ("R", "from here", 0, 0),
        "typed": ("M", "typed", 1, 3),
    }
    ids = await git_words(repo_path, "rev-parse", f"{old}:changed", f"{new}:changed", f"{old}:gone")
    assert (found["changed"].old_id, found["changed"].new_id, found["gone"].old_id) == tuple(ids)
    assert (found["gone"].new_id, found["odd\\xff\n\"'"].old_id) == (NOTHING, NOTHING)
    assert (found["sub"].old_id, found["sub"].new_id) == ("1" * 40, "2" * 40)
    assert diff.changed_files(repo_path, old, new) == {
        "binary": "M", "changed": "M", "from here": "D", "gone": "D", "odd\\xff\n\"'": "A", "old-sub": "D", "sub": "M",
        "to thére": "A", "typed": "T",
    }  # fmt: skip


async def test_a_root_commit_is_compared_with_the_empty_tree(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    first, second = await commit(work, "a", "1\n2\n"), await commit(work, "b")
    await git("push", "-q", "origin", "main", cwd=work)
    assert (diff.find_base(repo_path, first), diff.find_base(repo_path, second)) == (None, first)
    assert {path: one.status for path, one in diff.statistics(repo_path, None, second).items()} == {"a": "A", "b": "A"}


async def test_an_empty_diff_or_a_missing_commit_raises(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work)
    head = await commit_all(work)
    await git("push", "-q", "origin", "main", cwd=work)
    for old in (head, diff.find_base(repo_path, head)):
        with pytest.raises(EmptyDiff):
            diff.statistics(repo_path, old, head)
    assert diff.changed_files(repo_path, head, head) == {}
    for wrong in ("f" * 40, "HEAD", "--output=x", ""):
        with pytest.raises(NoCommit):
            diff.statistics(repo_path, wrong, head)
        with pytest.raises(NoCommit):
            diff.patch(repo_path, wrong)
        for render in (diff.patches, diff.diffs):
            with pytest.raises(NoCommit):
                render(repo_path, wrong, None)


@pytest.mark.parametrize("seed", range(3))
async def test_the_line_counts_equal_those_of_numstat(tmp_path: Path, seed: int) -> None:
    branches = grow_history(repo_path := await create_bare(tmp_path), seed)
    heads = dict(zip(branches, await git_words(repo_path, "rev-parse", *branches), strict=True))
    dice = random.Random(seed)
    for old, new in (dice.sample(branches, k=2) for _ in range(10)):
        numstat = [line.split("\t") for line in (await git("diff", "--numstat", old, new, cwd=repo_path)).splitlines()]
        if not numstat:
            continue
        found = diff.statistics(repo_path, heads[old], heads[new])
        assert sorted((one.lines_added, one.lines_removed) for one in found.values()) == sorted(
            (int(added), int(removed)) for added, removed, _ in numstat
        )


async def test_a_pull_request_becomes_a_series_of_mails_that_git_am_applies(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    start = await commit(work, "base")
    (work / "a").write_text("1\n")
    await commit_all(work, "Add a\n\nBecause of b.\n\nAnd c.")
    (work / "b").write_text("2\n")
    last = await commit_all(work, "Ünicode subject")
    await git("push", "-q", "origin", "main", cwd=work)
    text = b"".join(diff.patches(repo_path, last, start)).decode()
    first = (await git_words(work, "rev-parse", "HEAD~1"))[0]
    date = "Date: " + (await git("show", "-s", "--format=%cd", "--date=format-local:%b %d %Y %H:%M:%S +0000", first,
                                 cwd=work, )).strip()  # fmt: skip
    assert text.startswith(
        f"From {first} Mon Sep 17 00:00:00 2001\nFrom: Alice <alice@example.org>\n{date}\n"
        "Subject: [PATCH 1/2] Add a\n\nBecause of b.\n\nAnd c.\n---\n\ndiff --git a/a b/a\n"
    )
    assert f"\nFrom {last} Mon Sep 17 00:00:00 2001\n" in text
    assert "\nSubject: [PATCH 2/2] Ünicode subject\n\n---\n\ndiff --git a/b b/b\n" in text
    (tmp_path / "series").write_text(text)
    await git("checkout", "-q", start, cwd=work)
    await git("am", "-q", str(tmp_path / "series"), cwd=work)
    assert await git_words(work, "rev-parse", "HEAD^{tree}") == await git_words(work, "rev-parse", f"{last}^{{tree}}")
    log = await git("log", "--format=%s|%b|%an", f"{start}..", cwd=work)
    assert log == "Ünicode subject||Alice\nAdd a|Because of b.\n\nAnd c.\n|Alice\n"
    single = b"".join(diff.patch(repo_path, last)).decode()
    assert single.startswith(f"From {last} ")
    assert "\nSubject: Ünicode subject\n" in single
    expected = await git("diff-tree", "-p", start, first, cwd=work) + await git(
        "diff-tree", "-p", first, last, cwd=work
    )
    assert b"".join(diff.diffs(repo_path, last, start)).decode() == expected


async def test_a_series_contains_every_commit_of_the_pull_request_oldest_first(tmp_path: Path) -> None:
    branches = grow_history(repo_path := await create_bare(tmp_path), 5, 40)
    head = (await git_words(repo_path, "rev-parse", branches[-1]))[0]
    text = b"".join(diff.patches(repo_path, head, None)).decode()
    heads = [line.split()[1] for line in text.splitlines() if line.endswith(" Mon Sep 17 00:00:00 2001")]
    assert heads == list(commits.list_ids(repo_path, head, None))[::-1]
    assert f"\nSubject: [PATCH {len(heads)}/{len(heads)}] hi\n" in text


async def test_a_commit_cannot_forge_the_headers_of_its_mail(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    tree = write_object(repo_path, "tree", b"")
    raw = (
        b"tree "
        + tree.encode()
        + b"\nauthor E\x1b[31m\xff\rvil <a@b\r> 1 +0000\ncommitter C <c@d> 99999999999999 +0000\n\nS\r\xfe"
    )
    made = write_object(repo_path, "commit", raw)
    head = b"".join(diff.patch(repo_path, made)).decode()
    assert head.splitlines()[1:4] == [
        "From: E [31m\\xff vil <a@b>",
        "Date: Dec 31 9999 23:59:59 +0000",
        "Subject: S \\xfe",
    ]


async def test_diffs_above_the_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, _, old, new = await create_eventful_history(tmp_path)
    monkeypatch.setattr(diff, "DIFF_LIMIT", 100)
    for render in (diff.patches, diff.diffs):
        with pytest.raises(TooLarge):
            list(render(repo_path, new, old))
    with pytest.raises(TooLarge):
        list(diff.patch(repo_path, new))
    monkeypatch.setattr(diff, "CHANGES_LIMIT", 3)
    for compare in (diff.statistics, diff.changed_files):
        with pytest.raises(TooLarge):
            compare(repo_path, old, new)
    monkeypatch.setattr(diff, "PATCHES_LIMIT", 1)
    with pytest.raises(TooLarge):
        diff.patches(repo_path, new, None)


async def test_a_huge_file_is_not_held_in_memory(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work)
    (work / "huge").write_bytes(b"0123456789abcde\n" * (1 << 21) + b"x")
    (work / "long").write_text("a line\n" * (1 << 20))
    head = await commit_all(work)
    await git("push", "-q", "origin", "main", cwd=work)
    program = (
        "import sys; from pathlib import Path; from app.git import diff\n"
        "print(sum(map(len, diff.diffs(Path(sys.argv[1]), sys.argv[2], None))))"
    )
    arguments = [sys.executable, "-c", program, str(repo_path), head]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    size = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert 40 << 20 < int(size) < 48 << 20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 256 << 10  # git's own memory
    found = diff.statistics(repo_path, None, head)
    assert (found["huge"].lines_added, found["long"].lines_added) == (0, 1 << 20)


async def create_odd_series(tmp_path: Path) -> tuple[Path, Path, str, str]:
    """Commit, one at a time, what patches can get wrong; return repository, work tree, and the ends of the series."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    (work / "script").write_text("#!/bin/sh\n" * 5)
    (work / "logo").write_bytes(bytes(range(256)) * 4)
    (work / "plain").write_text("".join(f"{number}\n" for number in range(50)))
    start = await commit_all(work, "Begin")
    (work / "logo").write_bytes(bytes(range(256)) * 3 + b"\0changed")
    (work / "new logo").write_bytes(bytes(reversed(range(256))))
    await commit_all(work, "Change a picture and add one")
    (work / "plain").rename(work / 'renamed "and" quöted\t\n\udcff')
    await commit_all(work, "Rename")
    (work / "script").chmod(0o755)
    await commit_all(work, "Make it executable")
    await commit_all(work, "Change nothing")
    (work / "link").symlink_to("script")
    (work / "empty").touch()
    (work / "no line end").write_text("a")
    (work / ("a" * 40)).write_text(f"{'b' * 40}\n--\n-- \nFrom x\n")
    await commit_all(work, "Add odd files\n\nAnd a body.")
    (work / "logo").unlink()
    (work / "empty").unlink()
    (work / "link").unlink()
    (work / "link").write_text("no link")
    last = await commit_all(work, "Remove some")
    await git("push", "-q", "origin", "main", cwd=work)
    return repo_path, work, start, last


async def test_patches_apply_with_git_am_and_diffs_with_git_apply(tmp_path: Path) -> None:
    repo_path, work, start, last = await create_odd_series(tmp_path)
    (tmp_path / "series").write_bytes(b"".join(diff.patches(repo_path, last, start)))
    (tmp_path / "diff").write_bytes(b"".join(diff.diffs(repo_path, last, start)))
    await git("checkout", "-q", start, cwd=work)
    await git("am", "-q", "--keep-cr", str(tmp_path / "series"), cwd=work)
    assert await git_words(work, "rev-parse", "HEAD^{tree}") == await git_words(work, "rev-parse", f"{last}^{{tree}}")
    subjects = (await git("log", "--format=%s", f"{start}..", cwd=work)).splitlines()[::-1]
    made = (await git("log", "--format=%s", "--reverse", f"{start}..{last}", cwd=work)).splitlines()
    assert subjects == [subject for subject in made if subject != "Change nothing"]
    await git("checkout", "-q", start, cwd=work)
    await git("apply", "--index", str(tmp_path / "diff"), cwd=work)
    assert await git_words(work, "write-tree") == await git_words(work, "rev-parse", f"{last}^{{tree}}")


async def test_the_diffs_of_patches_are_those_of_format_patch(tmp_path: Path) -> None:
    repo_path, _, start, last = await create_odd_series(tmp_path)
    formatted = await git_bytes(
        repo_path, "format-patch", "--stdout", "--binary", "--no-stat", "--no-signature", f"{start}..{last}"
    )
    assert _list_diffs(b"".join(diff.patches(repo_path, last, start))) == _list_diffs(formatted)


async def git_bytes(repo_path: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=repo_path, capture_output=True, check=True)
    return done.stdout


def _list_diffs(mails: bytes) -> list[bytes]:
    """Split a mailbox into its mails, and return the diffs in them."""
    parts = re.split(rb"(?m)^From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\n", mails)[1:]
    return [part[part.index(b"\ndiff --git ") :].strip() for part in parts]


async def test_a_branch_that_was_merged_into_gives_one_diff_and_patches_without_the_merge(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work, "base")
    await git("checkout", "-qb", "topic", cwd=work)
    await commit(work, "topic", "one\n")
    await git("checkout", "-q", "main", cwd=work)
    onto = await commit(work, "main", "main\n")
    await git("checkout", "-q", "topic", cwd=work)
    await git("merge", "-q", "--no-edit", "main", cwd=work)
    (work / "topic").write_text("one\ntwo\n")
    last = await commit_all(work, "More")
    await git("push", "-q", "origin", "main", "topic", cwd=work)
    (tmp_path / "diff").write_bytes(b"".join(diff.diffs(repo_path, last, onto)))
    (tmp_path / "series").write_bytes(b"".join(diff.patches(repo_path, last, onto)))
    for command in (("apply", "--index", str(tmp_path / "diff")), ("am", "-q", str(tmp_path / "series"))):
        await git("checkout", "-q", "--force", onto, cwd=work)
        await git(*command, cwd=work)
        assert await git_words(work, "write-tree") == await git_words(work, "rev-parse", f"{last}^{{tree}}")


async def test_one_git_renders_a_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_linear_history(repo_path := await create_bare(tmp_path), 50)
    head = (await git_words(repo_path, "rev-parse", "main"))[0]
    started = []

    def count(*arguments: str, **options: Any) -> list[str]:
        started.append(arguments)
        return build_command(*arguments, **options)

    build_command = process.build_command
    monkeypatch.setattr(process, "build_command", count)
    assert b"line 50 of many" in b"".join(diff.patches(repo_path, head, None))
    assert len(started) == 2  # one lists the commits, the other compares
