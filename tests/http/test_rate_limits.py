"""Rate limits: what they count, what a client reads when it meets one, and that they hold without Valkey."""

import asyncio
from base64 import b64encode
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from app.config import Settings
from app.http.keys import TAIL
from app.http.rate_limits import RATE_LIMITS, SHARE_INTERVAL, RateLimits
from app.http.runner import Runner
from app.ops import embedded
from app.server import application
from tests.conftest import Client, Forge

LIMITS = {
    "rate_failed_logins_per_address": "20/minute",
    "rate_failed_logins_per_account": "5/minute",
    "rate_reads_without_token": "30/minute",
    "rate_writes": "40/minute",
}
WRONG = "wrong-token-of-20-characters"
REFS = "/nethack.git/info/refs?service=git-upload-pack"


@pytest.fixture
def settings(own_settings: Settings) -> Settings:
    return own_settings.model_copy(update=LIMITS)


async def ask(forge: Forge, path: str, **headers: str) -> tuple[int, str, Any]:
    async with forge.session.get(forge.url + path, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


def basic(username: str, password: str = WRONG) -> str:
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "scheme", "words"),
    [
        ("/api/0/nethack", "token", "Too many requests; try again later"),
        ("/api/0/-/whoami", "token", "Too many requests; try again later"),
        ("/v1/tasks", "Bearer", "Too many requests; try again later."),
        (REFS, "Bearer", "Too many requests; try again later."),
        ("/metrics", "Bearer", "Too many requests; try again later."),
        ("/nethack/raw/main/f/README.md", "token", "Too many requests; try again later"),
    ],
)
async def test_wrong_tokens_are_refused_after_a_while(
    forge: Forge, nethack: Client, path: str, scheme: str, words: str
) -> None:
    proxied = {"X-Forwarded-For": "192.0.2.1"}
    method = "POST" if "whoami" in path else "GET"
    statuses = []
    for _ in range(25):
        headers = {"Authorization": f"{scheme} {WRONG}", **proxied}
        async with forge.session.request(method, forge.url + path, headers=headers) as answer:
            statuses.append(answer.status)
            text = await answer.text()
            fields = answer.headers
    assert set(statuses[:20]) <= {200, 401}
    assert set(statuses[20:]) == {429}
    assert words in text
    assert 1 <= int(fields["Retry-After"]) <= 60
    assert fields["RateLimit-Policy"] == '"failed-logins-of-address";q=20;w=60'
    assert fields["RateLimit"] == f'"failed-logins-of-address";r=0;t={fields["Retry-After"]}'


async def test_a_good_token_works_on_while_wrong_ones_are_refused(forge: Forge, nethack: Client) -> None:
    for _ in range(25):
        await ask(forge, "/api/0/nethack", Authorization=f"token {WRONG}")
    assert (await ask(forge, "/v1/tasks", Authorization=f"Bearer {WRONG}"))[0] == 429
    assert (await ask(forge, "/v1/tasks", Authorization=f"Bearer {nethack.token}"))[0] == 200
    assert (await ask(forge, "/api/0/nethack"))[0] == 200


async def test_an_account_is_guarded_against_many_addresses(forge: Forge, nethack: Client) -> None:
    statuses = [
        (await ask(forge, REFS, **{"Authorization": basic("alice"), "X-Forwarded-For": f"198.51.100.{number}"}))[0]
        for number in range(8)
    ]
    assert statuses == [401] * 5 + [429] * 3
    other = {"Authorization": basic("bob"), "X-Forwarded-For": "198.51.100.1"}
    assert (await ask(forge, REFS, **other))[0] == 401
    assert (await ask(forge, REFS, Authorization=basic("alice", str(nethack.token))))[0] == 200


