# Every target does its own set-up, in .venv and build/, and is quick when that is done.
PYTHON ?= python3
VENV   ?= .venv
TIME   ?= 60
TESTS  ?=
BENCH  ?= full

export PYTHON
# cython-lint calls its neighbours by name.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

BIN     := $(VENV)/bin
PY      := $(BIN)/python
SOURCES := $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
EXTRAS  := dev,gateway

.DEFAULT_GOAL := help
.PHONY: help run build test quick live parity counted bench page lint format asan tsan portable coverage soak fuzz dist clean

help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

# Without ensurepip (Debian keeps it apart) the system's pip fills the environment.
$(VENV)/.made:
	@.ci/need build
	@$(PYTHON) -m venv --clear $(VENV) 2>/dev/null >&2 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install -q pip; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "installing fastfw and its tools into $(VENV)"
	@$(PY) -m pip install -q "setuptools>=77" "Cython>=3.1"
	@$(PY) -m pip install -q --no-build-isolation -e ".[$(EXTRAS)]"
	@touch $@

build/.made: $(VENV)/.installed setup.py $(SOURCES)
	@mkdir -p build
	@$(PY) setup.py -q build_ext --inplace >build/build.log 2>&1 || { cat build/build.log >&2; exit 1; }
	@touch $@

build: build/.made  ## compile the package in place

run: build       ## the shipped capture through the shipped ruleset
	@$(BIN)/fastfw replay examples/gateway.pcap --rules examples/gateway.rules --local 172.16.6.61 --helper ftp

# The package that one driver stands on is built from source and needs a system library; its tests are skipped without.
$(VENV)/.netfilterqueue: $(VENV)/.installed
	@$(PY) -m pip install -q "NetfilterQueue>=1.1" 2>/dev/null || echo "NetfilterQueue cannot be built here: its tests are skipped"
	@touch $@

test: build      ## every test this machine can run; TESTS="tests/core -k tcp" for some
	@.ci/need test
	@.ci/need live
	@$(MAKE) -s $(VENV)/.netfilterqueue
	.ci/test $(PY) $(TESTS)

quick: build     ## the tests that need neither root nor patience
	$(PY) -m pytest -q -m "not kernel and not live and not long" $(TESTS)

live: build      ## the gateway in network namespaces with real programs; root
	@.ci/need live
	@$(MAKE) -s $(VENV)/.netfilterqueue
	$(PY) -m pytest -q -rs -m live $(TESTS)

# The short form measures the same things on smaller tables and files.
SHORT_BENCH := FASTFW_BENCH_CONNECTIONS=1000,100000 FASTFW_BENCH_REPLAY_PACKETS=200000 FASTFW_BENCH_CAPTURE_MB=32 \
    FASTFW_BENCH_LIVE_ROUNDS=1
# Where the published rule sets lie; without them what they measure is left out.
FASTFW_CLASSBENCH ?= $(firstword $(wildcard classbench ../shared/data/classbench))
export FASTFW_CLASSBENCH

counted: build   ## random rulesets, every rule's counters against the kernel's; root
	@.ci/need test
	$(PY) -m tests.kernel.counted $(COUNTED)

# Others that do something of the same, to be measured beside; what cannot be installed is left out.
$(VENV)/.peers: $(VENV)/.installed
	@for peer in dpkt scapy nfstream; do \
	    $(PY) -m pip install -q $$peer 2>/dev/null || echo "$$peer cannot be installed here: left out"; done
	@touch $@

bench: build $(if $(filter short,$(BENCH)),,$(VENV)/.peers) ## the measurements, to bench/results.json; BENCH=short for a quick look
	@.ci/need bench
	@$(MAKE) -s $(VENV)/.netfilterqueue
	$(PY) bench/instructions.py
	$(if $(filter short,$(BENCH)),$(SHORT_BENCH)) $(PY) -m pytest -q bench -rs \
	    $(if $(filter short,$(BENCH)),,--results bench/results.json)

