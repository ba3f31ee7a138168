"""Structured logs: one JSON line per request, command and job, correlated by the request id."""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

REQUEST: ContextVar[str] = ContextVar("request", default="")  # id of the request that caused the current work


def _add_timestamp(_: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add level, time and request id to a line, in one processor for speed."""
    line["level"] = level
    line["at"] = datetime.now(UTC)
    line.setdefault("request", REQUEST.get())
    return line


def _dumps(line: object, **_: object) -> bytes:
    return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z)


def configure(level: str) -> None:
    structlog.configure(
        processors=[
            _add_timestamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
