"""A kubectl that answers from a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator.adapters.kubectl import Finished


class Scripted:
    """A kubectl that answers by the last argument, and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> Finished:
        self.asked.append(list(command))
        answer = self.answers[command[-1]]
        if isinstance(answer, Finished):
            return answer
        return Finished(status=0, out=answer if isinstance(answer, str) else json.dumps(answer), err="")


def refused(err: str) -> Finished:
    return Finished(status=1, out="", err=err)
