"""Settings that cannot work, and servers that refuse: one sentence with the setting's name, and the exit code 2."""

import asyncio
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet

from app.config import Settings
from tests.cli.command import UNUSABLE_HOSTS, start_command

pytestmark = pytest.mark.slow

KEY = Fernet.generate_key().decode()
WRONG_VALUES = {
    "DATABASE_URL": ["mysql://u:sesame@host/db", "sesame"],
    "REDIS_URL": ["http://:sesame@host"],
    "PORT": ["0", "65536", "http"],
    "PUBLIC_URL": ["forge.example", "ftp://forge.example", "https://"],
    "SSH_URL": ["git@forge.example"],
    "ADMIN_TOKEN": ["sesame", "sesame " * 10, "sésame-sésame-sésame-sésame"],
    "METRICS_ALLOW": ["10.0.0.1/8", "[10.0.0.0/8]", '{"a": 1}', "localhost"],
    "WEBHOOK_ALLOW": ["10.0.0.1/8", '["10.0.0.0/8"', "everything"],
    "SECRETS_KEYS": ["sesame", f"{KEY},sesame", ",", f"{KEY}sesame", f"{KEY}{KEY}"],
    "TRUSTED_PROXIES": ["10.0.0.1/8", "everything"],
    "API_PROCESSES": ["0", "many"],
    "POOL_SIZE": ["0", "-1", "many"],
    "NAMESPACES": ["[1]", '{"rpms": 1}', '["rpms'],
    "PAGURE_DISABLED_PLUGINS": ["[null]"],
    "NEW_PROJECTS": ["maybe"],
    "NEW_GROUPS": ["maybe"],
    "PRIVATE_PROJECTS": ["maybe"],
    "USER_NAMESPACES": ["maybe"],
    "DELETE_PROJECTS": ["maybe"],
    "DELETE_FORKS": ["maybe"],
    "MIRRORING": ["maybe"],
    "DEFAULT_BRANCH": ["a..b", "-x", "HEAD", "a b"],
    "MAX_PUSH_BYTES": ["0", "2G"],
    "MAX_PUSH_REFS": ["0", "many"],
    "MAX_FETCH_REQUEST_BYTES": ["0", "8M"],
    "FETCHES": ["0", "many"],
    "FETCHES_PER_PROJECT": ["0", "many"],
    "FETCHES_PER_ADDRESS": ["0", "many"],
    "FETCH_WAIT": ["-1", "nan", "inf"],
    "GIT_DEADLINE": ["0", "inf", "nan"],
    "GIT_READ": ["many", '{"memory": 1}', '{"seconds": 0}', '{"memory": "sesame"}'],
    "GIT_CHANGE": ["1", '{"cpu": 0}'],
    "GIT_FETCH": ["[]", '{"output": 0}'],
    "GIT_PUSH": ["{", '{"unknown": 1}'],
    "GIT_MIRROR": ["null", '{"seconds": -1}'],
    "GIT_ACCEPTED_FAULTS": ["badEmail,badTree", '["badTree"]'],
    "FSYNC": ["yes", "true"],
    "LONG_READS": ["0", "many"],
    "LONG_READ_QUEUE": ["0", "many"],
    "HEAD_TIMEOUT": ["0", "nan", "inf"],
    "CLIENT_PAUSE": ["0", "nan", "inf"],
    "MIN_CLIENT_RATE": ["-1", "nan", "inf"],
    "KEEP_ALIVE": ["0", "nan", "inf"],
    "CONNECTIONS_PER_ADDRESS": ["0", "many"],
    "RATE_FAILED_LOGINS_PER_ADDRESS": ["100", "many/minute"],
    "RATE_FAILED_LOGINS_PER_ACCOUNT": ["100 a minute", "-1/minute"],
    "RATE_READS_WITHOUT_TOKEN": ["1/fortnight", "x"],
    "RATE_WRITES": ["0.5/minute", "x"],
    "MIRROR_INTERVAL": ["-1", "nan"],
    "LEASE": ["0", "inf", "1e300"],
    "LOG_LEVEL": ["loud"],
    "JSONRPC_DEFAULT": ["gitea", "RhodeCode "],
}
COMMANDS = (["up"], ["serve"], ["migrate"], ["rebuild"], ["doctor"], ["user", "list"], ["token", "add", "a"], ["tasks"])


async def run(*arguments: str, **settings: str) -> tuple[int | None, str]:
    """Run a command to its end; return its exit code and its standard error."""
    environment = {f"POLYFORGE_{name}": value for name, value in settings.items()}
    async with start_command(*arguments, **environment) as command, asyncio.timeout(60):
        _, errors = await command.process.communicate()
        return command.process.returncode, errors.decode()


