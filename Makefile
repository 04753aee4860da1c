# POSIX make and sh; "make" alone lists the targets. Go's pattern "work" means all packages of all modules of go.work.
.POSIX:
.SUFFIXES:

# A program with the race detector sleeps for a second when it ends, each of the tests' processes too. Their servers
# start from a copy of what initdb made once. Memory is collected less often, which takes a tenth of the processors' time.
TEST_ENV = GOGC=300 GORACE=atexit_sleep_ms=50 LOCKKEEPER_PG_TEMPLATES="$$PWD/.bin/templates"
# What the tests of one package take at most, on a machine that does other work too. The whole of it takes about four minutes on two processors.
TIMEOUT = 600s
# The packages of all modules. Those whose tests take longest stand first, since they begin in this order.
PACKAGES = ./manager ./cmd/demo ./pg work
# Which tests, for "test", "race" and "stress".
RUN = .
# How often "race" repeats them.
COUNT = 20
# The least share of the library's statements, in percent, that the tests have to reach for "cover".
COVERED = 80
# How long "fuzz" spends on each target.
FUZZTIME = 30s
# Anything: "faults" causes each fault as often as the documented figures say.
STRESS =
# For "release-check".
VERSION =
# Of fence-proof.
ROUNDS = 10000
# For "matrix"; empty means all.
VERSIONS =
# Arguments of the simulations, and of the bugs that are put back.
SIM_ARGS =
MUTANT_ARGS =
# Arguments of the model's checker.
MODEL_ARGS =
# Arguments of the demo's commands.
DEMO_ARGS =
STORM_ARGS =
FENCE_ARGS =
CHAOS_ARGS =
SOAK_ARGS =
# Arguments of the benchmark harness.
BENCH_ARGS =
# Which micro-benchmarks, for "microbench" and "benchcmp", and how often; where "microbench" writes; what to compare.
MICRO = .
MICRO_COUNT = 6
OUT = microbench.txt
OLD =
NEW =
# Where "install" puts the command.
PREFIX = /usr/local
DESTDIR =

GOLANGCI = v2.15.0
LINTER = .bin/golangci-lint-$(GOLANGCI)
GOVULNCHECK = v1.9.0
VULN = .bin/govulncheck-$(GOVULNCHECK)

.PHONY: help
help: ## list the targets
	@echo 'usage: make <target>'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1#\2/p' Makefile | \
		while IFS='#' read -r target text; do printf '%-12s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'Settings, with their defaults:'
	@sed -n 's/^\([A-Z_]*\) = *\(.*\)/  \1=\2/p' Makefile

.PHONY: setup
setup: ## install what tests and demo need and this machine lacks: PostgreSQL, PgBouncer, Redis, promtool, Chromium, a C compiler, spin
	@scripts/ensure-postgres
	@scripts/ensure-pgbouncer || echo 'the tests that need PgBouncer are skipped'
	@scripts/ensure-redis || echo 'the tests of peers on Redis are skipped'
	@scripts/ensure-promtool >/dev/null || echo 'the alert rules and the dashboard are not checked by promtool'
	@scripts/ensure-chromium || echo "the tests of the demo's page in a browser are skipped"
	@scripts/ensure-netfault || echo 'the tests that cut the network are skipped'
	@scripts/ensure-spin || echo 'the model is not checked'
	@scripts/race-flag >/dev/null

.PHONY: demo
demo: ## prove exclusion under load on a throwaway server (DEMO_ARGS='--processes 4 --skew zipf', or --help)
	@scripts/demo load $(DEMO_ARGS)

.PHONY: server
server: ## start a throwaway PostgreSQL to try things on, and print how to reach it; Ctrl-C removes it
	@scripts/demo server

.PHONY: build
build: ## build the command lockkeeper: .bin/lockkeeper
	@mkdir -p .bin
	cd cmd/lockkeeper && go build -buildvcs=false -o ../../.bin/lockkeeper .

.PHONY: install
install: build ## install lockkeeper with its manual page and completions (PREFIX=/usr/local DESTDIR=)
	@scripts/install '$(DESTDIR)$(PREFIX)'

.PHONY: storm
storm: ## cancel 100,000 waiters at once (STORM_ARGS='--waiters 1000', or --help)
	@scripts/demo storm $(STORM_ARGS)

.PHONY: fence
fence: ## stop a holder past its loss and wake it: its write must not count (FENCE_ARGS='--duration 5m', or --help)
	@scripts/demo fence $(FENCE_ARGS)

.PHONY: bench
bench: ## compare with what one could use instead, half an hour (BENCH_ARGS='--quick --baseline HEAD~1', or --help)
	@scripts/bench $(BENCH_ARGS)

.PHONY: chaos
chaos: ## break everything around the locks by a seeded schedule, and check (CHAOS_ARGS='--seed 1 --duration 5m', or --help)
	@scripts/demo chaos $(CHAOS_ARGS)

