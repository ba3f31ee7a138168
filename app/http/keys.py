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
COMMAND_ID = web.RequestKey("command_id", UUID)  # settled beforehand by an idempotency key
