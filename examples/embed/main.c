/* A packet filter in C around fastfw's engine: reads a capture of raw IP or Ethernet and says what became of each packet.
 *
 *     cmake -S . -B build/embed -DFASTFW_EMBED=ON && cmake --build build/embed
 *     build/embed/embed RULES CAPTURE [INPUT|OUTPUT|FORWARD]
 *
 * Python is started to read the rules and to make the engine. The packets are then judged without it: no Python object is
 * touched, and the GIL is not held. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastfw.h"

enum { BATCH = 64, SNAP = 65535, RAW = 101, ETHERNET = 1 };

static const char *const verdicts[] = {"-", "ACCEPT", "DROP", "REJECT", "HOLD", "QUEUE"};
static const char *const states[] = {"-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"};

static PyObject *make_engine(const char *rules)
{
    PyObject *module = PyImport_ImportModule("fastfw"), *engine = NULL, *text = NULL, *parsed = NULL;
    FILE *file = fopen(rules, "r");
    static char buffer[1 << 20];
    size_t size = file != NULL ? fread(buffer, 1, sizeof buffer, file) : 0;

    if (file == NULL)
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, rules);
    else
        fclose(file);
    if (module != NULL && file != NULL && (text = PyUnicode_FromStringAndSize(buffer, (Py_ssize_t)size)) != NULL) {
        PyObject *ruleset = PyObject_GetAttrString(module, "Ruleset");
        parsed = ruleset != NULL ? PyObject_CallMethod(ruleset, "parse", "O", text) : NULL;
        Py_XDECREF(ruleset);
        engine = parsed != NULL ? PyObject_CallMethod(module, "Engine", "O", parsed) : NULL;
    }
    Py_XDECREF(module);
    Py_XDECREF(text);
    Py_XDECREF(parsed);
    return engine;
}

/* One record of a little-endian pcap with microseconds; 0 at its end. */
static int next_packet(FILE *capture, uint32_t link, uint8_t *room, fastfw_packet *packet)
{
    uint32_t head[4];
    uint32_t skip = link == ETHERNET ? 14 : 0;

    if (fread(head, sizeof head, 1, capture) != 1 || head[2] > SNAP || fread(room, 1, head[2], capture) != head[2])
        return 0;
    memset(packet, 0, sizeof *packet);
    if (head[2] < skip)
        skip = head[2];
    packet->data = room + skip;
    packet->have = head[2] - skip;
    packet->length = head[3] - skip;
    packet->now = (int64_t)head[0] * 1000000000 + (int64_t)head[1] * 1000;
    return 1;
}

/* The packets' path: all of it is C. */
static void judge(const fastfw_api *fw, fastfw_engine *engine, FILE *capture, uint32_t link, uint8_t hook)
{
    uint8_t *room = malloc((size_t)BATCH * SNAP);
    fastfw_packet packets[BATCH];
    size_t number = 0, n = 0, i;

    if (room == NULL)
        return;
    do {
        for (n = 0; n < BATCH && next_packet(capture, link, room + n * SNAP, packets + n); n++)
            packets[n].hook = hook;
        fw->decide(engine, packets, n);
        for (i = 0; i < n; i++)
            printf("%zu %s %s %d\n", number++, verdicts[packets[i].verdict], states[packets[i].state], packets[i].reply);
    } while (n == BATCH);
    printf("connections %llu\n", (unsigned long long)fw->connections(engine));
    free(room);
}

int main(int argc, char **argv)
{
    static const char *const hooks[] = {"FORWARD", "INPUT", "OUTPUT"};
    FILE *capture = argc > 2 ? fopen(argv[2], "rb") : NULL;
    uint32_t head[6];
    uint8_t hook = FASTFW_FORWARD;
    PyObject *object = NULL;
    fastfw_api *fw = NULL;
    fastfw_engine *engine = NULL;
    PyThreadState *python;

    if (argc > 3)
        for (hook = 0; hook < 3 && strcmp(argv[3], hooks[hook]) != 0; hook++)
            continue;
    if (argc < 3 || argc > 4 || hook == 3) {
        fprintf(stderr, "usage: embed RULES CAPTURE [INPUT|OUTPUT|FORWARD]\n");
        return 2;
    }
    if (capture == NULL || fread(head, sizeof head, 1, capture) != 1 || head[0] != 0xa1b2c3d4 ||
        (head[5] != RAW && head[5] != ETHERNET)) {
        fprintf(stderr, "%s: a pcap file of raw IP or Ethernet expected, with microseconds, as this machine writes it\n", argv[2]);
        return 2;
    }
    Py_InitializeEx(0);
    if ((fw = fastfw_import()) != NULL && (object = make_engine(argv[1])) != NULL)
        engine = fw->engine(object);
    if (engine == NULL) {
        PyErr_Print();
        return 2;
    }
    python = PyEval_SaveThread();
    judge(fw, engine, capture, head[5], hook);
    PyEval_RestoreThread(python);
    fclose(capture);
    Py_DECREF(object); /* the handle ends with it */
    return Py_FinalizeEx() < 0;
}
