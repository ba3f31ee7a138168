"""Users and their clients for tests of client libraries."""

from collections.abc import Callable, Iterator

import pytest
from libpagure import Pagure
from ogr import PagureService

from tests.conftest import Client, Forge


@pytest.fixture
async def bob(forge: Forge) -> Client:
    return await forge.user("bob")


@pytest.fixture
async def carol(forge: Forge) -> Client:
    return await forge.user("carol")


@pytest.fixture
async def maintainer(nethack: Client) -> Client:
    """Alice with a token for nethack only."""
    return await nethack.limited(project="nethack")


@pytest.fixture
async def wizards(alice: Client, carol: Client) -> str:
    """A group of alice and carol."""
    assert (await alice.json("POST", "/v1/groups", {"name": "wizards", "display_name": "Wizards"}))[0] == 201
    assert (await alice.post("/group/wizards/add", user="carol"))[0] == 200
    return "wizards"


@pytest.fixture
async def packaged(alice: Client, nethack: Client, bob: Client) -> Client:
    """Bob, with forks of nethack and of rpms/rogue."""
    form = {"name": "rogue", "namespace": "rpms", "description": "Another", "create_readme": "1"}
    assert (await alice.post("/new", **form))[0] == 200
    for parent in ({"repo": "nethack"}, {"repo": "rogue", "namespace": "rpms"}):
        assert (await bob.post("/fork", **parent))[0] == 200
    return bob


@pytest.fixture
def ogr(forge: Forge) -> Iterator[Callable[..., PagureService]]:
    """ogr's service, as its users configure it."""
    made = []

    def service(who: Client | None = None, **settings: object) -> PagureService:
        made.append(PagureService(**{"token": who.token if who else None, "instance_url": forge.url, **settings}))
        return made[-1]

    yield service
    for each in made:
        each.session.close()


@pytest.fixture
def libpagure(forge: Forge) -> Iterator[Callable[..., Pagure]]:
    """libpagure's client, as its users configure it."""
    made = []

    def client(who: Client | None = None, repository: str | None = None, **settings: object) -> Pagure:
        token = who.token if who else None
        made.append(Pagure(pagure_token=token, pagure_repository=repository, instance_url=forge.url, **settings))
        return made[-1]

    yield client
    for each in made:
        each.session.close()
