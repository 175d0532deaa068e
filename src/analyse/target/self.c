/* SPDX-License-Identifier: MIT */
/*
 * self.c - a process that nobody may look at, as a target: it is asked for a
 * core file of itself, by the agent that it has under UMEM_OPTIONS=agent.
 *
 * The agent gets an open file, so that neither file systems nor rights of the
 * process matter; whoever may talk to it is the agent's to decide.  The socket's
 * name is anybody's to take: that the process itself listens is asked of the
 * kernel.  umem_agent(7) is the protocol.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The agent's copy says that it is there: some milliseconds after the question. */
#define ANSWER_TIMEOUT_MS 30000
/* Of a reply; and of a line of it. */
#define REPLY_BYTES 1024
#define CONNECT_PAUSE_NS 10000000
#define CONNECT_PAUSES 200
static const char command[] = "snapshot\n";

/* A connection to whoever listens by the name; -1 with errno. */
static int
connect_to_agent(const struct target *t)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "umem-agent.%d",
                     (int)status_own_pid(t->t_pid));
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The process that listens; 0: it is in another namespace. */
static pid_t
listener_of(int fd)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? who.pid : 0;
}

bool
self_is_possible(const struct target *t)
{
    int fd = connect_to_agent(t);
    if (fd < 0)
        return false;
    pid_t listener = listener_of(fd);
    close(fd);
    return listener == t->t_pid || listener == 0;
}

static bool
complain_nobody(const struct target *t, int error)
{
    if (error != ECONNREFUSED)
        return target_complain(t, "its agent cannot be asked: %s", strerror(error));
    if (status_own_pid(t->t_pid) != t->t_pid)
        return target_complain(t, "has no agent that could be asked from here; run umem in its "
                                  "container, and the program with UMEM_OPTIONS=agent");
    return target_complain(t, "has no agent to ask; start it with UMEM_OPTIONS=agent, as umem run "
                              "--self does, or try without --self");
}

/* A program of ours that has just been started gets its agent in some milliseconds. */
static int
connect_in_time(const struct target *t)
{
    const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
    int fd = connect_to_agent(t);
    if (status_field(t->t_pid, "PPid") != getpid())
        return fd;
    for (unsigned i = 0; fd < 0 && errno == ECONNREFUSED && i < CONNECT_PAUSES; i++) {
        nanosleep(&pause, NULL);
        fd = connect_to_agent(t);
    }
    return fd;
}

static int
open_agent(const struct target *t)
{
    int fd = connect_in_time(t);
    if (fd < 0) {
        complain_nobody(t, errno);
        return -1;
    }
    pid_t listener = listener_of(fd);
    if (listener == t->t_pid || listener == 0)
        return fd;
    close(fd);
    target_complain(t, "has no agent: its name is in use by process %d", (int)listener);
    return -1;
}

static bool
send_command(int fd, int file)
{
    union {
        struct cmsghdr header; /* for the alignment */
        char room[CMSG_SPACE(sizeof(int))];
    } control = {{0}};
    struct iovec part = {(void *)(uintptr_t)command, sizeof(command) - 1};
    const struct msghdr message = {.msg_iov = &part,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof(control)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)part.iov_len;
}

/* What has been received and not been read yet. */
struct reply {
    int rep_fd;
    size_t rep_size;
    char rep_text[REPLY_BYTES];
};

enum line { LINE_READ, LINE_LATE, LINE_END };

