"""A YAML text is answered with every problem at its line, whatever it holds, and never with a traceback."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.harness import samples

from llama_operator.api import documents
from llama_operator.api.documents import DEPTH_LIMIT, PROBLEMS_LIMIT, TEXT_LIMIT, Document, Place, check_text, read_documents
from llama_operator.api.rule import Look
from llama_operator.api.validation import validate, warnings

HEAD = "apiVersion: llama-operator.dev/v1alpha1\nkind: LlamaDeployment\n"
SOUND = HEAD + "metadata: {name: llama}\nspec:\n  model: {source: file:///m}\n  hardware: {accelerator: cpu}\n"
EXAMPLES = sorted((Path(__file__).parents[3] / "deploy" / "examples").glob("*.yaml"))

FILES = [*sorted(samples.FOLDER.glob("*/*.yaml")), *EXAMPLES]


def told(text: str) -> list[tuple[int, int, str]]:
    return [(located.place.line, located.place.column, located.problem.field) for located in check_text(text)]


def only(text: str) -> Document:
    (document,) = read_documents(text)
    return document


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_says_what_its_object_says_and_has_its_problems_and_no_others(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    obj = yaml.safe_load(text)
    assert only(text).value == obj
    found = check_text(text)
    assert sorted(located.problem.message for located in found) == sorted(p.message for p in [*validate(obj), *warnings(obj)])
    lines = text.splitlines()
    for located in found:
        if Look(obj).at(located.problem.field) is not None:
            key = located.problem.field.rpartition(".")[2]
            assert lines[located.place.line - 1][located.place.column - 1 :].startswith(key)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_not_even_a_warning(path: Path) -> None:
    assert check_text(path.read_text(encoding="utf-8")) == []


BAD = """\
apiVersion: llama-operator.dev/v1alpha1
kind: LlamaDeployment
metadata:
  name: Llama
spec:
  model:
    source: file:///m
  hardware: {accelerator: cpu, gpusPerNode: 8}
  engine:
    args:
      max_num_seq: 8
      a.b: 1
  replica: 2
  autoscaling:
    minReplicas: 3
    objective: {inFlightPerReplica: 8}
