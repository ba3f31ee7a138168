"""The administrator's own token, which works whatever it looks like, or ends the start with the reason."""

from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from app.config import SettingError, Settings
from app.core import credentials
from app.database import Database
from app.ops import migrate
from tests.conftest import Client, Forge

OWN_TOKENS = [
    "pf_" + "x" * 46,  # as long as a token of the forge, with a wrong checksum
    "pf_" + "x" * 45,
    "x" * 20,
    "x" * 1000,
    "0123456789:0123456789",
    "%41-percent-encoded-%41",
    "Basic_dXNlcjpwYXNz==",
    "token-token-token-token",
    "!#$&'()*+,-./:;<=>?@[]^_`{|}~",
]


async def start(db: Database, settings: Settings, token: str, **update: object) -> str | None:
    """Create the administrator as `polyforge migrate` and `polyforge up` do."""
    given = Settings(admin_token=SecretStr(token)).admin_token
    return await migrate.create_first_admin(db, settings.model_copy(update={"admin_token": given, **update}))


@pytest.mark.parametrize("token", OWN_TOKENS, ids=lambda token: token[:12])
async def test_any_token_of_twenty_characters_works(forge: Forge, token: str) -> None:
    assert await start(forge.db, forge.settings, token) is None
    admin = Client(forge, token, "admin")
    assert await admin.json("POST", "/api/0/-/whoami") == (200, {"username": "admin"})
    assert (await forge.nobody.get("/v1/tasks", headers={"Authorization": f"Bearer {token}"}))[0] == 200
    # Git reads the listing of refs of a private project with it, by Basic.
    status, body = await admin.post("/new", name="secret", description="d", private="1")
    assert status == 200, body
    basic = {"Authorization": aiohttp.encode_basic_auth("admin", token)}
    listing = f"{forge.url}/admin/secret.git/info/refs?service=git-upload-pack"
    async with forge.session.get(listing, headers=basic) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("token", ["", "x" * 19, "x" * 1001, "a token with spaces in it", "tab\t" * 6, "é" * 20])
def test_a_token_that_cannot_be_sent_is_refused_at_start(token: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="20 to 1,000 ASCII characters"):
        Settings(admin_token=SecretStr(token))
    (tmp_path / "token").write_text(token)
    with pytest.raises(SettingError, match="20 to 1,000 ASCII characters"):
        Settings(admin_token_file=tmp_path / "token").read_admin_token()


async def test_a_token_of_somebody_else_is_refused_at_start(forge: Forge, alice: Client) -> None:
    assert alice.token is not None
    with pytest.raises(SettingError, match="belongs to alice"):
        await start(forge.db, forge.settings, alice.token)


async def test_a_name_that_no_user_may_have_is_refused_at_start(forge: Forge) -> None:
    with pytest.raises(SettingError, match="POLYFORGE_ADMIN_USER"):
        await start(forge.db, forge.settings, "x" * 20, admin_user="-x-")


def test_a_token_in_two_places_or_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a" * 20)
    both = Settings(admin_token=SecretStr("b" * 20), admin_token_file=tmp_path / "token")
    with pytest.raises(SettingError, match="both set"):
        both.read_admin_token()
    with pytest.raises(SettingError, match="cannot read"):
        Settings(admin_token_file=tmp_path / "nothing").read_admin_token()
    assert Settings(admin_token_file=tmp_path / "token").read_admin_token() == "a" * 20


async def test_a_mistyped_token_is_refused(forge: Forge) -> None:
    token = credentials.new_token()
    for wrong in (token, token[:-1] + "_"):
        assert (await Client(forge, wrong).json("POST", "/api/0/-/whoami"))[0] == 401
