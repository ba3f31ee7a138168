"""What a fetch asks for. Git itself gives any object by its id in version 2 of the protocol, also what was removed."""

import asyncio
import re
from pathlib import Path

from app.database import Database
from app.git.errors import GitError
from app.git.objects import find_hidden, find_unlisted, was_anything_removed
from app.queries import refs
from app.transports.pktline import decode_packets, encode_line

WANT = re.compile(rb"want ([0-9a-fA-F]{40})")
SHALLOW = re.compile(rb"shallow ([0-9a-fA-F]{40})")
DEPTH = b"deepen "
FINITE = re.compile(rb"[1-9][0-9]{0,8}\n?")  # git reads the number in any base
CONFIG = {
    "uploadpack.allowAnySHA1InWant": "true",  # since the forge decides
    "uploadpackfilter.sparse:oid.allow": "false",  # it would tell which names match the lines of a hidden file
}


def list_wants(body: bytes) -> set[str]:
    """List the ids that the request of a fetch asks for, in any version of the protocol."""
    found = WANT.findall(body)
    if _asks_for_everything(body):
        found += SHALLOW.findall(body)
    return {each.decode().lower() for each in found}


def _asks_for_everything(body: bytes) -> bool:
    """Return whether the depth is infinite: git then adds the parents of the client's shallow commits to what is
    wanted.
    """
    depths = [line.removeprefix(DEPTH) for line in decode_packets(body) if line.startswith(DEPTH)]
    return any(not FINITE.fullmatch(depth) for depth in depths)


async def find_hidden_want(db: Database, repo_path: Path, project_id: int, body: bytes) -> str | None:
    """Return an id that the fetch asks for and that no visible ref leads to; None if there is none.

    What refs point to is known to the database, so an ordinary fetch costs one statement. Anything else is looked for
    in the repository; if that takes too long, it counts as hidden.
    """
    wants = list_wants(body)
    if not wants or not (unknown := await refs.find_unknown(db, project_id, wants)):
        return None
    try:
        hidden, files = await asyncio.to_thread(find_hidden, repo_path, unknown)
        if hidden is None and files and await _was_anything_removed(db, repo_path, project_id):
            hidden = await asyncio.to_thread(find_unlisted, repo_path, files)
    except GitError:
        return min(unknown)
    return hidden


async def _was_anything_removed(db: Database, repo_path: Path, project_id: int) -> bool:
    """Return whether a tree or blob may be hidden. A search for each of them would make partial clones slow."""
    replaced = await refs.list_replaced(db, project_id)
    return replaced is None or await asyncio.to_thread(was_anything_removed, repo_path, replaced)


def refuse_want(object_id: str) -> bytes:
    """Build the response of a fetch that asks for what it may not have, as git words it."""
    return encode_line(f"ERR upload-pack: not our ref {object_id}\n".encode())
