"""Refusals and failures of tasks in plain English, for the native API, git's transports and the command line.

Names in braces are the refusal's parameters, and `field` is the field to blame; a list is written with commas.
"""

from collections.abc import Mapping
from typing import Any

from app.core.push_policy import PushReason
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused, Subject
from events.tasks import FailureReason

WORDS: dict[tuple[type[Refused], Subject], str] = {
    (NotFound, Subject.BOARD): "There is no such board.",
    (NotFound, Subject.COMMENT): "There is no such comment.",
    (NotFound, Subject.DELIVERY): "There is no such delivery.",
    (NotFound, Subject.EVENT): "There is no such event, or you may not see it.",
    (NotFound, Subject.FLAG): "There is no such flag.",
    (NotFound, Subject.GROUP): "There is no such group.",
    (NotFound, Subject.ID): "There is nothing with this id.",
    (NotFound, Subject.INSTALLED_PLUGIN): "The project does not have this plugin.",
    (NotFound, Subject.ISSUE): "There is no such issue.",
    (NotFound, Subject.MEMBER): "{username} is not a member of the group {group}.",
    (NotFound, Subject.MEMBER_USER): "There is no user {username}.",
    (NotFound, Subject.MIRROR): "This project is not a mirror.",
    (NotFound, Subject.PLUGIN): "There is no such plugin.",
    (NotFound, Subject.PROJECT): "There is no such project, or you may not see it.",
    (NotFound, Subject.PULL_REQUEST): "There is no such pull request.",
    (NotFound, Subject.SUBSCRIPTION): "There is no such subscription.",
    (NotFound, Subject.TAG): "There is no such tag.",
    (NotFound, Subject.TASK): "There is no such task, or you may not see it.",
    (NotFound, Subject.TOKEN): "There is no such token.",
    (NotFound, Subject.USER): "There is no such user.",
    (Disabled, Subject.DELETING_PROJECTS): "Projects like this cannot be deleted on this instance.",
    (Disabled, Subject.ISSUE_TRACKER): "The issue tracker of this project is switched off.",
    (Disabled, Subject.MIRRORING): "Mirroring is switched off on this instance.",
    (Disabled, Subject.NEW_PROJECTS): "New projects cannot be created on this instance.",
    (Disabled, Subject.PLUGIN): "This plugin cannot be used in a private project.",
    (Disabled, Subject.PRIVATE_PROJECTS): "Projects cannot be private on this instance.",
    (Disabled, Subject.PULL_REQUESTS): "Pull requests are switched off in this project.",
    (Disabled, Subject.READ_ONLY_TRACKER): "The issue tracker of this project is read-only.",
    (Forbidden, Subject.ACTION): "You need more rights for this: {action}.",
    (Forbidden, Subject.ADD_MEMBER): "Only members of a group can add others to it.",
    (Forbidden, Subject.ADMIN_GROUP): "Only administrators can create a group of type admin.",
    (Forbidden, Subject.ADMINISTRATION): "Only administrators can do this.",
    (Forbidden, Subject.BLOCKED): "You have been blocked from this project.",
    (Forbidden, Subject.BLOCK_USERS): "Only the owner and the administrators of the project can block users.",
    (
        Forbidden,
        Subject.CANCEL_TASK,
    ): "Only its user and the administrators of its project can cancel a task.",
    (Forbidden, Subject.CLOSE_PULL_REQUEST): "You may not close or merge this pull request.",
    (Forbidden, Subject.EDIT_ISSUE): "Only the author of an issue and those who may push can edit it.",
    (Forbidden, Subject.EDIT_PULL_REQUEST): "You may not change this pull request.",
    (Forbidden, Subject.MERGE_OF_ANOTHERS): "Only the assignee can merge this pull request.",
    (Forbidden, Subject.NEW_GROUPS): "Only administrators can create groups on this instance.",
    (Forbidden, Subject.READ_HOOK_TOKEN): "Only the owner and those who were given access by name can read this token.",
    (Forbidden, Subject.READ_ISSUE): "You may not see this issue.",
    (Forbidden, Subject.REBASE_PULL_REQUEST): "You may not rebase this pull request.",
    (Forbidden, Subject.REF): "{refusal}",
    (Forbidden, Subject.REMOVE_MEMBER): "Only members of a group can remove others from it.",
    (Forbidden, Subject.SCORE): "The pull request needs a review score of {minimum} before it can be merged.",
    (Forbidden, Subject.SUBSCRIPTIONS): "Subscriptions need a token without scopes.",
    (Forbidden, Subject.TOKEN): "This token does not have the necessary scope; use another one.",
    (Forbidden, Subject.TRIAGE_ISSUE): "You may not change the metadata of this issue.",
    (Forbidden, Subject.UNASSIGNED_PULL_REQUEST): "Assign the pull request before it is merged.",
    (Forbidden, Subject.USER): "Only administrators can do this for another user.",
    (Invalid, Subject.ACCESS): "This user has no access that could be taken away.",
    (Invalid, Subject.ACLS): "Unknown scope: {names}.",
    (Invalid, Subject.BOARD_STATUS): "The board has no such status, and no default one.",
    (Invalid, Subject.BOARD_TAG): "There is no tag {name}; create it first.",
    (Invalid, Subject.CHOICE): "`{field}` must be one of: {choices}.",
    (Invalid, Subject.CUSTOM_FIELD): "The tracker has no such custom field.",
    (Invalid, Subject.CUSTOM_FIELD_LINK): "The value of this custom field must be a link.",
    (Invalid, Subject.DEFAULT_STATUS): "Exactly one status must be the default.",
    (Invalid, Subject.DEPENDENCY_CYCLE): "An issue cannot depend on itself, directly or through other issues.",
    (Invalid, Subject.EMAIL): "`email` must be an e-mail address.",
    (Invalid, Subject.ENDPOINT): "`url` must begin with http:// or https:// and have at most 2,048 characters.",
    (Invalid, Subject.ENDPOINT_LOGIN): "`url` must have no user and no fragment; send credentials in a header.",
    (Invalid, Subject.EVENT_TYPE): "Unknown event type: {name}.",
    (Invalid, Subject.FULLNAME): "`fullname` must have 1 to 255 printable characters.",
    (Invalid, Subject.GROUP_CREATOR): "The creator of a group cannot be removed from it.",
    (Invalid, Subject.GROUP_NAME): "`name` must have 1 to 64 of the characters A-Z a-z 0-9 _ . -, begin with neither "
    ". nor -, and not be reserved.",
    (Invalid, Subject.HEADER_NAME): "A header named {name} cannot be sent.",
    (
        Invalid,
        Subject.HEADER_VALUE,
    ): "The header {name} must have at most {limit} visible ASCII characters.",
    (Invalid, Subject.IDEMPOTENCY_KEY): "Idempotency-Key must have 1 to {limit} visible ASCII characters.",
    (Invalid, Subject.IDEMPOTENCY_KEY_REUSED): "This Idempotency-Key was used for another request; choose a new one.",
    (Invalid, Subject.NAMESPACE): "You may not create projects in the namespace {name}.",
    (Invalid, Subject.NAME_REQUIRED): "`name` must not be empty.",
    (Invalid, Subject.NO_CUSTOM_FIELDS): "Name at least one custom field.",
    (Invalid, Subject.OPEN_DEPENDENCIES): "Close the issues that this one depends on first.",
    (Invalid, Subject.PLACED_ISSUE): "There is no such issue.",
    (Invalid, Subject.PROJECT_REQUIRED): "Name a project; only administrators can follow all projects at once.",
    (Invalid, Subject.PULL_REQUEST_CLOSED): "The pull request was merged or closed by {username}.",
    (Invalid, Subject.PULL_REQUEST_NOT_CLOSED): "Only a closed pull request can be reopened.",
    (Invalid, Subject.REQUIRED): "`{field}` must not be empty.",
    (Invalid, Subject.RESERVED_NAME): "The username {name} is reserved; choose another one.",
    (Invalid, Subject.SECRET): "`secret` must be whsec_ followed by base64 of 24 to 64 bytes, or 16 to 128 visible "
    "ASCII characters.",
    (Invalid, Subject.SOURCE_BRANCH): "There is no branch {branch} in the source project.",
    (Invalid, Subject.SOURCE_EMPTY): "The source project has no commits yet.",
    (Invalid, Subject.STATUS_NAME): "`name` must begin with a letter or digit and consist of letters, digits, blanks "
    "and - _ . :",
    (Invalid, Subject.TAG_NAME): "A tag must have 1 to {limit} characters.",
    (Invalid, Subject.TAG_STYLE): "The color and the description of a tag must have at most {limit} characters.",
    (Invalid, Subject.TARGET_BRANCH): "There is no branch {branch} in the target project.",
    (Invalid, Subject.TOKEN_LENGTH): "A token must have at least {limit} characters.",
    (Invalid, Subject.TOO_LONG): "`{field}` must have at most {limit} characters.",
    (Invalid, Subject.TOO_MANY_BOARDS): "A tracker can have at most {limit} boards.",
    (Invalid, Subject.TOO_MANY_HEADERS): "At most {limit} headers can be added.",
    (Invalid, Subject.TOO_MANY_PLACEMENTS): "At most {limit} issues can be placed at once.",
    (Invalid, Subject.TOO_MANY_STATUSES): "A board can have at most {limit} statuses.",
    (Invalid, Subject.TOO_MANY_WEB_HOOKS): "A project can have at most {limit} web hooks.",
    (Invalid, Subject.UNRELATED_PROJECTS): "The two projects must be forks of the same project.",
    (Invalid, Subject.USER): "There is no user {name}.",
    (Invalid, Subject.USERNAME): "`username` must have 1 to 64 of the characters A-Z a-z 0-9 _ . - and begin with "
    "neither . nor -",
    (Invalid, Subject.VALUE): "`{field}` is not valid.",
    (Malformed, Subject.BODY): "The body could not be read.",
    (Conflict, Subject.COMMAND_REPEATED): "This request was carried out before; its answer is no longer available.",
    (Conflict, Subject.CONTENTION): "The project kept changing; try again.",
    (Conflict, Subject.FORK): "You already have a fork of this project: {owner}/{name}.",
    (Conflict, Subject.IDEMPOTENCY_KEY_IN_USE): "A request with this Idempotency-Key is still running, or its answer "
    "is no longer available.",
    (Conflict, Subject.PATH): "There is already a project {path}.",
    (Conflict, Subject.PROJECT): "There is already a project {path}.",
    (Conflict, Subject.REFS): "Refs kept changing; try again.",
    (Conflict, Subject.REPOSITORY): "The repository is still being created; try again later.",
    (Conflict, Subject.RESERVED_PATH): "The path {path} is reserved; choose another name.",
    (Conflict, Subject.SUBSCRIPTION_ENDED): "This subscription has ended; create a new one.",
    (Conflict, Subject.TAG): "There is already a tag {name}.",
    (Conflict, Subject.TAG_IN_USE): "This tag belongs to a board: {boards}.",
    (Conflict, Subject.TAKEN): "The {field} {name} is taken; choose another one.",
    (Conflict, Subject.TASK_ENDED): "The task has ended already.",
    (Conflict, Subject.TOO_MANY_SUBSCRIPTIONS): "You have {limit} subscriptions, the most a user can have; delete one.",
    (Conflict, Subject.WEB_HOOK): "This subscription belongs to the project's option `Web-hooks`; change it there.",
}

