"""Pagure's sentences about what has happened: why a task failed, and the comments that it writes by itself."""

from collections.abc import Mapping
from typing import Any

from app.dialects.pagure.errors import describe_push_refusal
from app.http.tasks import Ending
from app.http.wording import fill
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
    FailureReason.PROJECT_DELETED: "The project has been deleted meanwhile.",
    FailureReason.PROJECT_MISSING: "The project is gone.",
    FailureReason.PULL_REQUEST_CLOSED: "This pull-request was merged or closed by {username}",
    FailureReason.PULL_REQUEST_MISSING: "The pull-request is gone.",
    FailureReason.PUSH_REFUSED: "{refusal}",
    FailureReason.REBASE_FAILED: "Did not manage to rebase this pull-request",
    FailureReason.REBASE_NEEDED: "The pull-request must be rebased before merging",
    FailureReason.REPOSITORY_MISSING: "Could not find the targeted git repository for {project}",
    FailureReason.STATED: "{text}",
    FailureReason.UNEXPECTED: "This could not be done; the administrators can see why.",
    FailureReason.UNSIGNED: "This repo enforces that all commits are signed off by their author. ",
}


def describe_failure(reason: str, params: Mapping[str, Any]) -> str:
    """Why a task has failed."""
    if "project" in params:
        params = {**params, "project": _fullname(params["project"])}
    if reason == FailureReason.PUSH_REFUSED:
        params = {"refusal": describe_push_refusal(params["refusal"], params["commit"])}
    return fill(FAILURES[FailureReason(reason)], params)


def describe_ending(ending: Ending) -> str | None:
    """Why a task has failed; None if it has not."""
    return describe_failure(ending.reason, ending.params) if ending.reason else None


def _fullname(path: str) -> str:
    """Forks live under `forks/`."""
    return f"forks/{path.removeprefix('fork/')}" if path.startswith("fork/") else path
