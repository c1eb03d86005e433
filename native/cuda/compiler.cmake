# Finds a CUDA compiler for the plugin `cuda` and sets SIGNSTEP_BUILD_CUDA. Included from the top: languages are enabled there.
set(SIGNSTEP_BUILD_CUDA OFF)
# When scripts/cuda-toolkit has installed one since, the next build configures anew.
file(GLOB SIGNSTEP_WHEELS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/.cuda/toolkit/versions.txt)

if(SIGNSTEP_CUDA AND NOT (SIGNSTEP_SANITIZE AND SIGNSTEP_CUDA STREQUAL "AUTO"))
  if(SIGNSTEP_SANITIZE)
    message(FATAL_ERROR "SIGNSTEP_SANITIZE builds for the CPU only: leave out SIGNSTEP_CUDA=ON")
  endif()
  # The order of scripts/cuda-toolkit. 12.8 is the first that knows sm_100a and sm_120.
  set(nvcc "")
  foreach(candidate "${CMAKE_CUDA_COMPILER}" "$ENV{CUDACXX}" "$ENV{CUDA_HOME}/bin/nvcc" "$ENV{CUDA_PATH}/bin/nvcc" nvcc
      "${CMAKE_CURRENT_SOURCE_DIR}/.cuda/toolkit/nvidia/cu13/bin/nvcc")
    unset(found)
    if(candidate)
      find_program(found NAMES "${candidate}" NO_CACHE)
    endif()
    if(found AND NOT nvcc)
      execute_process(COMMAND ${found} --version OUTPUT_VARIABLE version ERROR_QUIET)
      if(version MATCHES "release ([0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
        set(nvcc ${found})
      endif()
    endif()
  endforeach()

  if(nvcc)
    set(CMAKE_CUDA_COMPILER ${nvcc} CACHE FILEPATH "CUDA compiler")
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "what nvcc compiles host code with")
    # Real code for every generation since 8.0, and PTX for those to come. `a`: wgmma and TMA exist in architecture-specific code only.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 89-real 90a-real 100a-real 120-real 80-virtual CACHE STRING "what the plugin cuda is built for")
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(SIGNSTEP_BUILD_CUDA ON)
    else()
      set(reason "${nvcc} does not work with ${CMAKE_CXX_COMPILER}")
    endif()
  else()
    set(reason "no CUDA compiler of 12.8 or later was found")
  endif()

  if(SIGNSTEP_BUILD_CUDA)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED QUIET)
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know that nvcc speaks it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
    set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # CUDA::cudart_static is named where it is linked
  elseif(NOT SIGNSTEP_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "SIGNSTEP_CUDA=ON, but ${reason}. scripts/cuda-toolkit installs one into .cuda/, where it is found.")
  else()
    message(NOTICE
      "signstep: the GPU part is left out (${reason}); scripts/cuda-toolkit installs one, npm run build:native then builds the GPU part")
  endif()
endif()
