# SPDX-License-Identifier: MIT
# A thin front to meson: each target installs the packages it needs (once),
# builds in build/ and runs one script.  `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
PYTHON := /usr/bin/python3
# Python writes nothing into the source tree.
export PYTHONDONTWRITEBYTECODE := 1
# What runs here is not to be run under the very library that is built.
unexport LD_PRELOAD UMEM_DEBUG UMEM_OPTIONS UMEM_LOGGING

.PHONY: all build page-deps dest demo check check-programs bench bench-debug bench-leaks bench-stacks lint asan tsan install clean help
.NOTPARALLEL:
.SUFFIXES:

all: build

help:
	@echo 'make                 build the libraries and the umem command in $(BUILD)/'
	@echo 'make demo            see it work: stacks, leaks, a heap overrun (2 minutes)'
	@echo 'make check           all tests but the slow ones'
	@echo 'make check-programs  the slow ones, and every real program under the preload'
	@echo 'make bench           times against other mallocs, as ratios'
	@echo 'make bench-debug     what UMEM_DEBUG costs, beside heaptrack, valgrind and ASan'
	@echo 'make bench-leaks     finding leaks, beside LeakSanitizer and valgrind'
	@echo 'make bench-stacks    thread stacks beside Boost.Context, mmap and what glibc caches'
	@echo 'make lint            formatting, house rules, static analysis'
	@echo 'make asan, tsan      the core under AddressSanitizer + UBSan, ThreadSanitizer'
	@echo 'make install         into PREFIX ($(PREFIX)), below DESTDIR ($(DESTDIR))'
	@echo 'make clean           remove build directories'

build:
	@scripts/deps build test
	@scripts/build $(BUILD)

# For the page of umem report: npm puts it together, a browser tests it.  Tests skip without.
page-deps:
	@scripts/deps --optional browser
	@command -v npm >/dev/null || scripts/deps --optional npm

# The tree that tests look at from outside.
dest: build
	@rm -rf $(BUILD)/dest
	@meson install -C $(BUILD) --no-rebuild --quiet --destdir "$(abspath $(BUILD)/dest)"

demo: dest
	@scripts/demo $(BUILD)

check: page-deps dest
	@$(PYTHON) scripts/check.py $(BUILD)

check-programs: dest
	@scripts/deps --optional programs systems
	@$(PYTHON) scripts/check.py --slow $(BUILD)

bench: dest
	@scripts/deps bench
	@$(PYTHON) bench/run.py $(BUILD)

bench-debug: dest
	@scripts/deps bench
	@$(PYTHON) bench/run.py --only debugging $(BUILD)

bench-leaks: dest
	@scripts/deps bench
	@$(PYTHON) bench/run.py --only leaks $(BUILD)

bench-stacks: dest
	@scripts/deps bench
	@$(PYTHON) bench/run.py --only stacks $(BUILD)

lint: build
	@scripts/deps lint
	@scripts/lint $(BUILD)

asan tsan:
	@scripts/deps build test
	@scripts/sanitize $@

install: build
	@meson configure $(BUILD) --prefix "$(abspath $(PREFIX))"
	@DESTDIR="$(abspath $(DESTDIR))" meson install -C $(BUILD) --quiet
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" -eq 0 ]; then ldconfig; fi

clean:
	rm -rf build build-*
