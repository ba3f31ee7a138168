"""Refs: branches, tags and aliases made and moved, none of them behind anybody's back."""

import time
from contextlib import suppress
from pathlib import Path

import pygit2

from app.git import commits
from app.git.errors import AlreadyThere, BadName, GitFailed, LostRace, NoBranch
from app.git.objects import NOWHERE, VISIBLE, opened
from app.git.process import run
from app.git.store import ALIAS_DEPTH
from app.git.text import plain, shown

HEADS, TAGS, PULLS = VISIBLE
ALIASES_DEEP = 5  # as git follows them
PAUSES = [0.01 * n for n in range(1, 20)]  # seconds; two in all
PATIENT = {"core.filesRefLockTimeout": "2000"}  # milliseconds that another writer may hold the ref's lock


def branch(name: str) -> str:
    """The whole name of a branch; BadName if there can be none of this name."""
    return _named(HEADS, name)


def pull(number: int) -> str:
    """Where the target repository keeps the head of a pull-request. Source: pull-request contract 5.6."""
    return f"{PULLS}{int(number)}/head"


def visible(name: str) -> bool:
    """Whether users see this ref. Below `refs/pull/` and in the forge's own corners only the forge may write."""
    return name.startswith(VISIBLE)


def writable(name: str) -> bool:
    """Whether users may move this ref."""
    return name.startswith((HEADS, TAGS))


def meant(place: Path, ref: str) -> str:
    """The whole name of the ref that this one stands for, there or not: its own, unless it is an alias."""
    repository = opened(place)
    for _ in range(ALIASES_DEEP):
        try:
            found = repository.lookup_reference(ref)
        except (KeyError, ValueError):
            break
        if found.type != pygit2.enums.ReferenceType.SYMBOLIC:
            break
        ref = str(found.target)
    return ref


def target(place: Path, ref: str) -> str | None:
    """The object that a ref, given by its whole name, leads to, through aliases; None if there is no such ref."""
    repository = opened(place)
    with suppress(KeyError, ValueError):
        return str(repository.lookup_reference(ref).resolve().target)
    return None


def branch_head(place: Path, name: str) -> str:
    """The newest commit of a branch; NoBranch."""
    with suppress(BadName):
        if head := target(place, branch(name)):
            return head
    raise NoBranch(name)


def is_empty(place: Path) -> bool:
    """Whether there is no branch yet. Pull-requests' own refs do not make a repository full."""
    return not run(place, "for-each-ref", "--count=1", "--format=x", HEADS)


def move(place: Path, ref: str, new: str, expected: str | None) -> None:
    """Let a ref lead to `new`, if it still leads to `expected` (None: if there is no such ref).

    Git's own lock guards the comparison, so neither a push nor another process comes between. An alias is followed.
    Raises LostRace when the ref is somewhere else, BadName when another ref's name is in the way, and GitFailed.
    """
    line = f"update {ref}\0{new}\0{expected or NOWHERE}\0"
    _update(place, ref, line, expected)


def remove(place: Path, ref: str, expected: str) -> None:
    """Remove a ref if it still leads to `expected`; raises as `move` does."""
    _update(place, ref, f"delete {ref}\0{expected}\0", expected)


def _update(place: Path, ref: str, line: str, expected: str | None) -> None:
    if not pygit2.reference_is_valid_name(ref):
        raise BadName(ref)
    try:
        run(place, "update-ref", "--stdin", "-z", stdin=line.encode(), config=PATIENT)
    except GitFailed as failure:
        if target(place, ref) != expected:
            raise LostRace(ref) from None
        if "cannot create" in failure.subject or "exists; cannot" in failure.subject:
            raise BadName(ref) from None
        raise


