"""`python -m llama_serving.install DEST`: put this package into DEST, as files that only need DEST on PYTHONPATH.

The init container of a serving pod runs it. Beside the package lies its `dist-info`, because vLLM finds the progress plugin by its
entry point.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from llama_serving import __version__

ENTRY_POINTS = "[vllm.general_plugins]\nllama_progress = llama_serving.progress:register\n"
METADATA = f"Metadata-Version: 2.1\nName: llama-serving\nVersion: {__version__}\n"


def install(destination: Path) -> Path:
    """Copy the package and write its `dist-info`. Returns the package's new folder. Raises OSError."""
    source = Path(__file__).resolve().parent
    target = destination / "llama_serving"
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    info = destination / f"llama_serving-{__version__}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    return target


def main(arguments: list[str]) -> int:
    """The command."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m llama_serving.install DEST\n")
        return 64
    sys.stdout.write(f"llama_serving {__version__} -> {install(Path(arguments[0]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