async def test_reads_that_need_git_are_limited_without_a_token(forge: Forge, nethack: Client) -> None:
    path = "/nethack/raw/main/f/README.md"
    statuses = [(await ask(forge, path))[0] for _ in range(32)]
    assert statuses == [200] * 30 + [429] * 2
    assert (await ask(forge, REFS))[0] == 429
    assert (await ask(forge, path, **{"X-Forwarded-For": "192.0.2.9"}))[0] == 200
    assert (await ask(forge, path, Authorization=f"token {nethack.token}"))[0] == 200
    assert (await ask(forge, "/api/0/nethack"))[0] == 200


async def test_a_fetch_costs_more_than_a_file(forge: Forge, nethack: Client) -> None:
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    statuses = []
    for _ in range(4):
        async with forge.session.post(f"{forge.url}/nethack.git/git-upload-pack", data=b"0000", headers=headers) as got:
            statuses.append(got.status)
    assert statuses == [200, 200, 200, 429]


async def test_writes_are_limited_by_user_and_tell_what_is_left(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    statuses, left = [], []
    for number in range(40):
        status, _ = await nethack.post("/nethack/new_issue", title=str(number), issue_content="c")
        statuses.append(status)
        left.append(nethack.headers["RateLimit"].partition("r=")[2].partition(";")[0])
    # The project has cost 5 of the 40.
    assert statuses == [200] * 35 + [429] * 5
    assert left == [str(34 - number) for number in range(35)] + ["0"] * 5
    assert (await bob.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
    assert (await nethack.pagure("/nethack"))[0] == 200
    limited = await ask(forge, "/v1/users/alice", Authorization=f"Bearer {nethack.token}")
    assert limited[0] == 200


async def test_an_address_behind_a_proxy_that_is_not_trusted_cannot_choose_what_it_counts_as(
    own_settings: Settings, nethack: Client, forge: Forge
) -> None:
    forge.settings.trusted_proxies.clear()
    path = "/nethack/raw/main/f/README.md"
    statuses = [(await ask(forge, path, **{"X-Forwarded-For": f"192.0.2.{n}"}))[0] for n in range(32)]
    assert statuses == [200] * 30 + [429] * 2


async def is_refused_after(limits: RateLimits, key: str, writes: int) -> bool:
    """Return whether one of the next writes is refused. A process hears of the others' counts when it adds its own."""
    for _ in range(writes):
        await asyncio.sleep(SHARE_INTERVAL)
        if (quota := limits.charge("writes", key, 1)) and quota.exceeded:
            return True
    return False


async def test_processes_share_their_counts(forge: Forge, alice: Client) -> None:
    settings = forge.settings.model_copy(update={"port": embedded.free_port()})
    async with AsyncExitStack() as stack:
        runner = Runner(application(settings), shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, settings.host, settings.port).start()
        forge.app[RATE_LIMITS].charge("writes", "alice", 40)
        assert await is_refused_after(runner.app[RATE_LIMITS], "alice", 20)
        url = f"http://127.0.0.1:{settings.port}/api/0/new"
        headers = {"Authorization": f"token {alice.token}"}
        async with forge.session.post(url, data={"name": "x", "description": "d"}, headers=headers) as answer:
            assert answer.status == 429


@pytest.mark.own_forge
async def test_limits_hold_and_nobody_waits_while_valkey_is_away(own_settings: Settings, forge: Forge) -> None:
    alice = await forge.user("alice")
    pool: Any = forge.app[TAIL].redis.connection_pool
    pool.connection_kwargs["port"] = 1  # nothing listens there
    await pool.disconnect()
    async with asyncio.timeout(10):
        statuses = [(await alice.post("/new", name=f"p{n}", description="d", wait="False"))[0] for n in range(10)]
    assert statuses == [200] * 8 + [429] * 2


async def test_a_limit_that_is_off_counts_nothing(own_settings: Settings) -> None:
    limits = RateLimits(own_settings.model_copy(update={"rate_writes": "off"}))
    assert limits.charge("writes", "alice", 10**9) is None
