"""Settings, read once from `POLYFORGE_*` environment variables."""

import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    mirroring: bool = Field(True, description="Allow mirrors of remote repositories.")
    mirror_interval: float = Field(3600.0, gt=0, description="Mirror polling interval in seconds.")
    lease: float = Field(
        30.0, description="Lease of a job or push in seconds. If not renewed by then, another process takes over."
    )
    metrics_allow: list[IPv4Network | IPv6Network] = Field(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks that may read /metrics without the token of an administrator, as a JSON list.",
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
