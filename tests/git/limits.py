"""Other limits of git processes, for a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.git import limits


@contextmanager
def using_limits(kind: str = "read", **changed: int) -> Iterator[None]:
    """Change some limits of one kind of work in the block."""
    settings = limits.current_settings()
    name = f"git_{kind}"
    other = getattr(settings, name).model_copy(update=changed)
    with limits.using_settings(settings.model_copy(update={name: other})):
        yield
