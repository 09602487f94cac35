"""Programs that Debian packages: containerd, runc, the CNI plugins, iptables and the image tools, without installing anything.

What is on PATH is used first. The rest is downloaded with the machine's apt sources but apt's state, lists and cache in our own
directory, unpacked with `dpkg -x`, and given a wrapper script that finds the shared libraries it needs beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import commands
from .errors import LocalClusterError, MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .progress import Progress
    from .settings import Settings

# program -> package, path in the package, and whether one found on PATH will do
UNPACKED: dict[str, tuple[str, str, bool]] = {
    "containerd": ("containerd", "usr/bin/containerd", False),  # a Docker host's containerd may be 2.x: another configuration
    "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2", False),
    "ctr": ("containerd", "usr/bin/ctr", False),
    "runc": ("runc", "usr/sbin/runc", True),
    "conntrack": ("conntrack", "usr/sbin/conntrack", True),
    "xtables-legacy-multi": ("iptables", "usr/sbin/xtables-legacy-multi", True),
    "xtables-nft-multi": ("iptables", "usr/sbin/xtables-nft-multi", True),
    "busybox": ("busybox-static", "bin/busybox", False),  # a dynamic busybox would not run in an image that holds nothing else
    "prometheus": ("prometheus", "usr/bin/prometheus", False),  # it goes into an image together with its libraries: known ones
    "promtool": ("prometheus", "usr/bin/promtool", False),
    "buildah": ("buildah", "usr/bin/buildah", True),
    "debootstrap": ("debootstrap", "usr/sbin/debootstrap", True),
}
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
CNI_PACKAGE = "containernetworking-plugins"
# shared library -> the package that has it (bookworm); only those that the machine lacks are fetched
LIBRARIES = {
    "libassuan.so.0": "libassuan0",
    "libdevmapper.so.1.02.1": "libdevmapper1.02.1",
    "libgpg-error.so.0": "libgpg-error0",
    "libgpgme.so.11": "libgpgme11",
    "libip4tc.so.2": "libip4tc2",
    "libip6tc.so.2": "libip6tc2",
    "libmnl.so.0": "libmnl0",
    "libnetfilter_conntrack.so.3": "libnetfilter-conntrack3",
    "libnfnetlink.so.0": "libnfnetlink0",
    "libnftnl.so.11": "libnftnl11",
    "libseccomp.so.2": "libseccomp2",
    "libsubid.so.4": "libsubid4",
    "libxtables.so.12": "libxtables12",
}


@dataclass(frozen=True)
class DebianPrograms:
    """Programs by name, the CNI plugins' directory, and where packages were unpacked."""

    paths: dict[str, Path]
    cni_bin: Path
    root: Path

    def __getitem__(self, name: str) -> Path:
        """The path of one program."""
        return self.paths[name]


