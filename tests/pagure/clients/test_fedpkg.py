"""The two calls of fedpkg, with JSON bodies and fedpkg's own search for the error."""

import json
import re
from typing import Any

import pytest
import requests

from tests.conftest import Client, Forge
from tests.pagure.clients.sessions import session


class Failed(Exception):
    """An error that fedpkg would print."""


def post(url: str, token: str, payload: dict[str, Any]) -> requests.Response:
    headers = {
        "Authorization": f"token {token}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    return requests.post(url, headers=headers, data=json.dumps(payload), timeout=60)


def find_reason(answer: requests.Response) -> Failed:
    error = answer.json()["error"]
    renew = " Get a new token." if re.search("Invalid or expired token", error) else ""
    return Failed(error + renew)


def fork_repository(base: str, token: str, repo: str, namespace: str | None) -> None:
    """Fork a project as fedpkg does; an existing fork is fine too."""
    answer = post(f"{base}/api/0/fork", token, {"wait": True, "namespace": namespace, "repo": repo})
    if not answer.ok and not re.search("Repo .+ already exists", answer.text):
        raise find_reason(answer)


def request_repository(base: str, token: str, tracker: str, command: dict[str, Any]) -> str:
    """Request a repository, which fedpkg does by an issue with JSON in it; return the issue's URL."""
    body = f"```\n{json.dumps(command, indent=4)}\n```"
    answer = post(f"{base}/api/0/{tracker}/new_issue", token, {"title": "New Repo", "issue_content": body})
    if not answer.ok:
        raise find_reason(answer)
    return f"{base}/{tracker}/issue/{answer.json()['issue']['id']}"


@session
def test_a_packager_forks_and_asks_for_a_repository(forge: Forge, packaged: Client, carol: Client) -> None:
    token = str(carol.token)
    for _ in range(2):
        fork_repository(forge.url, token, "rogue", "rpms")
    fork_repository(forge.url, token, "nethack", None)
    for path in ("rpms/rogue", "nethack"):
        found = requests.get(f"{forge.url}/api/0/fork/carol/{path}", timeout=60).json()
        assert (found["parent"]["url_path"], found["user"]["name"]) == (path, "carol")
        branches = requests.get(f"{forge.url}/api/0/fork/carol/{path}/git/branches", timeout=60).json()
        assert branches["branches"] == ["main"]

    command = {"action": "new_repo", "repo": "moria", "namespace": "rpms"}
    asked = request_repository(forge.url, token, "rpms/rogue", command)
    assert asked == f"{forge.url}/rpms/rogue/issue/1"
    seen = requests.get(asked.replace(forge.url, f"{forge.url}/api/0"), timeout=60).json()
    assert json.loads(seen["content"].strip("`")) == command

    for call in (
        lambda: fork_repository(forge.url, "nonsense", "rogue", "rpms"),
        lambda: request_repository(forge.url, "nonsense", "rpms/rogue", {}),
    ):
        with pytest.raises(Failed, match=r"Get a new token\."):
            call()
    for call in (
        lambda: fork_repository(forge.url, token, "moria", "rpms"),
        lambda: request_repository(forge.url, token, "rpms/moria", {}),
    ):
        with pytest.raises(Failed, match=r"^Project not found$"):
            call()
