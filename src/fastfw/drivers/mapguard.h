/* Read-only file mappings that survive the file being cut under them.
 *
 * A page behind the new end of a truncated file raises SIGBUS when it is touched, wherever that happens: in the scanner,
 * in the engine, in NumPy. The handler below puts zero pages in the place of what is gone and marks the mapping as lost;
 * packets read there are refused like any other damaged packet. Every other SIGBUS is left to whoever handled it before.
 */
#ifndef FASTFW_MAPGUARD_H
#define FASTFW_MAPGUARD_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* One mapping. Guards are reused but never freed, so the handler may walk the list at any moment. */
struct mapguard {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic size_t size;
    _Atomic int lost;
    struct mapguard *next;
};

static struct mapguard *_Atomic mapguard_list;
static pthread_mutex_t mapguard_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction mapguard_previous;
static _Atomic int mapguard_foreign;
static uintptr_t mapguard_page;

static void mapguard_handler(int signal, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr & ~(mapguard_page - 1);
    (void)context;
    for (struct mapguard *guard = atomic_load(&mapguard_list); guard != NULL && info->si_code > 0; guard = guard->next) {
        uintptr_t start = atomic_load(&guard->start), size = atomic_load(&guard->size);
        if (start == 0 || at < start || at >= start + size)
            continue;
        /* The file ends at or before this page, so all pages behind it are gone too. */
        if (mmap((void *)at, start + size - at, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        atomic_store(&guard->lost, 1);
        return;
    }
    /* Not ours: the instruction faults again under the previous handler, and under the default one if that gives up. */
    if (atomic_fetch_add(&mapguard_foreign, 1) == 0) {
        sigaction(signal, &mapguard_previous, NULL);
    } else {
        struct sigaction standard = {.sa_handler = SIG_DFL};
        sigaction(signal, &standard, NULL);
    }
    if (info->si_code <= 0) /* sent by a process: nothing faults again by itself */
        raise(signal);
}

/* Maps `size` > 0 bytes of `descriptor`. NULL with errno on failure. */
static struct mapguard *mapguard_open(int descriptor, size_t size)
{
    struct mapguard *guard;
    struct sigaction current, mine = {.sa_sigaction = mapguard_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (memory == MAP_FAILED)
        return NULL;
    pthread_mutex_lock(&mapguard_lock);
    for (guard = atomic_load(&mapguard_list); guard != NULL; guard = guard->next)
        if (atomic_load(&guard->start) == 0)
            break;
    if (guard == NULL) {
        guard = (struct mapguard *)calloc(1, sizeof *guard);
        if (guard == NULL) {
            pthread_mutex_unlock(&mapguard_lock);
            munmap(memory, size);
            return NULL;
        }
        guard->next = atomic_load(&mapguard_list);
        atomic_store(&mapguard_list, guard);
    }
    atomic_store(&guard->lost, 0);
    atomic_store(&guard->size, size);
    atomic_store(&guard->start, (uintptr_t)memory);
    mapguard_page = (uintptr_t)sysconf(_SC_PAGESIZE);
    /* Another handler may have been installed since the last mapping: stand in front of it. */
    sigemptyset(&mine.sa_mask);
    if (sigaction(SIGBUS, NULL, &current) == 0
        && (!(current.sa_flags & SA_SIGINFO) || current.sa_sigaction != mapguard_handler)) {
        mapguard_previous = current;
        sigaction(SIGBUS, &mine, NULL);
    }
    pthread_mutex_unlock(&mapguard_lock);
    return guard;
}

static void mapguard_close(struct mapguard *guard)
{
    void *memory = (void *)atomic_load(&guard->start);
    size_t size = atomic_load(&guard->size);
    munmap(memory, size);
    pthread_mutex_lock(&mapguard_lock);
    atomic_store(&guard->start, 0);
    pthread_mutex_unlock(&mapguard_lock);
}

#endif
