# Targets install what they need. Required: Python 3.11 with venv, make and git; Go to build a
# Kubernetes cluster for the tests. Test servers are installed in .cache, the cluster's programs in
# ~/.cache/deployctl, or both in DEPLOYCTL_TEST_CACHE.

# Debian and Ubuntu optimize their Python by profile, pyenv does not: tests take a fifth less CPU
# time. PYTHON=python3 takes the one on the PATH.
SYSTEM_PYTHON := /usr/bin/python3 -c \
	"import ensurepip, sys, venv; (3, 11) <= sys.version_info < (3, 14) and print('/usr/bin/python3')"
PYTHON ?= $(or $(shell $(SYSTEM_PYTHON) 2>/dev/null),python3)
CACHE := $(or $(DEPLOYCTL_TEST_CACHE),.cache)
PREFECT_3 := $(CACHE)/prefect-3.9.1
PREFECT_2 := $(CACHE)/prefect-2.20.27
OTHER_SERVERS := $(patsubst tests/servers/smoke/%.txt,$(CACHE)/%,$(wildcard tests/servers/smoke/*.txt))
BIN := .venv/bin
# Test processes: two for each of two cores, since many tests wait. The tests of a file run in one
# process, because they share servers (tests/conftest.py).
JOBS ?= 4
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0

# Most tests start Python programs, which without bytecode compile every module that they import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help check test test-cluster test-pythons soak lint bench demo hooks servers servers-all
.PHONY: cluster-tools clean
.DELETE_ON_ERROR:

help:
	@echo "make check          lint, types, unit tests and a smoke test of each integration: 3 minutes"
	@echo "make test           all tests, with real Prefect 2.20 and 3.x servers and Kubernetes; JOBS=n"
	@echo "make test-cluster   a whole stack on a node: what takes too long for make test; 15 minutes"
	@echo "make servers-all    install older Prefect servers, too: make test includes them from then on"
	@echo "make test-pythons   the unit tests on each of Python 3.11, 3.12 and 3.13 that is here"
	@echo "make soak           500 flow runs while workers die and both APIs fail; RUNS=n REPLICAS=n"
	@echo "                    SERVER=sqlite|postgres SEED=n"
	@echo "make lint           check style, format, types and commit messages"
	@echo "make bench          compare the speed and memory of deployctl and the real prefect"
	@echo "make demo           deploy examples/etl to a real Prefect server and run it"
	@echo "make hooks          install pre-commit and its Git hooks in this clone"
	@echo "make clean          delete what these targets install, except the cluster's programs"

check: lint servers
	$(BIN)/python -m scripts.cluster_tools --if-possible
	$(PYTEST) -m "smoke or not integration"

test: .venv/.ready servers
	$(BIN)/python -m scripts.cluster_tools --if-possible
	$(PYTEST)

test-cluster: .venv/.ready servers
	$(BIN)/python -m scripts.cluster_tools --with-dns
	$(BIN)/python -m pytest -m cluster --durations 0

test-pythons: .venv/.ready
	$(BIN)/python -m scripts.test_pythons --numprocesses $(JOBS) --dist loadfile

soak: .venv/.ready servers cluster-tools
	$(BIN)/python -m scripts.soak $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(SERVER),--server $(SERVER))

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.check_commits

bench: .venv/.ready servers
	$(BIN)/python -m benchmarks

demo: .venv/.ready $(PREFECT_3)/.ready
	@$(BIN)/python -m scripts.demo

hooks: .venv/.ready
	scripts/install.sh .venv pre-commit
	$(BIN)/pre-commit install

servers: $(PREFECT_3)/.ready $(PREFECT_2)/.ready

servers-all: servers $(addsuffix /.ready,$(OTHER_SERVERS))

cluster-tools: .venv/.ready
	$(BIN)/python -m scripts.cluster_tools

clean:
	rm -rf .venv $(PREFECT_3) $(PREFECT_2) $(OTHER_SERVERS) $(CACHE)/python-3.* .mypy_cache \
		.pytest_cache .ruff_cache .hypothesis dist

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

.venv/.ready: requirements-dev.txt pyproject.toml scripts/install.sh | $(BIN)/uv
	scripts/install.sh .venv -r requirements-dev.txt
	scripts/install.sh .venv --no-deps --editable .
	@touch $@

define install_server
rm -rf $(@D)
scripts/install.sh $(@D) --compile-bytecode -r $<
@touch $@
endef

$(CACHE)/prefect-%/.ready: tests/servers/prefect-%.txt scripts/install.sh | $(BIN)/uv
	$(install_server)

$(CACHE)/prefect-%/.ready: tests/servers/smoke/prefect-%.txt scripts/install.sh | $(BIN)/uv
	$(install_server)
