# Every command that people and CI run. `make` alone lists them.
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
URL := http://$(or $(LUNGCT_HOST),127.0.0.1):$(or $(LUNGCT_PORT),8000)

# Tests start hundreds of processes: with what an earlier one compiled, each is ready half a second sooner.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter with venv that TensorFlow has wheels for; say `make PYTHON=/path/to/python run` for another one.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13; do \
	$$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && echo $$python && break; done)

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-faults lint lock audit sbom up down clean bench bench-swap fuzz lock-bench screenshots

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## install, train the demo model if the repository is empty, serve on 127.0.0.1:8000
	$(BIN)/python -m trainer run --if-empty
	@printf '\nUpload page   %s/\nSwagger UI    %s/docs\nStop          Ctrl-C\n\n' $(URL) $(URL)
	@exec $(BIN)/python -m service

# Quick tests on every core and a half, as many wait for a second; all of them, browsers too, on every core.
# pytest ends with 5 where none was selected.
CORES := $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores : 8)))
WORKERS ?= $(shell echo $$(($(CORES) + $(CORES) / 2)))
PYTEST := $(BIN)/python -m pytest
TOGETHER := $(PYTEST) --dist loadfile
QUICK := not (alone or browser or container or faults or real_data or slow or tools)

test: $(VENV)/dev.stamp ## install, run what any machine can run, in minutes (PYTEST_ARGS="tests/unit -k …" narrows it)
	@$(TOGETHER) -n $(WORKERS) -m "$(QUICK)" $(PYTEST_ARGS)

test-all: $(VENV)/dev.stamp ## all tests: first those that bear company, then what measures, kills or needs every core
	@ran=0; \
	$(TOGETHER) -n $(CORES) -m "not alone" $(PYTEST_ARGS) || (( $$? == 5 )) || ran=1; \
	$(PYTEST) -m alone $(PYTEST_ARGS) || (( $$? == 5 )) || ran=1; \
	exit $$ran

test-faults: $(VENV)/dev.stamp ## break what is around a running service, each fault for a minute, and kill it 200 times
	LUNGCT_FAULT_SECONDS=60 LUNGCT_KILLS=200 $(BIN)/python -m pytest -m faults --log-cli-level=INFO $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp ## check format, style, types, and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

screenshots: $(VENV)/dev.stamp ## photograph the page with the demo model into docs/images (needs Chromium, and models/ as `make run` leaves it)
	$(BIN)/python -m tests.support.page.screenshots $(or $(LUNGCT_MODEL_REPOSITORY),models)

up: ## build both images, train in a container, serve from another (Docker and Compose)
	$(COMPOSE) up --build --detach
	@printf '\nUpload page   http://127.0.0.1:%s/ (answers 503 until the first model is published)\nProgress      %s logs --follow\nStop          make down\n' $(or $(LUNGCT_PUBLISHED_PORT),8000) '$(COMPOSE)'

down: ## stop what `make up` started; the published models stay in their volume
	$(COMPOSE) down

# One resolution for everything (dev.txt), to which the smaller files are held: what is tested is what is shipped.
# PIP_* variables and uv's configuration of this machine stay out of it, so that no address or path gets into a file.
UV_COMPILE = env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-header --no-annotate \
	$(LOCK_ARGS) pyproject.toml

lock: $(VENV)/bin/python ## lock the dependencies of pyproject.toml with hashes (LOCK_ARGS=--upgrade takes newer ones)
	$(PIP) install --quiet uv
	$(UV_COMPILE) --extra service --extra trainer --extra signing --extra dev -o requirements/dev.txt
	$(UV_COMPILE) --extra service --extra signing -c requirements/dev.txt -o requirements/service.txt
	$(UV_COMPILE) --extra trainer --extra signing -c requirements/dev.txt -o requirements/trainer.txt
	$(UV_COMPILE) --extra trainer-gpu --extra signing -c requirements/dev.txt -o requirements/trainer-gpu.txt

# Tools that look at the locks and not at the code: an environment of their own, so that they change nothing in ours.
LOOK := build/look

