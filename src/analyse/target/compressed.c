/* SPDX-License-Identifier: MIT */
/*
 * compressed.c - cores that systemd-coredump or a person has compressed:
 * unpacks them by the format's own tool into an unlinked temporary file.
 *
 * The tool runs as a process, so that the analyser neither links five
 * libraries nor parses what may be damaged; the file lies on disk (TMPDIR, or
 * /var/tmp, where large files belong), since a core may be larger than memory.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct format {
    const char *fmt_magic;
    size_t fmt_magic_size;
    const char *fmt_tool;
};
static const struct format formats[] = {
    {"\x28\xb5\x2f\xfd", 4, "zstd"}, {"\xfd\x37zXZ", 5, "xz"},
    {"\x1f\x8b", 2, "gzip"},         {"BZh", 3, "bzip2"},
    {"\x04\x22\x4d\x18", 4, "lz4"},
};

const char *
compressed_tool(const void *data, size_t size)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (size >= formats[i].fmt_magic_size &&
            memcmp(data, formats[i].fmt_magic, formats[i].fmt_magic_size) == 0)
            return formats[i].fmt_tool;
    return NULL;
}

/* Runs TOOL -dc with the core as its input; 0, or an errno, or -1 where it failed. */
static int
run_tool(const char *tool, int in, int out)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {(char *)(uintptr_t)tool, (char *)(uintptr_t) "-dc", NULL};
    pid_t pid;
    int status;
    lseek(in, 0, SEEK_SET);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawnp(&pid, tool, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return error;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int
compressed_unpack(struct target *t, int fd, const char *tool)
{
    struct stat st = {0};
    int out = temporary_file();
    if (out < 0) {
        target_complain(t, "is compressed, and there is no temporary file to unpack it to: %s",
                        strerror(errno));
        return -1;
    }
    int error = run_tool(tool, fd, out);
    if (error > 0) {
        target_complain(t, "is compressed; install %s, or unpack it first", tool);
    } else if (fstat(out, &st) != 0 || st.st_size == 0) {
        target_complain(t, "cannot be unpacked by %s: it is damaged, or the disk of TMPDIR is full",
                        tool);
        error = 1;
    } else if (error < 0) {
        target_add_reason(t, "%s could not unpack the whole core", tool);
        error = 0;
    }
    if (error == 0)
        return out;
    close(out);
    return -1;
}
