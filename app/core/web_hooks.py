"""The addresses of a project's web hooks: sealed like those of subscriptions, while events name only their hosts."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from app.core.urls import parse_endpoint
from app.database import Database
from app.errors import Invalid, Subject
from app.stores import deliveries

MAX_HOOKS = 50
HTTP = re.compile(r"https?:", re.IGNORECASE)
LOGIN = re.compile(r"(?<=://)[^/?#]*@")
MASK = "********"  # shown instead of a user part; an address that comes back with it is the one that was shown


def parse_web_hooks(text: str | None) -> list[str]:
    """The URLs in the option, one on a line, each once. Lines that are no web addresses are left out, as in Pagure.

    Raises Invalid.
    """
    lines = list(dict.fromkeys(line.strip() for line in (text or "").split("\n") if line.strip()))
    if len(lines) > MAX_HOOKS:
        raise Invalid(Subject.TOO_MANY_WEB_HOOKS, "web_hooks", limit=MAX_HOOKS)
    return [line for line in lines if HTTP.match(line)]


def parse_hook_host(url: str) -> str:
    """The host of a web hook. Raises Invalid."""
    try:
        return parse_endpoint(url, login=True)
    except Invalid:
        raise Invalid(Subject.VALUE, "web_hooks") from None


def mask_login(url: str) -> str:
    return LOGIN.sub(f"{MASK}@", url)


@asynccontextmanager
async def storing_web_hooks(
    db: Database, project_id: int, text: str | None
) -> AsyncIterator[list[dict[str, str]] | None]:
    """Store the addresses of web hooks before the block names them in an event; delete new ones again if it fails.

    Yields the value of the setting: an id and a host for each. An address that the project has had keeps its id, and
    so its subscription. Raises Invalid.
    """
    urls = parse_web_hooks(text)
    known = await deliveries.list_hook_urls(db, project_id) if urls else {}
    ids = {url: hook_id for hook_id, url in known.items()}
    masked = {mask_login(url): url for url in ids if MASK in mask_login(url)}
    chosen = {masked.get(url, url): None for url in urls}
    hosts = {url: parse_hook_host(url) for url in chosen}
    added = {uuid4(): url for url in chosen if url not in ids}
    ids |= {url: hook_id for hook_id, url in added.items()}
    async with deliveries.storing_hooks(db, project_id, added):
        yield [{"id": str(ids[url]), "host": host} for url, host in hosts.items()] or None


async def show_web_hooks(db: Database, project: Mapping[str, Any]) -> str | None:
    """The option as its administrators see it: one address on a line, user parts masked."""
    hooks = project["settings"].get("web_hooks")
    if not hooks:
        return None
    known = await deliveries.list_hook_urls(db, project["project_id"])
    return "\n".join(mask_login(known[key]) for hook in hooks if (key := UUID(hook["id"])) in known) or None
