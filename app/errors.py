"""Refusals of commands and queries, as data. Each dialect renders them in its own words.

Refused
├── NotFound      it does not exist, or it is hidden from this actor
├── Forbidden     it exists, but this actor may not do that
├── Invalid       a value of the command is not allowed
├── Malformed     the command cannot be parsed
├── Conflict      the command conflicts with the present state
└── Disabled      the feature is disabled
"""

from enum import StrEnum
from typing import Any


class Subject(StrEnum):
    """What a refusal is about. Together with the kind it says why; parameters fill in names and limits."""

    # Things that are missing, hidden or switched off; some of them are in the way (Conflict).
    BOARD = "board"
    COMMENT = "comment"
    DELIVERY = "delivery"
    EVENT = "event"
    FLAG = "flag"
    GROUP = "group"
    ID = "id"
    INSTALLED_PLUGIN = "installed-plugin"
    ISSUE = "issue"
    ISSUE_TRACKER = "issue-tracker"
    MEMBER = "member"
    MEMBER_USER = "member-user"
    MIRROR = "mirror"
    PLUGIN = "plugin"
    PROJECT = "project"
    PULL_REQUEST = "pull-request"
    PULL_REQUESTS = "pull-requests"
    READ_ONLY_TRACKER = "read-only-tracker"
    SUBSCRIPTION = "subscription"
    TAG = "tag"
    TASK = "task"
    TOKEN = "token"  # noqa: S105 - the name of a thing, not one
    USER = "user"

    # What an instance's administrators have switched off (app/core/instance_policy.py).
    DELETING_PROJECTS = "deleting-projects"
    MIRRORING = "mirroring"
    NEW_GROUPS = "new-groups"
    NEW_PROJECTS = "new-projects"
    PRIVATE_PROJECTS = "private-projects"

    # What somebody may not do. ACTION is one of `access.ACTIONS`, named by the parameter `action`.
    ACTION = "action"
    ADD_MEMBER = "add-member"
    ADMIN_GROUP = "admin-group"
    ADMINISTRATION = "administration"
    BLOCKED = "blocked"
    BLOCK_USERS = "block-users"
    CANCEL_TASK = "cancel-task"
    CLOSE_PULL_REQUEST = "close-pull-request"
    EDIT_ISSUE = "edit-issue"
    EDIT_PULL_REQUEST = "edit-pull-request"
    MERGE_OF_ANOTHERS = "merge-of-anothers"
    READ_HOOK_TOKEN = "read-hook-token"  # noqa: S105 - likewise
    READ_ISSUE = "read-issue"
    REBASE_PULL_REQUEST = "rebase-pull-request"
    REF = "ref"
    REMOVE_MEMBER = "remove-member"
    SCORE = "score"
    SUBSCRIPTIONS = "subscriptions"
    TRIAGE_ISSUE = "triage-issue"
    UNASSIGNED_PULL_REQUEST = "unassigned-pull-request"

    # Values of a field that cannot be taken.
    ACLS = "acls"
    BODY = "body"
    CHOICE = "choice"
    CUSTOM_FIELD = "custom-field"
    CUSTOM_FIELD_LINK = "custom-field-link"
    EMAIL = "email"
    ENDPOINT = "endpoint"
    ENDPOINT_LOGIN = "endpoint-login"
    EVENT_TYPE = "event-type"
    FULLNAME = "fullname"
    GROUP_NAME = "group-name"
    HEADER_NAME = "header-name"
    HEADER_VALUE = "header-value"
    NAME_REQUIRED = "name-required"
    NAMESPACE = "namespace"
    PROJECT_REQUIRED = "project-required"
    REQUIRED = "required"
    RESERVED_NAME = "reserved-name"
    SECRET = "secret"  # noqa: S105 - likewise
    STATUS_NAME = "status-name"
    TAG_NAME = "tag-name"
    TAG_STYLE = "tag-style"
    TOKEN_LENGTH = "token-length"  # noqa: S105 - likewise
    TOO_LONG = "too-long"
    USERNAME = "username"
    VALUE = "value"

    # Limits.
    TOO_MANY_BOARDS = "too-many-boards"
    TOO_MANY_HEADERS = "too-many-headers"
    TOO_MANY_PLACEMENTS = "too-many-placements"
    TOO_MANY_STATUSES = "too-many-statuses"
    TOO_MANY_SUBSCRIPTIONS = "too-many-subscriptions"
    TOO_MANY_WEB_HOOKS = "too-many-web-hooks"

    # How things stand.
    ACCESS = "access"
    BOARD_STATUS = "board-status"
    BOARD_TAG = "board-tag"
    COMMAND_REPEATED = "command-repeated"
    CONTENTION = "contention"
    DEFAULT_STATUS = "default-status"
    DEPENDENCY_CYCLE = "dependency-cycle"
    FORK = "fork"
    GROUP_CREATOR = "group-creator"
    IDEMPOTENCY_KEY = "idempotency-key"
    IDEMPOTENCY_KEY_IN_USE = "idempotency-key-in-use"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    NO_CUSTOM_FIELDS = "no-custom-fields"
    OPEN_DEPENDENCIES = "open-dependencies"
    PATH = "path"
    PLACED_ISSUE = "placed-issue"
    PULL_REQUEST_CLOSED = "pull-request-closed"
    PULL_REQUEST_NOT_CLOSED = "pull-request-not-closed"
    REFS = "refs"
    REPOSITORY = "repository"
    RESERVED_PATH = "reserved-path"
    SOURCE_BRANCH = "source-branch"
    SOURCE_EMPTY = "source-empty"
    SUBSCRIPTION_ENDED = "subscription-ended"
    TAG_IN_USE = "tag-in-use"
    TAKEN = "taken"
    TARGET_BRANCH = "target-branch"
    TASK_ENDED = "task-ended"
    UNRELATED_PROJECTS = "unrelated-projects"
    WEB_HOOK = "web-hook"


class Refused(Exception):
    """`field` is the input field that is to blame, if one is; `params` are what a sentence has to name."""

    def __init__(self, subject: Subject, field: str = "", **params: Any) -> None:
        super().__init__(str(subject), field, params)
        self.subject = subject
        self.field = field
        self.params = params


class NotFound(Refused): ...


class Forbidden(Refused): ...


class Invalid(Refused): ...


class Malformed(Refused): ...


class Conflict(Refused): ...


class Disabled(Refused): ...
