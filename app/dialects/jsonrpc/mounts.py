"""The addresses of the dialects: one for each, and one without a name for the dialect in the settings."""

from aiohttp import web

from app.dialects.jsonrpc.dialect import DIALECTS, RpcDialect
from app.dialects.jsonrpc.serving import build_handler
from app.http.keys import SETTINGS
from app.http.routes import Routes, admit_nobody

# Clients join parts that end in a slash. The pattern allows for that, since a redirected POST loses its body.
ADDRESS = "/{_before:/*}_admin/{_between:/*}api{_after:/*}"
# Methods other than GET and POST are routed so that the dialect can refuse them in its own words.
ROUTED = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_routes(dialect: RpcDialect) -> Routes:
    """Build the route table of a dialect below its name. The key is in the body, so the route itself takes none."""
    routes, handler = Routes(admit_nobody), build_handler(dialect)
    for http_method in ROUTED:
        routes.add(http_method, f"/{dialect.name}{ADDRESS}", "call-method", any_slashes=True)(handler)
    return routes


bare_routes = Routes(admit_nobody)


async def answer_by_default(request: web.Request) -> web.StreamResponse:
    """Answer in the dialect that the settings choose."""
    return await build_handler(DIALECTS[request.config_dict[SETTINGS].jsonrpc_default])(request)


for _http_method in ROUTED:
    bare_routes.add(_http_method, ADDRESS, "call-method", any_slashes=True)(answer_by_default)
