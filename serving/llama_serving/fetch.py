"""Downloads an `hf://` model: its safetensors files, JSON files and tokenizer, into one folder, resuming whatever was cut.

Two calls of the hub's HTTP API are used: `GET /api/models/REPO/revision/REV?blobs=true` lists the files of a commit with sizes and SHA-256,
`GET /REPO/resolve/COMMIT/FILE` gives one, with Range. They are spoken directly, with httpx (vLLM requires it through fastapi[standard],
and ray.serve.llm imports it): huggingface_hub 2.4 throws a partial file away when its download fails, does not retry a reset connection,
takes an incomplete folder for a complete one while the hub is away, and checks no hash. An interrupted 405B must not start again.

A file grows under `.partial` and is moved into place when its size and hash are right; MARKER is written when all are there. The token
goes to the hub's own host alone (httpx drops it on a redirect elsewhere) and into no message.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx

from llama_serving.checkpoint import CheckpointError
from llama_serving.config import ServingConfig
from llama_serving.hub_listing import RemoteFile, parse_listing

DEFAULT_ENDPOINT = "https://huggingface.co"
MARKER = ".llama-complete.json"
LOCK = ".llama-lock"
PARTIAL_DIR = ".partial"

LISTING_LIMIT = 16 << 20
"""Bytes of a listing that are read; 405B's has about 100,000."""

POLL_SECONDS = 0.5
"""How often progress is told."""

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How failures that pass are met: `attempts` in a row without one new byte, with a pause that doubles from `base` to `cap` seconds.

    A Retry-After of the hub's is obeyed, up to `longest` seconds. Ten attempts are about five minutes.
    """

    attempts: int = 10
    base: float = 1.0
    cap: float = 60.0
    longest: float = 300.0
    read_timeout: float = 60.0

    def pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after that many failures in a row."""
        backoff = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        return backoff if retry_after is None else min(max(retry_after, 0.0), self.longest)


class _PassingError(Exception):
    """A failure that may pass: `cause` is what it becomes when it does not."""

    def __init__(self, cause: CheckpointError, retry_after: float | None = None) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.retry_after = retry_after


class FetchStopped(Exception):
    """The download was told to stop. What is there stays, and the next one goes on from it."""


def fetch(
    config: ServingConfig,
    dest: str,
    token: str | None,
    on_progress: Progress,
    *,
    policy: RetryPolicy | None = None,
    workers: int = 8,
    stop: threading.Event | None = None,
) -> None:
    """Download the model of an `hf://` source into the folder `dest`; returns at once where it is there already.

    `on_progress(done_bytes, total_bytes)` is called from this thread, about twice a second, bytes found there included. `HF_ENDPOINT` names
    another hub. Setting `stop` ends the download within a second with FetchStopped: a thread cannot be ended otherwise, and a process waits
    for its threads. Raises CheckpointError with the reason HubUnauthorized, HubNotFound, HubRateLimited, HubUnreachable, ModelNotFound (no
    weights in the repository), DiskFull or ModelUnreadable (the disk cannot be written).
    """
    folder = Path(dest)
    if (size := _complete(folder)) is not None:
        on_progress(size, size)
        return
    hub = _Hub(config, _endpoint(), _clean(token), policy or RetryPolicy(), stop or threading.Event())
    try:
        commit, files = hub.listing()
        with _alone(folder, hub.stop, lambda: on_progress(_present(folder, files), sum(file.size for file in files))):
            if (size := _complete(folder)) is None:
                _prepare(folder, commit, files)
                _check_room(folder, files)
                size = _download_all(hub, commit, files, folder, on_progress, workers)
                _finish(folder, hub.repo, commit, files)
        on_progress(size, size)
    except OSError as error:
        raise _disk(folder, error) from error
    finally:
        hub.close()


def _endpoint() -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if re.fullmatch(r"https?://[^/\s]+(/\S*)?", endpoint):
        return endpoint
    message = f"HF_ENDPOINT is {endpoint!r}; allowed is an http:// or https:// URL. Correct it in spec.podTemplate"
    raise CheckpointError("HubUnreachable", message, retryable=False)


def _clean(token: str | None) -> str | None:
    """The token without the line break that many Secrets end in. An unprintable one would be repeated by the error of the HTTP client."""
    token = (token or "").strip()
    if re.fullmatch("[!-~]*", token):
        return token or None
    message = "the token in spec.model.tokenSecretRef holds blanks or other characters that no token has. Store it again"
    raise CheckpointError("HubUnauthorized", message, retryable=False)


