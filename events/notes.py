"""The comments that the forge writes in somebody's name: events say in data what each tells of."""

from enum import StrEnum


class NoteReason(StrEnum):
    """What a comment tells of. Behind some stand the keys that a note has besides `reason`."""

    ASSIGNED = "assigned"
    CLOSED = "closed"
    COMMITS_ADDED = "commits-added"  # count; subjects: of the newest of them
    ISSUE_FIXED = "issue-fixed"  # commit: that says so
    ISSUE_RELATED = "issue-related"  # commit
    MERGED = "merged"
    PULL_REQUEST_FIXED = "pull-request-fixed"  # commit
    REBASED = "rebased"  # onto: the head of the target's branch, or null
    REOPENED = "reopened"
    STATED = "stated"  # text: what an old event says (events/upcasts.py)
    UNASSIGNED = "unassigned"
    UPDATED = "updated"  # of an issue: changed, previous, and the sentences of an old event as details
