"""A model on the Hugging Face hub: config files whole, and of weight files only the headers, by ranged reads.

    GET {endpoint}/{repo}/resolve/{revision}/{file}   Range: bytes=0-7, then bytes=8-{7 + header}

The hub sends large files' readers to its content network, where httpx takes no token along. A server that does not know Range sends the
whole file: reading ends at the bound, and the connection is closed. Messages name our own address, never the one that we were sent to,
which is signed, and never the text of an error of the HTTP library, which repeats headers.

https://huggingface.co/docs/hub/api, https://huggingface.co/docs/hub/models-gated
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import quote, urlsplit

import httpx

from llama_operator.adapters.model_files import sequence
from llama_operator.adapters.model_files.sequence import Part
from llama_operator.planning.models.contents import ModelContents
from llama_operator.ports import ModelFilesError

SCHEME = "hf://"

RETRY_AFTER_MAX = 86_400.0
"""Seconds; a hub that asks for more is asked again after a day."""

REQUEST_SECONDS = 60.0
"""For one file's answer as a whole: a server may keep within the client's limits and still send a byte at a time."""

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_NO_RANGE = re.compile(r"bytes \*/(\d{1,18})")

OK, PARTIAL, UNAUTHORISED, FORBIDDEN, NOT_FOUND, NO_RANGE, TOO_MANY = 200, 206, 401, 403, 404, 416, 429


class HubReader:
    """Reads `hf://` sources."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: str = "https://huggingface.co",
        token: str | None = None,
        *,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        """`client` brings the time limits of connecting and waiting. `token`: who asks, for models behind a licence."""
        self._client = client
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._request_seconds = request_seconds

    async def read_model(self, source: str, revision: str | None = None) -> ModelContents:
        """A model's config files and tensors. Raises ModelFilesError."""
        return await sequence.read_model(self._files(source, revision))

    async def read_adapter(self, source: str, revision: str | None = None) -> ModelContents:
        """An adapter's config and tensors. Raises ModelFilesError."""
        return await sequence.read_adapter(self._files(source, revision))

    def _files(self, source: str, revision: str | None) -> _HubFiles:
        repo = source.removeprefix(SCHEME).strip("/")
        if not source.startswith(SCHEME) or not _REPO.fullmatch(repo):
            raise ModelFilesError("NotFound", f"{source[:200]!r} is no model of the hub", "Write hf:// and the model's organisation/name.")
        if self._token is not None and not re.fullmatch(r"[!-~]+", self._token):
            # Sent as it is, the HTTP library would refuse it, with the token in the words.
            raise ModelFilesError("Denied", "the hub's token holds spaces or line ends", "Store the token alone in the Secret.")
        shown = _without_credentials(self._endpoint)
        if shown is None:
            remedy = "Give the hub's address, as https://huggingface.co, or a model that lies in a folder."
            raise ModelFilesError("NoAnswer", "there is no hub to ask: none, or one whose address is no http(s) URL, was given", remedy)
        return _HubFiles(self._client, self._endpoint, shown, repo, revision or "main", self._token, self._request_seconds)


