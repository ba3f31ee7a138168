"""The work tree fixture of tests/git, for tests of pushes."""

from tests.git.conftest import work

__all__ = ["work"]