class _Hub:
    """One repository of the hub, over one connection pool."""

    def __init__(self, config: ServingConfig, endpoint: str, token: str | None, policy: RetryPolicy, stop: threading.Event) -> None:
        url = urlsplit(config.source)
        self.repo = (url.netloc + url.path).strip("/")
        self.revision = config.model_revision or "main"
        self.endpoint = endpoint
        self.policy = policy
        self._token = token
        self.stop = stop
        headers = {"User-Agent": "llama-operator", "Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        timeout = httpx.Timeout(policy.read_timeout, connect=min(10.0, policy.read_timeout), pool=None)
        self._client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def listing(self) -> tuple[str, list[RemoteFile]]:
        """The commit that the revision names, and its files that are wanted."""
        url = f"{self.endpoint}/api/models/{self.repo}/revision/{quote(self.revision, safe='')}?blobs=true"
        commit, files = self._retried(lambda: self._listing_once(url), lambda: 0)
        if not any(file.name.endswith(".safetensors") for file in files):
            message = f"hf://{self.repo} at {self.revision} holds no *.safetensors file. Name a repository with safetensors weights"
            raise CheckpointError("ModelNotFound", message, retryable=False)
        return commit, files

    def download(self, commit: str, file: RemoteFile, folder: Path) -> None:
        """Bring one file into the folder, from wherever it was cut."""
        part = folder / PARTIAL_DIR / file.partial
        url = f"{self.endpoint}/{self.repo}/resolve/{quote(commit, safe='')}/{quote(file.name)}"
        self._retried(lambda: self._download_once(url, file, part), lambda: _size(part))
        part.replace(folder / file.name)

    def _retried(self, operation: Callable[[], T], got: Callable[[], int]) -> T:
        """What the operation gives; after a failure that may pass it is tried again, `policy.attempts` times for each new byte."""
        failures, most = 0, got()
        while True:
            try:
                return operation()
            except httpx.HTTPError as error:
                passing = _PassingError(self._unreachable(error))
            except _PassingError as error:
                passing = error
            now = got()
            failures, most = (1, now) if now > most else (failures + 1, most)
            if failures >= self.policy.attempts:
                raise passing.cause
            if self.stop.wait(self.policy.pause(failures, passing.retry_after)):
                raise FetchStopped

    def _listing_once(self, url: str) -> tuple[str, list[RemoteFile]]:
        with self._client.stream("GET", url) as response:
            self._check(response)
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > LISTING_LIMIT:
                    raise self._strange(f"more than {LISTING_LIMIT} bytes")
        try:
            return parse_listing(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise self._strange(str(error)) from error

    def _download_once(self, url: str, file: RemoteFile, part: Path) -> None:
        have = _size(part)
        if have > file.size:
            part.unlink()
            have = 0
        if have < file.size or not part.exists():
            self._stream(url, part, have, file.size)
        if (got := _size(part)) != file.size:
            raise _PassingError(self._cut(file.name, got, file.size))
        if file.sha256 is not None and (found := _sha256(part)) != file.sha256:
            part.unlink()
            message = f"{file.name} of hf://{self.repo} arrived damaged: SHA-256 {found} instead of {file.sha256}"
            raise _PassingError(CheckpointError("HubUnreachable", f"{message}. Check the proxy or mirror on the way", retryable=True))

    def _stream(self, url: str, part: Path, have: int, size: int) -> None:
        """Append the rest of the file, or write it anew where the server ignores the Range."""
        with self._client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            self._check(response)
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise self._strange(f"Content-Range {response.headers.get('Content-Range')!r} to a request from byte {have}")
            with part.open("ab" if resumed else "wb") as out:
                for chunk in response.iter_raw():  # as they come: bytes gathered into larger chunks would be lost by a cut
                    if self.stop.is_set():
                        raise FetchStopped
                    out.write(chunk)
                    if out.tell() > size:
                        break  # the size is checked after: a file that is too long starts again

    def _check(self, response: httpx.Response) -> None:
        """Raise what an answer other than 2xx means."""
        status, source = response.status_code, f"hf://{self.repo}"
        if response.is_success:
            return
        code = response.headers.get("X-Error-Code", "")
        if code == "GatedRepo" or status == httpx.codes.FORBIDDEN:
            given = "the token has no access to" if self._token else "a token is needed for"
            remedy = f"Accept the licence at {self.endpoint}/{self.repo} and set spec.model.tokenSecretRef to a token of that account"
            raise CheckpointError("HubUnauthorized", f"{source} is gated, and {given} it. {remedy}", retryable=False)
        if status == httpx.codes.UNAUTHORIZED:
            given = "refuses the token" if self._token else "wants a token"
            remedy = (
                "Set spec.model.tokenSecretRef to a valid token, and check the name: the hub says the same of a model that does not exist"
            )
            raise CheckpointError("HubUnauthorized", f"the hub {given} for {source}. {remedy}", retryable=False)
        if status == httpx.codes.NOT_FOUND:
            what = f"{source} has no revision {self.revision}" if code == "RevisionNotFound" else f"{source} is not on {self.endpoint}"
            remedy = "Correct spec.model.source or spec.model.revision; a private model needs spec.model.tokenSecretRef"
            raise CheckpointError("HubNotFound", f"{what}. {remedy}", retryable=False)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            message = f"{self.endpoint} answers 429, too many requests, for {source}. It is tried again; a token has a higher limit"
            raise _PassingError(CheckpointError("HubRateLimited", message, retryable=True), _retry_after(response))
        raise _PassingError(self._unreachable(f"HTTP {status}"), _retry_after(response))

    def _unreachable(self, error: object) -> CheckpointError:
        told = str(error) or type(error).__name__
        told = told.replace(self._token, "***") if self._token else told
        message = f"{self.endpoint} cannot be reached for hf://{self.repo}: {told}. Check the pods' way out, the proxy, and HF_ENDPOINT"
        return CheckpointError("HubUnreachable", message, retryable=True)

    def _cut(self, name: str, got: int, size: int) -> CheckpointError:
        message = (
            f"{name} of hf://{self.repo} was cut off again and again, last after {got} of {size} bytes. Check the way to {self.endpoint}"
        )
        return CheckpointError("HubUnreachable", message, retryable=True)

    def _strange(self, what: str) -> _PassingError:
        message = f"{self.endpoint} does not answer as a hub does for hf://{self.repo}: {what}. Check HF_ENDPOINT and the proxy"
        return _PassingError(CheckpointError("HubUnreachable", message, retryable=True))


def _download_all(hub: _Hub, commit: str, files: list[RemoteFile], folder: Path, on_progress: Progress, workers: int) -> int:
    """Every file that is not there, `workers` at a time; the first that fails for good ends the others. Gives the bytes of all."""
    total = sum(file.size for file in files)
    absent = [file for file in files if _size(folder / file.name) != file.size]
    with ThreadPoolExecutor(workers, thread_name_prefix="fetch") as pool:
        pending: set[Future[None]] = {pool.submit(hub.download, commit, file, folder) for file in absent}
        try:
            while pending:
                done, pending = wait(pending, timeout=POLL_SECONDS, return_when="FIRST_EXCEPTION")
                on_progress(_present(folder, files), total)
                for future in done:
                    future.result()
        except BaseException:
            hub.stop.set()  # every other download ends at its next chunk or pause
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return total


@contextmanager
def _alone(folder: Path, stop: threading.Event, tell: Callable[[], None]) -> Iterator[None]:
    """Keep other downloads into the folder out: the pods of a gang may share a volume. While another goes on, its progress is told."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell()
                if stop.wait(POLL_SECONDS):
                    raise FetchStopped from None
            except OSError as error:
                if error.errno not in {errno.ENOLCK, errno.ENOTSUP}:
                    raise
                break  # the volume has no locks; two pods then at worst download a file anew, for hashes are checked
        yield  # closing the file lets the lock go


def _prepare(folder: Path, commit: str, files: list[RemoteFile]) -> None:
    """Make the folder ready, without what an interrupted download of another commit left: its whole files look like this one's."""
    note = folder / PARTIAL_DIR / "commit"
    note.parent.mkdir(parents=True, exist_ok=True)
    if not note.exists() or note.read_text() != commit:
        for file in files:
            (folder / file.name).unlink(missing_ok=True)
        note.write_text(commit)


def _present(folder: Path, files: list[RemoteFile]) -> int:
    """Bytes that are there, partial files included."""
    return sum(min(file.size, _size(folder / file.name) or _size(folder / PARTIAL_DIR / file.partial)) for file in files)


def _check_room(folder: Path, files: list[RemoteFile]) -> None:
    needed = sum(file.size for file in files) - _present(folder, files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"{folder} has room for {free} bytes, and {needed} more are needed. {ROOM_REMEDY}"
        raise CheckpointError("DiskFull", message, retryable=False)


ROOM_REMEDY = "Mount a larger volume at /models with spec.podTemplate"


def _disk(folder: Path, error: OSError) -> CheckpointError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    what = (
        f"the disk is full under {folder}. {ROOM_REMEDY}"
        if full
        else f"{folder} cannot be written: {error}. Make it writable for user 1000"
    )
    return CheckpointError("DiskFull" if full else "ModelUnreadable", what, retryable=not full)


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; None where it is absent or a date, which the back-off covers."""
    value = response.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None


def _finish(folder: Path, repo: str, commit: str, files: list[RemoteFile]) -> None:
    """Say that the folder is complete, by rename, so that no half of it is ever believed."""
    shutil.rmtree(folder / PARTIAL_DIR, ignore_errors=True)  # it is empty, or holds files of an older commit
    marker = {"repository": repo, "commit": commit, "files": {file.name: file.size for file in files}, "finished": time.time()}
    temporary = folder / f"{MARKER}.new"
    temporary.write_text(json.dumps(marker))
    temporary.replace(folder / MARKER)


def _complete(folder: Path) -> int | None:
    """Bytes of a folder that was finished and is still whole, else None."""
    try:
        files = json.loads((folder / MARKER).read_text())["files"]
        sizes = {str(name): int(size) for name, size in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sum(sizes.values()) if sizes and all(_size(folder / name) == size for name, size in sizes.items()) else None
