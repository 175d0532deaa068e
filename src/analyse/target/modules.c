/* SPDX-License-Identifier: MIT */
/*
 * modules.c - which mappings are loaded ELF objects, and the files they came
 * from.
 *
 * A module is a mapping of a file's start that begins with an ELF header and
 * whose loadable segments lie where the header says.  libelf reads header,
 * program headers and build id, from target memory where it is there, else
 * from the file.  A file is used only if its build id does not differ from the
 * one in memory.  For cores, what the dumper left out of a module because it
 * is unchanged in the file is added to the segments.
 */
#include "target/target_impl.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ELF header, program headers and build id lie within the first page in practice. */
#define HEADER_BYTES 8192
/* An image put together from memory may be this large; no real object is larger. */
#define IMAGE_MAX ((size_t)1 << 30)
#define DELETED " (deleted)"

/* What a module's headers say. */
struct layout {
    addr_t lay_low; /* file addresses: first segment's page, end of the last */
    addr_t lay_high;
    bool lay_relocated; /* ET_DYN */
    addr_t lay_last;    /* last segment that has bytes in the file, and its offset there */
    uint64_t lay_last_offset;
    size_t lay_build_id_size;
    unsigned char lay_build_id[TARGET_BUILD_ID_MAX];
};

static bool
read_layout(Elf *elf, struct layout *lay)
{
    GElf_Ehdr ehdr;
    GElf_Phdr phdr;
    size_t count;
    const void *id;
    *lay = (struct layout){.lay_low = ~(addr_t)0};
    if (elf == NULL || elf_kind(elf) != ELF_K_ELF || gelf_getehdr(elf, &ehdr) == NULL ||
        (ehdr.e_type != ET_DYN && ehdr.e_type != ET_EXEC) || elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (gelf_getphdr(elf, (int)i, &phdr) == NULL || phdr.p_type != PT_LOAD)
            continue;
        addr_t low = phdr.p_vaddr & ~(addr_t)(TARGET_PAGE - 1);
        addr_t high = phdr.p_vaddr + phdr.p_memsz;
        if (low < lay->lay_low)
            lay->lay_low = low;
        if (high > lay->lay_high)
            lay->lay_high = high;
        if (phdr.p_filesz > 0 && phdr.p_vaddr >= lay->lay_last) {
            lay->lay_last = phdr.p_vaddr;
            lay->lay_last_offset = phdr.p_offset;
        }
    }
    lay->lay_relocated = ehdr.e_type == ET_DYN;
    ssize_t n = dwelf_elf_gnu_build_id(elf, &id);
    if (n > 0 && n <= TARGET_BUILD_ID_MAX) {
        lay->lay_build_id_size = (size_t)n;
        memcpy(lay->lay_build_id, id, (size_t)n);
    }
    return lay->lay_low < lay->lay_high;
}

/* --- Files --- */

static void
close_backing(struct backing *back)
{
    if (back->back_data != NULL)
        munmap((void *)(uintptr_t)back->back_data, back->back_size);
    free(back->back_path);
    *back = (struct backing){0};
}

/* Maps the file and reads its layout; false, with nothing open, where that fails. */
static bool
open_backing(const char *path, struct backing *back, struct layout *lay)
{
    struct stat st;
    *back = (struct backing){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED)
            *back = (struct backing){target_strdup(path), data, (size_t)st.st_size, true};
    }
    close(fd);
    if (back->back_data == NULL)
        return false;
    Elf *elf = elf_memory((char *)(uintptr_t)back->back_data, back->back_size);
    bool ok = read_layout(elf, lay);
    elf_end(elf);
    if (!ok)
        close_backing(back);
    return ok;
}

static bool
same_build(const struct layout *a, const struct layout *b)
{
    if (a->lay_build_id_size == 0 || b->lay_build_id_size == 0)
        return a->lay_low == b->lay_low && a->lay_high == b->lay_high;
    return a->lay_build_id_size == b->lay_build_id_size &&
           memcmp(a->lay_build_id, b->lay_build_id, a->lay_build_id_size) == 0;
}

