"""Polyforge, a git forge backend."""

import asyncio
import contextlib
import errno
import gc
import os
import sys
import uuid
from collections.abc import AsyncIterator, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import typer
import uvloop
from aiohttp import web
from pydantic import SecretStr, ValidationError
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from app.cli.client import RequestRefused, Unreachable
from app.cli.events import events
from app.cli.hooks import hooks
from app.cli.secrets import secrets
from app.cli.tasks import tasks
from app.config import Settings
from app.core import commands, credentials
from app.core.users import CreateUser, RevokeToken
from app.database import DB_ERRORS, Database, database
from app.errors import Refused
from app.http.runner import Runner
from app.http.wording import describe_refusal
from app.logs import configure, log
from app.ops import doctor as doctor_checks
from app.ops import migrate as migrations
from app.ops.file_limit import raise_file_limit
from app.ops.supervise import Up, load_settings, wait_for_signal
from app.queries import users
from app.server import application
from app.stores.sealed import open_keyring
from events.projections.rebuild import RebuildRunning
from events.projections.rebuild import rebuild as rebuild_rows
from workers import queue
from workers.reactions import WorkerContext
from workers.relay import Relay
from workers.settings import run_workers as start_work

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
user_cli, token_cli = typer.Typer(no_args_is_help=True), typer.Typer(no_args_is_help=True)
cli.add_typer(user_cli, name="user", help="Add and list users.")
cli.add_typer(token_cli, name="token", help="Issue and revoke tokens.")
cli.add_typer(hooks, name="hooks")
cli.add_typer(secrets, name="secrets")

DataOption = Annotated[
    Path | None, typer.Option(help="Data directory, with repositories and embedded services. Default: var.")
]
ApiProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Number of API processes that share the port. Default: 1.")
]


def main() -> None:
    """Run the command line. Expected errors are printed as one line; any other is a bug and keeps its traceback."""
    try:
        cli()
    except ValidationError as invalid:
        for error in invalid.errors():
            name = "_".join(str(part) for part in error["loc"][:1]).upper()
            typer.echo(f"POLYFORGE_{name} (--{name.lower().replace('_', '-')}): {error['msg']}", err=True)
    except Refused as refused:
        typer.echo(f"Error: {describe_refusal(refused)}", err=True)
    except (RequestRefused, Unreachable, RebuildRunning) as error:
        typer.echo(f"Error: {error}", err=True)
    except asyncpg.UndefinedTableError:
        typer.echo("Error: the database has no schema. Run `polyforge migrate`.", err=True)
    except (*DB_ERRORS, RedisError) as error:
        typer.echo(f"Error: cannot use the database, queue or storage: {error or type(error).__name__}", err=True)
    else:
        return
    sys.exit(1)


def run(main: Coroutine[Any, Any, Any], settings: Settings, *, interactive: bool = False) -> Any:
    """Run a coroutine to its end. Interactive commands log warnings and errors only."""
    configure("warning" if interactive else settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    async with database(settings.required_database_url(), settings.pool_size, open_keyring(settings)) as db:
        yield db


async def _wait_for_schema(part: str, settings: Settings) -> None:
    await migrations.wait_for_schema(settings.required_database_url())
    if part != "relay":
        await migrations.prepare_keys(settings)
    log.info("starting", part=part, version=version("polyforge"), url=settings.url if part == "serve" else None)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"polyforge {version('polyforge')}")
        raise typer.Exit


@cli.callback()
def root_options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Polyforge, a git forge backend.

    It runs as three kinds of processes: serve, relay and work. `up` starts all of them.
    """


@cli.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Data directory. Default: var.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: 8080.")] = None,
    admin_token: Annotated[str | None, typer.Option(help="Token of the administrator, at least 20 characters.")] = None,
    api_processes: ApiProcessesOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
) -> None:
    """Start the whole forge on this machine, until Ctrl-C."""
    secret = SecretStr(admin_token) if admin_token else None
    settings = Settings.of(data=data, port=port, admin_token=secret, api_processes=api_processes)
    sys.exit(Up(settings, workers).run())


@cli.command()
def serve(
    data: DataOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: 8080.")] = None,
    api_processes: ApiProcessesOption = None,
) -> None:
    """Run an API process, which also serves git over HTTP."""
    settings = load_settings(data, port=port, api_processes=api_processes)
    raise_file_limit()

    async def main() -> None:
        await _wait_for_schema("serve", settings)
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


async def _listen(runner: Runner, settings: Settings) -> None:
    """Start to accept connections. Exits with a sentence if that is not possible."""
    try:
        await web.TCPSite(runner, settings.host, settings.port, reuse_port=settings.api_processes > 1).start()
    except OSError as error:
        where = f"port {settings.port} of {settings.host}"
        if error.errno == errno.EADDRINUSE:
            typer.echo(
                f"Error: {where} is in use. Choose another one with --port. If several `serve` processes are to share "
                "it, start each of them with --api-processes.",
                err=True,
            )
        else:
            typer.echo(f"Error: cannot listen at {where}: {os.strerror(error.errno or 0)}.", err=True)
        raise SystemExit(2) from None
    log.info(
        "listening",
        address=f"http://{settings.host}:{settings.port}",
        processes=settings.api_processes,
        database=describe_database(settings.required_database_url()),
        version=version("polyforge"),
    )


def describe_database(url: str) -> str:
    """Return hosts and name of a database, without the login and other parameters of its URL."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path


