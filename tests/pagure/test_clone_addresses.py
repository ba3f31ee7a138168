"""Where a project is cloned from."""

import pytest

from app.config import Settings
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, four_projects


async def test_a_forge_without_ssh_shows_none(forge: Forge, alice: Client) -> None:
    await four_projects(alice)
    for address in ADDRESSES:
        name = (await alice.pagure(address))[1]["fullname"]
        urls = {"git": f"{forge.url}/{name}.git"}
        assert await alice.pagure(f"{address}/git/urls") == (200, {"total_urls": 1, "urls": urls})


class TestWithSsh:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"ssh_url": "ssh://{username}@forge.example/"})

    async def test_everybody_sees_the_address_and_their_own_name_in_it(self, forge: Forge, nethack: Client) -> None:
        assert (await nethack.post("/fork", repo="nethack"))[0] == 200
        for who, name in ((forge.nobody, "git"), (nethack, "alice")):
            assert await who.pagure("/fork/alice/nethack/git/urls") == (
                200,
                {
                    "total_urls": 2,
                    "urls": {
                        "git": f"{forge.url}/forks/alice/nethack.git",
                        "ssh": f"ssh://{name}@forge.example/forks/alice/nethack.git",
                    },
                },
            )
