"""What differs between the envelopes of the two dialects, and the call that a method gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import access
from app.core.commands import Command, Outcome
from app.database import Database
from app.dialects.jsonrpc.methods import Methods
from app.http import commands
from app.http.keys import ACTION, DATABASE, SETTINGS


@dataclass(frozen=True, kw_only=True)
class Words:
    """The texts of a dialect's envelope.

    `empty_body` is None if an empty body is answered as JSON that cannot be parsed, and `private_method` if a method
    whose name begins with an underscore is answered as an unknown one.
    """

    no_length: str
    empty_body: str | None
    missing: str  # with {name}
    missing_key: str
    bad_key: str
    private_method: str | None


@dataclass(frozen=True, kw_only=True)
class RpcDialect:
    """One of the two dialects."""

    name: str
    product: str
    words: Words
    methods: Methods

    # The envelope.
    ignores_extra_slashes: bool  # otherwise they are a page that is not found
    refuses_http_methods: bool  # in the envelope; otherwise they are answered 405
    echoes_id_without_key: bool
    empty_key_is_missing: bool
    method_before_key: bool  # which of the two is checked first
    suggests_methods: bool  # with names that are similar to an unknown one
    drops_unknown_arguments: bool  # otherwise they are an error
    first_missing_argument: bool  # of several, the first one is named; otherwise the last

    # The objects.
    extern_type: str  # of users who log in here
    unset_uri: str | None  # how a repository without a remote is shown
    admin_permissions: tuple[str, ...]  # the global ones of an administrator
    lists_empty_repositories: bool  # an empty repository has no nodes; otherwise asking for them fails


DIALECTS: dict[str, RpcDialect] = {}


def register(dialect: RpcDialect) -> RpcDialect:
    """Make the dialect known to the bare mount."""
    DIALECTS[dialect.name] = dialect
    return dialect


@dataclass(frozen=True)
class Call:
    """A call of a method: its actor, its dialect and its arguments as they were sent. `project` is the repository that
    the method is about, or None.
    """

    request: web.Request
    actor: Actor
    dialect: RpcDialect
    args: Mapping[str, Any]
    project: Mapping[str, Any] | None = None

    @property
    def db(self) -> Database:
        return self.request.config_dict[DATABASE]

    @cached_property
    def url(self) -> str:
        """The base of the forge's own URLs."""
        return str(self.request.config_dict[SETTINGS].url)

    async def execute(self, command: Command, *, seen: Any = None) -> Outcome:
        """Execute a command under the action of the method.

        In these dialects an action about a repository takes its level, also if the command admits others. Raises
        Refused.
        """
        if self.project is not None:
            access.require(self.actor, self.request[ACTION], self.project)
        return await commands.execute(self.request, self.actor, command, seen=seen or self.project)
