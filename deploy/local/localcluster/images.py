"""Images without Docker and without a registry: a Debian base made by debootstrap, Dockerfiles built by buildah, everything in the cache.

base_image()     -> localhost/llama-local/base:KEY      Debian with Python, kept in buildah's storage
build_image(…)   -> a docker-archive, which `Cluster.load_image` puts into both nodes
serve_base(…)    -> llama-local/serve-base:KEY          almost nothing: the pod mounts the machine's /usr and the serving environment
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import archive, commands, overlay
from .debian import library_dirs
from .errors import LocalClusterError, MissingTool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .debian import DebianPrograms
    from .progress import Progress
    from .settings import Settings

SUITE = "bookworm"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
BASE_NAME = "localhost/llama-local/base"
HOST_CERTIFICATES = Path("/etc/ssl/certs")
BUNDLE = HOST_CERTIFICATES / "ca-certificates.crt"
BUILD_SECONDS = 1800.0
LEFTOVERS = (".build-*", "buildah[0-9]*", "storage[0-9]*")
"""Folders that a build makes here for itself (buildah's through TMPDIR), and that stay when it is killed: hundreds of MB each."""
KEPT_BUILDS = 4
"""Builds of one image whose archives are kept: each is some 300 MB, and every change of the code makes one."""
MOST_IMAGES = 60
"""In buildah's storage, layers that only speed up the next build included. Where the file system carries no overlay each is a whole file
system: 60 are some 10 GB. Above that all but the base and the newest builds go, and the next build takes a minute longer.
"""
# Files that a package manager in the image needs, and that name the installation rather than the machine.
USERS = "root:x:0:0:root:/root:/bin/sh\nllama:x:1000:1000:llama:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUP = "root:x:0:\nllama:x:1000:\nnogroup:x:65534:\n"
SERVE_BASE_NAME = "docker.io/llama-local/serve-base"


class Images:
    """Builds images; the result of every step is kept by a key of its content."""

    def __init__(self, settings: Settings, debian: DebianPrograms, progress: Progress) -> None:
        """Nothing is built yet."""
        self._settings, self._debian, self._progress = settings, debian, progress
        self._home = settings.images
        self._driver = ""

    def base_image(self) -> str:
        """The name of the Debian base in buildah's storage; made on first use (about a minute).

        Raises:
            MissingTool: a tool that debootstrap needs is missing.
            LocalClusterError: debootstrap or buildah failed.

        """
        mirror = debian_mirror(apt_targets())
        key = content_key("base-1", SUITE, *BASE_PACKAGES)
        name = f"{BASE_NAME}:{key}"
        if self._exists(name):
            return name
        for tool in ("perl", "wget", "gpgv"):
            if shutil.which(tool) is None:
                raise MissingTool(
                    f"{tool} is not on PATH: debootstrap needs it to make the images' base. Install it (apt-get install {tool})"
                )
        self._home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._home, prefix=".base-") as scratch:
            root = Path(scratch) / "root"
            with self._progress.step(f"make the images' base: Debian {SUITE} with {', '.join(BASE_PACKAGES)}"):
                argv: list[str | Path] = [
                    self._debian["debootstrap"],
                    "--variant=minbase",
                    f"--include={','.join(BASE_PACKAGES)}",
                    SUITE,
                    root,
                    *([mirror] if mirror else []),
                ]
                commands.run(self._private([*argv]), seconds=BUILD_SECONDS, log=self._home / "debootstrap.log")
                for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
                    shutil.rmtree(root / waste, ignore_errors=True)  # already absent is as good
            with self._progress.step("store the base"):
                container = self._buildah("from", "scratch").strip()
                self._buildah("add", "--quiet", container, str(root), "/")
                self._buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
                self._buildah("commit", "--quiet", "--rm", container, name)
        return name

    def build_image(self, dockerfile: Path, context: Path, tag: str, *, build_args: Mapping[str, str] | None = None) -> Path:
        """Build a Dockerfile whose `ARG BASE` names its base, and write a docker-archive.

        While it builds, the machine's CA bundle is mounted and pip is told to use it, with the machine's index: a package index behind a
        private authority is reached as it is from the machine. None of it stays in the image. Layers are reused when nothing changed.

        Raises:
            LocalClusterError: a file is missing, or the build failed; the message ends with buildah's last words.

        """
        if not dockerfile.is_file():
            raise LocalClusterError(f"there is no Dockerfile {dockerfile}")
        target = self.archive_of(tag)
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / "build.lock").open("w") as lock:
            # Two builds at once would tidy up under each other.
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._tidy(tag.rpartition(":")[0], target)
            self._build(dockerfile, context, tag, target, {"BASE": self.base_image(), **(build_args or {})})
        return target

    def _build(self, dockerfile: Path, context: Path, tag: str, target: Path, args: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory(dir=self._home, prefix=".build-") as scratch, self._progress.step(f"build {tag}"):
            words = [
                "bud",
                "--layers",
                "--isolation",
                "chroot",
                "--network",
                "host",
                "--pull-never",
                "--tag",
                tag,
                "--file",
                str(dockerfile),
            ]
            words += [word for name, value in args.items() for word in ("--build-arg", f"{name}={value}")]
            words += [word for mount in self._mounts(Path(scratch)) for word in ("--volume", mount)]
            log = self._home / f"{target.stem}.log"
            log.unlink(missing_ok=True)
            self._buildah(*words, str(context), log=log)
            partial = target.with_name(f".{target.name}.partial")
            partial.unlink(missing_ok=True)
            self._buildah("push", "--quiet", tag, f"docker-archive:{partial}:{tag}")
            partial.replace(target)

    def _tidy(self, repository: str, target: Path) -> None:
        """Remove what interrupted builds left, older archives, and of buildah's own store what is old when it has grown large. Under the
        lock: nobody else builds.
        """
        for pattern in LEFTOVERS:
            for left in self._home.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)  # what cannot be removed is no reason not to build
        prefix = self.archive_of(f"{repository}:").stem
        archives = sorted(self._home.glob(f"{prefix}*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        for archive_ in [path for path in archives if path != target][KEPT_BUILDS - 1 :]:
            archive_.unlink(missing_ok=True)
            archive_.with_suffix(".log").unlink(missing_ok=True)
        if not (self._home / "storage").is_dir():
            return
        self._buildah("rm", "--all")  # working containers of builds that were interrupted
        known = json.loads(self._buildah("images", "--all", "--json") or "[]") or []
        if len(known) <= MOST_IMAGES:
            return
        with self._progress.step(f"tidy the image store: {len(known)} images"):
            if old := older_builds(known, repository, KEPT_BUILDS - 1):
                self._buildah("rmi", "--force", *old)
            self._buildah("rmi", "--prune", "--force")

    def archive_of(self, tag: str) -> Path:
        """Where the docker-archive of an image lies, or will lie."""
        return self._home / f"{tag.replace('/', '_').replace(':', '_')}.tar"

    def serve_base(self) -> tuple[Path, str]:
        """The archive and name of the image of the Ray pods: a shell, user 1000, and links for a mounted /usr."""
        busybox = (self._debian.root / "bin/busybox").read_bytes()
        files = {
            "bin/busybox": (busybox, 0o755),
            "etc/passwd": (USERS.encode(), 0o644),
            "etc/group": (GROUP.encode(), 0o644),
            "etc/nsswitch.conf": (b"passwd: files\ngroup: files\nhosts: files dns\n", 0o644),
        }
        directories = {"bin": 0o755, "etc": 0o755, "etc/ssl": 0o755, "usr": 0o755, "tmp": 0o1777, "root": 0o700}
        # The engines start compilers and helpers through /bin/sh. The rest of /bin is the machine's, through PATH.
        links = {"bin/sh": "busybox", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
        content = archive.layer(files, directories=directories, links=links)
        name = f"{SERVE_BASE_NAME}:{hashlib.sha256(content).hexdigest()[:12]}"
        target = self._home / f"serve-base-{name.rsplit(':', 1)[1]}.tar"
        if not target.exists():
            archive.write(target, name, content, env={"PATH": "/usr/local/bin:/usr/bin:/bin"}, user="1000:1000")
        return target, name

    def _exists(self, name: str) -> bool:
        if not (self._home / "storage").is_dir():
            return False
        return any(name in image.get("names", []) for image in json.loads(self._buildah("images", "--json") or "[]") or [])

    def _mounts(self, scratch: Path) -> Iterator[str]:
        if HOST_CERTIFICATES.is_dir():
            yield f"{HOST_CERTIFICATES}:{HOST_CERTIFICATES}:ro"
        pip = scratch / "pip.conf"
        pip.write_text(pip_config(os.environ, bundle=BUNDLE if BUNDLE.is_file() else None))
        yield f"{pip}:/etc/pip.conf:ro"

    def _buildah(self, *words: str, log: Path | None = None) -> str:
        self._home.mkdir(parents=True, exist_ok=True)
        policy = self._home / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))  # nothing is pulled: every image is made here
        registries = self._home / "registries.conf"
        registries.write_text('unqualified-search-registries = []\nshort-name-mode = "permissive"\n')
        containers = self._home / "containers.conf"
        containers.write_text(f'[network]\nnetwork_config_dir = "{self._home / "cni"}"\n')  # else buildah makes /etc/cni on the machine
        env = {
            "CONTAINERS_CONF": str(containers),
            "STORAGE_DRIVER": self._storage_driver(),
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "CONTAINERS_STORAGE_CONF": "/dev/null",
            "TMPDIR": str(self._home),
        }
        options = ["--root", str(self._home / "storage"), "--runroot", str(self._home / "storage-run")]
        verb, rest = words[0], words[1:]
        signed = ["--signature-policy", str(policy)] if verb in {"bud", "push", "commit", "from"} else []
        return commands.run(
            self._private([self._debian["buildah"], *options, verb, *signed, *rest]), env=env, seconds=BUILD_SECONDS, log=log
        )

    def _storage_driver(self) -> str:
        """`overlay` where it can be mounted, else `vfs`, which copies the whole file system for each layer: a build takes twice as long."""
        if not self._driver:
            carried = overlay.carried_by(self._home, lambda argv: commands.run(self._private(argv)))
            self._driver = "overlay" if carried else "vfs"
            if carried and (self._home / "storage" / "vfs").is_dir():
                shutil.rmtree(self._home / "storage")  # made before overlays were tried for: gigabytes that would never be read again
        return self._driver

    def _private(self, argv: list[str | Path]) -> list[str | Path]:
        """Run in a mount namespace of its own: buildah and debootstrap leave nothing in /var/lib.

        Libraries that the machine lacks appear in its library directory there: buildah starts itself anew with an empty environment,
        so LD_LIBRARY_PATH does not reach it.
        """
        private = self._home / "var-lib"
        private.mkdir(parents=True, exist_ok=True)
        lines = [f'mount --bind "{private}" /var/lib']
        for unpacked in library_dirs(self._debian.root):
            system = Path("/") / unpacked.relative_to(self._debian.root)
            if system.is_dir():
                lines.append(f'mount -t overlay overlay -o "lowerdir={system}:{unpacked}" "{system}"')
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh", *argv]


def older_builds(images: Sequence[Mapping[str, Any]], repository: str, keep: int) -> list[str]:
    """Names of a repository's images beyond the `keep` newest, of what `buildah images --json` lists (`createdatraw` is RFC 3339)."""
    named = [(str(image.get("createdatraw", "")), name) for image in images for name in image.get("names") or []]
    found = sorted((pair for pair in named if pair[1].rpartition(":")[0] == repository), reverse=True)
    return [name for _, name in found[keep:]]


def content_key(*parts: str) -> str:
    """Twelve hex digits that stand for `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def apt_targets() -> str:
    """The machine's package sources, a line each: site and release. Empty where there is no apt."""
    argv = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
    except OSError:
        return ""


def debian_mirror(targets: str) -> str:
    """The mirror that the machine's apt uses for the suite; empty where it has none, and debootstrap takes its own default."""
    for line in targets.splitlines():
        site, _, release = line.partition(" ")
        if release.strip() == SUITE:
            return site
    return ""


def pip_config(environ: Mapping[str, str], *, bundle: Path | None) -> str:
    """A pip.conf that carries the machine's certificate bundle and package index (PIP_INDEX_URL and the like) into a build."""
    lines = ["[global]", "disable-pip-version-check = true"]
    if bundle is not None:
        lines.append(f"cert = {bundle}")
    for variable, key in (("PIP_INDEX_URL", "index-url"), ("PIP_EXTRA_INDEX_URL", "extra-index-url"), ("PIP_DEFAULT_TIMEOUT", "timeout")):
        if environ.get(variable):
            lines.append(f"{key} = {environ[variable]}")
    return "\n".join([*lines, ""])
