/* What the yardsticks of DPDK share. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>

enum { AT_ONCE = 64, ROUNDS = 7 };

/* Seconds of CPU time. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int by_size(const void *one, const void *two) {
    double a = *(const double *)one, b = *(const double *)two;
    return (a > b) - (a < b);
}

static inline double median(double rates[ROUNDS]) {
    qsort(rates, ROUNDS, sizeof *rates, by_size);
    return rates[ROUNDS / 2];
}

/* Start DPDK without devices, with `memory` megabytes; without success the program ends. */
static inline void start(char *program, char *memory) {
    char *options[] = {program, "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", memory, "-l", "0",
                       "--log-level", "error", NULL};
    if (rte_eal_init(11, options) < 0) {
        fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
        exit(1);
    }
}
