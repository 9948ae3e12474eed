# One command per job; `make` lists them. Everything is set up in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(HOME)/.cargo/bin:$(PATH)
export VIRTUAL_ENV := $(abspath $(VENV))
unexport CONDA_PREFIX

# RUST_PROFILE=develop compiles a change in seconds, to slow kernels; see Cargo.toml.
RUST_PROFILE ?= release
# Two processes of tests: more would take a gigabyte each. Each takes half of the files, and who is done
# helps the other: fixtures of files, compilers and adapters are made once.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal
EXTRAS := demo,test,lint,bench
RUST_SOURCES := Cargo.toml src/python/Cargo.toml pyproject.toml $(wildcard Cargo.lock) $(shell find src -name '*.rs' -o -name '*.wgsl')
# The crate, and the program of somebody else that embeds it.
TESTED := --package mho-core --package mho-embed --features mho-core/ndarray,mho-core/safetensors,mho-core/wgpu
# Lint has its own target folder: maturin sets variables that would make cargo build pyo3 anew
# each time the two alternate.
LINT_CARGO := CARGO_TARGET_DIR=target/lint cargo
SETUP := $(VENV)/.setup
PACKAGES := $(VENV)/.packages
EXTENSION := $(VENV)/.extension-$(RUST_PROFILE)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

$(SETUP): pyproject.toml
	@sh tools/check-system.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9.4,<2'
	@touch $@

# Downloads and compilers hardly disturb each other, so that this may run beside them.
$(PACKAGES): $(SETUP) tools/requirements.py
	$(BIN)/python tools/requirements.py $(EXTRAS) > $@.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $@.txt
	@touch $@

$(EXTENSION): $(PACKAGES) $(RUST_SOURCES)
	$(BIN)/maturin develop --profile $(RUST_PROFILE)
	@rm -f $(VENV)/.extension-*
	@touch $@

.PHONY: dev
dev: $(EXTENSION) ## Build the extension and install the package for editing

.PHONY: demo
demo: $(EXTENSION) ## Classifiers of handwritten digits on a chip and trained in memory, draw out/digits.png
	$(BIN)/python examples/digits.py

.PHONY: test
test: gpu-driver $(SETUP) ## Run all fast tests
	$(MAKE) --no-print-directory --jobs 2 test-rust $(PACKAGES)
	$(MAKE) --no-print-directory test-python

.PHONY: gpu-driver
gpu-driver:
	@sh tools/check-gpu.sh

.PHONY: test-rust
test-rust: ## Run the tests of the crate, without Python
	cargo test --profile $(RUST_PROFILE) --quiet $(TESTED)

.PHONY: test-python
test-python: $(EXTENSION) ## Run the tests of the package
	OMP_NUM_THREADS=1 $(PYTEST) -m 'not slow'

.PHONY: test-slow
test-slow: gpu-driver $(EXTENSION) ## Run the slow tests as well (statistics on large samples)
	cargo test --release --quiet $(TESTED) -- --include-ignored
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=slow $(PYTEST)

.PHONY: lint
lint: lint-rust lint-python ## Check format, lints, types and documentation

.PHONY: lint-rust
lint-rust: $(SETUP)
	$(BIN)/python tools/check_cycles.py src
	$(BIN)/python tools/check_cycles.py src/python
	cargo fmt --all --check
	$(LINT_CARGO) clippy --quiet --workspace --exclude mho-embed --all-targets -- -D warnings
	$(LINT_CARGO) clippy --quiet --workspace --all-targets --features mho-core/ndarray,mho-core/safetensors,mho-core/wgpu,mho-python/wgpu -- -D warnings
	$(LINT_CARGO) check --quiet --package mho-core --examples --all-features
	RUSTDOCFLAGS='-D warnings' $(LINT_CARGO) doc --quiet --no-deps --all-features --package mho-core

.PHONY: lint-python
lint-python: $(EXTENSION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest mho._core

.PHONY: fmt
fmt: $(EXTENSION) ## Format everything
	cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(EXTENSION) ## Measure the speed, write out/bench.json
	$(BIN)/python benches/python/run.py
	cargo bench --package mho-benches -- --warm-up-time 0.5 --measurement-time 1 --sample-size 10

.PHONY: bench-models
bench-models: $(EXTENSION) ## Convert a decoder of a billion weights and fine-tune GPT-2: 8 GB, ten minutes
	$(BIN)/python benches/python/decoder.py

.PHONY: bench-gpu
bench-gpu: ## Measure the speed on a graphics processor, write out/bench-gpu.json
	$(MAKE) --no-print-directory dev RUST_PROFILE=dist
	$(BIN)/python benches/python/gpu.py

.PHONY: docs
docs: $(EXTENSION) ## Draw the figures of docs/ anew and build the documentation of the crate
	$(BIN)/python docs/figures/mvm.py
	$(BIN)/python docs/figures/ir_drop_time.py
	$(BIN)/python docs/figures/low_precision.py
	$(BIN)/python docs/figures/devices.py
	$(BIN)/python docs/figures/algorithms.py
	$(BIN)/python docs/figures/torch_transfer.py
	$(BIN)/python docs/figures/inference.py
	$(BIN)/python docs/figures/evaluation.py
	$(BIN)/python docs/figures/learning.py
	$(BIN)/python docs/figures/custom_rules.py
	$(BIN)/python docs/figures/networks.py
	$(BIN)/python docs/figures/hardware_aware.py
	$(BIN)/python docs/figures/cost.py
	$(BIN)/python examples/digits.py --output docs/figures/digits.png
	cargo doc --no-deps

.PHONY: clean
clean: ## Remove everything that was built, the environment included
	rm -rf target out $(VENV) python/mho/*.so
