"""The plugins of projects."""

from typing import Any

import pytest

from app.config import Settings
from app.core import plugins
from app.dialects.pagure.plugins import NAMES
from app.stores import project_secrets
from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge
from tests.pagure.test_hook_token import wait_until_deleted
from tests.pagure.test_sharing import ADDRESSES, BLOCKED, NO_PROJECT, NOT_ALLOWED, four_projects, grant_access

# Source: project contract 12.19.
PLUGINS: list[dict[str, list[str]]] = [
    {"Block Un-Signed commits": []},
    {"Block non fast-forward pushes": ["branches"]},
    {"Fedmsg": []},
    {"IRC": ["server", "port", "room", "nick", "nick_pass", "join", "ssl"]},
    {"Mail": ["mail_to"]},
    {"Mirroring": ["target", "public_key", "last_log"]},
    {"Pagure": []},
    {"Pagure CI": ["ci_type", "ci_url", "ci_job", "active_commit", "active_pr"]},
    {"Pagure requests": []},
    {"Pagure tickets": []},
    {"Prevent creating new branches by git push": []},
    {"Read the Doc": ["api_url", "api_token", "branches"]},
]
NOBODY_HAS = {"plugins": [], "total_plugins": 0}
NO_PLUGIN = {"error": "No such plugin", "error_code": "ENOPLUGIN"}
DISABLED = {"error": "Plugin disabled", "error_code": "EPLUGINDISABLED"}
NOT_INSTALLED = {"error": "Project doesn't have this plugin installed", "error_code": "EPLUGINNOTINSTALLED"}
UNCHANGEABLE = {"error": "This plugin cannot be changed", "error_code": "EPLUGINCHANGENOTALLOWED"}


async def list_installed(client: Client, path: str = "/nethack") -> list[dict[str, Any]]:
    status, body = await client.pagure(f"{path}/settings/plugins")
    assert (status, body.keys(), body["total_plugins"]) == (200, {"plugins", "total_plugins"}, len(body["plugins"]))
    listed: list[dict[str, Any]] = body["plugins"]
    return listed


async def install_plugin(client: Client, name: str, path: str = "/nethack", **form: str) -> dict[str, Any]:
    status, body = await client.post(f"{path}/settings/{name}/install", **form)
    assert (status, body.keys(), body.get("message")) == (200, {"message", "plugin"}, f"Hook '{name}' activated")
    fields: dict[str, Any] = body["plugin"]
    return fields


async def remove_plugin(client: Client, name: str, path: str = "/nethack") -> dict[str, Any]:
    status, body = await client.post(f"{path}/settings/{name}/remove")
    assert (status, body.keys(), body.get("message")) == (200, {"message", "plugin"}, f"Hook '{name}' deactivated")
    fields: dict[str, Any] = body["plugin"]
    return fields


async def test_the_available_plugins_are_public(forge: Forge) -> None:
    assert await forge.nobody.pagure("/_plugins") == (200, {"plugins": PLUGINS, "total_plugins": 12})


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_plugin_is_installed_shown_and_removed(alice: Client, path: str) -> None:
    await four_projects(alice)
    nobody = alice.forge.nobody
    assert await nobody.pagure(f"{path}/settings/plugins") == (200, NOBODY_HAS)
    mail = {"mail_to": "hackers@example.org"}
    assert await install_plugin(alice, "Mail", path, **mail) == mail
    assert await list_installed(nobody, path) == [{"Mail": mail}]
    assert await remove_plugin(alice, "Mail", path) == mail
    assert await nobody.pagure(f"{path}/settings/plugins") == (200, NOBODY_HAS)
    assert await alice.post(f"{path}/settings/Mail/remove") == (400, NOT_INSTALLED)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: next(iter(plugin)))
async def test_every_plugin_can_be_installed_and_shows_its_fields(
    nethack: Client, plugin: dict[str, list[str]]
) -> None:
    [(name, fields)] = plugin.items()
    form = {"mail_to": "a@example.org"} if name == "Mail" else {}
    shown = await install_plugin(nethack, name, **form)
    assert shown.keys() == set(fields)
    assert await list_installed(nethack) == [{name: shown}]
    assert await remove_plugin(nethack, name) == shown


async def test_fields_of_plugins_have_types_and_absent_ones_are_empty(nethack: Client) -> None:
    shown = await install_plugin(
        nethack, "IRC", server=" irc.example.org ", port="6697", room="#nethack", ssl="1", join="0"
    )
    assert shown == {
        "join": False, "nick": None, "nick_pass": None, "port": "6697", "room": "#nethack",
        "server": "irc.example.org", "ssl": True,
    }  # fmt: skip
    path = "/api/0/nethack/settings/IRC/install"
    status, body = await nethack.json("POST", path, {"port": 6667, "join": True})
    assert (status, body["plugin"]["port"], body["plugin"]["join"]) == (200, "6667", True)
    assert (body["plugin"]["server"], body["plugin"]["ssl"]) == (None, False)
    assert await list_installed(nethack) == [{"IRC": body["plugin"]}]


