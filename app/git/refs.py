"""Refs: finding, creating, moving and deleting branches, tags and aliases, safely beside concurrent writers."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pygit2

from app.git import commits
from app.git.errors import AlreadyExists, BadName, GitFailed, NameClash, NoBranch, RefMoved
from app.git.limits import Work
from app.git.locks import ref_lock
from app.git.objects import NOWHERE, is_full_id, open_repository
from app.git.process import run
from app.git.store import MAX_ALIAS_DEPTH
from app.git.text import decode, strip_control

HEADS, TAGS, PULLS = "refs/heads/", "refs/tags/", "refs/pull/"
MAX_SYMREF_DEPTH = 5  # the limit of git
LOCK_PAUSES = [0.01 * n for n in range(1, 20)]  # seconds between attempts to lock HEAD; two seconds in total
LOCK_CONFIG = {"core.filesRefLockTimeout": "2000"}  # milliseconds to wait for a ref that another writer has locked


def is_mistakable(ref: str) -> bool:
    """Whether a branch or a tag of this full name can be taken for something else: an object id, HEAD, an option of a
    program, or the full name of another ref. Such refs may exist, and be moved and deleted, but not created.
    """
    name = ref.split("/", 2)[-1]
    return is_full_id(name) or name.rpartition("/")[2] == "HEAD" or name.startswith(("-", "refs/"))


def branch_ref(name: str) -> str:
    """Return the full ref name of a branch. Raises BadName if git does not accept the name."""
    return _full_name(HEADS, name)


def pull_ref(number: int) -> str:
    """Return the ref of the target repository for the head of a pull-request. Source: pull-request contract 5.6."""
    return f"{PULLS}{int(number)}/head"


def resolve_alias(repo_path: Path, ref: str) -> str:
    """Return the full name of the ref that an alias stands for, existing or not; any other ref is returned as it is."""
    repository = open_repository(repo_path)
    for _ in range(MAX_SYMREF_DEPTH):
        try:
            reference = repository.lookup_reference(ref)
        except (KeyError, ValueError):
            break
        if reference.type != pygit2.enums.ReferenceType.SYMBOLIC:
            break
        ref = str(reference.target)
    return ref


def find_target(repo_path: Path, ref: str) -> str | None:
    """Return the object that a ref points to, through aliases; None if the ref does not exist. Takes a full name."""
    repository = open_repository(repo_path)
    with suppress(KeyError, ValueError):
        return str(repository.lookup_reference(ref).resolve().target)
    return None


def find_branch_head(repo_path: Path, name: str) -> str:
    """Return the head commit of a branch. Raises NoBranch."""
    with suppress(BadName):
        if head := find_target(repo_path, branch_ref(name)):
            return head
    raise NoBranch(name)


def is_empty(repo_path: Path) -> bool:
    """Return whether the repository has no branch. The refs of pull-requests do not count."""
    return not run(repo_path, "for-each-ref", "--count=1", "--format=x", HEADS)


def move(repo_path: Path, ref: str, new: str, expected: str | None) -> None:
    """Point a ref at `new` if it still points at `expected` (None: if it does not exist). Aliases are followed.

    Git compares and moves under its own lock, so no push or other process can come in between. Raises RefMoved when the
    ref points elsewhere, BadName or NameClash when the name of another ref is in the way, and GitFailed.
    """
    line = f"update {ref}\0{new}\0{expected or NOWHERE}\0"
    _update(repo_path, ref, line, expected)


def remove(repo_path: Path, ref: str, expected: str) -> None:
    """Delete a ref if it still points at `expected`. Raises the same errors as `move`."""
    _update(repo_path, ref, f"delete {ref}\0{expected}\0", expected)


def _update(repo_path: Path, ref: str, line: str, expected: str | None) -> None:
    if not pygit2.reference_is_valid_name(ref):
        raise BadName(ref)
    try:
        with ref_lock(repo_path, resolve_alias(repo_path, ref)):
            run(repo_path, "update-ref", "--stdin", "-z", work=Work.CHANGE, stdin=line.encode(), config=LOCK_CONFIG)
    except GitFailed as failure:
        if find_target(repo_path, ref) != expected:
            raise RefMoved(ref) from None
        if "cannot create" in failure.subject or "exists; cannot" in failure.subject:
            raise _find_clash(repo_path, ref) from None
        raise


def _find_clash(repo_path: Path, ref: str) -> BadName:
    """Find the ref that does not let this one exist, because one of them would be a folder of the other."""
    prefix = HEADS if ref.startswith(HEADS) else TAGS
    name = ref.removeprefix(prefix)
    parents = [name[:end] for end, letter in enumerate(name) if letter == "/"]
    others = [parent for parent in parents if _exists(repo_path, prefix + parent)]
    below = run(repo_path, "for-each-ref", "--count=1", "--format=%(refname)", f"{ref}/").strip()
    others += [decode(below).removeprefix(prefix)] if below else []
    return NameClash(name, others[0]) if others else BadName(name)


def create_branch(repo_path: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """Create a branch from another branch or from a visible commit; return its head.

    Without either it starts from `master`, or else from the branch of HEAD. Raises NoBranch or NoCommit for the source,
    AlreadyExists, BadName. Source: project contract 7.12.
    """
    start = find_start(repo_path, name, from_branch=from_branch, from_commit=from_commit)
    try:
        move(repo_path, branch_ref(name), start, None)
    except RefMoved:
        raise AlreadyExists(name) from None
    return start


def find_start(repo_path: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """Find the commit that `create_branch` would start from. Raises the same errors."""
    ref = _validate_new_name(HEADS, name)
    if from_commit is not None:
        start = commits.resolve(repo_path, from_commit)
    elif from_branch is not None:
        start = find_branch_head(repo_path, from_branch)
    else:
        start = find_target(repo_path, HEADS + "master") or _find_head(repo_path)
    if _exists(repo_path, ref):
        raise AlreadyExists(name)
    return start


def _find_head(repo_path: Path) -> str:
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
    """Create an annotated tag on a commit; `force` replaces an existing one. Return False if the name is taken.

    The tagger is a name and an e-mail address, `at` is in seconds since 1970. Raises NoCommit, BadName, and RefMoved
    when the tag is replaced concurrently. Source: project contract 12.2.
    """
    ref = _validate_new_name(TAGS, name)
    commit = commits.resolve(repo_path, spelling)
    old = find_target(repo_path, ref)
    if old and not force:
        return False
    signature = f"{strip_control(tagger[0]) or 'nobody'} <{strip_control(tagger[1]) or 'nobody@localhost'}>"
    text = message.replace("\0", "").strip("\n")
    head = f"object {commit}\ntype commit\ntag {name}\ntagger {signature} {int(at)} +0000\n\n"
    body = f"{head}{text}{chr(10) if text else ''}"
    tag = open_repository(repo_path).write(pygit2.enums.ObjectType.TAG, body.encode("utf-8", "replace"))
    try:
        move(repo_path, ref, str(tag), old)
    except RefMoved:
        if old is None:
            return False
        raise
    return True


def set_head(repo_path: Path, name: str) -> None:
    """Make a branch the default branch. Raises NoBranch, and RefMoved when other writers keep HEAD locked.

    Source: project contract 12.3.
    """
    find_branch_head(repo_path, name)
    for pause in LOCK_PAUSES:
        try:
            with ref_lock(repo_path):
                open_repository(repo_path).set_head(branch_ref(name))
        except pygit2.GitError:  # another writer has locked HEAD
            time.sleep(pause)
        else:
            return
    raise RefMoved("HEAD")


def adopt_head(repo_path: Path, created: Sequence[str]) -> None:
    """Make the first of these new branches, given by full names, the default branch if there is none."""
    branches = [ref for ref in created if ref.startswith(HEADS)]
    if branches and find_target(repo_path, "HEAD") is None:
        set_head(repo_path, branches[0].removeprefix(HEADS))


def list_aliases(repo_path: Path) -> dict[str, str]:
    """List symbolic refs by full name with their targets, existing or not. Source: project contract 12.4."""
    repository = open_repository(repo_path)
    aliases = {}
    # Not by `lookup_reference`, which leaks the name of each ref (pygit2 1.21).
    for reference in repository.references.iterator():
        if reference.raw_name.startswith(HEADS.encode()) and reference.type == pygit2.enums.ReferenceType.SYMBOLIC:
            aliases[decode(reference.raw_name)] = str(reference.target)
    return aliases


def create_alias(repo_path: Path, name: str, existing: str) -> None:
    """Make `name` an alias of the branch `existing`. Raises NoBranch, AlreadyExists, BadName.

    BadName is raised also if a chain of aliases became longer than MAX_ALIAS_DEPTH.
    Source: project contract 12.5.
    """
    find_branch_head(repo_path, existing)
    alias, target = _validate_new_name(HEADS, name), branch_ref(existing)
    if _measure_longest_chain({**list_aliases(repo_path), alias: target}) > MAX_ALIAS_DEPTH:
        raise BadName(name)
    try:
        with ref_lock(repo_path, alias):
            open_repository(repo_path).create_reference_symbolic(alias, target, False)
    except pygit2.AlreadyExistsError:
        raise AlreadyExists(name) from None
    except (pygit2.GitError, OSError):
        raise _find_clash(repo_path, alias) from None


def delete_alias(repo_path: Path, one: str, other: str) -> bool:
    """Delete the alias between two names, in whichever direction it points; return False if there is none.

    If HEAD is the alias, it is set to the branch behind it. Raises NoBranch if `other`, where Pagure looks for the
    alias, does not exist at all. Source: project contract 12.6.
    """
    alias = find_alias(repo_path, one, other)
    if alias is None:
        return False
    repository = open_repository(repo_path)
    with ref_lock(repo_path, alias):
        if repository.lookup_reference("HEAD").target == alias:
            repository.set_head(HEADS + (one if alias == HEADS + other else other))
        with suppress(KeyError):
            repository.lookup_reference(alias).delete()
    return True


def find_alias(repo_path: Path, one: str, other: str) -> str | None:
    """Return the full name of the alias that `delete_alias` would delete. Raises the same errors."""
    aliases = list_aliases(repo_path)
    for alias, branch in ((other, one), (one, other)):
        if aliases.get(HEADS + alias) == HEADS + branch:
            return HEADS + alias
    if not _exists(repo_path, HEADS + other):
        raise NoBranch(other)
    return None


def _measure_longest_chain(links: dict[str, str]) -> int:
    """Return the largest number of aliases on the way from an alias to its branch."""
    longest = 0
    for name in links:
        steps = 0
        while name in links and steps <= MAX_ALIAS_DEPTH:
            name, steps = links[name], steps + 1
        longest = max(longest, steps)
    return longest


def _exists(repo_path: Path, ref: str) -> bool:
    """Return whether the ref exists, dangling aliases included."""
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
    """Return the full name of a new ref. Raises BadName also for names that are mistakable."""
    ref = _full_name(prefix, name)
    if is_mistakable(ref):
        raise BadName(name)
    return ref
