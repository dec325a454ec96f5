# weir_add_plugin(shop SOURCES shop.cpp PROTOS shop.proto LIBRARIES SQLite::SQLite3)
#
# Builds shop.so, which `weir worker` loads, and the object library shop_handlers (the same code), for the plugin's own
# tests:  target_link_libraries(shop_test PRIVATE shop_handlers weir::testing GTest::gtest_main)
# shop_protos has the types of PROTOS alone, for a program that publishes them:
#         target_link_libraries(shop_counter PRIVATE shop_protos weir::publisher weir::engine_make)
#
# shop.proto is known to Protobuf as shop/shop.proto (plugin's name, path from the calling folder), and its header is
# "shop/shop.pb.h": two plugins' files must never have the same name. (protobuf_generate would call it shop.proto.)
# The plugin bears its descriptors in an ELF section, so that `weir publish --type` reads them without running it.
# Before it compiles, it looks for expressions that g++ 12 miscompiles (workers/check-awaits; -DWEIR_CHECK_AWAITS=OFF
# leaves that out; clang needs none of it).
include_guard()

option(WEIR_CHECK_AWAITS "Look for what g++ 12 miscompiles in the sources of plugins" ON)

function(weir_add_plugin name)
  cmake_parse_arguments(arg "" "" "SOURCES;PROTOS;LIBRARIES" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "weir_add_plugin(${name}): what is ${arg_UNPARSED_ARGUMENTS}? It takes SOURCES, PROTOS, LIBRARIES")
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "weir_add_plugin(${name}): no SOURCES")
  endif()
  set(root ${CMAKE_CURRENT_BINARY_DIR}/${name}.generated)
  set(map --proto_path=${name}=${CMAKE_CURRENT_SOURCE_DIR})
  set(generated)
  set(files)
  foreach(proto IN LISTS arg_PROTOS)
    get_filename_component(file ${proto} ABSOLUTE)
    file(RELATIVE_PATH relative ${CMAKE_CURRENT_SOURCE_DIR} ${file})
    string(REGEX REPLACE "\\.proto$" ".pb" out ${root}/${name}/${relative})
    add_custom_command(
      OUTPUT ${out}.cc ${out}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${root}
      COMMAND protobuf::protoc ${map} --cpp_out=${root} ${file}
      DEPENDS ${file}
      COMMENT "protoc ${name}/${relative}")
    list(APPEND generated ${out}.cc ${out}.h)
    list(APPEND files ${file})
  endforeach()
  if(files)
    set(descriptors ${root}/${name}.descriptors)
    add_custom_command(
      OUTPUT ${descriptors}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${root}
      COMMAND protobuf::protoc ${map} --include_imports --descriptor_set_out=${descriptors} ${files}
      DEPENDS ${files}
      COMMENT "protoc descriptors of ${name}")
    file(CONFIGURE OUTPUT ${root}/descriptors.cpp @ONLY CONTENT [[
asm(".pushsection .weir.descriptors,\"a\",@progbits\n"
    ".incbin \"@descriptors@\"\n"
    ".popsection\n");
]])
    set_source_files_properties(${root}/descriptors.cpp PROPERTIES OBJECT_DEPENDS ${descriptors})
    list(APPEND generated ${root}/descriptors.cpp)
  endif()

  # What g++ 12 miscompiles is looked for first, in the sources and what they include from beside themselves.
  set(checked)
  if(WEIR_CHECK_AWAITS AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(checked ${CMAKE_CURRENT_BINARY_DIR}/${name}.awaits)
    set(sources)
    foreach(source IN LISTS arg_SOURCES)
      get_filename_component(file ${source} ABSOLUTE)
      list(APPEND sources ${file})
    endforeach()
    add_custom_command(
      OUTPUT ${checked}
      COMMAND weir_check_awaits --stamp ${checked} --depfile ${checked}.d ${sources}
      DEPENDS ${sources} weir_check_awaits
      DEPFILE ${checked}.d
      COMMENT "co_await expressions of ${name}")
  endif()

  set_source_files_properties(${generated} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  add_library(${name}_handlers OBJECT ${arg_SOURCES} ${generated} ${checked})
  # A handler without co_return, and one that does not await what it calls, would crash at each message, or do nothing.
  target_compile_options(${name}_handlers PRIVATE -Werror=return-type -Werror=unused-result)
  target_include_directories(${name}_handlers SYSTEM PUBLIC ${root})
  target_link_libraries(${name}_handlers PUBLIC weir::plugin ${arg_LIBRARIES})
  if(TARGET weir_warnings)
    target_link_libraries(${name}_handlers PRIVATE weir_warnings)
  endif()
  set_target_properties(${name}_handlers PROPERTIES POSITION_INDEPENDENT_CODE ON)
  # As its host is; the options of Weir's own folder do not reach a project that has it as a subfolder.
  if(WEIR_SANITIZE)
    target_compile_options(${name}_handlers PUBLIC -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(${name}_handlers PUBLIC -fsanitize=${WEIR_SANITIZE})
  endif()

  # The generated types alone, for programs that publish them; built only where one links it.
  if(files)
    set(types ${generated})
    list(REMOVE_ITEM types ${root}/descriptors.cpp)
    add_library(${name}_protos STATIC EXCLUDE_FROM_ALL ${types})
    target_include_directories(${name}_protos SYSTEM PUBLIC ${root})
    target_link_libraries(${name}_protos PUBLIC protobuf::libprotobuf)
    add_dependencies(${name}_protos ${name}_handlers)  # one of them makes the files
  endif()

  # What it calls of Weir it finds in the `weir` executable that loads it; it carries none of it.
  add_library(${name} MODULE)
  target_link_libraries(${name} PRIVATE ${name}_handlers)
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX .so LINKER_LANGUAGE CXX)
endfunction()
