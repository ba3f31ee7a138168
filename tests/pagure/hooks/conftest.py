"""A project with a web hook, and its receiver."""

import hashlib
import hmac
import re
from typing import Any

import pytest

from tests.conftest import Client
from tests.pagure.hooks.schemas import validate
from tests.receiver import ReceivedRequest, Receiver

MSG_ID = re.compile(r"[0-9]{4}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


class Hook:
    """The messages that a project's web hook has sent, checked and unpacked."""

    def __init__(self, receiver: Receiver, client: Client, path: str = "nethack", fullname: str | None = None) -> None:
        self.receiver = receiver
        self.client = client
        self.path = path
        self.fullname = fullname or path
        self.seen = 0
        self.token = ""

    async def set(self, *urls: str) -> None:
        update = f"/{self.path}/options/update"
        status, body = await self.client.post(update, **{"Web-hooks": "\n".join(urls)})
        assert status == 200, body
        self.token = self.token or (await self.client.pagure(f"/{self.path}/webhook/token"))[1]["webhook"]["token"]

    async def next(self, *topics: str) -> list[dict[str, Any]]:
        """Wait for new messages, which must have exactly these topics."""
        got = (await self.receiver.wait_for(self.seen + len(topics)))[self.seen :]
        assert tuple(each.json["topic"] for each in got) == topics
        self.seen += len(topics)
        return [self.message(each) for each in got]

    def message(self, got: ReceivedRequest) -> dict[str, Any]:
        """Check the envelope, the headers and the signatures, and return the message."""
        envelope, headers = got.json, got.headers
        assert envelope.keys() == {"topic", "msg", "timestamp", "msg_id", "i"}
        assert MSG_ID.match(envelope["msg_id"])
        assert (type(envelope["timestamp"]), type(envelope["i"]), envelope["i"] > 0) == (int, int, True)
        base = self.client.forge.url
        assert headers["content-type"] == "application/json"
        assert headers["x-pagure"] == base
        assert headers["x-pagure-project"] == self.fullname
        assert headers["x-pagure-topic"] == envelope["topic"]
        key = self.token.encode()
        assert headers["x-pagure-signature"] == hmac.new(key, got.body, hashlib.sha1).hexdigest()
        assert headers["x-pagure-signature-256"] == hmac.new(key, got.body, hashlib.sha256).hexdigest()
        assert got.body.isascii()
        msg: dict[str, Any] = envelope["msg"]
        if msg.keys() - {"agent", "link", "pagure_instance", "project_fullname"}:  # not too large to be sent whole
            validate(envelope["topic"], msg)
        assert (msg.pop("pagure_instance"), msg.pop("project_fullname")) == (base, self.fullname)
        return msg


@pytest.fixture
async def hook(nethack: Client, receiver: Receiver, retried_at_once: None) -> Hook:
    """The only web hook of alice's nethack."""
    hook = Hook(receiver, nethack)
    await hook.set(receiver.url)
    [edited] = await hook.next("project.edit")
    assert edited.keys() == {"project", "fields", "agent"}
    assert (edited["fields"], edited["agent"]) == (["Web-hooks"], "alice")
    assert edited["project"] == (await nethack.pagure("/nethack"))[1]
    return hook
