"""Git towards where a user aims it: through the proxy, by https, and nowhere else."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from app.git import process
from app.git.errors import GitFailed, TimedOut, TooLarge
from app.git.process import DEFAULT_TIMEOUT, Progress
from app.outgoing.failures import Failure, OutgoingError
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
    # Large files stay where they are stored: no program fetches them.
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
}
MAX_OUTPUT = (
    1 << 22
)  # bytes of what git says about where it was: it lists refs, say, and the other side has as many as it likes
# Whoever is slow elsewhere keeps its thread: so these are not the threads that git works in here.
RUNS = ThreadPoolExecutor(32, thread_name_prefix="elsewhere")
TLS = re.compile(r"fatal: unable to access '.*': .*(?:SSL|TLS|certificate)")


async def run_git(
    proxy: Proxy,
    repo_path: Path,
    *arguments: str,
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The output of git in the repository at `place`, such as `git(proxy, place, "fetch", "--", url, refspec)`.

    A URL stands behind `--`, so that git never takes it for an option. `config` adds settings and loosens none;
    `progress` hears as that of `process.run` does. Raises NoRepository, and Failed with the class that the proxy saw,
    or git: its words may hold what stands in the URL, and the other side's, so nobody keeps them.
    """
    with proxy.admit() as admitted:
        guarded = {**(config or {}), **CONFIG, "http.proxy": admitted.url}
        run = partial(process.run, deadline=deadline, config=guarded, progress=progress, max_output=MAX_OUTPUT)
        try:
            return await asyncio.get_running_loop().run_in_executor(RUNS, run, repo_path, *arguments)
        except TimedOut:
            failure = Failure.TIMEOUT
        except TooLarge:
            failure = Failure.TOO_LARGE
        except GitFailed as failed:
            failure = admitted.failure or Failure.REJECTED
            # What goes wrong inside of a tunnel, only git can say; to the proxy it looks like an end.
            if failure in (Failure.REJECTED, Failure.RESET) and TLS.search(failed.subject):
                failure = Failure.TLS
    raise OutgoingError(failure)