PUSH_REFUSALS: dict[PushReason, str] = {
    PushReason.ATOMIC: "Another ref of this atomic push was refused.",
    PushReason.BRANCH: "You may not push to this branch.",
    PushReason.DEFAULT_BRANCH: "This is the default branch; choose another default branch before you delete it.",
    PushReason.FAILED: "The ref could not be changed; ask an administrator to look at the log.",
    PushReason.NAME: "A ref of this name cannot be stored; choose a shorter one in UTF-8, neither HEAD nor an id.",
    PushReason.NAME_IN_USE: "A branch `dir` and a branch `dir/sub` cannot both exist; choose another name.",
    PushReason.NO_COMMIT: "A branch must point to a commit.",
    PushReason.STALE: "The ref was changed meanwhile; fetch first.",
    PushReason.TOO_MANY_REFS: "This push changes more than {limit} refs; push fewer at a time.",
    PushReason.FORGE_REF: "Refs below this name are reserved for the server.",
    PushReason.MIRROR: "This project is a mirror; push to the repository that it mirrors.",
    PushReason.NEW_BRANCH: "This project takes no new branches.",
    PushReason.NOT_FORWARD: "This branch accepts only fast-forward pushes.",
    PushReason.PULL_REQUESTS_ONLY: "Branches of this project can be changed only by pull requests.",
    PushReason.SOME_BRANCHES_ONLY: "You may push only to certain branches.",
    PushReason.UNDELETABLE: "This branch cannot be deleted.",
    PushReason.UNREADABLE: "The commits of this push could not be read.",
    PushReason.UNSIGNED: "Commit {commit} is not signed off.",
}