enum found { FILE_MISSING, FILE_DIFFERS, FILE_FOUND };

/* Tries one path; known is what memory says, or NULL. */
static enum found
try_path(const char *path, const struct layout *known, struct backing *back, struct layout *lay)
{
    if (!open_backing(path, back, lay))
        return FILE_MISSING;
    if (known == NULL || same_build(known, lay))
        return FILE_FOUND;
    close_backing(back);
    return FILE_DIFFERS;
}

static char *
without_deleted(const char *name)
{
    char *path = target_strdup(name);
    size_t n = strlen(path);
    size_t m = strlen(DELETED);
    if (n > m && strcmp(path + n - m, DELETED) == 0)
        path[n - m] = '\0';
    return path;
}

static enum found
find_file(const struct target *t, const struct mapping *map, const char *path,
          const struct layout *known, struct backing *back, struct layout *lay)
{
    char proc[64 + 4096];
    enum found found;
    if (!t->t_live)
        return try_path(path, known, back, lay);
    /* Reaches files that were deleted, replaced, or lie in another mount namespace. */
    snprintf(proc, sizeof(proc), "/proc/%d/map_files/%llx-%llx", (int)t->t_pid,
             (unsigned long long)map->map_start, (unsigned long long)map->map_end);
    found = try_path(proc, known, back, lay);
    if (found == FILE_FOUND && access(path, R_OK) == 0) {
        /* Prefer the plain name where it is the same build: debug links are relative to it. */
        struct backing plain;
        struct layout plain_lay;
        if (try_path(path, lay, &plain, &plain_lay) == FILE_FOUND) {
            close_backing(back);
            *back = plain;
        }
        return found;
    }
    if (found != FILE_FOUND) {
        snprintf(proc, sizeof(proc), "/proc/%d/root%s", (int)t->t_pid, path);
        found = try_path(proc, known, back, lay);
    }
    if (found != FILE_FOUND && strcmp(path, t->t_exe) == 0) {
        /* Whoever may look at the process has its program, replaced or not; map_files is root's. */
        snprintf(proc, sizeof(proc), "/proc/%d/exe", (int)t->t_pid);
        found = try_path(proc, known, back, lay);
    }
    if (found != FILE_FOUND && known != NULL) /* it may have ended meanwhile */
        found = try_path(path, known, back, lay);
    return found;
}

/* --- Segments of a core out of files --- */

/*
 * What files add to a core.  It joins the segments when all modules are known:
 * until then those are sorted, and headers are read from what was dumped alone.
 */
struct fills {
    struct segment *fill_list;
    size_t fill_count;
};

/* Adds [start, end) from the file, less what was dumped. */
static void
fill_gaps(const struct target *t, struct fills *fills, addr_t start, addr_t end,
          const unsigned char *data)
{
    addr_t at = start;
    for (size_t i = target_segment_index(t, start); at < end; i++) {
        addr_t next = i < t->t_segment_count ? t->t_segments[i].seg_start : end;
        if (next > end)
            next = end;
        if (next > at) {
            fills->fill_list =
                target_grow(fills->fill_list, fills->fill_count, sizeof(struct segment));
            fills->fill_list[fills->fill_count++] = (struct segment){at, next, data + (at - start)};
        }
        if (i >= t->t_segment_count)
            break;
        at = t->t_segments[i].seg_end;
    }
}

/*
 * Mappings of the module's file that are not in the core.  Those that were
 * written to are always dumped, so what a writable one lacks was lost, and the
 * file's bytes would be a lie.
 */
