"""The size of answers in both dialects, and how they are encoded."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from app.dialects.jsonrpc import answers
from tests.conftest import commit, git
from tests.rpc import RHODECODE, Rpc

pytestmark = pytest.mark.usefixtures("nethack")
TOO_MUCH = "This is too much for one answer; ask for fewer commits."


@pytest.fixture
async def big(rpc: Rpc, tmp_path: Path) -> Rpc:
    """A repository with a second commit, whose only file has 5000 characters."""
    await git("clone", "-q", rpc.client.git_url("nethack"), str(tmp_path / "work"))
    await commit(tmp_path / "work", "big", "x" * 5000)
    await git("push", "-q", "origin", "HEAD:topic", cwd=tmp_path / "work")
    return rpc


@pytest.mark.parametrize("method", ["get_user", "get_repos", "get_user_groups", "get_repo"])
async def test_an_answer_is_encoded_like_any_json(rpc: Rpc, method: str) -> None:
    await rpc.ask("create_user_group", group_name="hackers", description='"Ä\n')
    args = {"repoid": "nethack"} if method == "get_repo" else {}
    sent = {"id": [1, {"a": [], "b": {}}], "api_key": rpc.client.token, "method": method, "args": args}
    text = await rpc.send(json.dumps(sent).encode())
    assert json.loads(text)["error"] is None
    assert text == json.dumps(json.loads(text))


async def test_an_answer_is_encoded_outside_of_the_event_loop(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    encode = answers._encode

    def watch(answer: Any) -> bytes:
        threads.append(threading.current_thread())
        return encode(answer)

    monkeypatch.setattr(answers, "_encode", watch)
    await rpc.ask("get_repos")
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("method", ["get_user", "get_repos"])
async def test_an_answer_above_the_limit_is_refused(rpc: Rpc, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(answers, "MAX_ANSWER", 300)
    assert await rpc.fail(method) == "Error encoding response"


async def test_what_is_read_from_a_repository_is_limited_while_it_is_read(
    big: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_ANSWER", 4000)
    if big.address == RHODECODE:
        listed = {"repoid": "nethack", "start_rev": "0", "limit": -1}
        assert await big.fail("get_repo_changesets", **listed, details="full") == TOO_MUCH
        assert await big.fail("get_repo_changeset", repoid="nethack", revision="tip", details="full") == TOO_MUCH
        assert len(await big.ask("get_repo_changesets", **listed)) == 2
    else:
        assert len(await big.ask("get_changesets", repoid="nethack", with_file_list=True)) == 2
    monkeypatch.setattr(answers, "MAX_ANSWER", 10)
    if big.address != RHODECODE:
        assert await big.fail("get_changesets", repoid="nethack") == TOO_MUCH
    nodes = {"repoid": "nethack", "revision": "tip", "root_path": ""}
    monkeypatch.setattr(answers, "MAX_ANSWER", 5)
    assert await big.fail("get_repo_nodes", **nodes) == "failed to get repo: `nethack` nodes"
