// The language that the headers are written in.
#pragma once

#if __cplusplus < 202002L
#error "Commonhold needs C++20: compile with -std=c++20 or a later one"
#define COMMONHOLD_NO_FILE <commonhold/needs_cpp20>
#include COMMONHOLD_NO_FILE  // which is not there: no other error follows
#endif
