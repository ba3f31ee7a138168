"""Creating, forking, removing and reading repositories on disk.

The directory of a repository is derived from the project id, never from a name, so renaming moves nothing and no name
can lead outside the root. It is prepared in a staging directory, synced and renamed, so an existing repository is
complete, also after a power cut.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.disk import durable
from app.git import durability
from app.git.errors import GitError
from app.git.objects import object_kind, peel_tag
from app.git.text import strip_control
from app.points import Point, reach

Ref = tuple[str, str, str]  # name, object, commit

STORAGE_ERRORS = (pygit2.GitError, KeyError, ValueError, OSError)  # raised when reading a damaged repository
MAX_ALIAS_DEPTH = 3  # length of a chain of aliases; git follows one step more, which HEAD may take
CAUSE = "polyforge-cause"  # file in the repository with the id of the event that it was created for


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
    """Create a bare repository, with one commit if there is a README. Idempotent for the same cause."""
    with staging_dir(root, project_id, cause=cause, head=head) as staging:
        if staging is not None and readme is not None:
            _commit_readme(pygit2.Repository(str(staging)), head, readme, author)
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
    """Create an independent copy of a repository. Idempotent for the same cause.

    Packs and loose objects become hard links, which is safe because git never writes to them again. `progress` is told
    the percentage of bytes done.
    """
    source = repository_path(root, parent_id)
    with staging_dir(root, project_id, cause=cause, head=head) as staging:
        if staging is not None:
            shared = list_refs(source)  # read before linking, so that all objects these refs need exist by then
            _link_objects(source / "objects", staging / "objects", progress)
            _write_packed_refs(staging, [ref for ref in shared if not ref[0].startswith("refs/pull/")])
    return list_refs(repository_path(root, project_id))


@contextmanager
def staging_dir(root: Path, project_id: int, *, cause: uuid.UUID, head: str) -> Iterator[Path | None]:
    """Create an empty repository that is moved into place at the end of the block, or removed if the block fails.

    Yields the path of its staging directory, or None if the repository has been created for this cause already.
    """
    repo_path = repository_path(root, project_id)
    if _is_finished(repo_path, cause):
        durability.sync_place(repo_path)  # the attempt that has finished it may have been killed before
        yield None
        return
    with _StagingDir(repo_path, cause) as staging:
        _write_skeleton(staging, head)
        yield staging


def remove_repository(root: Path, project_id: int) -> None:
    """Remove a repository. It is renamed first, so that no reader sees it half removed. Idempotent."""
    repo_path = repository_path(root, project_id)
    with suppress(FileNotFoundError):
        repo_path.rename(_new_staging_dir(repo_path))
    _clear_staging_dirs(repo_path)


def list_refs(repo_path: Path) -> list[Ref]:
    """List every ref with its object and the commit it peels to; without a commit, the object is given twice."""
    return read_state(repo_path).refs


@dataclass(frozen=True)
class RepositoryState:
    """All refs as in `list_refs`, the target of each alias, and the branch of HEAD, which may not exist yet."""

    refs: list[Ref]
    aliases: dict[str, str]
    head: str

    def together(self, names: Set[str]) -> set[str]:
        """Return these refs, their targets if they are aliases, and all aliases of any of them: what moves together."""
        targets = {self._resolve(name) for name in names}
        return {*names, *targets, *(alias for alias in self.aliases if self._resolve(alias) in targets)}

    def _resolve(self, name: str) -> str:
        for _ in range(MAX_ALIAS_DEPTH):
            name = self.aliases.get(name, name)
        return name


def read_state(repo_path: Path) -> RepositoryState:
    """Read all refs. A dangling alias is not listed as a ref until its branch exists again."""
    repository = pygit2.Repository(str(repo_path))
    refs, aliases = [], {}
    # Not by `lookup_reference`, which leaks the name of each ref (pygit2 1.21).
    for reference in repository.references.iterator():
        name = reference.name
        if reference.type == pygit2.enums.ReferenceType.SYMBOLIC:
            aliases[name] = str(reference.target)
        try:
            target = reference.resolve().target
        except (KeyError, pygit2.GitError):
            continue
        try:
            # By headers alone: a ref may point to a file of any size.
            peeled = str(peel_tag(repository, pygit2.Oid(hex=str(target))))
            commit = peeled if object_kind(repository, peeled) == pygit2.enums.ObjectType.COMMIT else str(target)
        except (pygit2.GitError, GitError, KeyError, ValueError):
            commit = str(target)
        refs.append((name, str(target), commit))
    default = str(repository.lookup_reference("HEAD").target).removeprefix("refs/heads/")
    return RepositoryState(sorted(refs), aliases, default)


class _StagingDir:
    """A temporary directory beside `repo_path`, renamed to it on success and removed on failure. It is locked (`flock`)
    for as long as the process lives that works in it.
    """

    def __init__(self, repo_path: Path, cause: uuid.UUID) -> None:
        self.repo_path = repo_path
        self.cause = cause
        self.staging_dir = _new_staging_dir(repo_path)

    def __enter__(self) -> Path:
        durable.make_folders(self.staging_dir.parent)
        self.staging_dir.mkdir(mode=durable.OWNER_ONLY)
        self._descriptor = os.open(self.staging_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self.staging_dir

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._finish(succeeded=kind is None)
        finally:
            os.close(self._descriptor)

    def _finish(self, *, succeeded: bool) -> None:
        try:
            if succeeded:
                self._put_in_place()
        finally:
            shutil.rmtree(self.staging_dir, ignore_errors=True)

    def _put_in_place(self) -> None:
        (self.staging_dir / CAUSE).write_text(str(self.cause))
        self._require_own()
        durability.sync_new(self.staging_dir)
        reach(Point.REPOSITORY_STAGED)
        try:
            os.rename(self.staging_dir, self.repo_path)
        except OSError:
            # A concurrent attempt has put the same repository there first.
            if not self.repo_path.exists():
                raise
        reach(Point.REPOSITORY_PLACED)
        durability.sync_place(self.repo_path)

    def _require_own(self) -> None:
        """Raise FileNotFoundError if the directory was removed, although there may be another one at its place: what
        was written before that is lost.
        """
        if not os.path.samestat(self.staging_dir.stat(), os.fstat(self._descriptor)):
            raise FileNotFoundError(self.staging_dir)


def _is_finished(repo_path: Path, cause: uuid.UUID) -> bool:
    """Return whether the repository has been created for this cause already; clear the way if it has not.

    After an older dump was restored, project ids are assigned a second time. A repository that exists under such an id
    belongs to a project that this database does not know. It is renamed: invisible to users, but not lost.
    """
    _clear_staging_dirs(repo_path)
    if not repo_path.exists():
        return False
    cause_file = repo_path / CAUSE
    if cause_file.exists() and cause_file.read_text() == str(cause):
        return True
    repo_path.rename(repo_path.with_name(f"{repo_path.name}-aside-{uuid.uuid4().hex}"))
    return False


def _new_staging_dir(repo_path: Path) -> Path:
    return repo_path.with_name(f".{repo_path.name}.{uuid.uuid4().hex}")


def _clear_staging_dirs(repo_path: Path) -> None:
    """Remove the staging directories that killed attempts have left behind.

    An attempt that is presumed dead but still runs fails when its directory is gone; its result is no longer needed.
    """
    for stale in repo_path.parent.glob(f".{repo_path.name}.*"):
        # Renamed first, so that an attempt that still runs cannot add files while the directory is being emptied.
        renamed = _new_staging_dir(repo_path)
        with suppress(FileNotFoundError):
            stale.rename(renamed)
            shutil.rmtree(renamed)


def sweep_staging_dirs(root: Path) -> None:
    """Remove the staging directories in which no process works any more.

    The next attempt to make a repository removes those of the earlier ones. But a worker that lost its lease may begin
    to work when all attempts are over, and die.
    """
    for folder in root.glob("*/.*.git.*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _write_skeleton(staging_dir: Path, head: str) -> None:
    """Write an empty bare repository (gitrepository-layout(5)).

    Not pygit2.init_repository: it keeps some kilobytes of memory for each repository that was ever made.
    """
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (staging_dir / folder).mkdir(parents=True)
    (staging_dir / "HEAD").write_text(f"ref: refs/heads/{head}\n")
    (staging_dir / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n")


def _commit_readme(repository: pygit2.Repository, head: str, readme: str, author: tuple[str, str]) -> None:
    blob = repository.create_blob(readme.encode())
    tree = repository.TreeBuilder()
    tree.insert("README.md", blob, pygit2.enums.FileMode.BLOB)
    name, email = author
    signature = pygit2.Signature(strip_control(name) or "Polyforge", strip_control(email) or "nobody@localhost")
    repository.create_commit(f"refs/heads/{head}", signature, signature, "Added the README", tree.write(), [])


def _link_objects(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    files = list(_list_objects(source))
    total, done = sum(size for _, size in files), 0
    for file, size in files:
        link = target / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, link)
        except FileExistsError:
            continue
        except FileNotFoundError:
            raise  # packed meanwhile into a file that was not listed: the caller has to retry the whole fork
        except OSError:
            shutil.copy2(file, link)
        done += size
        progress(done * 100 // max(total, 1))


def _list_objects(source: Path) -> Iterator[tuple[Path, int]]:
    """List the files to link, with their sizes in bytes."""
    for folder, folders, names in os.walk(source):
        # Quarantine directories of pushes that may yet be declined.
        folders[:] = [name for name in folders if not name.startswith("tmp_")]
        for name in names:
            # Skip files that git is still writing, and references to the object stores of other repositories.
            if not name.startswith("tmp_") and name not in ("alternates", "http-alternates"):
                file = Path(folder) / name
                yield file, file.stat().st_size


def _write_packed_refs(staging_dir: Path, shared: list[Ref]) -> None:
    lines = ["# pack-refs with: sorted\n", *(f"{target} {name}\n" for name, target, _ in shared)]
    (staging_dir / "packed-refs").write_text("".join(lines))
