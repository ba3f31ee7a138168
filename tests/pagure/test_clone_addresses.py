"""The clone URLs of a project."""

import pytest

from app.config import Settings
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, four_projects


async def test_an_instance_without_ssh_shows_no_ssh_url(forge: Forge, alice: Client) -> None:
    await four_projects(alice)
    for address in ADDRESSES:
        name = (await alice.pagure(address))[1]["fullname"]
        urls = {"git": f"{forge.url}/{name}.git"}
        assert await alice.pagure(f"{address}/git/urls") == (200, {"total_urls": 1, "urls": urls})


class TestWithSsh:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"ssh_url": "ssh://{username}@forge.example/"})

    async def test_users_see_the_ssh_url_with_their_own_name(self, forge: Forge, nethack: Client) -> None:
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
