# Everything a newcomer needs. `make` alone lists the targets. Each does all of its own set-up and caches it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

UV := deploy/bin/uv
export PYTHONPATH := operator:serving:deploy/local
# Compiled modules are kept, whatever the shell says: without them every process compiles all that it imports, and so does each of the tests'.
unexport PYTHONDONTWRITEBYTECODE
# Sources that are ours to format and lint.
SOURCES := operator serving deploy tests bench

.PHONY: help demo demo-down test check check-style check-tests gen cluster-up cluster-down logs

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a real cluster, the operator, a trained Llama: an answer, a scale-up, a scale-down, and a closing table
	@$(UV) run --frozen --quiet python -m playground.demo

demo-down: ## stop what the demo started; the machine, or your cluster, is as it was, caches apart
	@$(UV) run --frozen --quiet python -m playground.demo_down

test: ## every test: without a cluster, with Ray and vLLM, on the real cluster
	@deploy/bin/test-all

check: ## everything that needs no cluster, in about a minute: style, types, layers, drift, tests
	@$(UV) run --frozen --quiet true
	@$(MAKE) --no-print-directory --jobs 2 check-style check-tests

check-style:
	@$(UV) run --frozen --quiet ruff format --check $(SOURCES)
	@$(UV) run --frozen --quiet ruff check $(SOURCES)
	@$(UV) run --frozen --quiet mypy

# The layers and the drift of generated files are among the tests: tests/unit/test_guards.py.
check-tests:
	@$(UV) run --frozen --quiet pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not serving and not cluster and not gpu" tests

gen: ## write what is generated: the CRD, its JSON schema, the API reference, the rules, the dashboards
	@$(UV) run --frozen --quiet python -m llama_operator.api.schema
	@$(UV) run --frozen --quiet python -m llama_operator.telemetry.generate
	@$(UV) run --frozen --quiet python -m dashboards write

cluster-up: ## start the local cluster: two nodes, eight fake GPUs each
	@$(UV) run --frozen --quiet python -m localcluster up

cluster-down: ## stop the local cluster and leave nothing behind
	@$(UV) run --frozen --quiet python -m localcluster down

logs: ## the last lines of every process of the local cluster
	@$(UV) run --frozen --quiet python -m localcluster logs