static void
fill_module(const struct target *t, struct fills *fills, const struct module *mod, const char *name,
            const struct backing *back)
{
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        const struct mapping *map = &t->t_mappings[i];
        if (map->map_start < mod->mod_start || map->map_start >= mod->mod_end ||
            (map->map_flags & MAPPING_WRITE) != 0 || strcmp(map->map_name, name) != 0 ||
            map->map_offset >= back->back_size)
            continue;
        uint64_t held = back->back_size - map->map_offset;
        addr_t end = map->map_end - map->map_start > held ? map->map_start + held : map->map_end;
        fill_gaps(t, fills, map->map_start, end, back->back_data + map->map_offset);
    }
}

/* Mappings that only the core's table of files knew came without access rights. */
static void
mark_executable(struct target *t, const struct module *mod, const struct backing *back)
{
    GElf_Phdr phdr;
    size_t count;
    Elf *elf = elf_memory((char *)(uintptr_t)back->back_data, back->back_size);
    if (elf != NULL && elf_getphdrnum(elf, &count) == 0)
        for (size_t i = 0; i < count; i++) {
            if (gelf_getphdr(elf, (int)i, &phdr) == NULL || phdr.p_type != PT_LOAD ||
                (phdr.p_flags & PF_X) == 0)
                continue;
            const struct mapping *map = target_mapping_of(t, mod->mod_bias + phdr.p_vaddr);
            if (map != NULL && (map->map_flags & MAPPING_WRITE) == 0)
                t->t_mappings[map - t->t_mappings].map_flags |= MAPPING_EXEC;
        }
    elf_end(elf);
}

/* --- Modules --- */

static void
add_module(struct target *t, const struct mapping *map, const char *path, const struct layout *lay,
           const struct backing *back)
{
    t->t_modules = target_grow(t->t_modules, t->t_module_count, sizeof(struct module));
    t->t_backings = target_grow(t->t_backings, t->t_module_count, sizeof(struct backing));
    struct module *mod = &t->t_modules[t->t_module_count];
    *mod = (struct module){.mod_path = target_strdup(path),
                           .mod_start = map->map_start,
                           .mod_end = map->map_start + (lay->lay_high - lay->lay_low),
                           .mod_build_id_size = lay->lay_build_id_size};
    mod->mod_bias = lay->lay_relocated ? map->map_start - lay->lay_low : 0;
    memcpy(mod->mod_build_id, lay->lay_build_id, sizeof(mod->mod_build_id));
    t->t_backings[t->t_module_count++] = *back;
}

/*
 * Is the last segment where the header says?  An object that the program only
 * reads through a mapping is no module.
 */
static bool
loaded_as_laid_out(const struct target *t, const struct mapping *map, const struct layout *lay)
{
    if (!lay->lay_relocated && map->map_start != lay->lay_low)
        return false;
    addr_t addr = map->map_start - lay->lay_low + lay->lay_last;
    const struct mapping *last = target_mapping_of(t, addr);
    if (map->map_name[0] == '\0') /* a core without names; nothing more is known */
        return last != NULL;
    if (last == NULL || strcmp(last->map_name, map->map_name) != 0)
        return false;
    return (last->map_offset + (addr - last->map_start)) / TARGET_PAGE ==
           lay->lay_last_offset / TARGET_PAGE;
}

static bool
read_memory_layout(struct target *t, const struct mapping *map, struct layout *lay)
{
    char header[HEADER_BYTES];
    size_t want = sizeof(header);
    if (map->map_end - map->map_start < want)
        want = (size_t)(map->map_end - map->map_start);
    size_t n = target_read(t, map->map_start, header, want);
    if (n < sizeof(Elf32_Ehdr) || memcmp(header, ELFMAG, SELFMAG) != 0)
        return false;
    Elf *elf = elf_memory(header, n);
    bool ok = read_layout(elf, lay);
    elf_end(elf);
    return ok;
}

static bool
header_in_memory(struct target *t, addr_t addr)
{
    char magic[SELFMAG];
    return target_read_exact(t, addr, magic, sizeof(magic));
}

static void
warn_replaced(const struct target *t, const char *path)
{
    fprintf(stderr,
            "umem: %s: %s is not the file that was running (its build id differs): its functions "
            "cannot be named\n",
            t->t_name, path);
}

