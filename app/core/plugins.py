"""The plugins of a project, and the commands to install and remove them.

push_policy.py enforces those that restrict pushes; commit references are applied by workers/commits.py. Of the others
only the settings are stored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.core.urls import require_no_login, require_public_place
from app.errors import Disabled, Invalid, NotFound, Subject
from events.projects import PluginInstalled, PluginRemoved
from events.record import NewEvent

MAX_TEXT_LENGTH = 4096  # characters of a text


class FieldKind(Enum):
    TEXT = "text"
    URL = "url"  # a text with the address of a service, which everybody may see
    REQUIRED = "required"  # a text that must not be empty
    FLAG = "flag"
    SECRET = "secret"  # noqa: S105 - kept by project_secrets.py, never in an event
    WRITTEN_BY_FORGE = "written-by-forge"  # shown, but not set by users


TEXT, URL, REQUIRED, FLAG, SECRET, WRITTEN_BY_FORGE = FieldKind

BLOCK_UNSIGNED = "block-unsigned"
BLOCK_NON_FAST_FORWARD = "block-non-fast-forward"
BLOCK_NEW_BRANCHES = "block-new-branches"
CI = "ci"
COMMIT_REFERENCES = "commit-references"

# Source: project contract 12.19.
PLUGINS: dict[str, dict[str, FieldKind]] = {
    BLOCK_UNSIGNED: {},
    BLOCK_NON_FAST_FORWARD: {"branches": TEXT},
    BLOCK_NEW_BRANCHES: {},
    CI: {"ci_type": TEXT, "ci_url": URL, "ci_job": TEXT, "active_commit": FLAG, "active_pr": FLAG},
    COMMIT_REFERENCES: {},
    "fedmsg": {},
    "irc": {
        "server": TEXT, "port": TEXT, "room": TEXT, "nick": TEXT, "nick_pass": SECRET, "join": FLAG, "ssl": FLAG,
    },
    "mail": {"mail_to": REQUIRED},
    "mirroring": {"target": URL, "public_key": WRITTEN_BY_FORGE, "last_log": WRITTEN_BY_FORGE},
    "pull-request-repository": {},
    "read-the-docs": {"api_url": URL, "api_token": SECRET, "branches": TEXT},
    "ticket-repository": {},
}  # fmt: skip


def plugin_fields(project: Mapping[str, Any], plugin: str) -> Mapping[str, Any] | None:
    """The fields of an installed plugin; None if it is not installed."""
    found = project["plugins"].get(plugin)
    return found["fields"] if found else None


def secret_fields(plugin: str) -> list[str]:
    """The names of a plugin's secret fields."""
    return [name for name, kind in PLUGINS[plugin].items() if kind is SECRET]


def secret_name(plugin: str, name: str) -> str:
    """The name of a secret field among the secrets of its project."""
    return f"{plugin}.{name}"


@dataclass(frozen=True, kw_only=True)
class InstallPlugin(Command):
    """Install a plugin or change its fields. `secrets` names the secret fields that have a value."""

    project_id: int
    plugin: str
    fields: dict[str, str | bool | None] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


@handles(InstallPlugin)
async def install_plugin(ctx: CommandContext, command: InstallPlugin) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require_allowed(project, command.plugin, command.fields)
    require(ctx.actor, "configure-project", project)
    if project["plugins"].get(command.plugin) == {"fields": command.fields, "secrets": command.secrets}:
        return []
    return [NewEvent(PluginInstalled(**asdict(command)), None)]


def require_allowed(project: Mapping[str, Any], plugin: str, values: Mapping[str, str | bool | None]) -> None:
    """Refuse plugins that the project cannot have, and values that are not valid for their fields."""
    require_known(project, plugin)
    for name, kind in PLUGINS[plugin].items():
        value = values.get(name)
        if kind is REQUIRED and not value:
            raise Invalid(Subject.REQUIRED, name)
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
            raise Invalid(Subject.TOO_LONG, name, limit=MAX_TEXT_LENGTH)
        if isinstance(value, str) and kind is not SECRET:
            (require_public_place if kind is URL else require_no_login)(value, name)


def require_known(project: Mapping[str, Any], plugin: str) -> None:
    if plugin not in PLUGINS:
        raise NotFound(Subject.PLUGIN)
    if plugin == CI and project["private"]:
        raise Disabled(Subject.PLUGIN)


@dataclass(frozen=True, kw_only=True)
class RemovePlugin(Command):
    project_id: int
    plugin: str


@handles(RemovePlugin)
async def remove_plugin(ctx: CommandContext, command: RemovePlugin) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require_known(project, command.plugin)
    require(ctx.actor, "configure-project", project)
    if command.plugin not in project["plugins"]:
        raise NotFound(Subject.INSTALLED_PLUGIN)
    return [NewEvent(PluginRemoved(project_id=command.project_id, plugin=command.plugin), None)]
