# Every command for work on this repository. A machine needs Python 3.11 or newer, make and git.
# All tools are installed into .venv; `make clean` removes it.

# To use another Python: `make clean`, then `PYTHON_NAMES=python3.13 make setup`.
PYTHON_NAMES ?= python3.11 python3.12 python3.13 python3.14 python3
BIN := .venv/bin
STAMP := .venv/.setup
MEMBERS := . $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml plugin_template/*/pyproject.toml))
PROJECTS := $(patsubst ./%,%,$(MEMBERS:%=%/pyproject.toml))
PACKAGES := gatepost $(notdir $(patsubst %/__init__.py,%,$(wildcard plugins/*/gatepost_*/__init__.py plugin_template/*/gatepost_*/__init__.py)))
# constraints.txt pins the requirements of these: the gateway and its plugins, without developer tools and template.
SHIPPED := $(filter-out plugin_template/%,$(PROJECTS))
ARGS :=
QUICK := tests/architecture tests/callbacks tests/cli tests/config tests/contacts tests/docs tests/delivery/html_text/test_html_text.py tests/intake tests/observe tests/plugin_host tests/testing tests/web plugins/csv plugins/sandbox
DIST := dist
SEED := 1
# Not in requirements.lock: atheris has wheels only for Linux, and each release only for some Python versions.
ATHERIS_VERSION := 3.0.0
N := 1000000
RUNS := 200000

# Some container images forbid Python to store compiled modules. Then each of the hundred processes that the tests
# start would compile every module that it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup run test fast coverage test-browser screenshots bench soak torture programs lint fuzz docs reference reports dist lock hooks clean

help:  ## list the targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## build .venv with Gatepost, its plugins and all tools
	@echo ".venv is up to date"

run: setup  ## run the demo on this machine; ARGS=--exit ends it after the last step
	$(BIN)/gatepost demo $(ARGS)

# A test file runs in one process, so that its module fixtures are created once.
DISTRIBUTION := --numprocesses auto --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/pytest $(DISTRIBUTION)

test: setup  ## run all tests; ARGS are arguments of pytest
	$(PYTEST) $(ARGS)

fast: setup  ## run a part of the tests that takes less than a minute
	$(PYTEST) $(QUICK) $(ARGS)

test-browser: setup  ## test the console in a real browser; needs chromium, which `make programs` installs
	$(BIN)/pytest tests/browser $(ARGS)

screenshots: setup  ## make the pictures of the console in docs/console anew, with chromium
	$(BIN)/python docs/screenshots.py

# All data goes into one folder: each process writes a file, and many have a working directory that a test checks.
coverage: setup  ## run all tests and measure the lines and branches that they reach; fails below the limit in pyproject.toml
	rm -rf build/coverage && mkdir -p build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage run -m pytest $(DISTRIBUTION) --quiet $(ARGS)
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage combine --quiet build/coverage
	COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage report

bench: setup  ## measure CPU and throughput against yardsticks (20 minutes, idle Linux; ARGS=--quick: 5); ARGS are arguments of bench.py
	$(BIN)/python benchmarks/bench.py $(ARGS)

soak: setup  ## send 500 messages a second the whole way for an hour, and watch memory; ARGS="--minutes 10"
	$(BIN)/python benchmarks/soak.py $(ARGS)

torture: setup  ## break processes, disks and clocks, and count what is lost; SEED=1, ARGS="--scale 0.1 kill-sqlite"
	PYTHONPATH=tests $(BIN)/python -m torture --seed $(SEED) $(ARGS)

# Without these programs the tests that need them are skipped by name. Ubuntu has no package of chromium.
# Postfix without a configuration does not start as a service.
programs:  ## install the programs that some tests need; as root, on Debian or Ubuntu
	-apt-get -qq update
	echo postfix postfix/main_mailer_type select No configuration | debconf-set-selections
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install caddy mariadb-server nginx pgbouncer postfix prometheus spamassassin systemd > /dev/null
	-DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install chromium > /dev/null
	-command -v npm > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install nodejs npm > /dev/null
	-npm install --silent --global smpp@0.5.1  # the message centre that the tests of plugins/smpp need

