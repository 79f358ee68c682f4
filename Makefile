# make run      builds the module, starts a cluster of three shards, shows the commands at work, and stops it all again
# make cluster  the same cluster, to play with until Ctrl-C
# make test     everything that is checked: format, lints, unit, doc and integration tests, documentation, and the same of
#               the program in Python that runs functions
# make test-all  the same, and then the tests again on Redis 8.2 and on Valkey 9.1
# make deny     what the dependencies may be: bans, licences, sources (builds cargo-deny if it is missing)
# make soak     the chaos tests with 10,000 commands of each kind (RMR_SOAK=... for another number), as many functions in Python
#               in a row, 50,000 requests by chance
#               (RMR_FUZZ_ROUNDS=...), 1,000,000 of clients of rmr-proxy (RMR_PROXY_REQUESTS=...),
#               each command 100,000 times (RMR_MEMORY_ROUNDS=...), patterns over chance data
#               (RMR_LAW_ROUNDS=...), and an hour of answers, counts and increments while slots move, primaries change and nodes
#               are killed (RMR_SLOTS_SECONDS=...), and then half an hour over patterns, and an hour of events of twenty
#               functions (RMR_EVENTS_SECONDS=...), and an hour of clients of plain servers with a configuration node
#               (RMR_HISTORIES_SECONDS=...)
# make bench    the figures of docs/explanation/performance.md, measured here
# make site     docs/ as a site that can be searched, with its links checked: target/site/docs/index.html (builds mdBook if missing)
# make pictures draws docs/pictures/ anew from the .dot files there (installs Graphviz if missing)
# make dist     a tarball of the module, rmr-proxy, licences and examples of configuration, with SHA-256 sums, in target/dist
# make deb      the same as a Debian package
# make package  the crate rmr as it would be published, built from its own files; nothing is uploaded
#
# All of them first install what is missing (scripts/setup.sh). REDIS_SERVER=/path/to/redis-server chooses another
# server than the one on PATH, RMR_PYTHON=/path/to/python3 another Python for functions than /usr/bin/python3.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export RMR_PYTHON ?= /usr/bin/python3

.PHONY: help run cluster test deny soak bench setup setup-test setup-bench build lint worker unit doc servers test-all \
	site pictures dist deb release package

help:
	@sed -n 's/^# //p' Makefile

run: setup
	cargo build --release --package rmr-module --package rmr-proxy
	scripts/demo.sh $(CARGO_TARGET_DIR)/release/librmr.so

cluster: setup
	cargo build --release --package rmr-module
	scripts/demo.sh $(CARGO_TARGET_DIR)/release/librmr.so stay

test: lint worker unit doc

# The module as it is shipped; of the tests only those that are a loop are long.
soak: export RMR_SOAK ?= 10000
soak: export RMR_LAW_ROUNDS ?= 100
soak: export RMR_FUZZ_ROUNDS ?= 50000
soak: export RMR_MEMORY_ROUNDS ?= 100000
soak: export RMR_SLOTS_SECONDS ?= 3600
soak: export RMR_EVENTS_SECONDS ?= 3600
soak: export RMR_HISTORIES_SECONDS ?= 3600
soak: export RMR_PROXY_REQUESTS ?= 1000000
soak: export RMR_MODULE = $(CARGO_TARGET_DIR)/release/librmr.so
soak: export RMR_PROXY = $(CARGO_TARGET_DIR)/release/rmr-proxy
soak: setup
	cargo build --release --package rmr-module
	cargo build --release --package rmr-proxy
	cargo test --test exec_chaos --test histories --test law --test slots --no-fail-fast -- --nocapture --test-threads 1
	cargo test --test gears memory:: -- --nocapture --test-threads 1
	cargo test --test gears soak:: -- --nocapture --test-threads 1
	cargo test --test serve fuzz:: -- --nocapture --test-threads 1
	RMR_MODEL=large cargo test --package rmr-model -- --nocapture --test-threads 1

bench: setup-bench
	cargo build --release --package rmr-module
	cargo bench --bench rmr

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

lint: setup
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package rmr --no-default-features --lib --example client -- -D warnings
	cargo check --package rmr-module

# The program that runs functions in Python, with a server that is played in Python.
worker: setup-test
	cd src/python/worker && $(abspath $(CARGO_TARGET_DIR))/python-lint/bin/python3 -m mypy --strict \
		--cache-dir $(abspath $(CARGO_TARGET_DIR))/mypy rmr_worker __main__.py
	$(CARGO_TARGET_DIR)/python-lint/bin/python3 -m ruff check --no-cache src/python
	cd src/python/worker && $(RMR_PYTHON) -B -m unittest

# The tests load what this builds; RMR_MODULE says that they need not build it themselves. The tests are built with it:
# they ask for more features of some crates, and everything would be compiled a second time with those.
build: setup
	cargo build --workspace --lib --bins --examples --tests

# Most tests wait for servers, timeouts and elections for most of their time: so there are more of them than processors.
unit: export RUST_TEST_THREADS ?= 3
unit: setup-test build
	RMR_MODULE=$(CARGO_TARGET_DIR)/debug/librmr.so cargo test --workspace

doc: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Redis 8.2 and Valkey 9.1 to test on besides Debian's Redis 7.0. Optional: needs python3 and pip.
servers:
	scripts/servers.sh $(CARGO_TARGET_DIR)/servers

# All servers are tried, also after one on which something fails.
test-all: export RMR_MODULE = $(CARGO_TARGET_DIR)/debug/librmr.so
test-all: test servers
	@failed=; for server in redis-server-8.2 valkey-server-9.1; do \
		echo "the tests on $$server"; \
		REDIS_SERVER=$(CARGO_TARGET_DIR)/servers/$$server cargo test --workspace --no-fail-fast || failed+=" $$server"; \
	done; \
	[ -z "$$failed" ] || { echo "tests have failed on:$$failed"; exit 1; }

# Apart from `make test`, since it needs a tool that takes minutes to build.
deny:
	command -v cargo-deny > /dev/null || cargo install --locked cargo-deny
	cargo deny --workspace check bans licenses sources

site: setup
	scripts/site.sh $(CARGO_TARGET_DIR)/site

pictures:
	command -v dot > /dev/null || scripts/setup.sh pictures
	for picture in docs/pictures/*.dot; do dot -Tsvg "$$picture" -o "$${picture%.dot}.svg"; done

release: setup
	cargo build --release --locked --package rmr-module --package rmr-rg --package rmr-proxy

dist: release
	scripts/dist.sh $(CARGO_TARGET_DIR)/release

deb: dist
	scripts/dist.sh $(CARGO_TARGET_DIR)/release deb

package: setup
	cargo package --package rmr
