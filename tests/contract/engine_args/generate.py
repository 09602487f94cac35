"""Write `llama_operator/api/engine_args_vllm.py` from the vLLM that is installed beside this Python, or check that it is current.

    python tests/contract/engine_args/generate.py [--check]

Run it with the serving environment's Python (the operator's own has no vLLM). Exit status 1 with `--check` when the file differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import sys
import types
import typing
from pathlib import Path

TARGET = Path(__file__).parents[3] / "operator" / "llama_operator" / "api" / "engine_args_vllm.py"

PLAIN = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "object", type(None): "null"}
"""Python's types, as they look in a YAML file."""

HEADER = '''"""The arguments of vLLM {version}'s engine and OpenAI server, with their types. Generated from the installed vLLM; do not edit.

Made by `python tests/contract/engine_args/generate.py`, with the serving environment's Python; a contract test there compares.
A type is a list of alternatives: `bool`, `int`, `float`, `str`, `list`, `object`, `null`, a JSON literal, or `any`.
"""

from __future__ import annotations

VERSION = "{version}"
'''


def alternatives(hint: object) -> list[str]:
    """What a YAML file may hold for a field of that type; `any` where it cannot be told cheaply."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return [item for part in typing.get_args(hint) for item in alternatives(part)]
    if typing.get_origin(hint) is typing.Literal:
        return [json.dumps(value) for value in typing.get_args(hint)]
    plain = typing.get_origin(hint) or hint
    if plain in PLAIN:
        return [PLAIN[plain]]
    if plain in {set, tuple}:
        return ["list"]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ["int"] if issubclass(hint, int) else ["str"]
    return ["any"]


def table(name: str, comment: str, fields: typing.Iterable[dataclasses.Field[typing.Any]]) -> str:
    """One dictionary of the generated file."""
    rows = []
    for field in sorted(fields, key=lambda field: field.name):
        kinds = list(dict.fromkeys(alternatives(field.type)))
        # A literal beside `str` narrows nothing, and neither does anything beside `any`.
        if "str" in kinds:
            kinds = [kind for kind in kinds if not kind.startswith('"')]
        value = json.dumps("any" if "any" in kinds else " | ".join(kinds))
        quoted = f"'{json.loads(value)}'" if '"' in json.loads(value) else value
        row = f'    "{field.name}": {quoted},'
        rows.append(row if len(row) <= 140 else f"{row}  # noqa: E501 -- one argument, one line")  # the formatter would not split a string
    return f"\n{name}: dict[str, str] = {{\n" + "\n".join(rows) + f'\n}}\n"""{comment}"""\n'


def render() -> str:
    """The whole file."""
    import vllm  # here and below: the import costs seconds, and only the serving environment has it
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import BaseFrontendArgs, FrontendArgs

    base = {field.name for field in dataclasses.fields(BaseFrontendArgs)}
    server = [field for field in dataclasses.fields(FrontendArgs) if field.name not in base]
    return (
        HEADER.format(version=vllm.__version__)
        + table("ENGINE", "Fields of `AsyncEngineArgs`.", dataclasses.fields(AsyncEngineArgs))
        + table("FRONTEND", "Fields of `BaseFrontendArgs`: chat templates, tool calls, logging.", dataclasses.fields(BaseFrontendArgs))
        + table("SERVER", "Fields of `FrontendArgs` alone: those of vLLM's own HTTP server, which does not run under Ray Serve.", server)
    )


def main() -> int:
    """Write the file, or with `--check` compare it."""
    parser = argparse.ArgumentParser(description="Generate the list of vLLM's arguments.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when the file is not current")
    check = parser.parse_args().check
    text = render()
    if not check:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    print(f"{TARGET} is not what the installed vLLM has: run this without --check and commit", file=sys.stderr)  # noqa: T201 -- a command
    return 1


if __name__ == "__main__":
    sys.exit(main())
