# nexthop's workshop. `make help` lists what there is.

GO            ?= go
# Every module of the repository, the root first.
MODULES       := . $(patsubst %/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './.*' | sort))
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT     ?= $(GO) run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
FUZZTIME      ?= 30s
TESTFLAGS     ?=
OUT           := coverage

export PATH := $(PATH):/usr/local/go/bin

.DEFAULT_GOAL := help
.PHONY: help setup test cross long lint fuzz bench bench-postgres bench-relay cover drawing mutate clauses

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

setup: ## download the Go modules, and servers from Debian and npm for the tests
	@for m in $(MODULES); do $(GO) -C $$m mod download || exit 1; done
	@internal/peers/setup.sh

# Every module is tested even if another failed. vet runs with -race so that it shares the
# build cache with the tests, and is wider than what they would run of it. make -j2 -O test
# tests two modules at once, and prints what a module says when it has ended.
#
# A program with the race detector sleeps for a second at its end if it is not told
# otherwise, and heaps are so small in tests that most collections are in vain.
SUITES := $(MODULES:%=suite/%)
.PHONY: $(SUITES) suite/unraced
TIMEOUT ?= 16m
test: export GORACE := atexit_sleep_ms=100
test: export GOGC := 400
test: setup ## run all tests with the race detector, real servers included (16 min at most for a package)
	@$(MAKE) --no-print-directory --keep-going $(SUITES) suite/unraced

# The packages that take longest begin first, and one more than there are processors run
# at once: some wait for a device or a server.
LONGEST := ./queue/disk ./delivery ./internal/peers ./queue/queuetest
$(SUITES): suite/%:
	@echo "== $*"; $(GO) -C $* vet -race ./... && $(GO) -C $* test -race -vet=off -p $$(($$(nproc) + 1)) \
		-timeout $(TIMEOUT) $(TESTFLAGS) $(if $(filter .,$*),$(LONGEST)) ./...

suite/unraced:
	@failed=0; $(GO) -C delivery/bench test -run "Allocations|Resumed|Observers" $(TESTFLAGS) . || failed=1; \
	$(GO) test -run Matrix $(TESTFLAGS) ./delivery/trust || failed=1; exit $$failed

# The systems that the library and the programs are for beside the one that the tests run
# on. Tests are vetted, not run.
CROSS := windows/amd64 darwin/arm64 freebsd/amd64
CROSSED := $(shell pwd)/.crossed
cross: ## vet the library and link the programs for Windows, macOS and FreeBSD
	@for t in $(CROSS); do for m in . ./queue/postgres ./examples; do echo "== $$t $$m"; \
		GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) -C $$m vet ./... || exit 1; done; \
		echo "== $$t programs"; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) -C examples build -o $(CROSSED)/ ./... || exit 1; \
		rm -rf $(CROSSED); done

long: ## run the tests at full size, clauses, mutate, and every fuzz target for 10 minutes; takes hours
	@NEXTHOP_LONG=1 $(MAKE) test TIMEOUT=6h
	@$(MAKE) clauses
	@$(MAKE) mutate
	@$(MAKE) fuzz FUZZTIME=10m

lint: ## check the source by the rules of .golangci.yml
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && $(GOLANGCI_LINT) run ./...) || exit 1; done

