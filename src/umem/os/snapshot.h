/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - a core file of the process by the process itself, for where
 * nobody else may look at it.
 *
 * The threads stand still (stop.h) until the kernel has made a copy of the
 * process, as fork(2) does, but without anything that the program could notice:
 * no handler runs, nothing is told of the copy's end, and wait(2) does not know
 * of it.  The copy writes the file, tells how it went, and ends.
 */
#ifndef UMEM_SNAPSHOT_H
#define UMEM_SNAPSHOT_H

#include "base/base.h"
#include "os/socket.h"
#include "os/stop.h"

/*
 * Has a copy made that writes to the file, and sends by the connection lines:
 * "stopped NS", as soon as it is there, then "ok", or "error: ..." where the
 * file is not whole.  -1 with errno, and nothing was sent: EBADF, EINVAL: no
 * regular file that can be written; EBUSY, the last copy is still there;
 * ENOENT, /proc is not; EAGAIN, ENOMEM: there can be no copy; ENOSYS, not on
 * this processor.  For one thread, the library's own.
 */
int os_snapshot(const struct os_descriptor *file, const struct os_descriptor *connection);
/* Lays a copy that has ended to rest; to be called now and then, and when this can be read. */
void os_snapshot_reap(void);
const struct os_descriptor *os_snapshot_ended(void);
/* In the child of a fork(2): the copy is not its own. (AS) */
void os_snapshot_forget(void);

/* --- snapshot_core.c --- */

/* Memory that a copy does not have (MADV_DONTFORK): written before it is made. */
#define OS_UNFORKED_MAX 64
#define OS_UNFORKED_TEXT 8192
struct os_unforked {
    uintptr_t unf_start;
    uintptr_t unf_end;
    uint64_t unf_offset; /* in the file */
    size_t unf_held;     /* bytes of it that are there */
};

/* What is known before the copy is made. */
struct os_core {
    int core_fd;
    uint32_t core_process;
    uint64_t core_time_ns;
    const struct os_stopped *core_threads;
    size_t core_thread_count;
    size_t core_maps_size; /* of /proc/self/maps, about */
    struct os_unforked core_unforked[OS_UNFORKED_MAX];
    size_t core_unforked_count;
    bool core_unforked_lost; /* there were more */
    size_t core_unforked_text_size;
    uint64_t core_offset;                      /* where the rest of the file begins */
    char core_unforked_text[OS_UNFORKED_TEXT]; /* their lines of /proc/self/maps */
};

/*
 * In the copy: writes the file.  0, or an errno; ECANCELED where goes_on() says
 * that nobody wants it any more.
 */
int os_core_write(const struct os_core *core, bool (*goes_on)(void));

/* --- snapshot_notes.c --- */

/* An array of bytes that grows by whole pages, from the system alone. */
struct os_heap {
    char *heap_data;
    size_t heap_size;
    size_t heap_room;
};
/* A copy of data, or zeroes where that is NULL.  NULL with errno. */
void *os_heap_add(struct os_heap *heap, const void *data, size_t size);

/* All notes of the file, maps being the text of /proc/self/maps.  0, or an errno. */
int os_core_notes(const struct os_core *core, const struct os_heap *maps, struct os_heap *notes);

#endif
