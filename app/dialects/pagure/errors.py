"""Pagure's error responses: status, code and sentence of each refusal, word for word as its clients know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web

from app.core.push_policy import PushReason
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused, Subject
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import SETTINGS
from app.http.responses import json_reply
from app.http.routes import Handler
from app.http.wording import describe_refusal, fill

MESSAGES = {
    "EBRANCHNOTFOUND": "Branch not found in this git repository",
    "EDATETIME": "Invalid datetime format",
    "EDBERROR": "An error occurred at the database level and prevent the action from reaching completion",
    "EEMPTYGIT": "This git repository is empty",
    "EFILENOTFOUND": "File not found in this git repository",
    "EGITERROR": "An error occurred during a git operation",
    "EINVALIDISSUEFIELD": "Invalid custom field submitted",
    "EINVALIDISSUEFIELD_LINK": "Invalid custom field submitted, the value is not a link",
    "EINVALIDPERPAGEVALUE": "The per_page value must be between 1 and 100",
    "EINVALIDPRIORITY": "Invalid priority submitted",
    "EINVALIDREQ": "Invalid or incomplete input submitted",
    "EINVALIDTOK": "Invalid or expired token. Please visit {url}/settings#nav-api-tab to get or renew your API token.",
    "EISSUENOTALLOWED": "You are not allowed to view this issue",
    "EMIRRORINGDISABLED": "Mirroring external project has been disabled in this instance",
    "EMODIFYPROJECTNOTALLOWED": "You are not allowed to modify this project",
    "ENEWPROJECTDISABLED": "Creating project have been disabled for this instance",
    "ENEWPROJECTFORBIDDEN": "You are not allowed to create new projects on this instance",
    "ENOCODE": "Variable message describing the issue",
    "ENOCOMMENT": "Comment not found",
    "ENOCOMMIT": "No such commit found in this repository",
    "ENOGROUP": "Group not found",
    "ENOISSUE": "Issue not found",
    "ENOPLUGIN": "No such plugin",
    "ENOPRCLOSE": "You are not allowed to merge/close pull-request for this project",
    "ENOPROJECT": "Project not found",
    "ENOPROJECTS": "No projects found",
    "ENOPRSTATS": "No statistics could be computed for this PR",
    "ENOREQ": "Pull-Request not found",
    "ENOSIGNEDOFF": "This repo enforces that all commits are signed off by their author.",
    "ENOTAG": "Tag not found",
    "ENOTASSIGNED": "This request must be assigned to be merged",
    "ENOTASSIGNEE": "Only the assignee can merge this request",
    "ENOTHIGHENOUGH": "You do not have sufficient permissions to perform this action",
    "ENOTMAINADMIN": "Only the main admin can set the main admin of a project",
    "ENOUSER": "No such user found",
    "EPLUGINCHANGENOTALLOWED": "This plugin cannot be changed",
    "EPLUGINDISABLED": "Plugin disabled",
    "EPLUGINNOTINSTALLED": "Project doesn't have this plugin installed",
    "EPRCONFLICTS": "This pull-request conflicts and thus cannot be merged",
    "EPRNOTALLOWED": "You are not allowed to view this pull-request",
    "EPRSCORE": "This request does not have the minimum review score necessary to be merged",
    "EPULLREQUESTSDISABLED": "Pull-Request have been deactivated for this project",
    "EREBASENOTALLOWED": "You are not authorized to rebase this pull-request",
    "ETIMESTAMP": "Invalid timestamp format",
    "ETRACKERDISABLED": "Issue tracker disabled",
    "ETRACKERREADONLY": "The issue tracker of this project is read-only",
    "EUBLOCKED": "You have been blocked from this project",
}


class Shape(Enum):
    """Where the reply has its sentence, if it has another one than that of the code."""

    MESSAGE = "message"  # as `error`, instead of that of the code
    TEXT = "text"  # as `errors`
    LIST = "list"  # as the only item of the list `errors`
    FIELD = "field"  # as the only item of the list in `errors` for the field to blame


@dataclass(frozen=True)
class Answer:
    """A status, a code and a sentence, in which names in braces are the refusal's parameters."""

    status: int
    code: str
    sentence: str = ""
    shape: Shape = Shape.MESSAGE


