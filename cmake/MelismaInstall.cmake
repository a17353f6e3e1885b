# `cmake --install` and find_package(melisma).
include(CMakePackageConfigHelpers)

set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/melisma")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/melisma" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS melisma EXPORT melismaTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
if(TARGET melisma_cuda)  # beside libmelisma, which looks for it there
  install(TARGETS melisma_cuda LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
install(EXPORT melismaTargets NAMESPACE melisma:: DESTINATION "${_package_dir}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/melismaConfig.cmake.in"
                              "${PROJECT_BINARY_DIR}/melismaConfig.cmake" INSTALL_DESTINATION "${_package_dir}")
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/melismaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/melismaConfig.cmake" "${PROJECT_BINARY_DIR}/melismaConfigVersion.cmake"
        DESTINATION "${_package_dir}")
