/* SPDX-License-Identifier: MIT */
/*
 * status.c - fields of /proc/PID/status, which may be read of any process.
 *
 * Owns no state.
 */
#include "target/target_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_BYTES 4096

void
status_words(const char *path, const char *name, char *words, size_t size)
{
    char text[STATUS_BYTES];
    char key[32];
    words[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    snprintf(key, sizeof(key), "\n%s:\t", name);
    const char *at = strstr(text, key);
    if (at != NULL)
        snprintf(words, size, "%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key));
}

long
status_field(pid_t pid, const char *name)
{
    char path[64];
    char words[128];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    status_words(path, name, words, sizeof(words));
    const char *text = words + strspn(words, " \t");
    if (text[0] == '\0')
        return -1;
    return text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : text[0];
}

pid_t
status_own_pid(pid_t pid)
{
    char path[64];
    char words[128];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    status_words(path, "NSpid", words, sizeof(words));
    const char *last = strrchr(words, '\t');
    const char *text = last != NULL ? last + 1 : words;
    return text[0] != '\0' ? (pid_t)strtol(text, NULL, 10) : pid;
}
