"""Helpers for tests that push with the ordinary git client."""

from pathlib import Path

from tests.conftest import Client, git

FORWARD, SIGNED = "Block non fast-forward pushes", "Block Un-Signed commits"
NO_BRANCHES = "Prevent creating new branches by git push"


async def push(work: Path, *arguments: str, by: Client | None = None, fails: bool = False) -> str:
    to = by.git_url("nethack") if by else "origin"
    options = [argument for argument in arguments if argument.startswith("--")]
    refspecs = [argument for argument in arguments if argument not in options]
    return await git("push", *options, to, *refspecs, cwd=work, fails=fails)


async def heads(client: Client) -> dict[str, str]:
    found: dict[str, str] = (await client.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    return found


async def head(work: Path, of: str = "HEAD") -> str:
    return (await git("rev-parse", of, cwd=work)).strip()


async def id_of(client: Client) -> int:
    return int((await client.pagure("/nethack"))[1]["id"])


async def signed(work: Path, name: str) -> str:
    (work / name).write_text("text")
    await git("add", name, cwd=work)
    await git("commit", "-qsm", f"Add {name}", cwd=work)
    return await head(work)


def no(ref: str, why: str) -> str:
    return f"-> {ref} ({why})\n"
