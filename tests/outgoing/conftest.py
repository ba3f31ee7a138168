"""Fixtures of outgoing connections: a listener that must not be reached, fake DNS, TLS, and remote repositories."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.outgoing.guard import Guard
from tests.conftest import commit, git

# Both are this machine. Tests allow ALLOWED_HOST only, so a connection to BLOCKED_HOST means that the guard has failed.
BLOCKED_HOST, ALLOWED_HOST = "127.0.0.1", "127.0.0.2"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def run_server(
    handle: Handler, *hosts: str, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a TCP server whose connections are handled by `handle`; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, list(hosts) or [ALLOWED_HOST], port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Listener:
    """Accepts connections at BLOCKED_HOST and ::1, and records their peers."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Any] = []
        self.connected = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername"))
        self.connected.set()

    async def is_untouched(self) -> bool:
        """Return whether nothing has connected so far.

        Connects itself: connections are accepted in the order in which they are made.
        """
        _, writer = await asyncio.open_connection(BLOCKED_HOST, self.port)
        mine = writer.get_extra_info("sockname")
        while mine not in self.peers:
            await self.connected.wait()
            self.connected.clear()
        writer.close()
        return self.peers == [mine]


def has_address(address: str) -> bool:
    with socket.socket(socket.AF_INET6) as probe, suppress(OSError):
        probe.bind((address, 0))
        return True
    return False


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    async with run_server(listener.accept, BLOCKED_HOST) as listener.port:
        if not has_address("::1"):
            yield listener
            return
        async with run_server(listener.accept, "::1", port=listener.port):
            yield listener


@pytest.fixture
def guard(listener: Listener) -> Guard:
    """Allows ALLOWED_HOST, and the port of the listener like 443, so that it is the address that is refused."""
    return Guard(networks=(ip_network(ALLOWED_HOST),), ports=frozenset({80, 443, listener.port}))


class Names:
    """Fake DNS: each name has a list of answers, given one after the other; the last is repeated.

    Other names have no address.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []

    def __setitem__(self, name: str, answers: list[list[str]]) -> None:
        self.answers[name] = answers

    def getaddrinfo(self, real: Any, host: str, port: int, **options: Any) -> list[Any]:
        with suppress(socket.gaierror):
            return list(real(host, port, **{**options, "flags": socket.AI_NUMERICHOST}))
        self.lookups.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            info for address in addresses for info in real(address, port, **{**options, "flags": socket.AI_NUMERICHOST})
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names, real = Names(), socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **options: names.getaddrinfo(real, host, port, **options)
    )
    names["localhost"] = [[BLOCKED_HOST]]
    return names


class Authority:
    """A self-signed certificate for ALLOWED_HOST and there.example, with TLS contexts that serve and trust it."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "there.example")])
        names = [x509.DNSName("there.example"), x509.IPAddress(ip_address(ALLOWED_HOST))]
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / "certificate.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret = folder / "key.pem"
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.serving.load_cert_chain(self.file, secret)
        self.trusting = ssl.create_default_context(cafile=self.file)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def run_site(handler: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Run a web site at ALLOWED_HOST that answers every path with the handler; yields its URL."""
    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, ALLOWED_HOST, 0, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://{ALLOWED_HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Remote:
    """A repository that is served at ALLOWED_HOST, and a local one without any of its objects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "remote"
        self.work = folder / "work"
        self.here = folder / "here.git"
        self.head = ""
        self.paths: list[str] = []
        self.redirect: str | None = None

    async def make(self) -> None:
        await git("init", "-q", "-b", "main", str(self.work))
        self.head = await commit(self.work)
        await git("clone", "-q", "--bare", str(self.work), str(self.folder))
        await git("update-server-info", cwd=self.folder)
        await git("init", "-q", "--bare", str(self.here))

    async def push(self, *arguments: str) -> None:
        await git("push", "-q", *arguments, str(self.folder), "+refs/*:refs/*", cwd=self.work)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if self.redirect:
            raise web.HTTPFound(self.redirect + request.path)
        file = self.folder / request.path.lstrip("/")
        if not file.is_file():
            raise web.HTTPNotFound(text="secret words of the other side")
        return web.FileResponse(file)

    async def smart(self, request: web.Request) -> web.StreamResponse:
        """Serve the same repository over the smart protocol."""
        service = request.query.get("service") or request.path.rpartition("/")[2]
        arguments = ["git", service.removeprefix("git-"), "--stateless-rpc", str(self.folder)]
        if request.path.endswith("/info/refs"):
            arguments.insert(3, "--http-backend-info-refs")
        git = await asyncio.create_subprocess_exec(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output, _ = await git.communicate(await request.read())
        if request.path.endswith("/info/refs"):
            head = f"# service={service}\n".encode()
            output = b"%04x%s0000%s" % (len(head) + 4, head, output)
            return web.Response(body=output, content_type=f"application/x-{service}-advertisement")
        return web.Response(body=output, content_type=f"application/x-{service}-result")


@pytest.fixture
async def remote(tmp_path: Path) -> Remote:
    remote = Remote(tmp_path)
    await remote.make()
    return remote
