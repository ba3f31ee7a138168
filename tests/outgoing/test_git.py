"""Git against remotes that users choose."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.git.errors import NoRepository
from app.outgoing import git as remotes
from app.outgoing.failures import OutgoingError
from app.outgoing.guard import Guard
from app.outgoing.proxy import Proxy, open_proxy
from tests.conftest import commit, git
from tests.outgoing.conftest import ALLOWED_HOST, BLOCKED_HOST, Authority, Listener, Names, Remote, run_server, run_site

Run = Callable[..., Awaitable[str]]


@pytest.fixture
async def proxy(guard: Guard) -> AsyncIterator[Proxy]:
    async with open_proxy(guard, connect=2.0) as proxy:
        yield proxy


@pytest.fixture
def run(proxy: Proxy, remote: Remote, authority: Authority) -> Run:
    """Run git in the local repository, trusting the authority."""

    async def run(*arguments: str, **config: str) -> str:
        trust = {"http.sslCAInfo": str(authority.file), **{name.replace("__", "."): config[name] for name in config}}
        return (await remotes.run_git(proxy, remote.here, *arguments, config=trust, deadline=20)).decode()

    return run


async def get_failure(run: Run, *arguments: str, **config: str) -> str:
    with pytest.raises(OutgoingError) as caught:
        await run(*arguments, **config)
    assert str(caught.value) == caught.value.failure.value
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.failure


async def test_git_reads_from_an_allowed_host(run: Run, remote: Remote, authority: Authority, names: Names) -> None:
    names["there.example"] = [[ALLOWED_HOST]]
    async with run_site(remote.serve, authority.serving) as url:
        assert await run("ls-remote", "--", url, "refs/heads/*") == f"{remote.head}\trefs/heads/main\n"
        by_name = url.replace(ALLOWED_HOST, "there.example")
        await run("fetch", "-q", "--", by_name, "+refs/heads/*:refs/heads/*")
    assert (await git("rev-parse", "main", cwd=remote.here)).strip() == remote.head


async def test_git_fetches_and_pushes(run: Run, remote: Remote, authority: Authority) -> None:
    async with run_site(remote.smart, authority.serving) as url:
        await run("fetch", "-q", "--", url, "+refs/heads/*:refs/heads/*")
        assert (await git("rev-parse", "main", cwd=remote.here)).strip() == remote.head
        work = remote.here.parent / "other"
        await git("clone", "-q", str(remote.here), str(work))
        # Large enough that git sends it in chunks.
        new = await commit(work, "noise", os.urandom(1 << 21).hex())
        await git("push", "-q", "origin", "HEAD:refs/heads/topic", cwd=work)
        await run("push", "-q", "--", url, "topic")
    assert (await git("rev-parse", "topic", cwd=remote.folder)).strip() == new


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001",
     "0177.0.0.1", "rebind.example", "localhost.", "[64:ff9b::7f00:1]", "user:password@127.0.0.1"],
)  # fmt: skip
async def test_git_reaches_nothing_that_is_refused(
    run: Run, remote: Remote, listener: Listener, names: Names, host: str
) -> None:
    names["rebind.example"] = names["localhost."] = [[BLOCKED_HOST]]
    for command in (("ls-remote", "--"), ("fetch", "-q", "--")):
        assert await get_failure(run, *command, f"https://{host}:{listener.port}/x.git") == "refused"
    assert await listener.is_untouched()


async def test_git_does_not_resolve_names_itself(
    run: Run, remote: Remote, authority: Authority, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[BLOCKED_HOST], [ALLOWED_HOST]]
    assert await get_failure(run, "ls-remote", "--", f"https://rebind.example:{listener.port}/") == "refused"
    assert names.lookups == ["rebind.example"]
    assert await listener.is_untouched()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://127.0.0.2:{port}/", "git://127.0.0.1:{port}/", "ssh://127.0.0.1:{port}/x",
     "ftp://127.0.0.1:{port}/", "file:///{folder}", "{folder}", "ext::sh -c touch% {folder}/ran",
     "git@127.0.0.1:x.git", "https::http://127.0.0.1:{port}/"],
)  # fmt: skip
async def test_git_uses_https_only(run: Run, remote: Remote, listener: Listener, url: str) -> None:
    target = url.format(port=listener.port, folder=remote.folder)
    async with run_site(remote.serve) as plain:
        assert await get_failure(run, "ls-remote", "--", target) in ("rejected", "refused")
        assert await get_failure(run, "ls-remote", "--", plain) == "rejected"
    assert remote.paths == []
    assert not (remote.folder / "ran").exists()
    assert await listener.is_untouched()


async def test_git_does_not_follow_redirects(
    run: Run, remote: Remote, authority: Authority, listener: Listener
) -> None:
    async with run_site(remote.serve, authority.serving) as url, run_site(remote.serve, authority.serving) as other:
        for elsewhere in (
            f"https://{BLOCKED_HOST}:{listener.port}",
            f"http://{BLOCKED_HOST}:{listener.port}",
            other + "/next",
        ):
            remote.redirect = elsewhere
            assert await get_failure(run, "ls-remote", "--", url, http__followRedirects="true") == "rejected"
    assert not [path for path in remote.paths if path.startswith("/next")]
    assert await listener.is_untouched()


async def test_git_borrows_no_objects_from_elsewhere(
    run: Run, remote: Remote, authority: Authority, listener: Listener, tmp_path: Path
) -> None:
    # Over the dumb protocol a repository can refer to others, by URL, for its objects.
    async with run_site(remote.serve, authority.serving) as url:
        for elsewhere in (f"https://{BLOCKED_HOST}:{listener.port}/", f"http://{BLOCKED_HOST}:{listener.port}/"):
            (remote.folder / "objects" / "info" / "http-alternates").write_text(elsewhere + "\n")
            for loose in [*remote.folder.glob("objects/??/*"), *remote.folder.glob("objects/pack/*")]:
                loose.unlink()
            assert await get_failure(run, "fetch", "-q", "--", url, "main") == "rejected"
    assert await listener.is_untouched()


async def test_git_does_not_ask_for_a_password(run: Run, remote: Remote, authority: Authority, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\necho username=alice\necho password=secret\n")
    program.chmod(0o755)
    credentials = []

    async def refuse(request: web.Request) -> web.Response:
        credentials.append(request.headers.get("Authorization"))
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="secret"'})

    # As if the repository configured a program.
    await git("config", "credential.helper", str(program), cwd=remote.here)
    await git("config", "core.askPass", str(program), cwd=remote.here)
    async with run_site(refuse, authority.serving) as url:
        assert await get_failure(run, "ls-remote", "--", url) == "rejected"
        assert await get_failure(run, "ls-remote", "--", url, credential__helper=str(program)) == "rejected"
    assert set(credentials) == {None}
    assert not ran.exists()


async def test_git_downloads_no_lfs_files(run: Run, remote: Remote, authority: Authority, tmp_path: Path) -> None:
    async with run_site(remote.serve, authority.serving) as url:
        await run("fetch", "-q", "--", url, "+refs/heads/*:refs/heads/*")
    # As if LFS were installed on this machine.
    (remote.here / "info" / "attributes").write_text("* filter=lfs\n")
    for name in ("smudge", "process"):
        await git("config", f"filter.lfs.{name}", f"touch {tmp_path}/ran; cat", cwd=remote.here)
        await git("config", "filter.lfs.required", "true", cwd=remote.here)
        assert await run("cat-file", "--filters", "main:file") == "text"
        assert not (tmp_path / "ran").exists()
    await git("config", "--unset", "filter.lfs.process", cwd=remote.here)
    assert await git("cat-file", "--filters", "main:file", cwd=remote.here) == "text"
    assert (tmp_path / "ran").exists()


async def test_no_setting_makes_git_bypass_the_proxy(
    run: Run, remote: Remote, authority: Authority, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{BLOCKED_HOST}:{listener.port}")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "http:https:file")
    await git("config", "http.proxy", "", cwd=remote.here)
    url = f"https://{BLOCKED_HOST}:{listener.port}/"
    assert await get_failure(run, "ls-remote", "--", url) == "refused"
    assert await get_failure(run, "ls-remote", "--", url, http__proxy="") == "refused"
    assert (
        await get_failure(run, "ls-remote", "--", url.replace("https", "http"), protocol__http__allow="always")
        == "rejected"
    )
    assert await listener.is_untouched()


async def test_git_checks_certificates(
    run: Run, proxy: Proxy, remote: Remote, authority: Authority, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names["other.example"] = [[ALLOWED_HOST]]
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    async with run_site(remote.serve, authority.serving) as url:
        with pytest.raises(OutgoingError, match=r"^tls$"):
            await remotes.run_git(proxy, remote.here, "ls-remote", "--", url)
        other = url.replace(ALLOWED_HOST, "other.example")
        assert await get_failure(run, "ls-remote", "--", other) == "tls"
        assert await get_failure(run, "ls-remote", "--", other, http__sslVerify="false") == "tls"
    assert remote.paths == []


async def test_git_ends_at_its_deadline_if_the_remote_is_silent(proxy: Proxy, remote: Remote, names: Names) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        gone.set()

    async with run_server(silent) as port:
        with pytest.raises(OutgoingError, match=r"^timeout$"):
            await remotes.run_git(
                proxy, remote.here, "ls-remote", "--", f"https://{ALLOWED_HOST}:{port}/", deadline=1.0
            )
        await gone.wait()


@pytest.fixture
async def one_thread() -> AsyncIterator[None]:
    """Give the event loop, which later tests use too, a single thread for the length of a test."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, str)  # makes the executor, if this is the first test
    usual: Any = getattr(loop, "_default_executor", None)
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        yield
        loop.set_default_executor(usual)


