/* SPDX-License-Identifier: MIT */
/*
 * watch.c - see watch.h.
 *
 * The program's library is told by UMEM_OPTIONS=exit_stop=PID to connect, at
 * exit, to a socket that the child listens at under its number before it
 * executes the program, and that we hold.  The connection is the request, its
 * end the answer: whichever side dies, the other goes on.  The number stays
 * the same over execve(), and is no child's: the last image that the first
 * process runs is the one that is looked at.
 *
 * Child and parent are one process group, so that a terminal's signals and its
 * job control reach both; those that somebody sends to us alone are passed on.
 * While we look, the four that end programs may end us: the program runs on
 * by itself then.
 *
 * Output of ours goes to standard error, the program has standard output.
 */
#include "commands/watch.h"
#include "commands/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The name is taken where processes with other numbers share our network: another number then. */
#define START_TRIES_MAX 100
/* Shells give a program that a signal ended this exit code and the signal's number. */
#define EXIT_BY_SIGNAL 128

static const int fatal_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static const int other_signals[] = {SIGUSR1, SIGUSR2, SIGCHLD};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct watch {
    const struct watch_options *options;
    const char *program;
    int listener;
    int signals; /* a signalfd for all of the above */
    pid_t child;
    bool ended;
    int status; /* valid once ended */
    bool looked;
    int found; /* an exit code of umem leaks; valid once looked */
    sigset_t old_mask;
    struct sigaction old_child; /* of SIGCHLD */
};

/* What the child tells of a start that failed. */
struct failure {
    bool of_name; /* the socket's; else of execve() */
    int error;
};

static sigset_t
signal_set(const int *list, size_t count)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&set, list[i]);
    return set;
}

int
watch_not_started(const char *program, int error)
{
    command_error("run: %s: %s%s", program, strerror(error),
                  error == EACCES   ? "; give a program's file that may be executed: chmod +x"
                  : error != ENOENT ? ""
                  : strchr(program, '/') == NULL
                      ? " in PATH; a program elsewhere needs its path: ./NAME"
                      : "; nothing was run");
    return error == ENOENT ? RUN_NOT_FOUND : RUN_NOT_STARTED;
}

/* --- The child --- */

static bool
listen_by_number(int listener)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "umem-exit-%d", (int)getpid());
    return bind(listener, (struct sockaddr *)&addr,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0 &&
           listen(listener, SOMAXCONN) == 0;
}

bool
watch_add_option(const char *item)
{
    const char *old = getenv("UMEM_OPTIONS");
    char *value;
    if (asprintf(&value, "%s%s%s", old != NULL ? old : "", old != NULL && old[0] != '\0' ? "," : "",
                 item) < 0)
        return false;
    bool ok = setenv("UMEM_OPTIONS", value, 1) == 0;
    free(value);
    return ok;
}

/* Our item is the last one, so that of a umem run --leaks around us does not count. */
static bool
set_exit_stop(void)
{
    char item[32];
    snprintf(item, sizeof(item), "exit_stop=%d", (int)getpid());
    return watch_add_option(item);
}

_Noreturn static void
child_main(const struct watch *w, int report, char **argv)
{
    struct failure failure = {.of_name = true};
    if (listen_by_number(w->listener) && set_exit_stop()) {
        failure.of_name = false;
        sigaction(SIGCHLD, &w->old_child, NULL);
        sigprocmask(SIG_SETMASK, &w->old_mask, NULL);
        execvp(argv[0], argv);
    }
    failure.error = errno;
    ssize_t n = write(report, &failure, sizeof(failure));
    _exit(n == (ssize_t)sizeof(failure) ? RUN_TROUBLE : RUN_NOT_STARTED);
}

/* --- Starting --- */

/* Forks; true once the program is executed, else failure says why. */
static bool
try_start(struct watch *w, char **argv, struct failure *failure)
{
    int fds[2] = {-1, -1};
    ssize_t n = -1;

    *failure = (struct failure){.of_name = true};
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->listener < 0 || pipe2(fds, O_CLOEXEC) != 0) {
        failure->error = errno;
        return false;
    }
    w->child = fork();
    if (w->child == 0)
        child_main(w, fds[1], argv);
    failure->error = errno;
    close(fds[1]);
    if (w->child > 0) {
        do
            n = read(fds[0], failure, sizeof(*failure)); /* its end: the pipe is gone with exec */
        while (n < 0 && errno == EINTR);
        if (n != 0)
            waitpid(w->child, NULL, 0);
    }
    close(fds[0]);
    return n == 0;
}

