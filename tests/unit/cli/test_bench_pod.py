"""What of a load test runs in the cluster: the program that starts the tool, and the pod around it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.bench import ASKED, rich_pod
from tests.harness.cluster import deployment
from tests.harness.command import compare
from tests.harness.openai import endpoint

from llama_operator.cli import bench_driver
from llama_operator.cli.bench_job import job
from llama_operator.cli.bench_log import read_log
from llama_operator.rendering import names


def test_prompts_are_the_same_for_a_seed_and_unlike_for_another() -> None:
    def hashes(seed: int, index: int) -> list[int]:
        plan = {"seed": seed, "inputTokens": 9, "outputTokens": 3}
        return [line["hash_ids"][0] for line in bench_driver.trace(plan, index, {"requests": 50})]

    assert hashes(1, 0) == hashes(1, 0)
    assert len({*hashes(1, 0), *hashes(1, 1), *hashes(2, 0)}) == 150


TOOL = """
import json, sys
sys.stderr.write("\\r 50%|#####     | 1/2 [00:00<00:00]\\r100%|##########| 2/2 [00:01<00:00]\\n")
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
lines = open(options["--dataset-path"]).read().splitlines()
result = {"duration": 1.0, "completed": 2, "generated_texts": ["canary"], "p50_itl_ms": 10.0, "mean_itl_ms": 10.0,
  "start_times": [5.0, 5.5], "ttfts": [0.1, 0.2], "itls": [[0.01, 0.01], [0.01, 0.01]], "input_lens": [4, 4], "output_lens": [3, 3],
  "errors": ["", ""], "asked": len(lines)}
json.dump(result, open(options["--result-dir"] + "/result.json", "w"))
"""


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    made = {"model": "demo", "seed": 1, "inputTokens": 4, "outputTokens": 3, "runs": [{"requests": 2, "rate": None, "concurrency": 1}]}
    monkeypatch.setattr(bench_driver, "START", TOOL)
    monkeypatch.setattr(bench_driver, "_version", lambda: "0.29.0")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    return made


def drive(plan: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setenv(bench_driver.VARIABLE, json.dumps({**plan, "url": url.removesuffix("/v1")}))
    return bench_driver.main(), capsys.readouterr().out


def test_the_tool_is_run_and_its_result_told_without_the_answers(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint([b'{"usage": {"prompt_tokens": 4}}']) as server:
        status, out = drive(plan, server.url, monkeypatch, capsys)
    assert status == 0
    log = read_log(out.splitlines())
    found = log.result(0)
    assert found is not None
    assert found["numbers"]["asked"] == 2
    assert found["requests"] == [[0.0, 0.1, 0.12, 4, 3], [0.5, 0.2, 0.22, 4, 3]]
    assert "canary" not in json.dumps(found)
    assert log.done == (0, 1, 2)
    (asked,) = server.asked
    assert (len(asked["prompt"]), asked["max_tokens"], asked["ignore_eos"], asked["stream"]) == (4, 3, True, True)


def test_a_small_vocabulary_gets_small_tokens_and_a_refusal_is_told(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint([b'{"error": {"message": "the context is 8 tokens"}}'], 400) as server:
        status, out = drive(plan, server.url, monkeypatch, capsys)
    assert status == 1
    assert [max(asked["prompt"]) < 256 for asked in server.asked] == [False, True]
    assert 'the endpoint refused the first request: 400 {"error": {"message": "the context is 8 tokens"}}' in (
        read_log(out.splitlines()).failed or ""
    )


def test_a_tool_that_fails_or_is_not_there_is_told(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint([b"{}"]) as server:
        monkeypatch.setattr(bench_driver, "START", "raise SystemExit('no module named vllm')")
        _, out = drive(plan, server.url, monkeypatch, capsys)
        assert read_log(out.splitlines()).failed == "vllm bench serve ended with status 1; it said last:\nno module named vllm"
        monkeypatch.setattr(bench_driver, "START", "pass")
        _, out = drive(plan, server.url, monkeypatch, capsys)
        assert "wrote no result" in (read_log(out.splitlines()).failed or "")
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "*")
    assert "the serving image has no vLLM" in (
        read_log(drive(plan, "http://127.0.0.1:9", monkeypatch, capsys)[1].splitlines()).failed or ""
    )


def test_it_stands_alone() -> None:
    """Its text is all that the pod gets."""
    text = Path(bench_driver.__file__).read_text(encoding="utf-8")
    imported = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert set(imported) - {"vllm"} <= sys.stdlib_module_names  # vLLM by the program that it starts
    assert "$(" not in text  # Kubernetes would put a variable there
    assert len(text) < 100_000  # one argument of a program may have 131,072 bytes: execve(2)


def manifest() -> dict[str, Any]:
    name = names.bench_job("demo", "1234abcd")
    return job(deployment(), rich_pod(), ASKED, name=name, model="demo", driver="(the driver)", variable="LLAMA_BENCH")


def test_the_pod_has_what_the_serving_pods_have_and_nothing_secret() -> None:
    compare("bench-job.yaml", yaml.safe_dump(manifest(), sort_keys=False, width=110))
    assert "canary" not in json.dumps(manifest())


def test_a_models_name_is_no_variable() -> None:
    made = job(deployment(), rich_pod(), ASKED, name="x", model="$(PATH)", driver="", variable="LLAMA_BENCH")
    assert '"model": "$$(PATH)"' in made["spec"]["template"]["spec"]["containers"][0]["env"][-1]["value"]


def test_the_job_is_no_part_of_the_deployment_and_its_name_fits_a_label() -> None:
    labels = manifest()["spec"]["template"]["metadata"]["labels"]
    assert names.LABEL_DEPLOYMENT not in labels
    assert len(names.bench_job("a" * 63, "1234abcd")) + len("-abcde") <= 63