/* The next line of a reply, in line; timeout_ms < 0: waits for ever. */
static enum line
next_line(struct reply *rep, char line[REPLY_BYTES], int timeout_ms)
{
    for (;;) {
        char *end = memchr(rep->rep_text, '\n', rep->rep_size);
        if (end != NULL) {
            size_t length = (size_t)(end - rep->rep_text);
            memcpy(line, rep->rep_text, length);
            line[length] = '\0';
            rep->rep_size -= length + 1;
            memmove(rep->rep_text, end + 1, rep->rep_size);
            return LINE_READ;
        }
        struct pollfd pfd = {.fd = rep->rep_fd, .events = POLLIN};
        int ready = poll(&pfd, 1, timeout_ms);
        if (ready == 0)
            return LINE_LATE;
        ssize_t n = ready < 0 ? -1
                              : recv(rep->rep_fd, rep->rep_text + rep->rep_size,
                                     sizeof(rep->rep_text) - rep->rep_size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return LINE_END;
        rep->rep_size += (size_t)n;
    }
}

static bool
complain_hung_up(const struct target *t)
{
    long uid = status_field(t->t_pid, "Uid");
    if (uid < 0)
        return target_complain(t, "has ended");
    if (geteuid() != 0 && (uid_t)uid != geteuid())
        return target_complain(t, "belongs to user %ld; run as that user or as root", uid);
    return target_complain(t, "its agent hung up; try once more");
}

static bool
complain_refused(const struct target *t, const char *why, const char *advice)
{
    if (strstr(why, "no such command") != NULL)
        return target_complain(t, "its libumem is older than this: it makes no snapshots");
    bool file = strstr(why, "file") != NULL;
    return target_complain(t, "made no snapshot of itself: %s%s", why, file ? advice : "");
}

/* Reads what the agent and its copy say; true where the file is whole, advice where it is not. */
static bool
read_reply(struct target *t, int fd, const char *advice)
{
    static const char stopped[] = "stopped ";
    static const char error[] = "error: ";
    struct reply rep = {.rep_fd = fd};
    char line[REPLY_BYTES];
    bool copied = false;
    for (;;) {
        enum line got = next_line(&rep, line, copied ? -1 : ANSWER_TIMEOUT_MS);
        if (got == LINE_LATE)
            return target_complain(t, "its agent does not answer");
        if (got == LINE_END)
            return copied ? target_complain(t, "the copy of it that writes the snapshot was ended; "
                                               "is there too little memory?")
                          : complain_hung_up(t);
        if (strncmp(line, error, sizeof(error) - 1) == 0)
            return complain_refused(t, line + sizeof(error) - 1, advice);
        if (strcmp(line, "ok") == 0)
            return true;
        if (strncmp(line, stopped, sizeof(stopped) - 1) == 0) {
            t->t_self_stopped_ns = strtoull(line + sizeof(stopped) - 1, NULL, 10);
            copied = true;
        }
    }
}

/* Has the process write to the file; advice is for when it does not hold it. */
static bool
ask(struct target *t, int file, const char *advice)
{
    int fd = open_agent(t);
    if (fd < 0)
        return false;
    bool ok = send_command(fd, file) ? read_reply(t, fd, advice) : complain_hung_up(t);
    close(fd);
    return ok;
}

static bool
may_be_asked(const struct target *t)
{
    if (!live_check(t))
        return false;
    long state = status_field(t->t_pid, "State");
    return (state != 'T' && state != 't') ||
           target_complain(t, "is stopped, and so is its agent; let it go on first (kill -CONT)");
}

bool
self_open(struct target *t)
{
    if (!may_be_asked(t))
        return false;
    int file = temporary_file();
    if (file < 0)
        return target_complain(t,
                               "there is no temporary file for it: %s; give a directory by "
                               "TMPDIR",
                               strerror(errno));
    bool ok =
        ask(t, file, "; give a directory with more room by TMPDIR") && core_open_file(t, file);
    close(file);
    return ok;
}

/* What is in the file. */
static void
read_result(int fd, struct dump_result *result)
{
    struct stat st;
    GElf_Phdr phdr;
    size_t count = 0;
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);

    if (fstat(fd, &st) == 0)
        result->dmp_file_size = (uint64_t)st.st_size;
    if (elf != NULL && elf_getphdrnum(elf, &count) == 0)
        for (size_t i = 0; i < count; i++)
            if (gelf_getphdr(elf, (int)i, &phdr) != NULL && phdr.p_type == PT_LOAD)
                result->dmp_memory += phdr.p_filesz;
    result->dmp_segments = count;
    elf_end(elf);
}

static bool
dump_self(struct target *t, const struct dump_options *options, struct dump_result *result)
{
    struct whole_file file;

    if (t->t_pid < 0)
        return target_complain(t, "is a file already; give the number of a process");
    if (!may_be_asked(t))
        return false;
    if (!whole_open(&file, options->dmp_path))
        return whole_complain(options->dmp_path, errno);
    bool asked = ask(t, file.whl_fd, "; give a path on a disk with more room by -o FILE");
    if (asked) {
        read_result(file.whl_fd, result);
        result->dmp_stopped_ns = t->t_self_stopped_ns;
    }
    bool ok = whole_finish(&file, asked);
    return ok || !asked ? ok : whole_complain(options->dmp_path, errno);
}

bool
target_dump_self(const char *name, const struct dump_options *options, struct dump_result *result)
{
    struct target *t = target_create(name);

    *result = (struct dump_result){0};
    bool ok = dump_self(t, options, result);
    target_close(t);
    return ok;
}
