# `make` alone lists the targets.

VERSION := 0.1.0

# A Vault server for the demo and the tests: built here once, unless VAULT names
# an installed one.
VAULT ?= bin/vault

GO     ?= go
PLUGIN := bin/plugins/vault-plugin-secrets-gbg

# The race detector needs a C compiler on Linux.
CC_FOUND := $(shell command -v $$($(GO) env CC) 2>/dev/null)
RACE     := $(if $(CC_FOUND),-race)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-15s %s\n' "$$t" "$$d"; done

.PHONY: demo
demo: build vault ## see it work: a real Vault, a simulated GBG, a token, a rotation under load
	@bin/demo -vault "$(VAULT)"

.PHONY: dev
dev: build vault ## the same start, then stay up to be played with (Ctrl-C ends it)
	@bin/demo -vault "$(VAULT)" -stay

.PHONY: test
test: vault bin/idp ## run every test: unit, engine, and end to end on a real Vault
	$(if $(RACE),,@echo "No C compiler: the tests run without the race detector.")
	$(GO) test $(RACE) -timeout 30m $$($(GO) list ./... | grep -v /e2e)
	VAULT="$(abspath $(VAULT))" $(GO) test $(RACE) -v -count=1 -parallel 6 -timeout 40m ./e2e

# Apart from make test because these build other people's programs for minutes.
.PHONY: test-kubernetes
test-kubernetes: vault bin/golangci-lint ## try examples/kubernetes with the operators' and the injector's own code
	cd e2e/kubernetes && ../../bin/golangci-lint run ./...
	cd e2e/kubernetes && VAULT="$(abspath $(VAULT))" $(GO) test -v -count=1 -timeout 20m .

.PHONY: test-terraform
test-terraform: vault bin/tofu bin/terraform-provider-vault ## apply examples/terraform with OpenTofu on a real Vault
	VAULT="$(abspath $(VAULT))" TOFU="$(abspath bin/tofu)" TERRAFORM_PROVIDER_VAULT="$(abspath bin/terraform-provider-vault)" \
		$(GO) test -v -count=1 -timeout 10m -run 'TestTerraform' ./e2e

.PHONY: test-release
test-release: vault bin/goreleaser bin/inventory bin/golangci-lint ## make the release of the last commit twice, compare, and install it into a real Vault
	cd scripts/release/inventory && ../../../bin/golangci-lint run ./... && $(GO) test -count=1 ./...
	VAULT="$(abspath $(VAULT))" GBG_RELEASE=1 $(GO) test -v -count=1 -timeout 1h -run 'TestRelease' ./e2e

# Each fuzz target for so long; make test runs their seeds only.
FUZZTIME ?= 10m

.PHONY: fuzz
fuzz: ## look for inputs that break it, FUZZTIME (10m) for each fuzz target
	@for package in $$($(GO) list ./... | grep -v /e2e); do \
		for target in $$($(GO) test -run '^$$' -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -parallel 2 $$package || exit 1; \
		done; \
	done

# How long make soak uses its one Vault: any duration of Go's, 90s or 12h.
DURATION ?= 1h

# The second without the race detector, which would hide what memory is held.
.PHONY: soak
soak: vault ## disturb a cluster for some minutes, then use and disturb a Vault for DURATION (1h)
	VAULT="$(abspath $(VAULT))" GBG_LONG=1 $(GO) test $(RACE) -v -count=1 -timeout 1h -run 'TestCluster' ./e2e
	VAULT="$(abspath $(VAULT))" GBG_SOAK=$(DURATION) $(GO) test -v -count=1 -timeout 0 -run 'TestSoak' ./e2e

# LENGTH=0.1 is a short run, LENGTH=3 a long one.
LENGTH ?= 1

.PHONY: bench
bench: build vault bin/hey ## measure it on a real Vault and print the tables of docs/performance.md (5 minutes)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/floor ./scripts/bench/floor
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench ./scripts/bench
	@bin/bench -vault "$(VAULT)" -plugin $(PLUGIN) -go "$(GO)" -length $(LENGTH)

.PHONY: build
build: ## build the plugin into bin/plugins, the simulator and the demo into bin
	@mkdir -p bin/plugins
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=v$(VERSION)' -o $(PLUGIN) ./cmd/vault-plugin-secrets-gbg
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/gbg-simulator ./cmd/gbg-simulator
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo ./scripts/demo

# Of what is committed, so that everybody else can make the same.
.PHONY: release
release: bin/goreleaser bin/inventory ## build what operators install into dist, for every system, with sums, SBOMs and licences
	@test -z "$$(git status --porcelain)" || { echo "Commit or remove what git status shows first."; exit 1; }
	PATH="$(abspath bin):$$($(GO) env GOROOT)/bin:$$PATH" VERSION=$(VERSION) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		COMMIT_TIME=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) \
		bin/goreleaser release --snapshot --clean

.PHONY: lint
lint: bin/golangci-lint ## check the code with golangci-lint
	bin/golangci-lint run ./...

.PHONY: licences
licences: build bin/inventory ## check the licences of what is linked into the plugin
	bin/inventory -check $(PLUGIN)

.PHONY: fmt
fmt: bin/golangci-lint ## format the code
	bin/golangci-lint fmt ./...

.PHONY: vault
vault: $(VAULT) ## build the Vault server for the demo and the tests, once

.PHONY: clean
clean: ## remove everything that was built, the Vault server included
	rm -rf bin dist

bin/vault: scripts/vault/go.mod scripts/vault/go.sum
	@echo "Building a Vault server for the demo and the tests. This happens once and"
	@echo "takes about 10 minutes on 2 cores, half of it downloads. VAULT=/path/to/vault"
	@echo "uses an installed one instead."
	cd scripts/vault && CGO_ENABLED=0 $(GO) build -tags minimal -trimpath -o ../../bin/vault github.com/hashicorp/vault

bin/golangci-lint: scripts/tools/go.mod scripts/tools/go.sum
	@echo "Building golangci-lint, once."
	cd scripts/tools && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/goreleaser: scripts/release/goreleaser/go.mod scripts/release/goreleaser/go.sum
	@echo "Building goreleaser, once. This takes about 4 minutes on 2 cores."
	cd scripts/release/goreleaser && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/goreleaser github.com/goreleaser/goreleaser/v2

bin/inventory: $(wildcard scripts/release/inventory/*)
	cd scripts/release/inventory && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/inventory .

bin/idp: $(wildcard scripts/idp/*)
	@echo "Building an OAuth server that is not ours, for the tests, once."
	cd scripts/idp && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/idp .

bin/hey: scripts/tools/go.mod scripts/tools/go.sum
	@echo "Building the load generator hey, once."
	cd scripts/tools && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/hey github.com/rakyll/hey

bin/tofu: scripts/terraform/tofu/go.mod scripts/terraform/tofu/go.sum
	@echo "Building OpenTofu, once. This takes about 4 minutes on 2 cores."
	cd scripts/terraform/tofu && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/tofu github.com/opentofu/opentofu/cmd/tofu

# The one release of the Vault provider that Go modules have, on a newer plugin
# library: what it was released with speaks a protocol that OpenTofu does not.
bin/terraform-provider-vault: scripts/terraform/provider/go.mod scripts/terraform/provider/go.sum
	@echo "Building the Vault provider, once."
	cd scripts/terraform/provider && CGO_ENABLED=0 $(GO) build -trimpath -o ../../../bin/terraform-provider-vault github.com/terraform-providers/terraform-provider-vault
