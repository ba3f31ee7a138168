"""`polyforge secrets`: the keys that seal the secrets in the database."""

import typer

from app.cli.runtime import DataOption, load_command_settings, run
from app.config import SettingError
from app.database import database
from app.keyring import KeyringError
from app.ops import sealing
from app.stores.sealed import open_keyring

secrets = typer.Typer(no_args_is_help=True, help="Manage the keys that seal the secrets in the database.")


@secrets.callback()
def secrets_options() -> None:
    """Manage the keys that seal the secrets in the database."""


@secrets.command()
def rotate(data: DataOption = None) -> None:
    """Seal the secrets with a new key. The forge may run meanwhile.

    With keys from POLYFORGE_SECRETS_KEYS, the first of them is the new one: add it, restart the forge, run this, and
    remove the others.
    """
    settings = load_command_settings(data)

    async def main() -> str:
        keyring = open_keyring(settings)
        async with database(settings.required_database_url(), 1, keyring) as db:
            try:
                count, keys = await sealing.rotate(db)
            except KeyringError as error:
                raise SettingError(sealing.describe(keyring, error)) from None
        if keyring.given:
            return f"Sealed {count} values with the first key; the others are not needed any more."
        kept = f"{keyring.file} has {keys} keys; the next rotation drops the older one."
        return f"Sealed {count} values with a new key. {kept}"

    typer.echo(run(main(), settings, interactive=True))
