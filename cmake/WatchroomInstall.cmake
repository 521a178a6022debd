# SPDX-License-Identifier: MIT
# The page, and what a plugin outside the tree builds with: headers, the contract, a CMake package and a pkg-config file.
# The library, the executable and the plugins are installed where they are made.
# Two components: `server` (the default, set in the CMakeLists.txt of the tree) is what runs, `dev` what plugins are built with.

# The page is npm's work, and looked for when it is installed: it may be built after the server.
install(CODE "
  if(NOT EXISTS \"${CMAKE_SOURCE_DIR}/web/dist/index.html\")
    message(WARNING \"The page is not built, so none is installed: run scripts/page, and install again.\")
  endif()" COMPONENT server)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/web/dist/ DESTINATION ${CMAKE_INSTALL_DATADIR}/watchroom/web OPTIONAL
  PATTERN .stamp EXCLUDE)

include(CMakePackageConfigHelpers)

set(WR_HEADERS_TO ${CMAKE_INSTALL_INCLUDEDIR}/watchroom)
foreach(module base json plugin media metrics bus config)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/${module}/wr_*.h)
  list(FILTER headers EXCLUDE REGEX "(_priv|_kinds)\\.h$")
  install(FILES ${headers} DESTINATION ${WR_HEADERS_TO} COMPONENT dev)
endforeach()
install(DIRECTORY ${CMAKE_BINARY_DIR}/proto/gen/watchroom DESTINATION ${WR_HEADERS_TO} COMPONENT dev
  FILES_MATCHING PATTERN "*.h")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/watchroom/proto COMPONENT dev
  FILES_MATCHING PATTERN "*.proto")

set(WR_CMAKE_TO ${CMAKE_INSTALL_LIBDIR}/cmake/watchroom)
set(WR_LIBRARY_AT ${CMAKE_INSTALL_LIBDIR}/watchroom)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/watchroomConfig.cmake.in
  ${CMAKE_BINARY_DIR}/watchroomConfig.cmake INSTALL_DESTINATION ${WR_CMAKE_TO} PATH_VARS WR_HEADERS_TO WR_LIBRARY_AT)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/watchroomConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH WR_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /) # the prefix moves with `cmake --install --prefix`
configure_file(${CMAKE_SOURCE_DIR}/cmake/watchroom.pc.in ${CMAKE_BINARY_DIR}/watchroom.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/watchroomConfig.cmake ${CMAKE_BINARY_DIR}/watchroomConfigVersion.cmake
  DESTINATION ${WR_CMAKE_TO} COMPONENT dev)
install(FILES ${CMAKE_BINARY_DIR}/watchroom.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
