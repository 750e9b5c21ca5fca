# Trunkline. `make` lists the targets.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The longest packages begin first, so that none runs alone at the end.
TEST ?= ./internal/redis ./internal/e2e ./services/edge ./...
BUF := .ci/tools/node_modules/.bin/buf
LINT := go tool -modfile=.ci/lint/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help gen gen-check lint removable measures fmt check-deploy build run test fuzz bench bench-micro bench-peers bench-scale load profile faults faults-quick faults-controls soak simulate simulate-controls up down

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

gen: ## Write gen/ from proto/, the tables of refusals, and the list of tests
	@.ci/install gen
	@.ci/generate

gen-check: gen ## Fail when what is generated is not what its sources give
	@git diff --exit-code --stat -- gen docs web .ci/tests
	@new=$$(git ls-files --others --exclude-standard -- gen); test -z "$$new" || { echo "not committed:" $$new; exit 1; }

lint: ## Contract, import rules, Go lint, lengths and order of files
	@.ci/install gen
	$(BUF) lint
	@.ci/breaking $(AGAINST)
	@.ci/length
	@go run ./.ci/rules
	@go run ./.ci/measures -check
	$(LINT) run ./...
	@go -C .ci/tools vet ./openapi && go -C .ci/checkfiles vet . && go -C bench vet ./... && go -C faults vet ./...

removable: ## Build without each of the older protocols, and without all
	@.ci/removable

measures: ## Print how the code is built: lengths, files a package, arrows that run back up
	@go run ./.ci/measures $(if $(WRITE),-write)

fmt: ## Format our Go files
	@$(LINT) fmt ./...

check-deploy: ## Parse docker-compose.yml, the Dockerfile and the nginx configuration
	@.ci/check-deploy

build: ## Build bin/trunkline
	@.ci/build bin/trunkline "$(VERSION)"

run: build ## Build and start everything in one process, for development
	./bin/trunkline serve --dev

test: ## Install what the tests need and run all of them with the race detector
	@.ci/install
	go test -race -timeout 15m $(TEST)

# FUZZ: a pattern of names, as in make fuzz FUZZ=Token
FUZZTIME ?= 60s
fuzz: ## Give every decoder inputs that nobody has thought of, each for FUZZTIME
	@.ci/fuzz $(FUZZTIME) "$(or $(FUZZ),.)"

# BENCH: more flags for the four below, as in make bench BENCH='-rounds 3 -only connect'; go -C bench run . -help
MICRO := bench/results/micro.txt
bench-micro: ## Run the micro-benchmarks and compare them with the accepted results
	go test -run '^$$' -bench . -skip "BenchmarkConnect|Cut" -benchmem -count 6 -benchtime 0.2s -timeout 10m \
		./internal/payload ./internal/redis/... ./services/auth ./services/edge/... >$(MICRO).new
	go -C bench tool benchstat $(MICRO:bench/%=%) $(MICRO:bench/%=%).new
	@echo "To accept: mv $(MICRO).new $(MICRO)"

# BENCH: more flags for the next three, as in make bench BENCH='-rounds 3 -only connect'; go -C bench run . -help
bench: build ## Measure this build alone
	go -C bench run . $(BENCH)

bench-peers: build ## Compare with the peers, a quick set in under 10 minutes; see docs/benchmarks.md
	go -C bench run . -targets trunkline-redis,centrifuge-redis,nats,socketio-redis,limit-bytes -settle 5s -time 3s \
		-only "connect,idle,fanout,unicast,recover" -out results/quick $(BENCH)

bench-scale: build ## Measure 1, 2 and 4 edges and a Redis Cluster, in under 5 minutes; see docs/sizing.md
	go -C bench run . -targets trunkline-redis-1edge,trunkline-redis-2edges,trunkline-redis-4edges,trunkline-cluster-2edges \
		-base trunkline-redis-1edge -settle 8s -time 2s -out results/scale \
		-only "connect,idle,quiet,fanout 1000,unicast stream,followed,rooms,mixed,acked unary,publish stream durable" $(BENCH)
	go -C bench run . -sizing results/scale.jsonl

# LOAD: more flags, as in make load LOAD='-only L4a,L5 -scale 0.1 -time 10s'; go -C bench run ./lines -help
load: build ## Hold this build to what it has to carry, in about 20 minutes on a machine of its own
	go -C bench run ./lines $(LOAD)

# FAULTS: more flags for the next three, as in make faults FAULTS='-only F1,F18 -seed 7'; go -C faults run . -help
faults: ## Do to real processes what happens to real systems, all of it, in under an hour; see docs/reliability.md
	go -C faults run . $(FAULTS)

faults-quick: ## The most telling faults, in under 4 minutes
	go -C faults test ./...
	go -C faults run . -quick $(FAULTS)

MINUTES := 60
soak: ## A random fault each minute for MINUTES, while nothing may grow
	go -C faults run . -soak $(MINUTES)m $(FAULTS)

faults-controls: ## See builds that are broken on purpose turn their rows red, in about 10 minutes
	go -C faults run . -controls $(FAULTS)

SECONDS := 60
# SIMULATE: more flags, as in make simulate SECONDS=600 SIMULATE='-simulate.machine tail -simulate.seed 7'
simulate: ## Try the state machines under schedules from seeds, each for SECONDS; see docs/reliability.md
	go test -count=1 -timeout 0 -v -run TestSimulate ./internal/simulate -simulate.seconds $(SECONDS) $(SIMULATE)

simulate-controls: ## See the simulation find products that are broken on purpose
	go run ./.ci/simulate

profile: build ## Profile the server while SCENARIO runs: CPU, heap, block and their tops in bench/profiles
	go -C bench run . -profile profiles -time 10s -only "$(SCENARIO)" $(BENCH)

up: ## Start the whole system with Docker Compose
	@deploy/secrets.sh
	VERSION="$(VERSION)" docker compose up --build --wait
	@echo "http://localhost:8080 and gRPC at localhost:9090; the API key is in deploy/secrets/api_key"

down: ## Stop it and forget its data
	docker compose down --volumes
