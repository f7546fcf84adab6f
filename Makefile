# The developer's interface. What each target does is in hack/.
VENV := $(or $(CLM_VENV),.venv)

.DEFAULT_GOAL := help
.PHONY: help run stop test lint bench fuzz chaos clean

help: ## Show this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 14

run: ## Start everything on this machine and show what it does
	@hack/run

stop: ## Stop it; databases, token and objects are kept
	@hack/stop

test: ## Set up, lint, and run every test
	@hack/setup --for-tests
	@hack/lint
	@$(VENV)/bin/python -m pytest -q tests -m "not kind"

lint: ## Style, types and layers
	@hack/setup
	@hack/lint

bench: ## Measure
	@hack/setup
	@$(VENV)/bin/python -m benchmarks.run
	@$(VENV)/bin/python -m benchmarks.crl
	@$(VENV)/bin/python -m benchmarks.ocsp

fuzz: ## Feed every parser with what is nearly right, SECONDS=60 each
	@hack/fuzz $(or $(SECONDS),60)

chaos: ## Kill processes at every boundary and prove that nothing is lost
	@hack/setup
	@$(VENV)/bin/python -m tests.chaos.run

clean: ## Remove token, databases and objects, and the virtual environment
	@hack/clean