@pytest.mark.parametrize("place", range(max(map(len, WRONG_VALUES.values()))))
async def test_a_wrong_setting_is_one_sentence_that_names_it(place: int) -> None:
    wrong = {name: values[place] for name, values in WRONG_VALUES.items() if place < len(values)}
    code, errors = await run("relay", DATA="/proc/data", **wrong)
    assert code == 2
    named = re.findall(r"^Error: POLYFORGE_(\w+)(?: \(--[a-z-]+\))?: \S.*\.$", errors, re.MULTILINE)
    assert sorted(named) == sorted(wrong)
    assert len(errors.splitlines()) == len(wrong)
    assert "sesame" not in errors
    assert KEY not in errors


def test_every_setting_is_tried() -> None:
    untried = {"DATA", "HOST", "ADMIN_USER", "ADMIN_TOKEN_FILE", "SECRETS_KEY_FILE"}  # have tests of their own
    assert {name.upper() for name in Settings.model_fields} - untried == WRONG_VALUES.keys()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_every_command_refuses_wrong_settings_at_once(command: list[str], var: Path) -> None:
    code, errors = await run(*command, DATA=str(var), LEASE="x", WEBHOOK_ALLOW="everything")
    assert code == 2
    assert [line.split(": ")[1] for line in errors.splitlines()] == ["POLYFORGE_LEASE", "POLYFORGE_WEBHOOK_ALLOW"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("rpms,modules", ["rpms", "modules"]),
        (" rpms , modules, ", ["rpms", "modules"]),
        ('["rpms", "modules"]', ["rpms", "modules"]),
        ('"rpms"', ["rpms"]),
        ("rpms", ["rpms"]),
        ("", []),
    ],
)
def test_lists_are_written_with_commas_or_as_json(
    written: str, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYFORGE_NAMESPACES", written)
    assert Settings().namespaces == read


def test_networks_are_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("127.0.0.0/8,fd00::/64", '["127.0.0.0/8", "fd00::/64"]'):
        monkeypatch.setenv("POLYFORGE_WEBHOOK_ALLOW", written)
        assert [str(network) for network in Settings().webhook_allow] == ["127.0.0.0/8", "fd00::/64"]


async def test_a_misspelt_setting_is_warned_of(var: Path) -> None:
    _, errors = await run("config", PUBLIC_ULR="https://forge.example", TOKEN="x" * 20)
    assert errors == (
        "Warning: POLYFORGE_PUBLIC_ULR is not a setting and has no effect. Did you mean POLYFORGE_PUBLIC_URL?\n"
    )
    _, errors = await run("relay", DATA=str(var), PUBLIC_ULR="https://forge.example")
    assert '"similar":"POLYFORGE_PUBLIC_URL"' in errors.splitlines()[0]


@pytest.mark.parametrize(("host", "cause"), UNUSABLE_HOSTS.items())
async def test_an_address_that_cannot_be_listened_on_is_named(
    host: str, cause: str, own_settings: Settings, var: Path
) -> None:
    code, errors = await run("up", "--data", str(var / "data"), HOST=host, **name_services(own_settings))
    assert (code, errors.splitlines()[-1].startswith(f"Error: POLYFORGE_HOST: {cause}")) == (2, True), errors
    assert "Traceback" not in errors


async def test_a_port_that_is_in_use_is_named(own_settings: Settings, var: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, errors = await run("up", "--data", str(var), PORT=str(port), **name_services(own_settings))
    assert (code, f"Error: POLYFORGE_PORT (--port): port {port} of 127.0.0.1 is in use." in errors) == (1, True)


async def test_up_says_what_it_waits_for(own_settings: Settings, var: Path) -> None:
    urls = {**name_services(own_settings), "REDIS_URL": "redis://127.0.0.1:1/0", "PORT": str(own_settings.port)}
    environment = {f"POLYFORGE_{name}": value for name, value in urls.items()}
    async with start_command("up", "--data", str(var / "data"), **environment) as command:
        async with asyncio.timeout(60):
            assert command.process.stderr is not None
            while not (line := (await command.process.stderr.readline()).decode()).startswith("Warning: after 30 s"):
                assert line
        assert "queue: " in line
        assert "database: " not in line
        assert command.process.returncode is None


async def test_files_that_settings_name_have_to_exist(own_settings: Settings, var: Path) -> None:
    urls = name_services(own_settings)
    (var / "folder").mkdir()
    for name, parameter in (
        ("DATABASE_URL", "sslrootcert"), ("DATABASE_URL", "sslcert"), ("DATABASE_URL", "sslkey"),
        ("DATABASE_URL", "sslcrl"), ("DATABASE_URL", "passfile"), ("REDIS_URL", "ssl_ca_certs"),
        ("REDIS_URL", "ssl_certfile"), ("REDIS_URL", "ssl_keyfile"),
    ):  # fmt: skip
        wrong = {**urls, name: f"{urls[name]}?{parameter}=/nowhere/file"}
        for command in ("relay", "doctor") if parameter == "sslcert" else ("doctor",):
            code, errors = await run(command, DATA=str(var / "data"), **wrong)
            expected = f"Error: POLYFORGE_{name} ({parameter}): there is no file /nowhere/file.\n"
            assert (code, errors.endswith(expected)) == (2, True), errors
    code, errors = await run("doctor", DATA=str(var / "data"), SECRETS_KEY_FILE=str(var / "folder"), **urls)
    assert (code, errors) == (
        2, f"Error: POLYFORGE_SECRETS_KEY_FILE: cannot read {var / 'folder'}: it is a folder.\n"
    )  # fmt: skip


def name_services(settings: Settings) -> dict[str, str]:
    return {"DATABASE_URL": settings.required_database_url(), "REDIS_URL": settings.required_redis_url()}


def change_url(url: str, *, password: str | None = None, path: str | None = None) -> str:
    parts = urlsplit(url)
    login = f"{parts.username or ''}:{password or parts.password}"
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}", path=path or parts.path).geturl()


@pytest.mark.parametrize("command", ["serve", "work", "relay", "migrate", "doctor", "up"])
async def test_a_wrong_password_ends_every_command(command: str, own_settings: Settings, var: Path) -> None:
    urls = {"DATABASE_URL": own_settings.required_database_url(), "REDIS_URL": own_settings.required_redis_url()}
    for name in urls if command != "migrate" else ["DATABASE_URL"]:
        wrong = {**urls, name: change_url(urls[name], password="sesame")}
        async with asyncio.timeout(20):
            code, errors = await run(command, "--data", str(var / command), **wrong)
        if command == "doctor":  # whose result is its output
            assert code == 2
            continue
        assert code == 2, errors
        assert [line for line in errors.splitlines() if "tarted by root" not in line] == [
            line for line in errors.splitlines() if line.startswith("Error: ")
        ]
        assert f"Error: POLYFORGE_{name}: " in errors
        assert "sesame" not in errors


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://u:pa/ss@127.0.0.1/db", "cannot be read"),
        ("postgresql://u@127.0.0.1:1,127.0.0.1:2,127.0.0.1:x/db", "cannot be read"),
    ],
)
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str, cause: str, var: Path) -> None:
    code, errors = await run("migrate", DATA=str(var), DATABASE_URL=url)
    assert (code, errors.startswith("Error: POLYFORGE_DATABASE_URL: "), cause in errors) == (2, True, True)
    assert "ss@" not in errors


