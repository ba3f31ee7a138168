"""`polyforge up`, `serve`, `work` and `relay`: the processes of the forge."""

import asyncio
import contextlib
import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from aiohttp import web
from redis.exceptions import RedisError

from app.cli.runtime import DataOption, open_database, run
from app.config import Settings
from app.disk.folders import make_folders
from app.http.runner import Runner
from app.logs import configure, log
from app.ops import doctor, listening, migrate, system_user
from app.ops.file_limit import raise_file_limit
from app.ops.named_files import require_readable_files
from app.ops.supervise import Up, load_settings, wait_for_signal

# The API and the workers are imported by the commands that run them: that takes a quarter of the time in which the
# other commands start.

PortOption = Annotated[int | None, typer.Option(help="Port of the API. Default: 8080.")]
ApiProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Number of API processes that share the port. Default: 1.")
]

processes = typer.Typer()


@processes.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Data directory. Default: var.")] = None,
    port: PortOption = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="File with the token of the administrator. Default: POLYFORGE_ADMIN_TOKEN.")
    ] = None,
    api_processes: ApiProcessesOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
) -> None:
    """Start the whole forge on this machine, until Ctrl-C."""
    settings = Settings.of(data=data, port=port, admin_token_file=admin_token_file, api_processes=api_processes)
    settings = settings.with_admin_token()  # before root is given up, since the file may be root's
    for name in ("POLYFORGE_ADMIN_TOKEN", "POLYFORGE_ADMIN_TOKEN_FILE"):  # no process that is started needs it
        os.environ.pop(name, None)
    if change := system_user.drop_root(settings.data):
        typer.echo(change, err=True)
    require_readable_files(settings)
    sys.exit(Up(settings, workers).run())


@processes.command()
def serve(
    data: DataOption = None,
    port: PortOption = None,
    api_processes: ApiProcessesOption = None,
) -> None:
    """Run an API process, which also serves git over HTTP."""
    settings = _load_process_settings(data, port=port, api_processes=api_processes)
    raise_file_limit()

    from app.server import application

    async def main() -> None:
        await _wait_for_services("serve", settings)
        runner = Runner(application(settings), shutdown_timeout=5.0)
        await runner.setup()
        try:
            await _listen(runner, settings)
            # Modules and routes live as long as the process; do not scan them in every garbage collection.
            gc.collect()
            gc.freeze()
            await wait_for_signal()
        finally:
            await runner.cleanup()

    run(main(), settings)


@processes.command()
def work(data: DataOption = None) -> None:
    """Run a worker, which does git work, mirrors and deliveries in the background."""
    from workers import queue
    from workers.reactions import WorkerContext
    from workers.settings import run_workers

    settings = _load_process_settings(data)

    async def main() -> None:
        await _wait_for_services("work", settings)
        redis = queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            worker = asyncio.create_task(run_workers(WorkerContext(db, settings, queue.relay_bell(redis)), redis))
            await wait_for_signal(worker)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        await redis.aclose()

    run(main(), settings)


@processes.command()
def relay(data: DataOption = None) -> None:
    """Run a relay, which numbers events and notifies workers. Of several relays, one is active."""
    from workers import queue
    from workers.relay import Relay

    settings = _load_process_settings(data)

    async def main() -> None:
        await _wait_for_services("relay", settings)
        redis = queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            relay_task = asyncio.create_task(Relay(db, redis).run())
            await wait_for_signal(relay_task)
            relay_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relay_task
        await redis.aclose()

    run(main(), settings)


def _load_process_settings(data: Path | None, **options: Any) -> Settings:
    """Load the settings of a process that uses the folders, which are made here; root is given up."""
    settings = Settings.of(data=data, **options)
    if change := system_user.drop_root(settings.data):
        configure(settings.log_level)
        log.info("started by root", note=change)
    require_readable_files(settings)
    make_folders(settings)
    return load_settings(data, **options)


async def _wait_for_services(part: str, settings: Settings) -> None:
    """Wait for the database. Raises SettingError if database or queue cannot be used with these settings."""
    settings.required_database_url()
    with contextlib.suppress(RedisError, OSError):  # a queue that is away is waited for elsewhere
        await doctor.require_queue(settings)
    await migrate.wait_for_schema(settings.required_database_url())
    if part != "relay":
        await migrate.prepare_keys(settings)
    log.info("starting", part=part, version=version("polyforge"), url=settings.url if part == "serve" else None)


async def _listen(runner: Runner, settings: Settings) -> None:
    """Start to accept connections. Raises ServiceError or SettingError if that is not possible."""
    try:
        await web.TCPSite(runner, settings.host, settings.port, reuse_port=settings.api_processes > 1).start()
    except listening.ERRORS as error:
        sharing = " If several `serve` processes are to share it, start each of them with --api-processes."
        raise listening.build_error(error, settings, sharing) from None
    log.info(
        "listening",
        address=settings.local_url,
        processes=settings.api_processes,
        database=describe_database(settings.required_database_url()),
        version=version("polyforge"),
    )


def describe_database(url: str) -> str:
    """Return hosts and name of a database, without the login and other parameters of its URL."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path
