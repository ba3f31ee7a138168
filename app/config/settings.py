"""Settings, read once from `POLYFORGE_*` environment variables."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.config.types import (
    DATABASE_SCHEMES,
    DAY,
    QUEUE_SCHEMES,
    AdminToken,
    Faults,
    GitLimits,
    Names,
    Networks,
    Rate,
    SecretsKeys,
    SettingError,
    check_branch,
    check_token,
    check_url,
    complete_limits,
    split_keys,
)

PREFIX = "POLYFORGE_"
# Variables that options of the command line are read from, and one of the tests (app/points.py); they are no settings.
COMMAND_VARIABLES = frozenset({"URL", "TOKEN", "TOKEN_FILE", "PASSWORD", "PASSWORD_FILE", "HOOK_SECRET", "POINTS"})


class Settings(BaseSettings):
    """The field `name` is read from the variable `POLYFORGE_NAME`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    data: Path = Field(Path("var"), description="Data directory, with repositories and embedded services.")
    database_url: Annotated[str, check_url(DATABASE_SCHEMES, host=False)] | None = Field(
        None, description="PostgreSQL URL. If unset, `up` starts an embedded server."
    )
    redis_url: Annotated[str, check_url(QUEUE_SCHEMES, host=False)] | None = Field(
        None, description="Valkey or Redis URL. If unset, `up` starts an embedded server."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the API listens on.")
    api_processes: int = Field(
        1, ge=1, description="Number of `serve` processes that share the port. With 1, a second one refuses to start."
    )
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
    admin_token_file: Path | None = Field(None, description="File that contains the token of the administrator.")
    secrets_key_file: Path | None = Field(
        None,
        description="File with the keys that seal secrets in the database. Default: secrets.key in POLYFORGE_DATA.",
    )
    secrets_keys: SecretsKeys | None = Field(
        None, description="The keys themselves, separated by commas, the newest first. If set, no key file is read."
    )
    pool_size: int = Field(10, ge=1, le=1000, description="Maximum number of database connections per process.")
    namespaces: Names = Field([], description="Namespaces in which all users may create projects, separated by commas.")
    pagure_disabled_plugins: Names = Field(
        [],
        description="Plugins that projects may not install or remove, by their names in Pagure, separated by commas.",
    )
    new_projects: bool = Field(True, description="Allow the creation of projects.")
    new_groups: bool = Field(True, description="Allow all users to create groups. Administrators always may.")
    private_projects: bool = Field(True, description="Allow private projects.")
    user_namespaces: bool = Field(
        False, description="Create projects without a given namespace in the namespace of their owner."
    )
    delete_projects: bool = Field(True, description="Allow the deletion of projects that are not forks.")
    delete_forks: bool = Field(True, description="Allow the deletion of forks.")
    jsonrpc_default: Literal["rhodecode", "kallithea"] = Field(
        "rhodecode",
        description="Dialect of JSON-RPC at /_admin/api: rhodecode or kallithea. Each has its own address besides.",
    )
    default_branch: Annotated[str, AfterValidator(check_branch)] = Field(
        "main", description="Default branch of new repositories."
    )
    max_push_bytes: int = Field(2 << 30, ge=1, le=1 << 50, description="Maximum size of a push in bytes.")
    max_fetch_request_bytes: int = Field(
        8 << 20, gt=0, description="Maximum size in bytes of what a client asks for in a fetch, decompressed."
    )
    fetches: int = Field(32, gt=0, description="Maximum number of fetches that an API process serves at a time.")
    fetches_per_project: int = Field(
        16, gt=0, description="Maximum number of fetches from one project that an API process serves at a time."
    )
    fetches_per_address: int = Field(
        16, gt=0, description="Maximum number of fetches by one address that an API process serves at a time."
    )
    fetch_wait: float = Field(
        15.0, ge=0, le=DAY, description="Seconds that a fetch waits for its turn before the response is 503."
    )
    max_push_refs: int = Field(10_000, ge=1, description="Maximum number of refs that one push may change.")
    git_deadline: float = Field(3600.0, gt=0, le=30 * DAY, description="Maximum duration of a git process in seconds.")
    git_read: Annotated[GitLimits, NoDecode] = Field(
        GitLimits(memory=1 << 30, cpu=20, seconds=60, output=256 << 20),
        description="Limits of a git process that reads or compares, as a JSON object with any of `memory` (bytes), "
        "`cpu` (seconds), `seconds` and `output` (bytes).",
    )
    git_change: Annotated[GitLimits, NoDecode] = Field(
        GitLimits(memory=2 << 30, cpu=300, seconds=600, output=64 << 20),
        description="Limits of a git process that merges, rebases, moves a ref or copies between repositories.",
    )
    git_fetch: Annotated[GitLimits, NoDecode] = Field(
        GitLimits(memory=4 << 30, cpu=1800, seconds=3600, output=64 << 30),
        description="Limits of a git process that serves a fetch or a clone.",
    )
    git_push: Annotated[GitLimits, NoDecode] = Field(
        GitLimits(memory=2 << 30, cpu=1800, seconds=3600, output=64 << 20),
        description="Limits of a git process that receives a push.",
    )
    git_mirror: Annotated[GitLimits, NoDecode] = Field(
        GitLimits(memory=2 << 30, cpu=1800, seconds=3600, output=4 << 20),
        description="Limits of a git process that fetches into a mirror.",
    )
    git_accepted_faults: Faults = Field(
        ["badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"],
        description="Faults of old tools that pushes and mirrors may contain, by git's names, separated by commas.",
    )
    fsync: Literal["batch", "each", "off"] = Field(
        "batch",
        description="How changes are brought to disk before they are acknowledged: `batch`, `each` for file systems "
        "that do not keep the order of writes, or `off` for tests, where a power cut may lose anything.",
    )
    long_reads: int = Field(
        16,
        ge=1,
        description="Number of long reads, such as patches, that one API process does at a time.",
    )
    long_read_queue: int = Field(
        32,
        ge=1,
        description="Number of long reads that may wait, for up to 5 seconds, in one API process. Others get a 503.",
    )
    trusted_proxies: Networks = Field(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks of proxies whose X-Forwarded-For names the origin of a request, separated by commas.",
    )
    head_timeout: float = Field(
        20.0,
        gt=0,
        le=DAY,
        description="Seconds within which the head of a request has to arrive, on a new connection after its start.",
    )
    client_pause: float = Field(
        30.0, gt=0, le=DAY, description="Seconds that a client may pause while it sends a body or reads a response."
    )
    min_client_rate: float = Field(
        500.0,
        ge=0,
        le=1 << 30,
        description="Bytes per second that a client has to send or read on average over POLYFORGE_CLIENT_PAUSE.",
    )
    keep_alive: float = Field(75.0, gt=0, le=DAY, description="Seconds that a connection is kept between two requests.")
    connections_per_address: int = Field(
        8192, gt=0, description="Maximum number of connections from one address to one API process."
    )
    rate_failed_logins_per_address: Rate = Field(
        "100/minute", description="Wrong credentials that an address may try, such as 100/minute; `off` for no limit."
    )
    rate_failed_logins_per_account: Rate = Field(
        "30/minute", description="Wrong credentials that may be tried with a user name; `off` for no limit."
    )
    rate_reads_without_token: Rate = Field(
        "10000/minute",
        description="Cost of the files, patches and fetches that an address reads without a token; `off` for no limit.",
    )
    rate_writes: Rate = Field("30000/minute", description="Cost of a user's changes; `off` for no limit.")
    mirroring: bool = Field(True, description="Allow mirrors of remote repositories.")
    mirror_interval: float = Field(3600.0, gt=0, le=365 * DAY, description="Mirror polling interval in seconds.")
    lease: float = Field(
        30.0,
        gt=0,
        le=DAY,
        description="Lease of a job or push in seconds. If not renewed by then, another process takes over.",
    )
    metrics_allow: Networks = Field(
        [], description="Networks that may read /metrics without the token of an administrator, separated by commas."
    )
    webhook_allow: Networks = Field(
        [],
        description="Non-public networks that webhooks and mirrors may reach, at any port, separated by commas.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="Minimum level of log lines: debug, info, warning, error or critical."
    )

    @field_validator("git_read", "git_change", "git_fetch", "git_push", "git_mirror", mode="before")
    @classmethod
    def _complete_limits(cls, value: Any, info: ValidationInfo) -> Any:
        return complete_limits(value, cls.model_fields[info.field_name or ""].default)

    @field_validator("public_url", "ssh_url")
    @classmethod
    def _require_no_password(cls, url: str | None) -> str | None:
        """Refuse a password: both URLs are part of replies and web hooks, which are public."""
        authority = re.split("[/?#]", (url or "").partition("://")[2], maxsplit=1)[0]
        login = authority.rpartition("@")[0]
        if ":" in login or (login and not (url or "").startswith("ssh:")):
            raise ValueError("must contain no password, because it is public")
        return url

    @classmethod
    def of(cls, **options: Any) -> "Settings":
        """Load the settings, overridden by those options that are not None."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @cached_property
    def url(self) -> str:
        """The public base URL, without a trailing slash."""
        return (self.public_url or self.local_url).rstrip("/")

    @property
    def local_url(self) -> str:
        """The base URL of the address that the API listens on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def repositories(self) -> Path:
        return self.data / "repositories"

    @property
    def key_file(self) -> Path:
        return self.secrets_key_file or self.data / "secrets.key"

    @property
    def given_keys(self) -> list[str]:
        """The keys that the settings contain, the newest first. Without any, they are in `key_file`."""
        return split_keys(self.secrets_keys) if self.secrets_keys else []

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

    def with_admin_token(self) -> "Settings":
        """Return settings with the administrator's token itself instead of the file. Raises SettingError."""
        token = self.read_admin_token()
        return self.model_copy(update={"admin_token": token and SecretStr(token), "admin_token_file": None})


def read_secret(path: Path) -> str:
    """Read a secret from the first line of a file. Raises OSError and ValueError."""
    return path.read_bytes().decode(errors="replace").partition("\n")[0].strip()


def list_unknown_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return the `POLYFORGE_*` variables that nothing reads, each with the most similar one that is read."""
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, *COMMAND_VARIABLES)}
    unknown = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), known, 1)), None) for name in unknown}