lint: setup  ## check style, types, the import layers and the workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES:%=-p %)
	$(BIN)/lint-imports --no-logo
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows

fuzz: setup  ## send N=1000000 mutated requests to a real gateway, and RUNS=200000 inputs to each parser
	PYTHONPATH=tests $(BIN)/python -m fuzz $(N)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target build/fuzz atheris==$(ATHERIS_VERSION)
	for target in decoder callback_url csv sendgrid vonage http forwarded; do \
		PYTHONPATH=tests:build/fuzz $(BIN)/python -m fuzz.guided $$target -runs=$(RUNS) || exit 1; \
	done

docs: setup  ## build the documentation into docs/_build; every warning is an error
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

reference: setup  ## write what the code and the READMEs of the plugins say into docs/reference
	$(BIN)/python docs/api_pages.py
	$(BIN)/python docs/status_matrix.py

# The folder of a plugin has the name that `use` gives it.
EMULATED := $(notdir $(patsubst %/pyproject.toml,%,$(shell grep -l gatepost.emulators plugins/*/pyproject.toml)))

reports: setup  ## run the conformance kit on every shipped plugin, and save each report in the plugin's package
	for plugin in $(EMULATED); do $(BIN)/gatepost conformance $$plugin --save || exit 1; done

# The same commit gives the same bytes: every file in an archive has the time of the commit. The time that hatchling has for
# a source without git is in 2020.
REPRODUCIBLE = TZ=UTC LC_ALL=C SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),1580601600)

dist: setup  ## build every wheel and sdist into DIST=dist, with constraints, SBOM and checksums
	rm -f $(DIST)/gatepost*.whl $(DIST)/gatepost*.tar.gz
	$(REPRODUCIBLE) $(BIN)/uv build --wheel --sdist --all-packages --no-build-isolation --python $(BIN)/python \
		--no-create-gitignore --quiet --out-dir $(DIST)
	rm -f $(DIST)/gatepost_example*
	cp constraints.txt $(DIST)/
	cd $(DIST) && export $(REPRODUCIBLE) && \
	{ cat constraints.txt; sha256sum gatepost*.whl | awk '{ print "./" $$2 " --hash=sha256:" $$1 }'; } | \
		PYTHONWARNINGS=ignore $(abspath $(BIN))/cyclonedx-py requirements --pyproject $(CURDIR)/pyproject.toml \
		--output-reproducible --spec-version 1.6 --output-file sbom.cdx.json - && \
	sha256sum gatepost*.whl gatepost*.tar.gz constraints.txt sbom.cdx.json > SHA256SUMS

lock: $(BIN)/uv  ## update the lock files; ARGS=--upgrade takes the newest versions
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" --no-emit-package gatepost --all-extras --group dev --group bench \
		$(PROJECTS) --output-file requirements.lock $(ARGS)
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-annotate --quiet \
		--custom-compile-command "make lock" --no-emit-package gatepost --extra alerts --extra console --extra encryption --extra merge-fields --extra mysql --extra otel --extra postgres \
		--constraint requirements.lock $(SHIPPED) --output-file constraints.txt $(ARGS)
	echo uv | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command "make lock" - --output-file uv-bootstrap.lock $(ARGS)

hooks: setup  ## make git run the style checks before each commit
	$(BIN)/pre-commit install

clean:  ## remove .venv and everything that was built
	rm -rf .venv docs/_build dist build htmlcov .coverage
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Take the oldest Python that is new enough, because the tests must pass on it first.
# Run each one: version managers leave commands that exist but do not work.
$(BIN)/python:
	@for name in $(PYTHON_NAMES); do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			$$name -m venv .venv && exit 0; rm -rf .venv; exit 1; \
		fi; \
	done; \
	echo "Gatepost needs Python 3.11 or newer; none was found under these names: $(PYTHON_NAMES)" >&2; exit 1

$(BIN)/uv: uv-bootstrap.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement uv-bootstrap.lock
	@touch $@

$(STAMP): requirements.lock $(PROJECTS) Makefile | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(MEMBERS:%=--editable %)
	@touch $@
