/* SPDX-License-Identifier: MIT */
/*
 * dump_notes.c - the notes of a core file that target_dump() writes: threads
 * with their registers, the process, its auxiliary vector and mapped files, in
 * the order that the kernel has, and the two of our own.
 */
#include "target/target_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <time.h>
#include <unistd.h>

#define NOTE_ALIGN 4
/* Files of /proc are read in pieces of this size. */
#define PIECE 65536
#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
#ifndef NT_ARM_TLS
#define NT_ARM_TLS 0x401
#endif

/* Appends bytes, or zeroes where there are none. */
static void
add_bytes(struct notes_buffer *notes, const void *data, size_t size)
{
    if (notes->nb_room - notes->nb_size < size && !notes->nb_failed) {
        size_t room = 2 * notes->nb_room + size + PIECE;
        unsigned char *grown = realloc(notes->nb_data, room);
        if (grown == NULL) {
            notes->nb_failed = true;
            return;
        }
        notes->nb_data = grown;
        notes->nb_room = room;
    }
    if (notes->nb_failed || size == 0)
        return;
    if (data != NULL)
        memcpy(notes->nb_data + notes->nb_size, data, size);
    else
        memset(notes->nb_data + notes->nb_size, 0, size);
    notes->nb_size += size;
}

static void
add_padding(struct notes_buffer *notes, size_t size)
{
    add_bytes(notes, NULL, (NOTE_ALIGN - size % NOTE_ALIGN) % NOTE_ALIGN);
}

static void
add_note(struct notes_buffer *notes, const char *owner, uint32_t type, const void *desc,
         size_t size)
{
    size_t name = strlen(owner) + 1;
    const uint32_t head[] = {(uint32_t)name, (uint32_t)size, type};

    add_bytes(notes, head, sizeof(head));
    add_bytes(notes, owner, name);
    add_padding(notes, name);
    add_bytes(notes, desc, size);
    add_padding(notes, size);
}

/* A file of the process below /proc, whole; to be freed.  NULL: unreadable, or no memory. */
static char *
read_proc(const struct target *t, const char *name, size_t *size)
{
    char path[64];
    char *data = NULL;
    ssize_t got = 1;

    *size = 0;
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)t->t_pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && got > 0) {
        char *grown = realloc(data, *size + PIECE + 1);
        if (grown == NULL)
            break;
        data = grown;
        got = read(fd, data + *size, PIECE);
        *size += got > 0 ? (size_t)got : 0;
        data[*size] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return data;
}

/* A number behind "Name:" in /proc/PID/status; 0 where it is missing. */
static long
status_number(const char *status, const char *name)
{
    const char *at = status != NULL ? strstr(status, name) : NULL;
    return at != NULL ? strtol(at + strlen(name), NULL, 10) : 0;
}

static void
add_prstatus(const struct target *t, const struct thread *thr, const char *status,
             struct notes_buffer *notes)
{
    struct elf_prstatus pr = {.pr_pid = thr->thr_tid,
                              .pr_ppid = (pid_t)status_number(status, "\nPPid:"),
                              .pr_fpvalid = thr->thr_fp_words > 0};
    size_t size = t->t_machine->mach_nregs * sizeof(uint64_t);

    memcpy(&pr.pr_reg, thr->thr_regs, size < sizeof(pr.pr_reg) ? size : sizeof(pr.pr_reg));
    add_note(notes, "CORE", NT_PRSTATUS, &pr, sizeof(pr));
}

/* What belongs to the thread before it: vector registers, the thread pointer. */
static void
add_other_registers(const struct target *t, const struct thread *thr, struct notes_buffer *notes)
{
    size_t general = t->t_machine->mach_nregs, fp = thr->thr_fp_words;

    if (fp > 0 && general + fp <= thr->thr_nregs)
        add_note(notes, "CORE", NT_FPREGSET, thr->thr_regs + general, fp * sizeof(uint64_t));
    if (t->t_machine->mach_thread == MACHINE_NO_REGISTER)
        add_note(notes, "LINUX", NT_ARM_TLS, &thr->thr_fs_base, sizeof(thr->thr_fs_base));
    else if (thr->thr_nregs > general + fp)
        add_note(notes, "LINUX", NT_X86_XSTATE, thr->thr_regs + general + fp,
                 (thr->thr_nregs - general - fp) * sizeof(uint64_t));
}

