"""The git program: the only place that starts it. Arguments are typed, a shell is never involved."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

# Nothing outside the repository may change what git does, and nobody is there to be asked for a password.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}
CONFIG = {
    "safe.directory": "*",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "protocol.allow": "never",
    "receive.fsckObjects": "true",
    "receive.autogc": "false",
    "transfer.hideRefs": "refs/internal",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "false",
    "core.logAllRefUpdates": "false",
}
# Where it is installed: a git whose parent was killed moves no refs behind the back of whoever reconciles.
ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
SERVICES = frozenset({"upload-pack", "receive-pack"})


def command(*arguments: str, config: Mapping[str, str] | None = None) -> list[str]:
    """The argument vector; configuration comes before the subcommand, where no user value ever stands."""
    settings = [f"--config-env={name}={_variable(name)}" for name in {**CONFIG, **(config or {})}]
    return [*ENDS_WITH_US, "git", *settings, *arguments]


def environment(config: Mapping[str, str] | None = None, **extra: str) -> dict[str, str]:
    values = {_variable(name): value for name, value in {**CONFIG, **(config or {})}.items()}
    return {**ENVIRONMENT, **values, **extra}


def _variable(name: str) -> str:
    return "PF_" + name.replace(".", "_").upper()


@asynccontextmanager
async def serve(
    service: str,
    repository: Path,
    *,
    advertise: bool,
    protocol: str = "",
    config: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """upload-pack or receive-pack over pipes; its whole process group ends with the block."""
    assert service in SERVICES  # noqa: S101 - routes name the service, clients never do
    arguments = [
        service,
        "--stateless-rpc",
        *(["--http-backend-info-refs"] if advertise else []),
        str(repository),
    ]
    process = await asyncio.create_subprocess_exec(
        *command(*arguments, config=config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(config, **({"GIT_PROTOCOL": protocol} if protocol else {})),
        start_new_session=True,
        limit=1 << 18,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
