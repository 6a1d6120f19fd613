.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

build: ## build bin/polity
	go build -trimpath -o bin/polity ./cmd/polity

test: ## run the tests (Go alone, under three minutes)
	go test ./...

race: ## run the tests with the race detector
	go test -race ./...

lint: ## vet and staticcheck
	go vet ./...
	go tool staticcheck ./...

sim: ## 10,000 seeds of the simulated kernel
	go test ./internal/run -run Simulated -sim.seeds 10000 -v

bench: build ## measure beside the machine's limits
	bin/polity bench runs
	bin/polity bench agents

ci: ## all that CI runs
	.ci/run

.PHONY: help build test race lint sim bench ci
