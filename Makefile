# What a person or CI runs. `make help` lists it; every target sets up first what it needs, quickly when it is there.
PORT ?= 8080
DATA ?= data
VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest
FAST := not integration and not acceptance and not media
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadgroup
CODE := orchestrator sdk recorder vault engine greenroom examples bench scripts tests

.DEFAULT_GOAL := help
.PHONY: help setup environment media-server s3-server agents browser browser-client tracer run test check full bench docs fmt clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

setup: ## locked packages into .venv, livekit-server into .tools; at once when both are there
	@$(MAKE) --no-print-directory -j2 environment media-server

environment:
	@python=$$(PYTHON="$(PYTHON)" scripts/python.sh) && "$$python" scripts/setup.py

media-server:
	@python=$$(PYTHON="$(PYTHON)" scripts/python.sh) && "$$python" scripts/livekit_server.py >/dev/null

s3-server: # the S3 server that tests store recordings in
	@python=$$(PYTHON="$(PYTHON)" scripts/python.sh) && "$$python" scripts/versitygw.py >/dev/null

browser: environment # Chromium for the tests of the player; without one they are skipped, with a reason
	@$(VENV)/python scripts/chromium.py >/dev/null || true

browser-client: environment # LiveKit's client for browsers, by npm; without it the tests in a page are skipped, with a reason
	@$(VENV)/python scripts/browser_client.py >/dev/null || true

tracer: environment # strace for the tests that kill the recorder; without it two are skipped, with a reason
	@$(VENV)/python scripts/strace.py >/dev/null || true

agents: environment # the environment of the LiveKit agents that tests and benches start
	@$(VENV)/python scripts/agents_environment.py >/dev/null

run: environment ## everything on this machine: the demo first, then it stays up; one Ctrl-C ends it
	@exec $(VENV)/greenroom up --demo --port $(PORT) --data $(DATA)

check: environment ## format, lint, types, import rules, docs, fast tests
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/python scripts/docs.py --check
	$(PYTEST) $(SIDE_BY_SIDE) -m "$(FAST)"

# The media tests load both cores and measure time, so they run alone, and first: 5 means that there are none.
# The others run side by side; those that hold a time limit are a group (`xdist_group("timed")`), one at a time.
# CHECKED=1 leaves out the fast tests: `make check` has just run them.
test: setup s3-server agents browser browser-client tracer ## every test: fast, integration, acceptance and media
	$(PYTEST) -m media || [ $$? -eq 5 ]
	$(PYTEST) $(SIDE_BY_SIDE) -m "not media$(if $(CHECKED), and not ($(FAST)))"

full: export GREENROOM_FULL = 1
full: check test bench ## check, test with the full numbers, and bench

bench: setup agents ## the measurements of docs/RESULTS.md
	@missed=; for file in bench/[a-z]*.py; do name=$$(basename $$file .py); echo "== bench.$$name"; \
		$(VENV)/python -m bench.$$name || missed="$$missed $$name"; done; \
	[ -z "$$missed" ] || { echo "goals missed or failed:$$missed" >&2; exit 1; }

docs: environment ## print again the pages that are made from code
	$(VENV)/python scripts/docs.py

fmt: environment ## format, and mend what ruff can mend
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

clean: ## remove caches and build leftovers; .venv, .tools and data stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
