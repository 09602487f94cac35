"""`python -m llama_operator`: run the operator with the settings of the environment."""

from __future__ import annotations

import asyncio
import os
import sys

import structlog
from pydantic import ValidationError

from llama_operator.adapters.kube import allow_deep_json
from llama_operator.control.logs import set_up
from llama_operator.control.settings import Settings
from llama_operator.control.wiring import run
from llama_operator.ports import ApiError, NotLeader


def main() -> int:
    """Exit status 0 after a stop signal, 1 when something ended it, 2 for settings that cannot be."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            field = "LLAMA_OPERATOR_" + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{field}: {problem['msg']} (given: {problem['input']!r})", file=sys.stderr)
        return 2
    set_up(settings.log_level, settings.log_format)
    allow_deep_json()
    log = structlog.get_logger("llama_operator")

    async def run_and_exit() -> None:
        status = 0
        try:
            await run(settings)
        except (NotLeader, ApiError) as error:
            log.error("the operator ends; its pod is started again", error=str(error))  # noqa: TRY400 - the reason is enough; no traceback
            status = 1
        except Exception:
            log.exception("the operator ends by a fault of its own; its pod is started again")
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        # Not by returning: asyncio would wait for every task, and a task that lost its cancellation never ends (`control/parts.py`).
        os._exit(status)

    asyncio.run(run_and_exit())
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.exit(main())
