/* SPDX-License-Identifier: MIT */
/*
 * snapshot_core.c - in the copy of a process that snapshot.c has made: writes
 * the core file.
 *
 *   ELF header | what a copy lacks | program headers, notes | memory
 *
 * Of memory, that of modules and the stack come first: without them nothing of the
 * heap can be told where a file was cut off later.
 *
 * Nothing but the page map says which pages exist: those that do not are holes of
 * the file, and none of their own here.  The kernel reads the memory for
 * write(2): what cannot be read is an error of that call, and not a signal.
 *
 * No lock, no malloc, no stdio; memory from the system, for nobody frees it.
 */
#include "os/snapshot.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/lines.h"
#include "os/os.h"

/* Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst). */
#define PAGEMAP_PRESENT (1ULL << 63)
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_FILE (1ULL << 61) /* or shared: not the process's own copy */
#define PAGEMAP_GUARD (1ULL << 58)
#define PAGEMAP_BATCH 512
/* The list of mappings may grow by this while the threads are stopped. */
#define MAPS_SPARE 65536
/* Memory is written in pieces of this size. */
#define PIECE ((size_t)1 << 20)
#define NO_SECTIONS_ABOVE 0xffff /* PN_XNUM: the number of headers is in the section header */

/* A line of /proc/self/maps. */
struct map {
    uintptr_t map_start;
    uintptr_t map_end;
    const char *map_perms;
    uintptr_t map_offset; /* in the file */
    const char *map_path;
};

/* In p_paddr of a program header that is being made: its memory comes first. */
#define EARLY 1

/* Memory that goes to the file. */
struct run {
    uintptr_t run_start;
    uintptr_t run_end;
    size_t run_phdr; /* index of its program header */
};

struct writer {
    const struct os_core *w_core;
    bool (*w_goes_on)(void);
    int w_pagemap;         /* -1: it cannot be read */
    struct os_heap w_maps; /* text */
    struct os_heap w_notes;
    struct os_heap w_phdrs; /* p_paddr: EARLY or not, and p_offset unknown, until all are there */
    struct os_heap w_runs;
    uint64_t w_end;       /* of the file */
    uintptr_t w_file_end; /* where the last mapping of a file ends */
    int w_error;
};

/* --- Mappings --- */

void *
os_heap_add(struct os_heap *heap, const void *data, size_t size)
{
    if (heap->heap_room - heap->heap_size < size) {
        size_t room = umem_align_up(2 * heap->heap_room + size, os_page_size());
        void *grown =
            heap->heap_room == 0
                ? mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                : mremap(heap->heap_data, heap->heap_room, room, MREMAP_MAYMOVE);
        if (grown == MAP_FAILED)
            return NULL;
        heap->heap_data = grown;
        heap->heap_room = room;
    }
    void *added = heap->heap_data + heap->heap_size;
    if (data != NULL)
        memcpy(added, data, size);
    heap->heap_size += size;
    return added;
}

/* Takes the line at *text apart and moves behind it; false at the end. */
static bool
next_map(const char **text, const char *end, struct map *map)
{
    const char *p = *text;

    if (p >= end)
        return false;
    map->map_start = os_parse_hex(&p);
    map->map_end = os_parse_hex(&p);
    map->map_perms = p;
    p += strcspn(p, " ") + 1;
    map->map_offset = os_parse_hex(&p);
    for (unsigned i = 0; i < 2; i++) { /* device, inode */
        p += strcspn(p, " \n");
        p += strspn(p, " ");
    }
    map->map_path = p;
    *text = p + strcspn(p, "\n") + 1;
    return true;
}

/* The copy's own mapping, whose line is taken out. */
static void
drop_line_of(struct os_heap *maps, const void *addr)
{
    const char *end = maps->heap_data + maps->heap_size, *line = maps->heap_data, *next = line;
    struct map map;

    while (next_map(&next, end, &map)) {
        if (map.map_start <= (uintptr_t)addr && (uintptr_t)addr < map.map_end) {
            memmove((char *)(uintptr_t)line, next, (size_t)(end - next));
            maps->heap_size -= (size_t)(next - line);
            return;
        }
        line = next;
    }
}

