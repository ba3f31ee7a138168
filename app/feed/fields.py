"""The fields that events show to outsiders, in the feed and in messages of subscriptions: what is not listed is hidden.

`project.deleted` keeps the project for the formats that render it, so its field `snapshot` is not listed.
"""

from collections.abc import Mapping
from typing import Any

# Shown to everybody who may see the event (app/queries/feed.py). `details` is in old events only.
READERS: dict[str, str] = {
    "access.granted": "project_id party name level branches",
    "access.refreshed": "project_id path",
    "access.revoked": "project_id party name",
    "board.defined": "project_id board active tag",
    "board.deleted": "project_id board",
    "board.statuses-set": "project_id board statuses",
    "commit.flagged": "project_id commit uid username status percent comment url author pull_request",
    "commits.landed": "project_id ref commits",
    "group.created": "group_name display_name description group_type creator",
    "group.member-added": "group_name username",
    "group.member-removed": "group_name username",
    "head.moved": "project_id old new",
    "issue.commented": "project_id number comment_id comment author note",
    "issue.opened": "project_id number uid title content author assignee private tags milestone priority files",
    "issue.subscribed": "project_id number username subscribed",
    "issue.updated": "project_id number changed previous comment_id details",
    "mirror.changed": "project_id failure",
    "mirror.pull-requested": "project_id",
    "mirror.pulled": "project_id",
    "plugin.installed": "project_id plugin",
    "plugin.removed": "project_id plugin",
    "project.configured": "project_id",
    "project.created": "project_id address path owner name namespace description private default_branch create_readme "
    "mirrored_from",
    "project.deleted": "project_id path",
    "project.discarded": "project_id path reason params",
    "project.forked": "project_id parent_id ancestors address path owner forker name namespace description private "
    "default_branch",
    "project.transferred": "project_id owner previous retained",
    "project.users-blocked": "project_id",
    "pull-request.commented": "project_id number comment_id comment author commit tree filename line vote",
    "pull-request.merge-requested": "project_id number",
    "pull-request.merged": "project_id number commit note comment_id",
    "pull-request.opened": "project_id number uid title initial_comment branch branch_from repo_from author "
    "commit_start commit_stop allow_rebase issues",
    "pull-request.rebase-requested": "project_id number",
    "pull-request.rebased": "project_id number commit",
    "pull-request.subscribed": "project_id number username subscribed",
    "pull-request.merge-statuses-found": "project_id branch base statuses below",
    "pull-request.updated": "project_id number changed note comment_id",
    "ref.updated": "project_id ref old new commit pull_request options",
    "repository.created": "project_id path head refs",
    "subscription.changed": "subscription_id username project_id changed",
    "subscription.created": "subscription_id username token_id project_id types format ordered host status",
    "subscription.deleted": "subscription_id username project_id",
    "tag.defined": "project_id tag color description",
    "tag.deleted": "project_id tag",
    "task.cancel-requested": "task_id project_id",
    "task.cancelled": "task_id project_id",
    "task.failed": "task_id project_id reason params",
    "task.progressed": "task_id project_id attempt stage percent",
    "task.started": "task_id project_id attempt",
    "token.issued": "token_id username prefix description acls token_project expires_at",
    "token.revoked": "token_id username",
    "tracker.configured": "project_id changed",
    "user.created": "username fullname email admin",
    "watch.changed": "project_id username issues commits",
}
# Shown, with a token without scopes, to those who may change the settings of the event's project.
ADMINISTRATORS: dict[str, str] = {
    "plugin.installed": "fields secrets",
    "project.configured": "settings",
    "project.created": "url avatar_email",
    "project.forked": "settings",
    "project.users-blocked": "usernames",
}

_FOR_READERS = {event_type: frozenset(names.split()) for event_type, names in READERS.items()}
_FOR_ADMINISTRATORS = {
    event_type: names | frozenset(ADMINISTRATORS.get(event_type, "").split())
    for event_type, names in _FOR_READERS.items()
}


def select_fields(event_type: str, data: Mapping[str, Any], *, administers: bool) -> dict[str, Any]:
    """Return the fields that a reader of the event may see; `administers` says whether they run its project."""
    shown = (_FOR_ADMINISTRATORS if administers else _FOR_READERS).get(event_type, frozenset())
    return {name: value for name, value in data.items() if name in shown}
