# Everything that one does to this repository. A machine needs Python 3.11 or newer, make and git.
# All of it lives in .venv; `make clean` takes it away again.

# The environment may name another: `make clean`, then `PYTHON_NAMES=python3.13 make setup`.
PYTHON_NAMES ?= python3.11 python3.12 python3.13 python3.14 python3
BIN := .venv/bin
STAMP := .venv/.setup
MEMBERS := . $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml plugin_template/pyproject.toml))
PROJECTS := $(patsubst ./%,%,$(MEMBERS:%=%/pyproject.toml))
PACKAGES := gatepost $(notdir $(patsubst %/__init__.py,%,$(wildcard plugins/*/gatepost_*/__init__.py plugin_template/gatepost_*/__init__.py)))
# What an installed gateway can have: constraints.txt pins this, and neither the developers' tools nor the template.
SHIPPED := $(filter-out plugin_template/%,$(PROJECTS))
ARGS :=
QUICK := tests/architecture tests/callbacks tests/cli tests/config tests/contacts tests/docs tests/html_text tests/intake tests/observe tests/plugin_host tests/testing tests/web plugins/csv plugins/sandbox
DIST := dist
SEED := 1
# Not in requirements.lock: it has wheels for Linux only, and each release for some Pythons only.
ATHERIS_VERSION := 3.0.0
N := 1000000
RUNS := 200000

# Some images forbid Python to keep compiled modules. Each of the hundred processes that the tests start would then
# compile everything that it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup run test fast coverage bench torture lint fuzz docs dist lock hooks clean

help:  ## list these targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-8s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## build .venv with Gatepost, its plugins and every tool in it
	@echo ".venv is up to date"

run: setup  ## show the whole way on this machine; ARGS=--exit ends with it
	$(BIN)/gatepost demo $(ARGS)

# Whole files are shared out, so that fixtures of a module are made once.
SPREAD := --numprocesses auto --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/pytest $(SPREAD)

test: setup  ## run every test; ARGS is handed to pytest
	$(PYTEST) $(ARGS)

fast: setup  ## run the tests that take less than a minute together
	$(PYTEST) $(QUICK) $(ARGS)

# A directory of its own: each process writes a file, and many have a working directory that a test looks at.
coverage: setup  ## run every test and measure which lines and branches they reach; fails under the limit in pyproject.toml
	rm -rf build/coverage && mkdir -p build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage run -m pytest $(SPREAD) --quiet $(ARGS)
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage combine --quiet build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage report

bench: setup  ## what it costs, beside other ways to do it (10 minutes, an idle Linux); ARGS is handed to bench.py
	$(BIN)/python benchmarks/bench.py $(ARGS)

torture: setup  ## break everything, count what is lost; SEED=1, ARGS="--scale 0.1 kill-sqlite"
	PYTHONPATH=tests $(BIN)/python -m torture --seed $(SEED) $(ARGS)

lint: setup  ## style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES:%=-p %)
	$(BIN)/lint-imports --no-logo

fuzz: setup  ## throw N=1000000 mutated requests at a real gateway, and RUNS=200000 inputs at each parser
	PYTHONPATH=tests $(BIN)/python -m fuzz.bench $(N)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target build/fuzz atheris==$(ATHERIS_VERSION)
	for target in decoder callback_url csv sendgrid vonage forwarded; do \
		PYTHONPATH=tests:build/fuzz $(BIN)/python -m fuzz.guided $$target -runs=$(RUNS) || exit 1; \
	done

docs: setup  ## build the documentation into docs/_build; a warning is an error
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

dist: setup  ## build every wheel into DIST=dist, with the constraints to install them by
	rm -f $(DIST)/gatepost*.whl
	$(BIN)/uv build --wheel --all-packages --no-build-isolation --python $(BIN)/python --no-create-gitignore \
		--quiet --out-dir $(DIST)
	rm -f $(DIST)/gatepost_example-*.whl
	cp constraints.txt $(DIST)/

lock: $(BIN)/uv  ## resolve what is locked anew; ARGS=--upgrade takes the newest of everything
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" --no-emit-package gatepost --all-extras --group dev --group bench \
		$(PROJECTS) --output-file requirements.lock $(ARGS)
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-annotate --quiet \
		--custom-compile-command "make lock" --no-emit-package gatepost --extra postgres \
		--constraint requirements.lock $(SHIPPED) --output-file constraints.txt $(ARGS)
	echo uv | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" - --output-file uv-bootstrap.lock $(ARGS)

hooks: setup  ## let git run the style checks before each commit
	$(BIN)/pre-commit install

clean:  ## remove .venv and everything built
	rm -rf .venv docs/_build dist build htmlcov .coverage
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Of several Pythons the oldest that will do: it is the one that the tests are run on first.
# A name that is there need not work (version managers leave such), so each is asked.
$(BIN)/python:
	@for name in $(PYTHON_NAMES); do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			$$name -m venv .venv && exit 0; rm -rf .venv; exit 1; \
		fi; \
	done; \
	echo "Gatepost needs Python 3.11 or newer; none of these is one: $(PYTHON_NAMES)" >&2; exit 1

$(BIN)/uv: uv-bootstrap.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement uv-bootstrap.lock
	@touch $@

$(STAMP): requirements.lock $(PROJECTS) Makefile | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(MEMBERS:%=--editable %)
	@touch $@