/* Reads /proc/self/maps, and adds what the copy does not have.  An errno. */
static int
read_maps(struct writer *w)
{
    const struct os_core *core = w->w_core;
    size_t room =
        umem_align_up(core->core_maps_size + MAPS_SPARE + OS_UNFORKED_TEXT, os_page_size());
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno;
    /* Shared: no neighbour of the program's, which the kernel would join it with. */
    void *text = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED)
        return ENOMEM;
    w->w_maps = (struct os_heap){text, 0, room};
    for (long n = 1; n != 0;) {
        n = syscall(SYS_read, fd, w->w_maps.heap_data + w->w_maps.heap_size,
                    room - OS_UNFORKED_TEXT - w->w_maps.heap_size);
        if (n < 0 && errno != EINTR)
            return errno;
        w->w_maps.heap_size += n > 0 ? (size_t)n : 0;
    }
    (void)syscall(SYS_close, fd);
    if (w->w_maps.heap_size == room - OS_UNFORKED_TEXT)
        return EAGAIN;
    drop_line_of(&w->w_maps, w->w_maps.heap_data);
    /* There is room: shared memory does not grow. */
    (void)os_heap_add(&w->w_maps, core->core_unforked_text, core->core_unforked_text_size);
    return 0;
}

static bool
begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Memory that is shared and has no file that outlives the process. */
static bool
is_shared_memory(const char *path)
{
    return begins(path, "/dev/zero") || begins(path, "/SYSV") || begins(path, "/memfd:") ||
           begins(path, "/dev/shm/");
}

/* --- What is to be written --- */

/* Modules with their .bss, the stack, what the library knows of its heap. */
static bool
is_early(const struct writer *w, const struct map *map)
{
    static const char own[] = "[anon:umem_";
    const char *path = map->map_path;

    if (*path == '/' || begins(path, "[stack]"))
        return true;
    if (*path == '\n')
        return map->map_start == w->w_file_end;
    return begins(path, own) && !begins(path + sizeof(own) - 1, "heap]");
}

static void
add_phdr(struct writer *w, const struct map *map, uintptr_t start, uintptr_t end)
{
    Elf64_Phdr phdr = {.p_type = PT_LOAD,
                       .p_flags = (map->map_perms[0] == 'r' ? PF_R : 0U) |
                                  (map->map_perms[1] == 'w' ? PF_W : 0U) |
                                  (map->map_perms[2] == 'x' ? PF_X : 0U),
                       .p_vaddr = start,
                       .p_paddr = is_early(w, map) ? EARLY : 0,
                       .p_filesz = end - start,
                       .p_memsz = end - start,
                       .p_align = 1};

    if (os_heap_add(&w->w_phdrs, &phdr, sizeof(phdr)) == NULL)
        w->w_error = ENOMEM;
}

/* The header that ends where start is, of the same mapping, grows instead. */
static bool
extend_phdr(struct writer *w, const struct map *map, uintptr_t start, uintptr_t end)
{
    if (w->w_phdrs.heap_size == 0)
        return false;
    Elf64_Phdr *last =
        (Elf64_Phdr *)(void *)(w->w_phdrs.heap_data + w->w_phdrs.heap_size - sizeof(*last));
    if (last->p_vaddr + last->p_memsz != start || last->p_vaddr < map->map_start)
        return false;
    last->p_filesz += end - start;
    last->p_memsz += end - start;
    return true;
}

/* [start, end) is in the file; to_write: it is not all zeroes. */
static void
add_run(struct writer *w, const struct map *map, uintptr_t start, uintptr_t end, bool to_write)
{
    if (!extend_phdr(w, map, start, end))
        add_phdr(w, map, start, end);
    const struct run run = {start, end, w->w_phdrs.heap_size / sizeof(Elf64_Phdr) - 1};
    if (to_write && os_heap_add(&w->w_runs, &run, sizeof(run)) == NULL)
        w->w_error = ENOMEM;
}

enum page { PAGE_WRITE, PAGE_ZERO, PAGE_OMIT };

