#!/usr/bin/env bash
# The checks on a machine with an NVIDIA GPU, Python 3.12 and PyTorch 2.11 (CUDA), which need not reach any network.
#
#   tools/gpu_check.sh prepare           here: builds what is carried there, in build/gpu
#   OUT=folder tools/gpu_check.sh run    there: tests and benchmarks; results in $OUT
#
# What is carried: the package as it stands in .venv, its compiled PyTorch operators included. They were built against the
# PyTorch of this machine and are loaded there by an older one: that one binary serves both is the first thing checked.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=build/gpu/package/melisma

prepare() {
  local python=${PYTHON312:-python3.12} build=build/gpu/cmake installed
  installed=$(.venv/bin/python -c 'import melisma, pathlib; print(pathlib.Path(melisma.__file__).parent)')
  [[ -x build/gpu/venv/bin/python ]] || "$python" -m venv build/gpu/venv
  build/gpu/venv/bin/pip -qq install nanobind
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSKBUILD=ON -DBUILD_SHARED_LIBS=ON \
    -DMELISMA_BUILD_TORCH=OFF -DPython_EXECUTABLE="$PWD/build/gpu/venv/bin/python" >/dev/null
  cmake --build "$build" --target _core
  rm -rf build/gpu/package && mkdir -p build/gpu/package
  cp -r "$installed" "$stage" && rm -f "$stage"/_core.*.so
  find "$stage" -name __pycache__ -prune -exec rm -rf {} +
  cp "$build"/_core.*.so "$stage"/
  .venv/bin/pip -qq install --no-deps --target build/gpu/package expecttest  # PyTorch's own lists of cases need it
  # Debian's libraries that the image lacks; libmelisma looks beside itself first.
  ldd "$stage/libmelisma.so" | awk '/libhwy|libtbb/ { print $3 }' | xargs -I{} cp -L {} "$stage"/
}

run() {
  export PYTHONPATH=$PWD/build/gpu/package:$PWD/tests
  mkdir -p "$OUT"
  python - <<'PY'
import torch, melisma, melisma.torch
print("melisma", melisma.__version__, "under PyTorch", torch.__version__, melisma.backends())
PY
  python tools/torchaudio_goldens.py "$OUT/torchaudio.npz"
  python -m pytest -q -p no:cacheprovider tests/torch_ops tests/torch_audio 2>&1 | tee "$OUT/tests.txt" | tail -n 40
}

case ${1:?usage: tools/gpu_check.sh prepare|run} in
  prepare) prepare ;;
  run) run ;;
  *) echo "tools/gpu_check.sh: unknown part '$1'" >&2; exit 2 ;;
esac
