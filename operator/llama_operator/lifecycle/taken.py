"""Objects of somebody else's under a name that a child would bear.

A LlamaDeployment's Service, disruption budget and network policy bear its name, and so may a platform's `default-deny` or a team's
`postgres`. Applied over such a one, ours would replace it, and the garbage collector would remove it with the LlamaDeployment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.rendering import names

LACKS = {
    "Service": "users do not reach the model under its name",
    "PodDisruptionBudget": "a drain of nodes may take every replica at once",
    "NetworkPolicy": "its pods are not closed to others",
}
"""What a LlamaDeployment lacks where the name is taken."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An object that is not ours, and stays as it is."""

    kind: str
    name: str
    owner: str = ""
    """Kind and name of its owner; empty where it has none."""
    leaving: bool = False
    """It was a predecessor's of the same name: the garbage collector is about to remove it."""

    def __str__(self) -> str:
        lacks = LACKS.get(self.kind)
        return (
            f"{self.kind} {self.name} was there already and belongs to {self.owner or 'nobody'}: it is left as it is"
            f"{', and ' + lacks if lacks else ''}; delete it, or make it and the LlamaDeployment bear different names"
        )


def taken(manifest: Mapping[str, Any], key: names.Key, uid: str) -> Taken | None:
    """Whose is this object, which bears the name of a child of the LlamaDeployment with that uid? None where it is that one's."""
    metadata = manifest["metadata"]
    owners: Sequence[Mapping[str, Any]] = metadata.get("ownerReferences") or []
    if any(owner.get("uid") == uid and owner.get("controller") for owner in owners):
        return None
    owner = next((owner for owner in owners if owner.get("controller")), owners[0] if owners else {})
    ours = (names.KIND, key.name)
    return Taken(
        kind=manifest["kind"],
        name=metadata["name"],
        owner=f"{owner.get('kind')} {owner.get('name')}" if owner else "",
        leaving=(owner.get("kind"), owner.get("name")) == ours and owner.get("uid") != uid,
    )
