"""Where a pull-request's commits are, and bringing them into the target repository."""

from contextlib import suppress
from pathlib import Path

from app.git import refs
from app.git.errors import EmptyRepository, NoBranch, NoRepository, RefMoved
from app.git.objects import open_repository
from app.git.process import Progress, run

FETCH_TIMEOUT = 600.0
# The other end of a fetch on the same disk. Only this one call may use the protocol, and the other end has
# another owner where a forge's files were restored by somebody else.
LOCAL = {"protocol.file.allow": "always"}
OTHER_END = "git -c 'safe.directory=*' -c transfer.hideRefs=refs/internal upload-pack"


def find_source_head(repo_path: Path, number: int, source: Path | None, branch: str) -> str:
    """The newest commit of a pull-request: its branch's, or what the target keeps when branch or source are gone.

    Raises NoBranch when that is not there either. Source: pull-request contract 5.1.
    """
    with suppress(NoBranch, NoRepository):
        if source is not None:
            return refs.find_branch_head(source, branch)
    if kept := refs.find_target(repo_path, refs.pull_ref(number)):
        return kept
    raise NoBranch(branch)


def existing_head(source: Path, branch: str) -> str:
    """The head of a branch that has to be there; EmptyRepository or NoBranch. Source: pull-request contract 4.1."""
    try:
        return refs.find_branch_head(source, branch)
    except NoBranch:
        if refs.is_empty(source):
            raise EmptyRepository(branch) from None
        raise


def copy_source_head(repo_path: Path, number: int, source: Path, branch: str, progress: Progress | None = None) -> str:
    """Bring the source's branch and all it needs into the target, as `refs/pull/<number>/head`; where that leads now.

    The objects are copied, so the target stays whole when the source goes. Doing it again does no harm. `progress`
    hears how far the copying is. Raises NoBranch and NoRepository. Source: pull-request contract 5.6.
    """
    while True:
        # Read before the source's head: who has brought a newer one meanwhile is not set back.
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
    """Copy the objects of a branch of another repository on this disk, and no ref; the commit that it leads to.

    Raises NoBranch, and LostRace if the branch is rewritten meanwhile.
    """
    head = refs.find_branch_head(source, branch)
    voice = "--progress" if progress else "--quiet"
    arguments = [voice, "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"]
    wanted = refs.branch_ref(branch)
    run(
        repo_path,
        *("fetch", *arguments, f"--upload-pack={OTHER_END}", "--end-of-options", str(source.absolute()), wanted),
        config=LOCAL, deadline=FETCH_TIMEOUT, progress=progress,
    )  # fmt: skip
    if head not in open_repository(repo_path):
        raise RefMoved(wanted)
    return head
