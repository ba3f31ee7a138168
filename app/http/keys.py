"""Typed keys of what an application and a request carry."""

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
ACTION = web.RequestKey("action", str)  # what the route declared to do
COMMAND_ID = web.RequestKey("command_id", UUID)  # set by an idempotency key: the id that the command must have
RESPONSE_STARTED = web.RequestKey("response_started", bool)  # too late for another status
