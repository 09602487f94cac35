"""Which model a question is about: the catalogue by name, the files that lie here, or the hub where it may be asked.

--model-path   the headers of its weight files, or its config.json alone
--model        the catalogue
the file's     the catalogue, for hf:// sources; what lies on a volume of the cluster cannot be seen from here
--read-hub     the hub, for what the catalogue does not know
"""

from __future__ import annotations

import asyncio
import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from llama_operator.api.problems import Problem
from llama_operator.cli.files import read_text
from llama_operator.cli.refusals import BadInput, quoted
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.models.catalogue import BY_REPO, SCHEME, known_facts
from llama_operator.planning.models.contents import CONFIG_FILE
from llama_operator.planning.models.from_config import facts_from_config
from llama_operator.planning.models.reading import parse_json
from llama_operator.ports import ModelFilesError

HUB_SECONDS = 20.0
"""To connect to the hub, and between two parts of an answer."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The model as it was asked for."""

    source: str | None = None
    """hf://, pvc:// or file://, as a LlamaDeployment names it."""
    revision: str | None = None
    field: str = "--model"
    """Where the source was given."""
    path: str | None = None
    """A folder of this machine, or a config.json."""
    read_hub: bool = False


def find_model(asked: Asked) -> ModelFacts:
    """The facts of that model. Raises BadInput."""
    if asked.path is not None:
        return _from_path(asked.path)
    if asked.source is None:
        raise BadInput.of(Problem(field="--model", given="nothing", allowed="a model", remedy="Give --model, --model-path or --file."))
    known = known_facts(asked.source)
    if known is not None:
        return known
    if asked.read_hub and asked.source.startswith(SCHEME):
        return _from_hub(asked.source, asked.revision, asked.field)
    raise BadInput.of(_unknown(asked.source, asked.field))


def as_source(model: str) -> str:
    """`--model` as a source: `hf://` may be left out."""
    return model if "://" in model else f"{SCHEME}{model}"


def _unknown(source: str, field: str) -> Problem:
    hub = source.startswith(SCHEME)
    given = source.removeprefix(SCHEME) if hub and field == "--model" else source
    near = _nearest(source)
    if field != "--model" and not hub:
        stands = f" --model {near}" if near else " --model for a model of the catalogue that it stands for"
        return Problem(
            field=field,
            given=f"{quoted(given)}, whose files are not on this machine",
            allowed="a source that can be read from here, or an option that says which model it is",
            remedy=f"Add{stands}, or --model-path for a folder with its files.",
        )
    allowed = "a model of the catalogue (see catalog models)"
    if hub:
        remedy = "Add --read-hub to ask the hub, or give --model-path for a folder with its files."
    else:
        remedy = "Write ORGANISATION/NAME, or give --model-path for a folder with its files."
    return Problem(field=field, given=quoted(given), allowed=allowed, remedy=f"Did you mean {near}? {remedy}" if near else remedy)


def _nearest(source: str) -> str | None:
    """The entry of the catalogue whose name is nearest to the last part of a source."""
    names = {repo.rpartition("/")[2].lower(): repo for repo in BY_REPO}
    near = difflib.get_close_matches(source.rstrip("/").rpartition("/")[2].lower()[:200], names, n=1, cutoff=0.7)
    return names[near[0]] if near else None


def _from_path(path: str) -> ModelFacts:
    if Path(path).name == CONFIG_FILE:
        try:
            config = parse_json(read_text(path, "--model-path").encode())
        except ValueError as error:
            given = f"{quoted(path)}, which is not JSON ({str(error)[:80]})"
            problem = Problem(field="--model-path", given=given, allowed="a model's config.json", remedy="Download it again.")
            raise BadInput.of(problem) from None
        return _told(facts_from_config(Path(path).absolute().parent.name or path, config), "--model-path")
    from llama_operator.adapters.model_files.folder import FolderReader

    try:
        absolute = Path(path).absolute()
        contents = asyncio.run(FolderReader().read_model(f"file://{absolute}"))
    except (ModelFilesError, ValueError, OSError) as error:
        raise BadInput.of(_unreadable(error, "--model-path", path)) from None
    return _told(contents.facts(absolute.name or str(absolute)), "--model-path")


def _from_hub(source: str, revision: str | None, field: str) -> ModelFacts:
    """Of the hub at HF_ENDPOINT, with the token of HF_TOKEN, as the hub's own programs take them.

    https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
    """
    import httpx  # only the hub needs it

    from llama_operator.adapters.model_files.hub import HubReader

    async def read() -> ModelFacts:
        async with httpx.AsyncClient(timeout=HUB_SECONDS) as client:
            endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
            contents = await HubReader(client, endpoint, os.environ.get("HF_TOKEN") or None).read_model(source, revision)
        return _told(contents.facts(source.removeprefix(SCHEME)), field)

    try:
        return asyncio.run(read())
    except ModelFilesError as error:
        raise BadInput.of(_unreadable(error, field, source)) from None


def _unreadable(error: Exception, field: str, given: str) -> Problem:
    message = error.message if isinstance(error, ModelFilesError) else str(error)
    remedy = error.remedy if isinstance(error, ModelFilesError) else "Correct the path."
    return Problem(field=field, given=f"{quoted(given)} ({message})", allowed="a model whose files can be read", remedy=remedy)


def _told(facts: ModelFacts | Problem, field: str) -> ModelFacts:
    if isinstance(facts, Problem):
        raise BadInput.of(Problem(field=field, given=facts.given, allowed=facts.allowed, remedy=facts.remedy))
    return facts
