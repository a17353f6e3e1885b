#!/usr/bin/env bash
# Installs the library as a user would, builds the example against nothing but the installed package, runs it, and compares
# its result with the Python package's. Needs build/release and, in .venv, melisma and soundfile.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=$root/.venv/bin/python
work=$root/build/cpp_package
prefix=$work/prefix

rm -rf "$prefix"
cmake --install "$root/build/release" --prefix "$prefix" >/dev/null
cmake -S "$root/examples/log_mel" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
# The package found must be the one that was just installed.
grep -q "^melisma_DIR:PATH=$prefix/" "$work/build/CMakeCache.txt"
cmake --build "$work/build" --clean-first >/dev/null

"$python" "$root/tests/cpp_package/make_wav.py" "$work/stereo.wav"
"$work/build/log_mel" "$work/stereo.wav" "$work/log_mel.npy" 80
"$python" "$root/tests/cpp_package/compare.py" "$work/stereo.wav" "$work/log_mel.npy" 80

# One clear line and exit code 1 for what is not an audio file or cannot be computed.
for bad in "$root/README.md" "$work/missing.wav"; do
  if "$work/build/log_mel" "$bad" "$work/bad.npy" 2>"$work/error.txt"; then
    echo "log_mel accepted $bad" >&2
    exit 1
  fi
  grep -q '^log_mel: ' "$work/error.txt"
  [[ ! -e $work/bad.npy ]]
done
if "$work/build/log_mel" "$work/stereo.wav" "$work/bad.npy" 0 2>"$work/error.txt"; then
  echo "log_mel accepted n_mels 0" >&2
  exit 1
fi
grep -q 'n_mels' "$work/error.txt"
echo "installed C++ package: passed"
