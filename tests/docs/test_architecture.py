"""The tree on docs/architecture.md is the tree on disk."""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from tests.docs.test_references import ROOT, list_files

PAGE = ROOT / "docs" / "architecture.md"
INDENT, DESCRIPTION = 2, 27  # columns of one level, and where what an entry is for begins
# Folders whose files are all named one by one: here a newcomer looks first.
NAMED = ("app", "app/core", "app/http", "app/stores", "app/queries", "events", "workers")
# Folders at the top that the page names as a whole.
MAX_AT_ROOT = 12  # files; what comes next is a folder with a name
WHOLE = ("benchmarks", "deploy", "docs", "tests")


def read_tree() -> set[str]:
    """The paths and patterns of the page's tree; a folder ends with a slash."""
    found = re.search(r"^## The tree\n.*?^```\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    entries: set[str] = set()
    folders: list[str] = []
    for line in found[1].splitlines():
        depth, rest = divmod(len(line) - len(line.lstrip()), INDENT)
        if depth * INDENT >= DESCRIPTION - 1:
            continue  # the description goes on
        assert rest == 0, line
        names = re.split(r"\s{2,}", line.strip())[0].split()
        assert depth <= len(folders), line
        del folders[depth:]
        for name in names:
            path = "".join(folders) + name
            assert path not in entries, path
            entries.add(path)
        if names[-1].endswith("/"):
            assert len(names) == 1, line
            folders.append(names[0])
    return entries


def read_disk() -> tuple[set[str], set[str]]:
    """The files and the folders of the repository, without hidden ones and the markers of packages."""
    files = {name for name in list_files() if not name.startswith(".") and not name.endswith("__init__.py")}
    folders = {f"{parent}/" for name in files for parent in PurePosixPath(name).parents if str(parent) != "."}
    return files, folders


def is_whole(path: str) -> bool:
    return path.rstrip("/").partition("/")[0] in WHOLE


def test_everything_on_disk_is_in_the_tree() -> None:
    tree, (files, folders) = read_tree(), read_disk()
    patterns = [entry for entry in tree if "*" in entry]
    missing = {folder for folder in folders if not is_whole(folder) or folder.count("/") == 1} - tree
    for file in files - tree:
        folder = file.rpartition("/")[0]
        if is_whole(file):
            continue
        covered = any(pattern.rpartition("/")[0] == folder and fnmatchcase(file, pattern) for pattern in patterns)
        if folder in NAMED or not covered:
            missing.add(file)
    assert sorted(missing) == []


def test_everything_in_the_tree_is_on_disk() -> None:
    files, folders = read_disk()
    gone = []
    for entry in read_tree():
        if "*" in entry:
            folder = entry.rpartition("/")[0]
            assert folder not in NAMED, entry
            there = any(file.rpartition("/")[0] == folder and fnmatchcase(file, entry) for file in files)
        else:
            there = entry in files | folders
        if not there:
            gone.append(entry)
    assert sorted(gone) == []


def test_few_files_lie_outside_of_the_folders_of_the_application() -> None:
    at_root = {name for name in list_files() if PurePosixPath(name).parent == PurePosixPath("app")}
    assert len(at_root) <= MAX_AT_ROOT, at_root
