# The two commands of the README are `make demo` and `make test`; each sets up what it needs.

PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

# Tests that run once more on JAX and on torch: pruning, sharing, saving, loading and stripping.
CORE := tests/wrappers tests/test_conversion.py tests/test_callbacks.py tests/test_saving.py \
	tests/test_rebuilding.py tests/test_devices.py
# And on JAX, whose trainer keeps the state to itself, all ways of training.
TRAINING := tests/test_ways_of_training.py tests/test_training_page.py tests/test_training_logs.py \
	tests/test_summaries.py

.PHONY: help setup demo test test-pages lint format bench-demo bench-format bench-format-networks bench-format-study \
	bench-format-bytes bench-format-model bench-fullsize bench-compatibility bench-kills bench-micro \
	bench-micro-network bench-ablation bench-overhead bench-records bench-tradeoff verify-records \
	bench-tflite bench-compress bench-modern-network bench-tflite-conversion bench-vela bench-c peers-table docs \
	fuzz fuzz-mutants fuzz-c clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 20

.venv/.package: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.tools: requirements-dev.txt .venv/.package
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@

setup: .venv/.tools ## Make .venv with the package and the development tools

demo: .venv/.package ## Train, prune, share, code and decode LeNet-300-100 on MNIST, into demo/
	$(BIN)/keras-deepcomp demo --data data/mnist.npz --out demo

test: setup lint docs ## Run all that CI runs
	@# Two processes: most of the time goes by in Python. Files stay whole for what they set up.
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	KERAS_BACKEND=jax $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(CORE) $(TRAINING)
	@# torch's threads wait by spinning; with more than one, another busy process slows them tenfold.
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(CORE)

build/browser/.installed: tests/browser/package.json tests/browser/package-lock.json
	@# Debian's own browser, where there is none yet; CHROMIUM names another one.
	command -v npm >/dev/null && command -v "$${CHROMIUM:-chromium}" >/dev/null || { apt-get update -qq && apt-get install -qq -y chromium npm >/dev/null; }
	npm ci --prefix tests/browser --no-audit --no-fund --silent
	@mkdir -p $(@D) && touch $@

