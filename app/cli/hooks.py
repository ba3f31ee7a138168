"""`polyforge hooks`: a receiver of deliveries, for those who are about to build one."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from aiohttp import web
from rich.console import Console
from rich.text import Text

from app.cli.client import Json, RequestRefused, print_json, run, strip_control, terminal
from app.feed import signing

NO_CONTENT, UNAUTHORIZED = 204, 401

hooks = typer.Typer(no_args_is_help=True, help="Receive what subscriptions send.")


@hooks.callback()
def explain() -> None:
    """Receive what subscriptions send."""


@hooks.command()
def listen(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        str | None, typer.Option(envvar="POLYFORGE_HOOK_SECRET", help="What signs; without it nothing is verified.")
    ] = None,
    answer: Annotated[
        int | None, typer.Option(min=200, max=599, help="Status of all answers; default: 204, and 401 if not verified.")
    ] = None,
    json: Json = False,
) -> None:
    """Print the deliveries that come, each with whether its signature is right, until Ctrl-C."""
    if secret is not None and signing.signing_key(secret) is None:
        raise typer.BadParameter(
            "whsec_ and base64 of 24 to 64 bytes, or 16 to 128 visible characters", param_hint="--secret"
        )
    console = terminal(json)

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        wrong = find_fault(secret, request, body)
        status = answer or (UNAUTHORIZED if wrong and secret else NO_CONTENT)
        print_delivery(describe(request, body, wrong, status), console)
        return web.Response(status=status)

    run(serve(host, port, take))


async def serve(host: str, port: int, take: Any) -> None:
    """Until cancelled. Every path and method is taken."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        typer.echo(f"Listening at http://{host}:{port}/", err=True)
        await asyncio.Event().wait()
    except OSError as error:
        raise RequestRefused(f"{host}:{port} cannot be listened on: {error.strerror}") from None
    finally:
        await runner.cleanup()


def find_fault(secret: str | None, request: web.Request, body: bytes) -> str | None:
    """Why the delivery is not to be believed."""
    if secret is None:
        return "no secret was given"
    try:
        signing.verify(secret, request.headers, body, time.time())
    except signing.SignatureError as wrong:
        return str(wrong)
    return None


def describe(request: web.Request, body: bytes, wrong: str | None, status: int) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except ValueError:
        said = None
    type = said.get("type") or said.get("topic") if isinstance(said, dict) else None
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": request.headers.get("webhook-id"),
        "type": type,
        "verified": wrong is None,
        "reason": wrong,
        "answer": status,
        "body": said,
    }


def print_delivery(delivery: dict[str, Any], console: Console | None) -> None:
    if console is None:
        print_json(delivery)
        return
    verdict = ("verified", "green") if delivery["verified"] else (f"not verified: {delivery['reason']}", "red")
    line = Text.assemble(
        (f"{datetime.fromisoformat(delivery['at']).astimezone():%H:%M:%S} ", "dim"),
        (f"{strip_control(str(delivery['type'])):<28} ", "bold"),
        f"{strip_control(str(delivery['id']))} ",
        verdict,
        (f" {delivery['answer']}", "dim"),
    )
    console.print(line, soft_wrap=True)
