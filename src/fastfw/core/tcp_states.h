/* TCP as one who stands between the two ends sees it.
 *
 * A segment is sorted into one of five classes: RST before SYN before FIN before ACK. The tables read: a connection
 * is in the row's state, a segment of the column's class passes; what state is it in then? "original" is the side
 * whose packet began the connection (the client, as a rule), "reply" the other. The tracker sees a segment before its receiver does, so a
 * state is what the receiver will be in if it takes the segment.
 *
 *   --  cannot belong here: INVALID, nothing changes
 *   ..  let through unjudged: the ends may know better than the tracker; nothing changes but what is remembered of it
 *
 * SYN_SENT2 is a simultaneous open (RFC 9293, section 3.5): a SYN from either side, no SYN ACK yet. */
#ifndef FASTFW_TCP_STATES_H
#define FASTFW_TCP_STATES_H

#include <stdint.h>

enum { SEG_SYN, SEG_SYNACK, SEG_FIN, SEG_ACK, SEG_RST, SEG_NONE };

enum { TO_IGNORE = 14, TO_INVALID = 15 };

#define SS 1
#define SR 2
#define ES 3
#define FW 4
#define CW 5
#define LA 6
#define TW 7
#define CL 8
#define S2 9
#define ig TO_IGNORE
#define iv TO_INVALID

/* Rounded up to powers of two, so that an index is a shift. */
static const uint8_t tcp_next[2][16][8] = {
    { /* original:        SYN SYNACK FIN ACK RST none */
        /* no connection */ {SS, iv, iv, ES, iv, iv}, /* an ACK picks up a connection under way */
        /* SYN_SENT      */ {SS, iv, iv, iv, CL, iv}, /* the SYN again */
        /* SYN_RECV      */ {ig, SR, FW, ES, CL, iv}, /* SYNACK: of a simultaneous open; ACK: the handshake is complete */
        /* ESTABLISHED   */ {ig, iv, FW, ES, CL, iv},
        /* FIN_WAIT      */ {ig, iv, LA, CW, CL, iv}, /* a second FIN, or the first one acknowledged */
        /* CLOSE_WAIT    */ {ig, iv, LA, CW, CL, iv},
        /* LAST_ACK      */ {ig, iv, LA, TW, CL, iv},
        /* TIME_WAIT     */ {SS, iv, TW, TW, CL, iv}, /* SYN: the ports are used again */
        /* CLOSE         */ {SS, iv, CL, CL, CL, iv},
        /* SYN_SENT2     */ {S2, SR, iv, iv, CL, iv},
    },
    { /* reply:           SYN SYNACK FIN ACK RST none */
        /* no connection */ {iv, iv, iv, iv, iv, iv},
        /* SYN_SENT      */ {S2, SR, iv, ig, CL, iv}, /* ACK: a challenge (RFC 5961) to a SYN the server did not expect */
        /* SYN_RECV      */ {iv, ig, FW, SR, CL, iv},
        /* ESTABLISHED   */ {iv, ig, FW, ES, CL, iv},
        /* FIN_WAIT      */ {iv, ig, LA, CW, CL, iv},
        /* CLOSE_WAIT    */ {iv, ig, LA, CW, CL, iv},
        /* LAST_ACK      */ {iv, ig, LA, TW, CL, iv},
        /* TIME_WAIT     */ {SS, ig, TW, TW, CL, iv}, /* SYN: used again, with the roles changed */
        /* CLOSE         */ {iv, ig, CL, CL, CL, iv},
        /* SYN_SENT2     */ {S2, SR, iv, ig, CL, iv},
    },
};

#undef SS
#undef SR
#undef ES
#undef FW
#undef CW
#undef LA
#undef TW
#undef CL
#undef S2
#undef ig
#undef iv

/* By the low five bits of the flag byte (ACK PSH RST SYN FIN). */
static inline int tcp_segment_class(uint8_t flags) {
    if ((flags & 0x17) == 0x10) return SEG_ACK;
    if (flags & 0x04) return SEG_RST;
    if (flags & 0x02) return flags & 0x10 ? SEG_SYNACK : SEG_SYN;
    if (flags & 0x01) return SEG_FIN;
    return SEG_NONE;
}

/* Sequence numbers modulo 2^32 (RFC 9293 section 3.4). */
static inline int seq_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
static inline int seq_after(uint32_t a, uint32_t b) { return (int32_t)(b - a) < 0; }

#endif
