"""A forge that may mirror repositories at ALLOWED_HOST."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from app.config import Settings
from app.outgoing import git as remotes
from tests.conftest import prepare_settings
from tests.outgoing.conftest import ALLOWED_HOST, Authority, Remote, run_site
from workers import mirrors, perform


@pytest.fixture
async def settings(
    database_url: str,
    services: tuple[str, str],
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """A forge that may connect to ALLOWED_HOST, whose certificate it trusts."""
    monkeypatch.setitem(remotes.CONFIG, "http.sslCAInfo", str(authority.file))
    monkeypatch.setattr(mirrors, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(perform, "PROGRESS_INTERVAL", 0.02)
    made = await prepare_settings(database_url, services, tmp_path / "var")
    return made.model_copy(update={"webhook_allow": [IPv4Network(ALLOWED_HOST)]})


@pytest.fixture
async def url(remote: Remote, authority: Authority) -> AsyncIterator[str]:
    async with run_site(remote.smart, authority.serving) as url:
        yield url + "/x.git"
