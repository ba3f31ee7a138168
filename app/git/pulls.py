"""Finding the head of a pull-request and copying its commits into the target repository."""

from contextlib import suppress
from pathlib import Path

from app.git import refs
from app.git.errors import NoBranch, NoRepository, RefMoved
from app.git.limits import Work
from app.git.objects import open_repository
from app.git.process import Progress, run

# For fetches from another repository on the same disk, the only ones that may use the file protocol. The source may
# belong to another user if the files of the forge were restored from a backup.
LOCAL_CONFIG = {"protocol.file.allow": "always"}
UPLOAD_PACK = "git -c 'safe.directory=*' -c transfer.hideRefs=refs/internal upload-pack"


def find_source_head(repo_path: Path, number: int, source: Path | None, branch: str) -> str:
    """Find the head of a pull-request: that of its branch, or the copy in the target if branch or source are gone.

    Raises NoBranch if there is no copy either. Source: pull-request contract 5.1.
    """
    with suppress(NoBranch, NoRepository):
        if source is not None:
            return refs.find_branch_head(source, branch)
    if head := refs.find_target(repo_path, refs.pull_ref(number)):
        return head
    raise NoBranch(branch)


def copy_source_head(repo_path: Path, number: int, source: Path, branch: str, progress: Progress | None = None) -> str:
    """Copy the source branch and its objects into the target as `refs/pull/<number>/head`; return the head.

    The target needs nothing of the source afterwards, which may be deleted. Idempotent. `progress` is told how far the
    copying is. Raises NoBranch and NoRepository. Source: pull-request contract 5.6.
    """
    while True:
        # Read before the head of the source, so that a newer head copied concurrently is not overwritten.
        old = refs.find_target(repo_path, refs.pull_ref(number))
        head = (
            refs.find_branch_head(source, branch)
            if repo_path == source
            else fetch_branch(repo_path, source, branch, progress)
        )
        if head == old:
            return head
        with suppress(RefMoved):
            refs.move(repo_path, refs.pull_ref(number), head, old)
            return head


def fetch_branch(repo_path: Path, source: Path, branch: str, progress: Progress | None = None) -> str:
    """Copy the objects of a branch of another repository on this disk, but no ref; return the head of the branch.

    Raises NoBranch, and RefMoved if the branch is rewritten meanwhile.
    """
    head = refs.find_branch_head(source, branch)
    verbosity = "--progress" if progress else "--quiet"
    options = [verbosity, "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"]
    ref = refs.branch_ref(branch)
    run(
        repo_path,
        *("fetch", *options, f"--upload-pack={UPLOAD_PACK}", "--end-of-options", str(source.absolute()), ref),
        work=Work.CHANGE, config=LOCAL_CONFIG, progress=progress,
    )  # fmt: skip
    if head not in open_repository(repo_path):
        raise RefMoved(ref)
    return head
