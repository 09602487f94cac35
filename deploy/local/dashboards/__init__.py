"""The dashboards of `llama_operator.telemetry.dashboards` made into files and pictures: Grafana's JSON, a table of tried queries, PNG."""
