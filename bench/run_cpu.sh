#!/bin/sh
# Runs a CPU benchmark and writes bench/results/<suite>-<processor>-<date>.json. Options go to melisma.benchmark:
#   bench/run_cpu.sh --only '^mel'
#   bench/run_cpu.sh --suite conv
# PYTHON names the interpreter that melisma and its rivals are installed in (default: the checkout's .venv, else python3).
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
suite=cpu
if [ "${1:-}" = --suite ]; then suite=$2; fi
name=$("$PYTHON" -c 'import datetime, re, sys
from melisma._bench.rows import machine
cpu = re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()).strip("-")
print(f"{sys.argv[1]}-{cpu}-{datetime.date.today().isoformat()}")' "$suite")
exec "$PYTHON" -m melisma.benchmark --json "bench/results/$name.json" "$@"
