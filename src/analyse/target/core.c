/* SPDX-License-Identifier: MIT */
/*
 * core.c - a core file as a target: maps the file, reads its program headers
 * and notes by libelf, and makes mappings and segments of them.
 *
 * Nothing in the file is trusted: every range is clipped to what the file
 * holds, and what was clipped becomes a reason for incompleteness.  Segments
 * point into the mapped file; memory that the dumper left out because it is
 * unchanged in a file (text, constants) is added by modules.c.
 */
#include "target/target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIVE_TARGET "give a core file (of the kernel, gcore or coredumpctl) or a process id"
#define GIVE_PROCESS "give the number of a process"
#define MACHINES "x86-64, i386 and aarch64"
/* Bytes above a stack pointer that are looked at, and the fewest that say something. */
#define STACK_SAMPLE 4096
#define STACK_SAMPLE_MIN 256

static const char *
what_to_give(const struct target *t)
{
    return t->t_file_serves ? GIVE_TARGET : GIVE_PROCESS;
}

/* --- Getting at the bytes --- */

static bool
map_file(struct target *t, int fd, size_t size)
{
    void *image = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (image == MAP_FAILED)
        return target_complain(t, "cannot be mapped: %s", strerror(errno));
    t->t_image = image;
    t->t_image_size = size;
    return true;
}

/* Gives the image to libelf. */
static bool
begin_image(struct target *t)
{
    if (t->t_image_size < SELFMAG || memcmp(t->t_image, ELFMAG, SELFMAG) != 0)
        return target_complain(t, "not a core file; %s", what_to_give(t));
    t->t_elf = elf_memory((char *)(uintptr_t)t->t_image, t->t_image_size);
    return true;
}

/* Maps the file, or what it is when unpacked, which fd is then. */
static bool
load_image(struct target *t, int fd, size_t size)
{
    struct stat st;
    if (!map_file(t, fd, size))
        return false;
    const char *tool = compressed_tool(t->t_image, size);
    if (tool != NULL) {
        munmap((void *)(uintptr_t)t->t_image, size);
        t->t_image = NULL;
        int unpacked = compressed_unpack(t, fd, tool);
        bool ok =
            unpacked >= 0 && fstat(unpacked, &st) == 0 && map_file(t, unpacked, (size_t)st.st_size);
        ok = ok && dup3(unpacked, fd, O_CLOEXEC) >= 0;
        if (unpacked >= 0)
            close(unpacked);
        if (!ok)
            return false;
    }
    return begin_image(t);
}

