# demo, test, lint and bench each set up what they need; only Python 3.11 with venv, make and git
# must be there, and Go for the tests that need a Kubernetes cluster. Test servers live in .cache, the
# cluster's programs in ~/.cache/deployctl, or both in DEPLOYCTL_TEST_CACHE.

PYTHON ?= python3
CACHE := $(or $(DEPLOYCTL_TEST_CACHE),.cache)
PREFECT_3 := $(CACHE)/prefect-3.8.8
PREFECT_2 := $(CACHE)/prefect-2.20.26
BIN := .venv/bin

.PHONY: help demo test soak lint bench servers cluster-tools clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    deploy examples/etl to a real Prefect server and show the result"
	@echo "make test    run all tests, against real servers of Prefect 2.20 and 3.x and a Kubernetes"
	@echo "make soak    run 500 flow runs while workers die and both APIs fail; SEED=n RUNS=n"
	@echo "make lint    check style, format and types"
	@echo "make bench   measure deployctl beside the real prefect"
	@echo "make clean   delete what make has made"

demo: .venv/.ready $(PREFECT_3)/.ready
	@$(BIN)/python -m scripts.demo

test: .venv/.ready servers
	$(BIN)/python -m scripts.cluster_tools --if-possible
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

soak: .venv/.ready servers cluster-tools
	$(BIN)/python -m scripts.soak $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.ready servers
	$(BIN)/python -m benchmarks

servers: $(PREFECT_3)/.ready $(PREFECT_2)/.ready

cluster-tools: .venv/.ready
	$(BIN)/python -m scripts.cluster_tools

clean:
	rm -rf .venv $(PREFECT_3) $(PREFECT_2) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

.venv/.ready: requirements-dev.txt pyproject.toml scripts/install.sh | $(BIN)/uv
	scripts/install.sh .venv -r requirements-dev.txt
	scripts/install.sh .venv --no-deps --editable .
	@touch $@

$(CACHE)/prefect-%/.ready: tests/servers/prefect-%.txt scripts/install.sh | $(BIN)/uv
	rm -rf $(@D)
	scripts/install.sh $(@D) --compile-bytecode -r $<
	@touch $@
