# nexthop's workshop. `make help` lists what there is.

GO            ?= go
# Every module of the repository, the root first.
MODULES       := . $(patsubst %/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './.*' | sort))
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT     ?= $(GO) run golang.org/x/perf/cmd/benchstat@latest
FUZZTIME      ?= 30s
TESTFLAGS     ?=
OUT           := coverage

export PATH := $(PATH):/usr/local/go/bin

.DEFAULT_GOAL := help
.PHONY: help setup test long lint fuzz bench cover

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile

setup: ## download what the tests need: Go modules, and servers from Debian
	@for m in $(MODULES); do $(GO) -C $$m mod download || exit 1; done
	@internal/peers/setup.sh

test: setup ## run all tests with the race detector, real servers included (12 min at most)
	@for m in $(MODULES); do echo "== $$m"; $(GO) -C $$m vet ./... && \
		$(GO) -C $$m test -race -timeout 12m $(TESTFLAGS) ./... || exit 1; done

long: setup ## run the full sizes and the fuzz targets, which takes hours
	@for m in $(MODULES); do echo "== $$m"; \
		NEXTHOP_LONG=1 $(GO) -C $$m test -race -timeout 6h $(TESTFLAGS) ./... || exit 1; done
	@$(MAKE) fuzz FUZZTIME=10m

lint: ## check the source by the rules of .golangci.yml
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && $(GOLANGCI_LINT) run ./...) || exit 1; done

fuzz: ## fuzz every target for FUZZTIME (30s)
	@for m in $(MODULES); do (cd $$m && for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do echo "== $$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done) || exit 1; done

bench: ## compare with other clients and measure ourselves, all in one run
	@mkdir -p $(OUT)
	$(GO) -C delivery/bench test -run '^$$' -bench . -count 6 . | tee $(OUT)/bench.txt
	@$(BENCHSTAT) -col /client $(OUT)/bench.txt
	$(GO) test -run '^$$' -bench . ./...

cover: setup ## print which requirements the tests show, and how much code they reach
	@mkdir -p $(OUT)
	@$(GO) test -json -coverprofile=$(OUT)/profile.txt -coverpkg=./... ./... > $(OUT)/tests.json || true
	@$(GO) run ./internal/project/cover $(OUT)/tests.json
	@$(GO) tool cover -func=$(OUT)/profile.txt | tail -1
