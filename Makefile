# make setup   .venv with the commands, and the Arm compiler and QEMU where apt-get is permitted
# make demo    a small net learns something new on an emulated Cortex-M7 with 256 KB
# make test    every test, also with numpy 1.26
# make check   format, lint, types, and the tests that need nothing or only a C compiler
# make format  what check would complain about, mended
# make benchmarks  docs/benchmarks.md and the record of gated counts

VENV := .venv
VENV126 := .venv-numpy126
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.tools-installed
STAMP126 := $(VENV126)/.installed
# what another choice of extras would change: make EXTRAS=dev setup
EXTRAS := dev,data,litert,llm,report,ssh,android,ios
# PyTorch, which its tests compare with, may be several GB, and the libraries of power meters are
# 45 MB: installed where a missing tool is a failure, elsewhere by hand: CONTRIBUTING.md
TORCH := $(VENV)/.torch-installed
TORCH_VERSION := 2.13.*
# what 'doctor --install --all' installs: what tests of phones, boards and runners work with
CI_TOOLS := $(if $(filter 1 true yes,$(CI)),sshd adb mksh toybox g++ cmake ninja \
    aarch64-linux-gnu-g++ qemu-aarch64-static)
PYTEST_JOBS := 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup tools demo test check format benchmarks numpy126

help:
	@sed -n 's/^# //p' Makefile | head -6

setup: $(STAMP) tools $(if $(filter 1 true yes,$(CI)),$(TORCH))

$(STAMP): pyproject.toml .ci/venv .ci/python
	@python=$(PYTHON); python=$${python:-$$(.ci/python 11 99)} || \
	    { echo "error: no python3 of version 3.11 or newer on the PATH" >&2; exit 1; }; \
	echo "installing into $(VENV) ..."; .ci/venv $(VENV) "$$python" -e '.[$(EXTRAS)]'
	@touch $@

$(TORCH): $(STAMP)
	@echo "installing PyTorch and the libraries of meters into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -e '.[torch,meters]' 'torch==$(TORCH_VERSION)'
	@touch $@

# cheap when all is there; where nothing may be installed it says what is missing and goes on
tools: $(STAMP)
	@missing=; PATH=$$PATH:/sbin; for tool in gcc arm-none-eabi-gcc qemu-system-arm $(CI_TOOLS); do \
	    command -v $$tool >/dev/null || missing=yes; done; \
	if [ -n "$$missing" ] || [ ! -f $(TOOLS) ]; then \
	    if $(BIN)/tinyengine-codegen doctor --install $(if $(CI_TOOLS),--all) >/dev/null; then touch $(TOOLS); \
	    else echo "note: without these tools only part of the boards works" >&2; fi; fi

demo: setup
	$(BIN)/bench-melt demo training

test: setup numpy126
	$(BIN)/python -m pytest -q -n $(PYTEST_JOBS) tests
	@if [ -x $(VENV126)/bin/pytest ]; then set -x; \
	    $(VENV126)/bin/python -m pytest -q -n $(PYTEST_JOBS) tests/pure; fi

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(PYTEST_JOBS) -m "not slow" tests/tidy tests/pure tests/hostc

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmarks: setup
	$(BIN)/python docs/make_benchmarks.py

# a second environment with the oldest numpy and the TensorFlow Lite runtime that was built for it
numpy126: $(STAMP126)

$(STAMP126): pyproject.toml .ci/venv .ci/python
	@mkdir -p $(VENV126); \
	if python=$$(.ci/python 11 12); then \
	    echo "installing into $(VENV126) ..."; \
	    .ci/venv $(VENV126) "$$python" -e '.[dev,data,tflite-runtime,llm,report]' 'numpy==1.26.*'; \
	elif [ "$$CI" = true ]; then \
	    echo "error: numpy 1.26 needs python 3.11 or 3.12, neither is on the PATH" >&2; exit 1; \
	else \
	    echo "note: tests with numpy 1.26 left out: no python 3.11 or 3.12 on the PATH" >&2; \
	fi
	@touch $@
