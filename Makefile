# Everything below creates what it needs (a virtual environment in .venv, the release build) and
# is idempotent: a second run takes seconds.
.PHONY: help setup build test check lint-python lint-rust test-rust test-python test-lowest wheel-tools wheel check-wheel demo bench clean \
  wheel-installed tried-wheel tried-demo
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WHEEL  := $(wildcard dist/polyalign-*.whl)
WHEEL_VENV := .venv-wheel
LOWEST_VENV := .venv-lowest
TRAINING_TESTS := $(shell grep -lE 'importorskip."trl"' tests/*.py)
ifeq ($(shell uname -s),Linux)
LINK := -- -C linker=$(CURDIR)/rust/polyalign-python/link-old-glibc
WHEEL_FLAGS := --compatibility manylinux_2_28 $(LINK)
WHEEL_AUDIT := $(BIN)/auditwheel show dist/*.whl
endif
# What the machine picks by itself is tested by `make test`.
SIMD_LEVELS := portable $(shell grep -qs avx512 /proc/cpuinfo && echo avx2)
# Each compares the engine with an oracle. Waiting for interruptions and for other processes is the same at each level.
SIMD_TESTS := tests/test_token_counter.py tests/test_token_counter_property.py tests/test_features.py tests/test_distances.py \
  -k "not (control_c or ctrl_c or interrupted or worker_processes or hub_name or gil or datasets or settings_that)"
SOURCES := $(shell find rust -name '*.rs') $(shell find rust -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml

help:
	@echo "make test   format, lint, types, Rust and Python tests, doctests"
	@echo "make demo   bucket a small bilingual corpus, learn its human reference; train SmolLM2-135M on people's replies and show what changes (minutes; no network beyond the package index)"
	@echo "make wheel  a wheel for any Linux since glibc 2.28, audited, in dist/ (make check-wheel tries it)"
	@echo "make bench  every benchmark, beside its peers (slow); make bench ARGS=--quick"
	@echo "make build  the virtual environment with polyalign in it (editable, release build)"

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# The dependencies of the development and training extras, without building polyalign itself.
$(VENV)/.installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra dev --extra train
	@touch $@

# Where the tools of `wheel` are, the extension is linked as the wheel's is, so that it is compiled once for both.
$(VENV)/.built: $(SOURCES) $(VENV)/.installed
	VIRTUAL_ENV=$(abspath $(VENV)) PATH="$(abspath $(BIN)):$$PATH" \
	  $(BIN)/maturin develop --release --uv $(if $(wildcard $(BIN)/cargo-zigbuild),$(LINK))
	@touch $@

setup: $(VENV)/.installed
build: $(VENV)/.built

# What needs nothing compiled comes first.
check: lint-python lint-rust

lint-python: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-rust:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings

# Clippy has compiled the examples, which no test runs.
test-rust:
	cargo test --release --workspace --locked --tests
	cargo test --release --workspace --locked --doc

test-python: build
	$(BIN)/python -m pytest -n auto --dist worksteal

test: check test-rust test-python

# The oldest versions that the extra `train` promises.
test-lowest: build
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST_VENV)
	$(BIN)/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --resolution lowest-direct -r pyproject.toml --extra train --extra dev
	PYTHONPATH="$(abspath python)" $(LOWEST_VENV)/bin/python -m pytest -n auto --dist worksteal $(TRAINING_TESTS)

wheel-tools: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group wheel

# What is compiled is that of the tests, for which the interpreter must be named as `build` does.
wheel: wheel-tools
	rm -rf dist
	rust/polyalign-python/notices > NOTICES.txt
	PATH="$(abspath $(BIN)):$$PATH" maturin build --release --locked --interpreter $(abspath $(BIN)/python) --out dist $(WHEEL_FLAGS)
	$(BIN)/twine check --strict dist/*.whl
	$(BIN)/abi3audit --strict --report dist/*.whl
	$(WHEEL_AUDIT)
	@du -m dist/*.whl | awk '$$1 > 15 { print $$2 " has " $$1 " MB; at most 15"; exit 1 }'

check-wheel: $(WHEEL_VENV)/.installed
	UV="$(abspath $(BIN)/uv)" POLYALIGN_WHEEL="$(abspath $(WHEEL))" $(WHEEL_VENV)/bin/python -m pytest -q tests/test_wheel.py
	for level in $(SIMD_LEVELS); do \
	  POLYALIGN_SIMD=$$level $(WHEEL_VENV)/bin/python -m pytest -q $(SIMD_TESTS) || exit 1; \
	done

$(WHEEL_VENV)/.installed: $(WHEEL) $(VENV)/.installed
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(WHEEL_VENV)
	$(BIN)/uv pip install --quiet --python $(WHEEL_VENV)/bin/python "$(WHEEL)[demo,dev]"
	@touch $@

# The wheel serves where there is one, so that a first try need not compile. The demo fetches its model by uv.
ifneq ($(WHEEL),)
demo: $(WHEEL_VENV)/.installed
	PATH="$(abspath $(BIN)):$$PATH" $(WHEEL_VENV)/bin/python -m polyalign.demo $(DEMO_ARGS)
else
demo: build
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra demo
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m polyalign.demo $(DEMO_ARGS)
endif

# For .ci/run: the name of a wheel is known once it is there.
wheel-installed: wheel
	$(MAKE) $(WHEEL_VENV)/.installed
tried-wheel: wheel-installed
	$(MAKE) check-wheel
tried-demo: wheel-installed
	$(MAKE) demo DEMO_ARGS=--quick

bench: build
	$(BIN)/python benches/run.py $(ARGS)

clean:
	rm -rf $(VENV) $(WHEEL_VENV) $(LOWEST_VENV) target demo dist NOTICES.txt
