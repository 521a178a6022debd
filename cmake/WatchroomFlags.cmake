# SPDX-License-Identifier: MIT
# Compiler flags for everything we write (third-party headers are included as SYSTEM by their packages).
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(WR_CCACHE ccache)
if(WR_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${WR_CCACHE})
endif()

add_compile_definitions(_GNU_SOURCE WR_VERSION="${PROJECT_VERSION}")
add_compile_options(-pedantic -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                    -Wwrite-strings -Wvla -fno-common)
# gcc alone: clang warns where a macro of a system header is used, and protobuf-c's INIT macros cast const away.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wcast-qual)
endif()
if(WR_WERROR)
  add_compile_options(-Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  add_compile_options(-fno-omit-frame-pointer)
endif()
if(WR_SANITIZE)
  add_compile_options(-fsanitize=${WR_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${WR_SANITIZE})
  if(WR_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
# Everywhere: what a fuzz target calls lies in libraries, and the fuzzer is blind to code that is not instrumented.
if(WR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
# A shared object with an undefined symbol must fail here, not at dlopen. Sanitizer runtimes live in the
# executable, so their builds cannot ask for this.
if(NOT WR_SANITIZE)
  add_link_options(-Wl,--as-needed $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,MODULE_LIBRARY>:-Wl,-z,defs>)
endif()
