"""`kubectl llama why`: sentences and tables from documents, in the states that somebody asks about at night; and what cannot be answered."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tests.harness.command import assert_refused, compare, run
from tests.harness.kubectl import Scripted, refused
from tests.harness.llamas import CHANGES, DAY, NOW, SCALING, conditions, event, llama
from tests.unit.cli.test_commands import HEAVY, imported_by

from llama_operator.adapters import kubectl
from llama_operator.cli.moments import ago, read_moment, seconds_at, stamp, told
from llama_operator.cli.output import PLAIN_WIDTH, write_tables
from llama_operator.cli.why_answer import explain, in_force, merged
from llama_operator.cli.why_table import tables

LOADING = {
    "gang": 1,
    "phase": "LoadingWeights",
    "percent": 42.0,
    "message": "loading weights: 42 % of 453.8 GiB",
    "since": f"{DAY}15:11:00Z",
}
READY = {"gang": 0, "phase": "Ready", "message": "", "since": f"{DAY}14:13:20Z"}
PLACE = "1 of 4 replicas wait for a place; each needs 8 GPUs on one node; free are 4 on node-a, 4 on node-b; it starts by itself when they come free"

STORIES: dict[str, dict[str, Any]] = {
    "steady": llama(),
    "scaling-up": llama(
        phase="Scaling",
        ready="1/4",
        replicas=[READY, LOADING, LOADING | {"gang": 2, "phase": "Pending", "percent": None, "message": "0/2 nodes are available"}],
        conditions=conditions(
            Available=("True", "Serving", "1 of 4 wanted replicas serve"),
            Progressing=("True", "WaitingForGpus", PLACE),
            Scaling=(
                "True",
                "ScaledUp",
                "310 requests in hand, at 64 a replica that is 5; bounded to 4 by maxReplicas of window day; from 2 to 4",
            ),
        ),
        autoscaling=SCALING
        | {
            "desiredReplicas": 4,
            "currentReplicas": 3,
            "loadingReplicas": 2,
            "askedReplicas": 5,
            "openWindows": ["day"],
            "reason": "ScaledUp",
            "message": "310 requests in hand, at 64 a replica that is 5; bounded to 4 by maxReplicas of window day; from 2 to 4",
            "votes": [
                {"signal": "requests", "value": 310.0, "replicas": 4.844, "ageSeconds": 4.0},
                {"signal": "prompts", "value": 8123.4, "replicas": 1.66, "ageSeconds": 4.0},
                {"signal": "cache", "ageSeconds": 4.0},
                {"signal": "firstToken", "value": 4.375, "replicas": 1.66, "ageSeconds": 11.0},
            ],
            "cappedBy": [
                {"by": "window", "message": "5 would do; maxReplicas of window day allows 4"},
                {"by": "placement", "message": PLACE},
            ],
            "changes": [
                {"time": f"{DAY}15:12:00Z", "from": 2, "to": 4, "reason": "ScaledUp", "message": "310 requests in hand; from 2 to 4"},
                *CHANGES,
            ],
        },
    ),
    "blind": llama(
        conditions=conditions(
            Scaling=("False", "Holding", "holding at 2: Prometheus does not answer"),
            MetricsAvailable=("False", "PrometheusUnreachable", "Prometheus at http://prometheus:9090: ConnectTimeout"),
        ),
        autoscaling={key: value for key, value in SCALING.items() if key != "askedReplicas"}
        | {"reason": "Holding", "message": "holding at 2: Prometheus does not answer", "votes": [], "signals": []},
    ),
    "contested": llama(
        conditions=conditions(ScalingContested=("True", "ForeignWriter", "kubectl set spec.replicas to 3 through the scale subresource"))
    ),
    "out-of-memory": llama(
        phase="Failed",
        ready="0/1",
        spec={"replicas": 1},
        replicas=[READY | {"phase": "Failed", "message": "torch.OutOfMemoryError: lower spec.context.maxTokens"}],
        autoscaling=None,
        conditions=conditions(
            Available=("False", "OutOfMemory", "the engine needs 12 GiB more: lower spec.context.maxTokens"),
            Progressing=("False", "RetriesExhausted", "6 attempts failed, none follows until the spec changes"),
            Scaling=("False", "Disabled", "spec.autoscaling is absent; spec.replicas counts"),
            MetricsAvailable=None,
            ScalingContested=None,
        ),
    ),
    "refused": llama(
        phase="Invalid",
        conditions=conditions(
            Accepted=("False", "Invalid", "spec.parallelism.tensor: 3 is given; allowed is 1, 2, 4, 8. Choose one of these.")
        ),
    ),
    "unseen": llama() | {"status": {}},
    "idle": llama(
        phase="Idle",
        ready="0/0",
        spec={"replicas": 0},
        replicas=[],
        autoscaling=None,
        conditions=conditions(
            Available=("False", "ScaledToZero", "no replica is wanted"),
            Scaling=("False", "Disabled", "spec.autoscaling is absent; spec.replicas counts"),
            MetricsAvailable=None,
        ),
    ),
}


def shown(answer: dict[str, Any]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=PLAIN_WIDTH, highlight=False, emoji=False, markup=False)
    write_tables(console, tables(answer, NOW))
    return out.getvalue()


@pytest.mark.parametrize("story", STORIES)
def test_each_story_is_told_as_agreed(story: str) -> None:
    compare(f"why-{story}.txt", shown(explain(STORIES[story], NOW)))


@pytest.mark.parametrize(
    ("story", "order"),
    [
        ("steady", []),
        ("idle", []),
        ("scaling-up", ["Progressing"]),
        ("blind", ["MetricsAvailable", "Scaling"]),
        ("contested", ["ScalingContested"]),
        ("out-of-memory", ["Available", "Progressing"]),
        ("refused", ["Accepted"]),
        ("unseen", ["Operator"]),
    ],
)
def test_what_is_not_good_is_named_in_the_order_in_which_it_must_be_mended(story: str, order: list[str]) -> None:
    assert [item["condition"] for item in explain(STORIES[story], NOW)["problems"]] == order


def test_a_status_that_is_behind_the_spec_is_said_to_be() -> None:
    (problem,) = explain(llama(observedGeneration=2), NOW)["problems"]
    assert problem["message"] == "the status is of generation 2 of the spec, which is at 3: the last edit was not looked at yet"


@pytest.mark.parametrize("junk", [{}, {"status": 3}, {"status": {"conditions": "x", "replicas": {}, "autoscaling": []}, "spec": None}])
def test_an_odd_document_is_no_traceback(junk: dict[str, Any]) -> None:
    assert shown(explain(junk | {"metadata": {"name": "a", "namespace": "b"}}, NOW, at=NOW))


AT = {
    "now": (f"{DAY}15:13:20Z", "2 were wanted then, since 14:58:10 UTC (15m10s ago): 92 requests in hand"),
    "between two changes": (f"{DAY}14:00:00Z", "1 was wanted then, since 13:20:00 UTC (1h53m ago): 12 requests in hand"),
    "at the very moment": (f"{DAY}13:20:00Z", "1 was wanted then"),
    "before the first": (
        f"{DAY}12:00:00Z",
        "further back than what is kept: the oldest change is of 13:20:00 UTC (1h53m ago); until then 3",
    ),
    "before it was made": (f"{DAY}07:00:00Z", "it did not exist then: it was made at 08:00:00 UTC"),
}


@pytest.mark.parametrize(("moment", "says"), AT.values(), ids=AT)
def test_the_change_that_was_in_force_is_told_or_that_it_is_not_kept(moment: str, says: str) -> None:
    answer = explain(llama(), NOW, at=seconds_at(moment), events=[])["at"]
    assert says in answer["message"]
    assert (answer["change"] is not None) == ("wanted then" in says)


def test_what_was_there_at_a_change_is_told_as_of_its_moment_and_not_as_of_now() -> None:
    answer = explain(llama(), NOW, at=seconds_at(f"{DAY}15:00:00Z"), events=[])
    then = answer["at"]["scaling"]
    assert {name: then[name] for name in ("kept", "desiredReplicas", "askedReplicas", "currentReplicas", "observedTime")} == {
        "kept": True,
        "desiredReplicas": 2,
        "askedReplicas": 3,
        "currentReplicas": 1,
        "observedTime": f"{DAY}14:58:10Z",
    }
    assert (then["votes"], then["cappedBy"]) == (CHANGES[0]["votes"], CHANGES[0]["cappedBy"])
    assert [item["time"] for item in then["changes"]] == [item["time"] for item in CHANGES]
    text = shown(answer)
    assert "90 in hand" not in text, "that is measured now"
    compare("why-at-kept.txt", text)


def test_a_change_of_which_the_words_alone_were_kept_is_said_to_be_one() -> None:
    moment = seconds_at(f"{DAY}14:00:00Z")
    answer = explain(llama(), NOW, at=moment, events=[])
    assert (answer["at"]["scaling"]["kept"], answer["at"]["scaling"]["votes"]) == (False, [])
    assert "was not kept with this change" in " ".join(shown(answer).split())
    gone = explain(llama(autoscaling=SCALING | {"changes": []}), NOW, at=moment, events=[event(f"{DAY}13:00:00Z", "from 1 to 2")])
    assert "was not kept with this change" in " ".join(shown(gone).split())


def test_a_change_that_was_made_blind_has_no_votes_and_is_kept_all_the_same() -> None:
    blind = {key: value for key, value in CHANGES[0].items() if key != "askedReplicas"} | {"votes": [], "cappedBy": []}
    text = shown(explain(llama(autoscaling=SCALING | {"changes": [blind]}), NOW, at=NOW, events=[]))
    assert "asked for  not known: nothing could be seen" in text
    assert "not kept" not in text
    assert "what each signal asked for" not in text


@pytest.mark.parametrize("junk", [{"votes": 3, "cappedBy": "x"}, {"votes": [3, None], "cappedBy": {}}, {"currentReplicas": None}])
def test_a_change_that_somebody_spoilt_is_no_traceback(junk: dict[str, Any]) -> None:
    text = shown(explain(llama(autoscaling=SCALING | {"changes": [CHANGES[0] | junk]}), NOW, at=NOW, events=[]))
    assert "why 2 were wanted" in text


def test_events_tell_of_changes_that_the_status_no_longer_holds() -> None:
    told_by_events = [
        event(f"{DAY}12:00:00Z", "70 requests in hand, at 64 a replica that is 2; from 2 to 3"),
        event(f"{DAY}12:30:00Z", "from 8 to 9 of another of that name", uid="other"),
        event(f"{DAY}12:40:00Z", "pod x was made from 7 to 8", reason="Created"),
        event(f"{DAY}14:58:10Z", "92 requests in hand, at 64 a replica that is 2; from 1 to 2"),
    ]
    answer = explain(llama(), NOW, at=seconds_at(f"{DAY}12:59:00Z"), events=told_by_events)["at"]
    assert (answer["source"], answer["change"]["from"], answer["change"]["to"]) == ("event", 2, 3)
    assert "From an Event" in shown(explain(llama(), NOW, at=seconds_at(f"{DAY}12:59:00Z"), events=told_by_events))


def test_an_event_that_was_counted_again_is_two_changes() -> None:
    again = event(f"{DAY}12:00:00Z", "from 1 to 2", last=f"{DAY}12:30:00Z")
    assert [item["time"] for item in merged([], [again])] == [f"{DAY}12:30:00Z", f"{DAY}12:00:00Z"]


def test_without_any_change_there_is_nothing_to_tell() -> None:
    assert in_force([], NOW, NOW, created=None)["message"] == "no change of the wanted number is kept, in the status or in Events"


def test_events_that_may_not_be_read_are_said_not_to_have_been() -> None:
    assert "Events could not be read" in explain(llama(), NOW, at=NOW, events=None)["at"]["note"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-21T15:00:00Z", "2026-09-21T15:00:00Z"),
        ("2026-09-21T17:00:00+02:00", "2026-09-21T15:00:00Z"),
        ("2026-09-21 15:00", "2026-09-21T15:00:00Z"),
        ("2026-09-21", "2026-09-21T00:00:00Z"),
        ("15:13", "2026-09-21T15:13:00Z"),
        ("15:14", "2026-09-20T15:14:00Z"),
        ("15:13:20", "2026-09-21T15:13:20Z"),
        ("10m", "2026-09-21T15:03:20Z"),
        ("1h30m", "2026-09-21T13:43:20Z"),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, moment: str) -> None:
    read = read_moment(text, NOW)
    assert read is not None
    assert stamp(read) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "15", "10 minutes", "2026-13-01", "0001-01-01T00:00:00+23:00", "99999h99999h"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_moment(text, NOW) is None


def test_times_are_told_with_how_long_ago_they_were() -> None:
    assert told(NOW - 75, NOW) == "15:12:05 UTC (1m15s ago)"
    assert told(NOW - 86_400, NOW) == "2026-09-20 15:13:20 UTC (24h ago)"
    assert [ago(seconds) for seconds in (0, 59.9, 3 * 86_400, -1)] == ["0s ago", "59s ago", "3 days ago", "in the future"]


def test_the_page_shows_what_the_command_says() -> None:
    """The other pages' commands are run; this one asks a cluster."""
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"```text\n{shown(explain(STORIES['scaling-up'], NOW))}```" in page
    assert f"```text\n{shown(explain(llama(), NOW, at=seconds_at(f'{DAY}15:00:00Z'), events=[]))}```" in page


