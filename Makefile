# Needs python3 (3.11 or newer) and make. Everything else comes from the lock file.
PYTHON ?= python3
EXTRAS ?= local
ARGS ?=
VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run setup-dev test bench lint clean

help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:
	@$(PYTHON) polymux/embedded/bootstrap.py $(addprefix --extra ,$(EXTRAS))

run: setup ## Set up and start Polymux on http://127.0.0.1:7890 (ARGS="--port 8080" to change)
	@exec $(VENV) manage.py serve $(ARGS)

setup-dev:
	@$(PYTHON) polymux/embedded/bootstrap.py --dev --extra local --extra s3 --extra otel

test: setup-dev ## Set up and run all tests and house checks (ARGS="tests/platform -x" to choose)
	@PYTHONDONTWRITEBYTECODE= $(VENV) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: setup-dev ## Measure throughput and latency
	@$(VENV) -m tests.bench $(ARGS)

lint: setup-dev ## Check style, types and who imports whom
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy
	.venv/bin/lint-imports

clean: ## Remove the environment and caches; keeps your data in var/
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
