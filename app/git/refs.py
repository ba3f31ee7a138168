"""Refs: branches, tags and aliases made and moved, none of them behind anybody's back."""

import time
from contextlib import suppress
from pathlib import Path

import pygit2

from app.git import commits
from app.git.errors import AlreadyExists, BadName, GitFailed, NoBranch, RefMoved
from app.git.objects import NOWHERE, VISIBLE, open_repository
from app.git.process import run
from app.git.store import MAX_ALIAS_DEPTH
from app.git.text import decode, strip_control

HEADS, TAGS, PULLS = VISIBLE
MAX_SYMREF_DEPTH = 5  # as git follows them
PAUSES = [0.01 * n for n in range(1, 20)]  # seconds; two in all
PATIENT = {"core.filesRefLockTimeout": "2000"}  # milliseconds that another writer may hold the ref's lock


def branch_ref(name: str) -> str:
    """The whole name of a branch; BadName if there can be none of this name."""
    return _full_name(HEADS, name)


def pull_ref(number: int) -> str:
    """Where the target repository keeps the head of a pull-request. Source: pull-request contract 5.6."""
    return f"{PULLS}{int(number)}/head"


def visible(name: str) -> bool:
    """Whether users see this ref. Below `refs/pull/` and in the forge's own corners only the forge may write."""
    return name.startswith(VISIBLE)


def writable(name: str) -> bool:
    """Whether users may move this ref."""
    return name.startswith((HEADS, TAGS))


def resolve_alias(repo_path: Path, ref: str) -> str:
    """The whole name of the ref that this one stands for, there or not: its own, unless it is an alias."""
    repository = open_repository(repo_path)
    for _ in range(MAX_SYMREF_DEPTH):
        try:
            found = repository.lookup_reference(ref)
        except (KeyError, ValueError):
            break
        if found.type != pygit2.enums.ReferenceType.SYMBOLIC:
            break
        ref = str(found.target)
    return ref


def find_target(repo_path: Path, ref: str) -> str | None:
    """The object that a ref, given by its whole name, leads to, through aliases; None if there is no such ref."""
    repository = open_repository(repo_path)
    with suppress(KeyError, ValueError):
        return str(repository.lookup_reference(ref).resolve().target)
    return None


def find_branch_head(repo_path: Path, name: str) -> str:
    """The newest commit of a branch; NoBranch."""
    with suppress(BadName):
        if head := find_target(repo_path, branch_ref(name)):
            return head
    raise NoBranch(name)


def is_empty(repo_path: Path) -> bool:
    """Whether there is no branch yet. Pull-requests' own refs do not make a repository full."""
    return not run(repo_path, "for-each-ref", "--count=1", "--format=x", HEADS)


def move(repo_path: Path, ref: str, new: str, expected: str | None) -> None:
    """Let a ref lead to `new`, if it still leads to `expected` (None: if there is no such ref).

    Git's own lock guards the comparison, so neither a push nor another process comes between. An alias is followed.
    Raises LostRace when the ref is somewhere else, BadName when another ref's name is in the way, and GitFailed.
    """
    line = f"update {ref}\0{new}\0{expected or NOWHERE}\0"
    _update(repo_path, ref, line, expected)


def remove(repo_path: Path, ref: str, expected: str) -> None:
    """Remove a ref if it still leads to `expected`; raises as `move` does."""
    _update(repo_path, ref, f"delete {ref}\0{expected}\0", expected)


def _update(repo_path: Path, ref: str, line: str, expected: str | None) -> None:
    if not pygit2.reference_is_valid_name(ref):
        raise BadName(ref)
    try:
        run(repo_path, "update-ref", "--stdin", "-z", stdin=line.encode(), config=PATIENT)
    except GitFailed as failure:
        if find_target(repo_path, ref) != expected:
            raise RefMoved(ref) from None
        if "cannot create" in failure.subject or "exists; cannot" in failure.subject:
            raise BadName(ref) from None
        raise


