# `make` lists the targets.

VERSION := 0.2.0

GO     ?= go
PLUGIN := bin/plugins/vault-plugin-secrets-gbg

# The race detector needs a C compiler on Linux.
CC_FOUND := $(shell command -v $$($(GO) env CC) 2>/dev/null)
RACE     := $(if $(CC_FOUND),-race)

# The tests on oidc-provider need npm and a Node.js that has URL.parse, such as 20.20
# or 22.
NODE_FOUND    := $(shell command -v npm >/dev/null && node -e "URL.parse || process.exit(1)" 2>/dev/null && echo yes)
OIDC_PROVIDER := bin/oidc-provider/node_modules/.package-lock.json

# The server for the tests is the one that make vault builds, always the same version.
# VAULT=/path/to/vault is another one, and so is a name to look up in PATH.
TEST_SERVER := $(abspath bin/vault)
ifneq ($(VAULT),)
TEST_SERVER := $(if $(findstring /,$(VAULT)),$(abspath $(VAULT)),$(or $(shell command -v "$(VAULT)"),$(VAULT)))
endif

# The demo uses VAULT, or else vault or bao in PATH. It needs bin/vault if there is none.
ifneq ($(filter demo dev,$(MAKECMDGOALS)),)
$(info Looking for a Vault or OpenBao server; the first time this compiles the demo.)
DEMO_SERVER := $(shell $(GO) run ./scripts/demo -find -vault "$(VAULT)")
ifeq ($(DEMO_SERVER),)
$(error $(if $(VAULT),VAULT=$(VAULT) cannot be used,No server for the demo))
endif
# The plugin is built while the modules of the server are downloaded.
ifeq ($(DEMO_SERVER),bin/vault)
MAKEFLAGS += -j2
endif
endif

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-15s %s\n' "$$t" "$$d"; done

.PHONY: demo
demo: build $(DEMO_SERVER) ## run a demo: a real Vault, a simulated GBG, a token, a rotation under load
	@bin/demo -vault "$(DEMO_SERVER)"

.PHONY: dev
dev: build $(DEMO_SERVER) ## start the demo setup and keep it running until Ctrl-C
	@bin/demo -vault "$(DEMO_SERVER)" -stay

.PHONY: test
test: vault bin/idp $(if $(NODE_FOUND),$(OIDC_PROVIDER)) ## run all tests, including end-to-end tests on a real Vault
	$(if $(RACE),,@echo "No C compiler: the tests run without the race detector.")
	$(if $(NODE_FOUND),,@echo "No Node.js 20.20 or newer with npm: the tests on oidc-provider are skipped.")
	$(GO) test $(RACE) -timeout 30m $$($(GO) list ./... | grep -v /e2e)
	cd scripts/bench && $(GO) test ./...
	VAULT="$(TEST_SERVER)" $(GO) test $(RACE) -v -count=1 -parallel 6 -timeout 40m ./e2e

# Not part of make test, because these targets build other projects for minutes.
.PHONY: test-kubernetes
test-kubernetes: vault bin/golangci-lint ## test examples/kubernetes with the code of the operators and the injector
	cd e2e/kubernetes && ../../bin/golangci-lint run ./...
	cd e2e/kubernetes && VAULT="$(TEST_SERVER)" $(GO) test -v -count=1 -timeout 20m .

# Runs Ansible if it is installed. VAULT_ACTION=/path/to/dist/index.js runs vault-action,
# OPENBAO_CHART=/path/to/charts/openbao checks examples/helm/openbao.yaml.
.PHONY: test-consumers
test-consumers: vault bin/golangci-lint ## test examples/consumers and examples/helm with the programs that read them
	cd e2e/consumers && ../../bin/golangci-lint run ./...
	cd e2e/consumers && VAULT="$(TEST_SERVER)" $(GO) test -v -count=1 -timeout 20m .

.PHONY: test-terraform
test-terraform: vault bin/tofu bin/terraform-provider-vault ## test examples/terraform with OpenTofu on a real Vault
	VAULT="$(TEST_SERVER)" TOFU="$(abspath bin/tofu)" TERRAFORM_PROVIDER_VAULT="$(abspath bin/terraform-provider-vault)" \
		$(GO) test -v -count=1 -timeout 10m -run 'TestTerraform' ./e2e

