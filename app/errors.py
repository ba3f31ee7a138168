"""Refusals of commands and queries, as data. Each dialect renders them in its own words.

Refused
├── NotFound      it does not exist, or it is hidden from this actor
├── Forbidden     it exists, but this actor may not do that
├── Invalid       a value of the command is not allowed
├── Malformed     the command cannot be parsed
├── Conflict      the command conflicts with the present state
└── Disabled      the feature is disabled
"""

from enum import StrEnum, auto
from typing import Any


class Subject(StrEnum):
    """What a refusal is about. Together with the kind it says why; parameters fill in names and limits.

    The values, which logs show, are the names in kebab case.
    """

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name.lower().replace("_", "-")

    # Things that are missing, hidden or switched off; some of them are in the way (Conflict).
    BOARD = auto()
    COMMENT = auto()
    DELIVERY = auto()
    EVENT = auto()
    FLAG = auto()
    GROUP = auto()
    ID = auto()
    INSTALLED_PLUGIN = auto()
    ISSUE = auto()
    ISSUE_TRACKER = auto()
    MEMBER = auto()
    MEMBER_USER = auto()
    MIRROR = auto()
    PLUGIN = auto()
    PROJECT = auto()
    PULL_REQUEST = auto()
    PULL_REQUESTS = auto()
    READ_ONLY_TRACKER = auto()
    SUBSCRIPTION = auto()
    TAG = auto()
    TASK = auto()
    TOKEN = auto()
    USER = auto()

    # What an instance's administrators have switched off (app/core/instance_policy.py).
    DELETING_PROJECTS = auto()
    MIRRORING = auto()
    NEW_GROUPS = auto()
    NEW_PROJECTS = auto()
    PRIVATE_PROJECTS = auto()

    # What somebody may not do. ACTION is one of `access.ACTIONS`, named by the parameter `action`.
    ACTION = auto()
    ADD_MEMBER = auto()
    ADMIN_GROUP = auto()
    ADMINISTRATION = auto()
    BLOCKED = auto()
    BLOCK_USERS = auto()
    CANCEL_TASK = auto()
    CLOSE_PULL_REQUEST = auto()
    EDIT_ISSUE = auto()
    EDIT_PULL_REQUEST = auto()
    MERGE_OF_ANOTHERS = auto()
    READ_HOOK_TOKEN = auto()
    READ_ISSUE = auto()
    REBASE_PULL_REQUEST = auto()
    REF = auto()
    REMOVE_MEMBER = auto()
    SCORE = auto()
    SUBSCRIPTIONS = auto()
    TOKEN_SCOPES = auto()
    TRIAGE_ISSUE = auto()
    UNASSIGNED_PULL_REQUEST = auto()

    # Values of a field that cannot be taken.
    ACLS = auto()
    BODY = auto()
    CHOICE = auto()
    CUSTOM_FIELD = auto()
    CUSTOM_FIELD_LINK = auto()
    EMAIL = auto()
    ENDPOINT = auto()
    ENDPOINT_LOGIN = auto()
    EVENT_TYPE = auto()
    FULLNAME = auto()
    GROUP_NAME = auto()
    HEADER_NAME = auto()
    HEADER_VALUE = auto()
    NAME_REQUIRED = auto()
    NAMESPACE = auto()
    PROJECT_REQUIRED = auto()
    REQUIRED = auto()
    RESERVED_NAME = auto()
    SECRET = auto()
    STATUS_NAME = auto()
    TAG_NAME = auto()
    TAG_STYLE = auto()
    TOKEN_EXPIRY = auto()
    TOKEN_LENGTH = auto()
    TOO_LONG = auto()
    URL_LOGIN = auto()
    USERNAME = auto()
    VALUE = auto()

    # Limits.
    TOO_MANY_BOARDS = auto()
    TOO_MANY_HEADERS = auto()
    TOO_MANY_PLACEMENTS = auto()
    TOO_MANY_STATUSES = auto()
    TOO_MANY_SUBSCRIPTIONS = auto()
    TOO_MANY_WEB_HOOKS = auto()

    # How things stand.
    ACCESS = auto()
    BOARD_STATUS = auto()
    BOARD_TAG = auto()
    COMMAND_REPEATED = auto()
    CONTENTION = auto()
    DEFAULT_STATUS = auto()
    DEPENDENCY_CYCLE = auto()
    FORK = auto()
    GROUP_CREATOR = auto()
    IDEMPOTENCY_KEY = auto()
    IDEMPOTENCY_KEY_IN_USE = auto()
    IDEMPOTENCY_KEY_REUSED = auto()
    NO_CUSTOM_FIELDS = auto()
    OPEN_DEPENDENCIES = auto()
    PATH = auto()
    PLACED_ISSUE = auto()
    PULL_REQUEST_CLOSED = auto()
    PULL_REQUEST_NOT_CLOSED = auto()
    REFS = auto()
    REPOSITORY = auto()
    RESERVED_PATH = auto()
    SAME_BRANCH = auto()
    SOURCE_BRANCH = auto()
    SOURCE_EMPTY = auto()
    SUBSCRIPTION_ENDED = auto()
    TAG_IN_USE = auto()
    TAKEN = auto()
    TARGET_BRANCH = auto()
    TASK_ENDED = auto()
    UNRELATED_PROJECTS = auto()
    WEB_HOOK = auto()


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
