"""Verifying passwords without revealing which accounts exist."""

import asyncio
import threading
from io import BytesIO
from typing import Any

import argon2
import pytest
import structlog

from app.core import credentials
from app.core.credentials import BadPassword, verify_password
from app.logs import log
from tests.conftest import Client, Forge

PASSWORD = "correct horse battery"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
STORED = "select hash from passwords where username = 'carol'"


class CountingHasher(argon2.PasswordHasher):
    """A hasher that counts its verifications, and how many ran at the same time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.verified: list[str] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def verify(self, hashed: Any, password: Any) -> Any:
        with self._lock:
            self.verified.append(str(hashed))
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return super().verify(hashed, password)
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    counting = CountingHasher(time_cost=1, memory_cost=1024, parallelism=1)
    monkeypatch.setattr(credentials, "PASSWORD_HASHER", counting)
    return counting


@pytest.fixture
async def carol(forge: Forge, hasher: CountingHasher) -> Forge:
    command = {"username": "carol", "email": "Carol@example.org", "fullname": "Carol", "password": PASSWORD}
    status, _ = await forge.admin.json("POST", "/v1/users", command)
    assert status == 201
    assert (await forge.admin.json("POST", "/v1/groups", {"name": "team"}))[0] == 201
    assert (await forge.admin.json("PUT", "/v1/groups/team/members/carol"))[0] == 204
    return forge


@pytest.mark.parametrize("login", ["carol", "Carol@example.org", "carol@EXAMPLE.org"])
async def test_a_user_logs_in_by_name_or_address(carol: Forge, login: str) -> None:
    actor = await verify_password(carol.db, login, PASSWORD)
    assert (actor.username, actor.fullname, actor.admin, actor.groups) == ("carol", "Carol", False, {"team"})
    assert (actor.acls, actor.token_id, actor.token_project) == (None, None, None)


@pytest.mark.parametrize("password", ["", "Correct horse battery", PASSWORD + " ", "\ud800", "x\x00", "x" * 100_000])
async def test_a_wrong_password_is_refused(carol: Forge, password: str) -> None:
    with pytest.raises(BadPassword):
        await verify_password(carol.db, "carol", password)


@pytest.mark.parametrize("login", ["ghost", "CAROL", "", "ghost@example.org", "a\x00b", "\ud800", "alice"])
async def test_an_unknown_user_or_one_without_a_password_costs_a_hash_too(
    carol: Forge, alice: Client, hasher: CountingHasher, login: str
) -> None:
    with pytest.raises(BadPassword):
        await verify_password(carol.db, login, PASSWORD)
    stored = await carol.db.fetchval(STORED)
    [unmatched] = hasher.verified
    cost = [argon2.extract_parameters(each) for each in (unmatched, stored)]
    assert cost[0] == cost[1]


async def test_a_hash_of_other_parameters_is_replaced_once(carol: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await carol.db.fetchval(STORED)
    await verify_password(carol.db, "carol", PASSWORD)
    assert await carol.db.fetchval(STORED) == old
    monkeypatch.setattr(
        credentials, "PASSWORD_HASHER", argon2.PasswordHasher(time_cost=2, memory_cost=2048, parallelism=1)
    )
    with pytest.raises(BadPassword):
        await verify_password(carol.db, "carol", "another one")
    assert await carol.db.fetchval(STORED) == old
    await verify_password(carol.db, "carol", PASSWORD)
    fresh = await carol.db.fetchval(STORED)
    assert argon2.extract_parameters(fresh).memory_cost == 2048
    await verify_password(carol.db, "carol", PASSWORD)
    assert await carol.db.fetchval(STORED) == fresh


async def test_a_password_that_was_changed_while_it_was_verified_stays_changed(
    carol: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CHEAP.hash("another one")

    class Slow(argon2.PasswordHasher):
        def check_needs_rehash(self, hashed: Any) -> bool:
            return True

        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            asyncio.run_coroutine_threadsafe(
                carol.db.execute("update passwords set hash = $1 where username = 'carol'", other), loop
            ).result()
            return super().hash(password, salt=salt)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(credentials, "PASSWORD_HASHER", Slow(time_cost=1, memory_cost=1024, parallelism=1))
    await verify_password(carol.db, "carol", PASSWORD)
    assert await carol.db.fetchval(STORED) == other


async def test_the_number_of_concurrent_hashes_is_limited(carol: Forge, hasher: CountingHasher) -> None:
    tries = [verify_password(carol.db, "carol", PASSWORD) for _ in range(4 * credentials.MAX_HASHES)]
    assert len(await asyncio.gather(*tries)) == 4 * credentials.MAX_HASHES
    assert hasher.most <= credentials.MAX_HASHES


async def test_no_password_is_in_a_log_or_an_error(carol: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    logger = structlog.make_filtering_bound_logger(0)(
        structlog.BytesLogger(written), [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()], {}
    )
    monkeypatch.setattr(log, "bind", lambda **_: logger)
    await verify_password(carol.db, "carol", PASSWORD)
    with pytest.raises(BadPassword) as bad:
        await verify_password(carol.db, "carol", "wrong " + PASSWORD)
    assert PASSWORD.encode() not in written.getvalue()
    assert PASSWORD not in f"{bad.value!r} {bad.value}"
    rows = await carol.db.fetch("select body::text as row from commands union all select data::text from events")
    assert not [row for row in rows if PASSWORD in row["row"]]