"""


def test_every_problem_is_told_at_once_in_the_order_of_lines_at_its_key() -> None:
    assert told(BAD) == [
        (4, 3, "metadata.name"),
        (8, 32, "spec.hardware.gpusPerNode"),
        (11, 7, "spec.engine.args.max_num_seq"),
        (12, 7, "spec.engine.args.a.b"),
        (13, 3, "spec.replica"),
        (14, 3, "spec.autoscaling.maxReplicas"),
    ]


def test_a_problem_says_its_line_and_column() -> None:
    assert check_text(BAD)[-1].message.startswith("line 14, column 3: spec.autoscaling.maxReplicas: nothing is given; allowed is")


BROKEN: list[tuple[str, str, Place, str]] = [
    ("a tab", "a: 1\n\tb: 2\n", Place(line=2, column=1), "not with tabs"),
    ("a list that does not end", "a: [1", Place(line=1, column=6), "well-formed YAML"),
    ("a quote that does not end", "a: 'b", Place(line=1, column=6), "well-formed YAML"),
    ("an alias of nothing", "a: 1\nb: *zz\n", Place(line=2, column=4), "undefined alias"),
    ("a control character", "a: 1\nb: \x07\n", Place(line=2, column=4), "printable text"),
    ("an escape beyond Unicode", 'a: "\\UFFFFFFFF"', Place(line=1, column=7), "well-formed YAML"),
    ("a version of thousands of digits", f"%YAML {'9' * 5000}.1\n---\na: 1\n", Place(line=1, column=7), "well-formed YAML"),
    ("an alias that contains itself", "a: &a [*a]\n", Place(line=1, column=4), "an alias must not contain itself"),
    ("lists in lists", "[" * (DEPTH_LIMIT + 1), Place(line=1, column=DEPTH_LIMIT + 2), f"at most {DEPTH_LIMIT}"),
    (
        "aliases that multiply",
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        Place(line=1, column=8),
        "aliases written out",
    ),
    ("an alias of a long text", f"a: &a {'x' * 500_000}\nb: [*a, *a, *a]\n", Place(line=1, column=4), "aliases written out"),
    ("a text that is too long", "#" * (TEXT_LIMIT + 1), Place(line=1, column=1), f"allowed is at most {TEXT_LIMIT}"),
    ("a tag over all", "!!set {a, b}", Place(line=1, column=1), "Remove the tag"),
]


@pytest.mark.parametrize(("what", "text", "place", "words"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_cannot_be_read_is_one_problem_at_its_place(what: str, text: str, place: Place, words: str) -> None:
    assert not only(text).readable
    (located,) = check_text(text)
    assert (located.problem.field, located.problem.severity) == ("document", "error")
    assert words in located.problem.message
    if what not in ("aliases that multiply", "lists in lists"):  # where exactly a bound is met says nothing to the user
        assert located.place == place


SPOILT: list[tuple[str, str, str, tuple[int, int], str]] = [
    ("a key twice", SOUND + "  replicas: 1\n  replicas: 2\n", "spec.replicas", (8, 3), "the other is on line 7"),
    ("a key that is a number", SOUND + "1: 2\n", "document", (7, 1), "Write it in quotes"),
    ("a key that is a list", SOUND + "? [a]\n: b\n", "document", (7, 3), "Write it in quotes"),
    ("a foreign tag", SOUND + "  image: !!python/name:os.system x\n", "spec.image", (7, 10), "Remove the tag"),
    ("a tag over an object", SOUND + "  context: !mine {}\n", "spec.context", (7, 12), "Remove the tag"),
    ("a tag that does not fit", SOUND + "  replicas: !!int two\n", "spec.replicas", (7, 13), '"two" is given'),
    ("a truth that is none", SOUND + "  replicas: !!bool maybe\n", "spec.replicas", (7, 13), '"maybe" is given'),
    ("half a character", SOUND + '  image: "\\uD800"\n', "spec.image", (7, 10), "Unicode text"),
    ("a number of thousands of digits", SOUND + f"  replicas: {'9' * 5000}\n", "spec.replicas", (7, 13), "in quotes"),
    ("what is merged is no object", SOUND + "  context: {<<: 4}\n", "spec.context.<<", (7, 17), "an object, or a list of objects"),
]


@pytest.mark.parametrize(("what", "text", "path", "place", "words"), SPOILT, ids=[row[0] for row in SPOILT])
def test_what_can_be_read_around_is_a_problem_at_its_place(what: str, text: str, path: str, place: tuple[int, int], words: str) -> None:
    document = only(text)
    assert document.readable
    (located,) = document.problems
    assert (located.problem.field, located.place) == (path, Place(line=place[0], column=place[1]))
    assert words in located.problem.message
    assert located in check_text(text)


SCALARS: list[tuple[str, Any]] = [
    *[(text, True) for text in ("true", "yes", "On", "y", "!!bool yes")],
    *[(text, False) for text in ("false", "no", "OFF", "n")],
    *[(text, None) for text in ("", "~", "null", "!!null x")],
    *[("0", 0), ("-7", -7), ("1_000", 1000), ("0x1F", 31), ("017", 15), ("0o17", 15), ("-0b11", -3), ("!!int 5", 5)],
    *[("1e3", 1000.0), (".5", 0.5), ("08", 8.0), ("-.inf", -math.inf), ("+.INF", math.inf), ("!!float 2", 2.0)],
    *[
        ("2001-01-01", "2001-01-01"),
        ("1:30", "1:30"),
        ("=", "="),
        ("!!str 5", "5"),
        ("'5'", "5"),
        ('"no"', "no"),
        ("0x", "0x"),
    ],
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[row[0] for row in SCALARS])
def test_a_scalar_means_what_it_does_to_kubectl(text: str, value: Any) -> None:
    read = only(f"a: {text}\n").value["a"]
    assert (read, type(read)) == (value, type(value))


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(only("a: .nan").value["a"])


def test_documents_are_told_apart_and_empty_ones_left_out() -> None:
    found = read_documents(f"---\n---\n# nothing\n---\n{SOUND}---\n{SOUND}")
    assert [document.begins.line for document in found] == [5, 12]
    assert told(f"{SOUND}---\n{SOUND}  replica: 1\n") == [(14, 3, "spec.replica")]


def test_what_comes_before_broken_yaml_is_checked_all_the_same() -> None:
    text = f"{SOUND}  replica: 1\n---\na: [\n"
    assert [(line, field) for line, _, field in told(text)] == [(7, "spec.replica"), (10, "document")]


def test_objects_of_other_kinds_are_passed_over() -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: hf}\n"
    assert told(f"{secret}---\n{SOUND}") == []
    assert told(secret) == [(1, 1, "document")]
    assert told("") == [(1, 1, "document")]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (SOUND.replace("kind: LlamaDeployment", "kind: LlamaDeploymnet"), "kind"),
        (SOUND.replace("llama-operator.dev/v1alpha1", "llama-operator.dev/v1"), "apiVersion"),
        (SOUND.replace("kind: LlamaDeployment\n", ""), "kind"),
        ("- a\n- b\n", "document"),
    ],
)
def test_what_seems_to_be_meant_for_us_is_not_passed_over(text: str, field: str) -> None:
    assert field in {path for _, _, path in told(text)}


MERGED = """\
base: &base {accelerator: cpu, gpusPerNode: 8}
more: &more
  accelerator: H100
