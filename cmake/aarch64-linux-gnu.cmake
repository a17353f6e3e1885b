# AArch64 with Debian's cross compiler and multiarch packages, which tools/setup.sh arm installs.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)  # finds its loader and libraries through multiarch's paths
