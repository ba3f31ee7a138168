"""The settings of a project and their defaults."""

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, bool | int | None] = {
    "always_merge": False,
    "enforce_signed_off_commits": False,
    "fedmsg_notifications": True,
    "issue_tracker": True,
    "issue_tracker_read_only": False,
    "issues_default_to_private": False,
    "minimum_score_to_merge": -1,
    "mqtt_notifications": True,
    "non_fast_forward_merges": True,
    "notify_on_commit_flag": False,
    "notify_on_pull_request_flag": False,
    "only_assignee_can_merge": False,
    "open_metadata_access_to_all": False,
    "project_documentation": False,
    "pull_request_access_only": False,
    "pull_requests": True,
    "stomp_notifications": True,
    "web_hooks": None,  # a list of ids and hosts; app/core/web_hooks.py has the addresses
}


def get_setting(project: Mapping[str, Any], name: str) -> Any:
    """A setting of the project; the row holds only what differs from the default."""
    return project["settings"].get(name, DEFAULTS[name])
