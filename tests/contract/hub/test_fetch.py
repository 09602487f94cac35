"""Downloading an hf:// model, against a hub that the tests serve: what is resumed, what is refused, and in which words."""

from __future__ import annotations

import fcntl
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.hub import FakeHub, Faults, Repo

from llama_serving.agent import model as agent_model
from llama_serving.checkpoint import CheckpointError
from llama_serving.config import ServingConfig
from llama_serving.fetch import LISTING_LIMIT, LOCK, MARKER, PARTIAL_DIR, FetchStopped, RetryPolicy, fetch

TOKEN = "hf_this-token-must-never-be-told"
WEIGHTS = hashlib.shake_256(b"weights").digest(3_000_000)
FILES = {
    "config.json": json.dumps({"architectures": ["LlamaForCausalLM"]}).encode(),
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "README.md": b"not needed",
    "pytorch_model.bin": b"not needed",
    "consolidated.safetensors": b"the same weights again",
}
WANTED = {"config.json", "tokenizer.json", "model.safetensors"}
QUICK = RetryPolicy(attempts=3, base=0.01, cap=0.05, read_timeout=2)


def config(source: str = "hf://org/llama", revision: str | None = None) -> ServingConfig:
    return ServingConfig(deployment="d", namespace="n", revision="0123456789", source=source, served_name="d", model_revision=revision)


