"""What stands in deploy/: nothing of the tests in the image, no password among arguments, nothing open to the world."""

import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
TEST_PACKAGES = {"pytest", "hypothesis", "mypy", "ruff", "ogr", "libpagure", "import-linter", "standardwebhooks"}
NAME = re.compile(r"[A-Za-z0-9._-]+")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def normalize(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def list_requirements(package: str) -> set[str]:
    """Return the packages that an installation of this one brings, without its extras."""
    found, todo = set(), [package]
    while todo:
        for line in requires(todo.pop()) or []:
            requirement, _, marker = line.partition(";")
            name = normalize(NAME.match(requirement)[0])  # type: ignore[index]
            if "extra" not in marker and name not in found:
                found.add(name)
                try:
                    version(name)
                except ModuleNotFoundError:  # of another system
                    found.discard(name)
                else:
                    todo.append(name)
    return found


def test_the_image_has_no_test_packages() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [install] = re.findall(r"^RUN pip install (.*)$", text, re.MULTILINE)
    # A constraint pins versions and installs nothing; dev is an extra.
    assert install.split() == ["--no-cache-dir", "--constraint", "requirements.lock", "--editable", "."]
    installed = list_requirements("polyforge")
    assert {"aiohttp", "asyncpg", "pygit2"} <= installed
    assert not installed & TEST_PACKAGES
    pinned = {normalize(line.split("==")[0]) for line in (DEPLOY.parent / "requirements.lock").read_text().splitlines()}
    assert installed <= pinned


def test_published_ports_are_of_the_loopback_interface() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_database_and_queue_have_passwords_and_no_way_outside() -> None:
    services = COMPOSE["services"]
    for name in ("postgres", "valkey"):
        assert services[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert "requirepass $$VALKEY_PASSWORD" in services["valkey"]["command"][2]
    assert "${VALKEY_PASSWORD:?" in services["serve"]["environment"]["POLYFORGE_REDIS_URL"]


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_run_as_the_forges_user_and_have_no_secret_among_arguments(unit: Path) -> None:
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match("[A-Za-z]+=", line))
    assert (lines["User"], lines["UMask"], lines["StateDirectoryMode"]) == ("polyforge", "0077", "0700")
    assert lines["RestartPreventExitStatus"] == "2"
    words = lines["ExecStart"].split()
    assert words[0] == "/srv/polyforge/.venv/bin/polyforge"
    assert words[2:] == (["--port", "%i"] if "@" in unit.name else [])
