# weir_library(NAME HEADERS … SOURCES … PUBLIC … PRIVATE …): one folder, one target, weir::NAME.
include_guard()

add_library(weir_warnings INTERFACE)
# g++ 12 takes Asio's own operator new and delete of coroutine frames for a mismatch once it has inlined one of the two.
target_compile_options(weir_warnings INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
target_compile_options(weir_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
  $<$<BOOL:${WEIR_WERROR}>:-Werror>)

function(weir_library name)
  cmake_parse_arguments(arg "" "" "HEADERS;SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(weir_${name} STATIC)
  add_library(weir::${name} ALIAS weir_${name})
  target_sources(weir_${name} PRIVATE ${arg_SOURCES} ${arg_HEADERS})
  if(NOT arg_SOURCES)
    set_target_properties(weir_${name} PROPERTIES LINKER_LANGUAGE CXX)
  endif()
  target_include_directories(weir_${name} PUBLIC ${PROJECT_SOURCE_DIR}/framework)
  target_compile_features(weir_${name} PUBLIC cxx_std_20)  # also of a program of another project that links it
  target_link_libraries(weir_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:weir_warnings>)
endfunction()
