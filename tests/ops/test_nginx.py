"""deploy/nginx.conf, as Debian's nginx runs it in front of a forge: TLS, large pushes, streams, /metrics."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.config import Settings
from app.ops import embedded
from tests.conftest import Client, Forge, commit, git, own_folder, run_forge
from tests.processes import TIED

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "nginx.conf"
MAIN = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/polyforge.conf;
}}
"""
PUSHED_BYTES = 48 << 20

# nginx is no Python package, and `make test` must pass with nothing installed by hand: these are skipped without it.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.own_forge,
    pytest.mark.skipif(NGINX is None, reason="deploy/nginx.conf was not tried: nginx is not installed"),
]


@pytest.fixture
def port() -> int:
    return embedded.free_port()


@pytest.fixture
def settings(own_settings: Settings, port: int) -> Settings:
    return own_settings.model_copy(update={"public_url": f"https://localhost:{port}"})


@pytest.fixture
async def forge(settings: Settings) -> AsyncIterator[Forge]:
    """A forge whose clients of this test ask it directly, beside the proxy."""
    async with run_forge(settings) as forge:
        forge.url = f"http://{settings.host}:{settings.port}"
        yield forge


def write_certificate(folder: Path) -> None:
    """Write a key and a certificate for localhost that is signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, names = datetime.now(UTC), [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "certificate").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


@pytest.fixture
async def proxy(forge: Forge, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """nginx with the names, ports and files of this test, and a client that trusts its certificate."""
    assert NGINX is not None
    with own_folder() as folder:
        write_certificate(folder)
        text, plain = CONFIGURATION.read_text(), embedded.free_port()
        for written, here in {
            "127.0.0.1:8080": f"127.0.0.1:{forge.settings.port}",
            "listen 80": f"listen 127.0.0.1:{plain}",
            "listen 443": f"listen 127.0.0.1:{port}",
            "forge.example;": "localhost;",
            "/etc/ssl/certs/forge.example.pem": f"{folder}/certificate",
            "/etc/ssl/private/forge.example.key": f"{folder}/key",
        }.items():
            assert written in text
            text = text.replace(written, here)
        (folder / "polyforge.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        process = await asyncio.create_subprocess_exec(
            *TIED, NGINX, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log", stderr=asyncio.subprocess.PIPE
        )
        trusted = ssl.create_default_context(cafile=folder / "certificate")
        connector = aiohttp.TCPConnector(ssl=trusted)
        try:
            async with aiohttp.ClientSession(f"https://localhost:{port}", connector=connector) as session:
                await wait_until_listening(port, process)
                session.headers["X-Plain"] = f"http://localhost:{plain}"
                session.headers["X-Folder"] = str(folder)
                yield session
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


async def wait_until_listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, (await process.communicate())[1]
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_a_large_push_and_a_clone_pass_through(
    proxy: aiohttp.ClientSession, nethack: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSL_CAINFO", proxy.headers["X-Folder"] + "/certificate")
    url = nethack.git_url("nethack").replace(f"127.0.0.1:{nethack.forge.settings.port}", f"localhost:{port_of(proxy)}")
    url = url.replace("http://", "https://")
    work = tmp_path / "work"
    await git("clone", "-q", url, str(work))
    (work / "large").write_bytes(os.urandom(PUSHED_BYTES))
    head = await commit(work)
    await git("add", "large", cwd=work)
    await git("commit", "-qm", "Large", "--amend", "--no-edit", cwd=work)
    head = (await git("rev-parse", "HEAD", cwd=work)).strip()
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    await git("clone", "-q", url, str(tmp_path / "clone"))
    assert (await git("rev-parse", "HEAD", cwd=tmp_path / "clone")).strip() == head


def port_of(session: aiohttp.ClientSession) -> int:
    assert session._base_url is not None
    assert session._base_url.port is not None
    return session._base_url.port


async def test_pages_link_to_the_public_address(proxy: aiohttp.ClientSession, nethack: Client) -> None:
    await nethack.post("/new", name="angband", description="d")
    async with proxy.get("/api/0/projects?per_page=1") as answer:
        page = await answer.json()
    assert page["pagination"]["next"].startswith(f"https://localhost:{port_of(proxy)}/api/0/projects?")


async def test_events_arrive_while_the_stream_is_open(proxy: aiohttp.ClientSession, nethack: Client) -> None:
    async with proxy.get("/v1/events?types=issue.opened", headers={"Accept": "text/event-stream"}) as stream:
        assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
        received = b""
        async with asyncio.timeout(10):
            while b"issue.opened" not in received:
                received += await stream.content.readany()


async def test_metrics_are_not_shown_without_a_token(proxy: aiohttp.ClientSession, forge: Forge) -> None:
    """The proxy asks from an allowed network, but for somebody else."""
    async with proxy.get("/metrics") as answer:
        assert answer.status == 401
    # A client cannot take back what the proxy says of it.
    async with proxy.get("/metrics", headers={"X-Forwarded-For": "", "Forwarded": ""}) as answer:
        assert answer.status == 401
    async with proxy.get("/metrics", headers={"Authorization": f"token {forge.admin.token}"}) as answer:
        assert answer.status == 200


async def test_plain_http_leads_to_tls(proxy: aiohttp.ClientSession) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(proxy.headers["X-Plain"] + "/nethack?a=b", allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/nethack?a=b")