def create_branch(repo_path: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """A new branch at a branch or at a commit that can be seen; where it leads.

    With neither source it starts from `master`, or else from HEAD's branch. Raises NoBranch or NoCommit for the source,
    AlreadyThere, BadName. Source: project contract 7.12.
    """
    start = find_start(repo_path, name, from_branch=from_branch, from_commit=from_commit)
    try:
        move(repo_path, branch_ref(name), start, None)
    except RefMoved:
        raise AlreadyExists(name) from None
    return start


def find_start(repo_path: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """Where `create_branch` would let the branch lead; raises as that does."""
    whole = _validate_new_name(HEADS, name)
    if from_commit is not None:
        start = commits.resolve(repo_path, from_commit)
    elif from_branch is not None:
        start = find_branch_head(repo_path, from_branch)
    else:
        start = find_target(repo_path, HEADS + "master") or _head(repo_path)
    if _exists(repo_path, whole):
        raise AlreadyExists(name)
    return start


def _head(repo_path: Path) -> str:
    try:
        return str(open_repository(repo_path).head.target)
    except pygit2.GitError:
        raise NoBranch("master") from None


def create_tag(
    repo_path: Path,
    name: str,
    spelling: str,
    *,
    tagger: tuple[str, str],
    at: int,
    message: str = "",
    force: bool = False,
) -> bool:
    """An annotated tag on a commit; False if the name is taken, unless `force` puts this one in its place.

    The tagger is a name and an e-mail address, `at` seconds since 1970. Raises NoCommit, BadName, and LostRace when
    somebody else replaces the tag at the same time. Source: project contract 12.2.
    """
    whole = _validate_new_name(TAGS, name)
    commit = commits.resolve(repo_path, spelling)
    old = find_target(repo_path, whole)
    if old and not force:
        return False
    who = f"{strip_control(tagger[0]) or 'nobody'} <{strip_control(tagger[1]) or 'nobody@localhost'}>"
    text = message.replace("\0", "").strip("\n")
    body = f"object {commit}\ntype commit\ntag {name}\ntagger {who} {int(at)} +0000\n\n{text}{chr(10) if text else ''}"
    tag = open_repository(repo_path).write(pygit2.enums.ObjectType.TAG, body.encode("utf-8", "replace"))
    try:
        move(repo_path, whole, str(tag), old)
    except RefMoved:
        if old is None:
            return False
        raise
    return True


def set_head(repo_path: Path, name: str) -> None:
    """Make a branch the default one; NoBranch, and LostRace when others do so all the time.

    Source: project contract 12.3.
    """
    find_branch_head(repo_path, name)
    for pause in PAUSES:
        try:
            open_repository(repo_path).set_head(branch_ref(name))
        except pygit2.GitError:  # another writer holds HEAD's lock
            time.sleep(pause)
        else:
            return
    raise RefMoved("HEAD")


def list_aliases(repo_path: Path) -> dict[str, str]:
    """Symbolic refs by whole name, and what they stand for, there or not. Source: project contract 12.4."""
    repository = open_repository(repo_path)
    found = {}
    for name in repository.raw_listall_references():
        if name.startswith(HEADS.encode()):
            reference = repository.lookup_reference(name.decode("utf-8", "surrogateescape"))
            if reference.type == pygit2.enums.ReferenceType.SYMBOLIC:
                found[decode(name)] = str(reference.target)
    return found


def create_alias(repo_path: Path, name: str, existing: str) -> None:
    """Let the branch name `name` stand for the branch `existing`; NoBranch, AlreadyThere, BadName.

    BadName also where it would take more steps from an alias to its branch than git follows.
    Source: project contract 12.5.
    """
    find_branch_head(repo_path, existing)
    if (
        _follow_links({**list_aliases(repo_path), _validate_new_name(HEADS, name): branch_ref(existing)})
        > MAX_ALIAS_DEPTH
    ):
        raise BadName(name)
    try:
        open_repository(repo_path).create_reference_symbolic(
            _validate_new_name(HEADS, name), branch_ref(existing), False
        )
    except pygit2.AlreadyExistsError:
        raise AlreadyExists(name) from None
    except (pygit2.GitError, OSError):
        raise BadName(name) from None


def delete_alias(repo_path: Path, one: str, other: str) -> bool:
    """Remove the alias that one of these is for the other, whichever way round; False if neither is.

    Where HEAD was the alias, it becomes the branch that was meant. NoBranch if `other`, where Pagure looks for the
    alias, does not exist at all. Source: project contract 12.6.
    """
    alias = find_alias(repo_path, one, other)
    if alias is None:
        return False
    repository = open_repository(repo_path)
    if repository.lookup_reference("HEAD").target == alias:
        repository.set_head(HEADS + (one if alias == HEADS + other else other))
    with suppress(KeyError):
        repository.lookup_reference(alias).delete()
    return True


def find_alias(repo_path: Path, one: str, other: str) -> str | None:
    """The whole name of the alias that `drop_alias` would remove; raises as that does."""
    known = list_aliases(repo_path)
    for alias, meant in ((other, one), (one, other)):
        if known.get(HEADS + alias) == HEADS + meant:
            return HEADS + alias
    if not _exists(repo_path, HEADS + other):
        raise NoBranch(other)
    return None


def _follow_links(links: dict[str, str]) -> int:
    """How many aliases it takes at most until a branch is reached."""
    longest = 0
    for name in links:
        steps = 0
        while name in links and steps <= MAX_ALIAS_DEPTH:
            name, steps = links[name], steps + 1
        longest = max(longest, steps)
    return longest


def _exists(repo_path: Path, ref: str) -> bool:
    """Whether there is such a ref, be it an alias that leads nowhere."""
    try:
        open_repository(repo_path).lookup_reference(ref)
    except (KeyError, ValueError):
        return False
    return True


def _full_name(prefix: str, name: str) -> str:
    with suppress(UnicodeEncodeError):
        name.encode()
        if "\0" not in name and pygit2.reference_is_valid_name(prefix + name):
            return prefix + name
    raise BadName(name)


def _validate_new_name(prefix: str, name: str) -> str:
    """A name that is to be given: none that programs would take for an option or for HEAD, though git lives with it."""
    if name.startswith("-") or name == "HEAD":
        raise BadName(name)
    return _full_name(prefix, name)
