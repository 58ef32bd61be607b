"""Where log lines go and what they look like. Nothing is logged here."""

from __future__ import annotations

import logging
import sys

import structlog

from gateway.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Write structured lines to stderr: for a person on a terminal, as JSON elsewhere."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_standard_logging(level, [*shared], renderers)


def _adopt_standard_logging(
    level: int, shared: list[structlog.typing.Processor], renderers: list[structlog.typing.Processor]
) -> None:
    """Let libraries that use the standard logging write the same lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    # Its every lost connection, many a second while Postgres is away: who wanted one says so in our words.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
