"""Which versions may run, and what is said of the others."""

from __future__ import annotations

import pytest

from llama_serving.agent.versions import check, installed

GOOD = {"ray": "2.60.0", "vllm": "0.29.0"}


@pytest.mark.parametrize(
    ("versions", "need_vllm", "untested", "words"),
    [
        (GOOD, True, False, None),
        ({**GOOD, "vllm": "0.29.3+cpu"}, True, False, None),
        ({**GOOD, "ray": "2.61.0"}, True, False, "ray 2.61.0; this package was tested with ray 2.60.x"),
        ({**GOOD, "ray": "2.6.0"}, True, False, "ray 2.6.0"),
        ({**GOOD, "ray": "2.61.0"}, True, True, None),
        ({**GOOD, "vllm": None}, True, False, "the image has no vllm"),
        ({**GOOD, "vllm": None}, False, False, None),
        ({**GOOD, "ray": None}, False, True, "the image has no ray"),
    ],
)
def test_an_image_with_other_versions_is_refused_in_words(
    versions: dict[str, str | None], need_vllm: bool, untested: bool, words: str | None
) -> None:
    cause = check(versions, need_vllm=need_vllm, allow_untested=untested)
    assert (cause is None) == (words is None)
    if cause is not None and words is not None:
        assert words in cause.message
        assert cause.reason == "VersionUnsupported"
        assert not cause.retryable


def test_the_versions_of_this_environment_are_told_without_importing_anything() -> None:
    assert set(installed()) == {"ray", "vllm", "python", "llamaServing"}
