"""The API server, asked through the user's own kubectl, and never changed.

    kubectl get --raw PATH ─▶ JSON, or a KubectlError that says in one word what went wrong

kubeconfig files, contexts, proxies, certificates and the programs that log a user in are kubectl's business: whoever it lets in gets the
same here. It starts in a tenth of a second, where the Python client takes two to be imported.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from llama_operator.adapters.kinds import KINDS

PROGRAM = "kubectl"
REQUEST_SECONDS = 15
"""kubectl's --request-timeout; it has none of its own."""
ENDS_SECONDS = REQUEST_SECONDS + 15.0
"""After which kubectl is ended: it may run a login first, which no request timeout bounds."""
PAGE_SIZE = 500
MAX_BYTES = 64 * 1024 * 1024
"""Of what kubectl writes; more ends it. A page of PAGE_SIZE pods has a tenth."""
MAX_ERROR_BYTES = 64 * 1024
"""Of its standard error that is read: its last lines count."""

_PREFIX = re.compile(r"[A-Za-z0-9/_-]*")
"""What may stand behind a Service's address in a path of the API server: a dot or a percent sign could lead out of its proxy."""
_HOST = re.compile(r"(?P<name>[a-z]([-a-z0-9]*[a-z0-9])?)\.(?P<namespace>[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.svc(\.[-a-z0-9.]+)?)?")
_PORTS = {"http": 80, "https": 443}

Why = Literal["NoKubectl", "NoSuchConfig", "NoAnswer", "Unauthorized", "Forbidden", "NotFound", "Refused"]


@dataclass(frozen=True, kw_only=True)
class Service:
    """A port of a Service of the cluster, and the path behind it, which has no slash at its end."""

    namespace: str
    name: str
    scheme: str
    port: int
    prefix: str


