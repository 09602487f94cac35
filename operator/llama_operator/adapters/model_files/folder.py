"""A model in a folder of this machine.

Links are followed, as the hub's own cache is made of them; what they lead to must be a regular file, for a pipe or a device would hold the
reader. Names come from our own list, from the folder's listing or from an index whose names lead nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from llama_operator.adapters.model_files import sequence
from llama_operator.adapters.model_files.sequence import Part
from llama_operator.planning.models.contents import ModelContents
from llama_operator.planning.models.index import SHARDS_MAX, is_plain
from llama_operator.ports import ModelFilesError

LISTING_MAX = 100_000
"""Names of a folder that are looked at."""


class FolderReader:
    """Reads `file://` sources; a revision means nothing to them."""

    async def read_model(self, source: str, revision: str | None = None) -> ModelContents:
        """A model's config files and tensors. Raises ModelFilesError."""
        del revision
        return await sequence.read_model(_folder(source))

    async def read_adapter(self, source: str, revision: str | None = None) -> ModelContents:
        """An adapter's config and tensors. Raises ModelFilesError."""
        del revision
        return await sequence.read_adapter(_folder(source))


def _folder(source: str) -> _Folder:
    url = urlsplit(source) if source.startswith("file://") else None
    if url is None or url.netloc or not url.path.startswith("/"):
        raise ModelFilesError("NotFound", f"{source[:200]!r} is no folder of this machine", "Write file:// and the folder's whole path.")
    return _Folder(Path(url.path))  # as ServingConfig.model_path takes it in the pods: %20 stands for itself


@dataclass(frozen=True)
class _Folder:
    path: Path

    @property
    def where(self) -> str:
        return str(self.path).encode("utf-8", "backslashreplace").decode()

    async def whole(self, name: str, limit: int) -> bytes | None:
        return await asyncio.to_thread(self._whole, name, limit)

    async def part(self, name: str, start: int, length: int) -> Part:
        return await asyncio.to_thread(self._part, name, start, length)

    async def weight_names(self) -> frozenset[str] | None:
        return await asyncio.to_thread(self._weight_names)

    def _whole(self, name: str, limit: int) -> bytes | None:
        try:
            with self._open(name) as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error
        if len(data) > limit:
            raise ModelFilesError("Unreadable", f"{self.where}/{name} has more than {limit} bytes", "Replace it with the model's own.")
        return data

    def _part(self, name: str, start: int, length: int) -> Part:
        try:
            with self._open(name) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start)
                return Part(file.read(length), size)
        except FileNotFoundError as error:
            raise ModelFilesError("NotFound", f"{self.where} holds no {name}", "Copy the rest of the model.") from error
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _weight_names(self) -> frozenset[str]:
        found = set[str]()
        try:
            with os.scandir(self.path) as entries:
                for number, entry in enumerate(entries):
                    if number >= LISTING_MAX or len(found) > SHARDS_MAX:
                        raise ModelFilesError("Unreadable", f"{self.where} holds too many files", "Give the model a folder of its own.")
                    if is_plain(entry.name):
                        found.add(entry.name)
        except OSError as error:
            raise self._unreadable("", error) from error
        return frozenset(found)

    def _open(self, name: str) -> BinaryIO:
        """A regular file, opened without waiting. Looked at before, as opening a device may do something, and after, as it may change."""
        path = self.path / name
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise OSError("not a regular file")
        return file

    def _unreadable(self, name: str, error: Exception) -> ModelFilesError:
        what = getattr(error, "strerror", None) or str(error)
        return ModelFilesError("Unreadable", f"{self.where}/{name} cannot be read: {what}", "Make it a file that this user may read.")
