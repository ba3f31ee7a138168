"""How Pagure says no: (kind, subject) into its status, code and fixed sentence."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import SETTINGS
from app.http.responses import json_reply
from app.http.routes import Handler

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

WORDS: dict[tuple[type[Refused], str], tuple[int, str]] = {
    (NotFound, "project"): (404, "ENOPROJECT"),
    (NotFound, "issue"): (404, "ENOISSUE"),
    (NotFound, "comment"): (404, "ENOCOMMENT"),
    (NotFound, "user"): (404, "ENOUSER"),
    (NotFound, "group"): (404, "ENOGROUP"),
    (NotFound, "tag"): (404, "ENOTAG"),
    (NotFound, "plugin"): (404, "ENOPLUGIN"),
    (NotFound, "installed plugin"): (400, "EPLUGINNOTINSTALLED"),
    (Disabled, "plugin"): (404, "EPLUGINDISABLED"),
    (Forbidden, "configure-project"): (401, "EMODIFYPROJECTNOTALLOWED"),
    (Forbidden, "manage-access"): (401, "EMODIFYPROJECTNOTALLOWED"),
    (Forbidden, "transfer-project"): (401, "ENOTMAINADMIN"),
    (Conflict, "tag"): (400, "EDBERROR"),
    (Conflict, "address"): (400, "EDBERROR"),
    (Forbidden, "read-issue"): (403, "EISSUENOTALLOWED"),
    (Forbidden, "edit-issue"): (403, "EISSUENOTALLOWED"),
    (Invalid, "absence of custom fields"): (400, "EINVALIDREQ"),
    (Invalid, "custom field"): (400, "EINVALIDISSUEFIELD"),
    (Invalid, "custom link field"): (400, "EINVALIDISSUEFIELD_LINK"),
    (NotFound, "pull request"): (404, "ENOREQ"),
    (NotFound, "commit"): (404, "ENOCOMMIT"),
    (Forbidden, "close-pull-request"): (403, "ENOPRCLOSE"),
    (Forbidden, "rebase-pull-request"): (403, "EREBASENOTALLOWED"),
    (Forbidden, "tend-pull-request"): (403, "EPRNOTALLOWED"),
    (Forbidden, "unassigned pull request"): (403, "ENOTASSIGNED"),
    (Forbidden, "merge of another's pull request"): (403, "ENOTASSIGNEE"),
    (Forbidden, "score"): (403, "EPRSCORE"),
    (Disabled, "pull requests"): (404, "EPULLREQUESTSDISABLED"),
    (Forbidden, "blocked"): (403, "EUBLOCKED"),
    (Disabled, "issue tracker"): (404, "ETRACKERDISABLED"),
    (Disabled, "writing to the issue tracker"): (401, "ETRACKERREADONLY"),
}

# What Pagure says in words of the moment, under its code for that.
SENTENCES: dict[tuple[type[Refused], str], str] = {
    (Conflict, "idempotency key"): "{}",
    (Invalid, "idempotency key"): "{}",
    (Conflict, "command"): "{}",
    (Conflict, "project"): 'It is not possible to create the repo "{}"',
    (Conflict, "fork"): 'Repo "{}" already exists',
    (
        Conflict,
        "reserved path",
    ): 'No project "{}" are allowed to be created due to potential conflicts in URLs with pagure itself',
    (Forbidden, "ref"): "Remote hook declined the push: {}",
    (Invalid, "assignee"): "{}",
    (Invalid, "dependencies"): "{}",
    (Invalid, "status"): "{}",
    (Invalid, "users"): "{}",
    (Invalid, "tag of a board"): "{}",
    (Invalid, "ticket"): "{}",
    (Invalid, "status on a board"): "{}",
}

STATUSES: dict[tuple[type[Refused], str], int] = {
    (Conflict, "idempotency key"): 409,
    (Invalid, "idempotency key"): 422,
    (Conflict, "command"): 409,
    (NotFound, "board"): 404,
}

FIELDS = {
    "content": "issue_content",
    "issue status": "status",
    "tag color": "tag_color",
    "tag description": "tag_description",
}


# What stands beside a fixed sentence as a text, or as a list of one.
DETAILS: dict[tuple[type[Refused], str], tuple[str, type]] = {
    (Invalid, "access"): ("EINVALIDREQ", str),
    (NotFound, "board"): ("EINVALIDREQ", str),
    (Invalid, "boards"): ("EINVALIDREQ", str),
    (Invalid, "statuses"): ("EINVALIDREQ", str),
    (Invalid, "places"): ("EINVALIDREQ", str),
    (Invalid, "member"): ("EDBERROR", list),
    (NotFound, "member"): ("EDBERROR", list),
    (Forbidden, "manage-members"): ("EDBERROR", list),
}


class ApiError(Exception):
    """An answer that is an error of this dialect's own. `errors` is left out when None."""

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


def render_refusal(refused: Refused) -> ApiError:
    """A refusal of the core."""
    key = (type(refused), refused.subject)
    if key in WORDS:
        return ApiError(*WORDS[key])
    if key in SENTENCES:
        return ApiError(STATUSES.get(key, 400), "ENOCODE", message=SENTENCES[key].format(refused.detail))
    if key in DETAILS:
        code, kind = DETAILS[key]
        return ApiError(STATUSES.get(key, 400), code, errors=[refused.detail] if kind is list else refused.detail)
    match refused:
        case NotFound():
            return ApiError(404, "ENOCODE", message="Not found")
        case Malformed():
            return invalid_request()
        case Forbidden():
            return ApiError(401, "ENOTHIGHENOUGH")
        case Invalid() if refused.subject in ("branch_to", "branch_from"):
            return ApiError(400, "EINVALIDREQ", errors=refused.detail)
        case Invalid():
            field = FIELDS.get(refused.subject, refused.subject)
            return invalid_request({field: [refused.detail or "Invalid input."]})
        case _:
            return ApiError(400, "ENOCODE", message=refused.detail or "This is not possible at the moment.")


def render_envelope(request: web.Request, error: ApiError) -> web.Response:
    message = error.message or MESSAGES[error.code].replace("{url}", request.config_dict[SETTINGS].url)
    body = {"error": message, "error_code": error.code}
    if error.errors is not None:
        body["errors"] = error.errors
    return json_reply(body, error.status)


def to_api_error(error: Exception) -> ApiError | None:
    """What Pagure says of an error; None for one that it has no words for."""
    match error:
        case ApiError():
            return error
        case Refused():
            return render_refusal(error)
        case web.HTTPMethodNotAllowed():
            return ApiError(405, "ENOCODE", message="Method not allowed")
        case web.HTTPNotFound():
            return ApiError(404, "ENOCODE", message="Not found")
        case web.HTTPRequestEntityTooLarge():
            return ApiError(413, "ENOCODE", message="The request is too large")
        case web.HTTPException():
            return ApiError(error.status, "ENOCODE", message=error.reason)
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
    """Clients read JSON unconditionally, so every error below /api/0 is answered in the envelope."""
    return await fence(request, handler, "pagure", render_error)