@cli.command()
def work(data: DataOption = None) -> None:
    """Run a worker, which does git work, mirrors and deliveries in the background."""
    settings = load_settings(data)

    async def main() -> None:
        await _wait_for_schema("work", settings)
        settings.repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
        redis = queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            worker = asyncio.create_task(start_work(WorkerContext(db, settings, queue.relay_bell(redis)), redis))
            await wait_for_signal(worker)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        await redis.aclose()

    run(main(), settings)


@cli.command()
def relay(data: DataOption = None) -> None:
    """Run a relay, which numbers events and notifies workers. Of several relays, one is active."""
    settings = load_settings(data)

    async def main() -> None:
        await _wait_for_schema("relay", settings)
        redis = queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            relay_task = asyncio.create_task(Relay(db, redis).run())
            await wait_for_signal(relay_task)
            relay_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relay_task
        await redis.aclose()

    run(main(), settings)


@cli.command()
def migrate(data: DataOption = None) -> None:
    """Load or upgrade the database schema, and create the first administrator."""
    settings = load_settings(data)

    async def main() -> tuple[str, str | None]:
        message = await migrations.migrate(settings.required_database_url(), open_keyring(settings))
        async with open_database(settings) as db:
            return message, await migrations.create_first_admin(db, settings)

    message, token = run(main(), settings, interactive=True)
    typer.echo(message)
    if token:
        typer.echo(f"Token of {settings.admin_user}: {token}")


@cli.command()
def rebuild(data: DataOption = None) -> None:
    """Rebuild the read tables from the event log. The forge stays available meanwhile."""
    settings = load_settings(data)

    async def main() -> int:
        async with open_database(settings) as db:
            with Console(stderr=True).status("Replaying the event log…") as status:
                return await rebuild_rows(db, lambda done, total: status.update(f"Replayed {done} of {total} events"))

    typer.echo(f"Rebuilt from {run(main(), settings, interactive=True)} events.")


@user_cli.command("add")
def user_add(
    username: str,
    email: str,
    fullname: Annotated[str | None, typer.Option(help="Full name. Default: the username.")] = None,
    admin: Annotated[bool, typer.Option(help="Make the user an administrator.")] = False,
    password: Annotated[str | None, typer.Option(envvar="POLYFORGE_PASSWORD", help="Password. Default: none.")] = None,
    data: DataOption = None,
) -> None:
    """Add a user and print a token for that user."""
    settings = load_settings(data)

    async def main() -> str:
        async with open_database(settings) as db:
            command = CreateUser(username=username, fullname=fullname or username, email=email, admin=admin)
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())
            if password:
                await credentials.store_password(db, username, password)
            token = credentials.new_token()
            await migrations.issue_token(db, username, token, "created with the user")
            return token

    typer.echo(run(main(), settings, interactive=True))


@user_cli.command("list")
def user_list(data: DataOption = None) -> None:
    """List the users."""
    settings = load_settings(data)

    async def main() -> Table:
        table = Table("username", "full name", "e-mail", "admin")
        async with open_database(settings) as db:
            for row in await users.list_all(db):
                table.add_row(row["username"], row["fullname"], row["email"], "yes" if row["admin"] else "")
        return table

    Console().print(run(main(), settings, interactive=True))


@token_cli.command("add")
def token_add(
    username: str,
    description: Annotated[str, typer.Option(help="Description, shown in lists.")] = "created on the command line",
    data: DataOption = None,
) -> None:
    """Issue a token and print it. It cannot be shown again."""
    settings = load_settings(data)

    async def main() -> str:
        async with open_database(settings) as db:
            token = credentials.new_token()
            typer.echo(f"id {await migrations.issue_token(db, username, token, description)}", err=True)
            return token

    typer.echo(run(main(), settings, interactive=True))


@token_cli.command("list")
def token_list(username: str, data: DataOption = None) -> None:
    """List the tokens of a user, with the ids needed to revoke them."""
    settings = load_settings(data)

    async def main() -> Table:
        table = Table("id", "prefix", "description", "expires", "created")
        async with open_database(settings) as db:
            for row in await users.list_tokens(db, username, uuid.UUID(int=0), 1000):
                expires = f"{row['expires_at']:%Y-%m-%d}" if row["expires_at"] else "never"
                created = f"{row['created_at']:%Y-%m-%d %H:%M}"
                table.add_row(str(row["token_id"]), row["prefix"], row["description"], expires, created)
        return table

    Console().print(run(main(), settings, interactive=True))


@token_cli.command("revoke")
def token_revoke(token_id: uuid.UUID, data: DataOption = None) -> None:
    """Revoke a token. `polyforge token list` shows the ids."""
    settings = load_settings(data)

    async def main() -> str:
        async with open_database(settings) as db:
            command = RevokeToken(token_id=str(token_id))
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())
            return "Revoked."

    typer.echo(run(main(), settings, interactive=True))


@cli.command()
def config() -> None:
    """List all settings with their defaults and descriptions."""
    for name, field in Settings.model_fields.items():
        default = (
            orjson.dumps(field.default, default=str).decode() if isinstance(field.default, list) else field.default
        )
        typer.echo(f"POLYFORGE_{name.upper()}={'' if default is None else default}\n    {field.description}")


@cli.command()
def doctor(data: DataOption = None) -> None:
    """Check queue, storage, database, relay and workers, and compare the refs on disk with the event log."""
    settings = load_settings(data)

    async def main() -> bool:
        return await doctor_checks.run_checks(settings, typer.echo)

    raise typer.Exit(0 if run(main(), settings, interactive=True) else 1)


cli.command()(events)
cli.command()(tasks)
