"""Pagure's sentences for failed tasks and for the comments that the forge generates."""

from collections.abc import Callable, Mapping
from typing import Any

from app.dialects.pagure.errors import describe_push_refusal
from app.git.errors import BadName, GitError, NameClash, NoBranch, NoCommit, RefMoved
from app.http.tasks import Ending
from app.http.wording import fill
from events.notes import NoteReason
from events.tasks import FailureReason

FAILURES: dict[FailureReason, str] = {
    FailureReason.BRANCH_MISSING: "Branch {branch} could not be found in the repo {project}",
    FailureReason.CANCELLED: "cancelled",
    FailureReason.MERGE_CONFLICTS: "Merge conflicts!",
    FailureReason.MIRROR_REFUSED: "This forge does not connect to where the repository that was to be mirrored is.",
    FailureReason.MIRROR_RESET: "The host of the repository that was to be mirrored ended the connection.",
    FailureReason.MIRROR_TIMEOUT: "The repository that was to be mirrored did not come in time.",
    FailureReason.MIRROR_TLS: "The host of the repository that was to be mirrored has no certificate that is trusted "
    "here.",
    FailureReason.MIRROR_TOO_LARGE: "The repository that was to be mirrored is too large.",
    FailureReason.MIRROR_UNREACHABLE: "The host of the repository that was to be mirrored takes no connection.",
    FailureReason.MIRROR_UNREADABLE: "The repository that was to be mirrored could not be read.",
    FailureReason.MIRROR_UNRESOLVED: "The host of the repository that was to be mirrored has no address.",
    FailureReason.NOTHING_TO_MERGE: "Nothing to do, changes were already merged",
    FailureReason.NO_COMMITS: "Nothing to do, this pull-request has no commits",
    FailureReason.PROJECT_DELETED: "The project has been deleted meanwhile.",
    FailureReason.PROJECT_MISSING: "The project is gone.",
    FailureReason.PULL_REQUEST_CLOSED: "This pull-request was merged or closed by {username}",
    FailureReason.PULL_REQUEST_MISSING: "The pull-request is gone.",
    FailureReason.PUSH_REFUSED: "{refusal}",
    FailureReason.REBASE_FAILED: "Did not manage to rebase this pull-request",
    FailureReason.REBASE_NEEDED: "The pull-request must be rebased before merging",
    FailureReason.REPOSITORY_MISSING: "Could not find the targeted git repository for {project}",
    FailureReason.STATED: "{text}",
    FailureReason.TOO_LARGE: "The changes of this pull-request are too large to be merged or rebased here",
    FailureReason.UNEXPECTED: "This could not be done; the administrators can see why.",
    FailureReason.UNSIGNED: "This repo enforces that all commits are signed off by their author. ",
}

METADATA = "**Metadata Update from @{author}**:"
NOTES: dict[NoteReason, str] = {
    NoteReason.ASSIGNED: METADATA + "\n- Request assigned",
    NoteReason.CLOSED: "Pull-Request has been closed by {author}",
    NoteReason.COMMITS_ADDED: "**{count}**\n\n{subjects}",
    NoteReason.ISSUE_FIXED: " Commit {commit} fixes this issue",
    NoteReason.ISSUE_RELATED: " Commit {commit} relates to this ticket",
    NoteReason.MERGED: "Pull-Request has been merged by {author}",
    NoteReason.PULL_REQUEST_FIXED: " Commit {commit} fixes this pull-request",
    NoteReason.REBASED: "rebased onto {onto}",
    NoteReason.REOPENED: "Pull-Request has been reopened by {author}",
    NoteReason.STATED: "{text}",
    NoteReason.UNASSIGNED: METADATA + "\n- Request assignee reset",
    NoteReason.UPDATED: "{changes}",
}


def describe_failure(reason: str, params: Mapping[str, Any]) -> str:
    """Return the reason why a task failed."""
    if "project" in params:
        params = {**params, "project": _fullname(params["project"])}
    if reason == FailureReason.PUSH_REFUSED:
        params = {"refusal": describe_push_refusal(params["refusal"], params["commit"])}
    return fill(FAILURES[FailureReason(reason)], params)


def describe_ending(ending: Ending) -> str | None:
    """Return the reason why a task failed; None if it did not."""
    return describe_failure(ending.reason, ending.params) if ending.reason else None


