/* SPDX-License-Identifier: MIT */
/*
 * dump.c - target_dump: a core file of a live process.
 *
 * The process runs on as soon as the kernel has made a copy of it (fork.c).
 * Where that cannot be, it is noted which pages there are, and they are copied
 * where there is memory for that, while it stands still.
 * The file holds
 *
 *   ELF header | section header | program headers | notes | memory, run after run
 *
 * so that of a file that was cut off later what is left can be read.  What cannot
 * be read, guard regions for one, is left out, to the page, and costs its
 * neighbours nothing.  Mostly that is known beforehand, and so are the program
 * headers; where there are more in the end than there is room for, they go behind
 * the memory.  Pages that are zero are holes of the file.
 */
#include "target/target_impl.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Memory is written in pieces of this size, and looked through for zeroes in these. */
#define PIECE ((size_t)1 << 20)
#define ZERO_PIECE ((size_t)4096)
/* Program headers that come unforeseen: each page that cannot be read makes one more. */
#define SPARE_HEADERS 64
#define NO_SECTIONS_ABOVE 0xffff /* PN_XNUM: the number of headers is in the section header */

struct run {
    addr_t run_start;
    addr_t run_end;
    enum page run_kind;
    unsigned run_flags; /* of its mapping, MAPPING_* */
    bool run_early;     /* without it nothing of the heap can be told */
};

struct dump {
    struct target *d_target;
    const struct dump_options *d_options;
    struct dump_result *d_result;
    struct run *d_runs; /* early ones, then the others; both by address */
    size_t d_run_count;
    const struct mapping *d_mapping; /* that is being noted */
    struct notes_buffer d_notes;
    Elf64_Phdr *d_phdrs;
    size_t d_phdr_count;
    int d_fd;
    uint64_t d_offset; /* where the next byte of the file goes */
    unsigned char *d_piece;
    bool d_copy;   /* memory is taken over while the process stands still */
    bool d_open;   /* the last program header can be added to */
    bool d_plan;   /* only the program headers are made, as though all could be read */
    size_t d_room; /* for so many program headers, before the notes */
    uint64_t d_notes_at;
};

static uint64_t
now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* --- What is to be written: while the process, or its copy, stands still --- */

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Modules with their .bss, the stack, what the library knows of its heap. */
static bool
is_early(const struct dump *d, const struct mapping *map)
{
    const struct mapping *before = map > d->d_target->t_mappings ? map - 1 : NULL;
    const char *name = map->map_name;

    if ((map->map_flags & MAPPING_ANONYMOUS) == 0 || strcmp(name, "[stack]") == 0)
        return true;
    if (name[0] == '\0')
        return before != NULL && before->map_end == map->map_start && before->map_name[0] == '/';
    return starts_with(name, "[anon:umem_") && strcmp(name, "[anon:umem_heap]") != 0;
}

static void
note_run(void *arg, addr_t start, addr_t end, enum page kind)
{
    struct dump *d = arg;

    if (kind == PAGE_HOLE || start >= end)
        return;
    d->d_runs = target_grow(d->d_runs, d->d_run_count, sizeof(*d->d_runs));
    d->d_runs[d->d_run_count++] =
        (struct run){start, end, kind, d->d_mapping->map_flags, is_early(d, d->d_mapping)};
    /* Of a file mapping few pages differ from the file; the rest was copied whole. */
    if (kind == PAGE_READ && d->d_copy && (d->d_mapping->map_flags & MAPPING_WRITE) == 0)
        target_copy(d->d_target, start, end);
}

/* Memory that is shared and has no file that outlives the process. */
static bool
is_shared_memory(const char *name)
{
    return starts_with(name, "/dev/zero") || starts_with(name, "/SYSV") ||
           starts_with(name, "/memfd:") || starts_with(name, "/dev/shm/");
}

static bool
is_lost(const char *name)
{
    static const char deleted[] = " (deleted)";
    size_t n = strlen(name);
    return n >= sizeof(deleted) - 1 && strcmp(name + n - (sizeof(deleted) - 1), deleted) == 0;
}

static void
note_mapping(struct dump *d, const struct mapping *map)
{
    const unsigned flags = map->map_flags;
    bool file = (flags & MAPPING_ANONYMOUS) == 0;
    bool shared = (flags & MAPPING_PRIVATE) == 0;
    addr_t start = map->map_start;

    d->d_mapping = map;
    if ((flags & MAPPING_READ) == 0 || (flags & MAPPING_PRESENT) == 0 ||
        (shared && file && !is_shared_memory(map->map_name))) {
        note_run(d, start, map->map_end, PAGE_FILE); /* known, not dumped */
        return;
    }
    if ((flags & MAPPING_WRITE) != 0 && d->d_copy)
        target_copy(d->d_target, start, map->map_end);
    /* What a copy by fork does not have is held already, and told by no page map: see fork.c. */
    bool held = !d->d_copy && target_peek(d->d_target, start, 1) != NULL;
    if (!held && (!file || shared)) {
        pages_walk(d->d_target, start, map->map_end, pages_rule(map), note_run, d);
    } else if (held || (flags & MAPPING_WRITE) != 0 ||
               (d->d_options->dmp_all && is_lost(map->map_name))) {
        note_run(d, start, map->map_end, PAGE_READ);
    } else {
        if (d->d_options->dmp_all && map->map_offset == 0) { /* build id and all */
            addr_t second = start + (addr_t)sysconf(_SC_PAGESIZE);
            note_run(d, start, second, PAGE_READ);
            start = second;
        }
        pages_walk(d->d_target, start, map->map_end, PAGES_MODIFIED, note_run, d);
    }
}

