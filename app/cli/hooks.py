"""`polyforge hooks`: a receiver that prints webhook deliveries, to try subscriptions with."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiohttp import web
from rich.console import Console
from rich.text import Text

from app.cli.client import Json, RequestRefused, open_console, print_json, run, strip_control
from app.cli.secret_options import read_option
from app.feed import signing
from app.ops import listening

NO_CONTENT, UNAUTHORIZED = 204, 401

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

hooks = typer.Typer(no_args_is_help=True, help="Receive webhook deliveries.")


@hooks.callback()
def hooks_options() -> None:
    """Receive webhook deliveries."""


@hooks.command()
def listen(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with the signing secret. Default: POLYFORGE_HOOK_SECRET. Nothing is verified without."),
    ] = None,
    answer: Annotated[
        int | None,
        typer.Option(min=200, max=599, help="Status of all responses. Default: 204, or 401 if not verified."),
    ] = None,
    json: Json = False,
) -> None:
    """Print incoming deliveries and whether their signatures are valid, until Ctrl-C."""
    secret = read_option("POLYFORGE_HOOK_SECRET", secret_file)
    if secret is not None and signing.signing_key(secret) is None:
        raise typer.BadParameter(
            "must be whsec_ and base64 of 24 to 64 bytes, or 16 to 128 printable characters",
            param_hint="POLYFORGE_HOOK_SECRET",
        )
    console = open_console(json)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        fault = find_fault(secret, request, body)
        status = answer or (UNAUTHORIZED if fault and secret else NO_CONTENT)
        print_delivery(describe_delivery(request, body, fault, status), console)
        return web.Response(status=status)

    run(serve(host, port, receive))


async def serve(host: str, port: int, receive: Handler) -> None:
    """Serve every path and method until cancelled. Raises RequestRefused if the address is not available."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        typer.echo(f"Listening at http://{host}:{port}/", err=True)
        await asyncio.Event().wait()
    except listening.ERRORS as error:
        raise RequestRefused(f"Cannot listen: {listening.describe_error(error, host, port)}.") from None
    finally:
        await runner.cleanup()


def find_fault(secret: str | None, request: web.Request, body: bytes) -> str | None:
    """Return the reason why a delivery is not verified; None if it is."""
    if secret is None:
        return "no secret was given"
    try:
        signing.verify(secret, request.headers, body, time.time())
    except signing.SignatureError as error:
        return str(error)
    return None


def describe_delivery(request: web.Request, body: bytes, fault: str | None, status: int) -> dict[str, Any]:
    try:
        payload = orjson.loads(body)
    except ValueError:
        payload = None
    event_type = payload.get("type") or payload.get("topic") if isinstance(payload, dict) else None
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": request.headers.get("webhook-id"),
        "type": event_type,
        "verified": fault is None,
        "reason": fault,
        "answer": status,
        "body": payload,
    }


def print_delivery(delivery: dict[str, Any], console: Console | None) -> None:
    if console is None:
        print_json(delivery)
        return
    verdict = ("verified", "green") if delivery["verified"] else (f"not verified: {delivery['reason']}", "red")
    line = Text.assemble(
        (f"{datetime.fromisoformat(delivery['at']).astimezone():%H:%M:%S} ", "dim"),
        (f"{strip_control(str(delivery['type'] or '-')):<28} ", "bold"),
        f"{strip_control(str(delivery['id'] or '-'))} ",
        verdict,
        (f" {delivery['answer']}", "dim"),
    )
    console.print(line, soft_wrap=True)
