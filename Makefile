# make run      builds the module, starts a cluster of three shards, shows the commands at work, and stops it all again
# make cluster  the same cluster, to play with until Ctrl-C
# make test     everything that is checked: format, lints, unit, doc and integration tests, documentation
# make soak     the chaos tests, with 10,000 commands of each kind (RMR_SOAK=... for another number)
# make bench    the figures of README.md, measured here
#
# All of them first install what is missing (scripts/setup.sh). REDIS_SERVER=/path/to/redis-server chooses another
# server than the one on PATH.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR ?= $(CURDIR)/target

.PHONY: help run cluster test soak bench setup setup-test setup-bench build lint unit doc servers test-all

help:
	@sed -n 's/^# //p' Makefile

run: setup
	cargo build --release --package rmr-module
	scripts/demo.sh $(CARGO_TARGET_DIR)/release/librmr.so

cluster: setup
	cargo build --release --package rmr-module
	scripts/demo.sh $(CARGO_TARGET_DIR)/release/librmr.so stay

test: lint unit doc

# The module as it is shipped; of the tests only those that are a loop are long.
soak: export RMR_SOAK ?= 10000
soak: setup
	cargo build --release --package rmr-module
	RMR_MODULE=$(CARGO_TARGET_DIR)/release/librmr.so cargo test --test exec_chaos -- --nocapture --test-threads 1

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

# The tests load what this builds; RMR_MODULE says that they need not build it themselves.
build: setup
	cargo build --workspace --lib --bins --examples

unit: setup-test build
	RMR_MODULE=$(CARGO_TARGET_DIR)/debug/librmr.so cargo test --workspace

doc: setup
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Redis 8.2 as a second server to test on; Debian has 7.0. Optional: needs python3 and pip.
servers:
	scripts/servers.sh $(CARGO_TARGET_DIR)/servers

test-all: test servers
	RMR_MODULE=$(CARGO_TARGET_DIR)/debug/librmr.so REDIS_SERVER=$(CARGO_TARGET_DIR)/servers/redis-server-8.2 cargo test --workspace
