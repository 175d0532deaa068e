/* SPDX-License-Identifier: MIT */
/*
 * temporary.c - files without a name, for what is looked at once: on disk, since
 * they may be larger than memory.
 *
 * Owns no state.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int
file_in(const char *folder)
{
    char path[PATH_MAX];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) ||
        snprintf(path, sizeof(path), "%s/umem.XXXXXX", folder) >= (int)sizeof(path))
        return fd;
    fd = mkostemp(path, O_CLOEXEC); /* overlayfs, for one, cannot do the former */
    if (fd >= 0)
        unlink(path);
    return fd;
}

int
temporary_file(void)
{
    const char *folders[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < sizeof(folders) / sizeof(folders[0]); i++)
        if (folders[i] != NULL && folders[i][0] != '\0')
            fd = file_in(folders[i]);
    return fd >= 0 ? fd : memfd_create("umem", MFD_CLOEXEC);
}
