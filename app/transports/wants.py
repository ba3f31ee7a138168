"""What a fetch asks for. Git itself gives any object by its id in version 2 of the protocol, also what was removed."""

import asyncio
import re
from pathlib import Path

from app.database import Database
from app.git.errors import GitError
from app.git.objects import find_hidden
from app.queries import refs
from app.transports.pktline import encode_line

WANT = re.compile(rb"want ([0-9a-fA-F]{40})")
ALLOW_ALL = {"uploadpack.allowAnySHA1InWant": "true"}  # for git, since the forge decides


def list_wants(body: bytes) -> set[str]:
    """List the ids that the request of a fetch asks for, in any version of the protocol."""
    return {found.decode().lower() for found in WANT.findall(body)}


async def find_hidden_want(db: Database, repo_path: Path, project_id: int, body: bytes) -> str | None:
    """Return an id that the fetch asks for and that no visible ref leads to; None if there is none.

    What refs point to is known to the database, so an ordinary fetch costs one statement. Anything else is looked for
    in the repository; if that takes too long, it counts as hidden.
    """
    wants = list_wants(body)
    if not wants or not (unknown := await refs.find_unknown(db, project_id, wants)):
        return None
    replaced = await refs.list_replaced(db, project_id)
    try:
        return await asyncio.to_thread(find_hidden, repo_path, unknown, replaced)
    except GitError:
        return min(unknown)


def refuse_want(object_id: str) -> bytes:
    """Build the response of a fetch that asks for what it may not have, as git words it."""
    return encode_line(f"ERR upload-pack: not our ref {object_id}\n".encode())
