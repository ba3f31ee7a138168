"""The kinds of refusal the core knows. It never speaks of HTTP; each dialect has its own words for these.

Refused
├── NotFound      there is no such thing, or it is hidden from this actor
├── Forbidden     the thing is there and this actor may not do that to it
├── Invalid       the wish cannot be granted as it is written
├── Unreadable    the wish cannot even be read
├── Conflict      the wish clashes with what there is
└── Disabled      the thing has been switched off
"""


class Refused(Exception):
    """`subject` names what it is about ("project", "title"); `detail` is a sentence for people."""

    def __init__(self, subject: str, detail: str = "") -> None:
        super().__init__(subject, detail)
        self.subject = subject
        self.detail = detail


class NotFound(Refused): ...


class Forbidden(Refused): ...


class Invalid(Refused): ...


class Malformed(Refused): ...


class Conflict(Refused): ...


class Disabled(Refused): ...