def _message(sentence: str, status: int = 400) -> Answer:
    return Answer(status, "ENOCODE", sentence)


def _errors(sentence: str, status: int = 400, code: str = "EINVALIDREQ", shape: Shape = Shape.TEXT) -> Answer:
    return Answer(status, code, sentence, shape)


def _field(sentence: str) -> Answer:
    return Answer(400, "EINVALIDREQ", sentence, Shape.FIELD)


Key = tuple[type[Refused], Subject]

WORDS: dict[Key, Answer] = {
    (NotFound, Subject.BOARD): _errors("Board not found", 404),
    (NotFound, Subject.COMMENT): Answer(404, "ENOCOMMENT"),
    (NotFound, Subject.GROUP): Answer(404, "ENOGROUP"),
    (NotFound, Subject.INSTALLED_PLUGIN): Answer(400, "EPLUGINNOTINSTALLED"),
    (NotFound, Subject.ISSUE): Answer(404, "ENOISSUE"),
    (NotFound, Subject.MEMBER): _errors(
        "User `{username}` could not be found in the group `{group}`", code="EDBERROR", shape=Shape.LIST
    ),
    (NotFound, Subject.MEMBER_USER): _errors("No user `{username}` found", code="EDBERROR", shape=Shape.LIST),
    (NotFound, Subject.PLUGIN): Answer(404, "ENOPLUGIN"),
    (NotFound, Subject.PROJECT): Answer(404, "ENOPROJECT"),
    (NotFound, Subject.PULL_REQUEST): Answer(404, "ENOREQ"),
    (NotFound, Subject.TAG): Answer(404, "ENOTAG"),
    (NotFound, Subject.TASK): _message("Not found", 404),
    (NotFound, Subject.USER): Answer(404, "ENOUSER"),
    (Disabled, Subject.DELETING_PROJECTS): Answer(404, "ENOPROJECT"),
    (Disabled, Subject.ISSUE_TRACKER): Answer(404, "ETRACKERDISABLED"),
    (Disabled, Subject.MIRRORING): Answer(400, "EMIRRORINGDISABLED"),
    (Disabled, Subject.NEW_PROJECTS): Answer(404, "ENEWPROJECTDISABLED"),
    (Disabled, Subject.PLUGIN): Answer(404, "EPLUGINDISABLED"),
    (Disabled, Subject.PRIVATE_PROJECTS): _message(
        "The namespace of your project must be in the list of allowed namespaces set by the admins of this pagure "
        "instance, or the name of a group of which you are a member."
    ),
    (Disabled, Subject.PULL_REQUESTS): Answer(404, "EPULLREQUESTSDISABLED"),
    (Disabled, Subject.READ_ONLY_TRACKER): Answer(401, "ETRACKERREADONLY"),
    (Forbidden, Subject.ACTION): Answer(401, "ENOTHIGHENOUGH"),  # except for those in ACTIONS below
    (Forbidden, Subject.ADD_MEMBER): _errors(
        "You are not allowed to add user to this group", code="EDBERROR", shape=Shape.LIST
    ),
    (Forbidden, Subject.BLOCKED): Answer(403, "EUBLOCKED"),
    (Forbidden, Subject.BLOCK_USERS): Answer(401, "ENOTHIGHENOUGH"),
    (Forbidden, Subject.CLOSE_PULL_REQUEST): Answer(403, "ENOPRCLOSE"),
    (Forbidden, Subject.EDIT_ISSUE): Answer(403, "EISSUENOTALLOWED"),
    (Forbidden, Subject.EDIT_PULL_REQUEST): Answer(403, "EPRNOTALLOWED"),
    (Forbidden, Subject.MERGE_OF_ANOTHERS): Answer(403, "ENOTASSIGNEE"),
    (Forbidden, Subject.READ_HOOK_TOKEN): Answer(401, "ENOTHIGHENOUGH"),
    (Forbidden, Subject.READ_ISSUE): Answer(403, "EISSUENOTALLOWED"),
    (Forbidden, Subject.REBASE_PULL_REQUEST): Answer(403, "EREBASENOTALLOWED"),
    (Forbidden, Subject.REF): _message("{refusal}"),
    (Forbidden, Subject.REMOVE_MEMBER): _errors(
        "You are not allowed to remove user from this group", code="EDBERROR", shape=Shape.LIST
    ),
    (Forbidden, Subject.SCORE): Answer(403, "EPRSCORE"),
    (Forbidden, Subject.TOKEN): Answer(401, "ENOTHIGHENOUGH"),
    (Forbidden, Subject.TOKEN_SCOPES): Answer(401, "EINVALIDTOK", "Missing ACLs: {names}", Shape.TEXT),
    (Forbidden, Subject.TRIAGE_ISSUE): Answer(403, "EISSUENOTALLOWED"),
    (Forbidden, Subject.UNASSIGNED_PULL_REQUEST): Answer(403, "ENOTASSIGNED"),
    (Invalid, Subject.ACCESS): _errors("User does not have any access on the repo"),
    (Invalid, Subject.BOARD_STATUS): _message("No status provided or default status found"),
    (Invalid, Subject.BOARD_TAG): _message("No tag found with the name {name}"),
    (Invalid, Subject.CHOICE): _field("Not a valid choice"),
    (Invalid, Subject.CUSTOM_FIELD): Answer(400, "EINVALIDISSUEFIELD"),
    (Invalid, Subject.CUSTOM_FIELD_LINK): Answer(400, "EINVALIDISSUEFIELD_LINK"),
    (Invalid, Subject.DEFAULT_STATUS): _errors("There must be one and only one default."),
    (Invalid, Subject.DEPENDENCY_CYCLE): _message("An issue cannot wait for itself, nor for one that waits for it."),
    (Invalid, Subject.GROUP_CREATOR): _errors(
        "The creator of a group cannot be removed", code="EDBERROR", shape=Shape.LIST
    ),
    (Invalid, Subject.IDEMPOTENCY_KEY): _message("Idempotency-Key has 1 to {limit} visible characters.", 422),
    (Invalid, Subject.IDEMPOTENCY_KEY_REUSED): _message("This Idempotency-Key was used for another request.", 422),
    (Invalid, Subject.NAMESPACE): _field("Not a valid choice"),
    (Invalid, Subject.NAME_REQUIRED): _field("This field is required"),
    (Invalid, Subject.NO_CUSTOM_FIELDS): Answer(400, "EINVALIDREQ"),
    (Invalid, Subject.OPEN_DEPENDENCIES): _message(
        "You cannot close a ticket that has ticket depending that are still open."
    ),
    (Invalid, Subject.PLACED_ISSUE): _message("No ticket found with this identifier"),
    (Invalid, Subject.PULL_REQUEST_CLOSED): _message("This pull-request was merged or closed by {username}"),
    (Invalid, Subject.PULL_REQUEST_NOT_CLOSED): _message("Trying to reopen a pull request that is not closed"),
    (Invalid, Subject.REQUIRED): _field("This field is required."),
    (Invalid, Subject.SAME_BRANCH): _errors("Branch {branch} cannot be merged into itself"),
    (Invalid, Subject.SOURCE_BRANCH): _errors("Branch {branch} does not exist"),
    (Invalid, Subject.SOURCE_EMPTY): _errors("Fork is empty, there are no commits to create a pull request with"),
    (Invalid, Subject.STATUS_NAME): _field(
        "Invalid status name provided, it should match: ^[a-zA-Z0-9][a-zA-Z0-9-_ .:]+$."
    ),
    (Invalid, Subject.TARGET_BRANCH): _errors("Branch {branch} could not be found in the target repo"),
    (Invalid, Subject.TOKEN_EXPIRY): _field("The new token would outlive this one, which expires at {limit}."),
    (Invalid, Subject.TOO_LONG): _field("Field cannot be longer than {limit} characters."),
    (Invalid, Subject.TOO_MANY_BOARDS): _errors("A tracker has {limit} boards at most."),
    (Invalid, Subject.TOO_MANY_PLACEMENTS): _errors("Up to {limit} issues can be placed at once."),
    (Invalid, Subject.TOO_MANY_STATUSES): _errors("A board has {limit} statuses at most."),
    (Invalid, Subject.TOO_MANY_WEB_HOOKS): _field("A project has up to {limit} web hooks."),
    (Invalid, Subject.UNRELATED_PROJECTS): _field("The two projects have no history in common."),
    (Invalid, Subject.URL_LOGIN): _field("It would show a user or password to everybody."),
    (Invalid, Subject.USER): _message('No user "{name}" found'),
    (Invalid, Subject.VALUE): _field("Invalid input."),
    (Malformed, Subject.BODY): Answer(400, "EINVALIDREQ"),
    (Conflict, Subject.COMMAND_REPEATED): _message("This was carried out before; its answer is not kept.", 409),
    (Conflict, Subject.CONTENTION): _message("Too many changes at once; try again.", 409),
    (Conflict, Subject.FORK): _message('Repo "forks/{owner}/{name}" already exists'),
    (Conflict, Subject.IDEMPOTENCY_KEY_IN_USE): _message(
        "A request with this key is being carried out, or was and its answer is not kept.", 409
    ),
    (Conflict, Subject.PATH): Answer(400, "EDBERROR"),
    (Conflict, Subject.PROJECT): _message('It is not possible to create the repo "{path}"'),
    (Conflict, Subject.PULL_REQUEST_CLOSED): _errors(
        "This pull-request was merged or closed by {username}", 409, "EPRCONFLICTS"
    ),
    (Conflict, Subject.REFS): _message("Refs kept changing; try again."),
    (Conflict, Subject.REPOSITORY): _message("The repository is still being made; try again."),
    (Conflict, Subject.RESERVED_PATH): _message(
        'No project "{path}" are allowed to be created due to potential conflicts in URLs with pagure itself'
    ),
    (Conflict, Subject.TAG): Answer(400, "EDBERROR"),
    (Conflict, Subject.TAG_IN_USE): _message("This is the tag of a board: {boards}"),
}

