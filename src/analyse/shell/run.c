/* SPDX-License-Identifier: MIT */
/*
 * run.c - runs command lines: the stages of a pipeline one after the other,
 * each once for every address that the one before it said.
 *
 * What a dcmd prints goes to standard output; for "! command" that is a pipe
 * to a shell as long as the pipeline runs.
 */
#include "shell/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/memory.h"
#include "shell/parse.h"

extern char **environ;

volatile sig_atomic_t shell_interrupted;

bool
addresses_add(struct addresses *a, addr_t addr)
{
    if (shell_interrupted || !memory_grow(&a->list, &a->room, a->count, sizeof(*a->list)))
        return false;
    a->list[a->count++] = addr;
    return true;
}

void
addresses_fini(struct addresses *a)
{
    free(a->list);
    *a = (struct addresses){0};
}

bool
shell_say_address(struct shell *sh, addr_t addr)
{
    return addresses_add(&sh->sh_said, addr) ||
           shell_error(sh, shell_interrupted ? "interrupted" : "no memory");
}

bool
shell_walk(struct shell *sh, const struct walk *walk, struct addresses *out)
{
    const struct walker *walker = walk->walk_walker;

    if (walker->walker_start == WALK_FROM_ADDRESS && !walk->walk_has_addr)
        return shell_error(sh, "::walk %s needs an address to start from: %s", walker->walker_name,
                           walker->walker_descr);
    if (walker->walker_start == WALK_ANYWHERE && walk->walk_has_addr)
        return shell_error(sh, "::walk %s takes no address", walker->walker_name);
    if (walker->walker_heap && !shell_needs_heap(sh, walker->walker_name))
        return false;
    bool ok = walker->walker_fn(sh, walk, out);
    if (ok && shell_interrupted)
        return shell_error(sh, "interrupted");
    return ok;
}

/* --- Dcmds --- */

static bool
call_once(struct shell *sh, struct call *call)
{
    if (shell_interrupted)
        return shell_error(sh, "interrupted");
    if (call_has_address(call))
        sh->sh_dot = call->call_addr;
    return call->call_dcmd->dcmd_fn(sh, call);
}

bool
shell_call_each(struct shell *sh, struct call *call, const struct addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        call->call_flags &= ~(unsigned)CALL_FIRST;
        call->call_flags |= CALL_ADDRESS | CALL_LOOP | (i == 0 ? CALL_FIRST : 0);
        call->call_addr = addresses->list[i];
        if (!call_once(sh, call))
            return false;
    }
    return true;
}

/* "::name", or the verb as it is: "$c". */
static const char *
colons(const struct dcmd *dcmd)
{
    return dcmd->dcmd_name[0] >= 'a' && dcmd->dcmd_name[0] <= 'z' ? "::" : "";
}

static bool
check_call(struct shell *sh, const struct call *call)
{
    const struct dcmd *dcmd = call->call_dcmd;
    const char *name = dcmd->dcmd_name;

    if ((dcmd->dcmd_flags & DCMD_HEAP) && !shell_needs_heap(sh, name))
        return false;
    if ((dcmd->dcmd_flags & DCMD_NONE) && call_has_address(call))
        return shell_error(sh, "%s%s takes no address", colons(dcmd), name);
    if ((dcmd->dcmd_flags & DCMD_ADDRESS) && !call_has_address(call))
        return shell_error(sh, "%s%s needs an address before it; see ::help %s", colons(dcmd), name,
                           name);
    if (call_feeds(call) && !(dcmd->dcmd_flags & DCMD_FEEDS))
        return shell_error(sh, "%s%s says no addresses, so nothing can follow it in a pipeline",
                           colons(dcmd), name);
    return true;
}

/* The first stage: once, or as often as ",count" says. */
static bool
run_first(struct shell *sh, struct call *call, const struct pipeline *pl)
{
    call->call_addr = pl->pl_has_addr ? pl->pl_addr : sh->sh_dot;
    call->call_count = pl->pl_count;
    call->call_counted = pl->pl_has_count;
    call->call_flags |= pl->pl_has_addr ? CALL_ADDRESS : 0;
    if (!check_call(sh, call))
        return false;
    if (!pl->pl_has_count || (call->call_dcmd->dcmd_flags & DCMD_COUNTS))
        return call_once(sh, call);
    for (uint64_t i = 0; i < pl->pl_count; i++) {
        call->call_flags &= ~(unsigned)CALL_FIRST;
        call->call_flags |= CALL_LOOP | (i == 0 ? CALL_FIRST : 0);
        if (!call_once(sh, call))
            return false;
    }
    return true;
}

static bool
run_stage(struct shell *sh, const struct pipeline *pl, size_t index, const struct addresses *in)
{
    const struct stage *stage = &pl->pl_stages[index];
    struct call call = {.call_dcmd = dcmd_find(stage->stg_verb),
                        .call_count = 1,
                        .call_flags = index + 1 < pl->pl_stage_count ? CALL_FEEDS : 0,
                        .call_argc = stage->stg_word_count,
                        .call_argv = stage->stg_words};

    if (call.call_dcmd == NULL)
        return shell_error(sh, "%s: no such command; ::dcmds lists them", stage->stg_verb);
    if (index == 0)
        return run_first(sh, &call, pl);
    call.call_flags |= CALL_ADDRESS;
    if (!check_call(sh, &call))
        return false;
    return shell_call_each(sh, &call, in);
}

