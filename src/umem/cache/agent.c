/* SPDX-License-Identifier: MIT */
/*
 * agent.c - the thread of UMEM_OPTIONS=agent: connections, and the lines that
 * come by them.
 *
 * A thread of the library's own, as in reaper.c: all signals blocked, nothing
 * of the program's run on it, nothing allocated, gone when no other thread is
 * left.  It waits for no client: what has come is read, each whole line is
 * carried out and answered, and who does not read the answer is dropped.  Where
 * all places are taken, whoever has been silent for longest makes room.
 *
 * A fork's child has no such thread, and closes what it has inherited, so that
 * the name goes with the parent.
 *
 * Owns the sockets; they are the thread's, and the child's handler's.
 */
#include "cache/agent.h"

#include <errno.h>
#include <string.h>

#include "base/print.h"
#include "cache/cache.h"
#include "debug/debug.h"
#include "os/os.h"
#include "os/snapshot.h"
#include "os/socket.h"

#define CLIENTS_MAX 8 /* somebody's shell, and scripts that forgot to hang up */
/* Between two looks at whether other threads are left: see reaper.c. */
#define LOOK_INTERVAL_MS 1000u
/* After a failure to accept, as without descriptors, which would else follow at once again. */
#define PAUSE_MS 100u
#define NAME_SIZE 32

_Static_assert(CLIENTS_MAX + 2 <= OS_SOCKET_WAIT_MAX, "and the listener, and a snapshot's end");

struct client {
    struct os_descriptor client_socket;
    struct os_descriptor client_passed; /* came with what it said, for a snapshot */
    uint64_t client_heard_ms;           /* when something came last */
    size_t client_length;               /* of what has come of a line */
    char client_line[UMEM_AGENT_LINE_MAX];
};

static struct os_descriptor listener = OS_DESCRIPTOR_NONE;
static struct client clients[CLIENTS_MAX];

static bool
is_connected(const struct client *client)
{
    return client->client_socket.desc_fd >= 0;
}

static bool
start_listening(void)
{
    char name[NAME_SIZE];

    umem_snprintf(name, sizeof(name), "umem-agent.%u", os_process_id());
    if (os_socket_listen(&listener, name) == 0)
        return true;
    umem_message(true, "agent: cannot listen on @%s: %s", name,
                 errno == EADDRINUSE ? "the name is in use" : "the system refuses");
    return false;
}

static void
hang_up(struct client *client)
{
    os_socket_close(&client->client_socket);
    os_socket_close(&client->client_passed);
}

/* A free place, or that of who has been silent for longest. */
static struct client *
make_place(void)
{
    struct client *place = &clients[0];

    for (struct client *client = clients; client < clients + CLIENTS_MAX; client++) {
        if (!is_connected(client))
            return client;
        if (client->client_heard_ms < place->client_heard_ms)
            place = client;
    }
    hang_up(place);
    return place;
}

/* False: there is no listener any more. */
static bool
welcome(void)
{
    struct os_descriptor sock;

    if (os_socket_accept(&listener, &sock) != 0) {
        if (errno == EBADF) { /* the program has closed it */
            listener = (struct os_descriptor)OS_DESCRIPTOR_NONE;
            return start_listening();
        }
        if (errno != EAGAIN && errno != EPERM)
            os_sleep_ms(PAUSE_MS);
        return true;
    }
    struct client *client = make_place();
    client->client_heard_ms = os_clock_coarse_ms();
    client->client_length = 0;
    client->client_socket = sock;
    return true;
}

static void
answer(struct client *client, const char *line, size_t length)
{
    char reply[UMEM_AGENT_REPLY_MAX];
    const struct umem_agent_client who = {&client->client_socket, &client->client_passed};
    size_t size = umem_agent_command(&who, line, length, reply);

    /* Where the process's copy replies, it has the connection, and what was passed. */
    if (size == 0 || !os_socket_write(&client->client_socket, reply, size))
        hang_up(client);
}

/* Carries out the whole lines that have come, and keeps the rest. */
static void
answer_lines(struct client *client)
{
    char *line = client->client_line, *end = line + client->client_length, *newline;

    while (is_connected(client) && (newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        answer(client, line, (size_t)(newline - line));
        line = newline + 1;
    }
    client->client_length = (size_t)(end - line);
    memmove(client->client_line, line, client->client_length);
}

static void
listen_to(struct client *client)
{
    static const char too_long[] = "error: the line is too long\n";
    size_t room = sizeof(client->client_line) - client->client_length;
    ptrdiff_t n =
        os_socket_read(&client->client_socket, client->client_line + client->client_length, room,
                       &client->client_passed);

    if (n == 0)
        hang_up(client);
    if (n <= 0)
        return;
    client->client_heard_ms = os_clock_coarse_ms();
    client->client_length += (size_t)n;
    answer_lines(client);
    if (is_connected(client) && client->client_length == sizeof(client->client_line)) {
        (void)os_socket_write(&client->client_socket, too_long, sizeof(too_long) - 1);
        hang_up(client);
    }
}

/* Waits for a while, and serves whoever has something to say.  False: no more. */
static bool
serve(void)
{
    const struct os_descriptor *sock[CLIENTS_MAX + 2] = {&listener};
    struct client *who[CLIENTS_MAX + 2] = {NULL};
    bool ready[CLIENTS_MAX + 2];
    unsigned n = 1;

    for (struct client *client = clients; client < clients + CLIENTS_MAX; client++)
        if (is_connected(client)) {
            who[n] = client;
            sock[n++] = &client->client_socket;
        }
    unsigned clients_end = n;
    if (os_descriptor_is_ours(os_snapshot_ended()))
        sock[n++] = os_snapshot_ended();
    os_socket_wait(sock, ready, n, LOOK_INTERVAL_MS);
    os_snapshot_reap();
    for (unsigned i = 1; i < clients_end; i++)
        if (ready[i])
            listen_to(who[i]);
    return !ready[0] || welcome();
}

static void *
serve_for_ever(void *arg)
{
    uint64_t looked_ms = os_clock_coarse_ms();

    os_thread_name("umem_agent");
    if (!start_listening())
        return arg;
    while (serve()) {
        umem_verify_if_asked(NULL);
        uint64_t now = os_clock_coarse_ms();
        if (now - looked_ms < LOOK_INTERVAL_MS)
            continue;
        if (os_thread_is_last())
            break;
        looked_ms = now;
    }
    return arg;
}

static UMEM_COLD void
start(void)
{
    static _Atomic bool started;

    if (atomic_exchange(&started, true))
        return;
    if (os_secure()) {
        umem_message(true, "agent: the process runs with other rights than its caller, ignored");
        return;
    }
    for (struct client *client = clients; client < clients + CLIENTS_MAX; client++)
        client->client_socket = client->client_passed = (struct os_descriptor)OS_DESCRIPTOR_NONE;
    if (os_thread_start(serve_for_ever) != 0)
        umem_message(true, "agent: there can be no thread, no commands are taken");
}

UMEM_USUAL void
umem_agent_start(void)
{
    if (UMEM_UNLIKELY(umem_options.opt_agent))
        start();
}

void
umem_agent_fork_child(void)
{
    if (listener.desc_fd < 0)
        return;
    os_socket_close(&listener);
    for (struct client *client = clients; client < clients + CLIENTS_MAX; client++)
        hang_up(client);
    os_snapshot_forget();
}
