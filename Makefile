# Everything runs in .venv, which is rebuilt only when pyproject.toml changes. It needs make and Python 3.11 or newer.

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := $(VENV)/bin
PY := $(BIN)/python
ARGS ?=
PACKAGES := krishiv_guarantees krishiv_checkpoint krishiv_connectors krishiv_stream krishiv_conformance

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# Run command $(2) as step $(1), and say how long it took.
step = @echo "== $(1)"; began=$$(date +%s); $(2) && echo "== $(1): $$(( $$(date +%s) - began )) s"

.PHONY: help demo demo-lake test lint unit faults bench bench-delta bench-kafka bench-postgres bench-s3 certify docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo [ARGS=...]    the main job on generated bids, or on your files: killed three times, then compared"
	@echo "make demo-lake          Kafka to a Delta table on S3, killed three times; needs Java, Maven and Ceph"
	@echo "make test [ARGS=...]    style, types, import rules and every test, with a sample of the kill tests"
	@echo "make faults             every test of kills and other faults"
	@echo "make bench [ARGS=...]   throughput and latency beside a batch query"
	@echo "make bench-delta        throughput into and out of Delta tables, beside delta-rs alone"
	@echo "make bench-kafka        throughput and latency over Kafka, beside bare clients and others; needs Java and Maven"
	@echo "make bench-postgres     throughput into and out of PostgreSQL, beside its bare client; needs the server programs"
	@echo "make bench-s3           a checkpoint of a gigabyte into a bucket and out of it, beside bare transfers; needs Ceph"
	@echo "make certify            certify the shipped combinations anew"
	@echo "make docs               write docs/errors.md from the code"
	@echo "make clean              remove what these made"

$(VENV)/.package: pyproject.toml
	@test -n "$(PYTHON)" || { echo "krishiv-stream needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(PY) -m pip install --quiet --group dev
	@touch $@

demo: $(VENV)/.package
	@$(BIN)/krishiv-stream demo $(ARGS)

# Kafka and S3 servers of its own: needs Java, Maven and Ceph.
demo-lake: $(VENV)/.dev
	@$(PY) -m examples.kafka_to_delta.demo $(ARGS)

test: lint unit

lint: $(VENV)/.dev
	$(call step,ruff check,$(BIN)/ruff check)
	$(call step,ruff format,$(BIN)/ruff format --check)
	$(call step,mypy,$(BIN)/mypy $(addprefix -p ,$(PACKAGES)))
	$(call step,pyright,$(BIN)/pyright --pythonpath $(PY))
	$(call step,import rules,$(BIN)/lint-imports)

unit: $(VENV)/.dev
	$(call step,tests,$(PY) -m pytest -n auto --maxprocesses 8 --dist worksteal --durations 20 --durations-min 1 $(ARGS))

faults: $(VENV)/.dev
	$(call step,fault tests,$(PY) -m pytest -m "kill or fault" --kills all -n auto --maxprocesses 8 --dist worksteal --durations 20 $(ARGS))

bench: $(VENV)/.dev
	@$(PY) -m bench $(ARGS)

bench-delta: $(VENV)/.dev
	@$(PY) -m bench.delta $(ARGS)

bench-kafka: $(VENV)/.dev
	@$(PY) -m bench.kafka $(ARGS)

bench-postgres: $(VENV)/.dev
	@$(PY) -m bench.postgres $(ARGS)

bench-s3: $(VENV)/.dev
	@$(PY) -m bench.s3 $(ARGS)

# What starts and kills a Kafka broker and a PostgreSQL, for the connectors that need one. Without Java 17 and Maven, or
# without the server's programs, they are left out.
certify: export KRISHIV_CERTIFY_KAFKA ?= $(abspath $(PY)) $(abspath tests/services/kafka/command.py)
certify: export KRISHIV_CERTIFY_POSTGRES ?= $(abspath $(PY)) $(abspath tests/services/postgres/command.py)
certify: export KRISHIV_CERTIFY_S3 ?= $(abspath $(PY)) $(abspath tests/services/s3/command.py)
certify: $(VENV)/.dev
	@$(BIN)/krishiv-stream certify --shipped $(ARGS)

docs: $(VENV)/.dev
	@$(PY) -m tests.unit.house.error_docs

clean:
	rm -rf $(VENV) .demo .bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
