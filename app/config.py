"""The settings, read once from `POLYFORGE_*` variables."""

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What can be set. Every field is the variable `POLYFORGE_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="POLYFORGE_", env_ignore_empty=True, frozen=True)

    data: Path = Field(Path("var"), description="Directory of repositories and of the embedded services.")
    database_url: str | None = Field(None, description="PostgreSQL to use; unset: `up` starts an embedded one.")
    redis_url: str | None = Field(None, description="Valkey or Redis to use; unset: `up` starts an embedded one.")
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port the API listens on.")
    public_url: str | None = Field(None, description="How clients reach the API; default: http://HOST:PORT.")
    ssh_url: str | None = Field(
        None, description="Base of ssh clone URLs, such as ssh://git@forge.example; unset: none shown."
    )
    admin_user: str = Field("admin", description="Name of the administrator made at first start.")
    admin_token: SecretStr | None = Field(
        None, min_length=20, description="The administrator's token, 20 or more characters; default: a new one."
    )
    pool_size: int = Field(10, description="Database connections of one process.")
    pagure_namespaces: list[str] = Field([], description="Namespaces in which every user may create projects, as JSON.")
    pagure_disabled_plugins: list[str] = Field(
        [], description="Plugins that no project may install or remove, by Pagure's names, as JSON."
    )
    new_projects: bool = Field(True, description="Whether projects may be created at all.")
    new_groups: bool = Field(True, description="Whether everybody may create groups; administrators always may.")
    private_projects: bool = Field(True, description="Whether projects may be private.")
    user_namespaces: bool = Field(
        False, description="Whether a project for which no namespace is given lies below its owner's name."
    )
    delete_projects: bool = Field(True, description="Whether projects that are no forks may be deleted.")
    delete_forks: bool = Field(True, description="Whether forks may be deleted.")
    default_branch: str = Field("main", description="HEAD of a new repository.")
    max_push_bytes: int = Field(2 << 30, description="Largest body of one push, in bytes.")
    git_deadline: float = Field(3600.0, description="Seconds after which a git process is ended.")
    mirroring: bool = Field(True, description="Whether projects may be mirrors of repositories elsewhere.")
    mirror_interval: float = Field(3600.0, gt=0, description="Seconds between two looks at what a project mirrors.")
    lease: float = Field(30.0, description="Seconds that work or a push is held without a sign of life.")
    metrics_allow: list[IPv4Network | IPv6Network] = Field(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks that may read /metrics without an administrator's token, as JSON.",
    )
    webhook_allow: list[IPv4Network | IPv6Network] = Field(
        [],
        description="Networks that users may aim the forge at beside public addresses, at any port, as JSON.",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="The least grave lines that are logged: debug, info, warning, error or critical."
    )

    @classmethod
    def of(cls, **options: Any) -> "Settings":
        """The settings with the options that are not None; the others are left to the environment."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    @cached_property
    def url(self) -> str:
        """The public base URL, without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def repositories(self) -> Path:
        return self.data / "repositories"

    @property
    def attachments(self) -> Path:
        return self.data / "attachments"

    def required_database_url(self) -> str:
        if not self.database_url:
            raise SystemExit("POLYFORGE_DATABASE_URL is not set; `polyforge up` starts everything, database included.")
        return self.database_url

    def required_redis_url(self) -> str:
        if not self.redis_url:
            raise SystemExit("POLYFORGE_REDIS_URL is not set; `polyforge up` starts everything, queue included.")
        return self.redis_url