fuzz: ## fuzz every target for FUZZTIME (30s)
	@for m in $(MODULES); do (cd $$m && for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do echo "== $$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done) || exit 1; done

bench: ## compare with other mail clients, then run the other benchmarks
	@mkdir -p $(OUT)
	$(GO) -C delivery/bench test -run '^$$' -bench . -count 6 . | tee $(OUT)/bench.txt
	@$(BENCHSTAT) -col /client $(OUT)/bench.txt
	@for m in $(filter-out ./delivery/bench,$(MODULES)); do $(GO) -C $$m test -run '^$$' -bench . ./... || exit 1; done

bench-postgres: setup ## compare the queue in PostgreSQL with River on one server; fails where a promise is not kept
	NEXTHOP_LONG=1 $(GO) -C queue/postgres/bench test -count 1 -timeout 60m -v -run '^TestBesideRiver$$' .

bench-relay: ROUNDS ?= 3
bench-relay: setup ## compare the relay and the library with Postfix and Exim, or with the relay OLD; fails if a promise is not kept
	$(GO) test -count 1 -timeout 30m -v -run '^Test$(if $(OLD),BesideOld,Comparison)$$' ./internal/bench \
		$(if $(OLD),-old $(abspath $(OLD)),-compare) -rounds $(ROUNDS)

cover: setup ## print the requirements that the tests show, and how much code they reach
	@mkdir -p $(OUT)
	@$(GO) test -json -coverprofile=$(OUT)/profile.txt -coverpkg=./... ./... > $(OUT)/tests.json || true
	@for m in $(filter-out .,$(MODULES)); do $(GO) -C $$m test -json ./... >> $(OUT)/tests.json || true; done
	@$(GO) run ./internal/project/cover -profile $(OUT)/profile.txt $(OUT)/tests.json

# MUTATE is the packages to break, and MUTATE_TESTS the directories of the tests that
# must notice, separated by commas (default: the packages' own). Without MUTATE, the
# target goes through MUTATED: each item is a module, one of its packages, the
# directories of its tests and, if not all of its files are meant, an expression for
# their names. Every survivor in these has a reason in docs/survivors.txt.
MUTATED := examples:./internal/smtpd:./internal/smtpd \
	.:./delivery/internal/attempt:./delivery/internal/attempt,./delivery \
	.:./delivery/internal/sched:./delivery/internal/sched \
	.:./delivery/internal/events:./delivery/internal/events \
	.:./delivery/internal/goroutine:./delivery/internal/goroutine \
	.:./delivery/internal/lease:./delivery/internal/lease \
	.:./delivery/internal/session:./delivery/internal/session \
	.:./delivery/internal/share:./delivery/internal/share \
	.:./delivery/internal/trouble:./delivery/internal/trouble \
	.:./delivery/internal/waiting:./delivery/internal/waiting \
	'.:./delivery:./delivery:^(conclude|lesson|record|sitekey).go' \
	'.:./internal/smtp:./internal/smtp:^(data|send|session).go' \
	'.:./queue/disk:./queue/disk:^(batch|check|checkpoint|claim|clean|compact|content|dump|errors|files|flush|gather|hold|holds|id|keys|lease|left|limits|line|list|log|mend|move|outcome|problem|put|read|recover|replay|restore|save|segment|settle|settle_full|small|suspend|tail|take|turn).go' \
	.:./queue/disk/internal/index:./queue/disk/internal/index \
	.:./queue/disk/internal/record:./queue/disk/internal/record \
	.:./queue/disk/internal/keys:./queue/disk/internal/keys \
	.:./queue/disk/internal/outcomes:./queue/disk/internal/outcomes \
	.:./queue/disk/internal/vfs:./queue/disk/internal/vfs
mutate: ## break MUTATE (or all of MUTATED) in one place at a time, and print the changes that no test notices
ifdef MUTATE
	@$(GO) run ./internal/project/mutate -accepted docs/survivors.txt $(if $(MUTATE_TESTS),-tests $(MUTATE_TESTS)) $(MUTATE)
else
	@for p in $(MUTATED); do echo "== $$p"; \
		IFS=:; set -- $$p; unset IFS; \
		$(GO) run ./internal/project/mutate -C $$1 -accepted docs/survivors.txt -tests $$3 $${4:+-files $$4} $$2 || exit 1; \
	done
endif

# The packages that docs/clauses.txt is about, and the directories of their tests.
CLAUSES       := ./mx ./smarthost ./internal/address ./internal/content ./internal/smtp ./delivery/internal/attempt ./delivery/internal/session
CLAUSES_TESTS := ./mx,./smarthost,./internal/address,./internal/content,./internal/smtp,./delivery,./delivery/internal/session

clauses: ## break the code for each clause in docs/clauses.txt, and fail if the subtests of its row pass
	@$(GO) run ./internal/project/mutate -slowest 30s -tests $(CLAUSES_TESTS) -clauses docs/clauses.txt $(CLAUSES)

drawing: ## print the layer of each file of delivery, and uses of a file in a higher layer
	@$(GO) run ./internal/project/drawing
