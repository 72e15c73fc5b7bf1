/* Preloaded into a process under test: counts its calls of what can fail, and makes the n-th of them fail or be the
 * process's last. Nothing happens before fault_arm(). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { OFF, KILL_BEFORE, KILL_HALFWAY, FAIL, NO_MEMORY };

static int mode, error_number;
static long wanted, seen;

/* mode: one of the above; nth: which call, from 1; error: errno of FAIL. */
void fault_arm(int new_mode, long nth, int error) { seen = 0; wanted = nth; error_number = error; mode = new_mode; }

/* How many calls were met since fault_arm(); nothing fails afterwards. */
long fault_disarm(void) { mode = OFF; return seen; }

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Whether this call of the file system is to fail; a process whose hour has come does not return. */
static int strikes(void) {
    if (mode == OFF || mode == NO_MEMORY || ++seen != wanted) return 0;
    if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (mode == FAIL) { errno = error_number; return 1; }
    return 0;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (strikes()) return -1;
    if (mode == KILL_HALFWAY && seen == wanted) { real(fd, data, size / 2); kill(getpid(), SIGKILL); }
    return real(fd, data, size);
}

int fsync(int fd) { REAL(fsync); return strikes() ? -1 : real(fd); }
int rename(const char *from, const char *to) { REAL(rename); return strikes() ? -1 : real(from, to); }
int unlink(const char *path) { REAL(unlink); return strikes() ? -1 : real(path); }
int close(int fd) { REAL(close); return strikes() ? -1 : real(fd); }

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t permissions = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return strikes() ? -1 : real(path, flags, permissions);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t permissions = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open64(path, flags, permissions);
}

/* Memory fails for the package's own modules alone: what CPython and NumPy do without memory is theirs. */
static int refuses(void *caller) {
    Dl_info from;
    if (mode != NO_MEMORY || !dladdr(caller, &from) || !from.dli_fname || !strstr(from.dli_fname, "/fastfw/")) return 0;
    return ++seen == wanted;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size) {
    return refuses(__builtin_return_address(0)) ? errno = ENOMEM, NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return refuses(__builtin_return_address(0)) ? errno = ENOMEM, NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size) {
    return refuses(__builtin_return_address(0)) ? errno = ENOMEM, NULL : __libc_realloc(at, size);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    REAL(mmap);
    return refuses(__builtin_return_address(0)) ? errno = ENOMEM, MAP_FAILED
                                                : real(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    REAL(mmap64);
    return refuses(__builtin_return_address(0)) ? errno = ENOMEM, MAP_FAILED
                                                : real(at, size, protection, flags, fd, offset);
}

void *mremap(void *at, size_t old_size, size_t new_size, int flags, ...) {
    REAL(mremap);
    /* a mapping that shrinks cannot fail */
    return new_size > old_size && refuses(__builtin_return_address(0)) ? errno = ENOMEM, MAP_FAILED
                                                                      : real(at, old_size, new_size, flags);
}
