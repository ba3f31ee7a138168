"""The work tree that tests of pushes share with those of git."""

from tests.git.conftest import work

__all__ = ["work"]
