#!/usr/bin/env bash
# Installs the system packages that a part of the work needs; silent and quick where all are there.
#   tools/setup.sh build      the library, the C++ tests and the Python package
#   tools/setup.sh samples    recordings for `make run` (optional: failing is not an error)
#   tools/setup.sh arm        AArch64 cross compiler, libraries and emulator
#   tools/setup.sh tidy       clang-tidy
#   tools/setup.sh fuzz       clang with libFuzzer
#   tools/setup.sh metal      clang, which checks the Metal sources
set -euo pipefail
part=${1:?usage: tools/setup.sh build|samples|arm|tidy|fuzz|metal}
python=${PYTHON:-python3}

apt_packages=()
brew_packages=()
case $part in
  build)
    apt_packages=(g++ cmake ninja-build ccache libhwy-dev libtbb-dev nlohmann-json3-dev libdlpack-dev libgtest-dev libbenchmark-dev libsndfile1-dev)
    brew_packages=(cmake ninja ccache highway tbb nlohmann-json dlpack googletest google-benchmark libsndfile)
    # A Python that did not come from Debian (pyenv, uv) brings these two itself.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_packages+=(python3-venv)
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
      apt_packages+=(python3-dev)
    ;;
  samples) apt_packages=(sonic-pi-samples) ;;
  arm) apt_packages=(g++-aarch64-linux-gnu qemu-user libhwy-dev:arm64 libtbb-dev:arm64 nlohmann-json3-dev libdlpack-dev libgtest-dev ninja-build cmake) ;;
  tidy) apt_packages=(clang-tidy) ;;
  fuzz | metal) apt_packages=(clang) ;;
  *) echo "tools/setup.sh: unknown part '$part'" >&2; exit 2 ;;
esac

if [[ $(uname -s) == Darwin ]]; then
  case $part in
    arm) echo "make test-arm cross-builds on Debian; this is a Mac: run make test" >&2; exit 1 ;;
    samples) exit 1 ;;
    metal) exit 0 ;;  # Apple's own clang
    tidy | fuzz) brew_packages=(llvm) ;;
  esac
  command -v brew >/dev/null || { echo "melisma needs Homebrew's packages: ${brew_packages[*]}" >&2; exit 1; }
  missing=()
  for package in "${brew_packages[@]}"; do
    [[ -d "$(brew --prefix)/opt/$package" ]] || missing+=("$package")
  done
  ((${#missing[@]} == 0)) || { printf 'Please run:\n  brew install %s\n' "${missing[*]}" >&2; exit 1; }
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  # CMake names what it misses; the user of another distribution knows its name for it.
  [[ $part == build || $part == metal ]] && exit 0
  echo "tools/setup.sh $part: needs apt-get (${apt_packages[*]})" >&2
  exit 1
fi

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | head -n 1) == installed ]]; }
missing=()
for package in "${apt_packages[@]}"; do
  case $package in
    # A compiler, CMake or Ninja from elsewhere does as well.
    g++) command -v c++ >/dev/null || missing+=("$package") ;;
    cmake) command -v cmake >/dev/null || missing+=("$package") ;;
    ninja-build) command -v ninja >/dev/null || missing+=("$package") ;;
    *) is_installed "$package" || missing+=("$package") ;;
  esac
done
((${#missing[@]})) || exit 0

add_architecture=""
[[ $part == arm ]] && add_architecture="dpkg --add-architecture arm64 && "
install="apt-get install -y --no-install-recommends ${missing[*]}"
if ((EUID != 0)); then
  printf 'System packages are missing. Please run:\n  sudo sh -c "%sapt-get update && %s"\n' "$add_architecture" "$install" >&2
  exit 1
fi
echo "Installing system packages: ${missing[*]}"
[[ $part == arm ]] && dpkg --add-architecture arm64
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
$install -qq >/dev/null
