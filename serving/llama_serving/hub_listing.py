"""What the hub's listing of a commit says, and which of its files an engine reads. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
WANTED = re.compile(r"(?!consolidated).*\.safetensors|.*\.json|tokenizer\.model|tiktoken\.model|.*\.jinja|merges\.txt|vocab\.txt")
"""Files of the top folder that an engine reads. `consolidated*.safetensors` hold the same weights once more, in Meta's own layout."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a commit; `sha256` is known of large files. `partial` is its name while it is not whole: no other content has it."""

    name: str
    size: int
    partial: str
    sha256: str | None = None


def parse_listing(raw: Any) -> tuple[str, list[RemoteFile]]:
    """The commit and its wanted files, from the body of the listing.

    Raises ValueError where it is no listing. Names that lead out of the folder are passed over like every other unwanted file.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("siblings"), list):
        raise ValueError("the listing has no siblings")  # noqa: TRY004 -- a fault of the listing, not of the caller
    commit = raw.get("sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9A-Za-z]{7,64}", commit):
        raise ValueError("the listing has no sha")
    files = {file.name: file for entry in raw["siblings"] if (file := _remote_file(entry, commit)) is not None}
    return commit, sorted(files.values(), key=lambda file: file.name)


def _remote_file(entry: Any, commit: str) -> RemoteFile | None:
    name = entry.get("rfilename") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name) or not WANTED.fullmatch(name):
        return None
    size, lfs = entry.get("size"), entry.get("lfs")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"{name} has no size")
    digest = lfs.get("sha256") if isinstance(lfs, dict) else None
    known = digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None
    return RemoteFile(name=name, size=size, partial=f"{name}.{(known or commit)[:16]}", sha256=known)
