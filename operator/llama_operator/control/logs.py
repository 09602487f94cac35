"""Log lines: JSON with a time, a level, the LlamaDeployment they are about and the pass they are of; plain text for people at a terminal.

Which LlamaDeployment and which pass `reconcile.run_worker` binds, in the context of its task, so that lines of libraries carry them too.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def set_up(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "console"]) -> None:
    """Configure structlog and the standard library's logging to write one line an event to standard error."""
    number = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # Kopf narrates every event at INFO, httpx every request.
    for chatty in ("kopf", "httpx", "httpcore", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
