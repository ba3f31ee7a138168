"""The numbers and names of commits that clients send."""

import itertools
from pathlib import Path

import pytest

from app.git import history
from app.git.errors import NoCommit
from tests.conftest import git
from tests.git.repositories import create_bare, write_object


def write_commit_of_digits(repo_path: Path) -> str:
    """Write a commit whose id begins with seven digits and no letter; return the id."""
    tree = write_object(repo_path, "tree", b"")

    def write_commit(time: int) -> str:
        body = f"tree {tree}\nauthor A <a@e.org> {time} +0000\ncommitter A <a@e.org> {time} +0000\n\n"
        return write_object(repo_path, "commit", body.encode())

    return next(commit_id for commit_id in map(write_commit, itertools.count()) if commit_id[:7].isdigit())


async def test_digits_are_an_index_if_there_are_so_many_commits_and_else_a_name(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    commit_id = write_commit_of_digits(repo_path)
    for ref in ("refs/heads/main", "refs/tags/0", "refs/tags/2024"):
        await git("update-ref", ref, commit_id, cwd=repo_path)
    commits = history.list_commits(repo_path)
    for name in ("0", "2024", commit_id[:7], commit_id[:11], commit_id):
        assert history.find_index(repo_path, commits, name) == 0, name
    absent = f"{(int(commit_id[:7]) + 1) % 10**7:07}"
    for name in ("1", "999", commit_id[:6], absent):
        with pytest.raises(NoCommit):
            history.find_index(repo_path, commits, name)


async def test_an_empty_repository_has_no_newest_commit(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    for name in (*history.NEWEST, "0"):
        with pytest.raises(NoCommit):
            history.find_index(repo_path, [], name)