# The command.

HERE = "/apis/llama-operator.dev/v1alpha1/namespaces/llm/llamadeployments"
EVENTS = "/api/v1/namespaces/llm/events?limit=500&fieldSelector=involvedObject.kind%3DLlamaDeployment%2CinvolvedObject.name%3Dllama-405b"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A kubectl whose cluster holds one LlamaDeployment, at a fixed time."""
    answers = {
        f"{HERE}/llama-405b": llama(),
        EVENTS: {"items": []},
        "--output=jsonpath={..namespace}": "llm",
        f"{HERE}/nope": refused('Error from server (NotFound): llamadeployments.llama-operator.dev "nope" not found'),
        f"{HERE}?limit=500": {"items": [llama()]},
        "/apis/llama-operator.dev/v1alpha1/llamadeployments?limit=500": {"items": [llama()]},
    }
    scripted = Scripted(answers)
    monkeypatch.setattr(kubectl, "start", scripted)
    monkeypatch.setattr(time, "time", lambda: NOW)
    return scripted


def test_the_command_asks_for_one_object_and_shows_it(asked: Scripted) -> None:
    answer = run("why", "llama-405b", "-n", "llm", "--context", "prod")
    assert (answer.status, answer.err) == (0, "")
    compare("why-steady.txt", answer.out)
    (command,) = asked.asked
    assert "--context=prod" in command
    assert "get" in command


def test_with_a_time_it_asks_for_events_too(asked: Scripted) -> None:
    answer = run("why", "llama-405b", "--at", "14:00")
    assert (answer.status, answer.err) == (0, "")
    compare("why-at.txt", answer.out)


def test_as_json_and_yaml_it_is_the_same_document(asked: Scripted) -> None:
    document = json.loads(run("why", "llama-405b", "-n", "llm", "-o", "json").out)
    assert document == explain(llama(), NOW)
    assert yaml.safe_load(run("why", "llama-405b", "-n", "llm", "-o", "yaml").out) == document


def test_what_cannot_be_answered_is_said_in_a_line_with_a_remedy(asked: Scripted) -> None:
    assert_refused(["why", "nope", "-n", "llm"], ['NAME: "nope" in namespace llm is given; allowed is one of llama-405b'])
    assert_refused(["why", "llama-405b", "--at", "tomorrow"], ["--at: ", "as in 2026-11-21T15:02:00Z, 15:02 (UTC) or 10m (ago)"])
    assert_refused(["why", "llama-405b", "--at", "2030-01-01"], ["which is yet to come"])
    assert_refused(["why", "llama-405b", "-o", "html"], ["--output"])
    assert_refused(["why", "llama-405b", "-n", "No Such"], ["--namespace"])
    asked.answers = {
        f"{HERE}/llama-405b": refused("The connection to the server localhost:8080 was refused - did you specify the right host?")
    }
    assert_refused(["why", "llama-405b", "-n", "llm"], ["cluster: no answer", "allowed is one that answers"])


def test_no_cluster_is_asked_for_what_is_wrong_on_the_command_line(asked: Scripted) -> None:
    run("why", "llama-405b", "--at", "tomorrow")
    assert asked.asked == []


def test_it_waits_for_no_library_that_it_does_not_use() -> None:
    """In a machine without a cluster it ends where the answer would begin; what draws is loaded after that."""
    assert imported_by("why", "x", "-n", "y", "--kubeconfig", "/nonexistent") & HEAVY == set()
    assert not Path("/nonexistent").exists()


def test_a_decision_without_its_words_is_shown_as_far_as_it_goes() -> None:
    """As a status of another version may be."""
    for scaling in ({"reason": "Steady"}, {"minReplicas": 1}, {"reason": "Steady", "minReplicas": 1}):
        raw = llama(autoscaling=scaling)
        text = io.StringIO()
        write_tables(Console(file=text, width=PLAIN_WIDTH), tables(explain(raw, NOW), NOW))
        assert "How many are wanted" in text.getvalue()