/* anonymous: what does not exist is zero, and not the file's. */
static enum page
page_kind(uint64_t entry, bool anonymous)
{
    bool exists = (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0;

    if ((entry & PAGEMAP_GUARD) != 0)
        return PAGE_OMIT;
    if (anonymous)
        return exists ? PAGE_WRITE : PAGE_ZERO;
    return exists && (entry & PAGEMAP_FILE) == 0 ? PAGE_WRITE : PAGE_OMIT;
}

/* The pages of a private mapping that are its own. */
static void
add_own_pages(struct writer *w, const struct map *map, uintptr_t start, bool anonymous)
{
    uint64_t entries[PAGEMAP_BATCH];
    const size_t page = os_page_size();

    while (start < map->map_end && w->w_error == 0) {
        size_t count = umem_min((map->map_end - start) / page, PAGEMAP_BATCH);
        long got = syscall(SYS_pread64, w->w_pagemap, entries, count * sizeof(entries[0]),
                           start / page * sizeof(entries[0]));
        count = got > 0 ? (size_t)got / sizeof(entries[0]) : 0;
        if (count == 0) { /* nobody says */
            add_run(w, map, start, map->map_end, true);
            return;
        }
        for (size_t i = 0, n; i < count; i += n) {
            enum page kind = page_kind(entries[i], anonymous);
            for (n = 1; i + n < count && page_kind(entries[i + n], anonymous) == kind;)
                n++;
            if (kind != PAGE_OMIT)
                add_run(w, map, start + i * page, start + (i + n) * page, kind == PAGE_WRITE);
        }
        start += count * page;
    }
}

static void
add_mapping(struct writer *w, const struct map *map)
{
    bool file = map->map_path[0] == '/', shared = map->map_perms[3] == 's';
    uintptr_t start = map->map_start;

    /* Pages of the kernel's, or of a device's or a file's that others have, too. */
    if (map->map_perms[0] != 'r' || begins(map->map_path, "[vvar") ||
        begins(map->map_path, "[vsyscall]") || (shared && file && !is_shared_memory(map->map_path)))
        return;
    if (shared || (file && map->map_perms[1] == 'w')) {
        add_run(w, map, start, map->map_end, true);
        return;
    }
    if (file && map->map_offset == 0) { /* the build id is there */
        start += os_page_size();
        add_run(w, map, map->map_start, start, true);
    }
    add_own_pages(w, map, start, !file);
}

static void
plan(struct writer *w)
{
    const char *at = w->w_maps.heap_data,
               *end = at + w->w_maps.heap_size - w->w_core->core_unforked_text_size;
    struct map map;

    while (w->w_error == 0 && next_map(&at, end, &map)) {
        add_mapping(w, &map);
        if (map.map_path[0] == '/')
            w->w_file_end = map.map_end;
    }
}

/* --- Writing --- */

static int
write_at(const struct writer *w, const void *data, size_t size, uint64_t offset)
{
    const char *bytes = data;

    while (size > 0) {
        long n = syscall(SYS_pwrite64, w->w_core->core_fd, bytes, size, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? ENOSPC : errno;
        bytes += n;
        size -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

/* A page that cannot be read (past the end of its file, say) reads as zeroes. */
static int
write_run(const struct writer *w, const struct run *run)
{
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)(const void *)w->w_phdrs.heap_data + run->run_phdr;
    const size_t page = os_page_size();
    uintptr_t at = run->run_start;

    while (at < run->run_end) {
        uint64_t offset = phdr->p_offset + (at - phdr->p_vaddr);
        size_t size = umem_min(run->run_end - at, PIECE);
        int error = write_at(w, (const void *)at, size, offset);
        for (size_t i = 0; error == EFAULT && i < size; i += page) {
            error = write_at(w, (const void *)(at + i), page, offset + i);
            error = error == EFAULT && i + page < size ? EFAULT : error == EFAULT ? 0 : error;
        }
        if (error != 0)
            return error;
        if (!w->w_goes_on())
            return ECANCELED;
        at += size;
    }
    return 0;
}

static int
write_memory(const struct writer *w)
{
    const struct run *runs = (const struct run *)(const void *)w->w_runs.heap_data;
    size_t count = w->w_runs.heap_size / sizeof(*runs);
    int error = 0;

    for (size_t i = 0; error == 0 && i < count; i++)
        error = write_run(w, &runs[i]);
    return error;
}

/* Headers of what was written before, at offsets that hold already. */
static void
add_unforked(struct writer *w)
{
    const struct os_core *core = w->w_core;

    for (size_t i = 0; i < core->core_unforked_count; i++) {
        const struct os_unforked *part = &core->core_unforked[i];
        const Elf64_Phdr phdr = {.p_type = PT_LOAD,
                                 .p_flags = PF_R | PF_W,
                                 .p_offset = part->unf_offset,
                                 .p_vaddr = part->unf_start,
                                 .p_filesz = part->unf_held,
                                 .p_memsz = part->unf_end - part->unf_start,
                                 .p_align = 1};
        if (os_heap_add(&w->w_phdrs, &phdr, sizeof(phdr)) == NULL)
            w->w_error = ENOMEM;
    }
}

/* Says where in the file memory goes, which begins at an offset. */
static void
place(struct writer *w, size_t loads, uint64_t offset)
{
    Elf64_Phdr *phdrs = (Elf64_Phdr *)(void *)w->w_phdrs.heap_data;

    for (unsigned early = EARLY + 1; early-- > 0;)
        for (size_t i = 0; i < loads; i++)
            if (phdrs[i].p_paddr == early) {
                phdrs[i].p_offset = offset;
                offset += phdrs[i].p_filesz;
            }
    for (size_t i = 0; i < loads; i++)
        phdrs[i].p_paddr = 0;
    w->w_end = offset;
}

/* Writes the headers and notes.  An errno. */
static int
write_headers(struct writer *w)
{
    size_t loads = w->w_phdrs.heap_size / sizeof(Elf64_Phdr), count;
    const uint64_t at = w->w_core->core_offset;

    add_unforked(w);
    count = w->w_phdrs.heap_size / sizeof(Elf64_Phdr) + 1;
    bool many = count >= NO_SECTIONS_ABOVE;
    uint64_t notes = at + count * sizeof(Elf64_Phdr) + sizeof(Elf64_Shdr);
    const Elf64_Shdr shdr = {.sh_info = (Elf64_Word)count};
    const Elf64_Phdr note = {
        .p_type = PT_NOTE, .p_offset = notes, .p_filesz = w->w_notes.heap_size, .p_align = 4};
    const Elf64_Ehdr ehdr = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
#if defined(__aarch64__)
        .e_machine = EM_AARCH64,
#else
        .e_machine = EM_X86_64,
#endif
        .e_version = EV_CURRENT,
        .e_phoff = at,
        .e_shoff = many ? notes - sizeof(shdr) : 0,
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)(many ? NO_SECTIONS_ABOVE : count),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = many ? 1 : 0
    };

    place(w, loads, umem_align_up((size_t)notes + w->w_notes.heap_size, os_page_size()));
    if (w->w_error != 0)
        return w->w_error;
    int error = write_at(w, &ehdr, sizeof(ehdr), 0);
    if (error == 0)
        error = write_at(w, &note, sizeof(note), at);
    if (error == 0)
        error = write_at(w, w->w_phdrs.heap_data, w->w_phdrs.heap_size, at + sizeof(note));
    if (error == 0)
        error = write_at(w, &shdr, sizeof(shdr), notes - sizeof(shdr));
    return error != 0 ? error : write_at(w, w->w_notes.heap_data, w->w_notes.heap_size, notes);
}

int
os_core_write(const struct os_core *core, bool (*goes_on)(void))
{
    struct writer w = {.w_core = core, .w_goes_on = goes_on};
    int error = read_maps(&w);

    if (error != 0)
        return error;
    w.w_pagemap = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    plan(&w);
    error = w.w_error != 0 ? w.w_error : os_core_notes(core, &w.w_maps, &w.w_notes);
    if (error == 0)
        error = write_headers(&w);
    if (error == 0)
        error = syscall(SYS_ftruncate, core->core_fd, w.w_end) == 0 ? 0 : errno;
    return error != 0 ? error : write_memory(&w);
}
