"""Access rules: which level and which token scopes each action takes. Nothing else in the code decides this."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from fnmatch import fnmatchcase
from typing import Any

from app.actor import Actor
from app.errors import Forbidden, Invalid, NotFound, Subject


class Level(IntEnum):
    """An access level on a project; each includes the ones before it."""

    NONE = 0
    READ = 1
    TICKET = 2
    COLLABORATE = 3  # write to some branches
    WRITE = 4
    ADMIN = 5
    OWNER = 6


# The levels that can be granted, by their names in the log and the tables.
GRANTS = {"ticket": Level.TICKET, "collaborator": Level.COLLABORATE, "commit": Level.WRITE, "admin": Level.ADMIN}


class Token(Enum):
    """The token that an action takes if it takes no particular scope."""

    NONE = "none"  # credentials are not read
    OPTIONAL = "optional"  # a user or an anonymous client
    ANY = "any"  # a user with any token
    UNSCOPED = "unscoped"  # a user with a token without scopes; it may be bound to a project
    WHOLE = "whole"  # a user with a token that is limited neither to scopes nor to a project


@dataclass(frozen=True)
class Action:
    """The requirements of an action.

    `level` is the level that the actor needs on the project; None if the action is about no project. `token` is the
    set of scopes of which the token needs one, or a `Token`. An action that `writes` and `blocks` is refused to users
    whom the project has blocked; one that `writes` and `binds`, to tokens that are bound to another project, and to all
    bound tokens if the action is about no project. An action that is `excepted` is decided by its command handler,
    which also admits others (an author, an assignee): its `level` is only the usual one. One that
    `administers` is for administrators of the forge.
    """

    level: Level | None = None
    token: Token | frozenset[str] | None = None
    writes: bool = True
    blocks: bool = True
    binds: bool = True
    excepted: bool = False
    administers: bool = False


def _read(level: Level | None, token: Token | frozenset[str] = Token.OPTIONAL, **more: bool) -> Action:
    return Action(level, token, writes=False, **more)


def _write(level: Level | None, *scopes: str, **more: bool) -> Action:
    return Action(level, frozenset(scopes), **more)


# Every action of the forge.
ACTIONS: dict[str, Action] = {
    "health": _read(None, Token.NONE),
    "describe-instance": _read(None, Token.NONE),
    "list-projects": _read(None, Token.NONE),
    "list-groups": _read(None, Token.NONE),
    "list-users": _read(None, Token.NONE),
    "read-activity": _read(None, Token.NONE),
    "read-task-status": _read(None, Token.NONE),
    "call-method": _read(None, Token.NONE),  # of JSON-RPC: the key is in the body, and the method declares an action
    "report-build": _read(None, Token.NONE),  # the path has the secret; the flag is set in the name of the owner
    "identify": _read(None),
    "read-user": _read(None),
    "list-repositories": _read(None, Token.ANY),
    "read-account": _read(None, Token.ANY),
    "inspect-instance": _read(None, Token.WHOLE, administers=True),
    "read-group": _read(None),
    "list-user-items": _read(None),
    "read-task": _read(None),
    "read-events": _read(None),
    "read-project": _read(Level.READ),
    "read-issues": _read(Level.READ),
    "read-code": _read(Level.READ),
    "read-pull-requests": _read(Level.READ),
    "read-options": _read(Level.READ, frozenset({"modify_project"})),
    "read-connector": _read(Level.ADMIN, frozenset({"modify_project"})),
    "read-hook-token": _read(Level.READ, Token.ANY, excepted=True),
    "create-user": Action(None, Token.WHOLE, administers=True),
    "manage-tokens": Action(None, Token.WHOLE),
    # Their command handlers look at the project of the subscription or task.
    "manage-subscriptions": Action(None, Token.UNSCOPED, binds=False),
    "cancel-task": Action(None, Token.UNSCOPED, binds=False),
    # Groups reach beyond a project, so no token that is bound to one changes them, whatever its scopes.
    "create-group": _write(None, "group_modify"),
    "manage-members": _write(None, "group_modify"),
    # As in Pagure, a bound token creates and forks projects if its user gave it that scope.
    "create-project": _write(None, "create_project", binds=False),
    # A fork belongs to the actor, so it is refused neither to blocked users nor to tokens bound elsewhere.
    "fork-project": _write(Level.READ, "fork_project", blocks=False, binds=False),
    "watch-project": _write(Level.READ, "modify_project", "update_watch_status"),
    "configure-project": _write(Level.ADMIN, "modify_project"),
    "transfer-project": _write(Level.OWNER, "modify_project"),
    "delete-project": _write(Level.ADMIN, "modify_project"),
    "manage-access": _write(Level.ADMIN, "modify_project", excepted=True),
    "administer-access": Action(Level.ADMIN, Token.WHOLE, administers=True),  # as Kallithea grants to users
    "block-users": _write(Level.ADMIN, "modify_project", excepted=True),
    "refresh-project": _write(Level.WRITE, "modify_project"),
    "refresh-access": _write(Level.READ, "generate_acls_project"),
    "manage-project-tokens": _write(Level.ADMIN, "modify_project"),
    "push": _write(Level.COLLABORATE, "commit"),
    "create-branch": _write(Level.COLLABORATE, "create_branch"),
    "set-default-branch": _write(Level.ADMIN, "modify_project"),
    "manage-refs": _write(Level.WRITE, "modify_project", "tag_project"),
    "create-alias": _write(Level.WRITE, "create_git_alias", "modify_git_alias", "modify_project"),
    "delete-alias": _write(Level.WRITE, "delete_git_alias", "modify_git_alias", "modify_project"),
    "flag-commit": _write(Level.READ, "commit_flag"),
    "manage-tags": _write(Level.WRITE, "modify_project"),
    "manage-boards": _write(Level.WRITE, "modify_project"),
    "open-issue": _write(Level.READ, "issue_create"),
    "comment-on-issue": _write(Level.READ, "issue_comment", "issue_update"),
    "edit-issue": _write(Level.READ, "issue_update", excepted=True),
    "subscribe-to-issue": _write(Level.READ, "issue_subscribe", excepted=True),
    "triage-issues": _write(Level.TICKET, "issue_update", excepted=True),
    "change-issue-status": _write(Level.TICKET, "issue_change_status", "issue_update", excepted=True),
    "assign-issue": _write(Level.TICKET, "issue_assign", "issue_update", excepted=True),
    "set-milestone": _write(Level.TICKET, "issue_update_milestone", "issue_update", excepted=True),
    "set-custom-fields": _write(Level.TICKET, "issue_update_custom_fields", "issue_update", excepted=True),
    # A token must be bound to the project that the commits come from, which the command handler checks.
    "open-pull-request": _write(Level.READ, "pull_request_create", binds=False),
    "comment-on-pull-request": _write(Level.READ, "pull_request_comment"),
    "edit-pull-request": _write(Level.READ, "pull_request_update", excepted=True),
    "subscribe-to-pull-request": _write(Level.READ, "pull_request_subscribe", excepted=True),
    "triage-pull-requests": _write(Level.TICKET, "pull_request_update", excepted=True),
    "assign-pull-request": _write(Level.TICKET, "pull_request_assign", "pull_request_update", excepted=True),
    "flag-pull-request": _write(Level.READ, "pull_request_flag"),
    "merge-pull-request": _write(Level.WRITE, "pull_request_merge", excepted=True),
    "rebase-pull-request": _write(Level.WRITE, "pull_request_rebase", excepted=True),
    "close-pull-request": _write(Level.WRITE, "pull_request_close", excepted=True),
    "reopen-pull-request": _write(Level.WRITE, "pull_request_close", "pull_request_update", excepted=True),
}

# The scopes of tokens. The names are Pagure's: its clients depend on them.
ACLS = frozenset({
    "commit", "commit_flag", "create_branch", "create_git_alias", "create_project", "delete_git_alias",
    "fork_project", "generate_acls_project", "group_modify", "internal_access", "issue_assign",
    "issue_change_status", "issue_comment", "issue_create", "issue_subscribe", "issue_update",
    "issue_update_custom_fields", "issue_update_milestone", "modify_git_alias", "modify_project",
    "pull_request_assign", "pull_request_close", "pull_request_comment", "pull_request_create", "pull_request_flag",
    "pull_request_merge", "pull_request_rebase", "pull_request_subscribe", "pull_request_update", "tag_project",
    "update_watch_status",
})  # fmt: skip

# The scopes that the administrators of a project may give to a token for it.
PROJECT_ACLS = ACLS - {"internal_access", "generate_acls_project"}


def level(actor: Actor, project: Mapping[str, Any]) -> Level:
    """Return the actor's level on the project: the strongest of their own grants and those of their groups.

    A token that is bound to another project gives no more than anonymous access.
    """
    if is_bound_elsewhere(actor, project):
        return Level.NONE if project["private"] else Level.READ
    if actor.username and (actor.admin or actor.username == project["owner"]):
        return Level.OWNER
    return max(granted_level(actor, project), Level.NONE if project["private"] else Level.READ)


def granted_level(actor: Actor, project: Mapping[str, Any]) -> Level:
    """Return the strongest grant to the actor or their groups, ignoring ownership and administration of the forge."""
    return max((GRANTS[grant["level"]] for grant in _grants_of(actor, project)), default=Level.NONE)


def _grants_of(actor: Actor, project: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if actor.anonymous:
        return []
    access = project["access"]
    grants = [access["user"].get(actor.username), *(access["group"].get(group) for group in actor.groups)]
    return [grant for grant in grants if grant]


def require_appointed_admin(actor: Actor, project: Mapping[str, Any]) -> None:
    """Raise Forbidden unless the actor runs the project: administrators of the forge do not decide whom it blocks."""
    if actor.username != project["owner"] and granted_level(actor, project) < Level.ADMIN:
        raise Forbidden(Subject.BLOCK_USERS)


def require_direct_access(actor: Actor, project: Mapping[str, Any]) -> None:
    """Raise Forbidden unless the actor owns the project or has a grant in their own name."""
    if actor.username != project["owner"] and actor.username not in project["access"]["user"]:
        raise Forbidden(Subject.READ_HOOK_TOKEN)


def is_bound_elsewhere(actor: Actor, project: Mapping[str, Any]) -> bool:
    """Whether the token is bound to another project."""
    return actor.token_project not in (None, project["project_id"])


def is_blocked(actor: Actor, project: Mapping[str, Any]) -> bool:
    """Whether the project has blocked the actor. This holds for owners and administrators too."""
    return actor.username in project["blocked"]


def may_write(actor: Actor, project: Mapping[str, Any], branch: str) -> bool:
    """Whether the actor may write to this branch. A collaborator may if one of their globs matches it."""
    actor_level = level(actor, project)
    if actor_level >= Level.WRITE:
        return True
    return actor_level >= Level.COLLABORATE and any(
        fnmatchcase(branch, glob.strip())
        for grant in _grants_of(actor, project)
        for glob in (grant["branches"] or "").split(",")
    )


def may(actor: Actor, action: str, project: Mapping[str, Any]) -> bool:
    """Whether the actor has the level that the action takes. Anonymous actors may only read."""
    requirements = ACTIONS[action]
    return requirements.level is not None and _reaches(actor, requirements, level(actor, project))


def require(actor: Actor, action: str, project: Mapping[str, Any]) -> None:
    """Raise Forbidden unless the actor has the level of the action; NotFound for a project that they may not see."""
    require_readable(actor, project)
    if not may(actor, action, project):
        raise Forbidden(Subject.ACTION, action=action)


def require_readable(actor: Actor, project: Mapping[str, Any]) -> None:
    """Raise NotFound for a project that the actor may not see."""
    if level(actor, project) < Level.READ:
        raise NotFound(Subject.PROJECT)


def require_scope(actor: Actor, action: str) -> None:
    """Raise Forbidden unless the token satisfies the action, and its user does if it is for administrators."""
    match ACTIONS[action].token:
        case Token.NONE | Token.OPTIONAL:
            return
        case frozenset() as scopes if actor.acls is None or scopes & actor.acls:
            allowed = True
        case Token.ANY:
            allowed = True
        case Token.UNSCOPED:
            allowed = actor.acls is None
        case Token.WHOLE:
            allowed = actor.acls is None and actor.token_project is None
        case _:
            allowed = False
    if actor.anonymous or not allowed or exceeds_binding(actor, action):
        raise Forbidden(Subject.TOKEN)
    if ACTIONS[action].administers and not actor.admin:
        raise Forbidden(Subject.ADMINISTRATION)


def exceeds_binding(actor: Actor, action: str) -> bool:
    """Whether the token is bound to a project and the action, which is about no project, binds."""
    requirements = ACTIONS[action]
    return requirements.level is None and requirements.writes and requirements.binds and actor.token_project is not None


def require_binding(actor: Actor, action: str, project: Mapping[str, Any]) -> None:
    """Raise Forbidden if the action binds and the token is bound to another project."""
    if ACTIONS[action].binds and is_bound_elsewhere(actor, project):
        raise Forbidden(Subject.TOKEN)


def require_unblocked(actor: Actor, action: str, project: Mapping[str, Any]) -> None:
    """Raise Forbidden if the action heeds blocks and the project has blocked the actor."""
    if ACTIONS[action].writes and ACTIONS[action].blocks and is_blocked(actor, project):
        raise Forbidden(Subject.BLOCKED)


def authorize(actor: Actor, action: str, project: Mapping[str, Any] | None = None) -> None:
    """Check all requirements of an action: token, visibility of the project, block, binding and level.

    Raises Forbidden or NotFound. A dialect may run the same checks earlier, in the order and words of its contract;
    this one also runs those that a dialect forgets.
    """
    require_scope(actor, action)
    if project is None:
        return
    requirements, actor_level = ACTIONS[action], level(actor, project)
    if actor_level < Level.READ:
        raise NotFound(Subject.PROJECT)
    if requirements.writes:
        require_unblocked(actor, action, project)
        require_binding(actor, action, project)
    if not requirements.excepted and not _reaches(actor, requirements, actor_level):
        raise Forbidden(Subject.ACTION, action=action)


def _reaches(actor: Actor, requirements: Action, actor_level: Level) -> bool:
    """Whether this level suffices for an action. Anonymous actors may only read."""
    if requirements.level is None:
        return True
    if actor.anonymous and requirements.token is not Token.OPTIONAL:
        return False
    return actor_level >= requirements.level


def may_see_issue(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> bool:
    """Whether the actor may see the issue. A private one is visible to writers, its author and its assignee."""
    if not issue["private"] or level(actor, project) >= Level.WRITE:
        return True
    if is_bound_elsewhere(actor, project):
        return False
    return bool(actor.username) and actor.username in (issue["author"], issue["assignee"])


def require_grantable(actor: Actor, acls: Collection[str]) -> None:
    """Raise Forbidden unless the actor's token has all of these scopes."""
    missing = [] if actor.acls is None else sorted(set(acls) - actor.acls)
    if missing:
        raise Forbidden(Subject.TOKEN_SCOPES, "acls", names=missing)


