"""`polyforge user` and `polyforge token`: users and their tokens."""

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import secret_options
from app.cli.client import JsonLines, print_json, print_table
from app.cli.runtime import DataOption, load_command_settings, open_database, run
from app.core import commands, credentials
from app.core.users import CreateUser, RevokeToken
from app.ops import migrate
from app.queries import users

NO_ID, PAGE_SIZE = uuid.UUID(int=0), 1000  # of listings of tokens
TOKEN_COLUMNS = ("id", "prefix", "created", "expires", "description")

user, token = typer.Typer(no_args_is_help=True), typer.Typer(no_args_is_help=True)


@user.command("add")
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
    settings = load_command_settings(data)

    async def main() -> tuple[str, str]:
        async with open_database(settings) as db:
            command = CreateUser(username=username, fullname=fullname or username, email=email, admin=admin)
            await commands.execute(db, migrate.FORGE, command, command_id=uuid.uuid4())
            if password:
                await credentials.store_first_password(db, username, password)
            token = credentials.new_token()
            return await migrate.issue_token(db, username, token, "created with the user"), token

    token_id, token = run(main(), settings, interactive=True)
    if json:
        print_json({"username": username, "id": token_id, "token": token})
    else:
        typer.echo(token)


@user.command("list")
def user_list(data: DataOption = None, json: JsonLines = False) -> None:
    """List the users."""
    settings = load_command_settings(data)

    async def main() -> list[dict[str, Any]]:
        async with open_database(settings) as db:
            return [dict(row) for row in await users.list_all(db, limit=None)]

    rows = run(main(), settings, interactive=True)
    shown = [{**row, "admin": row["admin"] if json else "yes" if row["admin"] else "no"} for row in rows]
    print_table(("username", "admin", "email", "fullname"), shown, json=json)


@token.command("add")
def token_add(
    username: str,
    description: Annotated[str, typer.Option(help="Description, shown in lists.")] = "created on the command line",
    data: DataOption = None,
    json: JsonLines = False,
) -> None:
    """Issue a token and print it. It cannot be shown again."""
    settings = load_command_settings(data)

    async def main() -> tuple[str, str]:
        async with open_database(settings) as db:
            token = credentials.new_token()
            return await migrate.issue_token(db, username, token, description), token

    token_id, token = run(main(), settings, interactive=True)
    if json:
        print_json({"username": username, "id": token_id, "token": token})
        return
    typer.echo(f"id {token_id}", err=True)
    typer.echo(token)


@token.command("list")
def token_list(username: str, data: DataOption = None, json: JsonLines = False) -> None:
    """List the tokens of a user, with the ids needed to revoke them."""
    settings = load_command_settings(data)

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


@token.command("revoke")
def token_revoke(token_id: uuid.UUID, data: DataOption = None, json: JsonLines = False) -> None:
    """Revoke a token. `polyforge token list` shows the ids."""
    settings = load_command_settings(data)

    async def main() -> None:
        async with open_database(settings) as db:
            command = RevokeToken(token_id=str(token_id))
            await commands.execute(db, migrate.FORGE, command, command_id=uuid.uuid4())

    run(main(), settings, interactive=True)
    if json:
        print_json({"id": str(token_id), "revoked": True})
    else:
        typer.echo("Revoked.")
