# Every target does its own set-up; what it makes stays in .venv, build, .cache and out. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:

PYTHON ?= python3
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=
export PYTHON
export CCACHE_DIR ?= $(CURDIR)/.cache/ccache
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export PRE_COMMIT_HOME ?= $(CURDIR)/.cache/pre-commit
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq
# Built in place, without isolation and in a folder that is kept, so that only what changed is compiled again.
PIP_INSTALL := $(PIP) install --no-build-isolation --config-settings=build-dir=build/py

cpp_inputs := $(shell find include src cmake -type f 2>/dev/null) CMakeLists.txt
package_inputs := $(cpp_inputs) $(shell find python -type f -not -path '*/__pycache__/*' 2>/dev/null) \
  pyproject.toml README.md LICENSE

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: .venv/.package ## build, and run `melisma features` on real audio (AUDIO=file-or-folder for your own)
	@tools/run.sh

.PHONY: test
test: test-cpp test-package test-python ## build, and run all C++ and Python tests

.PHONY: test-cpp
test-cpp: build-release
	ctest --preset release

.PHONY: test-package
test-package: build-release .venv/.adapter
	tests/cpp_package/run.sh

.PHONY: test-python
test-python: .venv/.adapter
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: build-release
build-release: system
	@tools/setup.sh metal
	cmake --preset release
	cmake --build --preset release --target melisma_libraries melisma_tests

.PHONY: test-asan
test-asan: system ## C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan

.PHONY: test-tsan
test-tsan: system ## C++ tests under ThreadSanitizer
	cmake --preset tsan
	cmake --build --preset tsan
	ctest --preset tsan

.PHONY: test-arm
test-arm: ## C++ tests cross-built for AArch64, under qemu-user (Debian)
	@tools/setup.sh arm
	cmake --preset arm
	cmake --build --preset arm --target melisma_tests
	ctest --preset arm

.PHONY: bench
bench: system .venv/.adapter ## C++ benchmarks, then Python side by side with torch, librosa and SciPy
	cmake --preset release
	cmake --build --preset release --target melisma_bench
	build/release/melisma_bench
	$(BIN)/melisma benchmark

.PHONY: fuzz
fuzz: system ## libFuzzer targets, FUZZ_SECONDS each
	@tools/setup.sh fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)

.PHONY: lint
lint: .venv/.lint ## formatters, linters and type checks (pre-commit)
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

.PHONY: format
format: .venv/.lint ## rewrites C++ and Python files in the project's format
	-$(BIN)/pre-commit run --all-files clang-format
	-$(BIN)/pre-commit run --all-files ruff
	-$(BIN)/pre-commit run --all-files ruff-format

.PHONY: tidy
tidy: .venv/.lint build-release ## clang-tidy, some minutes
	@tools/setup.sh tidy
	$(BIN)/pre-commit run --all-files --hook-stage manual clang-tidy

.PHONY: clean
clean: ## removes what was built; keeps the caches
	rm -rf build .venv out

# --- set-up ----------------------------------------------------------------------------------------------------------

.PHONY: system
system:
	@tools/setup.sh build

.venv/.tools: pyproject.toml | system
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install $$($(BIN)/python tools/requirements.py build)
	@touch $@

.venv/.package: $(package_inputs) .venv/.tools
	$(PIP_INSTALL) '.[cli]'
	@touch $@

# The package with PyTorch's operators, which are built where PyTorch is installed before.
.venv/.adapter: $(package_inputs) .venv/.test
	$(PIP_INSTALL) '.[cli]'
	@touch $@ .venv/.package

.venv/.test: pyproject.toml .venv/.tools
	$(PIP) install $$($(BIN)/python tools/requirements.py test)
	@$(PIP) install 'mlx[cpu]' || echo "MLX has no wheel for this machine: its tests are skipped"
	@touch $@

.venv/.lint: .venv/.tools
	$(PIP) install pre-commit
	@touch $@
