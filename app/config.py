"""Settings, read once from `POLYFORGE_*` environment variables."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import orjson
import pygit2
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "POLYFORGE_"
# Variables that options of the command line are read from; they are no settings of the forge.
COMMAND_VARIABLES = frozenset({"URL", "TOKEN", "TOKEN_FILE", "PASSWORD", "PASSWORD_FILE", "HOOK_SECRET"})
DATABASE_SCHEMES = ("postgresql", "postgres")
QUEUE_SCHEMES = ("redis", "rediss", "unix")
DAY = 86_400  # seconds
TOKEN = re.compile(r"[!-~]{20,1000}\Z")


class SettingError(Exception):
    """The forge cannot run with a setting, also not later. The message names the setting and is for the user."""


def split_list(value: Any) -> Any:
    """Read a list that is written with commas or as JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith(("[", "{", '"')):
        return [item for part in value.split(",") if (item := part.strip())]
    try:
        loaded = orjson.loads(value)
    except ValueError:
        raise ValueError("must be a list with commas, such as a,b, or a JSON list") from None
    return [loaded] if isinstance(loaded, str) else loaded


def parse_network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be networks such as 10.20.0.0/16, but {error}") from None


def check_url(schemes: tuple[str, ...], host: bool = True) -> AfterValidator:
    """Make a validator of URLs, which never repeats the URL: it may contain a password."""
    known = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(value: str) -> str:
        try:
            parts = urlsplit(value)
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in schemes:
            raise ValueError(f"must be a URL that begins with {known}")
        if host and not parts.netloc:
            raise ValueError(f"must be a URL with a host, such as {schemes[0]}://forge.example")
        return value

    return AfterValidator(check)


def check_branch(value: str) -> str:
    if value in ("", "HEAD") or value.startswith("-") or not pygit2.reference_is_valid_name(f"refs/heads/{value}"):
        raise ValueError("must be a name that git takes for a branch")
    return value


def check_token(value: SecretStr) -> SecretStr:
    """Refuse a token that could not be sent in a header, or only in some encodings."""
    if not TOKEN.match(value.get_secret_value()):
        raise ValueError("must have 20 to 1,000 characters: letters, digits and signs of ASCII, without spaces")
    return value


Network: TypeAlias = IPv4Network | IPv6Network
Names = Annotated[list[str], NoDecode, BeforeValidator(split_list)]
Networks = Annotated[list[Annotated[Network, BeforeValidator(parse_network)]], NoDecode, BeforeValidator(split_list)]
AdminToken = Annotated[SecretStr, AfterValidator(check_token)]


