/* SPDX-License-Identifier: MIT */
/*
 * helper.c - the child process that runs libdw, and what is answered when it
 * dies.
 *
 * libdw has crashed on damaged files; a crash must not take the analysis with
 * it.  So target_symbolise and target_unwind ask a child, forked from this
 * process with all its tables at the first question, over a socket: one
 * request, one reply, in step.  When it dies or does not answer, the question
 * it died of is answered from our own tables (module and offset) and the next
 * one gets a new child, a few times.
 *
 * The child only reads: it is no tracer, and it ends when the socket closes.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Children that may die before we stop asking. */
#define HELPER_DEATHS_MAX 3
/* An answer takes this long only if libdw loops; fetching debug information may take longer. */
#define HELPER_TIMEOUT_MS 60000
#define HELPER_TIMEOUT_FETCH_MS 900000
/* Records or frames in one reply. */
#define REPLY_MAX 1024

enum question { ASK_SYMBOLS, ASK_FRAMES };

struct request {
    uint32_t req_question;
    uint32_t req_return_address;
    uint64_t req_address; /* or the index of the thread */
    uint32_t req_max;
    uint32_t req_pad;
};

struct helper {
    pid_t help_pid;
    int help_fd;
};

/* --- The socket --- */

static bool
send_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* timeout_ms < 0: for ever. */
static bool
receive_all(int fd, void *data, size_t size, int timeout_ms)
{
    char *p = data;
    while (size > 0) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int ready = poll(&pfd, 1, timeout_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t n = recv(fd, p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* --- The child --- */

static bool
answer(struct Dwfl *dwfl, struct target *t, int fd, const struct request *req)
{
    static struct symbol symbols[REPLY_MAX];
    static struct stack_frame frames[REPLY_MAX];
    size_t max = req->req_max < REPLY_MAX ? req->req_max : REPLY_MAX;
    uint32_t count = 0;
    const void *data = symbols;
    size_t size = sizeof(struct symbol);
    if (req->req_question == ASK_SYMBOLS) {
        if (dwfl != NULL)
            count = (uint32_t)symbolise_here(dwfl, t, req->req_address,
                                             req->req_return_address != 0, symbols, max);
    } else {
        data = frames;
        size = sizeof(struct stack_frame);
        if (dwfl != NULL)
            count = (uint32_t)unwind_here(dwfl, t, (size_t)req->req_address, frames, max);
    }
    return send_all(fd, &count, sizeof(count)) && send_all(fd, data, count * size);
}

_Noreturn static void
child_main(struct target *t, int fd, pid_t parent)
{
    /* Crashes here are expected: no core files of ours, no handlers of the parent's. */
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    /* What interrupts a command of ours is not meant for us. */
    signal(SIGINT, SIG_IGN);
    /* Who reads what the parent prints waits for the parent's end, not for ours. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    struct Dwfl *dwfl = symbolise_session(t);
    struct request req;
    while (receive_all(fd, &req, sizeof(req), -1) && answer(dwfl, t, fd, &req))
        ;
    _exit(0);
}

/* --- Our side --- */

static bool
helper_start(struct target *t)
{
    int fds[2];
    if (t->t_helper != NULL)
        return true;
    if (t->t_helper_deaths >= HELPER_DEATHS_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    struct helper *help = malloc(sizeof(*help));
    pid_t parent = getpid();
    pid_t pid = help != NULL ? fork() : -1;
    if (pid == 0) {
        close(fds[0]);
        child_main(t, fds[1], parent);
    }
    close(fds[1]);
    if (pid < 0) {
        free(help);
        close(fds[0]);
        return false;
    }
    *help = (struct helper){pid, fds[0]};
    t->t_helper = help;
    return true;
}

void
helper_stop(struct target *t)
{
    struct helper *help = t->t_helper;
    if (help == NULL)
        return;
    t->t_helper = NULL;
    close(help->help_fd);
    kill(help->help_pid, SIGKILL); /* it holds nothing that must be put in order */
    while (waitpid(help->help_pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(help);
}

/* Asks; false where no answer came. */
static bool
ask(struct target *t, const struct request *req, void *answers, size_t size, size_t *count)
{
    uint32_t n = 0;
    if (!helper_start(t))
        return false;
    const char *fetch = getenv("DEBUGINFOD_URLS");
    int timeout = fetch != NULL && fetch[0] != '\0' ? HELPER_TIMEOUT_FETCH_MS : HELPER_TIMEOUT_MS;
    int fd = t->t_helper->help_fd;
    if (send_all(fd, req, sizeof(*req)) && receive_all(fd, &n, sizeof(n), timeout) &&
        n <= req->req_max && receive_all(fd, answers, n * size, timeout)) {
        *count = n;
        return true;
    }
    t->t_helper_deaths++;
    helper_stop(t);
    return false;
}

/* What our own tables know: the module, or the mapping, and the offset in it. */
static void
describe_plainly(const struct target *t, addr_t addr, struct symbol *sym)
{
    const struct mapping *map = target_mapping_of(t, addr);
    size_t i = module_index(t, addr);
    const char *path = "";
    *sym = (struct symbol){.sym_offset = addr};
    if (i < t->t_module_count) {
        path = t->t_modules[i].mod_path;
        sym->sym_offset = addr - t->t_modules[i].mod_bias;
    } else if (map != NULL) {
        path = map->map_name;
        sym->sym_offset = addr - map->map_start + map->map_offset;
    }
    const char *slash = strrchr(path, '/');
    snprintf(sym->sym_module, sizeof(sym->sym_module), "%s", slash != NULL ? slash + 1 : path);
}

size_t
target_symbolise(struct target *t, addr_t addr, bool return_address, struct symbol *symbols,
                 size_t max)
{
    size_t count = 0;
    struct request req = {.req_question = ASK_SYMBOLS,
                          .req_return_address = return_address,
                          .req_address = addr,
                          .req_max = (uint32_t)(max < REPLY_MAX ? max : REPLY_MAX)};
    if (max == 0)
        return 0;
    /* Outside of all modules libdw knows nothing. */
    if (module_index(t, return_address ? addr - 1 : addr) < t->t_module_count)
        ask(t, &req, symbols, sizeof(*symbols), &count);
    if (count > 0)
        return count;
    describe_plainly(t, addr, symbols);
    return 1;
}

size_t
target_unwind_frames(struct target *t, const struct thread *thr, struct stack_frame *frames,
                     size_t max)
{
    size_t count = 0;
    struct request req = {.req_question = ASK_FRAMES,
                          .req_address = (uint64_t)(thr - t->t_threads),
                          .req_max = (uint32_t)(max < REPLY_MAX ? max : REPLY_MAX)};
    if (max == 0 || !thr->thr_stopped)
        return 0;
    ask(t, &req, frames, sizeof(*frames), &count);
    if (count > 0)
        return count;
    frames[0] = (struct stack_frame){thr->thr_pc, thr->thr_sp};
    return 1;
}

size_t
target_unwind(struct target *t, const struct thread *thr, addr_t *frames, size_t max)
{
    struct stack_frame full[REPLY_MAX] = {{0}};
    size_t count = target_unwind_frames(t, thr, full, max < REPLY_MAX ? max : REPLY_MAX);
    for (size_t i = 0; i < count; i++)
        frames[i] = full[i].frame_pc;
    return count;
}
