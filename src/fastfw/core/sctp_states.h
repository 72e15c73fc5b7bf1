/* SCTP's states as seen from the middle of the path (RFC 9260 section 4), one line a state and direction, one column a
 * kind of chunk. The tracker sees what either end sends, not what arrives: it stays where it is at a chunk that
 * does not fit, for the ends will sort that out.
 *
 * "Original" is the end whose packet the tracker saw first: the one that calls, except where a path of a multi-homed
 * association begins with a HEARTBEAT, or the tracker came late and met the end of an association.
 *
 *   NO none               nothing was seen yet
 *   CL CLOSED             an INIT was seen, or the association is over
 *   CW COOKIE_WAIT        an INIT ACK answered the INIT
 *   CE COOKIE_ECHOED      a COOKIE ECHO answered the INIT ACK
 *   ES ESTABLISHED        a COOKIE ACK, or on a second path a HEARTBEAT ACK, was seen
 *   SS SHUTDOWN_SENT      the original end sent a SHUTDOWN
 *   SR SHUTDOWN_RECD      the replying end sent a SHUTDOWN
 *   SA SHUTDOWN_ACK_SENT  a SHUTDOWN ACK was seen
 *   HS HEARTBEAT_SENT     a HEARTBEAT opened a second path
 *   iv                    the chunk is INVALID here
 */
#ifndef FASTFW_SCTP_STATES_H
#define FASTFW_SCTP_STATES_H

#include <stdint.h>

enum {
    SCTP_NONE, SCTP_CLOSED, SCTP_COOKIE_WAIT, SCTP_COOKIE_ECHOED, SCTP_ESTABLISHED, SCTP_SHUTDOWN_SENT,
    SCTP_SHUTDOWN_RECD, SCTP_SHUTDOWN_ACK_SENT, SCTP_HEARTBEAT_SENT, SCTP_STATES,
    SCTP_TO_INVALID,
};

/* Chunk types (RFC 9260 section 3.2) that move the state. */
enum {
    CHUNK_DATA = 0, CHUNK_INIT = 1, CHUNK_INIT_ACK = 2, CHUNK_HEARTBEAT = 4, CHUNK_HEARTBEAT_ACK = 5, CHUNK_ABORT = 6,
    CHUNK_SHUTDOWN = 7, CHUNK_SHUTDOWN_ACK = 8, CHUNK_ERROR = 9, CHUNK_COOKIE_ECHO = 10, CHUNK_COOKIE_ACK = 11,
    CHUNK_SHUTDOWN_COMPLETE = 14, CHUNK_TYPES = 15,
};

#define NO SCTP_NONE
#define CL SCTP_CLOSED
#define CW SCTP_COOKIE_WAIT
#define CE SCTP_COOKIE_ECHOED
#define ES SCTP_ESTABLISHED
#define SS SCTP_SHUTDOWN_SENT
#define SR SCTP_SHUTDOWN_RECD
#define SA SCTP_SHUTDOWN_ACK_SENT
#define HS SCTP_HEARTBEAT_SENT
#define iv SCTP_TO_INVALID

/* [direction][state][chunk type]; the columns without a name (DATA, SACK, ECNE, CWR) never move the state. */
static const uint8_t sctp_next[2][SCTP_STATES][CHUNK_TYPES] = {
    {
        /* original              INIT        HB      ABORT    SH-ACK    CK-ECHO           SH-COMPLETE
         *                          INIT-ACK    HB-ACK   SHUTD     ERROR    CK-ACK                   */
        /* NONE              */ {iv, CL, CL, iv, HS, CL, iv, CL, SA, CL, CL, iv, iv, iv, iv},
        /* CLOSED            */ {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
        /* COOKIE_WAIT       */ {CW, CW, CW, CW, CW, CW, CL, CW, CW, CW, CE, CW, CW, CW, CW},
        /* COOKIE_ECHOED     */ {CE, CE, CE, CE, CE, CE, CL, CE, CE, CE, CE, ES, CE, CE, CE},
        /* ESTABLISHED       */ {ES, ES, ES, ES, ES, ES, CL, SS, ES, ES, ES, ES, ES, ES, ES},
        /* SHUTDOWN_SENT     */ {SS, CL, SS, SS, SS, SS, CL, SS, SA, SS, SS, SS, SS, SS, SS},
        /* SHUTDOWN_RECD     */ {SR, CL, SR, SR, SR, SR, CL, SR, SA, SR, SR, SR, SR, SR, SR},
        /* SHUTDOWN_ACK_SENT */ {SA, SA, SA, SA, SA, SA, CL, SA, SA, SA, SA, SA, SA, SA, CL},
        /* HEARTBEAT_SENT    */ {HS, CW, CL, HS, HS, HS, CL, CL, SA, CL, CL, CL, HS, HS, CL},
    },
    {
        /* reply                 INIT        HB      ABORT    SH-ACK    CK-ECHO           SH-COMPLETE
         *                          INIT-ACK    HB-ACK   SHUTD     ERROR    CK-ACK                   */
        /* NONE              */ {iv, iv, iv, iv, iv, iv, iv, iv, iv, iv, iv, iv, iv, iv, iv},
        /* CLOSED            */ {CL, CL, CW, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
        /* COOKIE_WAIT       */ {CW, CW, CW, CW, CW, CW, CL, CW, CW, CW, CE, CW, CW, CW, CW},
        /* COOKIE_ECHOED     */ {CE, CE, CE, CE, CE, CE, CL, CE, CE, CL, CE, ES, CE, CE, CE},
        /* ESTABLISHED       */ {ES, ES, ES, ES, ES, ES, CL, SR, ES, ES, ES, ES, ES, ES, ES},
        /* SHUTDOWN_SENT     */ {SS, SS, SS, SS, SS, SS, CL, SS, SA, SS, SS, SS, SS, SS, SS},
        /* SHUTDOWN_RECD     */ {SR, SR, SR, SR, SR, SR, CL, SR, SA, SR, SR, SR, SR, SR, SR},
        /* SHUTDOWN_ACK_SENT */ {SA, SA, SA, SA, SA, SA, CL, SA, SA, SA, SA, SA, SA, SA, CL},
        /* HEARTBEAT_SENT    */ {HS, iv, iv, HS, HS, ES, iv, iv, iv, iv, iv, iv, HS, HS, iv},
    },
};

#undef NO
#undef CL
#undef CW
#undef CE
#undef ES
#undef SS
#undef SR
#undef SA
#undef HS
#undef iv

/* The state after a chunk; types without a column (AUTH, ASCONF, FORWARD TSN, unknown ones) are like DATA. */
static inline int sctp_after(int direction, int state, uint8_t chunk) {
    return sctp_next[direction][state][chunk < CHUNK_TYPES ? chunk : CHUNK_DATA];
}

#endif
