"""Polyforge, a git forge backend."""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import asyncpg
import typer
from pydantic import ValidationError
from redis.exceptions import RedisError

from app.cli import accounts, secret_options
from app.cli.client import RequestRefused, Unreachable
from app.cli.events import events
from app.cli.hooks import hooks
from app.cli.processes import processes
from app.cli.rpc import rpc
from app.cli.secrets import secrets
from app.cli.tasks import tasks
from app.cli.upkeep import upkeep
from app.config import SettingError, list_unknown_variables
from app.database import DB_ERRORS
from app.errors import Refused
from app.http.wording import describe_refusal
from app.logs import configure, log
from app.ops import system_user
from app.ops.embedded import ServiceError
from app.ops.faults import describe_database_error, describe_queue_error
from events.projections.rebuild import RebuildRunning

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(processes)
cli.add_typer(upkeep)
cli.add_typer(accounts.user, name="user", help="Add and list users.")
cli.add_typer(accounts.token, name="token", help="Issue and revoke tokens.")
cli.add_typer(secrets, name="secrets")
cli.add_typer(hooks, name="hooks")
cli.command()(events)
cli.command()(tasks)
cli.command()(rpc)

PROCESSES = frozenset({"serve", "work", "relay"})  # whose standard error is a log
OPTIONS = frozenset({"data", "port", "admin_token_file"})  # settings that are options of commands too
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
