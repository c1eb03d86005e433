# For programs and addons that link signstep's core library from inside the npm package:
#   execute_process(COMMAND node -e "import('signstep/native').then((n) => console.log(n.cmake))"
#     OUTPUT_VARIABLE signstep_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
#   find_package(signstep CONFIG REQUIRED)
#   target_link_libraries(mine PRIVATE signstep::signstep)
# An addon that links so works once JavaScript has loaded signstep: the library is then in the process already. Others need its folder
# in their run path.
get_filename_component(_signstep_root "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
file(READ "${_signstep_root}/package.json" _signstep_package)
string(JSON signstep_VERSION GET "${_signstep_package}" version)
execute_process(COMMAND node --input-type=module -e "import { libdir } from './dist/native/paths.js'; console.log(libdir())"
  WORKING_DIRECTORY "${_signstep_root}" OUTPUT_VARIABLE _signstep_libdir OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT TARGET signstep::signstep)
  add_library(signstep::signstep SHARED IMPORTED)
  set(_signstep_file "${CMAKE_SHARED_LIBRARY_PREFIX}signstep-${signstep_VERSION}${CMAKE_SHARED_LIBRARY_SUFFIX}")
  set_target_properties(signstep::signstep PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_signstep_root}/native/include"
    IMPORTED_LOCATION "${_signstep_libdir}/${_signstep_file}"
    IMPORTED_SONAME "${_signstep_file}")
  unset(_signstep_file)
endif()
unset(_signstep_libdir)
unset(_signstep_package)
unset(_signstep_root)