async def test_clients_cannot_set_fields_that_the_forge_writes(nethack: Client) -> None:
    shown = await install_plugin(nethack, "Mirroring", target="git@example.org:x", public_key="mine", last_log="fine")
    assert shown == {"last_log": None, "public_key": None, "target": "git@example.org:x"}


async def test_reinstalling_an_unchanged_plugin_records_nothing(forge: Forge, nethack: Client) -> None:
    for _ in range(2):
        await install_plugin(nethack, "Block non fast-forward pushes", branches="main")
    count = "select count(*) from events where type like 'plugin.%'"
    assert await forge.db.fetchval(count) == 1
    await install_plugin(nethack, "Block non fast-forward pushes", branches="main, next")
    assert await forge.db.fetchval(count) == 2


# ---------------------------------------------------------------- secrets


async def find_secret(forge: Forge, plugin: str) -> str | None:
    """Open the secret that the project has for this plugin."""
    name = NAMES[plugin]
    [field] = plugins.secret_fields(name)
    return await project_secrets.find(forge.db, 1, plugins.secret_name(name, field))


@pytest.mark.parametrize(("name", "field"), [("IRC", "nick_pass"), ("Read the Doc", "api_token")])
async def test_a_secret_is_stored_separately_and_never_shown(
    forge: Forge, nethack: Client, name: str, field: str
) -> None:
    shown = await install_plugin(nethack, name, **{field: "opensesame"})
    assert shown[field] == "********"
    assert (await list_installed(nethack)) == (await list_installed(forge.nobody)) == [{name: shown}]
    assert await find_secret(forge, name) == "opensesame"
    for table in ("events", "commands", "projects", "idempotency_keys", "project_secrets"):
        assert not await forge.db.fetchval(f"select count(*) from {table} where {table}::text like '%opensesame%'")
    assert await remove_plugin(nethack, name) == shown
    await wait_until_deleted(forge)


async def test_sending_the_mask_keeps_the_secret_and_omitting_it_deletes_it(forge: Forge, nethack: Client) -> None:
    assert (await install_plugin(nethack, "IRC", nick_pass="********"))["nick_pass"] is None
    assert await find_secret(forge, "IRC") is None
    await install_plugin(nethack, "IRC", nick_pass="opensesame")
    shown = await install_plugin(nethack, "IRC", nick_pass="********", server="irc.example.org")
    assert (shown["nick_pass"], shown["server"]) == ("********", "irc.example.org")
    assert await find_secret(forge, "IRC") == "opensesame"
    await install_plugin(nethack, "IRC", nick_pass="changed")
    assert await find_secret(forge, "IRC") == "changed"
    assert (await install_plugin(nethack, "IRC", server="irc.example.org"))["nick_pass"] is None
    assert await find_secret(forge, "IRC") is None


