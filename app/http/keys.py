"""Typed keys for values stored on the application and on a request."""

from uuid import UUID

from aiohttp import web

from app.config import Settings
from app.database import Database
from app.feed.tail import Tail

DATABASE = web.AppKey("database", Database)
SETTINGS = web.AppKey("settings", Settings)
TAIL = web.AppKey("tail", Tail)
REQUEST_ID = web.RequestKey("request_id", str)
DIALECT = web.RequestKey("dialect", str)
ACTION = web.RequestKey("action", str)  # the action that the route declares
COMMAND_ID = web.RequestKey("command_id", UUID)  # fixed by an idempotency key
RESPONSE_STARTED = web.RequestKey("response_started", bool)  # the status has been sent
