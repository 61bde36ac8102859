# What a person or a CI runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# GNU make sets MAKE_TERMOUT when it writes to a terminal.
ifdef MAKE_TERMOUT
BOLD := $(shell printf '\033[1m')
PLAIN := $(shell printf '\033[0m')
endif

# $(call step,name,command): says what runs, runs it, says how long it took.
define step
@printf '%s==> %s%s\n' '$(BOLD)' '$(1)' '$(PLAIN)'; \
start=$$SECONDS; \
$(2); \
printf '    %s: %d s\n' '$(1)' "$$((SECONDS - start))"
endef

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "$(BOLD)%-14s$(PLAIN) %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: ## build the server and start it for trying out; data stays in .parlance
	cargo run --release --locked -p parlance -- serve --dev --data-dir .parlance

CLIENT := clients/typescript
DEMO := clients/demo
CLIENT_MODULES := $(CLIENT)/node_modules/.package-lock.json
DEMO_MODULES := $(DEMO)/node_modules/.package-lock.json

# npm writes this file last. Nothing is loaded a second time while the lock file stays as it is.
%/node_modules/.package-lock.json: %/package-lock.json
	$(call step,modules of $*,npm ci --prefix $* --ignore-scripts --no-audit --no-fund && touch $@)

.PHONY: client
client: $(CLIENT_MODULES) ## build the TypeScript client into clients/typescript/dist
	$(call step,client,cd $(CLIENT) && npm run --silent build)

.PHONY: demo
demo: $(DEMO_MODULES) ## build the pages of the demo anew, from the sources of the client, too
	$(call step,demo,npm run --silent --prefix $(DEMO) build)

define client_tests
export PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance"; \
npm run --silent --prefix $(CLIENT) verify; npm run --silent --prefix $(DEMO) verify
endef

.PHONY: client-test
client-test: tools $(CLIENT_MODULES) $(DEMO_MODULES) ## check and test the TypeScript client and the demo alone
	$(call step,server,cargo build --locked -p parlance)
	$(call step,client,$(client_tests))

deploy_tests = PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" deploy/test-deploy