class Settings(BaseSettings):
    """The field `name` is read from the variable `POLYFORGE_NAME`."""

    model_config = SettingsConfigDict(env_prefix="POLYFORGE_", env_ignore_empty=True, frozen=True)

    data: Path = Field(Path("var"), description="Data directory, with repositories and embedded services.")
    database_url: Annotated[str, check_url(DATABASE_SCHEMES, host=False)] | None = Field(
        None, description="PostgreSQL URL. If unset, `up` starts an embedded server."
    )
    redis_url: Annotated[str, check_url(QUEUE_SCHEMES, host=False)] | None = Field(
        None, description="Valkey or Redis URL. If unset, `up` starts an embedded server."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the API listens on.")
    public_url: Annotated[str, check_url(("https", "http"))] | None = Field(
        None, description="Base URL by which clients reach the API. Default: http://HOST:PORT."
    )
    ssh_url: Annotated[str, check_url(("ssh",))] | None = Field(
        None, description="Base of SSH clone URLs, such as ssh://git@forge.example. If unset, none are shown."
    )
    admin_user: str = Field("admin", description="Username of the administrator that is created at first start.")
    admin_token: AdminToken | None = Field(
        None,
        description="Token of the administrator, at least 20 characters of ASCII without spaces. Default: generated.",
    )
    admin_token_file: Path | None = Field(None, description="File with the token of the administrator, instead of it.")
    pool_size: int = Field(10, ge=1, le=1000, description="Maximum number of database connections per process.")
    namespaces: Names = Field([], description="Namespaces in which all users may create projects, with commas.")
    pagure_disabled_plugins: Names = Field(
        [], description="Plugins that projects may not install or remove, by their names in Pagure, with commas."
    )
    new_projects: bool = Field(True, description="Allow the creation of projects.")
    new_groups: bool = Field(True, description="Allow all users to create groups. Administrators always may.")
    private_projects: bool = Field(True, description="Allow private projects.")
    user_namespaces: bool = Field(
        False, description="Create projects without a given namespace in the namespace of their owner."
    )
    delete_projects: bool = Field(True, description="Allow the deletion of projects that are not forks.")
    delete_forks: bool = Field(True, description="Allow the deletion of forks.")
    default_branch: Annotated[str, AfterValidator(check_branch)] = Field(
        "main", description="Default branch of new repositories."
    )
    max_push_bytes: int = Field(2 << 30, ge=1, le=1 << 50, description="Maximum size of a push in bytes.")
    max_push_refs: int = Field(10_000, ge=1, description="Maximum number of refs that one push may change.")
    git_deadline: float = Field(3600.0, gt=0, le=30 * DAY, description="Maximum duration of a git process in seconds.")
    mirroring: bool = Field(True, description="Allow mirrors of remote repositories.")
    mirror_interval: float = Field(3600.0, gt=0, le=365 * DAY, description="Mirror polling interval in seconds.")
    lease: float = Field(
        30.0,
        gt=0,
        le=DAY,
        description="Lease of a job or push in seconds. If not renewed by then, another process takes over.",
    )
    metrics_allow: Networks = Field(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks that may read /metrics without the token of an administrator, with commas.",
    )
    webhook_allow: Networks = Field(
        [],
        description="Networks besides public ones that webhooks and mirrors may reach, at any port, with commas.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="Minimum level of log lines: debug, info, warning, error or critical."
    )

    @classmethod
    def of(cls, **options: Any) -> "Settings":
        """Load the settings, overridden by those options that are not None."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @cached_property
    def url(self) -> str:
        """The public base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def repositories(self) -> Path:
        return self.data / "repositories"

    @property
    def attachments(self) -> Path:
        return self.data / "attachments"

    def required_database_url(self) -> str:
        if not self.database_url:
            raise SettingError("POLYFORGE_DATABASE_URL is not set. (`polyforge up` needs no database of its own.)")
        return self.database_url

    def required_redis_url(self) -> str:
        if not self.redis_url:
            raise SettingError("POLYFORGE_REDIS_URL is not set. (`polyforge up` needs no queue of its own.)")
        return self.redis_url

    def read_admin_token(self) -> str | None:
        """Return the administrator's token from its setting or its file. Raises SettingError."""
        path = self.admin_token_file
        if path is None:
            return self.admin_token.get_secret_value() if self.admin_token else None
        if self.admin_token is not None:
            raise SettingError("POLYFORGE_ADMIN_TOKEN and POLYFORGE_ADMIN_TOKEN_FILE are both set. Unset one of them.")
        try:
            token = read_secret(path)
            check_token(SecretStr(token))
        except OSError as error:
            raise SettingError(f"POLYFORGE_ADMIN_TOKEN_FILE: cannot read {path}: {error.strerror}.") from None
        except ValueError as error:
            raise SettingError(f"POLYFORGE_ADMIN_TOKEN_FILE: the token in {path} {error}.") from None
        return token


def read_secret(path: Path) -> str:
    """Read a secret from the first line of a file. Raises OSError and ValueError."""
    return path.read_bytes().decode(errors="replace").partition("\n")[0].strip()


def list_unknown_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return the `POLYFORGE_*` variables that nothing reads, each with the most similar one that is read."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, *COMMAND_VARIABLES)}
    unknown = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), known, 1)), None) for name in unknown}