static int
compare_runs(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    if (x->run_early != y->run_early)
        return x->run_early ? -1 : 1;
    return (x->run_start > y->run_start) - (x->run_start < y->run_start);
}

/* --- Writing --- */

static bool
write_at(struct dump *d, const void *data, size_t size, uint64_t offset)
{
    const char *bytes = data;

    while (size > 0) {
        ssize_t n = pwrite(d->d_fd, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        bytes += n;
        size -= (size_t)n;
        offset += (size_t)n;
    }
    return true;
}

static bool
append(struct dump *d, const void *data, size_t size)
{
    if (!write_at(d, data, size, d->d_offset))
        return false;
    d->d_offset += size;
    return true;
}

/* The same, with holes for what is zero. */
static bool
append_sparse(struct dump *d, const unsigned char *data, size_t size)
{
    static const unsigned char zeroes[ZERO_PIECE];

    for (size_t i = 0, n; i < size; i += n) {
        n = size - i < ZERO_PIECE ? size - i : ZERO_PIECE;
        if (memcmp(data + i, zeroes, n) == 0)
            d->d_offset += n;
        else if (!append(d, data + i, n))
            return false;
    }
    return true;
}

static void
begin_segment(struct dump *d, addr_t addr, unsigned flags)
{
    d->d_phdrs = target_grow(d->d_phdrs, d->d_phdr_count, sizeof(*d->d_phdrs));
    d->d_phdrs[d->d_phdr_count++] = (Elf64_Phdr){.p_type = PT_LOAD,
                                                 .p_flags = (flags & MAPPING_READ ? PF_R : 0U) |
                                                            (flags & MAPPING_WRITE ? PF_W : 0U) |
                                                            (flags & MAPPING_EXEC ? PF_X : 0U),
                                                 .p_offset = d->d_offset,
                                                 .p_vaddr = addr,
                                                 .p_align = 1};
    d->d_open = true;
}

/* size bytes more of the segment that is open; data: they are in the file. */
static void
extend_segment(struct dump *d, uint64_t size, bool data)
{
    Elf64_Phdr *phdr = &d->d_phdrs[d->d_phdr_count - 1];

    phdr->p_memsz += size;
    if (data) {
        phdr->p_filesz += size;
        d->d_result->dmp_memory += size;
    }
}

/* Whether a run goes on where the open segment ends, so that it can be part of it. */
static bool
continues(const struct dump *d, const struct run *run)
{
    const Elf64_Phdr *phdr = &d->d_phdrs[d->d_phdr_count - 1];
    const struct run *before = run - 1;

    if (!d->d_open || phdr->p_vaddr + phdr->p_memsz != run->run_start || run == d->d_runs ||
        before->run_flags != run->run_flags)
        return false;
    /* What is in the file comes first in a segment. */
    return run->run_kind == PAGE_FILE || phdr->p_filesz == phdr->p_memsz;
}

static bool
write_memory(struct dump *d, const struct run *run)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    addr_t at = run->run_start;

    while (at < run->run_end) {
        size_t want = run->run_end - at < PIECE ? (size_t)(run->run_end - at) : PIECE;
        size_t got = want;
        if (!d->d_plan)
            got = target_read(d->d_target, at, d->d_piece, want) & ~(page - 1);
        if (got > 0 && !d->d_open)
            begin_segment(d, at, run->run_flags);
        if (got > 0)
            extend_segment(d, got, true);
        if (d->d_plan)
            d->d_offset += got;
        else if (!append_sparse(d, d->d_piece, got))
            return false;
        at += got;
        if (got < want) { /* a page that cannot be read: left out */
            d->d_open = false;
            at += page;
        }
    }
    return true;
}

static bool
write_runs(struct dump *d)
{
    for (size_t i = 0; i < d->d_run_count; i++) {
        const struct run *run = &d->d_runs[i];
        if (!continues(d, run))
            d->d_open = false;
        if (run->run_kind == PAGE_READ) {
            if (!write_memory(d, run))
                return false;
            continue;
        }
        if (!d->d_open)
            begin_segment(d, run->run_start, run->run_flags);
        extend_segment(d, run->run_end - run->run_start, run->run_kind == PAGE_ZERO);
        if (run->run_kind == PAGE_ZERO)
            d->d_offset += run->run_end - run->run_start;
    }
    return true;
}

static uint64_t
aligned(uint64_t offset, uint64_t to)
{
    return (offset + to - 1) & ~(to - 1);
}

