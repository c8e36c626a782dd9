# Everything a newcomer, a developer and CI do here. `make` alone says what there is.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINT ?=
MINUTES ?= 5
OPTIONS ?=
COMBINATIONS ?=
READY := $(VENV)/.ready

# The demo has a FiftyOne database, a private Redis and settings of its own.
DEMO := $(CURDIR)/.demo
DEMO_ENV := FIFTYONE_MODEL_ZOO_DIR=$(DEMO)/models FIFTYONE_BRAIN_CONFIG_PATH=$(DEMO)/brain_config.json \
	FIFTYONE_REDIS_SERVER_DIR=$(DEMO)/redis FIFTYONE_REDIS_DEMO_DIR=$(DEMO) \
	FIFTYONE_PLUGINS_DIR=$(DEMO)/plugins \
	FIFTYONE_DO_NOT_TRACK=1 FIFTYONE_DATABASE_VALIDATION=false
WITH_MONGOD := $(BIN)/python scripts/mongod.py run $(DEMO)/mongo

.DEFAULT_GOAL := help
.PHONY: help env demo app browser test test-slow screenshots test-all bench bench-million soak lint format types check tables docs package clean

help: ## Say what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

env: $(READY) ## Make the environment in .venv.

$(READY): pyproject.toml scripts/mongod.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; say which with make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(CONSTRAINT) --editable '.[dev]'
	$(BIN)/python scripts/mongod.py ensure
	@touch $@

demo: env ## Index, search and picture handwritten digits.
	@$(DEMO_ENV) $(WITH_MONGOD) $(BIN)/fiftyone-redis demo

app: env ## Do the same, and leave it open in the FiftyOne App.
	@$(DEMO_ENV) $(BIN)/fiftyone-redis app install
	@$(DEMO_ENV) $(WITH_MONGOD) $(BIN)/fiftyone-redis demo --app

browser: env # Bring a browser for the tests of the App; quick when it is there.
	@$(BIN)/python scripts/browser.py ensure

test: browser ## Run the tests.
	$(BIN)/python -m pytest -m "not slow"

test-slow: browser ## Run the slow tests.
	$(BIN)/python -m pytest -m slow

screenshots: browser ## Take the screenshots of docs/app.md anew.
	SCREENSHOTS=$(CURDIR)/docs/images/app $(BIN)/python -m pytest tests/app

test-all: ## Run the tests on all supported versions of Python, redis-py and FiftyOne.
	$(PYTHON) scripts/test_all.py $(COMBINATIONS)

lint: env ## Look for faults and for what is not formatted.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env ## Check the types.
	$(BIN)/mypy

check: lint types test ## Do what CI does first.

bench: env ## Measure everything against FiftyOne's own backends, in about 15 minutes.
	$(BIN)/python benchmarks/run.py

bench-million: env ## Measure a million vectors, in hours; OPTIONS="--count 200000 ..." for less.
	$(BIN)/python scripts/mongod.py run .bench/million/mongo $(BIN)/python benchmarks/million.py $(OPTIONS)

soak: env ## Use one index from several processes and inject faults, for MINUTES=5.
	$(BIN)/python benchmarks/soak.py $(MINUTES)
	$(BIN)/python -m pytest -m slow tests/faults/test_model.py

tables: env ## Write the reference tables of docs/ anew.
	$(BIN)/python scripts/reference.py

docs: env ## Build the documentation as a site in site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

package: env ## Build the wheel and the source archive in dist/.
	$(BIN)/python -m build --outdir dist .

clean: ## Remove the environment, the demo and what was built.
	-[ -x $(BIN)/fiftyone-redis ] && $(DEMO_ENV) $(BIN)/fiftyone-redis server stop
	rm -rf $(VENV) .venv-* .bench $(DEMO) dist build site .mypy_cache .pytest_cache .ruff_cache
