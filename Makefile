# SPDX-License-Identifier: Apache-2.0
# `make` alone lists the targets. Needed beforehand: git, make, bash and Python 3.11 or newer.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The Python that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Changes when the lock or the package metadata does: then everything is installed again.
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# More arguments for pytest, as in `make test-unit ARGS="-k taint -x"`.
ARGS ?=
# `make run ONCE=1` ends by itself and says by its exit code whether everything ran as expected.
ONCE ?=
# `make mutate MODULES="engine/pools.py explain" SAMPLE=200 SEED=7`: where, how many, which ones.
MODULES ?=
SAMPLE ?= 60
SEED ?= 1
# `make test-faults KIND=pause ROUNDS=100 SEED=7`: which faults, how often or how long.
KIND ?= kill
ROUNDS ?= 20
MINUTES ?= 1
# Pinned, so that the lock does not change with the tool that writes it.
UV_VERSION := 0.13.9

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(INSTALLED) ## Make .venv with the locked dependencies and berth itself

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "setup: Python 3.11 or newer is needed: \`$(PYTHON)\` is $$(command -v $(PYTHON) >/dev/null && $(PYTHON) --version || echo not found)"; \
	  echo; echo "hint: name another one: make setup PYTHON=python3.12"; exit 1; } >&2
	@[[ -x $(BIN)/python ]] || $(PYTHON) -m venv $(VENV) || { \
	  echo "setup: \`$(PYTHON)\` cannot make virtual environments"; \
	  echo; echo "hint: on Debian and Ubuntu install the package \`python3-venv\`"; exit 1; } >&2
	@echo "setup: installing the locked dependencies into $(VENV)"
	@$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: run
run: setup ## Berth at work on a local cluster, or on that of KUBECONFIG; ONCE=1 ends by itself
	$(BIN)/berth demo $(if $(ONCE),--once)

.PHONY: clean
clean: ## Remove .venv and the caches of this folder (not the built control plane)
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find operator tests -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Check

.PHONY: fmt
fmt: setup ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: setup ## Format, lint rules and YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	git ls-files '*.yaml' '*.yml' | grep -v '^charts/.*/templates/' | xargs $(BIN)/yamllint --strict

.PHONY: types
types: setup ## mypy, strict, over the code, the tests and the bench
	$(BIN)/mypy

.PHONY: layers
layers: setup ## The import contracts of pyproject.toml
	$(BIN)/lint-imports --no-logo

.PHONY: chart
chart: setup ## Lint, render and install the chart, with the Helm that tools/helm pins
	$(BIN)/pytest tests/integration/chart $(ARGS)

.PHONY: audit-dependencies
audit-dependencies: setup ## Known vulnerabilities of the locked dependencies, where the advisories can be reached
	.ci/audit-dependencies $(BIN)/python requirements/dev.txt

.PHONY: ci
ci: lint types layers audit-dependencies test ## All of these and every test, in this order

##@ Test

.PHONY: test
test: setup ## Every test, those on the real control plane last
	$(BIN)/pytest $(ARGS)

.PHONY: test-unit
test-unit: setup ## All but integration, on two processes
	$(BIN)/pytest -n 2 --ignore=tests/integration $(ARGS)

.PHONY: test-integration
test-integration: setup ## Berth on a real control plane, or on that of BERTH_TEST_KUBECONFIG
	$(BIN)/pytest tests/integration $(ARGS)

.PHONY: test-rbac
test-rbac: setup ## Take away each right of each role and print what fails
	BERTH_RBAC=1 $(BIN)/pytest -n0 tests/integration/rbac $(ARGS)

.PHONY: test-tenants
test-tenants: setup ## Others' time to allocation beside a tenant who means harm; PODS=, TENANTS=, RATE= (pods a second)
	@$(BIN)/python -m tests.tenants.run $(if $(PODS),--pods=$(PODS)) \
	  $(if $(TENANTS),--tenants=$(TENANTS)) $(if $(RATE),--rate=$(RATE))

.PHONY: test-faults
test-faults: setup ## Kills, pauses, bad connections; KIND=kill|pause|mixed|hostile|all, ROUNDS=, MINUTES=, SEED=
	@$(BIN)/python -m tests.faults.run --kind=$(KIND) --rounds=$(ROUNDS) --minutes=$(MINUTES) \
	  --seed=$(SEED) $(if $(FOLDER),--folder=$(FOLDER))

.PHONY: test-releases
test-releases: setup ## The integration tests on each Kubernetes release; RELEASES="1.36 1.37" are some
	$(BIN)/python -m tests.releases.run $(if $(RELEASES),--releases $(RELEASES)) $(ARGS)

.PHONY: test-faults-checker
test-faults-checker: setup ## Builds of Berth with a safeguard taken out, which the fault lane must find
	BERTH_FAULTS=long $(BIN)/pytest -n0 tests/integration/faults $(ARGS)

.PHONY: conformance
conformance: setup ## Recorded answers of cel-go and the upstream allocator; CEL=, CEL_RANDOM=, ALLOCATOR=, EXPLAIN= name other files
	@$(BIN)/python -m tests.conformance.run $(if $(CEL),--cel=$(CEL)) \
	  $(if $(CEL_RANDOM),--cel-random=$(CEL_RANDOM)) $(if $(ALLOCATOR),--allocator=$(ALLOCATOR)) \
	  $(if $(EXPLAIN),--explain=$(EXPLAIN))

.PHONY: fuzz
fuzz: setup ## 100,000 random and mutated expressions and 20,000 API objects
	BERTH_FUZZ=200 $(BIN)/pytest -n0 tests/fuzz $(ARGS)

.PHONY: mutate
mutate: setup ## Change engine and explain a little and see whether a test notices; MODULES=, SAMPLE=, SEED=
	@$(BIN)/python -m tests.mutation.run --sample=$(SAMPLE) --seed=$(SEED) $(MODULES)

.PHONY: golden
golden: setup ## Write the golden files anew and show what changed; read it as prose
	BERTH_GOLDEN=write $(BIN)/pytest -n0 --ignore=tests/integration -k golden $(ARGS)
	git --no-pager diff --stat -- tests/golden tests/conformance/vectors/steps.json

##@ Measure

.PHONY: bench
bench: setup ## Berth against what would run in its place, in about ten minutes; docs/performance.md
	@mkdir -p .run
	$(BIN)/python -m bench --json .run/bench.json $(ARGS)

.PHONY: bench-quick
bench-quick: setup ## The same in about two minutes, with smaller sizes
	@mkdir -p .run
	$(BIN)/python -m bench --quick --json .run/bench-quick.json $(ARGS)

##@ Maintain

.PHONY: lock
lock: setup ## Write requirements/*.txt anew from pyproject.toml
	$(PYTHON) -m venv .run/lock
	.run/lock/bin/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
	.run/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url pyproject.toml -o requirements/runtime.txt
	.run/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url pyproject.toml --group dev -o requirements/dev.txt
