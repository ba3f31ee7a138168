"""A request whose reply got lost may be sent again late: it undoes nothing, and reveals nothing to a former admin."""

from uuid import uuid4

import pytest

from app.actor import Actor
from app.core import commands
from app.core.users import CreateUser
from app.errors import Conflict, Subject
from app.stores.idempotency_keys import HeldKey
from tests.conftest import Client, Forge
from tests.http.lossy import LossyForge
from tests.receiver import Receiver
from tests.subscriptions import open_issue

REPO = "/api/0/nethack"
SECRETS = "select count(*) from project_secrets where name <> 'hook_token'"


async def share(nethack: Client, level: str) -> None:
    assert (await nethack.post("/nethack/git/modifyacls", user_type="user", name="bob", acl=level))[0] == 200


async def test_the_default_branch_that_was_chosen_since_stays(nethack: Client, lossy: LossyForge) -> None:
    assert (await nethack.post("/nethack/git/branch", branch="dev", from_branch="main"))[0] == 200
    retry = await lossy.lose("POST", f"{REPO}/git/branches", form={"branch_name": "dev"})
    assert (await nethack.post("/nethack/git/branches", branch_name="main"))[0] == 200
    assert (await retry())[0] == 200
    assert list((await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["default"]) == ["main"]


async def test_someone_who_lost_the_right_since_is_told_only_that_it_was_done(
    forge: Forge, nethack: Client, lossy: LossyForge
) -> None:
    bob = await forge.user("bob")
    await share(nethack, "admin")
    retry = await lossy.lose("POST", f"{REPO}/options/update", form={"always_merge": "true"}, by=bob)
    assert lossy.lost is not None
    assert lossy.lost.status == 200
    await share(nethack, "ticket")
    status, refused = await retry()
    assert (status, "carried out before" in refused["error"]) == (409, True)


async def test_the_secret_of_a_plugin_that_was_installed_again_stays(
    forge: Forge, nethack: Client, lossy: LossyForge
) -> None:
    install = {"server": "irc.example", "port": "1", "room": "r", "nick": "n", "nick_pass": "one"}
    assert (await nethack.post("/nethack/settings/IRC/install", **install))[0] == 200
    retry = await lossy.lose("POST", f"{REPO}/settings/IRC/remove")
    assert await forge.db.fetchval(SECRETS) == 0
    assert (await nethack.post("/nethack/settings/IRC/install", **install))[0] == 200
    assert (await retry())[0] == 200
    assert await forge.db.fetchval(SECRETS) == 1


async def test_the_secret_of_a_plugin_that_was_changed_since_stays(
    forge: Forge, nethack: Client, lossy: LossyForge
) -> None:
    install = {"server": "irc.example", "port": "1", "room": "r", "nick": "n"}
    retry = await lossy.lose("POST", f"{REPO}/settings/IRC/install", form={**install, "nick_pass": "one"})
    assert (await nethack.post("/nethack/settings/IRC/install", **install, nick_pass="two"))[0] == 200
    sealed = "select secret from project_secrets where name = 'irc.nick_pass'"
    changed = await forge.db.fetchval(sealed)
    assert (await retry())[0] == 200
    assert await forge.db.fetchval(sealed) == changed


async def test_the_secret_of_a_plugin_that_was_removed_does_not_come_back(
    forge: Forge, nethack: Client, lossy: LossyForge
) -> None:
    install = {"server": "irc.example", "port": "1", "room": "r", "nick": "n", "nick_pass": "one"}
    retry = await lossy.lose("POST", f"{REPO}/settings/IRC/install", form=install)
    assert await forge.db.fetchval(SECRETS) == 1
    assert (await nethack.post("/nethack/settings/IRC/remove"))[0] == 200
    assert (await retry())[0] == 200
    assert await forge.db.fetchval(SECRETS) == 0


async def test_a_web_hook_that_was_removed_does_not_come_back(forge: Forge, nethack: Client, lossy: LossyForge) -> None:
    retry = await lossy.lose("POST", f"{REPO}/options/update", form={"Web-hooks": "https://h.example/"})
    assert (await nethack.post("/nethack/options/update", **{"Web-hooks": ""}))[0] == 200
    await forge.db.execute("delete from subscription_endpoints")  # as the relay does in the end
    assert (await retry())[0] == 200
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 0


async def test_the_login_of_a_mirror_is_stored_once(forge: Forge, nethack: Client, lossy: LossyForge) -> None:
    form = {"name": "mirror", "description": "d", "mirrored_from": "https://me:secret@h.example/x.git", "wait": "0"}
    retry = await lossy.lose("POST", "/api/0/new", form=form)
    assert (await retry())[0] == 200
    assert await forge.db.fetchval("select count(*) from project_secrets where name = 'mirror_login'") == 1


async def test_the_address_of_a_subscription_that_was_changed_since_stays(
    forge: Forge, nethack: Client, lossy: LossyForge, receiver: Receiver
) -> None:
    body = {"project": "nethack", "url": receiver.url, "types": ["issue.*"]}
    address = f"/v1/subscriptions/{(await nethack.request('POST', '/v1/subscriptions', json=body))[1]['id']}"
    retry = await lossy.lose("PATCH", address, body={"url": "http://localhost:1/gone", "format": "cloudevents"})
    assert (await nethack.request("PATCH", address, json={"url": receiver.url, "format": "standard"}))[0] == 200
    assert (await retry())[0] == 200
    await open_issue(nethack)
    await receiver.wait_for(1)


async def test_the_password_that_was_changed_since_stays(forge: Forge, lossy: LossyForge) -> None:
    body = {"username": "dave", "email": "d@example.org", "password": "a first password"}
    retry = await lossy.lose("POST", "/v1/users", body=body, by=forge.admin)
    await forge.db.execute("update passwords set hash = 'another' where username = 'dave'")
    assert (await retry())[0] == 201
    assert await forge.db.fetchval("select hash from passwords where username = 'dave'") == "another"


async def test_what_another_command_stored_is_no_reply(forge: Forge) -> None:
    key = HeldKey(uuid4(), {"kind": "open-issue", "events": []})
    command = CreateUser(username="dave", fullname="Dave", email="d@example.org", admin=False)
    with pytest.raises(Conflict) as refused:
        await commands.execute(forge.db, Actor("admin", admin=True), command, command_id=key.command_id, key=key)
    assert refused.value.subject is Subject.COMMAND_REPEATED


async def test_retries_do_not_make_the_day_of_a_key_longer(forge: Forge, nethack: Client, lossy: LossyForge) -> None:
    retry = await lossy.lose("POST", f"{REPO}/new_issue", form={"title": "t", "issue_content": "c"})
    await forge.db.execute("update idempotency_keys set at = now() - interval '23 hours'")
    assert (await retry())[0] == 200
    assert await forge.db.fetchval("select at < now() - interval '22 hours' from idempotency_keys")
