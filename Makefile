# Everything starts from nothing: each target makes what it needs, once, and a second run is quick.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

# Debian packages the tests need, as `package` or `package=command`.
TEST_PACKAGES := chromium docker-compose nodejs=node npm curl jq openssl redis-server g++ pkg-config qt6-base-dev qt6-websockets-dev

# And the benchmark. (Nchan is measured where nginx has it: libnginx-mod-nchan; Centrifugo where Go is.)
BENCH_PACKAGES := gcc=cc libc6-dev nodejs=node npm redis-server

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
REQUIREMENTS := setup.cfg pyproject.toml notifier/__init__.py
ARGS ?=

# Colours, on a terminal alone and not against NO_COLOR.
ifneq ($(and $(MAKE_TERMOUT),$(if $(NO_COLOR),,yes)),)
BOLD := $(shell printf '\033[1m')
CYAN := $(shell printf '\033[36m')
DIM := $(shell printf '\033[2m')
RESET := $(shell printf '\033[0m')
endif
say = @echo "$(DIM)→$(RESET) $(1)"

.PHONY: help
help: ## Show this help
	@echo "$(BOLD)notifier$(RESET): self-hosted real-time notifications"
	@echo
	@sed -nE 's/^([a-z]+):.*## (.*)$$/  $(CYAN)make \1$(RESET)|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1   \2/p' Makefile
	@echo
	@echo "  $(DIM)make run ARGS='--port 9000'       more arguments for notifier serve$(RESET)"
	@echo "  $(DIM)make test ARGS='-k hub -x'        one pytest run with these arguments$(RESET)"
	@echo "  $(DIM)make run PYTHON=/path/to/python3  another Python (3.11 or newer)$(RESET)"

.PHONY: run
run: $(VENV)/.run ## Install into .venv and serve on http://127.0.0.1:8888
	@exec $(BIN)/notifier serve $(ARGS)

# Two workers, which wait at different times. Who dies is not replaced: the run would begin anew, or hang.
TWO := --numprocesses=auto --maxprocesses=2 --max-worker-restart=0
# Whole files, in the order in which they stand: what a file shares is made once.
BY_FILE := --dist=loadfile --no-loadscope-reorder

# Browser tests have a pytest of their own: sync Playwright leaves its event loop running behind it.
.PHONY: test
test: $(VENV)/.test ## Install what the tests need and run them all
	@.ci/system-packages $(TEST_PACKAGES)
ifeq ($(strip $(ARGS)),)
	@failed=; \
	$(BIN)/python -m pytest $(TWO) $(BY_FILE) -m "not alone" || failed=yes; \
	$(BIN)/python -m pytest -m alone || failed=yes; \
	$(BIN)/python -m pytest $(TWO) --dist=worksteal tests/browser || failed=yes; \
	test -z "$$failed"
else
	@$(BIN)/python -m pytest $(ARGS)
endif

.PHONY: check
check: $(VENV)/.dev ## Check format, lint, types and the layers
	$(call say,format)
	@$(BIN)/ruff format --check .
	$(call say,lint)
	@$(BIN)/ruff check .
	$(call say,types)
	@$(BIN)/mypy --strict notifier handlers
	$(call say,layers)
	@$(BIN)/python -m pytest --quiet tests/test_layers.py

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what lint can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.bench ## Measure it next to its peers, half an hour; ARGS=--quick is three minutes
	@.ci/system-packages $(BENCH_PACKAGES)
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: docs
docs: $(VENV)/.run ## Write the generated pages of docs/reference anew
	@$(BIN)/python -m notifier.cli.reference

.PHONY: clean
clean: ## Remove the venv, caches and build leftovers
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each says that the venv holds what setup.cfg asked for then.
$(BIN)/python:
	@python=$$(.ci/find-python); \
	if ! "$$python" -c 'import ensurepip' 2>/dev/null; then \
	  .ci/system-packages "$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	fi; \
	echo "$(DIM)→$(RESET) making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)

$(VENV)/.run: $(REQUIREMENTS) | $(BIN)/python
	$(call say,installing notifier)
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: $(REQUIREMENTS) | $(BIN)/python
	$(call say,installing notifier and what its tests need)
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(REQUIREMENTS) | $(BIN)/python
	$(call say,installing notifier and what its benchmark needs)
	@$(PIP) install --editable '.[bench]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: $(REQUIREMENTS) | $(BIN)/python
	$(call say,installing notifier and the tools of its checks)
	@$(PIP) install --editable '.[test,dev]'
	@touch $@ $(VENV)/.run $(VENV)/.test
