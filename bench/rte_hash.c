/* DPDK's hash table as a yardstick: a million keys of 16 bytes, looked up 64 at a time in random order. Prints lookups a
 * second of CPU time, the median of seven rounds. */
#include "dpdk.h"

#include <rte_hash.h>
#include <rte_hash_crc.h>

enum { KEYS = 1000000, LOOKUPS = 64 * 15625 };

struct key {
    uint32_t word[4];
};

static struct key keys[KEYS], asked[LOOKUPS];

int main(int count, char **arguments) {
    (void)count;
    start(arguments[0], "512");
    struct rte_hash_parameters parameters = {
        .name = "keys", .entries = KEYS + KEYS / 8, .key_len = sizeof(struct key), .hash_func = rte_hash_crc};
    struct rte_hash *table = rte_hash_create(&parameters);
    if (table == NULL) {
        fprintf(stderr, "rte_hash_create: %s\n", rte_strerror(rte_errno));
        return 1;
    }
    uint64_t x = 88172645463325252ull;
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = (struct key){{0x0a000000u + i * 2654435761u % (1u << 24), 0xc0a80000u + i % 250, (i >> 8) << 16 | 443, 6}};
        if (rte_hash_add_key(table, &keys[i]) < 0) return 1;
    }
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        asked[i] = keys[x % KEYS];
    }
    double rates[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t found = 0;
        double began = now();
        for (uint32_t i = 0; i < LOOKUPS; i += AT_ONCE) {
            const void *pointers[AT_ONCE];
            int32_t places[AT_ONCE];
            for (uint32_t k = 0; k < AT_ONCE; k++) pointers[k] = &asked[i + k];
            rte_hash_lookup_bulk(table, pointers, AT_ONCE, places);
            for (uint32_t k = 0; k < AT_ONCE; k++) found += places[k] >= 0;
        }
        rates[round] = LOOKUPS / (now() - began);
        if (found != LOOKUPS) return 1;
    }
    printf("%.0f\n", median(rates));
    return 0;
}
