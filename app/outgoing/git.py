"""Git towards where a user aims it: through the proxy, by https, and nowhere else."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from app.git import process
from app.git.errors import GitFailed, TimedOut
from app.git.process import DEADLINE
from app.outgoing.failures import Failed, Failure
from app.outgoing.proxy import Proxy

# The program's other guards, an environment of its own and `protocol.allow=never` among them, are app/git/process.py's.
CONFIG = {
    "protocol.https.allow": "always",
    "http.proxyAuthMethod": "basic",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    # Nobody is asked for a password, and no program that might know one.
    "credential.helper": "",
    "core.askPass": "",
    # No program is started for a file's sake, and nothing is fetched that was not named.
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.bundleURI": "false",
    "fetch.uriProtocols": "",
}
TLS = re.compile(r"fatal: unable to access .*(?:SSL|TLS|certificate)")


async def git(
    proxy: Proxy,
    place: Path,
    *arguments: str,
    deadline: float = DEADLINE,
    config: Mapping[str, str] | None = None,
) -> bytes:
    """The output of git in the repository at `place`, with a network. Put `--` before a URL: `git` takes it for none.

    `config` cannot loosen what is set here. Raises Failed, whose class comes from the proxy if it knows one; git's own
    words, which may be the other side's and hold what stands in the URL, are kept by nobody. Raises NoRepository too.
    """
    with proxy.admit() as admitted:
        guarded = {**(config or {}), **CONFIG, "http.proxy": admitted.url}
        run = asyncio.to_thread(process.run, place, *arguments, deadline=deadline, config=guarded)
        try:
            return await run
        except TimedOut:
            failure = Failure.TIMEOUT
        except GitFailed as failed:
            failure = admitted.failure or (Failure.TLS if TLS.search(failed.subject) else Failure.REJECTED)
    raise Failed(failure)
