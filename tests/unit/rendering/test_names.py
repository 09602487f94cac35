"""Names follow from what a thing is, and fit what Kubernetes allows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.v1alpha1 import NAME_MAX
from llama_operator.lifecycle.revision import REVISION_DIGITS
from llama_operator.rendering import names

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
valid = st.from_regex(rf"\A[a-z]([a-z0-9-]{{0,{NAME_MAX - 2}}}[a-z0-9])?\Z")
revisions = st.text("0123456789abcdef", min_size=REVISION_DIGITS, max_size=REVISION_DIGITS)
MOST_GANGS, MOST_RANKS = 9999, 63
"""maxReplicas is at most 1000, and a number is free again once its gang is gone; pipeline is at most 64."""


@given(valid, revisions, st.integers(0, MOST_GANGS), st.integers(0, MOST_RANKS))
def test_every_name_of_a_child_is_a_dns_label_of_at_most_63(name: str, revision: str, gang: int, rank: int) -> None:
    every = {
        names.token_secret(name),
        names.service(name),
        names.revision_object(name, revision),
        names.head(name, revision),
        names.head_store(name, revision),
        names.gang_pod(name, revision, gang, rank),
    }
    assert len(every) == 6, "no two kinds of child share a name"
    for each in every:
        assert len(each) <= 63
        assert DNS_LABEL.fullmatch(each)


@given(valid, revisions, st.integers(0, MOST_GANGS), st.integers(0, MOST_RANKS))
def test_every_label_value_is_allowed(name: str, revision: str, gang: int, rank: int) -> None:
    for labels in (names.gang_labels(name, revision, gang, rank), names.head_labels(name, revision)):
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
        assert names.key_of(labels, "ns") == names.Key("ns", name)


@given(valid, revisions, st.tuples(st.integers(0, 99), st.integers(0, 63)), st.tuples(st.integers(0, 99), st.integers(0, 63)))
def test_two_pods_never_share_a_name(name: str, revision: str, one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (names.gang_pod(name, revision, *one) == names.gang_pod(name, revision, *other)) is (one == other)


@pytest.mark.parametrize(("rank", "traffic"), [(0, "true"), (1, "false"), (7, "false")])
def test_users_enter_at_rank_0(rank: int, traffic: str) -> None:
    assert names.gang_labels("demo", "r", 0, rank)[names.LABEL_TRAFFIC] == traffic


def test_a_head_is_shut_until_it_is_opened() -> None:
    assert names.head_labels("demo", "r")[names.LABEL_TRAFFIC] == "false"


def test_a_child_without_our_label_belongs_to_nobody() -> None:
    assert names.key_of({}, "ns") is None


def test_a_key_is_told_as_kubectl_tells_it() -> None:
    assert str(names.Key("llm", "demo")) == "llm/demo"
