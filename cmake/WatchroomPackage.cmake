# SPDX-License-Identifier: MIT
# Debian packages: `cpack -G DEB` in a build folder of the preset `package` (scripts/package does both, and the page).
#
#   watchroom      the server with its plugins and the page, a unit for systemd that is not enabled, /etc/watchroom/watchroom.yml
#   watchroom-dev  what a plugin outside the tree builds with
#
# Which libraries they need is looked up in what was linked (dpkg-shlibdeps), so a package is for the Debian that built it.
if(NOT EXISTS ${CMAKE_SOURCE_DIR}/deploy/systemd/watchroom.service)
  return() # an image copies less of the tree
endif()
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/watchroom.service DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/examples/watchroom.yml DESTINATION ${CMAKE_INSTALL_DATADIR}/watchroom)
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_SOURCE_DIR}/SECURITY.md
              ${CMAKE_SOURCE_DIR}/docs/operations.md ${CMAKE_SOURCE_DIR}/docs/api.md
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/watchroom)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/watchroom RENAME copyright)
# A prefix of one's own has no /etc: there the file lies beside the others, and --config names it.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  install(FILES ${CMAKE_SOURCE_DIR}/examples/watchroom.yml DESTINATION /etc/watchroom PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME watchroom)
set(CPACK_PACKAGE_VENDOR Watchroom)
set(CPACK_PACKAGE_CONTACT "Watchroom <watchroom@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
# A package without the page would install and show nothing.
set(CPACK_INSTALL_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/WatchroomPageIsBuilt.cmake)
set(CPACK_COMPONENTS_ALL server dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# Two Debians, two packages of one version: the newer Debian's is the newer one (1.0~deb12 < 1.0~deb13 < 1.0).
file(STRINGS /etc/os-release WR_DEBIAN REGEX "^VERSION_ID=")
string(REGEX REPLACE "^VERSION_ID=\"?([0-9]+).*" "\\1" WR_DEBIAN "${WR_DEBIAN}")
if(WR_DEBIAN)
  set(CPACK_DEBIAN_PACKAGE_RELEASE "1~deb${WR_DEBIAN}")
else()
  set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
endif()

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME watchroom)
set(CPACK_COMPONENT_SERVER_DESCRIPTION "rooms with a live picture, a talk and files
Watchroom serves rooms in which people watch a live camera or stream
together, talk over it and drop files, from a machine of your own.
Its clients are those that exist: Centrifuge SDKs, tus, VLC, browsers.")
set(CPACK_DEBIAN_SERVER_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR})
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_SERVER_PACKAGE_SUGGESTS "nginx, sqlite3")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles
  ${CMAKE_SOURCE_DIR}/deploy/debian/postinst ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_DEV_PACKAGE_NAME watchroom-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEV_DESCRIPTION "headers and contract for plugins of Watchroom
What a plugin that is built outside of Watchroom's tree needs: headers, the
.proto files of the bus, a CMake package and a pkg-config file.")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "watchroom (= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}), libprotobuf-c-dev")
include(CPack)