.PHONY: test-release
test-release: vault bin/goreleaser bin/inventory bin/image bin/crane bin/golangci-lint ## build the release of the last commit twice, compare, and install it in a real Vault
	cd scripts/release/inventory && ../../../bin/golangci-lint run ./... && $(GO) test -count=1 ./...
	cd scripts/release/image && ../../../bin/golangci-lint run ./... && $(GO) test -count=1 ./...
	VAULT="$(TEST_SERVER)" GBG_RELEASE=1 $(GO) test -v -count=1 -timeout 1h -run 'TestRelease' ./e2e

# Everything, including what make test leaves out.
.PHONY: test-all
test-all: ## run all tests, also those that make test leaves out (about two hours)
	$(MAKE) lint licences test
	$(MAKE) test-consumers test-kubernetes test-terraform
	$(MAKE) test-release
	$(MAKE) fuzz FUZZTIME=20s
	$(MAKE) soak DURATION=5m
	$(MAKE) bench LENGTH=0.1

# Time for each fuzz target. make test runs only the seeds.
FUZZTIME ?= 10m

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10m)
	@for package in $$($(GO) list ./... | grep -v /e2e); do \
		for target in $$($(GO) test -run '^$$' -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -parallel 2 $$package || exit 1; \
		done; \
	done

# How long make soak uses one Vault server: a Go duration such as 90s or 12h.
DURATION ?= 1h

# The second run has no race detector, which would distort memory use.
.PHONY: soak
soak: vault ## test a cluster under failures for minutes, then one Vault server for DURATION (1h)
	VAULT="$(TEST_SERVER)" GBG_LONG=1 $(GO) test $(RACE) -v -count=1 -timeout 1h -run 'TestCluster|TestScheduleWhenTheLeaderIsKilled' ./e2e
	VAULT="$(TEST_SERVER)" GBG_SOAK=$(DURATION) $(GO) test -v -count=1 -timeout 0 -run 'TestSoak' ./e2e

# LENGTH=0.1 is a short run, LENGTH=3 a long one.
LENGTH ?= 1

# The last release, which make bench measures too, and its commit.
LAST_VERSION := 0.1.0
LAST_COMMIT  := a1cfc591f03d3f0ef0b27c2170c17f1c30fee58d
LAST         := bin/last-$(LAST_VERSION)

.PHONY: bench
bench: build vault bin/hey $(LAST)/plugin ## run benchmarks on a real Vault and write docs/performance.md (35 minutes)
	cd scripts/bench && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o ../../bin/floor ./floor
	cd scripts/bench && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/bench .
	@bin/bench -vault "$(TEST_SERVER)" -plugin $(PLUGIN) -go "$(GO)" -length $(LENGTH) \
		-last $(LAST)/plugin -last-version $(LAST_VERSION) -last-source $(LAST)/source

.PHONY: build
build: ## build the plugin (bin/plugins), the simulator and the demo (bin)
	@mkdir -p bin/plugins
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=v$(VERSION)' -o $(PLUGIN) ./cmd/vault-plugin-secrets-gbg
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/gbg-simulator ./cmd/gbg-simulator
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo ./scripts/demo

COMMIT_TIME = $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)

# Builds what is committed, so that others can reproduce it.
.PHONY: release
release: bin/goreleaser bin/inventory bin/image ## build the release for all systems, with checksums, SBOMs, licences and a container image (dist)
	@test -z "$$(git status --porcelain)" || { echo "Commit or remove what git status shows first."; exit 1; }
	PATH="$(abspath bin):$$($(GO) env GOROOT)/bin:$$PATH" VERSION=$(VERSION) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		COMMIT_TIME=$(COMMIT_TIME) \
		bin/goreleaser release --snapshot --clean
	bin/image build -version $(VERSION) -revision $$(git rev-parse HEAD) -date $(COMMIT_TIME) dist dist/image

.PHONY: push-image
push-image: bin/image ## push the image of the last release to IMAGE=registry.example.com/name
	@test -n "$(IMAGE)" || { echo "Set IMAGE to the image's name: make push-image IMAGE=registry.example.com/name"; exit 1; }
	bin/image push dist/image "$(IMAGE)"

