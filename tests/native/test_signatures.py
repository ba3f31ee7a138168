"""Signatures, verified by the Standard Webhooks library and as Pagure's receivers do."""

import hashlib
import hmac
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.conftest import Client
from tests.receiver import ReceivedRequest, Receiver
from tests.subscriptions import open_issue, subscribe

TEXT, CODED = "sixteen-characters-or-more", "whsec_cG9seWZvcmdlIHNpZ25zIHdlYmhvb2tz"


def open_library(secret: str) -> Webhook:
    """Open the library with the key: the decoded base64 of a whsec_ secret, or the text itself."""
    return Webhook(secret) if secret.startswith("whsec_") else Webhook(secret.encode())


def is_accepted(secret: str, got: ReceivedRequest) -> bool:
    try:
        open_library(secret).verify(got.body, dict(got.headers))
    except WebhookVerificationError:
        return False
    return True


def is_accepted_by_pagure(secret: str, got: ReceivedRequest) -> list[bool]:
    """Check Pagure's signatures of the body, whose key is the secret as shown."""
    digests = {"": hashlib.sha1, "-256": hashlib.sha256}
    return [
        got.headers[f"x-pagure-signature{name}"] == hmac.new(secret.encode(), got.body, digest).hexdigest()
        for name, digest in digests.items()
    ]


@pytest.mark.parametrize("secret", [TEXT, CODED, None])
@pytest.mark.parametrize("payload_format", ["standard", "cloudevents", "pagure"])
async def test_other_implementations_accept_the_signatures(
    nethack: Client, receiver: Receiver, payload_format: str, secret: str | None
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"], format=payload_format, secret=secret)
    assert secret in (None, subscription["secret"])
    await open_issue(nethack, title="Müde")
    [got] = await receiver.wait_for(1)
    assert is_accepted(subscription["secret"], got)
    for forged in (
        ReceivedRequest(got.headers, got.body + b" ", ""),
        ReceivedRequest({**got.headers, "webhook-id": "x"}, got.body, ""),
    ):
        assert not is_accepted(subscription["secret"], forged)
    assert not is_accepted(TEXT[::-1], got)
    if payload_format == "pagure":
        assert is_accepted_by_pagure(subscription["secret"], got) == [True, True]
        assert is_accepted_by_pagure(TEXT[::-1], got) == [False, False]


async def test_both_secrets_sign_during_the_overlap(nethack: Client, receiver: Receiver) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])

    async def replaced(**command: Any) -> str:
        status, rotated = await nethack.json("POST", f"/v1/subscriptions/{subscription['id']}/secret", command)
        assert status == 200
        secret: str = rotated["secret"]
        return secret

    async def signers(*secrets: str) -> list[bool]:
        count = len(receiver.received)
        await open_issue(nethack)
        got = (await receiver.wait_for(count + 1))[count]
        assert len(got.headers["webhook-signature"].split(" ")) == sum(is_accepted(each, got) for each in secrets)
        return [is_accepted(each, got) for each in secrets]

    old, new = subscription["secret"], await replaced()
    assert await signers(old, new) == [True, True]
    own = await replaced(secret=TEXT, overlap_s=1000)
    assert (own, await signers(old, new, own)) == (TEXT, [False, True, True])
    await nethack.forge.db.execute(
        "update subscription_endpoints set previous_until = previous_until - interval '1000 s'"
    )
    assert await signers(new, own) == [False, True]
    last = await replaced(overlap_s=0)
    assert await signers(own, last) == [False, True]
