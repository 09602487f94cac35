"""All dashboards."""

from __future__ import annotations

from llama_operator.telemetry.dashboards.autoscaler import AUTOSCALER
from llama_operator.telemetry.dashboards.cost import COST
from llama_operator.telemetry.dashboards.deployment import DEPLOYMENT
from llama_operator.telemetry.dashboards.engine import ENGINE
from llama_operator.telemetry.dashboards.fleet import FLEET

BOARDS = (FLEET, DEPLOYMENT, ENGINE, AUTOSCALER, COST)
