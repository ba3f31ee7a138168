"""Fixtures of the tests of the shared HTTP layer."""

import pytest

from tests.conftest import Client
from tests.http.lossy import LossyForge


@pytest.fixture
def lossy(nethack: Client, monkeypatch: pytest.MonkeyPatch) -> LossyForge:
    return LossyForge(nethack, monkeypatch)
