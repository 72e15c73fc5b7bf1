/* DPDK's packet classifier as a yardstick: the filters and packets that standard input names (32-bit words, see
 * `struct filter` and `struct packet`, each kind behind its count), 64 packets a call. Prints how many packets met a filter,
 * then packets a second of CPU time, the median of seven rounds, of the scalar way and of the one DPDK chooses here. */
#include "dpdk.h"

#include <rte_acl.h>
#include <rte_byteorder.h>

enum { FIELDS = 5 };

struct filter {
    uint32_t source, source_length, target, target_length, sport_first, sport_last, dport_first, dport_last, protocol, mask;
};

struct packet {
    uint32_t source, target, sport, dport, protocol;
};

/* What is matched, in network byte order; DPDK wants one byte first, then words of four. */
struct key {
    uint8_t protocol, unused[3];
    rte_be32_t source, target;
    rte_be16_t sport, dport;
};

RTE_ACL_RULE_DEF(rule, FIELDS);

static const struct rte_acl_field_def fields[FIELDS] = {
    {RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, offsetof(struct key, protocol)},
    {RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, offsetof(struct key, source)},
    {RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, offsetof(struct key, target)},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, 3, 3, offsetof(struct key, sport)},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 3, offsetof(struct key, dport)},
};

static void *read_all(size_t size, uint32_t *count) {
    if (fread(count, sizeof *count, 1, stdin) != 1) exit(1);
    void *all = malloc(size * *count);
    if (all == NULL || fread(all, size, *count, stdin) != *count) exit(1);
    return all;
}

static struct rte_acl_ctx *built(const struct filter *filters, uint32_t count) {
    struct rte_acl_param parameters = {"filters", -1, RTE_ACL_RULE_SZ(FIELDS), count};
    struct rte_acl_config config = {.num_categories = 1, .num_fields = FIELDS};
    struct rte_acl_ctx *context = rte_acl_create(&parameters);
    for (int i = 0; i < FIELDS; i++) config.defs[i] = fields[i];
    for (uint32_t i = 0; context != NULL && i < count; i++) {
        const struct filter *f = filters + i;
        struct rule r = {.data = {.category_mask = 1, .priority = (int32_t)(RTE_ACL_MAX_PRIORITY - i), .userdata = i + 1}};
        r.field[0].value.u8 = (uint8_t)f->protocol;
        r.field[0].mask_range.u8 = (uint8_t)f->mask;
        r.field[1].value.u32 = f->source;
        r.field[1].mask_range.u32 = f->source_length;
        r.field[2].value.u32 = f->target;
        r.field[2].mask_range.u32 = f->target_length;
        r.field[3].value.u16 = (uint16_t)f->sport_first;
        r.field[3].mask_range.u16 = (uint16_t)f->sport_last;
        r.field[4].value.u16 = (uint16_t)f->dport_first;
        r.field[4].mask_range.u16 = (uint16_t)f->dport_last;
        if (rte_acl_add_rules(context, (const struct rte_acl_rule *)&r, 1) < 0) return NULL;
    }
    return context != NULL && rte_acl_build(context, &config) == 0 ? context : NULL;
}

int main(int count, char **arguments) {
    (void)count;
    start(arguments[0], "1024");
    uint32_t filter_count, packet_count, met = 0;
    struct filter *filters = read_all(sizeof *filters, &filter_count);
    struct packet *packets = read_all(sizeof *packets, &packet_count);
    struct key *keys = calloc(packet_count, sizeof *keys);
    struct rte_acl_ctx *context = built(filters, filter_count);
    if (context == NULL || keys == NULL) {
        fprintf(stderr, "rte_acl: %s\n", rte_strerror(rte_errno));
        return 1;
    }
    for (uint32_t i = 0; i < packet_count; i++) {
        const struct packet *p = packets + i;
        keys[i] = (struct key){.protocol = (uint8_t)p->protocol,
                               .source = rte_cpu_to_be_32(p->source),
                               .target = rte_cpu_to_be_32(p->target),
                               .sport = rte_cpu_to_be_16((uint16_t)p->sport),
                               .dport = rte_cpu_to_be_16((uint16_t)p->dport)};
    }
    double medians[2];
    for (int way = 0; way < 2; way++) {
        double rates[ROUNDS];
        for (int round = 0; round < ROUNDS; round++) {
            double began = now();
            met = 0;
            for (uint32_t i = 0; i < packet_count; i += AT_ONCE) {
                const uint8_t *pointers[AT_ONCE];
                uint32_t results[AT_ONCE], many = packet_count - i < AT_ONCE ? packet_count - i : AT_ONCE;
                for (uint32_t k = 0; k < many; k++) pointers[k] = (const uint8_t *)&keys[i + k];
                if (way == 0) rte_acl_classify_alg(context, pointers, results, many, 1, RTE_ACL_CLASSIFY_SCALAR);
                else rte_acl_classify(context, pointers, results, many, 1);
                for (uint32_t k = 0; k < many; k++) met += results[k] != 0;
            }
            rates[round] = packet_count / (now() - began);
        }
        medians[way] = median(rates);
    }
    printf("%u %.0f %.0f\n", met, medians[0], medians[1]);
    return 0;
}
