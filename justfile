# Recipes for working on dnatk; `just` lists them.

default:
    @just --list

# Install for development
install:
    python3 -m venv .venv
    .venv/bin/pip install -c constraints.txt -e '.[dev]'

# Everything that CI runs, in a fresh environment
ci:
    bash .ci/run

# The tests; for example: just test -k masks
test *args:
    .venv/bin/pytest {{args}}

# Style
lint:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .

# Write the pages that are made: the command line, the bundled tasks, the quality table
docs:
    .venv/bin/python docs/make_cli.py
    .venv/bin/python docs/make_tasks.py
    .venv/bin/python docs/make_man.py
    .venv/bin/python docs/make_span_figure.py
    .venv/bin/python examples/quality/table.py examples/quality/ledger.jsonl --into docs/quality.md
    .venv/bin/python examples/evidence/table.py examples/evidence/ledger.jsonl --figures docs/evidence/evidence.json --into docs/evidence.md

# Checksums and the self-test's results, after a change of shipped weights or tasks
reference:
    .venv/bin/python examples/make_reference.py

# The documentation as a site, in site/; a warning stops it
site:
    .venv/bin/mkdocs build --strict

# The benchmarks behind docs/performance.md (on a quiet machine)
bench:
    for script in examples/benchmarks/bench_*.py; do .venv/bin/python $script; done

# On a machine with a GPU: its tests, and the benchmarks of training and inference there
gpu:
    .venv/bin/pytest -m gpu
    .venv/bin/python examples/benchmarks/bench_forward.py --device cuda
    .venv/bin/python examples/benchmarks/bench_pipeline.py --device cuda
    .venv/bin/python examples/benchmarks/bench_training.py --device cuda --preset small --preset dnabert-base --rows 32 --compile
    for preset in small dnabert-base; do .venv/bin/python examples/benchmarks/bench_batches.py --device cuda --preset $preset; done