static bool
run_stages(struct shell *sh, const struct pipeline *pl)
{
    struct addresses in = {0};
    bool ok = true;

    if (pl->pl_has_addr)
        sh->sh_dot = pl->pl_addr;
    if (pl->pl_stage_count == 0 && pl->pl_has_addr) {
        char name[SHELL_NAME_MAX];
        printf("0x%llx = %s\n", (unsigned long long)pl->pl_addr,
               shell_name(sh, pl->pl_addr, false, name));
    }
    for (size_t i = 0; ok && i < pl->pl_stage_count; i++) {
        sh->sh_said = (struct addresses){0};
        ok = run_stage(sh, pl, i, &in);
        addresses_fini(&in);
        in = sh->sh_said;
        sh->sh_said = (struct addresses){0};
    }
    addresses_fini(&in);
    return ok;
}

/* --- The shell --- */

struct outlet { /* standard output as a pipe to a shell command */
    pid_t out_pid;
    int out_saved; /* what it was before */
    void (*out_sigpipe)(int);
};

static bool
start_shell(const char *command, int input, pid_t *pid)
{
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *argv[] = {shell, option, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    int rc = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn(pid, shell, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0;
}

static bool
outlet_open(struct shell *sh, struct outlet *out, const char *command)
{
    int fds[2];

    fflush(stdout);
    if (pipe2(fds, O_CLOEXEC) != 0)
        return shell_error(sh, "no pipe: %s", strerror(errno));
    out->out_saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    bool ok = out->out_saved >= 0 && start_shell(command, fds[0], &out->out_pid);
    close(fds[0]);
    if (ok) {
        dup2(fds[1], STDOUT_FILENO);
        out->out_sigpipe = signal(SIGPIPE, SIG_IGN);
    } else if (out->out_saved >= 0) {
        close(out->out_saved);
    }
    close(fds[1]);
    return ok || shell_error(sh, "/bin/sh cannot be started");
}

static void
outlet_close(struct outlet *out)
{
    fflush(stdout);
    clearerr(stdout); /* it may read the beginning only */
    dup2(out->out_saved, STDOUT_FILENO);
    close(out->out_saved);
    signal(SIGPIPE, out->out_sigpipe);
    while (waitpid(out->out_pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static bool
run_pipeline(struct shell *sh, const struct pipeline *pl)
{
    struct outlet out;

    if (pl->pl_shell == NULL)
        return run_stages(sh, pl);
    if (pl->pl_stage_count == 0 && !pl->pl_has_addr) {
        fflush(stdout);
        int status = system(pl->pl_shell); /* NOLINT(cert-env33-c): what was asked for */
        if (status == -1)
            return shell_error(sh, "/bin/sh cannot be started");
        if (WIFSIGNALED(status))
            putchar('\n'); /* behind the terminal's ^C */
        return true;
    }
    if (!outlet_open(sh, &out, pl->pl_shell))
        return false;
    bool ok = run_stages(sh, pl);
    outlet_close(&out);
    return ok;
}

/* --- Lines --- */

static bool
env_symbol(void *arg, const char *name, uint64_t *value)
{
    return shell_symbol(arg, name, value);
}

static bool
env_variable(void *arg, const char *name, uint64_t *value)
{
    return shell_get(arg, name, value);
}

static bool
env_word(void *arg, uint64_t addr, uint64_t *value)
{
    return shell_read_word(arg, addr, value);
}

static struct expr_env
environment(struct shell *sh)
{
    return (struct expr_env){.env_arg = sh,
                             .env_dot = sh->sh_dot,
                             .env_symbol = env_symbol,
                             .env_variable = env_variable,
                             .env_word = env_word};
}

bool
shell_value(struct shell *sh, const char *text, uint64_t *value)
{
    const struct expr_env env = environment(sh);
    char why[SHELL_WHY_MAX];
    const char *at = text;

    if (!expr_eval(&env, &at, value, why, sizeof(why)))
        return shell_error(sh, "%s: %s", text, why);
    if (*at != '\0')
        return shell_error(sh, "%s: not an expression from \"%s\" on", text, at);
    return true;
}

bool
shell_run(struct shell *sh, const char *line)
{
    const char *at = line;
    bool ok = true;

    while (ok && *at != '\0' && !sh->sh_quit) {
        const struct expr_env env = environment(sh);
        struct pipeline pl;
        char why[SHELL_WHY_MAX];
        if (pipeline_parse(&env, &at, &pl, why, sizeof(why)))
            ok = run_pipeline(sh, &pl);
        else
            ok = shell_error(sh, "%s", why);
        pipeline_free(&pl);
    }
    return ok;
}
