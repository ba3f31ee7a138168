"""What the commands share: their options, their settings, and how they run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from app.config import Settings
from app.database import Database, database
from app.logs import configure
from app.ops import system_user
from app.ops.named_files import require_readable_files
from app.ops.supervise import load_settings
from app.stores.sealed import open_keyring

DataOption = Annotated[
    Path | None, typer.Option(help="Data directory, with repositories and embedded services. Default: var.")
]


def load_command_settings(data: Path | None, *, with_token: bool = False) -> Settings:
    """Load the settings of a command. If root runs it, it continues as the user that owns the data directory.

    With `with_token` the file of the administrator's token is read before, since it may be root's.
    """
    settings = load_settings(data)
    if with_token:
        settings = settings.with_admin_token()
    system_user.follow_owner(settings.data)
    require_readable_files(settings)
    return settings


def run(main: Coroutine[Any, Any, Any], settings: Settings, *, interactive: bool = False) -> Any:
    """Run a coroutine to its end. Interactive commands log warnings and errors only."""
    configure("warning" if interactive else settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    async with database(settings.required_database_url(), settings.pool_size, open_keyring(settings)) as db:
        yield db
