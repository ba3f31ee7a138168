"""Git LFS, which is not supported: its clients are told so in their own format."""

from http import HTTPStatus

from aiohttp import web

from app.http.keys import REQUEST_ID
from app.http.responses import json_reply
from app.http.routes import Routes, admit_nobody
from app.transports.smart_http import answer_errors

MEDIA = "application/vnd.git-lfs+json"
MESSAGE = "This server does not support Git LFS; commit the files without it."

routes = Routes(admit_nobody, fence=answer_errors)


async def refuse(request: web.Request) -> web.Response:
    """Answer 501, after which clients do without locks. It is the same for every path, existing or not."""
    body = {"message": MESSAGE, "request_id": request[REQUEST_ID]}
    return json_reply(body, HTTPStatus.NOT_IMPLEMENTED, media=MEDIA)


for method in ("GET", "POST", "PUT", "DELETE"):
    # Not the raw file of a repository, which has a URL of its own.
    routes.add(method, "/{path:(?!.+/raw/.+/f/).+}.git/info/lfs/{rest:.*}", "describe-instance")(refuse)
