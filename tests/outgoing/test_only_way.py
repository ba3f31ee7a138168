"""Only app/outgoing opens connections to addresses that users choose."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
    ("app/ops/supervise.py", "urlopen"),
    ("app/cli/client.py", "ClientSession"),
}


def find_openers(source: str) -> Iterator[str]:
    """Find the names in a module that can open connections."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom():
                module = node.module or ""
                names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
                names += [alias.name for alias in node.names]
            case ast.Attribute():
                names = [node.attr, ast.unparse(node)]
            case ast.Name():
                names = [node.id]
        for name in names:
            if name in OPENERS or any(name == library or name.startswith(library + ".") for library in LIBRARIES):
                yield name if name in OPENERS else next(library for library in LIBRARIES if name.startswith(library))


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