async def test_a_refused_install_leaves_the_secret_as_it_was(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await install_plugin(nethack, "IRC", nick_pass="opensesame")
    path = "/nethack/settings/IRC/install"
    assert await bob.post(path, nick_pass="mine") == (401, NOT_ALLOWED)
    assert (await nethack.post(path, nick_pass="other", server="x" * 5000))[0] == 400
    assert await find_secret(forge, "IRC") == "opensesame"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", ["https://user:word@h.example/", "https://word@h.example", "ssh://git:word@h/x"])
async def test_a_login_is_refused_in_every_field_that_everybody_may_see(
    forge: Forge, nethack: Client, value: str
) -> None:
    for name, plugin in NAMES.items():
        for field, kind in plugins.PLUGINS[plugin].items():
            if kind not in (plugins.TEXT, plugins.REQUIRED, plugins.URL):
                continue
            status, body = await nethack.post(f"/nethack/settings/{name}/install", **{field: value})
            shown = {field: ["It would show a user or password to everybody."]}
            assert (status, body["errors"].get(field)) == (400, shown[field]), (name, field)
    assert await list_installed(nethack) == []
    for field in ("target", "ci_url", "api_url"):
        [name] = [name for name, plugin in NAMES.items() if field in plugins.PLUGINS[plugin]]
        assert (await nethack.post(f"/nethack/settings/{name}/install", **{field: "https://h/?token=x"}))[0] == 400
    assert (await install_plugin(nethack, "Mirroring", target="ssh://git@h.example/x"))["target"]


@pytest.mark.parametrize("verb", ["install", "remove"])
async def test_unknown_and_fixed_plugins_are_refused(nethack: Client, verb: str) -> None:
    assert await nethack.post(f"/nethack/settings/Mailman/{verb}") == (404, NO_PLUGIN)
    assert await nethack.post(f"/nethack/settings/mail/{verb}") == (404, NO_PLUGIN)
    assert await nethack.post(f"/nethack/settings/default/{verb}") == (403, UNCHANGEABLE)


@pytest.mark.parametrize(
    ("name", "form", "errors"),
    [
        ("Mail", {}, {"mail_to": ["This field is required."]}),
        ("Mail", {"mail_to": "  "}, {"mail_to": ["This field is required."]}),
        ("IRC", {"nick_pass": "x" * 4097}, {"nick_pass": ["Field cannot be longer than 4096 characters."]}),
        ("Block non fast-forward pushes", {"branches": "x" * 4097},
         {"branches": ["Field cannot be longer than 4096 characters."]}),
    ],
)  # fmt: skip
async def test_errors_name_the_invalid_fields(
    forge: Forge, nethack: Client, name: str, form: dict[str, str], errors: dict[str, list[str]]
) -> None:
    status, body = await nethack.post(f"/nethack/settings/{name}/install", **form)
    assert (status, body["error_code"], body["errors"]) == (400, "EINVALIDREQ", errors)
    assert await list_installed(nethack) == []
    assert await forge.db.fetchval("select count(*) from project_secrets") == 0


@pytest.mark.parametrize("verb", ["install", "remove"])
async def test_only_administrators_change_plugins(forge: Forge, nethack: Client, verb: str) -> None:
    bob, carol = [await forge.user(name) for name in ("bob", "carol")]
    await grant_access(nethack, "bob", "commit")
    await grant_access(nethack, "carol", "admin")
    path = f"/nethack/settings/Fedmsg/{verb}"
    await install_plugin(nethack, "Fedmsg")
    assert await bob.post(path) == (401, NOT_ALLOWED)
    status, body = await forge.nobody.post(path)
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
    status, body = await (await nethack.limited(acls=["commit"])).post(path)
    assert (status, body["errors"]) == (401, "Missing ACLs: modify_project")
    await nethack.post("/new", name="other", description="d")
    status, body = await (await nethack.limited(project="other")).post(path)
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    assert await list_installed(nethack) == [{"Fedmsg": {}}]
    assert (await carol.post(path))[0] == 200
    assert (await (await nethack.limited(project="nethack")).post("/nethack/blockuser", username="carol"))[0] == 200
    assert await carol.post(path) == (403, BLOCKED)


async def test_a_private_projects_plugins_are_not_found_by_strangers(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="secret", description="d", private="1")
    await install_plugin(alice, "Mail", "/alice/secret", mail_to="a@example.org")
    bob = await forge.user("bob")
    for stranger in (bob, forge.nobody):
        assert await stranger.pagure("/alice/secret/settings/plugins") == (404, NO_PROJECT)
    assert await bob.post("/alice/secret/settings/Mail/remove") == (404, NO_PROJECT)
    assert await list_installed(alice, "/alice/secret") == [{"Mail": {"mail_to": "a@example.org"}}]
    status, body = await Client(forge, "x" * 40).pagure("/nethack/settings/plugins")
    assert (status, body["errors"]) == (401, "Invalid token")
    for verb in ("install", "remove"):
        assert await alice.post(f"/alice/secret/settings/Pagure CI/{verb}") == (404, DISABLED)


class TestWithDisabledPlugins:
    @pytest.fixture
    async def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"pagure_disabled_plugins": ["IRC", "Pagure tickets"]})

    async def test_disabled_plugins_are_not_listed_and_cannot_be_changed(self, nethack: Client) -> None:
        left = [plugin for plugin in PLUGINS if not plugin.keys() & {"IRC", "Pagure tickets"}]
        assert await nethack.pagure("/_plugins") == (200, {"plugins": left, "total_plugins": 10})
        for verb in ("install", "remove"):
            assert await nethack.post(f"/nethack/settings/IRC/{verb}") == (404, DISABLED)


async def test_a_rebuild_restores_plugins(forge: Forge, nethack: Client) -> None:
    await install_plugin(nethack, "IRC", server="irc.example.org", nick_pass="opensesame")
    await install_plugin(nethack, "Mail", mail_to="a@example.org")
    await remove_plugin(nethack, "Mail")
    before = await list_installed(nethack)
    await forge.numbered()
    await rebuild(forge.db)
    assert await list_installed(nethack) == before