static int
compare_phdrs(const void *a, const void *b)
{
    const Elf64_Phdr *x = a, *y = b;
    return (x->p_vaddr > y->p_vaddr) - (x->p_vaddr < y->p_vaddr);
}

/* The headers; behind what is there already, where they are too many. */
static bool
write_headers(struct dump *d)
{
    size_t count = d->d_phdr_count + 1, size = d->d_phdr_count * sizeof(*d->d_phdrs);
    bool many = count >= NO_SECTIONS_ABOVE;
    const Elf64_Phdr note = {
        .p_type = PT_NOTE, .p_offset = d->d_notes_at, .p_filesz = d->d_notes.nb_size, .p_align = 4};
    const Elf64_Shdr shdr = {.sh_info = (Elf64_Word)count};
    Elf64_Ehdr ehdr = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = (Elf64_Half)d->d_target->t_machine->mach_elf,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(ehdr) + sizeof(shdr),
        .e_shoff = many ? sizeof(ehdr) : 0,
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)(many ? NO_SECTIONS_ABOVE : count),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = many ? 1 : 0};

    if (count > 1) /* they are asked for by address */
        qsort(d->d_phdrs, count - 1, sizeof(*d->d_phdrs), compare_phdrs);
    if (count > d->d_room) {
        ehdr.e_phoff = aligned(d->d_offset, 8);
        d->d_offset = ehdr.e_phoff + sizeof(note) + size;
    }
    d->d_result->dmp_segments = count;
    return write_at(d, &note, sizeof(note), ehdr.e_phoff) &&
           write_at(d, d->d_phdrs, size, ehdr.e_phoff + sizeof(note)) &&
           write_at(d, &shdr, sizeof(shdr), sizeof(ehdr)) && write_at(d, &ehdr, sizeof(ehdr), 0);
}

/* Headers as they will be if all can be read, and the notes. */
static bool
write_plan(struct dump *d)
{
    d->d_plan = true;
    d->d_offset = 0;
    write_runs(d);
    d->d_plan = d->d_open = false;
    d->d_room = d->d_phdr_count + 1 + SPARE_HEADERS;
    d->d_notes_at = sizeof(Elf64_Ehdr) + sizeof(Elf64_Shdr) + d->d_room * sizeof(Elf64_Phdr);
    uint64_t memory = aligned(d->d_notes_at + d->d_notes.nb_size, ZERO_PIECE);
    for (size_t i = 0; i < d->d_phdr_count; i++)
        d->d_phdrs[i].p_offset += memory;
    bool ok =
        write_headers(d) && write_at(d, d->d_notes.nb_data, d->d_notes.nb_size, d->d_notes_at);
    d->d_phdr_count = 0;
    d->d_result->dmp_memory = 0;
    d->d_offset = memory;
    return ok;
}

/* The rest: the headers as they are by now. */
static bool
write_end(struct dump *d)
{
    if (!write_headers(d))
        return false;
    d->d_result->dmp_file_size = d->d_offset;
    return ftruncate(d->d_fd, (off_t)d->d_offset) == 0;
}

static bool
write_file(struct dump *d)
{
    struct whole_file file;

    if (!whole_open(&file, d->d_options->dmp_path))
        return false;
    d->d_fd = file.whl_fd;
    bool ok = write_plan(d) && write_runs(d);
    target_resume(d->d_target); /* or its copy; itself, where there was no room for one */
    d->d_result->dmp_stopped_ns = d->d_result->dmp_stopped_ns != 0
                                      ? d->d_result->dmp_stopped_ns
                                      : now_ns() - d->d_target->t_stop_time;
    return whole_finish(&file, ok && write_end(d));
}

bool
target_dump(struct target *t, const struct dump_options *options, struct dump_result *result)
{
    struct dump d = {.d_target = t, .d_options = options, .d_result = result, .d_fd = -1};

    *result = (struct dump_result){0};
    if (target_word(t) != sizeof(Elf64_Addr))
        return target_complain(t, "is a 32-bit program, of which this umem writes no cores: take "
                                  "gcore; the other verbs look at the process itself");
    dump_notes(t, &d.d_notes);
    bool forked = target_fork(t);
    d.d_copy = options->dmp_copy && !forked;
    if (forked)
        result->dmp_stopped_ns = now_ns() - t->t_stop_time;
    for (size_t i = 0; i < t->t_mapping_count; i++)
        note_mapping(&d, &t->t_mappings[i]);
    if (d.d_run_count > 0)
        qsort(d.d_runs, d.d_run_count, sizeof(*d.d_runs), compare_runs);
    if (d.d_copy) {
        target_resume(t);
        result->dmp_stopped_ns = now_ns() - t->t_stop_time;
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit is to be an error like others */
    d.d_piece = malloc(PIECE);
    errno = ENOMEM;
    bool ok = d.d_piece != NULL && !d.d_notes.nb_failed && write_file(&d);
    int error = errno;
    free(d.d_piece);
    free(d.d_notes.nb_data);
    free(d.d_phdrs);
    free(d.d_runs);
    return ok || whole_complain(options->dmp_path, error);
}
