"""Settings, read once from `POLYFORGE_*` environment variables."""

import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from limits import parse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

OFF = "off"  # no limit


def _check_rate(rate: str) -> str:
    if rate != OFF:
        parse(rate)
    return rate


# A number and a period, such as `100/minute`, or OFF.
Rate = Annotated[str, AfterValidator(_check_rate)]


class GitLimits(BaseModel):
    """What a git process may use: bytes of memory, seconds of CPU time, seconds in all, bytes of output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: int = Field(ge=32 << 20)
    cpu: int = Field(ge=1)
    seconds: float = Field(gt=0)
    output: int = Field(ge=1)


# Faults of git objects that old tools made and that do no harm. Git's own names of them (git-fsck, "fsck messages").
HarmlessFault = Literal[
    "badEmail",
    "badTimezone",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
]


class Settings(BaseSettings):
    """The field `name` is read from the variable `POLYFORGE_NAME`."""

    model_config = SettingsConfigDict(
        env_prefix="POLYFORGE_", env_ignore_empty=True, frozen=True, nested_model_default_partial_update=True
    )

    data: Path = Field(Path("var"), description="Data directory, with repositories and embedded services.")
    database_url: str | None = Field(None, description="PostgreSQL URL. If unset, `up` starts an embedded server.")
    redis_url: str | None = Field(None, description="Valkey or Redis URL. If unset, `up` starts an embedded server.")
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the API listens on.")
    api_processes: int = Field(
        1, ge=1, description="Number of `serve` processes that share the port. With 1, a second one refuses to start."
    )
    public_url: str | None = Field(
        None, description="Base URL by which clients reach the API. Default: http://HOST:PORT."
    )
    ssh_url: str | None = Field(
        None, description="Base of SSH clone URLs, such as ssh://git@forge.example. If unset, none are shown."
    )
    admin_user: str = Field("admin", description="Username of the administrator that is created at first start.")
    admin_token: SecretStr | None = Field(
        None, min_length=20, description="Token of the administrator, at least 20 characters. Default: generated."
    )
    secrets_key_file: Path | None = Field(
        None,
        description="File with the keys that seal secrets in the database. Default: secrets.key in POLYFORGE_DATA.",
    )
    secrets_keys: SecretStr | None = Field(
        None, description="These keys themselves, separated by commas, the newest first. If set, no file is read."
    )
    pool_size: int = Field(10, description="Maximum number of database connections per process.")
    namespaces: list[str] = Field([], description="Namespaces in which all users may create projects, as a JSON list.")
    pagure_disabled_plugins: list[str] = Field(
        [], description="Plugins that projects may not install or remove, by their names in Pagure, as a JSON list."
    )
    new_projects: bool = Field(True, description="Allow the creation of projects.")
    new_groups: bool = Field(True, description="Allow all users to create groups. Administrators always may.")
    private_projects: bool = Field(True, description="Allow private projects.")
    user_namespaces: bool = Field(
        False, description="Create projects without a given namespace in the namespace of their owner."
    )
    delete_projects: bool = Field(True, description="Allow the deletion of projects that are not forks.")
    delete_forks: bool = Field(True, description="Allow the deletion of forks.")
    default_branch: str = Field("main", description="Default branch of new repositories.")
    max_push_bytes: int = Field(2 << 30, description="Maximum size of a push in bytes.")
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
        15.0, ge=0, description="Seconds that a fetch waits for its turn before it is answered 503."
    )
    max_push_refs: int = Field(10_000, ge=1, description="Maximum number of refs that one push may change.")
    git_deadline: float = Field(3600.0, description="Maximum duration of a git process in seconds.")
    git_read: GitLimits = Field(
        GitLimits(memory=1 << 30, cpu=20, seconds=60, output=256 << 20),
        description="Limits of a git process that reads or compares, as a JSON object with any of `memory` (bytes), "
        "`cpu` (seconds), `seconds` and `output` (bytes).",
    )
    git_change: GitLimits = Field(
        GitLimits(memory=2 << 30, cpu=300, seconds=600, output=64 << 20),
        description="Limits of a git process that merges, rebases, moves a ref or copies between repositories.",
    )
    git_fetch: GitLimits = Field(
        GitLimits(memory=4 << 30, cpu=1800, seconds=3600, output=64 << 30),
        description="Limits of a git process that serves a fetch or a clone.",
    )
    git_push: GitLimits = Field(
        GitLimits(memory=2 << 30, cpu=1800, seconds=3600, output=64 << 20),
        description="Limits of a git process that receives a push.",
    )
    git_mirror: GitLimits = Field(
        GitLimits(memory=2 << 30, cpu=1800, seconds=3600, output=4 << 20),
        description="Limits of a git process that fetches into a mirror.",
    )
    git_accepted_faults: list[HarmlessFault] = Field(
        ["badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"],
        description="Faults of old tools that pushes and mirrors may contain, by git's names of them, as a JSON list.",
    )
    long_reads: int = Field(
        16,
        ge=1,
        description="Reads that may take long, such as patches, that one API process does at once.",
    )
    long_read_queue: int = Field(
        32,
        ge=1,
        description="Long reads that may wait, up to 5 seconds, in one API process. More get a 503.",
    )
    trusted_proxies: list[IPv4Network | IPv6Network] = Field(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks of the proxies whose X-Forwarded-For says where a request comes from, as a JSON list.",
    )
    head_timeout: float = Field(
        20.0, gt=0, description="Seconds in which the head of a request has to arrive, on a new connection its first."
    )
    client_pause: float = Field(
        30.0, gt=0, description="Seconds that a client may pause while it sends a body or reads a response."
    )
    min_client_rate: float = Field(
        500.0, ge=0, description="Bytes per second that a client has to send or read on average over such a pause."
    )
    keep_alive: float = Field(75.0, gt=0, description="Seconds that a connection is kept between two requests.")
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
    mirror_interval: float = Field(3600.0, gt=0, description="Mirror polling interval in seconds.")
    lease: float = Field(
        30.0, description="Lease of a job or push in seconds. If not renewed by then, another process takes over."
    )
    metrics_allow: list[IPv4Network | IPv6Network] = Field(
        [], description="Networks that may read /metrics without the token of an administrator, as a JSON list."
    )
    webhook_allow: list[IPv4Network | IPv6Network] = Field(
        [],
        description="Networks besides public ones that webhooks and mirrors may reach, at any port, as a JSON list.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="Minimum level of log lines: debug, info, warning, error or critical."
    )

    @field_validator("public_url", "ssh_url")
    @classmethod
    def _require_no_password(cls, url: str | None) -> str | None:
        """Refuse what everybody would see: both are part of replies and web hooks."""
        authority = re.split("[/?#]", (url or "").partition("://")[2], maxsplit=1)[0]
        login = authority.rpartition("@")[0]
        if ":" in login or (login and not (url or "").startswith("ssh:")):
            raise ValueError("It must contain no password, since everybody may see it")
        return url

    @classmethod
    def of(cls, **options: Any) -> "Settings":
        """Load the settings, overridden by those options that are not None."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @cached_property
    def url(self) -> str:
        """The public base URL, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def repositories(self) -> Path:
        return self.data / "repositories"

    @property
    def key_file(self) -> Path:
        return self.secrets_key_file or self.data / "secrets.key"

    @property
    def attachments(self) -> Path:
        return self.data / "attachments"

    def required_database_url(self) -> str:
        if not self.database_url:
            raise SystemExit("POLYFORGE_DATABASE_URL is not set. (`polyforge up` needs no database of its own.)")
        return self.database_url

    def required_redis_url(self) -> str:
        if not self.redis_url:
            raise SystemExit("POLYFORGE_REDIS_URL is not set. (`polyforge up` needs no queue of its own.)")
        return self.redis_url