async def test_slow_remotes_take_no_threads_from_other_work(one_thread: None, proxy: Proxy, remote: Remote) -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await asyncio.Event().wait()

    async with run_server(silent) as port:
        run = remotes.run_git(proxy, remote.here, "ls-remote", "--", f"https://{ALLOWED_HOST}:{port}/", deadline=20.0)
        slow = asyncio.create_task(run)
        await connected.wait()
        assert await asyncio.to_thread(str) == ""
        assert not slow.done()
        slow.cancel()
        await asyncio.wait([slow])


async def test_a_failure_reveals_its_class_and_no_output_of_git(
    run: Run, proxy: Proxy, remote: Remote, authority: Authority, names: Names
) -> None:
    async with run_site(remote.serve, authority.serving) as url:
        secret = url.replace("https://", "https://alice:secret@")
        assert await get_failure(run, "ls-remote", "--", secret + "/nowhere") == "rejected"
    assert await get_failure(run, "ls-remote", "--", url) == "unreachable"
    assert await get_failure(run, "ls-remote", "--", "https://nowhere.example/") == "unresolved"
    assert await get_failure(run, "ls-remote", "--", "--upload-pack=touch /tmp/ran") == "rejected"
    with pytest.raises(NoRepository):
        await remotes.run_git(proxy, remote.folder / "nowhere", "ls-remote", "--", url)
