"""Ray's tokens, without reading anybody's Secrets.

Each LlamaDeployment's token is HMAC-SHA256(key, uid of the LlamaDeployment). The key lies in one Secret of the operator's own namespace,
made at the first start. The operator can therefore compute every token and needs only `create` on Secrets elsewhere: a stolen service
account reads none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from llama_operator.adapters.kube import Kube
from llama_operator.ports import ApiError, Conflict

KEY_SECRET = "llama-operator-key"  # noqa: S105 - the Secret's name
KEY_FIELD = "key"
KEY_BYTES = 32


class Tokens:
    """Computes the token of each LlamaDeployment."""

    def __init__(self, key: bytes) -> None:
        """`key` is KEY_BYTES long."""
        self._key = key

    def token(self, uid: str) -> str:
        """64 hex digits."""
        return hmac.new(self._key, f"ray-token/{uid}".encode(), hashlib.sha256).hexdigest()


async def load_tokens(kube: Kube, namespace: str) -> Tokens:
    """Read the key, or make it. Two operators that start at once agree, because only one can make it. Raises ApiError."""
    while True:
        secret = await kube.get("Secret", namespace, KEY_SECRET)
        if secret is not None:
            key = base64.b64decode((secret.get("data") or {}).get(KEY_FIELD, ""))
            if len(key) != KEY_BYTES:
                raise ApiError(
                    0,
                    "BadKey",
                    f"Secret {namespace}/{KEY_SECRET}: {KEY_FIELD} must be {KEY_BYTES} bytes, is {len(key)}; restore it from a backup",
                )
            return Tokens(key)
        fresh = {
            "apiVersion": "v1",
            "kind": "Secret",
            "immutable": True,
            "metadata": {"name": KEY_SECRET, "namespace": namespace},
            "data": {KEY_FIELD: base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()},
        }
        try:
            await kube.create_unguarded(fresh)
        except Conflict:
            continue
