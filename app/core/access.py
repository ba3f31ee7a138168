"""Who may do what to what: the only copy in the codebase."""

from collections.abc import Mapping
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any

from app.actor import Actor
from app.errors import Forbidden, NotFound


class Level(IntEnum):
    """What somebody holds on a project; each includes the ones before it."""

    NONE = 0
    READ = 1
    TICKET = 2
    COLLABORATE = 3  # write to some branches
    WRITE = 4
    ADMIN = 5
    OWNER = 6


# What may be granted, by the words that the log and the tables have for it.
GRANTS = {"ticket": Level.TICKET, "collaborator": Level.COLLABORATE, "commit": Level.WRITE, "admin": Level.ADMIN}


# Every action of the forge and the level on the project that it takes; None: no project is involved,
# or the action has a rule of its own below.
ACTIONS: dict[str, Level | None] = {
    "health": None,
    "describe-instance": None,
    "identify": None,
    "create-user": None,
    "read-user": None,
    "manage-tokens": None,
    "create-project": None,
    "list-projects": None,
    "read-task": None,
    "read-events": None,
    "read-project": Level.READ,
    "fork-project": Level.READ,
    "read-issues": Level.READ,
    "open-issue": Level.READ,
    "comment-on-issue": Level.READ,
    "read-code": Level.READ,
    "push": Level.COLLABORATE,
    "manage-refs": Level.WRITE,
    "triage-issues": Level.TICKET,
    "manage-tags": Level.WRITE,
    "manage-boards": Level.WRITE,
    "configure-project": Level.ADMIN,
    "manage-access": Level.ADMIN,
    "transfer-project": Level.OWNER,
    "delete-project": Level.ADMIN,
    "watch-project": Level.READ,
    "read-pull-requests": Level.READ,
    "open-pull-request": Level.READ,
    "comment-on-pull-request": Level.READ,
    "triage-pull-requests": Level.TICKET,
    "merge-pull-request": Level.WRITE,
    "flag-commit": Level.READ,
    "refresh-access": Level.READ,
    "manage-project-tokens": Level.ADMIN,
    "read-hook-token": None,
    "read-user-activity": None,
    "list-groups": None,
    "create-group": None,
    "manage-members": None,
    "manage-subscriptions": None,
}

# What anybody may do where they may read, even without a name: look.
ANONYMOUS_ACTIONS = frozenset({"read-project", "read-issues", "read-code", "read-pull-requests"})

# What a token may be limited to: Pagure's names, which are its clients' contract.
ACLS = frozenset({
    "commit", "commit_flag", "create_branch", "create_git_alias", "create_project", "delete_git_alias",
    "fork_project", "generate_acls_project", "group_modify", "internal_access", "issue_assign",
    "issue_change_status", "issue_comment", "issue_create", "issue_subscribe", "issue_update",
    "issue_update_custom_fields", "issue_update_milestone", "modify_git_alias", "modify_project",
    "pull_request_assign", "pull_request_close", "pull_request_comment", "pull_request_create", "pull_request_flag",
    "pull_request_merge", "pull_request_rebase", "pull_request_subscribe", "pull_request_update", "tag_project",
    "update_watch_status",
})  # fmt: skip

# What a project's own administrators may put into a token for it.
PROJECT_ACLS = ACLS - {"internal_access", "generate_acls_project"}


def level(actor: Actor, project: Mapping[str, Any]) -> Level:
    """What the actor holds on the project: the strongest grant wins, their own or a group's.

    With a token that is bound to another project they are here like anybody else.
    """
    if actor.token_project not in (None, project["project_id"]):
        return Level.NONE if project["private"] else Level.READ
    if actor.username and (actor.admin or actor.username == project["owner"]):
        return Level.OWNER
    return max(granted_level(actor, project), Level.NONE if project["private"] else Level.READ)


def granted_level(actor: Actor, project: Mapping[str, Any]) -> Level:
    """The strongest grant that names the actor or one of their groups; not what they have as owner or administrator."""
    return max((GRANTS[grant["level"]] for grant in _grants_of(actor, project)), default=Level.NONE)


def _grants_of(actor: Actor, project: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if actor.anonymous:
        return []
    access = project["access"]
    held = [access["user"].get(actor.username), *(access["group"].get(group) for group in actor.groups)]
    return [grant for grant in held if grant]


def require_appointed_admin(actor: Actor, project: Mapping[str, Any]) -> None:
    """Who is kept out is for those to say who run the project, not for the forge's administrators."""
    if actor.username != project["owner"] and granted_level(actor, project) < Level.ADMIN:
        raise Forbidden("block-users")


def require_direct_access(actor: Actor, project: Mapping[str, Any]) -> None:
    """Some things are for the owner and those who hold something themselves, not through a group or the forge."""
    if actor.username != project["owner"] and actor.username not in project["access"]["user"]:
        raise Forbidden("read-hook-token")


def is_blocked(actor: Actor, project: Mapping[str, Any]) -> bool:
    """Whether the project takes nothing from them any more, owners and administrators included."""
    return actor.username in project["blocked"]


def may_write(actor: Actor, project: Mapping[str, Any], branch: str) -> bool:
    """Whether the actor may write to this branch: a collaborator may where one of their globs matches."""
    held = level(actor, project)
    if held >= Level.WRITE:
        return True
    return held >= Level.COLLABORATE and any(
        fnmatchcase(branch, glob.strip())
        for grant in _grants_of(actor, project)
        for glob in (grant["branches"] or "").split(",")
    )


def may(actor: Actor, action: str, project: Mapping[str, Any]) -> bool:
    """Whether the actor may do this to the project. Writing takes a user, whatever the level."""
    needed = ACTIONS[action]
    if needed is None or (actor.anonymous and action not in ANONYMOUS_ACTIONS):
        return False
    return level(actor, project) >= needed


def require(actor: Actor, action: str, project: Mapping[str, Any]) -> None:
    """Refuse what the actor may not do; what they may not even see is not found."""
    if level(actor, project) < Level.READ:
        raise NotFound("project")
    if not may(actor, action, project):
        raise Forbidden(action)


def may_see_issue(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> bool:
    """A private issue is for those who may write, its author and its assignee."""
    if not issue["private"] or level(actor, project) >= Level.WRITE:
        return True
    if actor.token_project not in (None, project["project_id"]):
        return False
    return bool(actor.username) and actor.username in (issue["author"], issue["assignee"])


def require_self(actor: Actor, username: str) -> None:
    """Somebody's own affairs are theirs and the administrators'."""
    require_unrestricted_token(actor)
    if not (actor.username == username or actor.admin):
        raise Forbidden("user")


def require_admin(actor: Actor) -> None:
    require_unrestricted_token(actor)
    if not actor.admin:
        raise Forbidden("administration")


def require_unrestricted_token(actor: Actor) -> None:
    """A token that is limited to some actions or one project cannot hand out more than it has."""
    if actor.anonymous or actor.acls is not None or actor.token_project is not None:
        raise Forbidden("token")


def require_acl(actor: Actor, acl: str, project_id: int | None = None) -> None:
    """Refuse a token that is made for other things, or for another project."""
    if not (actor.acls is None or acl in actor.acls) or actor.token_project not in (None, project_id):
        raise Forbidden("token")


def token_allows(actor: Actor, acl: str, project_id: int) -> bool:
    """Whether the token, apart from its user, reaches this project for this purpose."""
    return (actor.acls is None or acl in actor.acls) and actor.token_project in (None, project_id)
