# Read by CMake behind llama.cpp's own project(): many small sources that share large headers are
# compiled several at a time, which takes half of the work out of a build. What computes (ggml,
# llama) is left as its authors compile it.

function(fewer_units target folder size)
    if(NOT TARGET ${target})
        return()
    endif()
    get_target_property(where ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    set(count 0)
    foreach(source IN LISTS sources)
        if(source MATCHES "(^|/)${folder}/[^/]*\\.cpp$")
            math(EXPR group "${count} / ${size}")
            math(EXPR count "${count} + 1")
            get_filename_component(path ${source} ABSOLUTE BASE_DIR ${where})
            set_source_files_properties(${path} TARGET_DIRECTORY ${target} PROPERTIES
                UNITY_GROUP "${folder}${group}")
        endif()
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

cmake_language(DEFER CALL fewer_units llama-common parsers 8)
cmake_language(DEFER CALL fewer_units mtmd models 12)
