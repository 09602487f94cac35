"""A cluster of the user's own: what the demo's pods need there comes from a file of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster import pod_template
from localcluster.errors import ForeignCluster


def test_a_file_says_what_the_demo_s_pods_need(tmp_path: Path) -> None:
    path = tmp_path / "pods.yaml"
    path.write_text("spec:\n  tolerations: [{key: nvidia.com/gpu, operator: Exists}]\n")
    assert pod_template.read(path) == {"spec": {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read"),
        ("spec: [", "cannot be read"),
        ("\udcff", "cannot be read"),
        ("", "is no pod template"),
        ("- spec", "is no pod template"),
        ("tolerations: []", "its keys must be metadata or spec"),
    ],
)
def test_a_file_that_is_no_pod_template_is_refused_by_the_variable_s_name(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "pods.yaml"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ForeignCluster, match=rf"LLAMA_DEMO_POD_TEMPLATE: .*{why}"):
        pod_template.read(path)
