"""`polyforge migrate`, `rebuild`, `doctor` and `config`: the database, the checks and the settings."""

from typing import Annotated

import orjson
import typer
from rich.console import Console

from app.cli.client import JsonLines, print_json
from app.cli.runtime import DataOption, load_command_settings, open_database, run
from app.config import Settings
from app.ops import doctor as doctor_checks
from app.ops import migrate as migrations
from app.stores.sealed import open_keyring
from events.projections.rebuild import rebuild as rebuild_rows

upkeep = typer.Typer()


@upkeep.command()
def migrate(data: DataOption = None, json: JsonLines = False) -> None:
    """Load or upgrade the database schema, and create the first administrator."""
    settings = load_command_settings(data, with_token=True)

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


@upkeep.command()
def rebuild(data: DataOption = None, json: JsonLines = False) -> None:
    """Rebuild the read tables from the event log. The forge stays available meanwhile."""
    settings = load_command_settings(data)

    async def main() -> int:
        async with open_database(settings) as db:
            with Console(stderr=True).status("Replaying the event log…") as status:
                return await rebuild_rows(db, lambda done, total: status.update(f"Replayed {done} of {total} events"))

    count = run(main(), settings, interactive=True)
    if json:
        print_json({"events": count})
    else:
        typer.echo(f"Rebuilt from {count} events.")


@upkeep.command()
def doctor(
    data: DataOption = None,
    json: JsonLines = False,
    repair: Annotated[bool, typer.Option(help="Record refs that differ in the log, as they are on disk.")] = False,
) -> None:
    """Check queue, storage, database, relay and workers, and compare the refs on disk with the event log."""
    settings = load_command_settings(data)

    def report(name: str, result: str) -> None:
        if json:
            print_json({"check": name, "result": result})
        else:
            typer.echo(f"{name:{doctor_checks.NAME_WIDTH}} {result}")

    async def main() -> int:
        return await doctor_checks.run_checks(settings, report, repair=repair)

    raise typer.Exit(run(main(), settings, interactive=True))


@upkeep.command()
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
