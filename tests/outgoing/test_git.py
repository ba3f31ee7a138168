"""The ordinary git client, aimed by users."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web

from app.git.errors import NoRepository
from app.outgoing import git as remotes
from app.outgoing.failures import OutgoingError
from app.outgoing.guard import Guard
from app.outgoing.proxy import Proxy, open_proxy
from tests.conftest import commit, git
from tests.outgoing.conftest import HERE, THERE, Authority, Away, Listener, Names, site, talking

Run = Callable[..., Awaitable[str]]


@pytest.fixture
async def out(guard: Guard) -> AsyncIterator[Proxy]:
    async with open_proxy(guard, connect=2.0) as out:
        yield out


@pytest.fixture
def run(out: Proxy, away: Away, authority: Authority) -> Run:
    """Git, in the repository here, trusting the authority."""

    async def run(*arguments: str, **config: str) -> str:
        trust = {"http.sslCAInfo": str(authority.file), **{name.replace("__", "."): config[name] for name in config}}
        return (await remotes.run_git(out, away.here, *arguments, config=trust, deadline=20)).decode()

    return run


async def fails(run: Run, *arguments: str, **config: str) -> str:
    with pytest.raises(OutgoingError) as caught:
        await run(*arguments, **config)
    assert str(caught.value) == caught.value.failure.value
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.failure


async def test_git_reads_from_where_it_may(run: Run, away: Away, authority: Authority, names: Names) -> None:
    names["there.example"] = [[THERE]]
    async with site(away.serve, authority.serving) as url:
        assert await run("ls-remote", "--", url, "refs/heads/*") == f"{away.head}\trefs/heads/main\n"
        named = url.replace(THERE, "there.example")
        await run("fetch", "-q", "--", named, "+refs/heads/*:refs/heads/*")
    assert (await git("rev-parse", "main", cwd=away.here)).strip() == away.head


async def test_git_fetches_and_pushes(run: Run, away: Away, authority: Authority) -> None:
    async with site(away.smart, authority.serving) as url:
        await run("fetch", "-q", "--", url, "+refs/heads/*:refs/heads/*")
        assert (await git("rev-parse", "main", cwd=away.here)).strip() == away.head
        work = away.here.parent / "other"
        await git("clone", "-q", str(away.here), str(work))
        # Large enough that git sends it in pieces.
        new = await commit(work, "noise", os.urandom(1 << 21).hex())
        await git("push", "-q", "origin", "HEAD:refs/heads/topic", cwd=work)
        await run("push", "-q", "--", url, "topic")
    assert (await git("rev-parse", "topic", cwd=away.folder)).strip() == new


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001",
     "0177.0.0.1", "rebind.example", "localhost.", "[64:ff9b::7f00:1]", "user:password@127.0.0.1"],
)  # fmt: skip
async def test_git_reaches_nothing_that_is_refused(
    run: Run, away: Away, listener: Listener, names: Names, host: str
) -> None:
    names["rebind.example"] = names["localhost."] = [[HERE]]
    for command in (("ls-remote", "--"), ("fetch", "-q", "--")):
        assert await fails(run, *command, f"https://{host}:{listener.port}/x.git") == "refused"
    assert await listener.untouched()


async def test_git_sees_a_name_where_the_proxy_saw_it(
    run: Run, away: Away, authority: Authority, listener: Listener, names: Names
) -> None:
    names["rebind.example"] = [[HERE], [THERE]]
    assert await fails(run, "ls-remote", "--", f"https://rebind.example:{listener.port}/") == "refused"
    assert names.asked == ["rebind.example"]
    assert await listener.untouched()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://127.0.0.2:{port}/", "git://127.0.0.1:{port}/", "ssh://127.0.0.1:{port}/x",
     "ftp://127.0.0.1:{port}/", "file:///{folder}", "{folder}", "ext::sh -c touch% {folder}/ran",
     "git@127.0.0.1:x.git", "https::http://127.0.0.1:{port}/"],
)  # fmt: skip
async def test_git_speaks_https_and_nothing_else(run: Run, away: Away, listener: Listener, url: str) -> None:
    aimed = url.format(port=listener.port, folder=away.folder)
    async with site(away.serve) as plain:
        assert await fails(run, "ls-remote", "--", aimed) in ("rejected", "refused")
        assert await fails(run, "ls-remote", "--", plain) == "rejected"
    assert away.paths == []
    assert not (away.folder / "ran").exists()
    assert await listener.untouched()


async def test_git_follows_no_redirect(run: Run, away: Away, authority: Authority, listener: Listener) -> None:
    async with site(away.serve, authority.serving) as url, site(away.serve, authority.serving) as other:
        for elsewhere in (f"https://{HERE}:{listener.port}", f"http://{HERE}:{listener.port}", other + "/next"):
            away.redirect = elsewhere
            assert await fails(run, "ls-remote", "--", url, http__followRedirects="true") == "rejected"
    assert not [path for path in away.paths if path.startswith("/next")]
    assert await listener.untouched()


async def test_git_borrows_no_objects_from_elsewhere(
    run: Run, away: Away, authority: Authority, listener: Listener, tmp_path: Path
) -> None:
    # The dumb protocol lets a repository name others, by URL, that have its objects.
    async with site(away.serve, authority.serving) as url:
        for elsewhere in (f"https://{HERE}:{listener.port}/", f"http://{HERE}:{listener.port}/"):
            (away.folder / "objects" / "info" / "http-alternates").write_text(elsewhere + "\n")
            for loose in [*away.folder.glob("objects/??/*"), *away.folder.glob("objects/pack/*")]:
                loose.unlink()
            assert await fails(run, "fetch", "-q", "--", url, "main") == "rejected"
    assert await listener.untouched()


async def test_git_asks_nobody_for_a_password(run: Run, away: Away, authority: Authority, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\necho username=alice\necho password=secret\n")
    program.chmod(0o755)
    credentials = []

    async def locked(request: web.Request) -> web.Response:
        credentials.append(request.headers.get("Authorization"))
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="secret"'})

    # As if the repository's own settings named a program.
    await git("config", "credential.helper", str(program), cwd=away.here)
    await git("config", "core.askPass", str(program), cwd=away.here)
    async with site(locked, authority.serving) as url:
        assert await fails(run, "ls-remote", "--", url) == "rejected"
        assert await fails(run, "ls-remote", "--", url, credential__helper=str(program)) == "rejected"
    assert set(credentials) == {None}
    assert not ran.exists()


async def test_git_fetches_no_large_files(run: Run, away: Away, authority: Authority, tmp_path: Path) -> None:
    async with site(away.serve, authority.serving) as url:
        await run("fetch", "-q", "--", url, "+refs/heads/*:refs/heads/*")
    # As if they were set up on this machine.
    (away.here / "info" / "attributes").write_text("* filter=lfs\n")
    for name in ("smudge", "process"):
        await git("config", f"filter.lfs.{name}", f"touch {tmp_path}/ran; cat", cwd=away.here)
        await git("config", "filter.lfs.required", "true", cwd=away.here)
        assert await run("cat-file", "--filters", "main:file") == "text"
        assert not (tmp_path / "ran").exists()
    await git("config", "--unset", "filter.lfs.process", cwd=away.here)
    assert await git("cat-file", "--filters", "main:file", cwd=away.here) == "text"
    assert (tmp_path / "ran").exists()


async def test_no_setting_leads_git_past_the_proxy(
    run: Run, away: Away, authority: Authority, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{HERE}:{listener.port}")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "http:https:file")
    await git("config", "http.proxy", "", cwd=away.here)
    url = f"https://{HERE}:{listener.port}/"
    assert await fails(run, "ls-remote", "--", url) == "refused"
    assert await fails(run, "ls-remote", "--", url, http__proxy="") == "refused"
    assert (
        await fails(run, "ls-remote", "--", url.replace("https", "http"), protocol__http__allow="always") == "rejected"
    )
    assert await listener.untouched()


async def test_git_checks_certificates(
    run: Run, out: Proxy, away: Away, authority: Authority, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names["other.example"] = [[THERE]]
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    async with site(away.serve, authority.serving) as url:
        with pytest.raises(OutgoingError, match=r"^tls$"):
            await remotes.run_git(out, away.here, "ls-remote", "--", url)
        other = url.replace(THERE, "other.example")
        assert await fails(run, "ls-remote", "--", other) == "tls"
        assert await fails(run, "ls-remote", "--", other, http__sslVerify="false") == "tls"
    assert away.paths == []


async def test_git_that_is_told_nothing_ends_with_its_deadline(out: Proxy, away: Away, names: Names) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        gone.set()

    async with talking(silent) as port:
        with pytest.raises(OutgoingError, match=r"^timeout$"):
            await remotes.run_git(out, away.here, "ls-remote", "--", f"https://{THERE}:{port}/", deadline=1.0)
        await gone.wait()


async def test_git_that_is_slow_elsewhere_takes_no_thread_from_work_here(out: Proxy, away: Away) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    came = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await asyncio.Event().wait()

    async with talking(silent) as port:
        asked = remotes.run_git(out, away.here, "ls-remote", "--", f"https://{THERE}:{port}/", deadline=20.0)
        slow = asyncio.create_task(asked)
        await came.wait()
        assert await asyncio.to_thread(str) == ""
        assert not slow.done()
        slow.cancel()
        await asyncio.wait([slow])


async def test_why_git_failed_is_a_class_and_never_its_words(
    run: Run, out: Proxy, away: Away, authority: Authority, names: Names
) -> None:
    async with site(away.serve, authority.serving) as url:
        secret = url.replace("https://", "https://alice:secret@")
        assert await fails(run, "ls-remote", "--", secret + "/nowhere") == "rejected"
    assert await fails(run, "ls-remote", "--", url) == "unreachable"
    assert await fails(run, "ls-remote", "--", "https://nowhere.example/") == "unresolved"
    assert await fails(run, "ls-remote", "--", "--upload-pack=touch /tmp/ran") == "rejected"
    with pytest.raises(NoRepository):
        await remotes.run_git(out, away.folder / "nowhere", "ls-remote", "--", url)
