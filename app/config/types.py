"""Types of settings: how each value is written in an environment variable, and which values are refused."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import orjson
import pygit2
from limits import parse
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

DATABASE_SCHEMES = ("postgresql", "postgres")
QUEUE_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
DAY = 86_400  # seconds
TOKEN = re.compile(r"[!-~]{20,1000}\Z")
KEY = re.compile(r"[A-Za-z0-9_+/-]{43}=\Z")  # 32 bytes in base64


class SettingError(Exception):
    """The forge cannot run with the value of a setting. Waiting does not help; the message names the setting."""


def split_list(value: Any) -> Any:
    """Read a list that is separated by commas or written as JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith(("[", "{", '"')):
        return [item for part in value.split(",") if (item := part.strip())]
    try:
        loaded = orjson.loads(value)
    except ValueError:
        raise ValueError("must be a list separated by commas, such as a,b, or a JSON list") from None
    return [loaded] if isinstance(loaded, str) else loaded


def parse_network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be networks such as 10.20.0.0/16, but {error}") from None


def check_url(schemes: tuple[str, ...], host: bool = True) -> AfterValidator:
    """Return a validator of URLs. Its messages do not contain the URL, which may include a password."""
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
        raise ValueError("must be a valid name of a git branch")
    return value


def check_token(value: SecretStr) -> SecretStr:
    """Refuse a token that cannot be sent in a header, or that depends on the encoding."""
    if not TOKEN.match(value.get_secret_value()):
        raise ValueError("must have 20 to 1,000 ASCII characters and no spaces")
    return value


def check_keys(value: SecretStr) -> SecretStr:
    """Refuse keys that are malformed, without repeating them."""
    keys = split_keys(value)
    if not keys or not all(map(KEY.match, keys)):
        raise ValueError("must be keys of 32 bytes in URL-safe base64, separated by commas")
    return value


def split_keys(value: SecretStr) -> list[str]:
    """Split keys at commas, and at white space, as in a file of keys."""
    return value.get_secret_value().replace(",", " ").split()


Network: TypeAlias = IPv4Network | IPv6Network
Names = Annotated[list[str], NoDecode, BeforeValidator(split_list)]
Networks = Annotated[list[Annotated[Network, BeforeValidator(parse_network)]], NoDecode, BeforeValidator(split_list)]
AdminToken = Annotated[SecretStr, AfterValidator(check_token)]
SecretsKeys = Annotated[SecretStr, AfterValidator(check_keys)]

OFF = "off"  # no limit


def _check_rate(rate: str) -> str:
    if rate != OFF:
        parse(rate)
    return rate


# A number and a period, such as `100/minute`, or OFF.
Rate = Annotated[str, AfterValidator(_check_rate)]


class GitLimits(BaseModel):
    """Limits of a git process: bytes of memory, seconds of CPU time, seconds in total, and bytes of output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: int = Field(ge=32 << 20)
    cpu: int = Field(ge=1)
    seconds: float = Field(gt=0, le=30 * DAY)
    output: int = Field(ge=1)


def complete_limits(value: Any, default: GitLimits) -> Any:
    """Read limits from a JSON object. A limit that it does not contain has its default."""
    if not isinstance(value, str):
        return value
    try:
        loaded = orjson.loads(value)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise ValueError("must be a JSON object with any of memory, cpu, seconds and output")
    return {**default.model_dump(), **loaded}


# Harmless faults in git objects that old tools wrote, by the names that git gives them (git-fsck, "fsck messages").
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
Faults = Annotated[list[HarmlessFault], NoDecode, BeforeValidator(split_list)]
