"""Reasons why an outgoing request failed, safe to show to the user who chose the address."""

from enum import StrEnum


class Failure(StrEnum):
    """The class of a failure. It reveals nothing that the other side sent and no address that a name resolved to."""

    INVALID = "invalid"  # not a usable URL
    REFUSED = "refused"  # the guard does not allow the address
    UNRESOLVED = "unresolved"  # the name has no address
    UNREACHABLE = "unreachable"  # nothing accepts the connection
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"  # the connection ended before the response was complete
    MALFORMED = "malformed"  # not an HTTP response, or one with too many headers
    TOO_LARGE = "too large"  # more than one run of git may transfer
    REJECTED = "rejected"  # the other side was reached, but git failed


class OutgoingError(Exception):
    """An outgoing request failed; the message is the class of the failure and nothing else."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
