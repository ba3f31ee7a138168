"""The command line: up, serve, work, relay, migrate, rebuild, user, token, events, tasks, hooks, config, doctor."""

import asyncio
import contextlib
import gc
import sys
import uuid
from collections.abc import AsyncIterator, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

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
from app.ops.supervise import Up, settings_for, wait_for_signal
from app.queries import users
from app.server import application
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

DataOption = Annotated[Path | None, typer.Option(help="Directory of repositories and embedded services.")]


def main() -> None:
    """Mistakes and outages in a sentence; whatever is left is a bug and shows where it is."""
    try:
        cli()
    except ValidationError as wrong:
        for error in wrong.errors():
            name = "_".join(str(part) for part in error["loc"][:1]).upper()
            typer.echo(f"POLYFORGE_{name} (--{name.lower().replace('_', '-')}): {error['msg']}", err=True)
    except Refused as refused:
        typer.echo(f"No: {describe_refusal(refused)}", err=True)
    except (RequestRefused, Unreachable) as answer:
        typer.echo(f"No: {answer}", err=True)
    except RebuildRunning as busy:
        typer.echo(f"No: {busy}", err=True)
    except asyncpg.UndefinedTableError:
        typer.echo("The database has no schema. Run polyforge migrate.", err=True)
    except (*DB_ERRORS, RedisError) as failure:
        typer.echo(f"Database, queue or storage cannot be used: {failure or type(failure).__name__}", err=True)
    else:
        return
    sys.exit(1)


def run(main: Coroutine[Any, Any, Any], settings: Settings, *, typed: bool = False) -> Any:
    """Run it to its end. What people type does not log what goes well."""
    configure("warning" if typed else settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    async with database(settings.required_database_url(), settings.pool_size) as db:
        yield db


async def _wait_for_schema(part: str, settings: Settings) -> None:
    """Wait for a database with the schema of this program."""
    await migrations.wait_for_schema(settings.required_database_url())
    log.info("starting", part=part, version=version("polyforge"), url=settings.url if part == "serve" else None)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polyforge {version('polyforge')}")
        raise typer.Exit


@cli.callback()
def root_options(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """A git forge backend: serve, relay and work are its processes, up starts them all."""


@cli.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Directory of everything the forge keeps; default: var.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; default: 8080.")] = None,
    admin_token: Annotated[str | None, typer.Option(help="The administrator's token, 20 or more characters.")] = None,
    api_processes: Annotated[int, typer.Option(min=1, help="Processes that answer HTTP.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that do the work.")] = 1,
) -> None:
    """Start the whole forge on this machine; Ctrl-C stops it."""
    secret = SecretStr(admin_token) if admin_token else None
    settings = Settings.of(data=data, port=port, admin_token=secret)
    sys.exit(Up(settings, api_processes, workers).run())


@cli.command()
def serve(
    data: DataOption = None, port: Annotated[int | None, typer.Option(help="Port of the API; default: 8080.")] = None
) -> None:
    """Answer HTTP."""
    settings = settings_for(data, port=port)

    async def main() -> None:
        await _wait_for_schema("serve", settings)
        runner = Runner(application(settings), shutdown_timeout=5.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port, reuse_port=True).start()
            # What has been loaded by now stays; looking through it at every collection only costs time.
            gc.collect()
            gc.freeze()
            await wait_for_signal()
        finally:
            await runner.cleanup()

    run(main(), settings)


@cli.command()
def work(data: DataOption = None) -> None:
    """Do the git work that events ask for."""
    settings = settings_for(data)

    async def main() -> None:
        await _wait_for_schema("work", settings)
        settings.repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
        redis = await queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            working = asyncio.create_task(start_work(WorkerContext(db, settings, queue.relay_bell(redis)), redis))
            await wait_for_signal(working)
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
        await redis.aclose()

    run(main(), settings)


@cli.command()
def relay(data: DataOption = None) -> None:
    """Number events and ring the workers; any number may run, one leads."""
    settings = settings_for(data)

    async def main() -> None:
        await _wait_for_schema("relay", settings)
        redis = await queue.connect(settings.required_redis_url())
        async with open_database(settings) as db:
            leading = asyncio.create_task(Relay(db, redis).run())
            await wait_for_signal(leading)
            leading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leading
        await redis.aclose()

    run(main(), settings)


@cli.command()
def migrate(data: DataOption = None) -> None:
    """Bring the database to this program's schema, and the first administrator into it."""
    settings = settings_for(data)

    async def main() -> tuple[str, str | None]:
        done = await migrations.migrate(settings.required_database_url())
        async with open_database(settings) as db:
            return done, await migrations.first_admin(db, settings)

    done, token = run(main(), settings, typed=True)
    typer.echo(done)
    if token:
        typer.echo(f"The token of {settings.admin_user}: {token}")


@cli.command()
def rebuild(data: DataOption = None) -> None:
    """Write the read tables anew from the log, beside the live ones, and swap them in."""
    settings = settings_for(data)

    async def main() -> int:
        async with open_database(settings) as db:
            with Console(stderr=True).status("Replaying the log…") as status:
                return await rebuild_rows(db, lambda done, of: status.update(f"Replayed {done} of {of} events"))

    typer.echo(f"Rebuilt from {run(main(), settings, typed=True)} events.")


@user_cli.command("add")
def user_add(
    username: str,
    email: str,
    fullname: str | None = None,
    admin: bool = False,
    password: Annotated[str | None, typer.Option(prompt=False, envvar="POLYFORGE_PASSWORD")] = None,
    data: DataOption = None,
) -> None:
    """Add a user and print a token for them."""
    settings = settings_for(data)

    async def main() -> str:
        async with open_database(settings) as db:
            command = CreateUser(username=username, fullname=fullname or username, email=email, admin=admin)
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())
            if password:
                await credentials.store_password(db, username, password)
            token = credentials.new_token()
            await migrations.issue_token(db, username, token, "made with the user")
            return token

    typer.echo(run(main(), settings, typed=True))


