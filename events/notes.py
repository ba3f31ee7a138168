"""Notes: the content of comments that the forge writes in a user's name, as data that each dialect words itself."""

from enum import StrEnum


class NoteReason(StrEnum):
    """The reason of a note. The comments name the other keys that a note with this reason has."""

    ASSIGNED = "assigned"
    CLOSED = "closed"
    COMMITS_ADDED = "commits-added"  # count; subjects: those of the newest commits
    ISSUE_FIXED = "issue-fixed"  # commit: the one that mentions the issue
    ISSUE_RELATED = "issue-related"  # commit
    MERGED = "merged"
    PULL_REQUEST_FIXED = "pull-request-fixed"  # commit
    REBASED = "rebased"  # onto: the head of the target's branch, or null
    REOPENED = "reopened"
    STATED = "stated"  # text: the whole comment, from an old event (events/upcasts.py)
    UNASSIGNED = "unassigned"
    UPDATED = "updated"  # of an issue: changed, previous, and the sentences of an old event as details
