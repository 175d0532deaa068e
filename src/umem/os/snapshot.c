/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - a core file of the process by the process itself: stops the
 * threads, has the copy made, and lets them go on; see snapshot.h.
 *
 * The copy is a child whose end no signal tells of and that only wait calls
 * with __WALL see: it is waited for by whoever made it.  Where the process is
 * the first of its namespace a grandchild would come back to it as a child, with
 * a signal.  The copy holds none of the program's descriptors, so that nobody
 * waits for it where a pipe ends, and is the first to be ended where memory is
 * short.  What it does is in this thread's hands alone: no lock, no malloc, and
 * system calls made directly, since functions of libc's may be others'.
 *
 * State: the copy that there is, one at a time.
 */
#include "os/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/print.h"
#include "os/lines.h"
#include "os/os.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* Linux 5.3 */
#endif
#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9 */
#endif
/* Where that is not there, descriptors up to here are closed. */
#define FD_MAX 65536u
/* How long a copy may take to end: some 100 ms for each 10 GiB. */
#define ENDING_MS 1000

static pid_t copy;                                           /* 0: none */
static struct os_descriptor copy_ended = OS_DESCRIPTOR_NONE; /* a pidfd */
/* Shared with the copy, which sets it when nothing but its end is left; NULL: there is none yet. */
static _Atomic bool *copy_is_done;
static struct os_core core;
static int connection_fd;

/* --- Memory that a copy does not have --- */

/* Whether VmFlags of smaps have a flag, of two letters. */
static bool
has_flag(const char *flags, const char *flag)
{
    for (; *flags != '\0'; flags += strcspn(flags, " "), flags += strspn(flags, " "))
        if (strncmp(flags, flag, 2) == 0 && (flags[2] == ' ' || flags[2] == '\0'))
            return true;
    return false;
}

static void
add_unforked(const char *line)
{
    size_t length = strlen(line), used = core.core_unforked_text_size;
    const char *at = line;

    if (core.core_unforked_count == OS_UNFORKED_MAX || used + length + 1 > OS_UNFORKED_TEXT) {
        core.core_unforked_lost = true;
        return;
    }
    uintptr_t start = os_parse_hex(&at), end = os_parse_hex(&at);
    core.core_unforked[core.core_unforked_count++] =
        (struct os_unforked){.unf_start = start, .unf_end = end};
    memcpy(core.core_unforked_text + used, line, length);
    core.core_unforked_text[used + length] = '\n';
    core.core_unforked_text_size = used + length + 1;
}

/*
 * Looks for readable memory that is not for children, but not for devices': only
 * this file tells.  And how long the list of mappings is.  False with errno.
 */
static bool
look_at_mappings(void)
{
    struct os_lines lines;
    char header[OS_LINE_MAX] = "";
    const char *line;

    if (!os_lines_open(&lines, "/proc/self/smaps"))
        return false;
    while ((line = os_lines_next(&lines)) != NULL) {
        if (*line < 'A' || *line > 'Z') { /* "start-end perms ...", and not "Name: ..." */
            core.core_maps_size += strlen(line) + 1;
            (void)umem_snprintf(header, sizeof(header), "%s", line);
        } else if (strncmp(line, "VmFlags:", 8) == 0 && has_flag(line, "dc") &&
                   has_flag(line, "rd") && !has_flag(line, "io") && !has_flag(line, "pf")) {
            add_unforked(header);
        }
    }
    os_lines_close(&lines);
    return true;
}

/* Writes it, while the threads stand still. */
static void
write_unforked(void)
{
    for (size_t i = 0; i < core.core_unforked_count; i++) {
        struct os_unforked *part = &core.core_unforked[i];
        size_t size = part->unf_end - part->unf_start;
        part->unf_offset = core.core_offset;
        while (part->unf_held < size) {
            long n =
                syscall(SYS_pwrite64, core.core_fd, (const char *)part->unf_start + part->unf_held,
                        size - part->unf_held, core.core_offset + part->unf_held);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break; /* the rest is missing, as it would be in a core that was cut off */
            part->unf_held += (size_t)n;
        }
        core.core_offset += umem_align_up(part->unf_held, os_page_size());
    }
}

/* --- In the copy --- */

static void
close_others(unsigned one, unsigned other)
{
    unsigned low = one < other ? one : other, high = one < other ? other : one;
    const unsigned ranges[3][2] = {{0, low - 1}, {low + 1, high - 1}, {high + 1, ~0U}};

    for (unsigned i = 0; i < 3; i++) {
        unsigned first = ranges[i][0], last = ranges[i][1];
        if ((i == 0 && low == 0) || first > last || syscall(SYS_close_range, first, last, 0) == 0)
            continue;
        for (unsigned fd = first; fd <= last && fd < FD_MAX; fd++)
            (void)syscall(SYS_close, fd);
    }
}

/* Where memory is short, the copy is to go, not the program. */
static void
be_dispensable(void)
{
    static const char most[] = "1000";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)syscall(SYS_write, fd, most, sizeof(most) - 1);
        (void)syscall(SYS_close, fd);
    }
}