hardware:
  <<: [*base, *more]
  gpuResource: x
other: {<<: *more, accelerator: cpu}
"""


def test_what_is_merged_counts_less_than_what_is_written_and_keeps_its_place() -> None:
    document = only(MERGED)
    assert document.value["hardware"] == {"accelerator": "cpu", "gpusPerNode": 8, "gpuResource": "x"}
    assert document.value["other"] == {"accelerator": "cpu"}
    places = {path: document.place(path).line for path in ("hardware.accelerator", "hardware.gpuResource", "hardware.nothing", "nothing")}
    assert places == {"hardware.accelerator": 1, "hardware.gpuResource": 6, "hardware.nothing": 4, "nothing": 1}


def test_items_of_lists_and_keys_with_dots_have_places() -> None:
    document = only("a:\n  - b: 1\n  - c.d: {e: 2}\n    c: 3\n? [x]\n: y\n")
    assert {path: document.place(path).line for path in ("a.0.b", "a.1.c.d.e", "a.1.c", "a.7", "a.0.b.deeper")} == {
        "a.0.b": 2,
        "a.1.c.d.e": 3,
        "a.1.c": 4,
        "a.7": 1,
        "a.0.b.deeper": 2,
    }


def test_of_many_problems_the_first_are_told_and_that_there_are_more() -> None:
    many = SOUND + "".join(f"  x{number}: 1\n" for number in range(PROBLEMS_LIMIT + 7))
    found = check_text(many)
    assert len(found) == PROBLEMS_LIMIT + 1
    assert any("7 problems more than are told" in located.problem.message for located in found)
    twice = SOUND + "".join("  replicas: 1\n" for _ in range(PROBLEMS_LIMIT + 9))
    assert not only(twice).readable
    assert "more problems than are told" in check_text(twice)[-1].problem.message


def test_the_order_of_keys_and_json_make_no_difference() -> None:
    obj = yaml.safe_load(SOUND)
    assert only(json.dumps(obj)).value == obj


PIECES = (
    *("a", "b: ", "- ", "\n", "  ", "\t", "{", "}", "[", "]", ",", ": ", "? ", "&a ", "*a", "<<: ", "!!str ", "!!x ", "!", "'", '"', "|\n"),
    *(
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "%TAG ! x\n",
        "# c\n",
        "\\u",
        '"\\x',
        "1",
        "0x",
        "1e9",
        "~",
        ".nan",
        "\x00",
        "\ufeff",
        "\x85",
        "é",
        "\ud800",
    ),
    *(HEAD, "spec:\n  ", "metadata: {name: x}\n", "replicas: "),
)
yaml_soup = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=40).map("".join)


@given(yaml_soup)
def test_any_text_is_answered_with_documents_and_problems_in_words(text: str) -> None:
    for located in check_text(text):
        assert located.place >= Place(line=1, column=1)
        assert located.place.line <= len(text) + 1
        assert located.problem.field
        located.message.encode()  # can be printed


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8)  # which JSON takes unescaped and YAML does not
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_what_json_can_say_is_read_as_json_says_it(obj: dict[str, Any]) -> None:
    document = only(json.dumps(obj))
    assert (document.value, document.problems) == (obj, ())


def test_an_error_of_the_parser_without_a_place_is_told_at_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise yaml.MarkedYAMLError(context="somewhere")

    monkeypatch.setattr(documents._Loader, "next_root", fail)
    assert told("a: 1") == [(1, 1, "document")]