/* The descriptor of the core, unpacked, or -1. */
static int
open_image(struct target *t)
{
    struct stat st;
    bool ok = false;
    /* O_NONBLOCK: a fifo must not hang us. */
    int fd = open(t->t_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        target_complain(t, "no such file; %s", what_to_give(t));
    else if (fd < 0 && errno == EACCES)
        target_complain(t, "may not be read; run as its owner or as root");
    else if (fd < 0 || fstat(fd, &st) != 0)
        target_complain(t, "%s", strerror(errno));
    else if (S_ISDIR(st.st_mode))
        target_complain(t, "is a directory; %s", what_to_give(t));
    else if (!S_ISREG(st.st_mode))
        target_complain(t, "is not a regular file; %s", what_to_give(t));
    else if (st.st_size == 0)
        target_complain(t, "is empty; see 'ulimit -c' and the free space of its disk");
    else
        ok = load_image(t, fd, (size_t)st.st_size);
    if (ok || fd < 0)
        return fd;
    close(fd);
    return -1;
}

/* --- Headers --- */

static bool
check_header(struct target *t, size_t *phdrs)
{
    GElf_Ehdr ehdr;
    const unsigned char *ident = t->t_image;
    if (t->t_image_size <= EI_DATA)
        return target_complain(t, "cut off within its first bytes; nothing can be read from it");
    if (ident[EI_DATA] != ELFDATA2LSB)
        return target_complain(t, "is not little-endian; this umem reads " MACHINES);
    if (t->t_elf == NULL || gelf_getehdr(t->t_elf, &ehdr) == NULL)
        return target_complain(t, "its ELF header is cut off or damaged; nothing can be read "
                                  "from it");
    if (ehdr.e_type != ET_CORE)
        return target_complain(t, "is a program or library, not a core file; %s", what_to_give(t));
    t->t_machine = machine_find(ehdr.e_machine);
    if (t->t_machine == NULL || (ident[EI_CLASS] == ELFCLASS32) != (target_word(t) == 4))
        return target_complain(t, "belongs to machine type %u, %s bits; this umem reads " MACHINES,
                               (unsigned)ehdr.e_machine,
                               ident[EI_CLASS] == ELFCLASS32 ? "32" : "64");
    if (elf_getphdrnum(t->t_elf, phdrs) != 0 || *phdrs == 0)
        return target_complain(t, "its program headers are cut off or damaged; nothing can be "
                                  "read from it");
    return true;
}

/* Bytes of [offset, offset + size) that the file holds. */
static uint64_t
bytes_held(const struct target *t, uint64_t offset, uint64_t size)
{
    if (offset >= t->t_image_size)
        return 0;
    return size < t->t_image_size - offset ? size : t->t_image_size - offset;
}

/* What the headers promise and the file does not hold. */
struct losses {
    uint64_t loss_bytes; /* of memory */
    size_t loss_headers; /* program headers that are damaged or cut off */
    bool loss_notes;
};

static void
read_all_notes(struct target *t, size_t phdrs, struct losses *losses)
{
    GElf_Phdr phdr;
    for (size_t i = 0; i < phdrs; i++) {
        if (gelf_getphdr(t->t_elf, (int)i, &phdr) == NULL || phdr.p_type != PT_NOTE)
            continue;
        uint64_t held = bytes_held(t, phdr.p_offset, phdr.p_filesz);
        if (held < phdr.p_filesz)
            losses->loss_notes = true;
        if (held > 0)
            notes_read(t, phdr.p_offset, held, phdr.p_align);
    }
}

static const struct mapping *
file_at(const struct mapping *files, size_t count, addr_t addr)
{
    for (size_t low = 0, high = count; low < high;) {
        size_t mid = low + (high - low) / 2;
        if (files[mid].map_end <= addr)
            low = mid + 1;
        else if (files[mid].map_start > addr)
            high = mid;
        else
            return &files[mid];
    }
    return NULL;
}

/*
 * A core does not say what was shared.  These names are the kernel's for
 * shared memory; a file that is mapped writable and whose pages were left out
 * of the dump was shared, too, or was not written to, which reads the same.
 */
static bool
is_shared_memory(const char *name)
{
    static const char *const prefixes[] = {"/dev/zero", "/SYSV", "/memfd:", "/dev/shm/"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void
add_load(struct target *t, const GElf_Phdr *phdr, const struct mapping *files, size_t file_count,
         struct losses *losses)
{
    addr_t start = phdr->p_vaddr;
    uint64_t memory = phdr->p_memsz > phdr->p_filesz ? phdr->p_memsz : phdr->p_filesz;
    if (memory == 0)
        return;
    if (start + memory < start) {
        losses->loss_headers++;
        return;
    }
    unsigned flags = (phdr->p_flags & PF_R ? MAPPING_READ : 0) |
                     (phdr->p_flags & PF_W ? MAPPING_WRITE : 0) |
                     (phdr->p_flags & PF_X ? MAPPING_EXEC : 0);
    const struct mapping *file = file_at(files, file_count, start);
    const char *name = file != NULL ? file->map_name : "";
    bool shared = is_shared_memory(name) ||
                  (file != NULL && (flags & MAPPING_WRITE) != 0 && phdr->p_filesz == 0);
    flags |= shared ? 0 : MAPPING_PRIVATE;
    flags |= file == NULL ? MAPPING_ANONYMOUS : 0;
    target_add_mapping(t, start, start + memory, flags, name,
                       file != NULL ? file->map_offset + (start - file->map_start) : 0);
    uint64_t held = bytes_held(t, phdr->p_offset, phdr->p_filesz);
    losses->loss_bytes += phdr->p_filesz - held;
    if (held > 0)
        target_add_segment(t, start, start + held, t->t_image + phdr->p_offset);
}

/* Turns the notes' table of files and the PT_LOAD headers into the mappings. */
static void
read_loads(struct target *t, size_t phdrs, struct losses *losses)
{
    target_sort_mappings(t);
    struct mapping *files = t->t_mappings;
    size_t file_count = t->t_mapping_count;
    t->t_mappings = NULL;
    t->t_mapping_count = 0;
    for (size_t i = 0; i < phdrs; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(t->t_elf, (int)i, &phdr) == NULL)
            losses->loss_headers++;
        else if (phdr.p_type == PT_LOAD)
            add_load(t, &phdr, files, file_count, losses);
    }
    target_sort_mappings(t);
    target_sort_segments(t);
    /* Mapped files that the dumper gave no header: read-only ones, of gcore. */
    size_t known = t->t_mapping_count;
    for (size_t i = 0; i < file_count; i++) {
        if (file_at(t->t_mappings, known, files[i].map_start) == NULL)
            target_add_mapping(t, files[i].map_start, files[i].map_end,
                               MAPPING_READ | MAPPING_PRIVATE, files[i].map_name,
                               files[i].map_offset);
        free((void *)(uintptr_t)files[i].map_name);
    }
    free(files);
    target_sort_mappings(t);
}

static void
name_mapping(struct target *t, addr_t addr, const char *name)
{
    struct mapping *map = (struct mapping *)(uintptr_t)target_mapping_of(t, addr);
    if (addr == 0 || map == NULL || map->map_name[0] != '\0')
        return;
    free((void *)(uintptr_t)map->map_name);
    map->map_name = target_strdup(name);
}

/* Cores know no "[stack]": the initial one holds the program's name, put there by exec. */
static void
name_special_mappings(struct target *t)
{
    addr_t stack = t->t_execfn;
    for (size_t i = 0; stack == 0 && i < t->t_thread_count; i++)
        if (t->t_threads[i].thr_tid == t->t_pid)
            stack = t->t_threads[i].thr_sp;
    name_mapping(t, stack, "[stack]");
    name_mapping(t, t->t_vdso, "[vdso]");
}

static void
report_losses(struct target *t, const struct losses *losses)
{
    if (losses->loss_bytes > 0)
        target_add_reason(t, "the core is truncated: %.1f MB of memory are missing",
                          (double)losses->loss_bytes / 1e6);
    if (losses->loss_headers > 0)
        target_add_reason(t, "%zu program headers of the core are damaged", losses->loss_headers);
    if (losses->loss_notes)
        target_add_reason(t, "the core's notes are cut off: threads may be missing");
    if (t->t_thread_count == 0)
        target_add_reason(t, "no thread is in the core");
}

/*
 * gdb's gcore writes zeros for up to 1 MiB around a guard region.  A stack that
 * is all zeros above its pointer was lost that way, and roots of leaks with it.
 */
static void
check_stacks(struct target *t)
{
    static const char zeros[STACK_SAMPLE];
    char sample[STACK_SAMPLE];
    for (size_t i = 0; i < t->t_thread_count; i++) {
        const struct thread *thr = &t->t_threads[i];
        size_t n = target_read(t, thr->thr_sp, sample, sizeof(sample));
        if (n == 0)
            target_add_reason(t, "the stack of thread %d is not in the core", (int)thr->thr_tid);
        else if (n >= STACK_SAMPLE_MIN && memcmp(sample, zeros, n) == 0)
            target_add_reason(t,
                              "the stack of thread %d is zeros in the core (gcore loses memory "
                              "beside guard regions; give the pid or a core of the kernel)",
                              (int)thr->thr_tid);
    }
}

/*
 * A core that kept the process's own table of mappings tells their names, what
 * was shared, and what could not be read.
 */
static void
take_maps(struct target *t)
{
    if (t->t_maps == NULL)
        return;
    for (size_t i = 0; i < t->t_mapping_count; i++)
        free((void *)(uintptr_t)t->t_mappings[i].map_name);
    t->t_mapping_count = 0;
    for (char *line = t->t_maps, *next; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        maps_add_line(t, line);
    }
    target_sort_mappings(t);
    for (size_t i = 0; i < t->t_mapping_count; i++)
        t->t_mappings[i].map_flags &= ~(unsigned)MAPPING_PRESENT; /* mark_present() tells */
}

static void
mark_present(struct target *t)
{
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        struct mapping *map = &t->t_mappings[i];
        size_t s = target_segment_index(t, map->map_start);
        if (s < t->t_segment_count && t->t_segments[s].seg_start < map->map_end)
            map->map_flags |= MAPPING_PRESENT;
    }
}

/* What the image holds, which is the file of fd; -1: of none. */
static bool
read_image(struct target *t, int fd)
{
    struct losses losses = {0};
    size_t phdrs = 0;
    if (!check_header(t, &phdrs))
        return false;
    read_all_notes(t, phdrs, &losses);
    read_loads(t, phdrs, &losses);
    if (fd >= 0)
        zeroes_of_file(t, fd);
    take_maps(t);
    if (t->t_mapping_count == 0)
        return target_complain(t, "has no memory in it; nothing can be read from it");
    report_losses(t, &losses);
    check_stacks(t);
    name_special_mappings(t);
    modules_find(t);
    target_sort_segments(t);
    mark_present(t);
    return true;
}

bool
core_open(struct target *t)
{
    if (t->t_image_borrowed)
        return begin_image(t) && read_image(t, -1);
    int fd = open_image(t);
    bool ok = fd >= 0 && read_image(t, fd);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool
core_open_file(struct target *t, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return target_complain(t, "%s", strerror(errno));
    return load_image(t, fd, (size_t)st.st_size) && read_image(t, fd);
}
