"""What the settings of the forge change in the answers of both dialects."""

import pytest

from app.config import Settings
from tests.conftest import run_forge
from tests.rpc import KALLITHEA, RHODECODE, Rpc

pytestmark = [pytest.mark.own_forge, pytest.mark.parametrize("address", [KALLITHEA, RHODECODE])]


async def test_the_answer_names_the_place_that_a_repository_gets(own_settings: Settings, address: str) -> None:
    async with run_forge(own_settings.model_copy(update={"user_namespaces": True})) as forge:
        alice, admin = Rpc(await forge.user("alice"), address), Rpc(forge.admin, address)
        made = await alice.ask("create_repo", repo_name="moria")
        assert made["msg"] == "Created new repository `alice/moria`"
        assert (await alice.ask("get_repo", repoid="alice/moria"))["owner"] == "alice"
        made = await admin.ask("create_repo", repo_name="khazad", owner="alice")
        assert made["msg"] == "Created new repository `alice/khazad`"
        assert (await alice.ask("get_repo", repoid="alice/khazad"))["owner"] == "alice"
        assert await alice.fail("create_repo", repo_name="khazad") == "repo `khazad` already exist"


async def test_without_new_projects_nothing_is_created(own_settings: Settings, address: str) -> None:
    async with run_forge(own_settings.model_copy(update={"new_projects": False})) as forge:
        alice = Rpc(await forge.user("alice"), address)
        denied = (
            "no permission to create top level repo" if address == KALLITHEA else "Access was denied to this resource."
        )
        assert await alice.fail("create_repo", repo_name="moria") == denied
        assert "hg.create.none" in (await alice.ask("get_user"))["permissions"]["global"]