/* Does the mapping belong to the program itself?  Cores only, for --exe. */
static bool
is_executable(const struct target *t, const struct mapping *map)
{
    const struct mapping *entry = t->t_entry != 0 ? target_mapping_of(t, t->t_entry) : NULL;
    if (entry != NULL)
        return strcmp(entry->map_name, map->map_name) == 0;
    const char *slash = strrchr(map->map_name, '/');
    return slash != NULL && strcmp(slash + 1, t->t_exe) == 0; /* from NT_PRPSINFO */
}

static const char *
path_to_look_at(const struct target *t, const struct mapping *map, const char *path)
{
    return t->t_opt_exe != NULL && is_executable(t, map) ? t->t_opt_exe : path;
}

/* A live process' module: all from memory; its file is looked for when it is needed. */
static void
probe_live(struct target *t, const struct mapping *map)
{
    struct layout lay;
    const struct backing none = {0};
    if (!read_memory_layout(t, map, &lay) || !loaded_as_laid_out(t, map, &lay))
        return;
    char *path = without_deleted(map->map_name);
    add_module(t, map, path, &lay, &none);
    free(path);
}

/* A core's module: its file tells what the core left out. */
static void
probe_core(struct target *t, const struct mapping *map, struct fills *fills)
{
    struct layout memory;
    struct layout file;
    struct backing back = {0};
    bool in_memory = read_memory_layout(t, map, &memory);
    if (!in_memory && header_in_memory(t, map->map_start))
        return;
    char *path = without_deleted(map->map_name);
    const char *look = path_to_look_at(t, map, path);
    enum found found = FILE_MISSING;
    if (map->map_name[0] == '/')
        found = find_file(t, map, look, in_memory ? &memory : NULL, &back, &file);
    if (found == FILE_DIFFERS)
        warn_replaced(t, look);
    back.back_tried = true;
    const struct layout *lay = in_memory ? &memory : &file;
    if ((in_memory || found == FILE_FOUND) && loaded_as_laid_out(t, map, lay)) {
        add_module(t, map, path, lay, &back);
        if (back.back_data != NULL) {
            const struct module *mod = &t->t_modules[t->t_module_count - 1];
            fill_module(t, fills, mod, map->map_name, &back);
            mark_executable(t, mod, &back);
        }
    } else {
        close_backing(&back);
    }
    free(path);
}

const struct backing *
module_backing(struct target *t, size_t index)
{
    struct backing *back = &t->t_backings[index];
    const struct module *mod = &t->t_modules[index];
    const struct mapping *map = target_mapping_of(t, mod->mod_start);
    struct layout known;
    struct layout file;
    if (back->back_tried || map == NULL || mod->mod_path[0] != '/')
        return back;
    bool in_memory = read_memory_layout(t, map, &known);
    if (find_file(t, map, mod->mod_path, in_memory ? &known : NULL, back, &file) == FILE_DIFFERS)
        warn_replaced(t, mod->mod_path);
    back->back_tried = true;
    return back;
}

/* The executable's path, where the target is a core: the module of the entry point. */
static void
find_executable(struct target *t)
{
    size_t i = t->t_entry != 0 ? module_index(t, t->t_entry) : t->t_module_count;
    if (i == t->t_module_count)
        return;
    free(t->t_exe);
    t->t_exe = target_strdup(t->t_modules[i].mod_path);
}

