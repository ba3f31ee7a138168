"""The keys and the types of answers that clients of either dialect rely on."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, commit, git
from tests.rpc import KALLITHEA, Rpc

Shape = Any  # a type, a pattern, None, a dict of shapes, a list with the shape of its items, or a tuple of alternatives

NUMBER, TEXT, FLAG = int, str, bool
OPTIONAL_TEXT = (str, None)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?")
ID, SHORT_ID = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{12}")
MASKED = re.compile(r".{0,8}\*{32,40}")
USER = {
    "user_id": NUMBER, "username": TEXT, "firstname": OPTIONAL_TEXT, "lastname": OPTIONAL_TEXT, "email": OPTIONAL_TEXT,
    "emails": [TEXT], "active": FLAG, "admin": FLAG, "ip_addresses": [TEXT], "api_key": MASKED, "api_keys": [MASKED],
    "extern_type": TEXT, "extern_name": TEXT, "ldap_dn": None, "last_login": None,
}  # fmt: skip
PERMISSIONS = {
    "global": [TEXT], "repositories": {"nethack": re.compile("repository\\.(none|read|write|admin)")},
    "repositories_groups": {}, "user_groups": {"hackers": re.compile("usergroup\\.(none|read|write|admin)")},
}  # fmt: skip
GROUP = {
    "users_group_id": NUMBER,
    "group_name": TEXT,
    "group_description": OPTIONAL_TEXT,
    "active": FLAG,
    "owner": TEXT,
}
ADDRESSES = {"server_ip_addr": TEXT, "ip_addr_server": TEXT, "user_ips": []}
COMMIT = {
    "raw_id": ID, "short_id": SHORT_ID, "revision": NUMBER, "message": TEXT, "date": TIME, "author": TEXT,
}  # fmt: skip
REPOSITORY = {
    "repo_id": NUMBER, "repo_name": TEXT, "repo_type": re.compile("git"), "clone_uri": OPTIONAL_TEXT, "private": FLAG,
    "created_on": TIME, "description": TEXT, "landing_rev": [TEXT], "owner": TEXT, "fork_of": OPTIONAL_TEXT,
    "enable_statistics": FLAG, "enable_downloads": FLAG, "last_changeset": COMMIT,
}  # fmt: skip
ROW = {"name": TEXT, "type": re.compile("user|user_group"), "permission": re.compile(r"\w+\.(none|read|write|admin)")}
ORIGIN = {"origin": re.compile("permission|owner|super-admin")}
NODE = {"name": TEXT, "type": re.compile("file|dir")}
CHANGE = {
    "filename": TEXT, "op": re.compile("[AMD]"), "new_revision": ID, "old_revision": ID, "raw_diff": TEXT,
    "stats": {"added": NUMBER, "deleted": NUMBER, "binary": FLAG},
}  # fmt: skip
WITH_PARENTS = {**COMMIT, "parents": [{"raw_id": ID}], "branch": OPTIONAL_TEXT}
FILES = {"added": [TEXT], "changed": [TEXT], "removed": [TEXT]}
DONE = {"msg": TEXT, "success": FLAG}

BOTH: list[tuple[str, dict[str, Any], Shape]] = [
    ("get_ip", {"userid": "alice"}, ADDRESSES),
    ("show_ip", {}, ADDRESSES),
    ("get_users", {}, [USER]),
    ("get_user", {}, {**USER, "permissions": PERMISSIONS}),
    ("create_user", {"username": "bent", "email": "bent@example.org"}, {"msg": TEXT, "user": USER}),
    ("get_repos", {}, [REPOSITORY]),
    ("add_user_to_user_group", {"usersgroupid": "hackers", "userid": "admin"}, DONE),
    ("remove_user_from_user_group", {"usersgroupid": "hackers", "userid": "admin"}, DONE),
    ("grant_user_permission", {"repoid": "nethack", "userid": "admin", "perm": "repository.read"}, DONE),
    ("revoke_user_permission", {"repoid": "nethack", "userid": "admin"}, DONE),
    ("grant_user_group_permission", {"repoid": "nethack", "usersgroupid": "hackers", "perm": "repository.write"}, DONE),
    ("revoke_user_group_permission", {"repoid": "nethack", "usersgroupid": "hackers"}, DONE),
    ("invalidate_cache", {"repoid": "nethack"}, {"msg": TEXT, "repository": TEXT}),
    ("delete_repo", {"repoid": "nethack"}, DONE),
]
BY_DIALECT: dict[bool, list[tuple[str, dict[str, Any], Shape]]] = {
    True: [
        ("get_user_groups", {}, [{**GROUP, "members": [USER]}]),
        ("get_user_group", {"usergroupid": "hackers"}, {**GROUP, "members": [USER]}),
        (
            "create_user_group",
            {"group_name": "crew", "owner": None},
            {"msg": TEXT, "users_group": GROUP, "user_group": GROUP},
        ),
        (
            "get_repo",
            {"repoid": "nethack", "with_revision_names": None, "with_pullrequests": None},
            {**REPOSITORY, "members": [ROW], "followers": [USER]},
        ),
        ("get_repo_nodes", {"repoid": "nethack", "revision": "tip", "root_path": ""}, [NODE]),
        ("create_repo", {"repo_name": "moria", "landing_rev": "tip"}, {**DONE, "repo": REPOSITORY}),
        ("get_changesets", {"repoid": "nethack"}, [COMMIT]),
        ("get_changesets", {"repoid": "nethack", "with_file_list": True}, [{**COMMIT, **FILES}]),
        (
            "get_changeset",
            {"repoid": "nethack", "raw_id": "tip", "with_reviews": True},
            {**COMMIT, **FILES, "id": ID, "author": {"name": TEXT, "email": TEXT}, "reviews": []},
        ),
    ],
    False: [
        ("get_server_info", {}, {"modules": [[TEXT]], "py_version": TEXT, "platform": TEXT, "rhodecode_version": TEXT}),
        ("get_user_groups", {}, [{**GROUP, "users": [USER]}]),
        ("get_user_group", {"usergroupid": "hackers"}, {**GROUP, "users": [USER], "members": [{**ROW, **ORIGIN}]}),
        ("create_user_group", {"group_name": "crew"}, {"msg": TEXT, "user_group": GROUP}),
        (
            "get_repo",
            {"repoid": "nethack"},
            {**REPOSITORY, "url": TEXT, "members": [{**ROW, **ORIGIN}], "followers": [USER]},
        ),
        ("get_repo_nodes", {"repoid": "nethack", "revision": "tip", "root_path": "/", "ret_type": "files"}, [NODE]),
        ("create_repo", {"repo_name": "moria", "repo_type": "git"}, {**DONE, "task": TEXT}),
        ("get_repo_changeset", {"repoid": "nethack", "revision": "tip"}, {**WITH_PARENTS, "diff": []}),
        (
            "get_repo_changesets",
            {"repoid": "nethack", "start_rev": "0", "limit": "-1", "details": "full"},
            [
                {
                    **WITH_PARENTS,
                    "diff": [CHANGE],
                    "refs": {"branches": [OPTIONAL_TEXT], "bookmarks": [], "tags": [TEXT]},
                }
            ],
        ),
    ],
}


def find_faults(value: Any, shape: Shape, place: str = "result") -> list[str]:
    """List where a value differs from a shape. A dict may have more keys than its shape names."""
    match shape:
        case tuple():
            return [] if any(not find_faults(value, each, place) for each in shape) else [f"{place}: {value!r}"]
        case dict():
            if not isinstance(value, dict) or shape.keys() - value.keys():
                return [f"{place}: {value!r}"]
            return [fault for key, each in shape.items() for fault in find_faults(value[key], each, f"{place}.{key}")]
        case []:
            return [] if value == [] else [f"{place}: {value!r}"]
        case [item]:
            if not isinstance(value, list):
                return [f"{place}: {value!r}"]
            return [fault for each in value for fault in find_faults(each, item, f"{place}[]")]
        case re.Pattern():
            fits = isinstance(value, str) and shape.fullmatch(value) is not None
        case None:
            fits = value is None
        case _:
            fits = type(value) is shape
    return [] if fits else [f"{place}: {value!r}"]


def test_faults_are_found() -> None:
    shape = {"a": [TEXT], "b": (NUMBER, None), "c": ID}
    good = {"a": ["x"], "b": None, "c": "0" * 40, "more": 1}
    assert find_faults(good, shape) == []
    for key, bad in (("a", [1]), ("a", "x"), ("b", True), ("b", "1"), ("c", "0" * 39)):
        assert len(find_faults({**good, key: bad}, shape)) == 1
    assert find_faults({"a": []}, shape)


@pytest.fixture
async def big(nethack: Client, tmp_path: Path) -> Client:
    """Nethack with a second commit and a tag, and a group."""
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    await commit(tmp_path / "work")
    await git("tag", "-m", "One", "v1", cwd=tmp_path / "work")
    await git("push", "-q", "origin", "HEAD", "v1", cwd=tmp_path / "work")
    await nethack.json("POST", "/v1/groups", {"name": "hackers"})
    return nethack


async def test_answers_have_the_keys_and_types_of_the_dialect(big: Client, admin: Rpc) -> None:
    for method, args, shape in [*BY_DIALECT[admin.address == KALLITHEA], *BOTH]:
        result = await admin.ask(method, **args)
        assert result not in ([], {}), method
        assert find_faults(result, shape) == [], method