async def test_a_missing_database_and_an_unknown_parameter_are_told(own_settings: Settings, var: Path) -> None:
    url = own_settings.required_database_url()
    for wrong in (change_url(url, path="/nothing"), f"{url}?colour=red"):
        code, errors = await run("migrate", DATA=str(var), DATABASE_URL=wrong)
        assert (code, errors.startswith("Error: POLYFORGE_DATABASE_URL: ")) == (2, True), errors


async def test_a_server_that_is_away_is_waited_for_and_the_cause_is_logged(own_settings: Settings, var: Path) -> None:
    away = change_url(own_settings.required_database_url()).replace(
        f":{urlsplit(own_settings.required_database_url()).port}/", ":1/"
    )
    urls = {"DATABASE_URL": away, "REDIS_URL": own_settings.required_redis_url()}
    environment = {f"POLYFORGE_{name}": value for name, value in urls.items()}
    async with start_command("relay", "--data", str(var), **environment) as command:
        while '"database"' not in (line := await command.read_error()):
            pass
        assert "POLYFORGE_DATABASE_URL" in line
        assert command.process.returncode is None


async def test_doctor_names_the_cause_of_each_fault(own_settings: Settings, var: Path) -> None:
    urls = {
        "POLYFORGE_DATABASE_URL": change_url(own_settings.required_database_url(), password="sesame"),
        "POLYFORGE_REDIS_URL": "unix:///nowhere/valkey.sock",
    }
    async with start_command("doctor", "--data", str(var), **urls) as command:
        output = (await command.process.communicate())[0].decode()
    assert command.process.returncode == 2
    results = dict(line.split(maxsplit=1) for line in output.splitlines())
    assert results["database"].startswith("POLYFORGE_DATABASE_URL: the user or the password is wrong")
    assert "POLYFORGE_REDIS_URL" in results["queue"]
    assert "sesame" not in output


async def test_an_unusable_data_directory_is_told(var: Path, own_settings: Settings) -> None:
    (var / "file").write_text("")
    urls = {"DATABASE_URL": own_settings.required_database_url(), "REDIS_URL": own_settings.required_redis_url()}
    for command in ("serve", "work", "relay", "up"):
        code, errors = await run(command, "--data", str(var / "file" / "data"), **urls)
        assert (code, errors.count("\n"), "POLYFORGE_DATA" in errors) == (2, 1, True), errors
