#!/usr/bin/env bash
# The checks on a machine with an NVIDIA GPU, Python 3.12 and PyTorch 2.11 (CUDA), which need not reach any network.
#
#   tools/gpu_check.sh prepare               here: builds what is carried there, in build/gpu/package
#   OUT=folder tools/gpu_check.sh run PART   there; results in $OUT, each part within ten minutes
#
#   tests     tests/gpu, then the Python suite of tensors with device cuda
#   bench     the benchmark's suite "cuda", as table and JSON; `bench conv-cuda`: that of the convolution, beside Dao-AILab's
#             causal_conv1d where its wheel for that Python and PyTorch lies in build/gpu/dao_wheel
#   variants  every variant of the fast kernels on the benchmark's sizes
#   sanitize  compute-sanitizer's memcheck, racecheck and synccheck over tests/gpu/test_reduced*.py
#   ncu       what limits the main kernels, as text
#
# PART may be followed by arguments for pytest, the benchmark or tools/gpu_profile.py. What is carried: the package's
# sources, libmelisma, libmelisma_cuda, and PyTorch's operators, which are built against the PyTorch of this machine and
# loaded there by an older one: that one binary serves both is the first thing checked.
set -euo pipefail
cd "$(dirname "$0")/.."
package=build/gpu/package/melisma

configure() {  # folder, python, further options
  cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSKBUILD=ON -DBUILD_SHARED_LIBS=ON \
    -DPython_EXECUTABLE="$2" "${@:3}" >/dev/null
}

prepare() {
  local python=${PYTHON312:-python3.12} jobs=${JOBS:-$(nproc)}
  [[ -x build/gpu/venv/bin/python ]] || "$python" -m venv build/gpu/venv
  build/gpu/venv/bin/pip -qq install nanobind
  configure build/gpu/cmake "$PWD/build/gpu/venv/bin/python" -DMELISMA_BUILD_TORCH=OFF -DMELISMA_BUILD_CUDA=ON
  cmake --build build/gpu/cmake --target _core melisma melisma_cuda -j "$jobs"
  configure build/gpu/torch "$PWD/.venv/bin/python" -DMELISMA_BUILD_CUDA=OFF
  cmake --build build/gpu/torch --target melisma_torch -j "$jobs"
  rm -rf build/gpu/package && mkdir -p build/gpu/package
  cp -r python/melisma "$package"
  find "$package" -name __pycache__ -prune -exec rm -rf {} +
  cp build/gpu/cmake/_core.*.so build/gpu/cmake/libmelisma.so build/gpu/cmake/libmelisma_cuda.so build/gpu/torch/_torch.so \
    "$package"/
  strip --strip-unneeded "$package"/*.so
  .venv/bin/pip -qq install --no-deps --target build/gpu/package expecttest  # PyTorch's own lists of cases need it
  # Debian's libraries that the image lacks; libmelisma looks beside itself first.
  ldd "$package/libmelisma.so" | awk '/libhwy|libtbb/ { print $3 }' | xargs -I{} cp -L {} "$package"/
  du -sh build/gpu/package
}

pytest_there() {  # name of the log, arguments
  local log=$OUT/$1.txt
  shift
  python -m pytest -q -p no:cacheprovider "$@" 2>&1 | tee "$log" | tail -n 60 || failed=1
}

tests() {
  local spread=() suite
  python -c 'import xdist' 2>/dev/null && spread=(-n "$(($(nproc) / 2))")
  python - <<'PY'
import torch, melisma, melisma.torch
print("melisma", melisma.__version__, "under PyTorch", torch.__version__, melisma.backends())
PY
  if [[ $# -gt 0 ]]; then
    pytest_there tests "$@"
    return
  fi
  pytest_there tests-gpu tests/gpu --durations=10
  python tools/torchaudio_goldens.py "$OUT/torchaudio.npz"
  local suites=(tests/torch_ops tests/torch_audio)
  for suite in tests/torch_conv tests/torch_compat/test_causal_conv1d*.py; do
    [[ -e $suite ]] && suites+=("$suite")
  done
  MELISMA_TEST_DEVICE=cuda pytest_there tests-cuda "${spread[@]}" "${suites[@]}" --durations=10
}

bench() {
  local suite=cuda wheel rival
  if [[ $# -gt 0 && $1 != -* ]]; then
    suite=$1
    shift
  fi
  for wheel in build/gpu/dao_wheel/*.whl; do
    [[ $suite == conv-cuda && -e $wheel ]] || continue
    rival=$(mktemp -d)
    python -m zipfile -e "$wheel" "$rival"
    export PYTHONPATH=$PYTHONPATH:$rival
  done
  python -m melisma.benchmark --suite "$suite" --json "$OUT/$suite.json" "$@" 2>"$OUT/$suite.err" | tee "$OUT/$suite.txt" || failed=1
}

variants() {
  python tools/gpu_variants.py "$OUT/variants.json" "$@" 2>"$OUT/variants.err" | tee "$OUT/variants.txt" || failed=1
}

sanitize() {
  local tool
  for tool in memcheck racecheck synccheck; do
    # Ours alone: PyTorch's kernels are PyTorch's. Without its cache each tensor is an allocation whose ends are known.
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout 190 compute-sanitizer --tool "$tool" --kernel-name kernel_substring=run_kernel \
      --error-exitcode 9 --print-limit 20 python -m pytest -q -x -p no:cacheprovider tests/gpu/test_reduced*.py "$@" \
      >"$OUT/$tool.txt" 2>&1 || failed=1
    echo "--- $tool" && tail -n 8 "$OUT/$tool.txt"
  done
}

ncu_reports() {
  ncu --clock-control none --set full --profile-from-start off -k regex:run_kernel --target-processes all \
    python tools/gpu_profile.py "$@" >"$OUT/ncu.txt" 2>&1 || failed=1
  grep -E '^---|^  [^ ].*run_kernel|Duration|DRAM Throughput|Memory Throughput|Achieved Occupancy|Registers Per|bank conflict|Bank conflict' \
    "$OUT/ncu.txt" || true
}

run() {
  local part=${1:?usage: tools/gpu_check.sh run tests|bench|variants|sanitize|ncu}
  shift
  export PYTHONPATH=$PWD/build/gpu/package:$PWD/tests PYTHONUNBUFFERED=1
  mkdir -p "$OUT"
  case $part in
    tests) tests "$@" ;;
    bench) bench "$@" ;;
    variants) variants "$@" ;;
    sanitize) sanitize "$@" ;;
    ncu) ncu_reports "$@" ;;
    *) echo "tools/gpu_check.sh: unknown part '$part'" >&2; exit 2 ;;
  esac
}

failed=0
case ${1:?usage: tools/gpu_check.sh prepare, or run PART} in
  prepare) prepare ;;
  run) shift && run "$@" ;;
  *) echo "tools/gpu_check.sh: unknown word '$1'" >&2; exit 2 ;;
esac
exit "$failed"