test-pages: setup docs build/browser/.installed ## Look at reports and the site in headless Chromium, narrow and wide, light and dark
	PYTHONPATH=.:tests $(BIN)/python tests/browser/make_reports.py build/pages
	node tests/browser/check_pages.mjs build/pages build/pages/*.html
	@mkdir -p build/pages/site
	node tests/browser/check_pages.mjs build/pages/site --site build/site
	@# And it would have seen a fault.
	! node tests/browser/check_pages.mjs build/pages tests/browser/faults.html >build/pages/faults.txt
	@for kind in console request outside axe; do grep -q "^  $$kind" build/pages/faults.txt || { echo "no $$kind fault was found"; exit 1; }; done

build/docs/.installed: website/requirements.txt
	$(PYTHON) -m venv build/docs
	build/docs/bin/pip install --quiet --requirement website/requirements.txt
	@touch $@

docs: build/docs/.installed ## Build the site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 build/docs/bin/python -m mkdocs build --strict --quiet

lint: setup ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-demo: setup ## The demo over three seeds, into benchmarks/results/
	$(BIN)/python benchmarks/demo_seeds.py

build/peers/.installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv build/peers
	build/peers/bin/pip install --quiet --no-deps --requirement benchmarks/requirements-peers.txt
	@touch $@

bench-format: setup build/peers/.installed ## The format against NNCodec and others, into benchmarks/results/
	$(BIN)/python benchmarks/format.py

bench-format-networks: setup ## Train the networks that the format is measured and tuned on
	$(BIN)/python benchmarks/format_networks.py
	$(BIN)/python benchmarks/format_networks.py --tuning

bench-format-study: setup ## What each choice of the format gains, into benchmarks/results/
	$(BIN)/python benchmarks/format_study.py

bench-format-bytes: ## The same bytes from each Python, numpy and bitarray, into benchmarks/results/
	$(PYTHON) benchmarks/format_bytes.py

bench-format-model: setup ## A whole VGG-16 as .kdc against .keras, into benchmarks/results/
	$(BIN)/python benchmarks/format_vgg16.py

build/fullsize/.installed: benchmarks/requirements-fullsize.txt
	$(PYTHON) -m venv build/fullsize
	build/fullsize/bin/pip install --quiet --requirement benchmarks/requirements-fullsize.txt
	@touch $@

bench-fullsize: setup build/fullsize/.installed ## AlexNet and VGG-16 through all stages, into benchmarks/results/
	$(BIN)/python benchmarks/fullsize.py

bench-compress: setup ## kdc.compress with its defaults: size, time, kills, into benchmarks/results/
	$(BIN)/python benchmarks/compress.py

bench-modern-network: setup ## A separable residual network through kdc.compress, into build/modern/
	$(BIN)/python examples/modern_conv_net.py --out build/modern --training 12000 --epochs 15 --drop 0.003 --minutes 9

bench-kills: setup ## A training killed twenty times ends with the same bits, into benchmarks/results/
	$(BIN)/python benchmarks/kills.py

bench-overhead: setup ## What pruning and sharing cost a training step, into benchmarks/results/
	$(BIN)/python benchmarks/overhead.py

bench-ablation: setup ## What each stage of the record recipe is worth, into benchmarks/results/
	$(BIN)/python benchmarks/ablation.py

bench-records: setup ## The smallest LeNet-300-100 and LeNet-5, of three seeds, into benchmarks/records/
	$(BIN)/python benchmarks/records.py

bench-tradeoff: setup ## Error against bytes as a picture, from the results, into docs/
	$(BIN)/python benchmarks/tradeoff.py

peers-table: ## Put what was measured beside tfmot, NNCodec and gzip into the README
	$(PYTHON) benchmarks/peers_table.py

verify-records: setup ## Decode and evaluate the files in benchmarks/records/
	$(BIN)/python benchmarks/verify_records.py

bench-micro: setup ## LeNets and a keyword net from compressed weights on TensorFlow Lite Micro
	$(BIN)/python benchmarks/micro.py

bench-micro-network: setup ## Train the keyword net, on made data, that bench-micro runs
	$(BIN)/python benchmarks/keyword_net.py

bench-compatibility: setup ## Every kind of model through all stages, into docs/compatibility.md
	$(BIN)/python benchmarks/compatibility.py

bench-tflite: setup ## Packed .tflite files against gzip and xz, into docs/tflite.md
	$(BIN)/python benchmarks/tflite.py

bench-tflite-conversion: setup ## Zeros and shared values through TensorFlow Lite's converter, into benchmarks/results/
	$(BIN)/python benchmarks/tflite_conversion.py
	$(BIN)/python benchmarks/deploying_page.py

build/vela/.installed: benchmarks/requirements-vela.txt
	$(PYTHON) -m venv build/vela
	build/vela/bin/pip install --quiet --requirement benchmarks/requirements-vela.txt
	@touch $@

bench-vela: setup build/vela/.installed ## Pruned and shared weights on an NPU, by Vela, into benchmarks/results/
	$(BIN)/python benchmarks/vela.py
	$(BIN)/python benchmarks/deploying_page.py

build/fuzz/.installed: tests/fuzz/requirements.txt
	$(PYTHON) -m venv build/fuzz
	build/fuzz/bin/pip install --quiet --requirement tests/fuzz/requirements.txt
	@touch $@

FUZZ_SECONDS ?= 600

fuzz: build/fuzz/.installed ## Look for files that the decoder is wrong about, for FUZZ_SECONDS
	PYTHONPATH=tests build/fuzz/bin/python -m fuzz.guided -max_total_time=$(FUZZ_SECONDS)

fuzz-mutants: setup ## A million damaged files, the same each time, into benchmarks/results/
	PYTHONPATH=tests $(BIN)/python -m fuzz.campaign --out benchmarks/results/fuzz.json

bench-c: setup ## The decoder in C against Python's and zlib, into benchmarks/results/
	$(BIN)/python benchmarks/c_decoder.py

FUZZ_RUNS ?= 1000000

fuzz-c: setup ## Look for files that the decoder in C is wrong about, for FUZZ_RUNS inputs; needs clang
	$(MAKE) -C c fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz.c_corpus build/fuzz-c/corpus
	c/fuzz -max_len=4096 -rss_limit_mb=1024 -runs=$(FUZZ_RUNS) -print_final_stats=1 \
		-artifact_prefix=build/fuzz-c/ build/fuzz-c/corpus 2> build/fuzz-c/log || \
		(tail -n 40 build/fuzz-c/log; exit 1)
	$(BIN)/python benchmarks/c_decoder.py --fuzz-log build/fuzz-c/log

clean: ## Remove what the commands above have made
	$(MAKE) -C c clean
	rm -rf .venv demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