def create_branch(place: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """A new branch at a branch or at a commit that can be seen; where it leads.

    With neither source it starts from `master`, or else from HEAD's branch. Raises NoBranch or NoCommit for the source,
    AlreadyThere, BadName. Source: project contract 7.12.
    """
    start = start_of(place, name, from_branch=from_branch, from_commit=from_commit)
    try:
        move(place, branch(name), start, None)
    except LostRace:
        raise AlreadyThere(name) from None
    return start


def start_of(place: Path, name: str, *, from_branch: str | None = None, from_commit: str | None = None) -> str:
    """Where `create_branch` would let the branch lead; raises as that does."""
    whole = _new_name(HEADS, name)
    if from_commit is not None:
        start = commits.resolve(place, from_commit)
    elif from_branch is not None:
        start = branch_head(place, from_branch)
    else:
        start = target(place, HEADS + "master") or _head(place)
    if _taken(place, whole):
        raise AlreadyThere(name)
    return start


def _head(place: Path) -> str:
    try:
        return str(opened(place).head.target)
    except pygit2.GitError:
        raise NoBranch("master") from None


def create_tag(
    place: Path, name: str, spelling: str, *, tagger: tuple[str, str], at: int, message: str = "", force: bool = False
) -> bool:
    """An annotated tag on a commit; False if the name is taken, unless `force` puts this one in its place.

    The tagger is a name and an e-mail address, `at` seconds since 1970. Raises NoCommit, BadName, and LostRace when
    somebody else replaces the tag at the same time. Source: project contract 12.2.
    """
    whole = _new_name(TAGS, name)
    commit = commits.resolve(place, spelling)
    old = target(place, whole)
    if old and not force:
        return False
    who = f"{plain(tagger[0]) or 'nobody'} <{plain(tagger[1]) or 'nobody@localhost'}>"
    text = message.replace("\0", "").strip("\n")
    body = f"object {commit}\ntype commit\ntag {name}\ntagger {who} {int(at)} +0000\n\n{text}{chr(10) if text else ''}"
    tag = opened(place).write(pygit2.enums.ObjectType.TAG, body.encode("utf-8", "replace"))
    try:
        move(place, whole, str(tag), old)
    except LostRace:
        if old is None:
            return False
        raise
    return True


def set_head(place: Path, name: str) -> None:
    """Make a branch the default one; NoBranch, and LostRace when others do so all the time.

    Source: project contract 12.3.
    """
    branch_head(place, name)
    for pause in PAUSES:
        try:
            opened(place).set_head(branch(name))
        except pygit2.GitError:  # another writer holds HEAD's lock
            time.sleep(pause)
        else:
            return
    raise LostRace("HEAD")


def aliases(place: Path) -> dict[str, str]:
    """Symbolic refs by whole name, and what they stand for, there or not. Source: project contract 12.4."""
    repository = opened(place)
    found = {}
    for name in repository.raw_listall_references():
        if name.startswith(HEADS.encode()):
            reference = repository.lookup_reference(name.decode("utf-8", "surrogateescape"))
            if reference.type == pygit2.enums.ReferenceType.SYMBOLIC:
                found[shown(name)] = str(reference.target)
    return found


def create_alias(place: Path, name: str, existing: str) -> None:
    """Let the branch name `name` stand for the branch `existing`; NoBranch, AlreadyThere, BadName.

    BadName also where it would take more steps from an alias to its branch than git follows.
    Source: project contract 12.5.
    """
    branch_head(place, existing)
    if _steps({**aliases(place), _new_name(HEADS, name): branch(existing)}) > ALIAS_DEPTH:
        raise BadName(name)
    try:
        opened(place).create_reference_symbolic(_new_name(HEADS, name), branch(existing), False)
    except pygit2.AlreadyExistsError:
        raise AlreadyThere(name) from None
    except (pygit2.GitError, OSError):
        raise BadName(name) from None


def drop_alias(place: Path, one: str, other: str) -> bool:
    """Remove the alias that one of these is for the other, whichever way round; False if neither is.

    Where HEAD was the alias, it becomes the branch that was meant. NoBranch if `other`, where Pagure looks for the
    alias, does not exist at all. Source: project contract 12.6.
    """
    alias = alias_between(place, one, other)
    if alias is None:
        return False
    repository = opened(place)
    if repository.lookup_reference("HEAD").target == alias:
        repository.set_head(HEADS + (one if alias == HEADS + other else other))
    with suppress(KeyError):
        repository.lookup_reference(alias).delete()
    return True


def alias_between(place: Path, one: str, other: str) -> str | None:
    """The whole name of the alias that `drop_alias` would remove; raises as that does."""
    known = aliases(place)
    for alias, meant in ((other, one), (one, other)):
        if known.get(HEADS + alias) == HEADS + meant:
            return HEADS + alias
    if not _taken(place, HEADS + other):
        raise NoBranch(other)
    return None


def _steps(links: dict[str, str]) -> int:
    """How many aliases it takes at most until a branch is reached."""
    longest = 0
    for name in links:
        steps = 0
        while name in links and steps <= ALIAS_DEPTH:
            name, steps = links[name], steps + 1
        longest = max(longest, steps)
    return longest


def _taken(place: Path, ref: str) -> bool:
    """Whether there is such a ref, be it an alias that leads nowhere."""
    try:
        opened(place).lookup_reference(ref)
    except (KeyError, ValueError):
        return False
    return True


def _named(prefix: str, name: str) -> str:
    with suppress(UnicodeEncodeError):
        name.encode()
        if "\0" not in name and pygit2.reference_is_valid_name(prefix + name):
            return prefix + name
    raise BadName(name)


def _new_name(prefix: str, name: str) -> str:
    """A name that is to be given: none that programs would take for an option or for HEAD, though git lives with it."""
    if name.startswith("-") or name == "HEAD":
        raise BadName(name)
    return _named(prefix, name)
