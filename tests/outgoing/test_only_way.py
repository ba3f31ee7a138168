"""Only app/outgoing opens connections to addresses that users choose."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OPENERS = {
    *("ClientSession", "TCPConnector", "open_connection", "create_connection", "sock_connect", "urlopen"),
    *("clone_repository", "remotes", "RemoteCallbacks", "socket.socket"),
}
LIBRARIES = {"requests", "httpx", "urllib3", "http.client", "smtplib", "ftplib", "xmlrpc.client", "urllib.request"}
# These connect to services and ports of the forge itself; the command line is used by the person who chose the address.
INTERNAL = {
    ("app/ops/embedded.py", "socket.socket"),
    ("app/ops/embedded.py", "create_connection"),
    ("app/ops/supervise.py", "socket.socket"),
    ("app/ops/supervise.py", "urllib.request"),
    ("app/cli/client.py", "ClientSession"),
}


def find_openers(source: str) -> Iterator[str]:
    """Find the names in a module that can open connections."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        modules: list[str] = []
        match node:
            case ast.Import():
                names = modules = [alias.name for alias in node.names]
            case ast.ImportFrom():
                module = node.module or ""
                names = [alias.name for alias in node.names]
                # In full, since modules of the forge may be named like a library: app.http.requests.
                modules = [module, *(f"{module}.{name}" for name in names)]
            case ast.Attribute():
                names = [node.attr, ast.unparse(node)]
            case ast.Name():
                names = [node.id]
        yield from (name for name in names if name in OPENERS)
        for module in modules:
            yield from (library for library in LIBRARIES if f"{module}.".startswith(f"{library}."))


@pytest.mark.parametrize(
    "source",
    ["import requests", "import httpx as x", "from urllib import request", "import urllib.request",
     "from requests.sessions import Session", "aiohttp.ClientSession()", "from aiohttp import TCPConnector"],
)  # fmt: skip
def test_openers_are_found(source: str) -> None:
    assert list(find_openers(source))


def test_modules_of_the_forge_are_no_openers() -> None:
    assert not list(find_openers("from app.http import requests\nrequests.read_json(request)"))


def test_connections_are_opened_behind_the_guard_only() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for package in ("app", "events", "workers")
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in find_openers(path.read_text())
    }
    guarded = {(path, name) for path, name in found if path.startswith("app/outgoing/")}
    assert {name for _, name in guarded} >= {"ClientSession", "socket.socket", "sock_connect", "open_connection"}
    assert found - guarded == INTERNAL