# Actions whose refusal has a code of its own.
ACTIONS = {
    "configure-project": "EMODIFYPROJECTNOTALLOWED",
    "manage-access": "EMODIFYPROJECTNOTALLOWED",
    "transfer-project": "ENOTMAINADMIN",
}

# Refusals that no endpoint of this dialect can meet: Pagure lacks the feature, or has another way to do it.
UNSERVED: frozenset[Key] = frozenset({
    (NotFound, Subject.DELIVERY),
    (NotFound, Subject.EVENT),
    (NotFound, Subject.FLAG),
    (NotFound, Subject.ID),
    (NotFound, Subject.MIRROR),
    (NotFound, Subject.SUBSCRIPTION),
    (NotFound, Subject.TOKEN),
    (Forbidden, Subject.ADMIN_GROUP),
    (Forbidden, Subject.ADMINISTRATION),
    (Forbidden, Subject.CANCEL_TASK),
    (Forbidden, Subject.NEW_GROUPS),
    (Forbidden, Subject.SUBSCRIPTIONS),
    (Forbidden, Subject.USER),
    (Invalid, Subject.ACLS),
    (Invalid, Subject.EMAIL),
    (Invalid, Subject.ENDPOINT),
    (Invalid, Subject.ENDPOINT_LOGIN),
    (Invalid, Subject.EVENT_TYPE),
    (Invalid, Subject.FULLNAME),
    (Invalid, Subject.GROUP_NAME),
    (Invalid, Subject.HEADER_NAME),
    (Invalid, Subject.HEADER_VALUE),
    (Invalid, Subject.PROJECT_REQUIRED),
    (Invalid, Subject.RESERVED_NAME),
    (Invalid, Subject.SECRET),
    (Invalid, Subject.TAG_NAME),
    (Invalid, Subject.TAG_STYLE),
    (Invalid, Subject.TOKEN_LENGTH),
    (Invalid, Subject.TOO_MANY_HEADERS),
    (Invalid, Subject.USERNAME),
    (Conflict, Subject.SUBSCRIPTION_ENDED),
    (Conflict, Subject.TAKEN),
    (Conflict, Subject.TASK_ENDED),
    (Conflict, Subject.TOO_MANY_SUBSCRIPTIONS),
    (Conflict, Subject.WEB_HOOK),
})  # fmt: skip

