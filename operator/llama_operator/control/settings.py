"""The operator's settings: the only reader of the environment. Each is `LLAMA_OPERATOR_` and the field's name in capitals; the chart
sets them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llama_operator.api.price import MOST
from llama_operator.lifecycle.retry import RetryPolicy
from llama_operator.rendering.context import RenderOptions
from llama_operator.telemetry.cost import API_PRICES, ApiPrice


class Settings(BaseSettings):
    """What an installation decides."""

    model_config = SettingsConfigDict(env_prefix="LLAMA_OPERATOR_", extra="ignore", frozen=True)

    image: str = "llama-operator:dev"
    """Its own image: the init containers of serving pods take our code from it."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    default_serving_image: str = ""
    """Image of serving pods where the spec names none."""
    namespace: str = "llama-operator"
    pod_name: str = "llama-operator"
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to serve; empty means all."""
    prometheus_url: str = ""
    prometheus_timeout_seconds: float = Field(default=3.0, gt=0)
    metrics_stale_seconds: float = Field(default=15.0, gt=0)
    autoscale_interval_seconds: float = Field(default=5.0, gt=0, le=20)
    """More would look like gaps to scaling/window.py, which then never lets anything go."""
    resync_seconds: float = Field(default=60.0, gt=0)
    head_storage: Literal["pvc", "emptyDir"] = "pvc"
    head_storage_class: str = ""
    head_storage_size: str = "1Gi"
    lease_name: str = "llama-operator"
    lease_seconds: float = Field(default=15.0, ge=13)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    health_port: int = 8081
    metrics_port: int = 8082
    workers: int = Field(default=8, ge=1)
    canary_interval_seconds: float = Field(default=0.0, ge=0)
    """Between two requests to each LlamaDeployment that measure its first token from outside; 0: none are made."""
    hub_endpoint: str = "https://huggingface.co"
    max_load_attempts: int = Field(default=6, ge=1)
    retry_base_seconds: float = Field(default=10.0, gt=0)
    retry_max_seconds: float = Field(default=300.0, gt=0)
    gpu_hour_prices: dict[str, Annotated[float, Field(ge=0, le=MOST)]] = Field(default_factory=dict)
    """Dollars for one accelerator and hour, by the accelerator's name; the environment holds them as JSON."""
    api_prices: tuple[ApiPrice, ...] = API_PRICES
    """What to compare with; as JSON, a list of {name, asOf, prompt: [least, most], generated: [least, most]}."""
    kubeconfig: str | None = None
    """For a run outside a cluster."""
    kube_context: str | None = None

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("api_prices", mode="before")
    @classmethod
    def _as_of(cls, value: object) -> object:
        """The chart writes names in camel case, as Kubernetes does."""
        if not isinstance(value, list):
            return value
        return [{"as_of" if key == "asOf" else key: held for key, held in row.items()} if isinstance(row, dict) else row for row in value]

    @field_validator("watch_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    def render_options(self) -> RenderOptions:
        """What the makers of manifests need of them."""
        return RenderOptions(
            operator_image=self.image,
            image_pull_policy=self.image_pull_policy,
            serving_image=self.default_serving_image,
            head_store=self.head_storage,
            head_store_class=self.head_storage_class,
            head_store_size=self.head_storage_size,
            operator_namespace=self.namespace,
        )

    def retry_policy(self) -> RetryPolicy:
        """Bounds of retries after failed loads."""
        return RetryPolicy(max_attempts=self.max_load_attempts, base_seconds=self.retry_base_seconds, max_seconds=self.retry_max_seconds)
