"""The tracker that tests of issues share."""

import pytest

from tests.conftest import Client, Forge
from tests.pagure import trackers
from tests.pagure.trackers import Tracker


@pytest.fixture
async def tracker(forge: Forge, nethack: Client) -> Tracker:
    return await trackers.make(forge, nethack)