static void
add_prpsinfo(const struct target *t, const char *status, struct notes_buffer *notes)
{
    struct elf_prpsinfo ps = {.pr_sname = 't',
                              .pr_pid = t->t_pid,
                              .pr_ppid = (pid_t)status_number(status, "\nPPid:"),
                              .pr_uid = (unsigned)status_number(status, "\nUid:"),
                              .pr_gid = (unsigned)status_number(status, "\nGid:")};
    size_t size;
    char *comm = read_proc(t, "comm", &size);
    char *args = read_proc(t, "cmdline", &size);

    if (comm != NULL)
        snprintf(ps.pr_fname, sizeof(ps.pr_fname), "%.*s", (int)strcspn(comm, "\n"), comm);
    for (size_t i = 0; args != NULL && i < size && i < sizeof(ps.pr_psargs) - 1; i++)
        ps.pr_psargs[i] = args[i] == '\0' ? ' ' : args[i];
    free(comm);
    free(args);
    add_note(notes, "CORE", NT_PRPSINFO, &ps, sizeof(ps));
}

static bool
is_file(const struct mapping *map)
{
    return map->map_name[0] == '/';
}

/* NT_FILE: count, page size, start, end and offset in pages of each, then the names. */
static void
add_files(const struct target *t, struct notes_buffer *notes)
{
    struct notes_buffer desc = {0};
    uint64_t head[2] = {0, (uint64_t)sysconf(_SC_PAGESIZE)};

    for (size_t i = 0; i < t->t_mapping_count; i++)
        head[0] += is_file(&t->t_mappings[i]);
    add_bytes(&desc, head, sizeof(head));
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        const struct mapping *map = &t->t_mappings[i];
        const uint64_t entry[] = {map->map_start, map->map_end, map->map_offset / head[1]};
        if (is_file(map))
            add_bytes(&desc, entry, sizeof(entry));
    }
    for (size_t i = 0; i < t->t_mapping_count; i++)
        if (is_file(&t->t_mappings[i]))
            add_bytes(&desc, t->t_mappings[i].map_name, strlen(t->t_mappings[i].map_name) + 1);
    notes->nb_failed = notes->nb_failed || desc.nb_failed;
    add_note(notes, "CORE", NT_FILE, desc.nb_data, desc.nb_size);
    free(desc.nb_data);
}

static void
add_proc_file(const struct target *t, const char *name, const char *owner, uint32_t type,
              struct notes_buffer *notes)
{
    size_t size;
    char *data = read_proc(t, name, &size);

    if (data != NULL)
        add_note(notes, owner, type, data, size);
    free(data);
}

void
dump_notes(const struct target *t, struct notes_buffer *notes)
{
    size_t size;
    char *status = read_proc(t, "status", &size);
    bool first = true;

    *notes = (struct notes_buffer){0};
    for (size_t i = 0; i < t->t_thread_count; i++) {
        const struct thread *thr = &t->t_threads[i];
        if (!thr->thr_stopped)
            continue;
        add_prstatus(t, thr, status, notes);
        if (first) {
            add_prpsinfo(t, status, notes);
            add_proc_file(t, "auxv", "CORE", NT_AUXV, notes);
            add_files(t, notes);
            add_note(notes, DUMP_NOTE_OWNER, DUMP_NOTE_TIME, &t->t_stop_time,
                     sizeof(t->t_stop_time));
            add_proc_file(t, "maps", DUMP_NOTE_OWNER, DUMP_NOTE_MAPS, notes);
            first = false;
        }
        add_other_registers(t, thr, notes);
    }
    free(status);
}
