"""Structured logs: one JSON line per request, command and job, tied together by the request id."""

import logging
import sys

import orjson
import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def _dumps(line: object, **_: object) -> bytes:
    return orjson.dumps(line, default=str)


def configure(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