PUSH_DECLINED = "Remote hook declined the push: "
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
    PushReason.FORGE_REF: "This ref is the forge's own.",
    PushReason.MIRROR: "This project is a mirror, and changes where it is mirrored from.",
    PushReason.NEW_BRANCH: "This project takes no new branches.",
    PushReason.NOT_FORWARD: "This branch only moves forward.",
    PushReason.PULL_REQUESTS_ONLY: "Branches of this project are changed by pull-requests only.",
    PushReason.SOME_BRANCHES_ONLY: "You may push to some branches only.",
    PushReason.UNDELETABLE: "This branch is not to be deleted.",
    PushReason.UNREADABLE: "The commits of this push cannot be read.",
    PushReason.UNSIGNED: "Commit {commit} is not signed off.",
}

FIELDS = {
    "expires_at": "expiration_date",
    "content": "issue_content",
    "color": "tag_color",
    "description": "tag_description",
}


class ApiError(Exception):
    """An error that the dialect raises itself. `errors` is omitted from the reply if None."""

    def __init__(self, status: int, code: str, *, message: str | None = None, errors: Any = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors


def invalid_request(errors: Mapping[str, list[str]] | None = None) -> ApiError:
    return ApiError(400, "EINVALIDREQ", errors=errors)


def bad_token(errors: str | None = None) -> ApiError:
    return ApiError(401, "EINVALIDTOK", errors=errors)


def foreign_token() -> ApiError:
    """A good token that was made for another project, or for none. Advice to renew it would not help."""
    return ApiError(401, "EINVALIDTOK", message="Invalid token: this call takes one that was made for this project")


def describe_push_refusal(reason: str, commit: str = "") -> str:
    return PUSH_DECLINED + fill(PUSH_REFUSALS[PushReason(reason)], {"commit": commit})


def render_refusal(refused: Refused) -> ApiError:
    """Translate a refusal of the core."""
    answer = WORDS.get((type(refused), refused.subject))
    if answer is None:  # in UNSERVED, but it occurred
        status = {NotFound: 404, Forbidden: 401}.get(type(refused), 400)
        return ApiError(status, "ENOCODE", message=describe_refusal(refused))
    params = refused.params
    if refused.subject is Subject.REF:
        params = {"refusal": describe_push_refusal(params["reason"], params["commit"])}
    code = ACTIONS.get(params["action"], answer.code) if refused.subject is Subject.ACTION else answer.code
    sentence = fill(answer.sentence, params)
    if not sentence:
        return ApiError(answer.status, code)
    match answer.shape:
        case Shape.MESSAGE:
            return ApiError(answer.status, code, message=sentence)
        case Shape.TEXT:
            return ApiError(answer.status, code, errors=sentence)
        case Shape.LIST:
            return ApiError(answer.status, code, errors=[sentence])
        case Shape.FIELD:
            return ApiError(answer.status, code, errors={FIELDS.get(refused.field, refused.field): [sentence]})


def render_envelope(request: web.Request, error: ApiError) -> web.Response:
    message = error.message or MESSAGES[error.code].replace("{url}", request.config_dict[SETTINGS].url)
    body = {"error": message, "error_code": error.code}
    if error.errors is not None:
        body["errors"] = error.errors
    headers = {"WWW-Authenticate": "token"} if error.code == "EINVALIDTOK" else {}
    return json_reply(body, error.status, headers=headers)


HTTP_ERRORS = {
    404: "Not found",
    405: "Method not allowed",
    408: "The request did not arrive in time",
    413: "The request is too large",
    429: "Too many requests; try again later",
}


def to_api_error(error: Exception) -> ApiError | None:
    """Translate an error; None if it has no translation."""
    match error:
        case ApiError():
            return error
        case Refused():
            return render_refusal(error)
        case web.HTTPException():
            return ApiError(error.status, "ENOCODE", message=HTTP_ERRORS.get(error.status, error.reason))
        case Unavailable():
            return ApiError(503, "EDBERROR")
        case Unexpected():
            return ApiError(500, "ENOCODE", message="Something went wrong on our side.")
    return None


def render_error(request: web.Request, error: Exception) -> web.Response | None:
    if isinstance(error, web.HTTPMethodNotAllowed) and request.method == "OPTIONS" and "GET" in error.allowed_methods:
        return web.Response(headers={"Allow": ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))})
    known = to_api_error(error)
    return render_envelope(request, known) if known else None


async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render every error below /api/0 in the envelope, since clients read JSON unconditionally."""
    return await fence(request, handler, "pagure", render_error)
