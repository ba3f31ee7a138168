"""Why an address and a port cannot be listened on, for `serve`, `up` and `hooks listen`."""

import errno
import os
import socket

from app.config import SettingError, Settings
from app.ops.embedded import ServiceError

ERRORS = (OSError, UnicodeError)  # the latter for a text that cannot be the name of a host


def describe_error(error: OSError | UnicodeError, host: str, port: int) -> str:
    """Return why a process cannot listen there, without a full stop."""
    if isinstance(error, socket.gaierror | UnicodeError):
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        return f"the name {host} has no address{reason}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine"
    if isinstance(error, PermissionError):
        return f"this user may not listen on port {port}"
    # The text of the event loop's own errors repeats the address.
    return f"port {port} of {host} cannot be used ({os.strerror(error.errno or 0)})"


def build_error(error: OSError | UnicodeError, settings: Settings, advice: str = "") -> SettingError | ServiceError:
    """Return what to raise: a ServiceError for a port in use, which may become free, and a SettingError otherwise."""
    cause = describe_error(error, settings.host, settings.port)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ServiceError(f"POLYFORGE_PORT (--port): {cause}. Choose another one.{advice}")
    setting = "POLYFORGE_PORT (--port)" if isinstance(error, PermissionError) else "POLYFORGE_HOST"
    return SettingError(f"{setting}: {cause}.")
