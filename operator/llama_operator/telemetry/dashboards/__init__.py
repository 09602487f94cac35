"""The dashboards as values: rows of panels, each with its queries, unit, thresholds and a description. Pure.

`deploy/local/dashboards` writes them as Grafana's JSON, tries their queries on a Prometheus, and draws them.
"""
