"""`kubectl llama plan` says whether a model fits, how it is split and what to change, and every wrong value in words."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.checkpoints import CONFIG, QUANTISED, file_of, tensors_of
from tests.harness.command import assert_refused, compare, run
from tests.harness.hub import FakeHub, Repo

from llama_operator.planning.fit.document import PlanDocument

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "deploy" / "examples"
FP8, BF16, H100 = "meta-llama/Llama-3.1-405B-Instruct-FP8", "meta-llama/Llama-3.1-405B", "nvidia-h100-80gb"
LARGE = ("plan", "--model", FP8, "--accelerator", H100)

QUESTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "405b-fp8-one-node": (0, (*LARGE, "--kv-cache-dtype", "fp8", "--gpu-hour-price", "2.5", "--read-rate", "2")),
    "405b-bf16-one-node": (2, ("plan", "--model", BF16, "--accelerator", H100, "--gpus-per-node", "8")),
    "405b-bf16-two-nodes": (0, ("plan", "--model", BF16, "--accelerator", H100, "--nodes", "2", "--rank", "throughput")),
    "70b-from-a-file": (0, ("plan", "-f", str(EXAMPLES / "llama-70b-tp4.yaml"))),
    "8b-a100-fp8-weight-only": (0, ("plan", "--model", "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8", "--accelerator", "nvidia-a100-40gb")),
    "1b-cpu": (0, ("plan", "--model", "meta-llama/Llama-3.2-1B", "--accelerator", "cpu", "--context", "8192")),
    "405b-hopeless": (2, ("plan", "--model", BF16, "--accelerator", "nvidia-l4-24gb", "--gpus-per-node", "1", "--concurrency", "1000")),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_as_agreed(name: str) -> None:
    status, argv = QUESTIONS[name]
    answer = run(*argv)
    assert (answer.status, answer.err) == (status, "")
    assert [line for line in answer.out.splitlines() if len(line) > 110 or line != line.rstrip()] == []
    compare(f"{name}.txt", answer.out)


@pytest.mark.parametrize("name", QUESTIONS)
def test_json_and_yaml_are_the_planners_document(name: str) -> None:
    status, argv = QUESTIONS[name]
    as_json, as_yaml = run(*argv, "-o", "json"), run(*argv, "--output", "yaml")
    assert (as_json.status, as_json.err, as_yaml.status, as_yaml.err) == (status, "", status, "")
    document = json.loads(as_json.out)
    assert yaml.safe_load(as_yaml.out) == document
    assert PlanDocument.model_validate(document, by_alias=True, by_name=False).verdict == ("fits" if status == 0 else "does_not_fit")


def test_where_only_ascii_can_be_shown_nothing_else_is() -> None:
    answer = run(*LARGE, encoding="ascii")
    assert answer.status == 0
    assert "\\u" not in answer.out
    assert "# weights 56.7  + overhead 3.0  = KV room 11.5  . free 7.9" in answer.out


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "nothing asked": (("plan",), ("--accelerator: nothing is given", "--model: nothing is given")),
    "no such model": (
        ("plan", "--model", "meta-llama/Llama-3.1-405b-fp9", "--accelerator", H100),
        ('--model: "meta-llama/Llama-3.1-405b-fp9" is given', "Did you mean meta-llama/Llama-3.1-405B-FP8?", "--read-hub"),
    ),
    "no hub's name": (("plan", "--model", "s3://b/x", "--accelerator", H100), ('--model: "s3://b/x" is given', "ORGANISATION/NAME")),
    "no such accelerator": (("plan", "--model", FP8, "--accelerator", "nvidia-h100"), ("--accelerator", "Did you mean nvidia-h100-80gb?")),
    "half a custom accelerator": (
        ("plan", "--model", FP8, "--accelerator", "mine", "--memory-gib", "100"),
        ("--bandwidth-gbps: nothing is given; allowed is a number of GB a second above 0. Give it.",),
    ),
    "no memory at all": ((*LARGE, "--memory-gib", "0"), ("--memory-gib: 0.0 is given",)),
    "texts for numbers, all told at once": (
        (*LARGE, "--nodes", "two", "--context", "128k", "--utilisation", "90%", "--tensor", "1.5", "--gpu-hour-price", "$2"),
        (
            '--nodes: "two"',
            '--context: "128k"',
            '--utilisation: "90%"',
            '--tensor: "1.5" is given; allowed is a whole number',
            '--gpu-hour-price: "$2"',
        ),
    ),
    "numbers out of bounds, all told at once": (
        (
            *LARGE,
            "--nodes",
            "0",
            "--context",
            "131073",
            "--utilization",
            "1.1",
            "--concurrency",
            "-3",
            "--overhead-gib",
            "-1",
            "--read-rate",
            "0",
        ),
        (
            '--nodes: "0" is given; allowed is a whole number from 1 to 64',
            '--context: "131073" is given; allowed is 1 to 131072, the model\'s max_position_embeddings. Lower it.',
            '--utilisation: "1.1" is given; allowed is a number above 0, at most 1',
            '--concurrency: "-3"',
            '--overhead-gib: "-1" is given; allowed is 0 or more',
            '--read-rate: "0"',
        ),
    ),
    "a negative price": ((*LARGE, "--gpu-hour-price=-2"), ('--gpu-hour-price: "-2" is given; allowed is a number above 0',)),
    "GPUs on a CPU": (
        ("plan", "--model", "meta-llama/Llama-3.2-1B", "--accelerator", "cpu", "--gpus-per-node", "1"),
        ('--gpus-per-node: "1" is given; allowed is 0 on a CPU',),
    ),
    "no GPUs": ((*LARGE, "--gpus-per-node", "0"), ('--gpus-per-node: "0" is given; allowed is a whole number from 1 to 64',)),
    "quantised twice": (
        (*LARGE, "--quantization", "fp8"),
        ('--quantization: "fp8" is given; allowed is nothing: the checkpoint is quantised',),
    ),
    "words that are none": (
        (*LARGE, "--rank", "speed", "--kv-cache-dtype", "int8", "--quantization", "awq"),
        (
            '--rank: "speed" is given; allowed is one of gpus, latency, throughput',
            '--kv-cache-dtype: "int8" is given; allowed is one of auto, float16, bfloat16, fp8, fp8_e4m3, fp8_e5m2',
            '--quantization: "awq" is given; allowed is fp8',
        ),
    ),
    "no such format": ((*LARGE, "-o", "xml"), ('--output: "xml" is given; allowed is table, json or yaml',)),
    "no such file": (
        ("plan", "-f", "/no/such/file"),
        ('--file: "/no/such/file" (No such file or directory) is given', "Correct the path."),
    ),
    "a folder": (("plan", "-f", "/"), ('--file: "/" (it is a folder) is given',)),
    "no such folder of a model": (("plan", "--model-path", "/no/such", "--accelerator", H100), ("--model-path", "holds no config.json")),
    "a volume that is not here": (
        ("plan", "-f", str(EXAMPLES / "llama-405b-fp8-tp8.yaml")),
        ("spec.model.source", "whose files are not on this machine", f"Add --model {FP8}, or --model-path"),
    ),
    "another's name": (("plan", "-f", str(EXAMPLES / "llama-70b-tp4.yaml"), "--name", "x"), ('--name: "x" is given', '"llama-70b"')),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_said_by_option_with_a_remedy(name: str) -> None:
    argv, says = REFUSED[name]
    assert_refused(argv, says)


def test_an_option_counts_more_than_the_file() -> None:
    path = str(EXAMPLES / "llama-405b-fp8-tp8.yaml")
    same, smaller = (
        run("plan", "-f", path, "--model", FP8, "-o", "json", *more)
        for more in ((), ("--context", "1000", "--accelerator", "nvidia-h200-141gb"))
    )
    first, second = json.loads(same.out), json.loads(smaller.out)
    assert (first["accelerator"], second["accelerator"]) == (H100, "nvidia-h200-141gb")
    assert second["chosen"]["requestsAtContext"] > 50 * first["chosen"]["requestsAtContext"]


def resource(name: str = "a", *, model: str = "hf://meta-llama/Llama-3.1-8B", **spec: Any) -> dict[str, Any]:
    whole = {"model": {"source": model, "licenseAccepted": True, "servedName": "Llama"}, "hardware": {"accelerator": H100}} | spec
    return {"apiVersion": "llama-operator.dev/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": name}, "spec": whole}


def stdin(*resources: dict[str, Any]) -> bytes:
    return yaml.safe_dump_all(resources).encode()


def test_a_file_is_asked_about_with_everything_that_its_engine_is_told() -> None:
    custom = {"accelerator": "ours", "gpusPerNode": 2, "custom": {"memoryGiB": 40, "memoryBandwidthGBps": 1000}}
    args = {"gpu_memory_utilization": 0.5, "quantization": "fp8"}
    told = resource(
        hardware=custom, engine={"args": args}, context={"maxTokens": 8192, "kvCacheDtype": "fp8"}, parallelism={"tensor": 2, "pipeline": 2}
    )
    document = json.loads(run("plan", "-f", "-", "-o", "json", stdin=stdin(told)).out)
    chosen = document["chosen"]
    assert (chosen["tensorParallel"], chosen["pipelineParallel"], chosen["nodes"], document["accelerator"]) == (2, 2, 2, "ours")
    asked = ("--tensor", "2", "--pipeline", "2", "--gpus-per-node", "2", "--utilisation", "0.5", "--quantization", "fp8")
    sizes = ("--accelerator", "ours", "--memory-gib", "40", "--bandwidth-gbps", "1000", "--context", "8192", "--kv-cache-dtype", "fp8")
    assert json.loads(run("plan", "--model", "meta-llama/Llama-3.1-8B", *asked, *sizes, "-o", "json").out) == document


def test_of_several_in_a_file_one_is_named() -> None:
    several = stdin(resource("a"), resource("b", parallelism={"tensor": 8}), {"apiVersion": "v1", "kind": "ConfigMap"})
    answer = run("plan", "-f", "-", stdin=several)
    assert answer.status == 1
    assert '2 LlamaDeployments ("a", "b") is given; allowed is one at a time. Say which by --name.' in answer.err
    assert json.loads(run("plan", "-f", "-", "--name", "b", "-o", "json", stdin=several).out)["chosen"]["tensorParallel"] == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "holds no LlamaDeployment"),
        (b"a: [", "<stdin>: line 1"),
        (b"\xff\xfe", "whose byte 1 is no UTF-8"),
        (stdin(resource(replicas=-1)), "spec.replicas: -1 is given; allowed is 0 or more"),
        (stdin(resource(hardware={"accelerator": "no-such"})), "--memory-gib and --bandwidth-gbps, or spec.hardware.custom"),
        (stdin(resource(engine={"args": {"gpu_memory_utilization": 7}})), "spec.engine.args.gpu_memory_utilization: 7"),
        (stdin(resource(context={"maxTokens": 200_000})), "spec.context.maxTokens: 200000 is given; allowed is 1 to 131072"),
    ],
)
def test_a_wrong_file_is_said_by_field(text: bytes, says: str) -> None:
    answer = run("plan", "-f", "-", stdin=text)
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "ours"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(file_of(tensors_of(CONFIG)))
    return path


def test_a_model_of_ones_own_is_known_from_its_headers_or_its_config_alone(folder: Path) -> None:
    headers = run("plan", "--model-path", str(folder), "--accelerator", H100)
    assert (headers.status, headers.err) == (0, "")
    assert "read from the headers of its files" in headers.out
    config = run("plan", "--model-path", str(folder / "config.json"), "--accelerator", H100)
    assert "computed from its config.json" in config.out
    assert config.out.splitlines()[0] == headers.out.splitlines()[0] == "ours on nvidia-h100-80gb, 8 to a node: fits"
    asked = [("--model-path", str(folder)), ("--model-path", str(folder / "config.json")), ("--model", "meta-llama/Llama-3.1-8B")]
    documents = [json.loads(run("plan", *which, "--accelerator", H100, "-o", "json").out) for which in asked]
    assert [document["knownFrom"] for document in documents] == ["checkpoint", "config", "catalogue"]


def test_the_type_of_the_kv_cache_is_the_one_that_is_counted(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": QUANTISED["compressed fp8 with a KV cache"]}))
    for wished in ("auto", "bfloat16"):
        answer = run("plan", "--model-path", str(folder / "config.json"), "--accelerator", H100, "--kv-cache-dtype", wished)
        assert "a KV cache in fp8, which the checkpoint brings" in answer.out


def test_a_config_that_is_none_is_said(folder: Path) -> None:
    for text, says in (("{", "which is not JSON"), ('{"architectures": ["Other"]}', "a model whose config.json is a Llama's")):
        (folder / "config.json").write_text(text)
        answer = run("plan", "--model-path", str(folder / "config.json"), "--accelerator", H100)
        assert answer.status == 1
        assert "--model-path: " in answer.err
        assert says in answer.err


def test_the_hub_is_asked_only_on_demand_and_with_the_users_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("plan", "--model", "org/llama", "--accelerator", H100)
    with FakeHub({"org/llama": Repo(files=Repo.of_folder(folder).files, tokens={"hf_secret"})}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert run(*asked).status == 1
        denied = run(*asked, "--read-hub")
        assert denied.status == 1
        assert "--model: " in denied.err
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        answer = run(*asked, "--read-hub")
    assert (answer.status, answer.err) == (0, "")
    assert "read from the headers of its files" in answer.out


def test_without_rich_a_table_is_refused_in_words_and_json_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the operator's image."""
    real = builtins.__import__

    def bare(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "rich":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", bare)
    answer = run(*LARGE)
    assert (answer.status, answer.out) == (1, "")
    assert "Install llama-operator[cli], or choose -o json." in answer.err
    assert run(*LARGE, "-o", "json").status == 0