@dataclass(frozen=True, repr=False)
class _HubFiles:
    client: httpx.AsyncClient
    endpoint: str
    shown: str
    repo: str
    revision: str
    token: str | None
    seconds: float

    @property
    def where(self) -> str:
        return f"{self.shown}/{self.repo}"

    async def weight_names(self) -> None:
        """The hub is not asked for a listing: models without an index have one file, of a known name."""

    async def whole(self, name: str, limit: int) -> bytes | None:
        async with self._ask(name) as answer:
            if answer.status_code == NOT_FOUND and answer.headers.get("X-Error-Code") in {None, "EntryNotFound"}:
                return None
            self._check(answer, name, OK)
            data = await _read(answer, limit + 1)
        if len(data) > limit:
            raise self._unreadable(name, f"has more than {limit} bytes")
        return data

    async def part(self, name: str, start: int, length: int) -> Part:
        if not length:
            return Part(b"", None)
        async with self._ask(name, f"bytes={start}-{start + length - 1}") as answer:
            if answer.status_code == NO_RANGE:
                size = _NO_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                return Part(b"", int(size[1]) if size else None)
            self._check(answer, name, OK, PARTIAL)
            if answer.status_code == OK:
                size_text = answer.headers.get("Content-Length", "")
                data = await _read(answer, start + length)
                return Part(data[start:], int(size_text) if re.fullmatch(r"\d{1,18}", size_text) else None)
            sent = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if sent is None or int(sent[1]) != start:
                raise self._unreadable(name, "was asked for a part, and another one was sent")
            return Part(await _read(answer, length), None if sent[2] == "*" else int(sent[2]))

    @asynccontextmanager
    async def _ask(self, name: str, part: str | None = None) -> AsyncGenerator[httpx.Response]:
        """One request. Raises ModelFilesError without an answer."""
        url = f"{self.endpoint}/{quote(self.repo)}/resolve/{quote(self.revision, safe='')}/{quote(name)}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": part} if part else {})
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            async with (
                asyncio.timeout(self.seconds),
                self.client.stream("GET", url, headers=headers, follow_redirects=True) as answer,
            ):
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeError) as error:
            message = f"{self.where} gives no answer for {name} ({type(error).__name__})"
            remedy = "Check the network and the hub's address; it is asked again."
            raise ModelFilesError("NoAnswer", message, remedy) from None

    def _check(self, answer: httpx.Response, name: str, *good: int) -> None:
        """Raises ModelFilesError for an answer that is no file."""
        status, code = answer.status_code, answer.headers.get("X-Error-Code")
        if status in good:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise self._unreadable(name, "was sent compressed, unasked")
            return
        said = f"{self.where} answers {status} for {name} of {self.revision!r}"
        if status in {UNAUTHORISED, FORBIDDEN}:
            raise ModelFilesError("Denied", self._denied(said, code), self._licence())
        if status == NOT_FOUND:
            what = {"RevisionNotFound": "there is no such revision", "EntryNotFound": "there is no such file"}.get(
                code or "", "no such model"
            )
            raise ModelFilesError("NotFound", f"{said}: {what}", "Correct spec.model.source and spec.model.revision.")
        if status == TOO_MANY:
            after = retry_after(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            when = f"in {after:.0f} s" if after is not None else "later"
            raise ModelFilesError("RateLimited", said, f"It is asked again {when}; a token raises the limit.", retry_after=after)
        raise ModelFilesError("NoAnswer", said, "Wait for the hub, or name another one; it is asked again.")

    def _denied(self, said: str, code: str | None) -> str:
        if code == "GatedRepo":
            return f"{said}: it is behind a licence" + (" that the token's owner did not accept" if self.token else "")
        return f"{said}: " + ("the token may not read it" if self.token else "it is behind a licence, private, or not there")

    def _licence(self) -> str:
        return f"Accept the licence at {self.where} and set spec.model.tokenSecretRef to a token of the same account."

    def _unreadable(self, name: str, what: str) -> ModelFilesError:
        return ModelFilesError("Unreadable", f"{self.where}: {name} {what}", "Check spec.model.source and the hub's address.")


def _without_credentials(endpoint: str) -> str | None:
    """A hub's address as messages tell it; None for what is no address."""
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError:
        return None
    if url.scheme not in {"http", "https"} or not host:
        return None
    return f"{url.scheme}://{host}{f':{port}' if port else ''}{url.path}"


async def _read(answer: httpx.Response, limit: int) -> bytes:
    """The body's first bytes; what follows is not waited for."""
    data = bytearray()
    async with aclosing(cast("AsyncGenerator[bytes]", answer.aiter_raw())) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) >= limit:
                break
    return bytes(data[:limit])


def retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number or a time; a time is compared with the answer's own Date.

    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3. None where there is none that makes sense.
    """
    if value is None:
        return None
    if re.fullmatch(r"\d{1,18}", value):
        return min(float(value), RETRY_AFTER_MAX)
    try:
        seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX)