@user_cli.command("list")
def user_list(data: DataOption = None) -> None:
    """List the users."""
    settings = settings_for(data)

    async def main() -> Table:
        table = Table("username", "full name", "e-mail", "admin")
        async with open_database(settings) as db:
            for row in await users.list_all(db):
                table.add_row(row["username"], row["fullname"], row["email"], "yes" if row["admin"] else "")
        return table

    Console().print(run(main(), settings, typed=True))


@token_cli.command("add")
def token_add(username: str, description: str = "made at the command line", data: DataOption = None) -> None:
    """Issue a token and print it, once."""
    settings = settings_for(data)

    async def main() -> str:
        async with open_database(settings) as db:
            token = credentials.new_token()
            typer.echo(f"id {await migrations.issue_token(db, username, token, description)}", err=True)
            return token

    typer.echo(run(main(), settings, typed=True))


@token_cli.command("list")
def token_list(username: str, data: DataOption = None) -> None:
    """List a user's tokens, by which to revoke them."""
    settings = settings_for(data)

    async def main() -> Table:
        table = Table("id", "begins with", "description", "expires", "made")
        async with open_database(settings) as db:
            for row in await users.list_tokens(db, username, uuid.UUID(int=0), 1000):
                expires = f"{row['expires_at']:%Y-%m-%d}" if row["expires_at"] else "never"
                made = f"{row['created_at']:%Y-%m-%d %H:%M}"
                table.add_row(str(row["token_id"]), row["prefix"], row["description"], expires, made)
        return table

    Console().print(run(main(), settings, typed=True))


@token_cli.command("revoke")
def token_revoke(token_id: uuid.UUID, data: DataOption = None) -> None:
    """Revoke a token by its id."""
    settings = settings_for(data)

    async def main() -> str:
        async with open_database(settings) as db:
            command = RevokeToken(token_id=str(token_id))
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())
            return "Revoked."

    typer.echo(run(main(), settings, typed=True))


@cli.command()
def config() -> None:
    """List the settings: variable and default, then the meaning."""
    for name, field in Settings.model_fields.items():
        default = (
            orjson.dumps(field.default, default=str).decode() if isinstance(field.default, list) else field.default
        )
        typer.echo(f"POLYFORGE_{name.upper()}={'' if default is None else default}\n    {field.description}")


@cli.command()
def doctor(data: DataOption = None) -> None:
    """Check database, queue, storage, schema version and whether log and disk agree; say what to do."""
    settings = settings_for(data)

    async def main() -> bool:
        return await doctor_checks.examine(settings, typer.echo)

    raise typer.Exit(0 if run(main(), settings, typed=True) else 1)


cli.command()(events)
cli.command()(tasks)
