"""The folders in which repositories are made: those of processes that have ended are removed."""

import shutil
import uuid
from pathlib import Path

from app.git import store


def test_a_staging_dir_is_removed_unless_a_process_works_in_it(tmp_path: Path) -> None:
    with store.staging_dir(tmp_path, 7, cause=uuid.uuid4(), head="main") as working:
        assert working is not None
        left = working.with_name(".8.git.0123456789abcdef")
        shutil.copytree(working, left)
        store.sweep_staging_dirs(tmp_path)
        assert not left.exists()
        assert working.exists()
    assert [path.name for path in tmp_path.glob("*/*")] == ["7.git"]
