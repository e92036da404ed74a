# Three commands: `make run`, `make cluster` and `make test`. Everything they need and the machine lacks, they fetch themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO ?= cargo
TOOLS := $(CURDIR)/.tools
PYTHON := $(TOOLS)/python/bin/python
# The page's sources; a change to any of them builds it anew.
PAGE := $(shell find web/client/src web/app/src web/app/public web/app/index.html -type f 2>/dev/null)

.PHONY: help
help: ## Say what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- run --------------------------------------------------------------------------------------------------------

.PHONY: run
run: web ## Build everything and serve it at http://localhost:8080
	$(CARGO) run --release --quiet -p enfilade-node --bin enfilade -- serve

# Further arguments for these programs, as in `make cluster ARGS="--nodes 5"` or `make faults-short ARGS="--clients 100"`.
ARGS ?=
CLUSTER = $(CARGO) run --quiet -p enfilade-testbed --bin enfilade-cluster --

.PHONY: cluster
cluster: web servers ## Three nodes, NATS, PostgreSQL and a load balancer, until Ctrl-C; data and logs in .cluster
	$(CARGO) build --release --quiet -p enfilade-node --bin enfilade
	ENFILADE_BIN="$${ENFILADE_BIN:-target/release/enfilade}" $(CLUSTER) up $(ARGS)

.PHONY: cluster-up
cluster-up: ## The same in the background
	@$(MAKE) cluster ARGS="--detach $(ARGS)"

.PHONY: cluster-down
cluster-down: ## End it
	@$(CLUSTER) down

.PHONY: cluster-status
cluster-status: ## Say what runs where, and who owns what
	@$(CLUSTER) status

.PHONY: seed
seed: web ## Fill the database with people and boards to try things with (password: seed-password)
	ENFILADE_SEED_PASSWORD="$${ENFILADE_SEED_PASSWORD:-seed-password}" $(CARGO) run --release --quiet -p enfilade-node --bin enfilade -- seed

.PHONY: web
web: web/app/dist/index.html ## Build the page

web/app/dist/index.html: web/node_modules/.package-lock.json $(PAGE)
	cd web/app && npm run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm >/dev/null || { echo "make: Node.js with npm is missing (version 20 or later): https://nodejs.org" >&2; exit 1; }
	cd web && npm ci --no-audit --no-fund
	@touch $@

# ---- check and test ---------------------------------------------------------------------------------------------

.PHONY: test
test: check test-rust test-web test-python test-chart test-browser faults-short test-run ## Run every check and every test
	@echo "everything passed"

.PHONY: check
check: check-rust check-web ## Formatting, lints and types; changes nothing

.PHONY: check-rust
check-rust: web
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: check-web
check-web: web/node_modules/.package-lock.json
	cd web/client && npm run --silent check
	cd web/app && npm run --silent check

.PHONY: test-rust
test-rust: build servers previous
	$(CARGO) test --workspace

# The release before this one, which tests run beside this one.
.PHONY: previous
previous: build
	@tools/previous debug

# The programs that other tests start.
.PHONY: build
build: web
	$(CARGO) build --workspace

.PHONY: test-web
test-web: build servers
	cd web/client && npm run --silent test
	cd web/app && npm run --silent test

.PHONY: test-python
test-python: build $(PYTHON) ## A client in another language, written from PROTOCOL.md alone
	$(PYTHON) -m unittest discover -s proto/tests/python -v

$(PYTHON): proto/tests/python/requirements.txt
	python3 -m venv $(TOOLS)/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: test-chart
test-chart: chart-tools ## The Helm chart, the manifests, the alerts and the dashboard
	cd helm/tests && PYTHONDONTWRITEBYTECODE=1 $(TOOLS)/chart/bin/python -m unittest -v

.PHONY: test-run
test-run: web servers chart-tools ## The image, and the rendered chart executed without a cluster (as root, with podman)
	@CARGO="$(CARGO)" tools/run-chart

.PHONY: chart
chart: chart-tools ## Write what is made from the chart: its README's table, the dashboard, k8s/
	PYTHONDONTWRITEBYTECODE=1 $(TOOLS)/chart/bin/python tools/chart

.PHONY: chart-tools
chart-tools:
	@tools/chart-tools

