"""Typed keys for values stored on the application and on a request."""

from aiohttp import web

from app.config import Settings
from app.database import Database
from app.feed.tail import Tail
from app.stores.idempotency_keys import HeldKey

DATABASE = web.AppKey("database", Database)
SETTINGS = web.AppKey("settings", Settings)
TAIL = web.AppKey("tail", Tail)
ANY_SLASHES: web.AppKey[set[web.AbstractRoute]] = web.AppKey(
    "any_slashes", set
)  # whose patterns allow for doubled slashes
REQUEST_ID = web.RequestKey("request_id", str)
DIALECT = web.RequestKey("dialect", str)
ACTION = web.RequestKey("action", str)  # the action that the route declares
HELD_KEY = web.RequestKey("held_key", HeldKey)  # the idempotency key of the request
RESPONSE_STARTED = web.RequestKey("response_started", bool)  # the status has been sent
