"""Running git against remotes that users choose: over https only, and always through the proxy."""

import asyncio
import contextvars
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

# app/git/process.py adds the general restrictions, such as a clean environment and `protocol.allow=never`.
CONFIG = {
    "protocol.https.allow": "always",
    "http.proxyAuthMethod": "basic",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    # Never ask for a password, be it at a terminal or from a program.
    "credential.helper": "",
    "core.askPass": "",
    # Do not download files of Git LFS.
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
}
MAX_OUTPUT = 1 << 22  # bytes; a list of refs, for example, is as long as the other side likes
# Slow remotes occupy threads of this pool, not those in which git works on local repositories.
EXECUTOR = ThreadPoolExecutor(32, thread_name_prefix="remote-git")
TLS_ERROR = re.compile(r"fatal: unable to access '.*': .*(?:SSL|TLS|certificate)")


async def run_git(
    proxy: Proxy,
    repo_path: Path,
    *arguments: str,
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Run git in a repository and return its output, as in `run_git(proxy, path, "fetch", "--", url, refspec)`.

    A URL has to follow `--`, so that git never takes it for an option. `config` adds settings but cannot override the
    restrictions; `progress` works as in `process.run`. Raises NoRepository, and OutgoingError with the class of failure
    that the proxy or git reports. The error output of git is discarded, since it may contain the password in the URL
    and text of the other side.
    """
    with proxy.admit() as proxy_pass:
        settings = {**(config or {}), **CONFIG, "http.proxy": proxy_pass.url}
        run = partial(process.run, deadline=deadline, config=settings, progress=progress, max_output=MAX_OUTPUT)
        try:
            # The context says which lock git must hold (app/git/locks.py).
            run = partial(contextvars.copy_context().run, run)
            return await asyncio.get_running_loop().run_in_executor(EXECUTOR, run, repo_path, *arguments)
        except TimedOut:
            failure = Failure.TIMEOUT
        except TooLarge:
            failure = Failure.TOO_LARGE
        except GitFailed as error:
            failure = proxy_pass.failure or Failure.REJECTED
            # Only git knows of TLS errors; the proxy merely sees that the tunnel ends.
            if failure in (Failure.REJECTED, Failure.RESET) and TLS_ERROR.search(error.subject):
                failure = Failure.TLS
    raise OutgoingError(failure)
