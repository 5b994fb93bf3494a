# Heddle's commands. `make help` lists them; CONTRIBUTING.md says when to use which.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help tools check test format lint deny docs unit sim suites binary faults soak bench core-instructions

# cargo-nextest runs a process per test and ends what hangs; `cargo test` runs the same tests.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

# Suites that start processes, by name: `cargo test` alone leaves them out.
SUITES := first_run bad_input batches reviews waiting deploy live keys isolation trust artifacts artifacts_s3 egress examples commands openai openapi \
	poison idempotency large_decisions placement failure scopes items resume rolling faults telemetry numbers tokens handshake network takeover formats \
	versions cache stats retention explain operate cancel children streams
# One after the other: some of them measure times.
RUN_SUITES = FAULT_SECONDS="$${FAULT_SECONDS:-120}" \
	cargo test $(TESTS) --no-fail-fast $(SUITES:%=--test %) -- --test-threads 1 --nocapture
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
# All commands that build for tests build the same features, so that they share what they have built.
TESTS := --workspace --all-features --locked

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-18s %s\n", $$1, $$2 }'

check: tools format lint unit ## formatting, lints and unit tests: before every commit

# What speaks last is a test runner, so that the end of the output says how the suites went.
test: tools format lint deny docs sim unit suites ## all that must be green before a change lands

tools: # says what is missing, all at once, and how to get it
	@missing=0; \
	need() { command -v "$$1" >/dev/null || { echo "missing: $$1 (get it: $$2)" >&2; missing=1; }; }; \
	need cc "apt-get install build-essential"; \
	need git "apt-get install git"; \
	need cargo "https://rustup.rs"; \
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || [ -n "$${PG_BIN:-}" ] || \
		echo "missing: PostgreSQL, so its tests will be skipped (get it: apt-get install postgresql)" >&2; \
	compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || \
		echo "missing: libfaketime, so no clock jumps (get it: apt-get install faketime)" >&2; \
	command -v ip >/dev/null || echo "missing: ip, so no network is made and no link is cut (get it: apt-get install iproute2)" >&2; \
	exit $$missing

format: ## formatting, without changing it
	cargo fmt --all --check

lint: ## clippy, warnings are errors
	cargo clippy $(TESTS) --all-targets -- -D warnings
	cargo clippy $(TESTS) $(SUITES:%=--test %) -- -D warnings

deny: ## licences, banned crates and sources of dependencies
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny check bans licenses sources; \
	elif [ "$${CI:-}" = true ]; then \
		echo "missing: cargo-deny (get it: cargo install --locked cargo-deny)" >&2; exit 1; \
	else \
		echo "SKIPPED: dependency rules, because cargo-deny is missing (get it: cargo install --locked cargo-deny)" >&2; \
	fi

docs: ## documentation of all crates, for those who work on them; warnings are errors
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc $(TESTS) --no-deps --document-private-items

unit: ## unit, property and repository tests
ifeq ($(NEXTEST),yes)
	cargo test $(TESTS) --doc
	cargo nextest run $(TESTS) $(if $(filter true,$(CI)),--profile ci)
else
	cargo test $(TESTS) --no-fail-fast
endif

bench: ## heddle bench: the works of tests/benches, in a few minutes
	cargo build --release --locked
	target/release/heddle bench

core-instructions: ## instructions that one event costs the engine, from 10 to 20,000 nodes
	@command -v valgrind >/dev/null || { echo "missing: valgrind (get it: apt-get install valgrind)" >&2; exit 1; }
	cargo bench --locked --package heddle-core --bench events -- --instructions

SEEDS ?= 20000
sim: ## the simulator over many seeds: SEEDS, ARGS (--json: the report for programs; --first N: from another seed on; --seed N: the story of one world)
	cargo test --release --package heddle-sim --locked --lib
	cargo run --release --package heddle-sim --locked -- --seeds $(SEEDS) $(ARGS)

suites: ## suites against real processes, four minutes of kills among them: CLUSTER_DATABASE (sqlite, postgres), FAULT_SEED, FAULT_SECONDS, FAULT_KILLS, FAULT_LONG (1)
	cargo build $(TESTS) --bin heddle
	HEDDLE_BIN="$(TARGET)/debug/heddle" $(RUN_SUITES)

binary: # the one that the suites below start and kill
	cargo build --release --locked --package heddle --features crash-points

faults: binary ## the same suites on a release build, for figures; SCOPE_ITEMS (100,000), REVIEWS (1,000), WAITING_RUNS (10,000), WAITING_KILLS (50), CHILDREN (1,000)
	SCOPE_ITEMS="$${SCOPE_ITEMS:-100000}" REVIEWS="$${REVIEWS:-1000}" WAITING_RUNS="$${WAITING_RUNS:-10000}" \
		WAITING_KILLS="$${WAITING_KILLS:-50}" CHILDREN="$${CHILDREN:-1000}" HEDDLE_BIN="$(TARGET)/release/heddle" $(RUN_SUITES)

soak: binary ## the kill suite until there were 500 kills
	HEDDLE_BIN="$(TARGET)/release/heddle" FAULT_KILLS="$${FAULT_KILLS:-500}" \
		cargo test $(TESTS) --test faults -- kills --nocapture
