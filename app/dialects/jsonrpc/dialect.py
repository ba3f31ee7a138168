"""What differs between the envelopes of the two dialects, and the call that a method gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.commands import Command, Outcome
from app.database import Database
from app.dialects.jsonrpc.methods import Methods
from app.http import commands
from app.http.keys import DATABASE, SETTINGS


@dataclass(frozen=True, kw_only=True)
class Words:
    """The texts of a dialect's envelope. `empty_body` is None where an empty body is JSON that cannot be parsed."""

    no_length: str
    empty_body: str | None
    missing: str  # with {name}
    missing_key: str
    bad_key: str


@dataclass(frozen=True, kw_only=True)
class RpcDialect:
    """One of the two dialects.

    `lenient` says that RhodeCode's order and tolerance hold: slashes too many are ignored, other HTTP methods are
    refused in the envelope, the method is looked up before the key, unknown arguments are dropped, and the first
    missing one is named. Otherwise Kallithea's do.
    """

    name: str
    product: str
    words: Words
    methods: Methods
    lenient: bool
    extern_type: str  # of users who log in here
    unset_uri: str | None  # how a repository without a remote is shown


DIALECTS: dict[str, RpcDialect] = {}


def register(dialect: RpcDialect) -> RpcDialect:
    """Make the dialect known to the bare mount."""
    DIALECTS[dialect.name] = dialect
    return dialect


@dataclass(frozen=True)
class Call:
    """A call of a method: who makes it, in which dialect, with which arguments, as they were sent. `project` is the
    repository that it is about, if it is.
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
        """Execute a command under the action of the method."""
        return await commands.execute(self.request, self.actor, command, seen=seen or self.project)
