"""Describe in one sentence why the database or the queue cannot be used, and whether waiting may help."""

import errno
import socket
import ssl
from dataclasses import dataclass

import asyncpg
from redis.exceptions import AuthenticationError, RedisError, ResponseError

DATABASE, QUEUE = "POLYFORGE_DATABASE_URL", "POLYFORGE_REDIS_URL"
MIN_SERVER_VERSION = 18  # of PostgreSQL, whose function uuidv7() the schema uses

DATABASE_CAUSES: dict[type[BaseException], str] = {
    asyncpg.InvalidPasswordError: "the user or the password is wrong",
    asyncpg.InvalidAuthorizationSpecificationError: "the server does not allow this user to connect from this address",
    asyncpg.InvalidCatalogNameError: "there is no database with this name",
    asyncpg.InsufficientPrivilegeError: "the user does not have the necessary privileges",
    asyncpg.UndefinedObjectError: "the server does not know a parameter of the URL",
    asyncpg.UndefinedFunctionError: f"the server is older than PostgreSQL {MIN_SERVER_VERSION}",
}
# The texts of these errors contain parts of the URL, and so perhaps of the password.
MALFORMED = "the URL cannot be read. Percent-encode the special characters in the user and the password."
# How the replies begin with which Redis refuses a login, a command or a database.
QUEUE_REFUSALS = ("NOAUTH", "WRONGPASS", "NOPERM", "DB INDEX", "INVALID PASSWORD", "AUTHENTICATION REQUIRED")
NETWORK_ERRNOS = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH})


@dataclass(frozen=True)
class Fault:
    """A `permanent` fault remains until the operator changes something; another one may pass."""

    sentence: str
    permanent: bool = False


def describe_database_error(error: BaseException) -> Fault:
    if isinstance(error, ValueError | asyncpg.ClientConfigurationError):
        return Fault(f"{DATABASE}: {MALFORMED}", permanent=True)
    for kind, cause in DATABASE_CAUSES.items():
        if isinstance(error, kind):
            return Fault(f"{DATABASE}: {cause}{_quote(error)}.", permanent=True)
    return _describe_connection_error(error, "The database", DATABASE)


def describe_queue_error(error: BaseException) -> Fault:
    refused = isinstance(error, ResponseError) and str(error).upper().startswith(QUEUE_REFUSALS)
    if refused or isinstance(error, AuthenticationError):
        return Fault(
            f"{QUEUE}: the server does not accept the user, the password or the database{_quote(error)}.",
            permanent=True,
        )
    if isinstance(error, ValueError):
        return Fault(f"{QUEUE}: {MALFORMED}", permanent=True)
    # redis-py raises an error of its own for one of the network.
    cause = error.__cause__ or error.__context__ if isinstance(error, RedisError) else None
    return _describe_connection_error(cause if isinstance(cause, OSError) else error, "The queue", QUEUE)


def _describe_connection_error(error: BaseException, name: str, setting: str) -> Fault:
    if isinstance(error, PermissionError):
        return Fault(f"{setting}: this user may not connect to the server ({error.strerror}).", permanent=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault(f"{setting}: the certificate is not trusted: {error.verify_message}.", permanent=True)
    if isinstance(error, socket.gaierror):
        return Fault(f"{setting}: the host name has no address ({error.strerror}).")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return Fault(
            f"{setting}: no server accepts writes at the moment; those that answer are stand-bys or read-only."
        )
    if isinstance(error, TimeoutError):
        return Fault(f"{name} does not answer in time. Check that it is running and that {setting} is right.")
    return Fault(
        f"{name} is not reachable ({type(error).__name__}). Check that it is running and that {setting} is right."
    )


def _quote(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f" ({text})" if text else ""
