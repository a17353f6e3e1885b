# melisma_cuda: the GPU kernels for CUDA, in a shared object of their own that libmelisma opens at the first call on a CUDA
# tensor. It carries the CUDA runtime and what it needs of the library, and names neither PyTorch nor Python.
#
# MELISMA_BUILD_CUDA: AUTO builds it where nvcc is found (not in cross builds and not under sanitizers), ON insists.
set(MELISMA_BUILD_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE MELISMA_BUILD_CUDA PROPERTY STRINGS AUTO ON OFF)
set(MELISMA_CUDA_ARCHITECTURES "90a-real;75-virtual" CACHE STRING "What the kernels are compiled for: the H100 and H200, and \
every later GPU and older ones from 7.5 on through the driver's own compiler")

set(_build_cuda ${MELISMA_BUILD_CUDA})
if(MELISMA_BUILD_CUDA STREQUAL "AUTO")
  set(_build_cuda OFF)
  if(NOT CMAKE_CROSSCOMPILING AND NOT MELISMA_SANITIZE AND NOT MELISMA_BUILD_FUZZ)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(_build_cuda ON)
    endif()
  endif()
endif()

if(_build_cuda)
  set(CMAKE_CUDA_ARCHITECTURES ${MELISMA_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(MELISMA_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER "${MELISMA_CCACHE}")
  endif()
  enable_language(CUDA)
  # Debian 12's CMake 3.25.1 does not know how nvcc is asked for C++20; later ones set the same.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)

  file(GLOB _cuda_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/runtime/cuda/*.cu"
    "${PROJECT_SOURCE_DIR}/src/blocks/gpu/*.cu")
  # The convolution's kernels have the same bits in every layout: nvcc fuses nothing that is not written as fused.
  file(GLOB _conv_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/blocks/gpu/conv/*.cu")
  set_source_files_properties(${_conv_sources} PROPERTIES COMPILE_OPTIONS -fmad=false)
  list(APPEND _cuda_sources ${_conv_sources})
  file(GLOB _launch_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/blocks/gpu/fast_*.cc")
  list(FILTER _launch_sources EXCLUDE REGEX "_test\\.cc$")
  add_library(melisma_cuda MODULE ${_cuda_sources}
    # What the launch code calls: which variant takes a job; sizes and roots of transforms; names in its texts.
    ${_launch_sources} src/blocks/fft/plan.cc src/runtime/check.cc src/runtime/tensor.cc)
  set_target_properties(melisma_cuda PROPERTIES
    PREFIX "lib" SUFFIX ".so" CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(melisma_cuda PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
  target_compile_definitions(melisma_cuda PRIVATE "MELISMA_VERSION=\"${PROJECT_VERSION}\"")
  target_compile_options(melisma_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:$<TARGET_PROPERTY:melisma_options,INTERFACE_COMPILE_OPTIONS> -ffp-contract=off>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>
    $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${MELISMA_WERROR}>>:-Werror=all-warnings>)
  target_link_options(melisma_cuda PRIVATE -Wl,--no-undefined -Wl,--exclude-libs,ALL)
  message(STATUS "CUDA kernels: built with ${CMAKE_CUDA_COMPILER} for ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA kernels: not built (MELISMA_BUILD_CUDA=${MELISMA_BUILD_CUDA})")
endif()