audit: $(LOOK)/stamp ## ask the public databases for known vulnerabilities of what is locked (needs the network)
	for lock in service trainer dev; do $(LOOK)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/$$lock.txt || exit; done

sbom: $(LOOK)/stamp ## write build/sbom-service.json and -trainer.json (CycloneDX) from the locks
	for lock in service trainer; do $(LOOK)/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml \
		--of JSON -o build/sbom-$$lock.json requirements/$$lock.txt || exit; done

$(LOOK)/stamp: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(LOOK)
	$(LOOK)/bin/pip --disable-pip-version-check install --quiet cyclonedx-bom pip-audit
	@touch $@

# atheris beside everything that the tests have. Wheels only: building it takes a compiler and an hour.
FUZZ := build/fuzz
ATHERIS := atheris==3.0.0
FUZZ_SECONDS ?= 600

fuzz: $(FUZZ)/stamp ## fuzz what reads bytes from outside, FUZZ_SECONDS (600) for each target (FUZZ_ARGS="png ledger --jobs=1")
	$(FUZZ)/bin/python -m tests.fuzz --seconds=$(FUZZ_SECONDS) $(FUZZ_ARGS)

$(FUZZ)/stamp: $(VENV)/dev.stamp
	$(VENV)/bin/python -m venv $(FUZZ)
	$(BIN)/python -c 'import site; print(*site.getsitepackages(), sep="\n")' \
		> "$$($(FUZZ)/bin/python -c 'import site; print(site.getsitepackages()[0])')/lungct-dev.pth"
	$(FUZZ)/bin/pip --disable-pip-version-check install --quiet --no-deps --only-binary=:all: $(ATHERIS)
	@touch $@

clean: ## remove the virtual environment and caches; models/ and data/ stay
	rm -rf $(VENV) .bench-venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@[[ -n "$(PYTHON)" ]] || { echo "no Python 3.11, 3.12 or 3.13 found; say make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# --no-deps: a lock is complete, and pip, which resolves again otherwise, fails where a package wants an extra of a locked
# one (pydantic[email]). A stamp is newer than the requirements that were installed: the second run starts at once.
$(VENV)/run.stamp: requirements/service.txt requirements/trainer.txt | $(VENV)/bin/python
	$(PIP) install --no-deps --require-hashes -r requirements/service.txt -r requirements/trainer.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(VENV)/bin/python
	$(PIP) install --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

# --- benchmarks: an environment of their own, because the peers are nothing that tests or users need ------------------

BENCH := .bench-venv

bench: $(BENCH)/bench.stamp ## serve beside LitServe, BentoML, mosec and Flask; about 25 minutes (BENCH_ARGS=--quick: 2)
	$(BENCH)/bin/python -m benchmarks.serving.compare $(BENCH_ARGS)

bench-swap: $(BENCH)/bench.stamp ## swap the model 100 times under load; about 22 minutes (BENCH_ARGS=--quick: 1)
	$(BENCH)/bin/python -m benchmarks.serving.swap $(BENCH_ARGS)

# Held to dev.txt, so that the service is measured as it is shipped. The one exception: BentoML's OpenTelemetry packages
# pin the patch release of opentelemetry-api that they were built with.
lock-bench: $(VENV)/bin/python ## lock what the benchmarks need, after `make lock`
	$(PIP) install --quiet uv
	held=$$(mktemp) && grep -E '^[a-z].*==' requirements/dev.txt | sed 's/ \\$$//' | grep -v '^opentelemetry-api==' > $$held \
		&& $(UV_COMPILE) requirements/bench.in --extra service --extra trainer -c $$held -o requirements/bench.txt; \
		code=$$?; rm -f $$held; exit $$code

$(BENCH)/bin/python:
	@[[ -n "$(PYTHON)" ]] || { echo "no Python 3.11, 3.12 or 3.13 found; say make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(BENCH)

$(BENCH)/bench.stamp: requirements/bench.txt | $(BENCH)/bin/python
	$(BENCH)/bin/pip --disable-pip-version-check install --require-hashes -r requirements/bench.txt
	@touch $@