.PHONY: soak
soak: ## 20 minutes of chaos at full load: is memory flat? (writes soak.html; SOAK_ARGS='--duration 1h')
	@scripts/demo chaos --duration 20m --soak --workers 16 --keys 64 --hold 2ms --interval 1s --timeout 1s --html soak.html $(SOAK_ARGS)

.PHONY: test
test: setup ## run all tests of all modules under the race detector, against a real PostgreSQL
	@$(TEST_ENV) scripts/run-tests $(TIMEOUT) '$(RUN)'

.PHONY: race
race: setup ## run the concurrency tests COUNT times under the race detector
	@$(TEST_ENV) scripts/race '$(COUNT)' '$(RUN)'

.PHONY: stress
stress: setup ## run the long versions of the tests: 100,000 waiters, longer storms
	race=$$(scripts/race-flag) && $(TEST_ENV) LOCKKEEPER_STRESS=1 go test $$race -count=1 -timeout 1h -run '$(RUN)' $(PACKAGES)

.PHONY: oldest
oldest: setup ## compile the library with the oldest Go that go.mod asks for, and run some of its tests
	@scripts/oldest

.PHONY: faults
faults: setup ## cause every fault, and print the figures (STRESS=1: as often as docs/guarantees.md says)
	LOCKKEEPER_STRESS='$(STRESS)' go test -count=1 -timeout 1h -v -run '$(RUN)' ./internal/faults/... ./internal/netfault/...
	[ '$(RUN)' != . ] || go test -count=1 -timeout 1h -v -run '^TestTransactionPooler' ./manager

.PHONY: fence-proof
fence-proof: setup ## end a session in ROUNDS rounds at a random moment around COMMIT, while another process waits for its lock
	$(TEST_ENV) LOCKKEEPER_FENCE_ROUNDS=$(ROUNDS) go test -count=1 -timeout 3h -v -run TestNoCommitFollowsTheNextGrant ./manager

.PHONY: matrix
matrix: setup ## the library's tests, behind each pooler too, and a minute of chaos, on PostgreSQL 13 to 18 (VERSIONS='13 18')
	@scripts/matrix $(VERSIONS)

.PHONY: fuzz
fuzz: setup ## run each fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

.PHONY: sim
sim: ## explore simulated histories for as long as you like (SIM_ARGS='-sim.for=1h -sim.seed=7', see docs/simulation.md)
	race=$$(scripts/race-flag) && go test $$race -count=1 -timeout 0 -v -run '$(RUN)' ./internal/sim -args $(SIM_ARGS)

.PHONY: model
model: ## check the model of the design exhaustively, and its broken variants (MODEL_ARGS='-run served', see docs/model.md)
	@scripts/ensure-spin
	@go run ./internal/model $(MODEL_ARGS)

.PHONY: mutants
mutants: ## put realistic bugs back, one by one, and print which check finds each (MUTANT_ARGS='-run "old bug"')
	@go run ./internal/mutants $(MUTANT_ARGS)

.PHONY: cover
cover: setup ## measure which statements the tests reach, package by package and in total (cover.out)
	go test -timeout 10m -coverpkg=./hashing/...,./actor/...,./pg/...,./manager/...,./internal/latency/... \
		-coverprofile=cover.out ./...
	@scripts/cover cover.out $(COVERED)

.PHONY: release-check
release-check: lint cover ## can this commit be tagged? API, licences, vulnerabilities, coverage, install (VERSION=v0.1.0)
	@go run ./internal/release '$(VERSION)'

.PHONY: microbench
microbench: setup ## run the library's micro-benchmarks and write them to a file (OUT=before.txt MICRO=Keeper)
	@scripts/microbench run '$(MICRO)' $(MICRO_COUNT) >'$(OUT)'
	@echo 'written to $(OUT)'

.PHONY: benchcmp
benchcmp: setup ## compare two such files, or two commits (OLD=main NEW=; without NEW the work tree), by benchstat
	@scripts/microbench compare '$(OLD)' '$(NEW)' '$(MICRO)' $(MICRO_COUNT)

.PHONY: lint
lint: $(LINTER) $(VULN) ## check format, vet, owner rules, linters (import directions too), go.mod files, licences, vulnerabilities
	@scripts/lint $(LINTER) $(VULN)

# Its own module graph, built by this machine's Go: neither go.mod nor a download of binaries is involved.
$(LINTER):
	GOBIN="$$PWD/.bin/$(GOLANGCI)" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	mv .bin/$(GOLANGCI)/golangci-lint $@
	rmdir .bin/$(GOLANGCI)

$(VULN):
	GOBIN="$$PWD/.bin/$(GOVULNCHECK)" go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
	mv .bin/$(GOVULNCHECK)/govulncheck $@
	rmdir .bin/$(GOVULNCHECK)

.PHONY: tidy
tidy: ## format the code and bring the go.mod files up to date
	gofmt -w .
	@scripts/modules | while read -r dir; do (cd "$$dir" && echo "go mod tidy: $$dir" && go mod tidy) || exit 1; done

.PHONY: clean
clean: ## remove what the other targets made here
	rm -rf .bin cover.out
