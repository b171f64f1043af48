# Needs python3 (3.11 or newer) with its venv module, and make. Everything else lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PAGE := $(PYTHON) scripts/prepare.py node site "what the page is made of" "the page in the browser is left out"

.PHONY: demo test core check simulate bench bench-proxies bench-lossy bench-many bench-page fuzz mutants pins proto clean

## The main job, on this machine alone: dev node, farm, relay, and a peer that asks. ONCE=1 ends by itself;
## TARGET=http://127.0.0.1:11434 serves an Ollama that runs already instead of the embedded model.
demo: .venv/run
	@$(if $(ONCE),,$(PAGE))
	@$(BIN)/python scripts/demo.py $(if $(ONCE),--once) $(if $(TARGET),--target $(TARGET))

## All tests, in two halves side by side; ARGS=tests/relay for some. Those that need node, a real nknd (NKN_TEST_RPC)
## or a real Ollama (OLLAMA_TEST_HOST) say so when they skip.
test: .venv/test node_modules page
	@$(BIN)/python scripts/tests.py $(ARGS)

## The pure floors alone, each module covered to the last branch; a minute.
core: .venv/test
	@$(BIN)/python scripts/core.py $(ARGS)

## Style and types.
check: .venv/test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/mypy --strict site/*.py

## Ten thousand worlds in which everything goes wrong, each from a seed; ARGS="--first 10000", ARGS="--seed 7 --trace".
simulate: .venv/run
	@$(BIN)/python -m simulator --worlds 10000 --keep $(ARGS)

## The relay beside a plain one on the official SDK and direct HTTP, in one run of six minutes; ARGS=--quick for one.
## PROFILE=1 tells instead where the relay's CPU goes.
bench: .venv/run node_modules
	@$(BIN)/python -m bench.$(if $(PROFILE),profile_relay,relay_vs_sdk) $(ARGS)

## The farm's front beside nginx and LiteLLM's proxy (where they are installed) and direct HTTP; ARGS=--quick for a short run.
bench-proxies: .venv/run
	@$(BIN)/python -m bench.proxies $(ARGS)

## Streams over networks that delay and lose; ARGS=--quick for two minutes.
bench-lossy: .venv/run
	@$(BIN)/python -m bench.lossy $(ARGS)

## The relay's memory under 1,000 streams for ten minutes, and after them; ARGS="--minutes 1".
bench-many: .venv/run
	@$(BIN)/python -m bench.many $(ARGS)

## A million strange inputs for each reader of strangers' bytes; ARGS="--seed 2".
fuzz: .venv/run
	@$(BIN)/python -m fuzzing $(ARGS)

## Every small change to the pure floors, about 18,000: whether a test notices; half an hour on two cores.
## ARGS="relay.batcher wire.*" for some modules, ARGS="--sample 50" for a look, ARGS=--again for what survived.
mutants: .venv/test
	@$(BIN)/python -m mutation $(ARGS)

## What the page costs: weight, time until it can be used, CPU of a stream that is drawn. Needs Chromium.
bench-page: .venv/test page
	@$(BIN)/python -m bench.page $(ARGS)

.venv/run: requirements/run.txt
	@$(PYTHON) scripts/prepare.py venv .venv
	@echo "installing what the relay and the farm need (once, about 70 MB)"
	@$(PYTHON) scripts/prepare.py pip .venv requirements/run.txt
	@touch $@

.venv/test: .venv/run requirements/test.txt
	@echo "installing what the tests need (once)"
	@$(PYTHON) scripts/prepare.py pip .venv requirements/test.txt
	@touch $@

.PHONY: node_modules
node_modules:
	@$(PYTHON) scripts/prepare.py node tests/interop

## The page that talks to your relay; ARGS="--port 8443 --host 127.0.0.1".
site: .venv/run page
	@$(BIN)/python site/server.py $(ARGS)

.PHONY: page site
page:
	@$(PAGE)

## New pins for requirements/*.txt, and new code from messages.proto (for maintainers).
pins: .venv/run
	@$(BIN)/python -m pip install --quiet pip-tools
	@cd requirements && for name in run test; do ../$(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
		--allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o $$name.txt $$name.in; done

proto: .venv/run
	@$(BIN)/python -m pip install --quiet grpcio-tools==1.85.1
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. relay/nkn/messages.proto

clean:
	rm -rf .venv tests/interop/node_modules site/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