.PHONY: lint
lint: bin/golangci-lint ## run golangci-lint
	bin/golangci-lint run ./...
	cd scripts/bench && ../../bin/golangci-lint run ./...

.PHONY: licences
licences: build bin/inventory ## check the licences of the modules linked into the plugin
	bin/inventory -check $(PLUGIN)

.PHONY: fmt
fmt: bin/golangci-lint ## format the code
	bin/golangci-lint fmt ./...

# The module path is where others import the client package from.
.PHONY: rename-module
rename-module: ## change the module path to MODULE, everywhere in this repository
	@$(GO) run ./scripts/rename -module "$$MODULE"

.PHONY: vault
vault: $(if $(VAULT),,bin/vault) ## build the Vault server for the tests, once; with VAULT=..., use that one

.PHONY: clean
clean: ## remove all build output, including the Vault server
	rm -rf bin dist

bin/vault: scripts/vault/go.mod scripts/vault/go.sum
	@printf '%s\n' "Building a Vault server for the demo and the tests. This happens once and" \
		"takes about 10 minutes on 2 cores, half of it downloads. VAULT=/path/to/vault" \
		"uses an installed one instead."
	cd scripts/vault && CGO_ENABLED=0 $(GO) build -tags minimal -trimpath -ldflags '-s -w' -o ../../bin/vault github.com/hashicorp/vault

bin/golangci-lint: scripts/tools/go.mod scripts/tools/go.sum
	@echo "Building golangci-lint, once."
	cd scripts/tools && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/goreleaser: scripts/release/goreleaser/go.mod scripts/release/goreleaser/go.sum
	@echo "Building goreleaser, once. This takes about 4 minutes on 2 cores."
	cd scripts/release/goreleaser && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/goreleaser github.com/goreleaser/goreleaser/v2

bin/inventory: $(wildcard scripts/release/inventory/*)
	cd scripts/release/inventory && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/inventory .

bin/image: $(wildcard scripts/release/image/*)
	cd scripts/release/image && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/image .

bin/crane: scripts/release/image/go.mod scripts/release/image/go.sum
	@echo "Building crane, a client and a test server of container registries, once."
	cd scripts/release/image && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/crane github.com/google/go-containerregistry/cmd/crane

bin/idp: $(wildcard scripts/idp/*)
	@echo "Building a third-party OAuth server for the tests, once."
	cd scripts/idp && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/idp .

$(LAST)/plugin:
	rm -rf $(LAST)
	mkdir -p $(LAST)/source
	git archive $(LAST_COMMIT) | tar -x -C $(LAST)/source
	cd $(LAST)/source && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=v$(LAST_VERSION)' -o ../plugin ./cmd/vault-plugin-secrets-gbg

.PHONY: bin/oidc-provider
bin/oidc-provider: $(OIDC_PROVIDER)

$(OIDC_PROVIDER): $(wildcard scripts/oidc-provider/*)
	@echo "Installing the OpenID Connect server oidc-provider for the tests, once. Without"
	@echo "access to an npm registry: make test NODE_FOUND="
	mkdir -p bin/oidc-provider
	cp $^ bin/oidc-provider
	cd bin/oidc-provider && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

bin/hey: scripts/tools/go.mod scripts/tools/go.sum
	@echo "Building the load generator hey, once."
	cd scripts/tools && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/hey github.com/rakyll/hey

bin/tofu: scripts/terraform/tofu/go.mod scripts/terraform/tofu/go.sum
	@echo "Building OpenTofu, once. This takes about 4 minutes on 2 cores."
	cd scripts/terraform/tofu && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/tofu github.com/opentofu/opentofu/cmd/tofu

# The only release of the Vault provider available as a Go module, built with a newer
# plugin library: OpenTofu does not support the protocol of the original one.
bin/terraform-provider-vault: scripts/terraform/provider/go.mod scripts/terraform/provider/go.sum
	@echo "Building the Vault provider, once."
	cd scripts/terraform/provider && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/terraform-provider-vault github.com/terraform-providers/terraform-provider-vault