class Download:
    """One hub, and downloads from it."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repo = Repo(files=dict(FILES))
        self.hub = FakeHub({"org/llama": self.repo}, Faults())
        self.dest = tmp_path / "models" / "hf" / "org--llama" / "main"
        self.progress: list[tuple[int, int]] = []
        monkeypatch.setenv("HF_ENDPOINT", self.hub.url)

    def run(
        self,
        *,
        token: str | None = None,
        policy: RetryPolicy = QUICK,
        source: str = "hf://org/llama",
        revision: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        fetch(config(source, revision), str(self.dest), token, lambda *told: self.progress.append(told), policy=policy, stop=stop)

    def refused(self, **options: str | None) -> CheckpointError:
        with pytest.raises(CheckpointError) as error:
            self.run(**options)  # type: ignore[arg-type] -- the options of run
        assert TOKEN not in str(error.value)
        return error.value

    def refused_after_one_attempt(self) -> CheckpointError:
        with pytest.raises(CheckpointError) as error:
            self.run(policy=RetryPolicy(attempts=1))
        return error.value

    def names(self) -> set[str]:
        return {path.name for path in self.dest.iterdir()} - {MARKER, LOCK}


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Download]:
    made = Download(tmp_path, monkeypatch)
    with made.hub:
        yield made


def test_what_an_engine_reads_is_downloaded_and_nothing_else(download: Download) -> None:
    download.run()
    assert download.names() == WANTED
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    total = sum(len(FILES[name]) for name in WANTED)
    assert download.progress[-1] == (total, total)


def test_a_finished_download_asks_the_hub_nothing_more(download: Download) -> None:
    download.run()
    before = len(download.hub.seen)
    download.run()
    assert len(download.hub.seen) == before
    assert download.progress[-1][0] == download.progress[-1][1] > 0


def test_a_finished_folder_that_lost_a_file_is_not_believed(download: Download) -> None:
    download.run()
    (download.dest / "model.safetensors").unlink()
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_a_connection_cut_half_way_is_resumed_with_a_range(download: Download, hard: bool) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after, download.hub.faults.cut_hard = 1, 1_500_000, hard
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    first, second = download.hub.bodies("model.safetensors")
    assert first.range is None
    assert second.status == 206
    assert second.range is not None
    assert 0 < int(second.range.removeprefix("bytes=").rstrip("-")) <= 1_500_000


def test_a_download_that_was_given_up_is_resumed_by_the_next(download: Download) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after = 1, 1_000_000
    assert download.refused_after_one_attempt().reason == "HubUnreachable"
    assert not (download.dest / MARKER).exists()
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    assert download.hub.bodies("model.safetensors")[-1].range == "bytes=1000000-"


def test_each_new_byte_gives_new_attempts(download: Download) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after = 10, 250_000
    download.run(policy=QUICK)  # three attempts, ten cuts
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    assert len(download.hub.bodies("model.safetensors")) == 11


def test_a_hub_that_knows_no_range_is_read_from_the_start_again(download: Download) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after, download.hub.faults.ignore_range = 1, 1_000_000, True
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_file_is_downloaded_again(download: Download) -> None:
    download.hub.faults.damaged = 1
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_stays_damaged_is_told_with_both_hashes(download: Download) -> None:
    download.hub.faults.damaged = 1000
    error = download.refused()
    assert (error.reason, error.retryable) == ("HubUnreachable", True)
    assert hashlib.sha256(WEIGHTS).hexdigest() in error.message
    assert not (download.dest / "model.safetensors").exists()


def test_an_interrupted_download_of_another_commit_is_not_mixed_in(download: Download) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after = 1, 1_000_000
    download.refused_after_one_attempt()
    changed = b'{"other":true}'.ljust(len(FILES["config.json"]))
    download.repo.commit = "f" * 40
    download.repo.files |= {"config.json": changed, "model.safetensors": WEIGHTS[::-1]}
    download.run()
    assert (download.dest / "config.json").read_bytes() == changed
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS[::-1]


def test_too_many_requests_are_waited_out_as_the_hub_says(download: Download) -> None:
    download.hub.faults.rate_limited, download.hub.faults.retry_after = 2, 1
    started = time.monotonic()
    download.run()
    assert time.monotonic() - started >= 2
    assert [seen.status for seen in download.hub.seen[:3]] == [429, 429, 200]


def test_a_hub_that_never_stops_refusing_is_named_rate_limited(download: Download) -> None:
    download.hub.faults.rate_limited, download.hub.faults.retry_after = 1000, None
    error = download.refused()
    assert (error.reason, error.retryable) == ("HubRateLimited", True)
    assert len(download.hub.seen) == QUICK.attempts


def test_a_server_error_passes(download: Download) -> None:
    download.hub.faults.server_errors = 2
    download.run()
    assert download.names() == WANTED


def test_a_gated_model_without_a_token_says_where_to_accept_the_licence(download: Download) -> None:
    download.repo.tokens = {TOKEN}
    error = download.refused()
    assert (error.reason, error.retryable) == ("HubUnauthorized", False)
    assert f"Accept the licence at {download.hub.url}/org/llama and set spec.model.tokenSecretRef" in error.message


def test_a_gated_model_with_its_token_is_downloaded(download: Download) -> None:
    download.repo.tokens = {TOKEN}
    download.run(token=f"{TOKEN}\n")  # as `kubectl create secret --from-file` stores it
    assert download.names() == WANTED


def test_a_token_without_access_is_refused_without_telling_it(download: Download) -> None:
    download.repo.tokens = {"another"}
    error = download.refused(token=TOKEN)
    assert error.reason == "HubUnauthorized"
    assert "no access" in error.message


def test_a_token_that_no_header_can_hold_is_refused_without_telling_it(download: Download) -> None:
    error = download.refused(token=f"{TOKEN} {TOKEN}")
    assert error.reason == "HubUnauthorized"
    assert not download.hub.seen


def test_the_token_goes_to_the_hub_and_not_to_its_content_network(download: Download) -> None:
    download.repo.tokens, download.hub.faults.to_other_host = {TOKEN}, True
    download.run(token=TOKEN)
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    elsewhere = [seen for seen in download.hub.seen if seen.host.startswith("localhost")]
    assert elsewhere
    assert all(seen.authorization is None for seen in elsewhere)
    assert all(seen.authorization == f"Bearer {TOKEN}" for seen in download.hub.seen if seen not in elsewhere)


@pytest.mark.parametrize(
    ("source", "revision", "token", "reason", "words"),
    [
        ("hf://org/other", None, TOKEN, "HubNotFound", "hf://org/other is not on"),
        ("hf://org/other", None, None, "HubUnauthorized", "the hub says the same of a model that does not exist"),
        ("hf://org/llama", "v9", None, "HubNotFound", "has no revision v9"),
    ],
)
def test_what_is_not_there_is_named(
    download: Download, source: str, revision: str | None, token: str | None, reason: str, words: str
) -> None:
    error = download.refused(source=source, revision=revision, token=token)
    assert (error.reason, error.retryable) == (reason, False)
    assert words in error.message


def test_a_repository_without_weights_is_refused(download: Download) -> None:
    del download.repo.files["model.safetensors"]
    error = download.refused()
    assert error.reason == "ModelNotFound"
    assert "no *.safetensors" in error.message


def test_a_hub_that_is_not_there_is_unreachable(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    error = download.refused(token=TOKEN)
    assert (error.reason, error.retryable) == ("HubUnreachable", True)
    assert "http://127.0.0.1:1 cannot be reached for hf://org/llama" in error.message


def test_a_wrong_endpoint_is_named_at_once(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    assert "HF_ENDPOINT is 'hub.example'" in download.refused().message


def test_a_full_disk_is_said_before_the_download(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000})())
    error = download.refused()
    assert error.reason == "DiskFull"
    assert "has room for 1000 bytes" in error.message
    assert not download.hub.bodies("model.safetensors")


def test_a_disk_that_fills_up_on_the_way_is_said(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")  # every write to it fails as on a full disk
    if not full.is_char_device():
        pytest.skip("this system has no /dev/full")
    download.dest.joinpath(PARTIAL_DIR).mkdir(parents=True)
    digest = hashlib.sha256(WEIGHTS).hexdigest()[:16]
    download.dest.joinpath(PARTIAL_DIR, f"model.safetensors.{digest}").symlink_to(full)
    error = download.refused()
    assert (error.reason, error.retryable) == ("DiskFull", False)
    assert "the disk is full" in error.message


def test_progress_grows_while_a_slow_hub_sends(download: Download) -> None:
    download.hub.faults.bytes_per_second = 2_000_000
    download.run()
    told = [done for done, _ in download.progress]
    assert told == sorted(told)
    assert any(0 < done < told[-1] for done in told)


def test_two_downloads_into_one_folder_both_end_well(download: Download) -> None:
    errors: list[BaseException] = []

    def one() -> None:
        try:
            download.run()
        except BaseException as error:  # noqa: BLE001 -- told to the test's thread
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS


def test_a_download_stops_when_told_and_keeps_what_it_has(download: Download) -> None:
    download.hub.faults.bytes_per_second = 1_000_000
    stop = threading.Event()
    with pytest.raises(FetchStopped):  # told when some of the weights are there
        fetch(config(), str(download.dest), None, lambda done, _: stop.set() if done > 100_000 else None, policy=QUICK, stop=stop)
    assert any(path.stat().st_size for path in (download.dest / PARTIAL_DIR).glob("model.safetensors.*"))


def test_a_pod_that_is_told_to_end_stops_its_download(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServingConfig, "model_path", lambda _: str(download.dest))
    download.hub.faults.bytes_per_second = 1_000_000
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    cause = agent_model.download(config(), None, lambda _done, _total: None, stop)
    assert cause is not None
    assert (cause.retryable, "was stopped" in cause.message) == (True, True)


def test_a_download_that_waits_for_another_tells_its_progress_and_stops_when_told(download: Download) -> None:
    download.dest.mkdir(parents=True)
    stop = threading.Event()
    with (download.dest / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(FetchStopped):
            download.run(stop=stop)
    assert download.progress[0][0] == 0 < download.progress[0][1]


@pytest.mark.parametrize(
    "listing",
    [
        b"<html>welcome to the hotel's network</html>",
        b"[]",
        b"[" * 100_000,
        b'{"sha": "0123456789"}',
        b'{"siblings": []}',
        b'{"sha": "../../etc", "siblings": []}',
        b'{"sha": "0123456789", "siblings": [{"rfilename": "config.json"}]}',
        b" " * (LISTING_LIMIT + 1),
    ],
    ids=["a page", "a list", "deep", "no files", "no commit", "odd commit", "no size", "huge"],
)
def test_what_is_no_hub_is_named_so(download: Download, listing: bytes) -> None:
    download.hub.faults.listing = listing
    error = download.refused()
    assert (error.reason, error.retryable) == ("HubUnreachable", True)
    assert "does not answer as a hub does" in error.message
    assert "Check HF_ENDPOINT" in error.message


def test_an_answer_from_another_place_of_the_file_is_not_appended(download: Download) -> None:
    download.hub.faults.cuts, download.hub.faults.cut_after, download.hub.faults.odd_ranges = 1, 1_000_000, True
    assert "Content-Range" in download.refused().message


def test_a_partial_file_that_is_too_long_starts_again(download: Download) -> None:
    (download.dest / PARTIAL_DIR).mkdir(parents=True)
    digest = hashlib.sha256(WEIGHTS).hexdigest()[:16]
    (download.dest / PARTIAL_DIR / f"model.safetensors.{digest}").write_bytes(WEIGHTS + b"x")
    download.run()
    assert (download.dest / "model.safetensors").read_bytes() == WEIGHTS
    assert download.hub.bodies("model.safetensors")[0].range is None


def test_a_file_that_is_longer_than_listed_is_not_taken(download: Download) -> None:
    listing = {"sha": download.repo.commit, "siblings": [{"rfilename": "model.safetensors", "size": 1000}]}
    download.hub.faults.listing = json.dumps(listing).encode()
    assert "of 1000 bytes" in download.refused().message