class Apt:
    """apt-get with a state of its own under `base`: the machine's lists, locks and caches stay as they are."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for part in ("state/lists/partial", "cache/archives/partial", "debs"):
            (base / part).mkdir(parents=True, exist_ok=True)
        (base / "state" / "status").touch()
        self._options = [
            f"Dir::State={base}/state",
            f"Dir::State::status={base}/state/status",
            f"Dir::Cache={base}/cache",
            "APT::Sandbox::User=root",  # the cache need not be readable by apt's own user
            "Acquire::Languages=none",
        ]
        self._updated = False

    def download(self, packages: list[str]) -> list[Path]:
        """Fetch packages into `debs`; the index is fetched once."""
        flags = self._up_to_date()
        before = set((self.base / "debs").iterdir())
        commands.run(["apt-get", *flags, "-qq", "download", *packages], cwd=self.base / "debs", seconds=600)
        return sorted(set((self.base / "debs").iterdir()) - before)

    def download_with_what_it_needs(self, package: str) -> list[Path]:
        """Fetch a package, and of what it needs what this machine has not installed."""
        # The machine's own list of what is installed is read, without its lock.
        flags = [*self._up_to_date(), "-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"]
        words = ["install", "--yes", "--no-install-recommends", "--download-only", package]
        commands.run(["apt-get", *flags, "-qq", *words], seconds=600)
        return sorted((self.base / "cache" / "archives").glob("*.deb"))

    def _up_to_date(self) -> list[str]:
        flags = [word for option in self._options for word in ("-o", option)]
        if not self._updated:
            # A source of the machine that does not answer must not stop us: the download that follows says what is missing.
            subprocess.run(["apt-get", *flags, "-qq", "update"], capture_output=True, timeout=300, check=False)
            self._updated = True
        return flags


def missing_libraries(ldd_output: str) -> list[str]:
    """Shared libraries that `ldd` did not find."""
    return [line.split()[0] for line in ldd_output.splitlines() if "=> not found" in line]


def wrapper(program: Path, root: Path, *, extra: Mapping[str, str] | None = None) -> str:
    """A shell script that runs an unpacked program with the libraries unpacked beside it."""
    libraries = ":".join(str(path) for path in library_dirs(root))
    lines = ["#!/bin/sh", f'LD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"', "export LD_LIBRARY_PATH"]
    lines += [f'{name}="{value}"; export {name}' for name, value in (extra or {}).items()]
    return "\n".join([*lines, f'exec "{program}" "$@"', ""])


def library_dirs(root: Path) -> list[Path]:
    """Directories under `root` that hold shared libraries."""
    machine = os.uname().machine
    return [path for path in (root / f"usr/lib/{machine}-linux-gnu", root / f"lib/{machine}-linux-gnu") if path.is_dir()]


def _environment(name: str, root: Path) -> dict[str, str]:
    if name.startswith("xtables"):
        return {"XTABLES_LIBDIR": str(root / f"usr/lib/{os.uname().machine}-linux-gnu" / "xtables")}
    if name == "debootstrap":
        return {"DEBOOTSTRAP_DIR": str(root / "usr/share/debootstrap")}
    return {}


def ensure(settings: Settings, progress: Progress) -> DebianPrograms:
    """Every program of the table, from PATH or unpacked into the cache.

    Raises:
        MissingTool: a program is missing and there is no apt-get or dpkg to fetch it with.
        LocalClusterError: a download failed.

    """
    base = settings.programs / "debian"
    root, bin_dir = base / "root", base / "bin"
    found = {name: path for name, (_, _, path_will_do) in UNPACKED.items() if path_will_do and (path := shutil.which(name))}
    done = base / "complete"
    wanted = sorted({package for name, (package, _, _) in UNPACKED.items() if name not in found} | {CNI_PACKAGE})
    if not done.is_file() or done.read_text() != "\n".join(wanted):
        _need_debian(wanted)
        with progress.step(f"download and unpack {len(wanted)} Debian packages into {base} (nothing is installed)"):
            _unpack(base, wanted)
            _wrap(root, bin_dir, [name for name in UNPACKED if name not in found])
        done.write_text("\n".join(wanted))
    paths = {name: Path(found[name]) if name in found else bin_dir / name for name in UNPACKED}
    return DebianPrograms(paths, root / "usr/lib/cni", root)


def _need_debian(wanted: list[str]) -> None:
    lacking = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if lacking:
        raise MissingTool(
            f"{' and '.join(lacking)} not found: the local cluster takes {', '.join(wanted)} from Debian's or Ubuntu's packages. "
            "Run it on a Debian or Ubuntu machine (a container with --privileged will do), or "
            "use a cluster of your own with LLAMA_KUBECONFIG and LLAMA_CONTEXT"
        )


def _unpack(base: Path, packages: list[str]) -> None:
    apt, root = Apt(base / "apt"), base / "root"
    root.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(apt.base / "debs")
    (apt.base / "debs").mkdir()
    for deb in apt.download(packages):
        commands.run(["dpkg", "-x", deb, root])
    # A library may itself need one: look until nothing is missing.
    fetched: set[str] = set()
    while names := sorted(set(_missing_under(root)) - fetched):
        unknown = [name for name in names if name not in LIBRARIES]
        if unknown:
            raise LocalClusterError(
                f"shared libraries {', '.join(unknown)} are missing and no package is known for them. Install them, or report this"
            )
        fetched.update(names)
        for deb in apt.download(sorted({LIBRARIES[name] for name in names})):
            commands.run(["dpkg", "-x", deb, root])


def _missing_under(root: Path) -> list[str]:
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(str(path) for path in library_dirs(root))}
    names: list[str] = []
    for _, inside, _ in UNPACKED.values():
        if (root / inside).is_file():
            done = subprocess.run(["ldd", str(root / inside)], env=env, capture_output=True, timeout=30, check=False)
            names += missing_libraries(done.stdout.decode(errors="replace"))
    return names


def _wrap(root: Path, bin_dir: Path, names: list[str]) -> None:
    bin_dir.mkdir(parents=True, exist_ok=True)
    for name in names:
        program = root / UNPACKED[name][1]
        if not program.is_file():
            raise LocalClusterError(
                f"the Debian package {UNPACKED[name][0]} of this machine has no {UNPACKED[name][1]}. Install {name} so that it is on PATH"
            )
        script = bin_dir / name
        script.write_text(wrapper(program, root, extra=_environment(name, root)))
        script.chmod(0o755)
