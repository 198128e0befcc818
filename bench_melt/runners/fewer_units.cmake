# Read by CMake behind llama.cpp's own project(): small sources that share large headers are
# compiled several at a time, which takes half of the work out of a build. What computes (ggml,
# llama) is left as its authors compile it.

# fewer_units(TARGET GROUP PATTERN SIZE): sources whose path matches, SIZE at a time
function(fewer_units target group pattern size)
    if(NOT TARGET ${target})
        return()
    endif()
    get_target_property(where ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    set(count 0)
    foreach(source IN LISTS sources)
        get_filename_component(path ${source} ABSOLUTE BASE_DIR ${where})
        if(path MATCHES "/${pattern}\\.cpp$")
            math(EXPR part "${count} / ${size}")
            math(EXPR count "${count} + 1")
            set_source_files_properties(${path} TARGET_DIRECTORY ${target} PROPERTIES
                UNITY_GROUP "${group}${part}")
        endif()
    endforeach()
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

cmake_language(DEFER CALL fewer_units llama-common parsers "parsers/[^/]*" 8)
cmake_language(DEFER CALL fewer_units llama-common jinja "jinja/[^/]*" 8)
cmake_language(DEFER CALL fewer_units llama-common chat
    "common/(chat[^/]*|peg-parser|json-schema[^/]*)" 8)
cmake_language(DEFER CALL fewer_units llama-common files
    "common/(hf-cache|download|preset|imatrix-loader|ngram-[^/]*)" 8)
cmake_language(DEFER CALL fewer_units mtmd models "models/[^/]*" 12)
cmake_language(DEFER CALL fewer_units server-context server
    "server/server-(chat|common|mcp|queue|schema|stream|task|tools)" 8)
cmake_language(DEFER CALL fewer_units llama-server-impl http "server/server-(http|models)" 2)
