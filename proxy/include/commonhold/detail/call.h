// How the templates reach the library.
#pragma once

#include <commonhold/detail/language.h>

// Bound when the program is loaded, not looked up at the first call: a program that forks a hundred children would look
// each function up a hundred times. The call itself takes a jump less.
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define COMMONHOLD_CALL __attribute__((noplt))
#endif
#endif
#ifndef COMMONHOLD_CALL
#define COMMONHOLD_CALL
#endif