# The build step makes the server with the same features as the tests, so that nothing is compiled
# a second time when the black-box tests start it. Most tests wait for events, so there are more of
# them at a time than cores; those that load the machine take turns.
.PHONY: test
test: lint $(CLIENT_MODULES) $(DEMO_MODULES) ## check and test everything; installs the tools for it
	$(call step,build,cargo build --locked --workspace --all-targets)
	$(call step,deploy,$(deploy_tests))
	$(call step,client,$(client_tests))
	$(call step,examples in docs,cargo test --locked --workspace --doc --no-fail-fast)
	$(call step,test,RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" .ci/tests)
	$(call step,instruction counts,.ci/bench-check)
	$(call step,chart,PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" .ci/helm/test)

.PHONY: test-observe
test-observe: tools ## check rules, dashboards and the runbook, also against running processes
	$(call step,server,cargo build --locked -p parlance)
	$(call step,observed,PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" cargo test --locked -p parlance-tests --test observed)

.PHONY: lint
lint: tools ## format, clippy, dependency rules, unused dependencies, docs
	$(call step,format,cargo fmt --all --check)
	$(call step,clippy,cargo clippy --locked --workspace --all-targets -- -D warnings)
	$(call step,clippy of the echo,cargo clippy --locked -p parlance-gateway --features echo --lib --example echo -- -D warnings)
	$(call step,deny,cargo deny --locked check --allow unused-wrapper bans licenses sources)
	$(call step,unused dependencies,cargo machete)
	$(call step,docs,RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps)

# Everything is built by one command: others would choose other features and build it again, and the
# bench by itself looks for the server where tests have it.
define bench
cargo build --release --locked -p parlance -p parlance-benches
PARLANCE_BIN="$$(.ci/target-dir)/release/parlance" "$$(.ci/target-dir)/release/bench" \
	--results "$$(.ci/target-dir)/bench" $(1) $(ARGS)
endef

.PHONY: bench
bench: ## measure the server next to its floors; pass options as ARGS="…"
	$(call bench,)

.PHONY: bench-peers
bench-peers: ## measure the server next to others; CENTRIFUGO_BIN=FILE for that one
	cd benches/peers && npm ci --ignore-scripts --no-audit --no-fund || echo "without npm, peers on Node.js are left out"
	$(call bench,--peers benches/peers)

.PHONY: bench-page
bench-page: ## write docs/benchmarks.md from the results of the two before
	$(call bench,--page docs/benchmarks.md)

.PHONY: bench-check
bench-check: tools ## count the instructions of the live path's pieces; fails on over 5 % more
	$(call step,instruction counts,.ci/bench-check)

.PHONY: bench-baseline
bench-baseline: tools ## write what is counted now as the baseline of bench-check
	.ci/bench-check --renew

.PHONY: bench-micro
bench-micro: ## time the same pieces; pass a part of a name or options as ARGS="…"
	cargo bench --locked -p parlance-micro --profile counts --bench time -- $(ARGS)

# Compiles Kubernetes once, so it is no part of `make test`.
.PHONY: test-kube
test-kube: ## the chart on a real Kubernetes API server; no part of `test`: the first build takes 8 to 16 min of CPU
	$(call step,kube,helm=$$(.ci/helm/tools); go=$$(.ci/helm/go); tests/kube/run.py "$$(.ci/target-dir)" "$$helm/bin/helm" "$$go")

# Needs no cluster. Chromium, Java and the like are not needed either, so only Go and Python are seen to.
.PHONY: test-helm
test-helm: ## check the chart alone: schema, templates, Kubernetes 1.30 and 1.37, restricted pods
	$(call step,server,cargo build --locked -p parlance)
	$(call step,chart,PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" .ci/helm/test)

.PHONY: helm-files
helm-files: ## write those files of the chart that are made from others, and its snapshots
	cargo build --locked -p parlance
	PARLANCE_BIN="$$(.ci/target-dir)/debug/parlance" .ci/helm/generated
	"$$(.ci/helm/tools)/bin/helm-unittest" --strict --update-snapshot helm/parlance

# Needs CPython 2.7, which clean machines lack, so it is no part of `make test`.
.PHONY: autobahn
autobahn: ## frames against the Autobahn test suite; needs CPython 2.7; pass options as ARGS="…"
	$(call step,echo,cargo build --locked -p parlance-gateway --features echo --example echo)
	$(call step,autobahn,tests/autobahn/run.py "$$(.ci/target-dir)/debug/examples/echo" "$$(.ci/target-dir)/autobahn" $(ARGS))

# Everything in release: the load is the point, and a debug build of the clients would be most of it.
.PHONY: chaos
chaos: ## break everything under load for MINUTES=5; SEED=number repeats a plan, FAULTS="…" does only those
	$(call step,build,cargo build --release --locked -p parlance -p parlance-tests --bin parlance --bin chaos)
	$(call step,chaos,export PARLANCE_BIN="$$(.ci/target-dir)/release/parlance"; seed=$(or $(SEED),$$RANDOM); \
		"$$(.ci/target-dir)/release/chaos" "$$seed" $(or $(MINUTES),5) "$$(.ci/target-dir)/chaos/$$seed" $(FAULTS))

# In release for the same reason. HAProxy comes with the tools.
.PHONY: rolling
rolling: tools ## restart 3 gateways behind a proxy under load, CLIENTS=10000 RATE=500, then add one for SECONDS=180
	$(call step,build,cargo build --release --locked -p parlance -p parlance-tests --bin parlance --bin rolling)
	$(call step,rolling,export PARLANCE_BIN="$$(.ci/target-dir)/release/parlance"; \
		"$$(.ci/target-dir)/release/rolling" $(or $(CLIENTS),10000) $(or $(RATE),500) $(or $(SECONDS),180) \
		"$$(.ci/target-dir)/rolling")

.PHONY: fuzz
fuzz: ## fuzz each target for SECONDS=60; TARGET=name for one; needs cargo-fuzz
	.ci/fuzz $(or $(SECONDS),60) $(TARGET)

.PHONY: simulate
simulate: ## run SEEDS=10000 seeds of the simulation, or show SEED=n alone
	cargo run --release --locked -p parlance-simulation -- $(if $(SEED),$(SEED) 1,$(or $(SEEDS),10000))

.PHONY: image
image: ## build the image parlance:latest; IMAGE=name:tag, and options of the builder as ARGS="…"
	$(call step,image,deploy/image $(ARGS))

.PHONY: up
up: image ## start a whole deployment on this machine, with Docker Compose
	deploy/compose/make-secrets
	docker compose --file deploy/compose.yaml up --detach --wait

.PHONY: down
down: ## stop it; what was said stays in its volumes
	docker compose --file deploy/compose.yaml down

.PHONY: test-deploy
test-deploy: ## check Dockerfile, compose.yaml and the proxy's configuration; make test does it too
	$(call step,build,cargo build --locked -p parlance)
	$(call step,deploy,$(deploy_tests))

# Compiles the server in release for musl, or all of it in a container.
.PHONY: test-image
test-image: ## build the image and try it as it will be run
	$(call step,image,deploy/test-image $(ARGS))

.PHONY: tools
tools:
	$(call step,tools,.ci/tools)