def _fullname(path: str) -> str:
    """Return a path as Pagure writes it: forks are below `forks/`."""
    return f"forks/{path.removeprefix('fork/')}" if path.startswith("fork/") else path


def comment_text(home: str, row: Mapping[str, Any]) -> str:
    """Return the text of a comment. `home` is the web address of its project."""
    text: str = row["comment"]
    return text if row["note"] is None else describe_note(home, row["author"], row["note"])


def describe_note(home: str, author: str, note: Mapping[str, Any]) -> str:
    """Return the text of a comment that the forge wrote for a user."""
    reason, params = NoteReason(note["reason"]), {**note, "author": author}
    match reason:
        case NoteReason.COMMITS_ADDED:
            count = note["count"]
            params["count"] = "1 new commit added" if count == 1 else f"{count} new commits added"
            params["subjects"] = "\n".join(f" * ``{subject}``" for subject in note["subjects"])
        case NoteReason.ISSUE_FIXED | NoteReason.ISSUE_RELATED | NoteReason.PULL_REQUEST_FIXED:
            short = note["commit"][:8]
            params["commit"] = f"[{short}]({home}/c/{short})"
        case NoteReason.REBASED:
            params["onto"] = note["onto"] or "unknown target"
        case NoteReason.UPDATED:
            params["changes"] = _describe_update(author, note)
    return fill(NOTES[reason], params)


def _describe_update(author: str, note: Mapping[str, Any]) -> str:
    """Describe an update of an issue. The details of a change made by a board keep their order; others are sorted."""
    changed = note["changed"]
    details = note["details"] if "details" in note else describe_changes(changed, note["previous"])
    if "boards" in changed:
        return "\n".join(details)
    return fill(METADATA, {"author": author}) + "".join(f"\n- {detail}" for detail in sorted(details))


def describe_changes(changed: Mapping[str, Any], previous: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each change of an issue."""
    return [
        sentence for field in DETAILS if field in changed for sentence in DETAILS[field](changed, previous.get(field))
    ]


def _describe_previous(before: Any) -> str:
    return f" (was: {before})" if before is not None else ""


def _describe_tags(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [f"Issue tagged with: {tag}" for tag in changed["tags"] if tag not in before]


def _describe_status(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [f"Issue status updated to: {changed['status']}{_describe_previous(before)}"]


def _describe_close_status(changed: Mapping[str, Any], before: Any) -> list[str]:
    """Describe the new close status; reopening an issue does not mention it."""
    if changed.get("status", "Closed") != "Closed":
        return []
    return [f"Issue close_status updated to: {changed['close_status']}{_describe_previous(before)}"]


def _describe_milestone(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [f"Issue set to the milestone: {changed['milestone']}{_describe_previous(before)}"]


def _describe_assignee(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [
        f"Issue assigned to {changed['assignee']}{_describe_previous(before)}"
        if changed["assignee"]
        else "Assignee reset"
    ]


def _describe_dependencies(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [f"Issue marked as depending on: #{number}" for number in changed["depends"] if number not in before]


def _describe_custom_fields(changed: Mapping[str, Any], before: Any) -> list[str]:
    return [
        f"Custom field {name} reset (from {before[name]})"
        if value is None
        else f"Custom field {name} adjusted to {value}{_describe_previous(before[name])}"
        for name, value in changed["custom_fields"].items()
    ]


# In the order in which a change made by a board lists them.
DETAILS: dict[str, Callable[[Mapping[str, Any], Any], list[str]]] = {
    "tags": _describe_tags,
    "status": _describe_status,
    "close_status": _describe_close_status,
    "milestone": _describe_milestone,
    "assignee": _describe_assignee,
    "depends": _describe_dependencies,
    "custom_fields": _describe_custom_fields,
}


def describe_git_error(error: GitError) -> str | None:
    """Describe why a ref could not be created or moved; None if there is nothing that its user could do."""
    name = error.subject.encode(errors="backslashreplace").decode()
    match error:
        case NoBranch() if not name:
            return "The name of the branch is missing"
        case NoBranch():
            return f'The "{name}" branch does not exist'
        case NoCommit():
            return f'The commit "{name}" does not exist'
        case NameClash():
            return f'"{name}" cannot exist beside "{error.other}", since one name would be a folder of the other'
        case BadName():
            return f'"{name}" cannot be the name of a new branch or tag'
        case RefMoved():
            return "The ref was changed meanwhile; try again"
    return None
