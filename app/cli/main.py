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

from app.cli import secret_options
from app.cli.client import JsonLines, RequestRefused, Unreachable, print_json, print_table
from app.cli.events import events
from app.cli.hooks import hooks
from app.cli.secrets import secrets
from app.cli.tasks import tasks
from app.config import Settings, list_unknown_variables
from app.core import commands, credentials
from app.core.users import CreateUser, RevokeToken
from app.database import DB_ERRORS, Database, database
from app.errors import Refused
from app.http.runner import Runner
from app.http.wording import describe_refusal
from app.logs import configure, log
from app.ops import doctor as doctor_checks
from app.ops import migrate as migrations
from app.ops import system_user
from app.ops.embedded import ServiceError
from app.ops.faults import describe_database_error, describe_queue_error
from app.ops.file_limit import raise_file_limit
from app.ops.supervise import Up, load_settings, wait_for_signal
from app.queries import users
from app.server import application
from app.setting_types import SettingError
from app.storage import make_folders
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

PROCESSES = frozenset({"serve", "work", "relay"})  # whose standard error is a log
OPTIONS = frozenset({"data", "port", "admin_token_file"})  # settings that are options of commands too

DataOption = Annotated[
    Path | None, typer.Option(help="Data directory, with repositories and embedded services. Default: var.")
]
ApiProcessesOption = Annotated[
    int | None, typer.Option(min=1, help="Number of API processes that share the port. Default: 1.")
]


NO_ID, PAGE_SIZE = uuid.UUID(int=0), 1000  # of listings of tokens
TOKEN_COLUMNS = ("id", "prefix", "created", "expires", "description")
WRONG_SETTING = 2  # exit code of a command that cannot succeed before a setting has been changed
OWNER_ONLY = 0o077  # the umask: files and folders are readable by their owner alone


def main() -> None:
    """Run the command line. Expected errors are printed as one line; any other is a bug and keeps its traceback."""
    os.umask(OWNER_ONLY)
    secret_options.hide_options()
    try:
        cli()
    except ValidationError as invalid:
        for line in describe_invalid_settings(invalid):
            typer.echo(line, err=True)
        sys.exit(WRONG_SETTING)
    except (SettingError, system_user.SystemUserError) as wrong:
        typer.echo(f"Error: {wrong}", err=True)
        sys.exit(WRONG_SETTING)
    except Refused as refused:
        typer.echo(f"Error: {describe_refusal(refused)}", err=True)
    except (RequestRefused, Unreachable, RebuildRunning, ServiceError) as error:
        typer.echo(f"Error: {error}", err=True)
    except asyncpg.UndefinedTableError:
        typer.echo("Error: the database has no schema. Run `polyforge migrate`.", err=True)
    except (*DB_ERRORS, RedisError) as error:
        sys.exit(report_unavailable(error))
    else:
        return
    sys.exit(1)


def describe_invalid_settings(invalid: ValidationError) -> list[str]:
    """Return one sentence for each setting with a value that cannot be used. Never repeats a secret."""
    sentences = {}
    for error in invalid.errors(include_input=False, include_url=False):
        name = str(error["loc"][0]) if error["loc"] else ""
        option = f" (--{name.replace('_', '-')})" if name in OPTIONS else ""
        message = error["msg"].removeprefix("Value error, ")
        sentences[name] = f"Error: POLYFORGE_{name.upper()}{option}: {message}."
    return list(sentences.values())


def report_unavailable(error: Exception) -> int:
    """Print why database, queue or storage cannot be used, and return the exit code."""
    if isinstance(error, OSError) and error.filename is not None:
        typer.echo(f"Error: {error.strerror}: {error.filename}. Check POLYFORGE_DATA (--data).", err=True)
        return WRONG_SETTING
    fault = describe_queue_error(error) if isinstance(error, RedisError) else describe_database_error(error)
    typer.echo(f"Error: {fault.sentence}", err=True)
    return WRONG_SETTING if fault.permanent else 1


def warn_of_unknown_variables(command: str | None) -> None:
    """Say which variables look like settings but are read by nothing, such as misspelt ones."""
    for name, similar in list_unknown_variables().items():
        if command in PROCESSES:
            configure("warning")
            log.warning("unknown setting", name=name, similar=similar)
        else:
            hint = f" Did you mean {similar}?" if similar else ""
            typer.echo(f"Warning: {name} is not a setting and has no effect.{hint}", err=True)


