"""Repositories on disk: made, forked and found. Plain synchronous functions over a path; no database.

A repository's directory comes from its project's id, never from a name, so renaming moves nothing and no name
can lead outside. It is made beside its place and moved there whole, so a directory in place is complete.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git.text import strip_control

Ref = tuple[str, str, str]  # name, object, commit

OWNER_ONLY = 0o700
STORAGE_ERRORS = (pygit2.GitError, KeyError, ValueError, OSError)  # what reading a damaged repository ends in
MAX_ALIAS_DEPTH = 3  # aliases of aliases: git follows one step more, which HEAD may take
CAUSE = "polyforge-cause"  # a file in the repository that names the event it was made for


def repository_path(root: Path, project_id: int) -> Path:
    return root / f"{project_id % 256:02x}" / f"{project_id}.git"


def create_repository(
    root: Path,
    project_id: int,
    *,
    cause: uuid.UUID,
    head: str,
    readme: str | None = None,
    author: tuple[str, str] = ("", ""),
) -> list[Ref]:
    """A bare repository, with one commit when there is a README. Doing it again for this cause finds it done."""
    with staging_dir(root, project_id, cause=cause, head=head) as made:
        if made is not None and readme is not None:
            _commit_readme(pygit2.Repository(str(made)), head, readme, author)
    return list_refs(repository_path(root, project_id))


def fork_repository(
    root: Path,
    parent_id: int,
    project_id: int,
    *,
    cause: uuid.UUID,
    head: str,
    progress: Callable[[int], None] = lambda percent: None,
) -> list[Ref]:
    """An independent copy: packs and loose objects are hard links, which nothing ever writes to again. `progress` hears
    how much is done, in percent of the bytes.
    """
    source = repository_path(root, parent_id)
    with staging_dir(root, project_id, cause=cause, head=head) as made:
        if made is not None:
            shared = list_refs(source)  # before the objects: what these refs need is then there to be linked
            _link_objects(source / "objects", made / "objects", progress)
            _write_packed_refs(made, [ref for ref in shared if not ref[0].startswith("refs/pull/")])
    return list_refs(repository_path(root, project_id))


@contextmanager
def staging_dir(root: Path, project_id: int, *, cause: uuid.UUID, head: str) -> Iterator[Path | None]:
    """An empty repository beside its place, moved there when the block is left and removed when that fails; None if
    there is one for this cause already.
    """
    repo_path = repository_path(root, project_id)
    if _is_finished(repo_path, cause):
        yield None
        return
    with _StagingDir(repo_path, cause) as made:
        pygit2.init_repository(str(made), bare=True, initial_head=f"refs/heads/{head}")
        _trim(made)
        yield made


def remove_repository(root: Path, project_id: int) -> None:
    """Out of its place first, so that nobody finds half of it. Doing it again finds it done."""
    repo_path = repository_path(root, project_id)
    with suppress(FileNotFoundError):
        repo_path.rename(_new_staging_dir(repo_path))
    _clear_staging_dirs(repo_path)


def remove_stale_files(repo_path: Path, age: float) -> None:
    """Remove what fetches have left half done that began so many seconds ago: git that is ended leaves it behind."""
    for left in (repo_path / "objects" / "pack").glob("tmp_*"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - age:
                left.unlink()


def list_refs(repo_path: Path) -> list[Ref]:
    """Every ref with its object and the commit it peels to; refs to no commit are shown as their object."""
    return read_state(repo_path).refs


@dataclass(frozen=True)
class RepositoryState:
    """Where everything leads: the refs as `refs` tells them, what each alias stands for, and the branch that HEAD
    names, there or not yet.
    """

    refs: list[Ref]
    aliases: dict[str, str]
    head: str

    def together(self, names: Set[str]) -> set[str]:
        """These refs, those they are aliases of, and all aliases of any of these: whatever moves with them."""
        ends = {self._end(name) for name in names}
        return {*names, *ends, *(alias for alias in self.aliases if self._end(alias) in ends)}

    def _end(self, name: str) -> str:
        for _ in range(MAX_ALIAS_DEPTH):
            name = self.aliases.get(name, name)
        return name


def read_state(repo_path: Path) -> RepositoryState:
    """All refs at once. An alias whose branch is gone leads nowhere, so it is no ref until the branch is back."""
    repository = pygit2.Repository(str(repo_path))
    found, aliases = [], {}
    for name in repository.references:
        reference = repository.references[name]
        if reference.type == pygit2.enums.ReferenceType.SYMBOLIC:
            aliases[name] = str(reference.target)
        try:
            target = reference.resolve().target
        except (KeyError, pygit2.GitError):
            continue
        try:
            commit = str(repository[target].peel(pygit2.Commit).id)
        except (pygit2.GitError, KeyError, ValueError):
            commit = str(target)
        found.append((name, str(target), commit))
    default = str(repository.lookup_reference("HEAD").target).removeprefix("refs/heads/")
    return RepositoryState(sorted(found), aliases, default)


class _StagingDir:
    """A temporary directory beside `place` that becomes it in one rename, or vanishes."""

    def __init__(self, repo_path: Path, cause: uuid.UUID) -> None:
        self.repo_path = repo_path
        self.cause = cause
        self.staging_dir = _new_staging_dir(repo_path)

    def __enter__(self) -> Path:
        self.staging_dir.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        self.staging_dir.mkdir(mode=OWNER_ONLY)
        return self.staging_dir

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            (self.staging_dir / CAUSE).write_text(str(self.cause))
            try:
                os.rename(self.staging_dir, self.repo_path)
            except OSError:
                # Somebody else has put the same repository there first.
                if not self.repo_path.exists():
                    raise
        shutil.rmtree(self.staging_dir, ignore_errors=True)


def _is_finished(repo_path: Path, cause: uuid.UUID) -> bool:
    """Whether the repository was made for this cause already; what is left of other attempts is out of the way.

    After an older dump was restored, project ids are handed out a second time. What lies in such a place belongs to a
    project that this database knows nothing of: it is put aside, for nobody to see and for nobody to lose.
    """
    _clear_staging_dirs(repo_path)
    if not repo_path.exists():
        return False
    mark = repo_path / CAUSE
    if mark.exists() and mark.read_text() == str(cause):
        return True
    repo_path.rename(repo_path.with_name(f"{repo_path.name}-aside-{uuid.uuid4().hex}"))
    return False


def _new_staging_dir(repo_path: Path) -> Path:
    return repo_path.with_name(f".{repo_path.name}.{uuid.uuid4().hex}")


def _clear_staging_dirs(repo_path: Path) -> None:
    """Remove what killed attempts have left beside the place.

    An attempt that is thought dead and is not fails when its bench is gone, and its answer is not wanted any more.
    """
    for left in repo_path.parent.glob(f".{repo_path.name}.*"):
        # Renamed first: whoever still works in it can put nothing more there while it is being emptied.
        leaving = _new_staging_dir(repo_path)
        with suppress(FileNotFoundError):
            left.rename(leaving)
            shutil.rmtree(leaving)


def _trim(staging_dir: Path) -> None:
    """Sample hooks and the like are dead weight in every repository."""
    for part in ("hooks", "info", "description"):
        target = staging_dir / part
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)


def _commit_readme(repository: pygit2.Repository, head: str, readme: str, author: tuple[str, str]) -> None:
    blob = repository.create_blob(readme.encode())
    tree = repository.TreeBuilder()
    tree.insert("README.md", blob, pygit2.enums.FileMode.BLOB)
    name, email = author
    signature = pygit2.Signature(strip_control(name) or "Polyforge", strip_control(email) or "nobody@localhost")
    repository.create_commit(f"refs/heads/{head}", signature, signature, "Added the README", tree.write(), [])


def _link_objects(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    files = list(_list_objects(source))
    whole, done = sum(size for _, size in files), 0
    for file, size in files:
        here = target / file.relative_to(source)
        here.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, here)
        except FileExistsError:
            continue
        except FileNotFoundError:
            raise  # packed into another file meanwhile, which was not there to be listed: all of it again
        except OSError:
            shutil.copy2(file, here)
        done += size
        progress(done * 100 // max(whole, 1))


def _list_objects(source: Path) -> Iterator[tuple[Path, int]]:
    """The files to be shared, and their sizes in bytes."""
    for folder, folders, names in os.walk(source):
        # What another push is about to bring may never come to be.
        folders[:] = [name for name in folders if not name.startswith("tmp_")]
        for name in names:
            # Files that git is still writing, and lists of other stores, are not for sharing.
            if not name.startswith("tmp_") and name not in ("alternates", "http-alternates"):
                file = Path(folder) / name
                yield file, file.stat().st_size


def _write_packed_refs(staging_dir: Path, shared: list[Ref]) -> None:
    lines = ["# pack-refs with: sorted\n", *(f"{target} {name}\n" for name, target, _ in shared)]
    (staging_dir / "packed-refs").write_text("".join(lines))
