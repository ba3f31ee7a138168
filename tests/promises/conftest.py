"""A forge in separate processes, for tests that stop and kill them."""

from collections.abc import AsyncIterator

import pytest

from app.config import Settings
from tests.promises.parts import Parts, open_parts


@pytest.fixture
async def parts(own_settings: Settings) -> AsyncIterator[Parts]:
    async with open_parts(own_settings.model_copy(update={"lease": 2.0})) as parts:
        yield parts
