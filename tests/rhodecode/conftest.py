"""The same calls in both dialects."""

import pytest

from tests.conftest import Client, Forge
from tests.rpc import KALLITHEA, RHODECODE, Rpc


@pytest.fixture(params=[KALLITHEA, RHODECODE])
def rpc(request: pytest.FixtureRequest, alice: Client) -> Rpc:
    """Alice's calls in a dialect."""
    return Rpc(alice, request.param)


@pytest.fixture
def admin(forge: Forge, rpc: Rpc) -> Rpc:
    return Rpc(forge.admin, rpc.address)


@pytest.fixture
async def bob(forge: Forge, rpc: Rpc) -> Rpc:
    return Rpc(await forge.user("bob"), rpc.address)
