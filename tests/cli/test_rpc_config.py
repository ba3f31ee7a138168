"""`polyforge rpc`: where address and key come from."""

import asyncio
from pathlib import Path

import pytest

from app.cli.rpc_config import split_dialect
from tests.cli.rpc import KEY, PONG, Home
from tests.conftest import Client
from tests.receiver import Receiver

pytestmark = pytest.mark.slow

OTHER = "f" * 40


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("name", [".config/kallithea", ".rhodecode", ".rhoderc"])
async def test_a_config_file_of_either_format_is_found_at_home(home: Home, alice: Client, name: str) -> None:
    url = f"{alice.forge.url}/"
    if name == ".rhoderc":
        home.write_ini(name, enterprise=(url, alice.token))
    else:
        home.write_json(name, url, alice.token)
    code, output, errors = await home.run("get_user")
    assert (code, errors) == (0, "")
    assert '"username": "alice"' in output


async def test_a_server_of_several_is_chosen_by_its_name(home: Home, alice: Client, receiver: Receiver) -> None:
    url = alice.forge.url
    config = home.write_ini(".rhoderc", one=(receiver.url, KEY), two=(f"{url}/kallithea", alice.token))
    for option in ([], ["--config", config]):
        code, output, errors = await home.run("get_user", *option, "--instance-name", "two")
        assert (code, errors) == (0, "")
        assert '"username": "alice"' in output
    choice = "Choose one with --instance-name: one, two."
    assert await asyncio.gather(
        home.run("get_user"), home.run("get_user", "--instance-name", "three", "--config", config)
    ) == [
        (2, "", f"Error: {config} has several servers. {choice}\n"),
        (2, "", f"Error: {config} has no server three. {choice}\n"),
    ]
    assert receiver.received == []


async def test_options_take_precedence_over_the_config_file_and_that_over_variables(
    home: Home, receiver: Receiver
) -> None:
    receiver.responses += [PONG] * 5
    elsewhere = "http://nowhere.invalid"
    config, keyless = home.write_json("config", receiver.url, KEY), home.write_json("keyless", receiver.url, None)
    token_file, misplaced = home.write("token", f"{OTHER}\n"), home.write_json("misplaced", elsewhere, KEY)
    for words, environment, key in (
        (["--config", config], {"POLYFORGE_URL": elsewhere, "POLYFORGE_TOKEN": OTHER}, KEY),
        (["--config", config, "--token-file", token_file], {}, OTHER),
        (["--config", misplaced, "--url", receiver.url], {"POLYFORGE_TOKEN_FILE": token_file}, KEY),
        (["--config", keyless], {"POLYFORGE_TOKEN": OTHER}, OTHER),
        (["--config", keyless], {"POLYFORGE_TOKEN_FILE": token_file, "POLYFORGE_TOKEN": KEY}, OTHER),
    ):
        assert await home.run("ping", *words, **environment) == (0, '"pong"\n', "")
        assert receiver.received[-1].json["api_key"] == key
        assert receiver.received[-1].headers["authorization"] == f"token {key}"


async def test_the_key_of_a_default_file_goes_to_no_other_server(home: Home, receiver: Receiver) -> None:
    home.write_json(".config/kallithea", "http://nowhere.invalid", KEY)
    missing = "Error: There is no key. Set POLYFORGE_TOKEN, or name a file with --token-file or --config.\n"
    assert (
        await asyncio.gather(home.run("ping", "--url", receiver.url), home.run("ping", POLYFORGE_URL=receiver.url))
        == [(2, "", missing)] * 2
    )
    assert receiver.received == []


async def test_without_a_config_file_the_forge_that_runs_is_called(home: Home, alice: Client) -> None:
    port, token = alice.forge.url.rpartition(":")[2], alice.token or ""
    environment = {"POLYFORGE_PORT": port, "POLYFORGE_DATABASE_URL": "postgresql://nowhere/x", "POLYFORGE_TOKEN": token}
    code, output, errors = await home.run("get_user", "--data", str(home.path), **environment)
    assert (code, errors) == (0, "")
    assert '"username": "alice"' in output


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"apikey": "hunter2"', "is not valid JSON."),
        ('{"apikey": "hunter2"}[' + "[" * 200_000, "is not valid JSON."),
        ('{"apikey": ["hunter2"], "apihost": "http://h"}', "apikey in {file} must be a string."),
        ("hunter2", "is neither JSON nor an INI file."),
        ("[instance:a]\napi_key = hunter2\n[instance:a]\n", "is neither JSON nor an INI file."),
        ("[other]\napi_key = hunter2\n", "has no server, which is a section [instance:NAME]."),
        ("\udcff", "is not text in UTF-8."),
        ('{"apihost": "http://h", "apikey": " "}',
         "There is no key. Set POLYFORGE_TOKEN, or name a file with --token-file or --config."),
        ('{"apihost": "http://h", "apikey": "hunter2\\nx"}', "only visible ASCII is possible."),
        ('{"apihost": "http://h", "apikey": "hunter2 \u00fc"}', "only visible ASCII is possible."),
        ('{"apihost": "h/hunter2", "apikey": "a"}', "must begin with http:// or https:// and the name of a host."),
        ('{"apihost": "ftp://h", "apikey": "a"}', "must begin with http:// or https:// and the name of a host."),
        ('{"apihost": "http://", "apikey": "a"}', "must begin with http:// or https:// and the name of a host."),
        ('{"apihost": "http://h:x", "apikey": "a"}', "must begin with http:// or https:// and the name of a host."),
        ('{"apihost": "http://u:hunter2@h", "apikey": "a"}', "must have no user, no password, no `?` and no `#`."),
        ('{"apihost": "http://h?k=hunter2", "apikey": "a"}', "must have no user, no password, no `?` and no `#`."),
    ],
)  # fmt: skip
async def test_a_config_file_that_cannot_be_used_exits_with_2_and_shows_no_key(
    home: Home, text: str, fault: str
) -> None:
    file = home.path / "config"
    file.write_bytes(text.encode(errors="surrogateescape"))
    code, output, errors = await home.run("ping", "--config", str(file))
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("Error: ")
    assert errors.endswith(f"{fault.replace('{file}', str(file))}\n")
    assert "hunter2" not in errors


async def test_a_file_that_cannot_be_read_exits_with_2(home: Home) -> None:
    missing, config = home.path / "missing", home.write_json("config", "http://h", KEY)
    cannot = f"Error: Cannot read {missing}: No such file or directory.\n"
    assert await asyncio.gather(
        home.run("ping", "--config", str(missing)),
        home.run("ping", "--config", config, "--token-file", str(missing)),
        home.run("ping", "--instance-name", "a"),
        home.run("ping", "--config", config, "--instance-name", "a"),
    ) == [
        (2, "", cannot),
        (2, "", cannot),
        (2, "", f"Error: Cannot read {home.path / '.rhoderc'}: No such file or directory.\n"),
        (2, "", f"Error: {config} has one server without a name; leave out --instance-name.\n"),
    ]


def test_a_host_that_is_named_like_a_dialect_is_a_host() -> None:
    dialects = frozenset({"kallithea", "rhodecode"})
    assert split_dialect("http://kallithea", dialects) == ("http://kallithea", None)
    assert split_dialect("http://kallithea/rhodecode", dialects) == ("http://kallithea", "rhodecode")
    assert split_dialect("http://h/forge/kallithea", dialects) == ("http://h/forge", "kallithea")
    assert split_dialect("http://h/my-kallithea", dialects) == ("http://h/my-kallithea", None)