/* 0, or the exit code after saying why. */
static int
start(struct watch *w, char **argv)
{
    struct failure failure;
    for (int i = 0; i < START_TRIES_MAX; i++) {
        if (try_start(w, argv, &failure))
            return 0;
        close(w->listener);
        if (!failure.of_name)
            return watch_not_started(argv[0], failure.error);
        if (failure.error != EADDRINUSE)
            break;
    }
    command_error("run: %s cannot be watched: %s", argv[0], strerror(failure.error));
    return RUN_TROUBLE;
}

/* --- Watching --- */

static void
look(struct watch *w)
{
    char pid[16];
    const sigset_t fatal = signal_set(fatal_signals, COUNT(fatal_signals));
    sigset_t mask;

    snprintf(pid, sizeof(pid), "%d", (int)w->child);
    sigprocmask(SIG_UNBLOCK, &fatal, &mask);
    w->found = leaks_search("run", pid, w->options->watch_find, w->options->watch_common);
    w->looked = true;
    fflush(stdout);
    clearerr(stdout); /* a report that nobody reads is no failure of the program's */
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* Anybody may connect: it has to be the program, and once. */
static void
take_call(struct watch *w)
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == w->child &&
        !w->looked)
        look(w);
    close(fd);
}

/*
 * Besides the program: threads that looking could not stop in time and that
 * stop or end now, and, where we are the first process of a container, orphans.
 */
static void
reap(struct watch *w)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (WIFSTOPPED(status)) {
            int number = status >> 16 == 0 ? WSTOPSIG(status) : 0;
            ptrace(PTRACE_DETACH, pid, NULL, (void *)(uintptr_t)number);
        } else if (pid == w->child) {
            w->ended = true;
            w->status = status;
        }
    }
    if (pid < 0 && errno == ECHILD && !w->ended) { /* cannot be; better than to wait for ever */
        w->ended = true;
        w->status = W_EXITCODE(RUN_TROUBLE, 0);
    }
}

/* called: the program waits for us, at its end. */
static void
take_signal(struct watch *w, bool called)
{
    struct signalfd_siginfo info;
    if (read(w->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD)
        reap(w);
    else if (info.ssi_code != SI_KERNEL && !called) /* the terminal's have reached it already */
        kill(w->child, (int)info.ssi_signo);
}

static void
wait_for_end(struct watch *w)
{
    struct pollfd fds[] = {{.fd = w->signals, .events = POLLIN},
                           {.fd = w->listener, .events = POLLIN}};
    while (!w->ended) {
        if (poll(fds, COUNT(fds), -1) < 0)
            continue;
        /* Signals first: one that made the program exit is not to end us while we look. */
        if (fds[0].revents != 0)
            take_signal(w, fds[1].revents != 0);
        else if (fds[1].revents != 0)
            take_call(w);
    }
}

/* --- Ending --- */

/* Ends by a signal as the program did, without a core of ours. */
static int
end_by_signal(int number)
{
    const struct rlimit none = {0, 0};
    const sigset_t set = signal_set(&number, 1);
    fflush(NULL);
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    return EXIT_BY_SIGNAL + number; /* the first process of a container is spared */
}

static int
end_as(const struct watch *w)
{
    if (WIFSIGNALED(w->status))
        return end_by_signal(WTERMSIG(w->status));
    if (!w->looked)
        command_error("run: %s: leaks not looked for: it ended without exit(), or runs without "
                      "the library (statically linked, set-user-id)",
                      w->program);
    else if (w->options->watch_fail && w->found == COMMAND_FOUND)
        return w->options->watch_code;
    else if (w->options->watch_fail && w->found == COMMAND_TROUBLE)
        return RUN_TROUBLE;
    return WEXITSTATUS(w->status);
}

int
watch_program(const struct watch_options *options, char **argv)
{
    struct watch w = {.options = options, .program = argv[0], .child = -1};
    const struct sigaction as_ever = {.sa_handler = SIG_DFL};
    sigset_t set = signal_set(fatal_signals, COUNT(fatal_signals));

    for (size_t i = 0; i < COUNT(other_signals); i++)
        sigaddset(&set, other_signals[i]);
    sigprocmask(SIG_BLOCK, &set, &w.old_mask);
    sigaction(SIGCHLD, &as_ever, &w.old_child); /* ignored, children would vanish unseen */
    w.signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (w.signals < 0) {
        command_error("run: %s cannot be watched: %s", argv[0], strerror(errno));
        return RUN_TROUBLE;
    }
    int code = start(&w, argv);
    if (code != 0)
        return code;
    dup2(STDERR_FILENO, STDOUT_FILENO);
    signal(SIGPIPE, SIG_IGN);
    options->watch_common->opt_color = options_want_color(STDOUT_FILENO);
    wait_for_end(&w);
    return end_as(&w);
}
