"""Signatures, as programs of others verify them: Standard Webhooks' own library, and Pagure's way by hand."""

import hashlib
import hmac
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.conftest import Client
from tests.receiver import Got, Receiver
from tests.subscriptions import open_issue, subscribed

TEXT, CODED = "sixteen-characters-or-more", "whsec_cG9seWZvcmdlIHNpZ25zIHdlYmhvb2tz"


def library(secret: str) -> Webhook:
    """As the standard has it: the key is what the base64 means, or the text."""
    return Webhook(secret) if secret.startswith("whsec_") else Webhook(secret.encode())


def accepted(secret: str, got: Got) -> bool:
    try:
        library(secret).verify(got.body, dict(got.headers))
    except WebhookVerificationError:
        return False
    return True


def accepted_by_pagure(secret: str, got: Got) -> list[bool]:
    """The key is the secret as it is shown, whatever it looks like; what is signed is the body."""
    said = {"": hashlib.sha1, "-256": hashlib.sha256}
    return [
        got.headers[f"x-pagure-signature{name}"] == hmac.new(secret.encode(), got.body, digest).hexdigest()
        for name, digest in said.items()
    ]


@pytest.mark.parametrize("secret", [TEXT, CODED, None])
@pytest.mark.parametrize("format", ["standard", "cloudevents", "pagure"])
async def test_others_accept_our_signatures(
    nethack: Client, receiver: Receiver, format: str, secret: str | None
) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"], format=format, secret=secret)
    assert secret in (None, made["secret"])
    await open_issue(nethack, title="Müde")
    [got] = await receiver.until(1)
    assert accepted(made["secret"], got)
    for forged in (Got(got.headers, got.body + b" ", ""), Got({**got.headers, "webhook-id": "x"}, got.body, "")):
        assert not accepted(made["secret"], forged)
    assert not accepted(TEXT[::-1], got)
    if format == "pagure":
        assert accepted_by_pagure(made["secret"], got) == [True, True]
        assert accepted_by_pagure(TEXT[::-1], got) == [False, False]


async def test_two_secrets_sign_while_one_is_replaced(nethack: Client, receiver: Receiver) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])

    async def replaced(**command: Any) -> str:
        status, rotated = await nethack.json("POST", f"/v1/subscriptions/{made['id']}/secret", command)
        assert status == 200
        secret: str = rotated["secret"]
        return secret

    async def signers(*secrets: str) -> list[bool]:
        count = len(receiver.got)
        await open_issue(nethack)
        got = (await receiver.until(count + 1))[count]
        assert len(got.headers["webhook-signature"].split(" ")) == sum(accepted(each, got) for each in secrets)
        return [accepted(each, got) for each in secrets]

    old, new = made["secret"], await replaced()
    assert await signers(old, new) == [True, True]
    own = await replaced(secret=TEXT, overlap_s=1000)
    assert (own, await signers(old, new, own)) == (TEXT, [False, True, True])
    await nethack.forge.db.execute(
        "update subscription_endpoints set previous_until = previous_until - interval '1000 s'"
    )
    assert await signers(new, own) == [False, True]
    last = await replaced(overlap_s=0)
    assert await signers(own, last) == [False, True]