FAILURES: dict[FailureReason, str] = {
    FailureReason.BRANCH_MISSING: "There is no branch {branch} in {project}.",
    FailureReason.CANCELLED: "The task was cancelled.",
    FailureReason.MERGE_CONFLICTS: "The pull request has merge conflicts; rebase it or merge its target into it.",
    FailureReason.MIRROR_REFUSED: "This server does not connect to the host of the mirrored repository.",
    FailureReason.MIRROR_RESET: "The host of the mirrored repository closed the connection.",
    FailureReason.MIRROR_TIMEOUT: "The mirrored repository could not be fetched in time.",
    FailureReason.MIRROR_TLS: "The host of the mirrored repository has no certificate that is trusted here.",
    FailureReason.MIRROR_TOO_LARGE: "The mirrored repository is too large.",
    FailureReason.MIRROR_UNREACHABLE: "The host of the mirrored repository could not be reached.",
    FailureReason.MIRROR_UNREADABLE: "The mirrored repository could not be read; check its URL and credentials.",
    FailureReason.MIRROR_UNRESOLVED: "The host name of the mirrored repository could not be resolved.",
    FailureReason.NOTHING_TO_MERGE: "There was nothing to merge; the target has these changes already.",
    FailureReason.PROJECT_DELETED: "The project was deleted in the meantime.",
    FailureReason.PROJECT_MISSING: "The project no longer exists.",
    FailureReason.PULL_REQUEST_CLOSED: "The pull request was merged or closed by {username}.",
    FailureReason.PULL_REQUEST_MISSING: "The pull request no longer exists.",
    FailureReason.PUSH_REFUSED: "{refusal}",
    FailureReason.REBASE_FAILED: "The pull request could not be rebased; rebase it by hand.",
    FailureReason.REBASE_NEEDED: "Rebase the pull request before merging it.",
    FailureReason.REPOSITORY_MISSING: "The repository of {project} is missing.",
    FailureReason.STATED: "{text}",
    FailureReason.UNEXPECTED: "Something went wrong; the administrators can find the cause in the server's log.",
    FailureReason.UNSIGNED: "Every commit must be signed off by its author.",
}


def fill(template: str, params: Mapping[str, Any]) -> str:
    """Put parameters into a sentence; lists are joined by commas."""
    written = {
        name: ", ".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in params.items()
    }
    return template.format_map(written)


def describe_refusal(refused: Refused) -> str:
    params = {"field": refused.field, **refused.params}
    if refused.subject is Subject.REF:
        params["refusal"] = describe_push_refusal(params["reason"], params["commit"])
    return fill(WORDS[type(refused), refused.subject], params)


def describe_failure(reason: str, params: Mapping[str, Any]) -> str:
    """Return the reason why a task failed."""
    if reason == FailureReason.PUSH_REFUSED:
        params = {"refusal": describe_push_refusal(params["refusal"], params["commit"])}
    return fill(FAILURES[FailureReason(reason)], params)


def describe_push_refusal(reason: str, commit: str = "", limit: int = 0) -> str:
    """Return the reason why a push may not move a ref. `limit` is the largest number of refs in a push."""
    return fill(PUSH_REFUSALS[PushReason(reason)], {"commit": commit, "limit": limit})
