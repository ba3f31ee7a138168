"""Settings that would show a secret are refused."""

import pytest
from pydantic import ValidationError

from app.config import Settings
from tests.cli.command import start_command


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("public_url", "https://user:word@forge.example"), ("public_url", "https://word@forge.example/x"),
        ("ssh_url", "ssh://git:word@forge.example"),
    ],
)  # fmt: skip
def test_a_url_that_everybody_sees_has_no_password(name: str, url: str) -> None:
    with pytest.raises(ValidationError, match="no password"):
        Settings(**{name: url})


def test_the_user_of_ssh_urls_may_be_named() -> None:
    for url in ("ssh://git@forge.example", "ssh://{username}@forge.example:2222"):
        assert Settings(ssh_url=url, public_url="https://forge.example/@x").ssh_url == url


async def test_the_command_line_prints_no_password_of_its_url() -> None:
    async with start_command("events", "--url", "http://user:canary@127.0.0.1:9") as command:
        line = await command.read_error()
        assert "use --token" in line
        assert "canary" not in line
        assert await command.wait() != 0
