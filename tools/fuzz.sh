#!/usr/bin/env bash
# Runs each libFuzzer target for the seconds given; a crash stops it and leaves its input in build/fuzz.
set -euo pipefail
seconds=${1:?usage: tools/fuzz.sh SECONDS}
cd "$(dirname "$0")/../build/fuzz"
shopt -s nullglob
targets=(./*_fuzz)
((${#targets[@]})) || { echo "no fuzz targets were built" >&2; exit 1; }
for target in "${targets[@]}"; do
  corpus="corpus/${target##*/}"
  mkdir -p "$corpus"
  echo "== ${target##*/}, $seconds s"
  "$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=30 -print_final_stats=1 "$corpus"
done