page: $(VENV)/.installed  ## docs/performance.md's figures and plots from bench/results.json
	@$(PY) -c 'import matplotlib' 2>/dev/null || $(PY) -m pip install -q matplotlib
	$(PY) bench/page.py bench/results.json docs/performance.md

parity: build    ## the kernel as judge, at length; root
	@.ci/need test
	$(PY) -m tests.kernel.parity $(PARITY)

# The same modules with the compiler's checks on; CMakeLists.txt says what is built.
CMAKE := cmake -DPython_EXECUTABLE=$(CURDIR)/$(PY)
CTEST := ctest --output-on-failure --test-dir
JOBS  := $(shell nproc 2>/dev/null || echo 1)

$(VENV)/.cmake: $(VENV)/.installed
	@command -v cmake >/dev/null 2>&1 || $(PY) -m pip install -q cmake
	@touch $@

asan: build $(VENV)/.cmake      ## the tests under the address and undefined-behaviour sanitizers
	$(CMAKE) -S . -B build/asan -DFASTFW_SANITIZE=address,undefined >/dev/null
	cmake --build build/asan -j $(JOBS)
	$(CTEST) build/asan

tsan: build $(VENV)/.cmake      ## the tests of threads under the thread sanitizer
	$(CMAKE) -S . -B build/tsan -DFASTFW_SANITIZE=thread >/dev/null
	cmake --build build/tsan -j $(JOBS)
	$(CTEST) build/tsan

portable: build $(VENV)/.cmake  ## the tests without SIMD
	$(CMAKE) -S . -B build/portable -DFASTFW_PORTABLE=ON >/dev/null
	cmake --build build/portable -j $(JOBS)
	$(CTEST) build/portable

coverage: build $(VENV)/.cmake  ## which of the core's lines and branches the tests reach
	$(CMAKE) -S . -B build/coverage -DFASTFW_COVERAGE=ON >/dev/null
	cmake --build build/coverage -j $(JOBS)
	find build/coverage -name '*.gcda' -delete
	$(CTEST) build/coverage
	$(PY) -m tests.reached build/coverage

soak: build      ## a million connections with churn, reloads and expiry for TIME seconds
	PYTHONPATH=.:tests $(PY) -m bench.soak --seconds $(TIME)

# TARGETS="packet state" for some.
TARGETS = $(shell $(PY) -m fuzz targets native) $(shell $(PY) -m fuzz targets layer)

fuzz: build $(VENV)/.cmake      ## every fuzzer for TIME seconds; clang
	@.ci/need fuzz
	@$(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip install -q atheris
	@CC=clang $(CMAKE) -S . -B build/fuzz -DCMAKE_C_COMPILER=clang -DFASTFW_FUZZ=ON \
	    -DFASTFW_SANITIZE=address,undefined >/dev/null
	@cmake --build build/fuzz -j $(JOBS) >build/fuzz/build.log 2>&1 || { cat build/fuzz/build.log >&2; exit 1; }
	@PYTHONPATH=. $(PY) -m fuzz seeds build/seeds
	@for target in $(TARGETS); do fuzz/run $$target $(TIME) || exit 1; done

dist: build      ## a source distribution and a wheel, in dist/
	$(PY) -m build --outdir dist .

# Compiled modules outside core, where all are.
STUBS := fastfw.cli.tally $(addprefix fastfw.drivers.,bypass capscan embed mapping netlink nfqueue single)

lint: build      ## ruff, mypy and cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PY) -m mypy.stubtest fastfw.core $(STUBS) --concise --ignore-missing-stub --ignore-disjoint-bases \
	    --mypy-config-file pyproject.toml
	$(BIN)/cython-lint src fuzz

format: $(VENV)/.installed  ## put Python files into ruff's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:           ## everything that was made, the environment included
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find src tests bench fuzz -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	find src -name '*.so' -delete
	rm -rf src/*.egg-info
