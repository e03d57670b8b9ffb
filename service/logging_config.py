"""Log lines to stderr: JSON objects for programs, plain lines for a person at a terminal."""

import logging
import logging.config
import sys
from contextvars import ContextVar
from typing import Any, Literal

from pythonjsonlogger.core import RESERVED_ATTRS

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that runs now; for what is logged where no request is known."""

_RESERVED = [*RESERVED_ATTRS, "color_message"]

LogFormat = Literal["auto", "json", "plain"]


class PlainFormatter(logging.Formatter):
    """12:34:56 WARNING message name=value …; what would do something to a terminal is escaped."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {message}", "%H:%M:%S", "{")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """A traceback: its lines, each printable."""
        lines = super().formatException(ei).split("\n")
        return "\n".join("".join(one if one.isprintable() else repr(one)[1:-1] for one in line) for line in lines)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """The line without a traceback."""
        given = {name: value for name, value in vars(record).items() if name not in _RESERVED and value is not None}
        record.message = record.message if record.message.isprintable() else repr(record.message)
        return " ".join([super().formatMessage(record), *(f"{name}={_plain(value)}" for name, value in given.items())])


def _plain(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Make everything that logs, uvicorn included, write so; uvicorn's access log gives way to ours."""
    # looked up for every record otherwise, and in no line
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    is_plain = sys.stderr.isatty() if log_format == "auto" else log_format == "plain"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "plain": {"()": PlainFormatter},
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "{levelname}{name}{message}",
                    "style": "{",
                    "timestamp": "time",  # with its zone
                    "reserved_attrs": _RESERVED,
                    "rename_fields": {"levelname": "level", "name": "logger"},
                },
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain" if is_plain else "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {"uvicorn.access": {"level": "CRITICAL", "propagate": False}},
        }
    )
