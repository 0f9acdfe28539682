# Everything below creates what it needs (a virtual environment in .venv, the release build) and
# is idempotent: a second run takes seconds.
.PHONY: help setup build test check test-rust test-python demo bench clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCES := $(shell find rust -name '*.rs') $(shell find rust -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml

help:
	@echo "make test   format, lint, types, Rust and Python tests, doctests"
	@echo "make demo   bucket a small bilingual corpus, learn its human reference, train a tiny model (minutes; no network beyond the package index)"
	@echo "make bench  every benchmark, beside its peers (slow); make bench ARGS=--quick"
	@echo "make build  the virtual environment with polyalign in it (editable, release build)"

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# The dependencies of the development and training extras, without building polyalign itself.
$(VENV)/.installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra dev --extra train
	@touch $@

$(VENV)/.built: $(SOURCES) $(VENV)/.installed
	VIRTUAL_ENV=$(abspath $(VENV)) PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin develop --release --uv
	@touch $@

setup: $(VENV)/.installed
build: $(VENV)/.built

check: $(VENV)/.installed
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test-rust:
	cargo test --release --workspace --locked

test-python: build
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

test: check test-rust test-python

demo: build
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra demo
	$(BIN)/python -m polyalign.demo

bench: build
	$(BIN)/python benches/run.py $(ARGS)

clean:
	rm -rf $(VENV) target demo dist