static void
tell(const char *text)
{
    (void)syscall(SYS_sendto, connection_fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
                  0);
}

/* Whether somebody waits for the file: a client that was interrupted does not. */
static bool
is_awaited(void)
{
    char byte;
    long n = syscall(SYS_recvfrom, connection_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);

    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static const char *
why(int error)
{
    switch (error) {
    case ENOSPC:
        return "no space is left on the file's device";
    case EDQUOT:
        return "the quota of the process's user is used up";
    case EFBIG:
        return "the file would be larger than the process may write (RLIMIT_FSIZE)";
    case ENOMEM:
    case EAGAIN:
        return "there is no memory for it";
    case ENOENT:
    case EACCES:
        return "the process cannot read its own /proc";
    default:
        return NULL;
    }
}

_Noreturn static void
run_copy(void)
{
    char line[128];

    os_thread_name("umem_snapshot");
    /*
     * Files of /proc/self are root's in a process that may not be dumped.  Whoever
     * could look at the copy by this may ask for the snapshot as well.
     */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    close_others((unsigned)core.core_fd, (unsigned)connection_fd);
    be_dispensable();
    (void)umem_snprintf(line, sizeof(line), "stopped %lu\n",
                        (unsigned long)(os_clock_ns() - core.core_time_ns));
    tell(line);
    int error = os_core_write(&core, is_awaited);
    const char *reason = why(error);
    atomic_store(copy_is_done, true);
    if (error == 0)
        tell("ok\n");
    else if (reason != NULL) {
        (void)umem_snprintf(line, sizeof(line), "error: %s\n", reason);
        tell(line);
    } else {
        (void)umem_snprintf(line, sizeof(line), "error: the file cannot be written (errno %d)\n",
                            error);
        tell(line);
    }
    for (;;)
        (void)syscall(SYS_exit_group, error != 0);
}

/* --- In the process --- */

/* Whether it can be written to, at any place. */
static bool
is_file(const struct os_descriptor *file)
{
    struct stat status;

    if (!os_descriptor_is_ours(file)) {
        errno = EBADF;
        return false;
    }
    int flags = fcntl(file->desc_fd, F_GETFL);
    if (fstat(file->desc_fd, &status) == 0 && S_ISREG(status.st_mode) && flags >= 0 &&
        (flags & O_ACCMODE) != O_RDONLY && (flags & O_APPEND) == 0)
        return true;
    errno = EINVAL;
    return false;
}

void
os_snapshot_reap(void)
{
    int status;

    if (copy == 0)
        return;
    long ended = syscall(SYS_wait4, copy, &status, __WALL | WNOHANG, NULL);
    if (ended == copy || (ended < 0 && errno == ECHILD)) /* somebody waits for all there are */
        os_snapshot_forget();
}

const struct os_descriptor *
os_snapshot_ended(void)
{
    return &copy_ended;
}

void
os_snapshot_forget(void)
{
    copy = 0;
    os_socket_close(&copy_ended);
    if (copy_is_done != NULL)
        (void)munmap((void *)copy_is_done, os_page_size());
    copy_is_done = NULL;
}

/* A client that has its file may ask for the next before the copy's memory is torn down. */
static void
await_end(void)
{
    struct pollfd ended = {.fd = copy_ended.desc_fd, .events = POLLIN};

    os_snapshot_reap();
    if (copy != 0 && atomic_load(copy_is_done)) {
        (void)poll(&ended, 1, ENDING_MS);
        os_snapshot_reap();
    }
}

static bool
make_shared_page(void)
{
    if (copy_is_done == NULL) {
        void *page =
            mmap(NULL, os_page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        copy_is_done = page != MAP_FAILED ? page : NULL;
    }
    return copy_is_done != NULL;
}

int
os_snapshot(const struct os_descriptor *file, const struct os_descriptor *connection)
{
    await_end();
    if (copy != 0) {
        errno = EBUSY;
        return -1;
    }
    if (!is_file(file) || !make_shared_page())
        return -1;
    atomic_store(copy_is_done, false);
    memset(&core, 0, offsetof(struct os_core, core_unforked_text));
    core.core_fd = file->desc_fd;
    core.core_process = os_process_id();
    core.core_offset = os_page_size();
    connection_fd = connection->desc_fd;
    if (!look_at_mappings())
        return -1;
    core.core_time_ns = os_clock_ns();
    core.core_threads = os_stop_begin(&core.core_thread_count);
    if (core.core_threads == NULL)
        return -1;
    write_unforked();
    /* As fork(), but that no signal tells of the child's end and no handler runs. */
    long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    if (child == 0)
        run_copy();
    int error = errno;
    os_stop_end();
    errno = error;
    if (child < 0)
        return -1;
    copy = (pid_t)child;
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    if (fd >= 0) /* else it is looked for now and then */
        (void)os_descriptor_adopt(&copy_ended, fd);
    return 0;
}
