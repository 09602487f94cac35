"""The demo's models in the cache, each made once (recipes: `model_recipes`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import commands, serving_env
from .errors import LocalClusterError

if TYPE_CHECKING:
    from .progress import Progress
    from .settings import Settings

SMOLLM2 = "smollm2-135m"
TINY = "tiny-llama-tp2"
NAMES = (SMOLLM2, TINY)
RECIPES = Path(__file__).with_name("model_recipes.py")
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def ensure(settings: Settings, progress: Progress, name: str) -> Path:
    """The directory of a model, made on first use; a half-made one is never seen under its name.

    Raises:
        LocalClusterError: there is no such recipe, or it failed.

    """
    if name not in NAMES:
        raise LocalClusterError(f"model {name!r} is not one of {', '.join(NAMES)}")
    target = settings.models / name
    if is_complete(target):
        return target
    python = serving_env.ensure(settings, progress) / "bin" / "python3"
    settings.models.mkdir(parents=True, exist_ok=True)
    with progress.step(f"make the model {name}"), tempfile.TemporaryDirectory(dir=settings.models, prefix=f".{name}-") as scratch:
        made = Path(scratch) / name
        made.mkdir()
        env = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": ""}
        commands.run([python, RECIPES, name, made], env=env, seconds=600, log=settings.models / f"{name}.log")
        missing = [file for file in NEEDED if not (made / file).is_file()]
        if missing:
            raise LocalClusterError(f"the recipe of {name} made no {', '.join(missing)}. See {settings.models}/{name}.log")
        for path in made.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # pods read it as another user
        shutil.rmtree(target, ignore_errors=True)
        os.replace(made, target)  # noqa: PTH105 - a directory onto a free name
    return target


def is_complete(path: Path) -> bool:
    """Whether a model directory holds every file that a server reads."""
    return all((path / file).is_file() for file in NEEDED)