def run(main: Coroutine[Any, Any, Any], settings: Settings, *, interactive: bool = False) -> Any:
    """Run a coroutine to its end. Interactive commands log warnings and errors only."""
    configure("warning" if interactive else settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    async with database(settings.required_database_url(), settings.pool_size, open_keyring(settings)) as db:
        yield db


def _load_process_settings(data: Path | None, **options: Any) -> Settings:
    """Load the settings of a process that uses the folders, which are made here; root is given up."""
    settings = Settings.of(data=data, **options)
    if change := system_user.drop_root(settings.data):
        configure(settings.log_level)
        log.info("started by root", note=change)
    make_folders(settings)
    return load_settings(data, **options)


def _load_command_settings(data: Path | None) -> Settings:
    """Load the settings of a command that runs beside the forge, as the user of the forge if root calls it."""
    settings = load_settings(data)
    system_user.follow_owner(settings.data)
    return settings


async def _wait_for_services(part: str, settings: Settings) -> None:
    """Wait for the database. Raises SettingError if database or queue cannot be used with these settings."""
    settings.required_database_url()
    with contextlib.suppress(RedisError, OSError):  # a queue that is away is waited for elsewhere
        await doctor_checks.require_queue(settings)
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
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Polyforge, a git forge backend.

    It runs as three kinds of processes: serve, relay and work. `up` starts all of them.
    """
    warn_of_unknown_variables(context.invoked_subcommand)


@cli.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Data directory. Default: var.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: 8080.")] = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="File with the token of the administrator. Default: POLYFORGE_ADMIN_TOKEN.")
    ] = None,
    api_processes: ApiProcessesOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
) -> None:
    """Start the whole forge on this machine, until Ctrl-C."""
    settings = Settings.of(data=data, port=port, admin_token_file=admin_token_file, api_processes=api_processes)
    if token := settings.read_admin_token():  # before root is given up, since the file may be root's
        settings = settings.model_copy(update={"admin_token": SecretStr(token), "admin_token_file": None})
    for name in ("POLYFORGE_ADMIN_TOKEN", "POLYFORGE_ADMIN_TOKEN_FILE"):  # no process that is started needs it
        os.environ.pop(name, None)
    if change := system_user.drop_root(settings.data):
        typer.echo(change, err=True)
    sys.exit(Up(settings, workers).run())


@cli.command()
def serve(
    data: DataOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the API. Default: 8080.")] = None,
    api_processes: ApiProcessesOption = None,
) -> None:
    """Run an API process, which also serves git over HTTP."""
    settings = _load_process_settings(data, port=port, api_processes=api_processes)
    raise_file_limit()

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
    settings = _load_process_settings(data)

    async def main() -> None:
        await _wait_for_services("work", settings)
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


@cli.command()
def migrate(data: DataOption = None, json: JsonLines = False) -> None:
    """Load or upgrade the database schema, and create the first administrator."""
    settings = _load_command_settings(data)

    async def main() -> tuple[str, str | None]:
        message = await migrations.migrate(settings.required_database_url(), open_keyring(settings))
        async with open_database(settings) as db:
            return message, await migrations.create_first_admin(db, settings)

    message, token = run(main(), settings, interactive=True)
    if json:
        print_json({"message": message, "username": settings.admin_user, "token": token})
        return
    typer.echo(message)
    if token:
        typer.echo(f"Token of {settings.admin_user}: {token}")


@cli.command()
def rebuild(data: DataOption = None, json: JsonLines = False) -> None:
    """Rebuild the read tables from the event log. The forge stays available meanwhile."""
    settings = _load_command_settings(data)

    async def main() -> int:
        async with open_database(settings) as db:
            with Console(stderr=True).status("Replaying the event log…") as status:
                return await rebuild_rows(db, lambda done, total: status.update(f"Replayed {done} of {total} events"))

    count = run(main(), settings, interactive=True)
    if json:
        print_json({"events": count})
    else:
        typer.echo(f"Rebuilt from {count} events.")


@user_cli.command("add")
def user_add(
    username: str,
    email: str,
    fullname: Annotated[str | None, typer.Option(help="Full name. Default: the username.")] = None,
    admin: Annotated[bool, typer.Option(help="Make the user an administrator.")] = False,
    password_file: Annotated[
        Path | None, typer.Option(envvar="POLYFORGE_PASSWORD_FILE", help="File with a password. Default: none.")
    ] = None,
    data: DataOption = None,
    json: JsonLines = False,
) -> None:
    """Add a user and print a token for that user. POLYFORGE_PASSWORD may hold a password."""
    password = secret_options.read_option("POLYFORGE_PASSWORD", password_file)
    settings = _load_command_settings(data)

    async def main() -> tuple[str, str]:
        async with open_database(settings) as db:
            command = CreateUser(username=username, fullname=fullname or username, email=email, admin=admin)
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())
            if password:
                await credentials.store_password(db, username, password)
            token = credentials.new_token()
            return await migrations.issue_token(db, username, token, "created with the user"), token

    token_id, token = run(main(), settings, interactive=True)
    if json:
        print_json({"username": username, "id": token_id, "token": token})
    else:
        typer.echo(token)


@user_cli.command("list")
def user_list(data: DataOption = None, json: JsonLines = False) -> None:
    """List the users."""
    settings = _load_command_settings(data)

    async def main() -> list[dict[str, Any]]:
        async with open_database(settings) as db:
            return [dict(row) for row in await users.list_all(db, limit=None)]

    rows = run(main(), settings, interactive=True)
    shown = [{**row, "admin": row["admin"] if json else "yes" if row["admin"] else "no"} for row in rows]
    print_table(("username", "admin", "email", "fullname"), shown, json=json)


@token_cli.command("add")
def token_add(
    username: str,
    description: Annotated[str, typer.Option(help="Description, shown in lists.")] = "created on the command line",
    data: DataOption = None,
    json: JsonLines = False,
) -> None:
    """Issue a token and print it. It cannot be shown again."""
    settings = _load_command_settings(data)

    async def main() -> tuple[str, str]:
        async with open_database(settings) as db:
            token = credentials.new_token()
            return await migrations.issue_token(db, username, token, description), token

    token_id, token = run(main(), settings, interactive=True)
    if json:
        print_json({"username": username, "id": token_id, "token": token})
        return
    typer.echo(f"id {token_id}", err=True)
    typer.echo(token)


@token_cli.command("list")
def token_list(username: str, data: DataOption = None, json: JsonLines = False) -> None:
    """List the tokens of a user, with the ids needed to revoke them."""
    settings = _load_command_settings(data)

    async def main() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with open_database(settings) as db:
            while page := await users.list_tokens(db, username, found[-1]["token_id"] if found else NO_ID, PAGE_SIZE):
                found += [dict(row) for row in page]
        return found

    print_table(TOKEN_COLUMNS, map(describe_token, run(main(), settings, interactive=True)), json=json)


def describe_token(row: dict[str, Any]) -> dict[str, str]:
    return {
        "id": str(row["token_id"]),
        "prefix": row["prefix"],
        "created": f"{row['created_at']:%Y-%m-%dT%H:%M:%SZ}",
        "expires": f"{row['expires_at']:%Y-%m-%dT%H:%M:%SZ}" if row["expires_at"] else "never",
        "description": row["description"],
    }


@token_cli.command("revoke")
def token_revoke(token_id: uuid.UUID, data: DataOption = None, json: JsonLines = False) -> None:
    """Revoke a token. `polyforge token list` shows the ids."""
    settings = _load_command_settings(data)

    async def main() -> None:
        async with open_database(settings) as db:
            command = RevokeToken(token_id=str(token_id))
            await commands.execute(db, migrations.FORGE, command, command_id=uuid.uuid4())

    run(main(), settings, interactive=True)
    if json:
        print_json({"id": str(token_id), "revoked": True})
    else:
        typer.echo("Revoked.")


@cli.command()
def config(json: JsonLines = False) -> None:
    """List all settings with their defaults and descriptions."""
    for name, field in Settings.model_fields.items():
        variable = f"POLYFORGE_{name.upper()}"
        if json:
            default = orjson.loads(orjson.dumps(field.default, default=str))
            print_json({"variable": variable, "default": default, "description": field.description})
            continue
        default = ",".join(map(str, field.default)) if isinstance(field.default, list) else field.default
        typer.echo(f"{variable}={'' if default is None else default}\n    {field.description}")


@cli.command()
def doctor(
    data: DataOption = None,
    json: JsonLines = False,
    repair: Annotated[bool, typer.Option(help="Record refs that differ in the log, as they are on disk.")] = False,
) -> None:
    """Check queue, storage, database, relay and workers, and compare the refs on disk with the event log."""
    settings = _load_command_settings(data)

    def report(name: str, result: str) -> None:
        if json:
            print_json({"check": name, "result": result})
        else:
            typer.echo(f"{name:{doctor_checks.NAME_WIDTH}} {result}")

    async def main() -> int:
        return await doctor_checks.run_checks(settings, report, repair=repair)

    raise typer.Exit(run(main(), settings, interactive=True))


cli.command()(events)
cli.command()(tasks)
