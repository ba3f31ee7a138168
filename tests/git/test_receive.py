"""Pushes in quarantine: atomicity, leftovers, and reports to the client."""

import asyncio
import os
from pathlib import Path

import pytest

from app.config import Settings
from app.core.push_policy import ZEROS
from app.git import receive, refs, store
from app.transports.pktline import encode_line
from tests.conftest import Client, Forge, git
from tests.git.pushes import FORWARD, NO_BRANCHES, SIGNED, head, heads, id_of, no, push
from tests.pagure.test_plugins import install_plugin, remove_plugin


@pytest.mark.parametrize("plugin", [FORWARD, NO_BRANCHES])
async def test_an_atomic_push_moves_all_refs_or_none(forge: Forge, nethack: Client, work: Path, plugin: str) -> None:
    old = (await heads(nethack))["main"]
    await push(work, "HEAD:topic")
    before = await heads(nethack)
    await install_plugin(nethack, plugin, branches="topic")
    refused = "HEAD~1:topic" if plugin == FORWARD else "HEAD:fresh"
    output = await push(work, "--atomic", "--force", refused, "HEAD:main", fails=True)
    assert no("main", "Another ref of this atomic push was refused.") in output
    why = (
        "This branch accepts only fast-forward pushes." if plugin == FORWARD else "This project takes no new branches."
    )
    assert no(refused.partition(":")[2], why) in output
    assert await heads(nethack) == before
    assert before == {"main": old, "topic": await head(work)}
    await push(work, "--atomic", "HEAD:main", "HEAD:topic", "HEAD:refs/tags/v1")
    assert (await heads(nethack))["main"] == before["topic"]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_a_push_that_is_declined_entirely_leaves_no_objects(
    nethack: Client, settings: Settings, work: Path
) -> None:
    repo_path = store.repository_path(settings.repositories, await id_of(nethack))

    def objects() -> set[Path]:
        return {path for path in (repo_path / "objects").rglob("*") if path.is_file()}

    before = objects()
    (work / "big").write_bytes(os.urandom(3 << 20))
    await git("add", "big", cwd=work)
    await git("commit", "-qm", "Add much", cwd=work)
    await install_plugin(nethack, SIGNED)
    assert "is not signed off.)" in await push(work, "HEAD:main", fails=True)
    assert "is not signed off.)" in await push(work, "--atomic", "HEAD:main", "HEAD~2:refs/heads/fine", fails=True)
    await install_plugin(nethack, NO_BRANCHES)
    assert "(This project takes no new branches.)" in await push(work, "HEAD:topic", fails=True)
    assert objects() == before
    for option in ("--no-thin", "--quiet"):
        assert "(This project takes no new branches.)" in await push(work, option, "HEAD:topic", fails=True)


async def test_a_push_of_many_refs_gets_a_status_for_each(nethack: Client, work: Path) -> None:
    await install_plugin(nethack, SIGNED)
    old = await head(work, "HEAD~1")
    names = [f"{'unsigned' if n % 2 else 'fine'}-{n}" + "x" * 150 for n in range(400)]
    wanted = [f"{'HEAD' if name.startswith('unsigned') else old}:refs/heads/{name}" for name in names]
    output = await push(work, *wanted, fails=True)
    assert output.count("is not signed off.)") == 200
    assert (await heads(nethack)).keys() == {"main", *(name for name in names if name.startswith("fine"))}


@pytest.mark.parametrize(
    ("capabilities", "band"),
    [
        (b"report-status", None),
        (b"report-status side-band-64k", b"\1"),
        (b"report-status-v2 side-band", None),
        (b"", None),
    ],
)
async def test_each_client_gets_the_report_that_it_supports(
    nethack: Client, work: Path, capabilities: bytes, band: bytes | None
) -> None:
    async def send(*commands: bytes) -> bytes:
        headers = {"Content-Type": "application/x-git-receive-pack-request"}
        first, *others = commands
        body = b"".join(encode_line(line) for line in (first + b"\0" + capabilities, *others)) + b"0000"
        url = nethack.git_url("nethack") + "/git-receive-pack"
        async with nethack.forge.session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200
            return await answer.read()

    def expect(*lines: bytes) -> bytes:
        report = b"".join(encode_line(line) for line in lines) + b"0000"
        return b"" if not capabilities else report if band is None else encode_line(band + report) + b"0000"

    zeros, new = ZEROS.encode(), (await head(work, "origin/main")).encode()
    refused = b"ng refs/pull/1/head Refs below this name are reserved for the server.\n"
    command = zeros + b" " + new + b" refs/pull/1/head"
    assert await send(command) == expect(b"unpack ok\n", refused)
    await push(work, "origin/main:refs/heads/gone")
    report = await send(command, new + b" " + zeros + b" refs/heads/gone")
    assert report == expect(b"unpack ok\n", b"ok refs/heads/gone\n", refused)
    assert (await heads(nethack)).keys() == {"main"}


async def test_pushes_are_refused_if_the_hooks_cannot_run(
    nethack: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await heads(nethack)
    monkeypatch.setattr(receive, "HOOKS", tmp_path)
    assert "500" in await push(work, "HEAD:main", fails=True)
    assert await heads(nethack) == before
    monkeypatch.undo()
    await push(work, "HEAD:main")


async def test_a_project_without_requirements_has_no_commits_checked(
    nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("the project has no requirements")

    monkeypatch.setattr("app.git.receive.tempfile.NamedTemporaryFile", never)
    monkeypatch.setattr(refs, "resolve_alias", never)
    await push(work, "HEAD:main", "HEAD:topic")
    await install_plugin(nethack, FORWARD)
    await remove_plugin(nethack, FORWARD)
    await push(work, "--force", "HEAD~1:main", ":topic")


async def test_concurrent_pushes_are_checked_independently(nethack: Client, work: Path) -> None:
    await install_plugin(nethack, SIGNED)
    old = await head(work, "HEAD~1")
    output = await asyncio.gather(
        *(push(work, f"{old}:refs/heads/fine-{n}") for n in range(4)),
        *(push(work, f"HEAD:refs/heads/unsigned-{n}", fails=True) for n in range(4)),
    )
    assert ["is not signed off.)" in output for output in output] == [False] * 4 + [True] * 4
    assert (await heads(nethack)).keys() == {"main", *(f"fine-{n}" for n in range(4))}
