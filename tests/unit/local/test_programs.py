"""Where the local cluster's programs come from: four sources, in order."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from localcluster import programs
from localcluster.errors import DownloadRefused, MissingTool
from localcluster.progress import Progress
from localcluster.settings import Settings

QUIET = Progress(quiet=True)


def script(path: Path, says: str) -> Path:
    """A program that says its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


def fill_cache(settings: Settings) -> None:
    for program in programs.PROGRAMS.values():
        script(programs.cached_path(settings, program), "cached")


@pytest.mark.parametrize(
    ("sentence", "says", "source"),
    [
        ("the same minor version on PATH is used", "Kubernetes v1.34.9", "PATH"),
        ("an older minor version is left alone", "Kubernetes v1.32.4", "cache"),
        ("a longer minor version is another", "Kubernetes v1.340.1", "cache"),
        ("a program that says nothing is left alone", "", "cache"),
    ],
)
def test_path_comes_before_the_cache_when_its_version_is_right(
    tmp_path: Path, settings: Settings, sentence: str, says: str, source: str
) -> None:
    fill_cache(settings)
    script(tmp_path / "bin" / "kubelet", says)
    found = programs.ensure(settings, QUIET, {"PATH": str(tmp_path / "bin")})
    assert found.source["kubelet"] == source, sentence
    assert all(found.source[name] == "cache" for name in programs.PROGRAMS if name != "kubelet")


def test_kubebuilder_assets_come_before_path(tmp_path: Path, settings: Settings) -> None:
    fill_cache(settings)
    script(tmp_path / "bin" / "etcd", "etcd Version: 3.6.1")
    wanted = script(tmp_path / "assets" / "etcd", "etcd Version: 3.6.2")
    found = programs.ensure(settings, QUIET, {"PATH": str(tmp_path / "bin"), "KUBEBUILDER_ASSETS": str(tmp_path / "assets")})
    assert found["etcd"] == wanted


def test_a_download_is_kept_only_if_its_published_sum_is_right(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kubelet = programs.PROGRAMS["kubelet"]
    answers = {kubelet.url: b"binary", kubelet.checksum_url: hashlib.sha256(b"binary").hexdigest().encode()}
    monkeypatch.setattr(programs, "fetch", answers.__getitem__)
    target = programs.cached_path(settings, kubelet)
    programs.download(kubelet, target)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"binary", 0o755)
    target.unlink()
    answers[kubelet.url] = b"something else"
    with pytest.raises(DownloadRefused, match=r"SHA-256 is .*, published is"):
        programs.download(kubelet, target)
    assert not target.exists()


def test_a_program_is_taken_out_of_its_archive(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = programs.PROGRAMS["helm"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("linux-amd64/helm")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"helm"))
    body = buffer.getvalue()
    sums = f"{hashlib.sha256(body).hexdigest()}  helm-v{programs.HELM}-linux-amd64.tar.gz\n".encode()
    monkeypatch.setattr(programs, "fetch", {helm.url: body, helm.checksum_url: sums}.__getitem__)
    programs.download(helm, programs.cached_path(settings, helm))
    assert programs.cached_path(settings, helm).read_bytes() == b"helm"


def test_a_refusing_host_is_asked_once_and_then_everything_is_built_in_one_go(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    built: list[list[str]] = []

    def refuse(url: str) -> bytes:
        asked.append(url.split("/")[2])
        raise DownloadRefused(url)

    monkeypatch.setattr(programs, "fetch", refuse)
    monkeypatch.setattr(programs, "build", lambda _settings, wanted, _log: built.append([program.name for program in wanted]))
    found = programs.ensure(settings, QUIET, {})
    assert sorted(asked) == sorted(set(asked)), "six programs lie on dl.k8s.io, and it is asked once"
    assert built == [list(programs.PROGRAMS)]
    assert set(found.source.values()) == {"go build"}


def test_without_go_the_message_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingTool, match=r"kubelet: not on PATH .* install Go 1\.24 or newer"):
        programs.build(settings, [programs.PROGRAMS["kubelet"]], settings.cache / "log")


@pytest.mark.parametrize(
    ("sentence", "text", "want"),
    [
        ("a bare sum", "a" * 64, "a" * 64),
        ("a list of sums", f"{'b' * 64}  other.tar.gz\n{'c' * 64}  f.tar.gz\n", "c" * 64),
        ("binary mode's star", f"{'d' * 64} *f.tar.gz", "d" * 64),
        ("a release path before the name", f"{'e' * 64}  build/f.tar.gz", "e" * 64),
    ],
)
def test_checksum_files_are_read_in_every_form_that_is_published(sentence: str, text: str, want: str) -> None:
    assert programs.expected_sum(text, "f.tar.gz") == want, sentence


def test_a_page_instead_of_a_checksum_is_no_checksum() -> None:
    with pytest.raises(DownloadRefused, match="no SHA-256 of f"):
        programs.expected_sum("<html>sign in</html>", "f")


def test_the_module_pins_the_versions_that_the_cache_is_named_by() -> None:
    pinned = (programs.MODULE / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{programs.KUBERNETES}" in pinned
    assert f"go.etcd.io/etcd/server/v3 v{programs.ETCD}" in pinned
    assert f"github.com/coredns/coredns v{programs.COREDNS}" in pinned
    assert f"helm.sh/helm/v3 v{programs.HELM}" in pinned