def service_of(url: str) -> Service | None:
    """The Service that a URL inside the cluster names; None where it names none, or a path that could lead out of its proxy.

    http://NAME.NAMESPACE.svc:9090/prefix, with or without `.svc` and the cluster's domain
    (https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = _HOST.fullmatch(parts.hostname or "")
    if host is None or parts.scheme not in _PORTS or _PREFIX.fullmatch(parts.path) is None:
        return None
    return Service(
        namespace=host["namespace"],
        name=host["name"],
        scheme=parts.scheme,
        port=port or _PORTS[parts.scheme],
        prefix=parts.path.rstrip("/"),
    )


class KubectlError(Exception):
    """The cluster could not be asked, or refused. `message` is kubectl's own last line.

    NoKubectl: no such program here. NoSuchConfig: the kubeconfig or context is wrong. NoAnswer: no API server is reached. Unauthorized: it
    does not know the user. Forbidden: the user has not the right. NotFound: no such object, or no such kind. Refused: anything else.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(f"{why}: {message}")
        self.why = why
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a program ended."""

    status: int
    out: str
    err: str


def start(command: Sequence[str]) -> Finished:
    """Runs kubectl to its end. Raises KubectlError.

    It gets no standard input: it would ask for a password where nobody sees the question.
    """
    if shutil.which(command[0]) is None:
        raise KubectlError("NoKubectl", f"{command[0]} is not on the PATH")
    deadline = time.monotonic() + ENDS_SECONDS
    with tempfile.TemporaryFile() as errors:  # a file takes all that it says, and needs nobody who reads meanwhile
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise KubectlError("NoKubectl", f"{command[0]} cannot be started: {error.strerror}") from None
        with process:
            try:
                out = _output(process, deadline)
                status = process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                raise KubectlError("NoAnswer", f"{command[0]} did not end within {ENDS_SECONDS:.0f} s") from None
            finally:
                process.kill()  # nothing where it has ended
        errors.seek(max(errors.seek(0, os.SEEK_END) - MAX_ERROR_BYTES, 0))
        said = errors.read()
    return Finished(status=status, out=out.decode("utf-8", "replace"), err=said.decode("utf-8", "replace"))


def _output(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """What it writes until it ends. Raises TimeoutExpired at the deadline, KubectlError for more than MAX_BYTES."""
    if process.stdout is None:
        raise RuntimeError("a pipe was asked for and not made")
    out, pipe = bytearray(), process.stdout.fileno()
    while select.select([pipe], [], [], max(deadline - time.monotonic(), 0.0))[0]:
        chunk = os.read(pipe, 65_536)
        if not chunk:
            return bytes(out)
        out += chunk
        if len(out) > MAX_BYTES:
            raise KubectlError("Refused", f"the answer is larger than {MAX_BYTES} bytes")
    raise subprocess.TimeoutExpired(process.args, ENDS_SECONDS)


class Kubectl:
    """Asks one cluster. Every method raises KubectlError."""

    def __init__(
        self, *, kubeconfig: str | None = None, context: str | None = None, run: Callable[[Sequence[str]], Finished] | None = None
    ) -> None:
        """The flags as kubectl has them; None: what kubectl takes by itself."""
        self._flags = [f"--{name}={value}" for name, value in (("kubeconfig", kubeconfig), ("context", context)) if value is not None]
        self._run = run or start

    def namespace(self) -> str:
        """The context's namespace, `default` where it names none."""
        done = self._run([PROGRAM, *self._flags, "config", "view", "--minify", "--output=jsonpath={..namespace}"])
        if done.status == 0:
            return done.out.strip() or "default"
        error = explain(done)
        if error.why == "NoSuchConfig" and "current-context must exist" in error.message:
            return "default"  # no context at all, as in a pod: kubectl then speaks to the cluster that it is in
        raise error

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None where it is not."""
        try:
            return self._json(KINDS[kind].path(namespace, name))
        except KubectlError as error:
            if error.why == "NotFound":
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, labels: str | None = None, fields: str | None = None) -> list[dict[str, Any]]:
        """All objects of a kind, page by page; of all namespaces where none is named."""
        given = {"limit": str(PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields}
        query = {key: value for key, value in given.items() if value}
        items: list[dict[str, Any]] = []
        while True:
            page = self._json(KINDS[kind].path(namespace), query)
            items += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return [{"apiVersion": KINDS[kind].api_version, "kind": kind, **item} for item in items]
            query["continue"] = token

    def raw(self, path: str, seconds: int = REQUEST_SECONDS) -> str:
        """What the API server answers at a path, as through its proxy to a Service, within `seconds`."""
        done = self._run([PROGRAM, *self._flags, f"--request-timeout={seconds}s", "get", "--raw", path])
        if done.status:
            raise explain(done)
        return done.out

    def finish(self, *arguments: str) -> Finished:
        """Another kubectl that asks the same cluster, as for `exec`, at its end and whatever its status."""
        return self._run(self.command(*arguments))

    def command(self, *arguments: str) -> Sequence[str]:
        """The command line of another kubectl that asks the same cluster, as for `logs`. The caller runs it."""
        return [PROGRAM, *self._flags, *arguments]

    def _json(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        text = self.raw(f"{path}?{urlencode(query)}" if query else path)
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise KubectlError("Refused", f"{path}: the answer is no JSON object")
        return body


_SIGNS: Sequence[tuple[str, Why]] = (
    # Told apart by kubectl's words: its exit status is 1 for all of them.
    ("(Forbidden)", "Forbidden"),
    ("(NotFound)", "NotFound"),
    ("(Unauthorized)", "Unauthorized"),
    ("You must be logged in", "Unauthorized"),
    ("getting credentials", "Unauthorized"),
    ("Please enter Username", "Unauthorized"),
    ("context was not found", "NoSuchConfig"),
    ("current-context must exist", "NoSuchConfig"),
    ('error: context "', "NoSuchConfig"),
    ("error: stat ", "NoSuchConfig"),
    ("error loading config file", "NoSuchConfig"),
    ("invalid configuration", "NoSuchConfig"),
    ("Unable to connect to the server", "NoAnswer"),
    ("The connection to the server", "NoAnswer"),
    ("Client.Timeout", "NoAnswer"),
    ("context deadline exceeded", "NoAnswer"),
    ("(ServiceUnavailable)", "NoAnswer"),
)


def explain(done: Finished) -> KubectlError:
    """What kubectl meant. Its last line counts: warnings and log lines come before it."""
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    message = lines[-1] if lines else f"{PROGRAM} ended with status {done.status} and said nothing"
    why: Why = next((why for sign, why in _SIGNS if sign in message), "Refused")
    return KubectlError(why, message)


def together(*asks: Callable[[], Any]) -> list[Any]:
    """The answers of several questions that are asked at once, in their order. Raises what the first of them raised."""
    with ThreadPoolExecutor(max_workers=max(len(asks), 1)) as pool:
        return [future.result() for future in [pool.submit(ask) for ask in asks]]
