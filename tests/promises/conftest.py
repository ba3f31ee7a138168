"""What the promises are tried on."""

from collections.abc import AsyncIterator

import pytest

from app.config import Settings
from tests.promises.parts import Parts, in_parts


@pytest.fixture
async def parts(own_settings: Settings) -> AsyncIterator[Parts]:
    async with in_parts(own_settings.model_copy(update={"lease": 2.0})) as parts:
        yield parts
