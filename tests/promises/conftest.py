"""A forge in separate processes, for tests that stop and kill them."""

from collections.abc import AsyncIterator

import pytest

from app.config import Settings
from tests.conftest import MEMORY, own_folder
from tests.promises.parts import Parts, open_parts
from tests.promises.scenarios import Stage, set_stage


@pytest.fixture
async def parts(own_settings: Settings) -> AsyncIterator[Parts]:
    async with open_parts(own_settings.model_copy(update={"lease": 2.0, "api_processes": 2})) as parts:
        yield parts


@pytest.fixture(scope="module")
async def module_stage() -> AsyncIterator[Stage]:
    with own_folder(MEMORY) as folder:
        async with set_stage(folder) as stage:
            yield stage


@pytest.fixture
async def stage(module_stage: Stage) -> AsyncIterator[Stage]:
    """A forge that the tests of a module share; everything runs before and after each of them."""
    yield module_stage
    await module_stage.cluster.stand_up()
