"""Kubernetes, etcd, CoreDNS and Helm: taken from the first source that has them.

1. PATH and $KUBEBUILDER_ASSETS, when the program there says the right minor version
2. the cache of an earlier run
3. the official download, verified by its published SHA-256 (tried once: a source that refuses is not asked again)
4. the published Go modules, compiled here (`deploy/local/programs`; its go.sum pins every source by checksum)
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import commands
from .errors import DownloadRefused, LocalClusterError, MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .progress import Progress
    from .settings import Settings

KUBERNETES = "1.34.4"  # 1.35's kubelet refuses cgroup v1
ETCD = "3.6.4"  # what Kubernetes 1.34's own go.mod asks for
COREDNS = "1.12.4"
HELM = "3.19.0"
MODULE = Path(__file__).resolve().parent.parent / "programs"
CONNECT_SECONDS = 5.0  # a machine without internet must fail over at once; a machine with it connects in well under a second
BUILD_SECONDS = 3600.0  # 6 min on two cold cores


@dataclass(frozen=True)
class Program:
    """One program, where it is published, and which version found elsewhere will do (`accepts`, matched against what it prints)."""

    name: str
    version: str
    package: str
    accepts: str
    version_argv: tuple[str, ...]
    url: str
    checksum_url: str
    member: str | None = None


def _kubernetes(name: str) -> Program:
    minor = re.escape(KUBERNETES.rsplit(".", 1)[0])
    base = f"https://dl.k8s.io/release/v{KUBERNETES}/bin/linux/amd64/{name}"
    argv = ("version", "--client") if name == "kubectl" else ("--version",)
    return Program(name, KUBERNETES, f"./cmd/{name}", rf"v{minor}\.\d+(\s|$)", argv, base, f"{base}.sha256")


PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        *(_kubernetes(n) for n in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")),
        Program(
            "etcd",
            ETCD,
            "./cmd/etcd",
            r"etcd Version: 3\.6\.\d+",
            ("--version",),
            f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}/etcd-v{ETCD}-linux-amd64.tar.gz",
            f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}/SHA256SUMS",
            f"etcd-v{ETCD}-linux-amd64/etcd",
        ),
        Program(
            "coredns",
            COREDNS,
            "./cmd/coredns",
            r"CoreDNS-1\.1[12]\.\d+",
            ("-version",),
            f"https://github.com/coredns/coredns/releases/download/v{COREDNS}/coredns_{COREDNS}_linux_amd64.tgz",
            f"https://github.com/coredns/coredns/releases/download/v{COREDNS}/coredns_{COREDNS}_linux_amd64.tgz.sha256",
            "coredns",
        ),
        Program(
            "helm",
            HELM,
            "helm.sh/helm/v3/cmd/helm",
            r"v3\.1[89]\.\d+",
            ("version", "--short"),
            f"https://get.helm.sh/helm-v{HELM}-linux-amd64.tar.gz",
            f"https://get.helm.sh/helm-v{HELM}-linux-amd64.tar.gz.sha256sum",
            "linux-amd64/helm",
        ),
    )
}


def cached_path(settings: Settings, program: Program) -> Path:
    """Where the cache keeps a program: the version is part of the path, so a new version never meets an old file."""
    return settings.programs / f"{program.name}-{program.version}" / program.name


def said_version(path: str, argv: Sequence[str]) -> str:
    """What a program says when asked for its version; empty when it cannot be run."""
    try:
        done = subprocess.run([path, *argv], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")


def on_path(program: Program, environ: Mapping[str, str]) -> Path | None:
    """The program in $KUBEBUILDER_ASSETS or on PATH, if it says an acceptable version. None otherwise."""
    for search in (environ.get("KUBEBUILDER_ASSETS"), environ.get("PATH")):
        found = shutil.which(program.name, path=search) if search else None
        if found and re.search(program.accepts, said_version(found, program.version_argv)):
            return Path(found).absolute()
    return None


def fetch(url: str) -> bytes:
    """The bytes at `url`.

    Raises:
        DownloadRefused: no connection, or an answer other than 200.

    """
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError) as error:
        raise DownloadRefused(f"{url}: {error}") from error


def expected_sum(text: str, filename: str) -> str:
    """The SHA-256 of `filename` in a checksum file: either the bare sum, or lines of `sum  name`.

    Raises:
        DownloadRefused: the file holds no such sum.

    """
    for line in text.splitlines():
        words = line.split()
        if words and re.fullmatch(r"[0-9a-f]{64}", words[0]) and (len(words) == 1 or words[1].lstrip("*").endswith(filename)):
            return words[0]
    raise DownloadRefused(f"no SHA-256 of {filename} in its checksum file (it begins {text[:60]!r})")


def download(program: Program, target: Path) -> None:
    """Fetch the official build, verify its published SHA-256, and put it at `target`.

    Raises:
        DownloadRefused: the source does not answer or the sum differs.

    """
    filename = program.url.rsplit("/", 1)[1]
    want = expected_sum(fetch(program.checksum_url).decode(errors="replace"), filename)
    body = fetch(program.url)
    got = hashlib.sha256(body).hexdigest()
    if got != want:
        raise DownloadRefused(f"{program.url}: SHA-256 is {got}, published is {want}")
    if program.member:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            member = archive.extractfile(program.member)
            if member is None:
                raise DownloadRefused(f"{program.url}: no file {program.member} in the archive")
            body = member.read()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_bytes(body)
    partial.chmod(0o755)
    partial.replace(target)


def link_flags() -> str:
    """What the official builds stamp into their programs, so that ours say the same version."""
    major, minor, _ = KUBERNETES.split(".")
    version, helm = "k8s.io/component-base/version", "helm.sh/helm/v3"
    stamps = {
        f"{version}.gitVersion": f"v{KUBERNETES}",
        f"{version}.gitMajor": major,
        f"{version}.gitMinor": minor,
        f"{version}.gitTreeState": "clean",
        f"{helm}/internal/version.version": f"v{HELM}",
        f"{helm}/internal/version.gitTreeState": "clean",
        f"{helm}/pkg/lint/rules.k8sVersionMajor": major,
        f"{helm}/pkg/lint/rules.k8sVersionMinor": minor,
        f"{helm}/pkg/chartutil.k8sVersionMajor": major,
        f"{helm}/pkg/chartutil.k8sVersionMinor": minor,
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def build(settings: Settings, programs: Sequence[Program], log: Path) -> None:
    """Compile `programs` in one `go build`, so that the packages they share compile once, and put them into the cache.

    Raises:
        MissingTool: there is no Go.
        LocalClusterError: the build failed; the message ends with the compiler's last words.

    """
    if shutil.which("go") is None:
        names = ", ".join(program.name for program in programs)
        raise MissingTool(
            f"{names}: not on PATH in the right version, not in the cache, and the official downloads do not answer. "
            "To build them here, install Go 1.24 or newer (https://go.dev/dl) and make a Go module proxy reachable (GOPROXY)"
        )
    settings.programs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.programs, prefix=".build-") as out:
        argv = ["go", "build", "-trimpath", "-ldflags", link_flags(), "-o", f"{out}/", *(program.package for program in programs)]
        commands.run(argv, cwd=MODULE, env={"CGO_ENABLED": "0"}, seconds=BUILD_SECONDS, log=log)
        for program in programs:
            target = cached_path(settings, program)
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(out) / program.name).replace(target)


@dataclass
class Programs:
    """The programs that were found, by name; `source` says where each came from."""

    paths: dict[str, Path] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        """The path of one program."""
        return self.paths[name]


def ensure(settings: Settings, progress: Progress, environ: Mapping[str, str] | None = None) -> Programs:
    """Every program, from the first source that has it.

    Raises:
        MissingTool: no source works; the message says what to install.
        LocalClusterError: a build failed.

    """
    environ = os.environ if environ is None else environ
    result, missing = Programs(), []
    for program in PROGRAMS.values():
        cached = cached_path(settings, program)
        found, source = on_path(program, environ), "PATH"
        if found is None and cached.is_file():
            found, source = cached, "cache"
        if found is None:
            missing.append(program)
        else:
            result.paths[program.name], result.source[program.name] = found, source
    for program in _download_all(settings, missing, progress):
        result.paths[program.name], result.source[program.name] = cached_path(settings, program), "download"
    built = [program for program in missing if program.name not in result.paths]
    if built:
        log = settings.programs / "build.log"
        names = ", ".join(program.name for program in built)
        with progress.step(f"compile {names} from their Go modules (minutes, once; log: {log})"):
            build(settings, built, log)
        for program in built:
            result.paths[program.name], result.source[program.name] = cached_path(settings, program), "go build"
    return result


def _download_all(settings: Settings, wanted: Sequence[Program], progress: Progress) -> list[Program]:
    got: list[Program] = []
    refused: set[str] = set()
    for program in wanted:
        host = program.url.split("/")[2]
        if host in refused:
            continue
        try:
            with progress.step(f"download {program.name} {program.version}"):
                download(program, cached_path(settings, program))
            got.append(program)
        except (DownloadRefused, tarfile.TarError, KeyError) as error:
            refused.add(host)
            progress.note(f"{host} is not used: {error}")
    return got


def verify(settings: Settings) -> dict[str, str]:
    """What each cached program says about its version: name to first matching text.

    Raises:
        LocalClusterError: a program in the cache says another version than its path.

    """
    said: dict[str, str] = {}
    for program in PROGRAMS.values():
        path = cached_path(settings, program)
        if path.is_file():
            match = re.search(program.accepts, said_version(str(path), program.version_argv))
            if match is None:
                raise LocalClusterError(f"{path} does not say version {program.version}. Delete {path.parent} and run `programs` again")
            said[program.name] = match.group(0).strip()
    return said
