"""Log lines as JSON objects, one a line, to stderr."""

import logging
import logging.config

from pythonjsonlogger.core import RESERVED_ATTRS


def configure_logging(level: str) -> None:
    """Make everything that logs, uvicorn included, write JSON; uvicorn's access log gives way to ours."""
    # looked up for every record otherwise, and in no line
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "{levelname}{name}{message}",
                    "style": "{",
                    "timestamp": "time",  # with its zone
                    "reserved_attrs": [*RESERVED_ATTRS, "color_message"],
                    "rename_fields": {"levelname": "level", "name": "logger"},
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {"uvicorn.access": {"level": "CRITICAL", "propagate": False}},
        }
    )
