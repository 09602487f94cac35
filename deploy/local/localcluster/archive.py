"""Images written by hand: a docker-archive of one layer, for the few images that need no Dockerfile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EPOCH = "1970-01-01T00:00:00Z"


def layer(
    files: Mapping[str, tuple[bytes, int]], *, directories: Mapping[str, int] | None = None, links: Mapping[str, str] | None = None
) -> bytes:
    """One uncompressed layer; the same input gives the same bytes.

    `files`: path to (content, mode); `directories`: path to mode; `links`: path to target.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, mode in sorted((directories or {}).items()):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for path, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        for path, target in sorted((links or {}).items()):
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def write(
    archive: Path, tag: str, content: bytes, *, entrypoint: Sequence[str] = (), env: Mapping[str, str] | None = None, user: str = ""
) -> None:
    """Write a docker-archive that holds one image of one layer, by rename."""
    digest = hashlib.sha256(content).hexdigest()
    config: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": EPOCH,
        "config": {"Entrypoint": list(entrypoint), "Env": [f"{k}={v}" for k, v in (env or {}).items()], "User": user},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": EPOCH, "created_by": "localcluster"}],
    }
    text = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]}]
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f".{archive.name}.partial")
    with tarfile.open(partial, "w") as tar:
        for path, body in ((name, text), (f"{digest}.tar", content), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    partial.replace(archive)


def image_tags(archive: Path) -> list[str]:
    """The tags in a docker-archive (plain or gzipped)."""
    opener = gzip.open if archive.suffix == ".gz" else open
    with opener(archive, "rb") as stream, tarfile.open(fileobj=stream) as tar:
        member = tar.extractfile("manifest.json")
        if member is None:
            return []
        return [tag for image in json.loads(member.read()) for tag in image.get("RepoTags") or []]