# A seed decides everything that happens in a simulation: SEED shows one run, SEEDS (from FROM on) judges as many.
.PHONY: simulate
simulate: ## Torment simulated clusters with thousands of seeds: SEEDS=5000 FROM=0, or SEED=n to look at one
	@if [ -n "$(SEED)" ]; then \
	    ENFILADE_SEED=$(SEED) $(CARGO) test --package enfilade-node --lib simulation::tests::replay -- --exact --nocapture; \
	else \
	    ENFILADE_SEEDS=$(or $(SEEDS),5000) ENFILADE_FROM=$(or $(FROM),0) \
	    $(CARGO) test --package enfilade-node --lib simulation::tests::many -- --exact --nocapture; \
	fi

.PHONY: test-browser
test-browser: build servers chromium ## Two browsers draw together
	cd web/app && ENFILADE_E2E=1 npm run --silent e2e

.PHONY: chromium
chromium:
	@tools/chromium

.PHONY: servers
servers:
	@tools/servers

# Faults are judged on what people run: the release build.
.PHONY: faults
faults: web servers prometheus ## Break a cluster in every way while people draw; writes docs/faults.md
	$(CARGO) build --release --quiet -p enfilade-node -p enfilade-loadtest -p enfilade-testbed
	@tools/previous release
	target/release/enfilade-faults all --report docs/faults.md $(ARGS)

.PHONY: faults-short
faults-short: build servers previous prometheus ## The faults that matter most, in a few minutes
	target/debug/enfilade-faults run --short --patience 5 $(ARGS)

# It judges the chart's alerts while something is broken.
.PHONY: prometheus
prometheus:
	@command -v prometheus >/dev/null || { source tools/debian && debian prometheus; } || echo "make: without Prometheus no alerts are judged" >&2

# ---- measure ----------------------------------------------------------------------------------------------------
# docs/performance.md says how to read what comes out.

.PHONY: bench
bench: ## Benchmark the hot paths, briefly, and print design targets as ratios
	$(CARGO) bench --quiet -p enfilade-proto -p enfilade-actors -p enfilade-node --bench frames --bench room --bench edge -- --quick
	@tools/bench-table

# Like faults, it is judged on the release build. It takes three quarters of an hour; ARGS="--only ROW" measures one row anew.
.PHONY: measure
measure: web servers ## Measure every target beside the floor; writes docs/measured.md
	$(CARGO) build --release --quiet -p enfilade-node --bin enfilade -p enfilade-loadtest --bin enfilade-loadtest -p enfilade-testbed --bin enfilade-measure
	ENFILADE_BIN="$${ENFILADE_BIN:-target/release/enfilade}" ENFILADE_LOADTEST_BIN="$${ENFILADE_LOADTEST_BIN:-target/release/enfilade-loadtest}" \
	    target/release/enfilade-measure --report docs/measured.md --json docs/measured.json $(ARGS)

.PHONY: bench-instructions
bench-instructions: bench-tools ## Count instructions of the three hottest ways; BLESS=1 keeps the new counts
	@BLESS="$(BLESS)" tools/bench-instructions

.PHONY: flamegraph
flamegraph: bench-tools ## Draw where a node's time goes under load: target/flamegraph.svg
	$(CARGO) build --release --quiet -p enfilade-node --bin enfilade -p enfilade-loadtest --bin enfilade-loadtest
	tools/flamegraph $(ARGS)

.PHONY: bench-tools
bench-tools:
	@tools/bench-tools

# ---- look after -------------------------------------------------------------------------------------------------

.PHONY: fix
fix: web/node_modules/.package-lock.json ## Format, and apply what clippy knows how to mend
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

.PHONY: bless
bless: ## Write golden files anew: vectors, protocol tables, OpenAPI, the pages of metrics and of capacity
	BLESS=1 $(CARGO) test -p enfilade-proto --test vectors --test protocol_page
	BLESS=1 $(CARGO) test -p enfilade-node --test http document
	BLESS=1 $(CARGO) test -p enfilade-node --lib catalogue
	BLESS=1 $(CARGO) test -p enfilade-loadtest --test capacity page

.PHONY: clean
clean: ## Remove what was built (not the data)
	$(CARGO) clean
	rm -rf web/node_modules web/*/node_modules web/*/dist $(TOOLS)
