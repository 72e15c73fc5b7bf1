/* fastfw for C: packets in, decisions out, from any thread and without Python on the packets' path.
 *
 * A program starts Python, makes a fastfw.Engine and keeps a reference to it, asks once for the functions and its handle,
 * and from then on hands over packets in batches. It need not hold the GIL for that, and should not: a helper, where the
 * engine has any, takes it for the payload it reads. A batch is judged under the engine's own lock, so that threads and
 * Python may share an engine. examples/embed is a whole program.
 *
 *     fastfw_api *fw = fastfw_import();              with the GIL; NULL: an exception is set
 *     fastfw_engine *engine = fw->engine(object);    likewise; the object must outlive the handle
 *     fw->decide(engine, packets, count);
 *
 * Python.h is included before this header. */
#ifndef FASTFW_H
#define FASTFW_H

#include <stddef.h>
#include <stdint.h>

enum { FASTFW_API_VERSION = 1 };

enum fastfw_hook { FASTFW_FORWARD = 0, FASTFW_INPUT = 1, FASTFW_OUTPUT = 2 };

enum fastfw_verdict {
    FASTFW_NONE = 0,   /* no IP packet */
    FASTFW_ACCEPT = 1,
    FASTFW_DROP = 2,
    FASTFW_REJECT = 3, /* dropped, and the sender is to be told as the rule says */
    FASTFW_HOLD = 4,   /* a fragment: the one that completes its datagram carries the decision for all of it */
    FASTFW_QUEUE = 5   /* for another queue */
};

enum fastfw_state {
    FASTFW_STATE_NONE = 0, /* never reached connection tracking */
    FASTFW_NEW = 1,
    FASTFW_ESTABLISHED = 2,
    FASTFW_RELATED = 3,
    FASTFW_INVALID = 4,
    FASTFW_UNTRACKED = 5
};

typedef struct fastfw_packet {
    /* in */
    const uint8_t *data; /* the first byte of the IP header; read until decide returns */
    uint32_t have;       /* bytes at data */
    uint32_t length;     /* of the packet, which may be more than there is of it */
    int64_t now;         /* the clock, ns; time that runs backwards stands still */
    uint16_t iif, oif;   /* numbers that `interface` gave; 0: none */
    uint8_t hook;        /* a fastfw_hook */
    uint8_t vouched;     /* 1: checksums are known to be right, or are not written yet */
    /* in and out */
    uint32_t mark;
    /* out */
    int32_t rule;        /* which rule or policy decided, as Engine.rule_name counts them; -1: none */
    uint16_t reason;     /* fastfw.core.terms.Reason: what tracking had to say; 0: nothing */
    uint8_t verdict;     /* a fastfw_verdict */
    uint8_t state;       /* a fastfw_state */
    uint8_t reply;       /* 1: in the reply's direction */
} fastfw_packet;

typedef struct fastfw_engine fastfw_engine;

typedef struct fastfw_api {
    uint32_t version; /* FASTFW_API_VERSION of the package */
    uint32_t packet_size; /* sizeof(fastfw_packet) there */
    /* The handle of a fastfw.Engine, borrowed. With the GIL; NULL with TypeError for any other object. */
    fastfw_engine *(*engine)(void *object);
    /* The number of an interface's name in that engine. With the GIL; -1 with an exception set where it has none. */
    int (*interface)(fastfw_engine *engine, const char *name);
    /* Judge `count` packets in order. No Python, no allocation; any thread. */
    void (*decide)(fastfw_engine *engine, fastfw_packet *packets, size_t count);
    /* Connections in the table. Any thread. */
    uint64_t (*connections)(fastfw_engine *engine);
} fastfw_api;

#define FASTFW_CAPSULE "fastfw.drivers.embed.api"

#ifdef Py_PYTHON_H
/* The functions, once Python runs. With the GIL; NULL with an exception set where there is no package, or one that lays
 * out its packets in another way. */
static inline fastfw_api *fastfw_import(void) {
    PyObject *module = PyImport_ImportModule("fastfw.drivers.embed");
    fastfw_api *api;
    if (module == NULL)
        return NULL;
    api = (fastfw_api *)PyCapsule_Import(FASTFW_CAPSULE, 0);
    Py_DECREF(module); /* sys.modules keeps it */
    if (api != NULL && (api->version != FASTFW_API_VERSION || api->packet_size != sizeof(fastfw_packet))) {
        PyErr_SetString(PyExc_ImportError, "fastfw: compiled with the header of another version");
        return NULL;
    }
    return api;
}
#endif

#endif
