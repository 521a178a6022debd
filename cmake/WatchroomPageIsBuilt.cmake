# SPDX-License-Identifier: MIT
# Run by cpack before it collects: see WatchroomPackage.cmake.
if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/../web/dist/index.html)
  message(FATAL_ERROR "The page is not built, and a package without it shows nothing: run scripts/page, or use scripts/package.")
endif()
