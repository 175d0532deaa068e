/* SPDX-License-Identifier: MIT */
/*
 * agent.h - UMEM_OPTIONS=agent: a thread of the library's own that takes
 * commands by a local socket.  umem_agent(7) is the protocol.
 */
#ifndef UMEM_AGENT_H
#define UMEM_AGENT_H

#include "base/base.h"
#include "os/socket.h"

/* --- agent.c --- */

/* Starts the thread, if that is wanted, once. */
void umem_agent_start(void);
/* The child has no such thread: what is open of it is closed. */
void umem_agent_fork_child(void);

/* --- agent_command.c --- */

#define UMEM_AGENT_LINE_MAX 2048  /* of a command: that with 64 threads takes half */
#define UMEM_AGENT_REPLY_MAX 1024 /* of a reply: that to help takes the most, 120 */

/* Who has sent a command. */
struct umem_agent_client {
    const struct os_descriptor *agent_connection;
    const struct os_descriptor *agent_passed; /* a descriptor that came along, or none */
};

/*
 * Carries out one command, without its end of line, and writes the reply, whole
 * lines, the last one "ok" or "error: ...".  Returns its length; 0: somebody
 * else replies, and to be the only one needs the connection for himself.
 */
size_t umem_agent_command(const struct umem_agent_client *client, const char *line, size_t length,
                          char reply[UMEM_AGENT_REPLY_MAX]);

#endif