def limit_expiry(actor: Actor, expires_at: datetime | None) -> datetime | None:
    """Return the expiry of a token that the actor issues: by default that of the actor's own token.

    Raises Invalid if the new token would outlive the actor's own; None means that it never expires.
    """
    own = actor.token_expires_at
    if own is not None and expires_at is not None and expires_at > own:
        raise Invalid(Subject.TOKEN_EXPIRY, "expires_at", limit=own.isoformat(timespec="seconds"))
    return own if expires_at is None else expires_at


def require_self(actor: Actor, username: str) -> None:
    """Raise Forbidden unless the actor is this user or an administrator of the forge, with an unrestricted token."""
    require_unrestricted_token(actor)
    if not (actor.username == username or actor.admin):
        raise Forbidden(Subject.USER)


def require_admin(actor: Actor) -> None:
    require_unrestricted_token(actor)
    if not actor.admin:
        raise Forbidden(Subject.ADMINISTRATION)


def require_unrestricted_token(actor: Actor) -> None:
    """Raise Forbidden for a token with scopes or a project: it must not hand out more access than it has."""
    if not has_unrestricted_token(actor):
        raise Forbidden(Subject.TOKEN)


def has_unrestricted_token(actor: Actor) -> bool:
    """Whether the actor is a user whose token is limited neither to scopes nor to a project."""
    return not actor.anonymous and actor.acls is None and actor.token_project is None


def is_administrator(actor: Actor) -> bool:
    """Whether the actor may administer the forge. With a limited token, administrators are ordinary users."""
    return actor.admin and has_unrestricted_token(actor)


def may_see_tokens(actor: Actor, username: str) -> bool:
    """Whether the actor may see which tokens this user has (`require_self`)."""
    return has_unrestricted_token(actor) and (actor.admin or actor.username == username)


def may_see_email(actor: Actor, username: str) -> bool:
    """Whether the actor may see the e-mail address of this user: only the user and administrators of the forge may."""
    return is_administrator(actor) or (bool(username) and actor.username == username)
