"""The folders in which repositories are made: those of processes that have ended are removed."""

import shutil
import uuid
from pathlib import Path

import pytest

from app.git import store
from tests.git.repositories import write_object


def test_a_staging_dir_is_removed_unless_a_process_works_in_it(tmp_path: Path) -> None:
    with store.staging_dir(tmp_path, 7, cause=uuid.uuid4(), head="main") as working:
        assert working is not None
        left = working.with_name(".8.git.0123456789abcdef")
        shutil.copytree(working, left)
        store.sweep_staging_dirs(tmp_path)
        assert not left.exists()
        assert working.exists()
    assert [path.name for path in tmp_path.glob("*/*")] == ["7.git"]


def make(root: Path, project_id: int) -> Path:
    """Make a repository with two objects."""
    with store.staging_dir(root, project_id, cause=uuid.uuid4(), head="main") as staging:
        assert staging is not None
    for content in (b"one", b"two"):
        write_object(store.repository_path(root, project_id), "blob", content)
    return store.repository_path(root, project_id)


def fork(root: Path, cause: uuid.UUID, disturb: bool) -> None:
    def remove_directory(_: int) -> None:
        if disturb:
            store._clear_staging_dirs(store.repository_path(root, 8))  # as a second attempt does at its start

    store.fork_repository(root, 7, 8, cause=cause, head="main", progress=remove_directory)


def test_an_attempt_whose_directory_was_removed_puts_nothing_in_place(tmp_path: Path) -> None:
    """A worker may be frozen for longer than its lease, and go on while another one does the same work."""
    make(tmp_path, 7)
    cause = uuid.uuid4()
    with pytest.raises(FileNotFoundError):
        fork(tmp_path, cause, disturb=True)
    assert [path.name for path in tmp_path.glob("*/*")] == ["7.git"]
    fork(tmp_path, cause, disturb=False)
    assert store.read_state(store.repository_path(tmp_path, 8)).head == "main"


def test_a_directory_that_was_made_again_is_not_put_in_place(tmp_path: Path) -> None:
    with (  # noqa: PT012 - the last step fails
        pytest.raises(FileNotFoundError),
        store.staging_dir(tmp_path, 7, cause=uuid.uuid4(), head="main") as staging,
    ):
        assert staging is not None
        shutil.rmtree(staging)
        staging.mkdir()
    assert list(tmp_path.glob("*/*")) == []
