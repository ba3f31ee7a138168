"""Why a connection or an answer did not come about, in words that may be shown to whoever aimed it."""

from enum import StrEnum


class Failure(StrEnum):
    """A class and nothing more: no byte of the other side, no address that a name was found to have."""

    INVALID = "invalid"  # no URL that could be called
    REFUSED = "refused"  # the guard lets nothing go there
    UNRESOLVED = "unresolved"  # the name has no address
    UNREACHABLE = "unreachable"  # nobody takes the connection
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"  # ended before the answer was whole
    MALFORMED = "malformed"  # what came was no answer, or one with endless headers
    TOO_LARGE = "too large"  # more than one run of git may carry
    REJECTED = "rejected"  # the other side was reached, and git got nothing from it


class OutgoingError(Exception):
    """Its text is the class alone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