void
modules_find(struct target *t)
{
    struct fills fills = {0};
    /* The table of names is lost in a truncated core of gcore, which has it at the end. */
    bool any_named = false;
    for (size_t i = 0; i < t->t_mapping_count; i++)
        any_named |= t->t_mappings[i].map_name[0] == '/';
    for (size_t i = 0; i < t->t_mapping_count; i++) {
        const struct mapping *map = &t->t_mappings[i];
        bool named = map->map_name[0] == '/' || strcmp(map->map_name, "[vdso]") == 0;
        if ((!named && any_named) || map->map_offset != 0)
            continue;
        if (t->t_live)
            probe_live(t, map);
        else
            probe_core(t, map, &fills);
    }
    for (size_t i = 0; i < fills.fill_count; i++)
        target_add_segment(t, fills.fill_list[i].seg_start, fills.fill_list[i].seg_end,
                           fills.fill_list[i].seg_data);
    free(fills.fill_list);
    if (!t->t_live)
        find_executable(t);
}

size_t
module_index(const struct target *t, addr_t addr)
{
    /* Modules are in the order of the mappings that start them. */
    size_t low = 0;
    size_t high = t->t_module_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->t_modules[mid].mod_start <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || t->t_modules[low - 1].mod_end <= addr)
        return t->t_module_count;
    return low - 1;
}

/* --- Images from memory --- */

/*
 * Copies what there is of [addr, addr + size) to zeroed memory, which stays
 * untouched where there is nothing: a damaged header may promise a lot.
 */
static void
copy_present(struct target *t, addr_t addr, unsigned char *out, size_t size)
{
    size_t done = 0;
    while (done < size && addr + done >= addr) {
        done += target_read(t, addr + done, out + done, size - done);
        addr_t next = target_after_hole(t, addr + done);
        if (done == size || next <= addr + done)
            break;
        done = next - addr < size ? (size_t)(next - addr) : size;
    }
}

/* Copies the loadable segments to their places in the file; 0 or the bytes used. */
static size_t
copy_loads(struct target *t, const struct module *mod, Elf *elf, unsigned char *image, size_t max)
{
    size_t count;
    size_t used = 0;
    GElf_Phdr phdr;
    if (elf == NULL || elf_getphdrnum(elf, &count) != 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (gelf_getphdr(elf, (int)i, &phdr) == NULL || phdr.p_type != PT_LOAD)
            continue;
        if (phdr.p_offset > IMAGE_MAX || phdr.p_filesz > IMAGE_MAX - phdr.p_offset)
            return 0;
        size_t end = (size_t)(phdr.p_offset + phdr.p_filesz);
        if (end > used)
            used = end;
        if (image != NULL && end <= max)
            copy_present(t, mod->mod_bias + phdr.p_vaddr, image + phdr.p_offset,
                         (size_t)phdr.p_filesz);
    }
    return used;
}

/* Section headers are rarely loaded; where they are not, says that there are none. */
#define DROP_LOST_SECTIONS(type, image, size)                                                      \
    do {                                                                                           \
        type ehdr;                                                                                 \
        memcpy(&ehdr, (image), sizeof(ehdr));                                                      \
        if (ehdr.e_shoff > (size) ||                                                               \
            (uint64_t)ehdr.e_shnum * ehdr.e_shentsize > (size)-ehdr.e_shoff)                       \
            ehdr.e_shoff = ehdr.e_shnum = ehdr.e_shstrndx = 0;                                     \
        memcpy((image), &ehdr, sizeof(ehdr));                                                      \
    } while (false)

void *
module_image(struct target *t, const struct module *mod, size_t *size)
{
    char header[HEADER_BYTES];
    size_t n = target_read(t, mod->mod_start, header, sizeof(header));
    if (n < sizeof(Elf64_Ehdr))
        return NULL;
    Elf *elf = elf_memory(header, n);
    *size = copy_loads(t, mod, elf, NULL, 0);
    unsigned char *image = *size >= sizeof(Elf64_Ehdr) ? calloc(1, *size) : NULL;
    if (image != NULL)
        copy_loads(t, mod, elf, image, *size);
    elf_end(elf);
    if (image == NULL)
        return NULL;
    if (target_word(t) == 4)
        DROP_LOST_SECTIONS(Elf32_Ehdr, image, *size);
    else
        DROP_LOST_SECTIONS(Elf64_Ehdr, image, *size);
    return image;
}
