/* Valgrind's client requests as functions, for a Python that runs under callgrind: what lies between `marks_begin` and
 * `marks_end` is counted, and written to a part of the profile that bears the name. Without valgrind they do nothing. */
#include <valgrind/callgrind.h>

void marks_begin(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void marks_end(const char *name) {
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
}
