/* SPDX-License-Identifier: MIT */
/*
 * whole.c - a file that is there when it is whole, or not at all.
 *
 * It has no name until then (O_TMPFILE), or one that says that it is not whole
 * (FILE.part) where the file system cannot do that.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
open_file(struct whole_file *file)
{
    char folder[PATH_MAX];
    const char *path = file->whl_path;
    const char *slash = strrchr(path, '/');
    const mode_t owner_only = S_IRUSR | S_IWUSR; /* there may be secrets in it */

    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    file->whl_named = false;
    file->whl_fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, owner_only);
    if (file->whl_fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        file->whl_named = true;
        unlink(file->whl_part);
        file->whl_fd = open(file->whl_part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, owner_only);
    }
    return file->whl_fd >= 0;
}

bool
whole_open(struct whole_file *file, const char *path)
{
    struct stat st;

    file->whl_path = path;
    if ((size_t)snprintf(file->whl_part, sizeof(file->whl_part), "%s.part", path) >=
        sizeof(file->whl_part)) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
        return false;
    }
    return open_file(file);
}

/* Gives the finished file its name, in the place of one that was there. */
static bool
name_file(const struct whole_file *file)
{
    char self[64];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", file->whl_fd);
    if (!file->whl_named &&
        linkat(AT_FDCWD, self, AT_FDCWD, file->whl_path, AT_SYMLINK_FOLLOW) == 0)
        return true;
    if (!file->whl_named && errno != EEXIST)
        return false;
    if (!file->whl_named) {
        unlink(file->whl_part);
        if (linkat(AT_FDCWD, self, AT_FDCWD, file->whl_part, AT_SYMLINK_FOLLOW) != 0)
            return false;
    }
    return rename(file->whl_part, file->whl_path) == 0;
}

bool
whole_finish(struct whole_file *file, bool ok)
{
    ok = ok && name_file(file);
    int error = errno;
    if (close(file->whl_fd) != 0 && ok) {
        ok = false;
        error = errno;
    }
    if (!ok && file->whl_named)
        unlink(file->whl_part);
    errno = error;
    return ok;
}

bool
whole_complain(const char *path, int error)
{
    const char *advice = error == ENOSPC || error == EFBIG || error == EDQUOT
                             ? "; give a path on a disk with more room by -o FILE"
                             : "; give another path by -o FILE";

    fprintf(stderr, "umem: %s: cannot be written: %s%s; nothing was left there\n", path,
            error == EEXIST ? "Not a regular file" : strerror(error), advice);
    return false;
}
