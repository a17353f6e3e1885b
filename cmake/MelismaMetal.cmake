# Metal sources of the kernels: made by every build that has Python, packaged with the wheel, and checked by a test that
# compiles them with clang (tools/metal_source.py).
if(NOT Python_EXECUTABLE)
  find_package(Python 3.10 COMPONENTS Interpreter QUIET)
endif()

if(Python_EXECUTABLE)
  set(_metal "${PROJECT_BINARY_DIR}/metal")
  set(_metal_tool "${PROJECT_SOURCE_DIR}/tools/metal_source.py")
  file(GLOB _metal_inputs CONFIGURE_DEPENDS
    "${PROJECT_SOURCE_DIR}/src/blocks/gpu/*-kernel.h" "${PROJECT_SOURCE_DIR}/src/blocks/gpu/conv/*-kernel.h"
    "${PROJECT_SOURCE_DIR}/src/blocks/gpu/metal_kernels.txt"
    "${PROJECT_SOURCE_DIR}/src/runtime/gpu/dialect*.h")
  add_custom_command(OUTPUT "${_metal}.stamp"
    COMMAND "${CMAKE_COMMAND}" -E rm -rf "${_metal}"
    COMMAND "${Python_EXECUTABLE}" "${_metal_tool}" emit "${_metal}"
    COMMAND "${CMAKE_COMMAND}" -E touch "${_metal}.stamp"
    DEPENDS "${_metal_tool}" ${_metal_inputs}
    COMMENT "Metal sources" VERBATIM)
  add_custom_target(melisma_metal DEPENDS "${_metal}.stamp")

  if(TARGET melisma_package)
    add_dependencies(melisma_package melisma_metal)
    install(DIRECTORY "${_metal}/" DESTINATION melisma/metal FILES_MATCHING PATTERN "*.metal")
  endif()
  if(TARGET melisma_tests AND NOT CMAKE_CROSSCOMPILING)
    add_dependencies(melisma_tests melisma_metal)
    add_test(NAME metal_source COMMAND "${Python_EXECUTABLE}" "${_metal_tool}" check "${_metal}")
    set_tests_properties(metal_source PROPERTIES SKIP_RETURN_CODE 77)
  endif()
else()
  message(STATUS "melisma: no Python, so no Metal sources")
endif()
