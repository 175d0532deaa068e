/* SPDX-License-Identifier: MIT */
/*
 * symbolise.c - see symbolise.h.
 *
 * The module is found by _dl_find_object(), which takes no lock, and where
 * that is missing in /proc/self/maps; the symbol in the module's file, read by
 * pieces: a mapping would be locked, or refused, under mlockall(MCL_FUTURE),
 * and a file that is cut meanwhile would be a SIGBUS.  A file whose ELF header
 * is not the one in memory (upgraded since) is not believed; then, and where
 * there is no file to read (chroot, the vdso), the dynamic symbols in memory
 * have to do.
 *
 * Static scratch memory, since reports also run on small signal stacks: its
 * flag is taken by the first caller, and others (and one that comes from a
 * crash in here) get the address alone.  Raw system calls: open() and pread()
 * of libc are cancellation points.
 */
#include "os/symbolise.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/print.h"
#include "os/dynamic.h"
#include "os/maps.h"

#define SCRATCH_SIZE 16384
#define SYMBOL_INFO_TYPE(info) ((info)&0xf)
#define SYMBOL_INFO_BIND(info) ((info) >> 4)

typedef ElfW(Ehdr) elf_header;
typedef ElfW(Shdr) elf_section;
typedef ElfW(Sym) elf_symbol;
typedef ElfW(Dyn) elf_dynamic;
typedef ElfW(Addr) elf_address;

/* The module that an address lies in. */
struct module {
    char mod_path[OS_MAPPING_PATH];
    const elf_header *mod_header;   /* in memory; NULL where not known */
    const elf_dynamic *mod_dynamic; /* the same */
    uintptr_t mod_bias;             /* address in memory less address in the file */
    bool mod_program;               /* not a library */
};

/* What is looked for, and the best symbol so far. */
struct match {
    elf_address match_value; /* as in the file */
    bool match_data;         /* an object of data will also do */
    elf_symbol match_symbol;
    bool match_found;
};

static _Atomic uint32_t scratch_taken;
static union {
    char bytes[SCRATCH_SIZE];
    elf_symbol symbols[SCRATCH_SIZE / sizeof(elf_symbol)];
} scratch;
static struct module scratch_module;

#if defined(__GLIBC__) && defined(DLFO_STRUCT_HAS_EH_DBASE)
extern __typeof(_dl_find_object) _dl_find_object __attribute__((weak));
#define HAVE_DL_FIND_OBJECT 1
#else
#define HAVE_DL_FIND_OBJECT 0
#endif

/* --- Files --- */

static int
open_file(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static void
close_file(int fd)
{
    (void)syscall(SYS_close, fd);
}

/* As many bytes as there are, at most size. */
static size_t
read_at(int fd, void *to, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        uint64_t at = offset + done;
#if UINTPTR_MAX > 0xffffffffu
        long n = syscall(SYS_pread64, fd, (char *)to + done, size - done, at);
#else
        ssize_t n = pread64(fd, (char *)to + done, size - done, (off64_t)at);
#endif
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

/* --- The module --- */

static void
copy_path(struct module *module, const char *path)
{
    (void)umem_snprintf(module->mod_path, sizeof(module->mod_path), "%s", path);
}

static bool
is_elf(const void *header)
{
    return memcmp(header, ELFMAG, SELFMAG) == 0;
}

#if HAVE_DL_FIND_OBJECT
static void
program_path(struct module *module)
{
    long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", module->mod_path,
                     sizeof(module->mod_path) - 1);

    module->mod_path[n > 0 ? n : 0] = '\0';
}

static bool
find_loaded(uintptr_t addr, struct module *module)
{
    struct dl_find_object object;

    if (_dl_find_object == NULL || _dl_find_object((void *)addr, &object) != 0)
        return false;
    const struct link_map *map = object.dlfo_link_map;
    module->mod_bias = map->l_addr;
    module->mod_header = is_elf(object.dlfo_map_start) ? object.dlfo_map_start : NULL;
    module->mod_dynamic = map->l_ld;
    if (map->l_name != NULL && map->l_name[0] != '\0')
        copy_path(module, map->l_name);
    else
        program_path(module);
    module->mod_program = map->l_name != NULL && map->l_name[0] == '\0';
    return true;
}
#else
static bool
find_loaded(uintptr_t addr, struct module *module)
{
    (void)addr;
    (void)module;
    return false;
}
#endif

/*
 * Without _dl_find_object().  The bias is right where the first segment has
 * address 0 in the file, as in every shared library and PIE.
 */
static bool
find_mapped(uintptr_t addr, struct module *module)
{
    static struct os_mapping mapping; /* guarded by scratch_taken */

    if (!os_mapping_find(addr, &mapping) || mapping.map_path[0] != '/')
        return false;
    copy_path(module, mapping.map_path);
    module->mod_bias = mapping.map_module;
    return true;
}

/* --- The symbol --- */

/* Among symbols that cover an address: the one that starts last, and of these global names. */
static bool
is_better(const elf_symbol *symbol, const struct match *match)
{
    static const int rank[] = {[STB_LOCAL] = 0, [STB_GLOBAL] = 2, [STB_WEAK] = 1};

    if (!match->match_found || symbol->st_value != match->match_symbol.st_value)
        return !match->match_found || symbol->st_value > match->match_symbol.st_value;
    unsigned bind = SYMBOL_INFO_BIND(symbol->st_info);
    unsigned other = SYMBOL_INFO_BIND(match->match_symbol.st_info);
    return bind < UMEM_ARRAY_SIZE(rank) && other < UMEM_ARRAY_SIZE(rank) &&
           rank[bind] > rank[other];
}

static void
consider(const elf_symbol *symbol, struct match *match)
{
    unsigned type = SYMBOL_INFO_TYPE(symbol->st_info);
    bool kind =
        type == STT_FUNC || type == STT_GNU_IFUNC || (match->match_data && type == STT_OBJECT);

    if (kind && symbol->st_shndx != SHN_UNDEF &&
        match->match_value - symbol->st_value < symbol->st_size && is_better(symbol, match)) {
        match->match_symbol = *symbol;
        match->match_found = true;
    }
}

static bool
search_table(int fd, const elf_section *table, struct match *match)
{
    if (table->sh_entsize != sizeof(elf_symbol))
        return false;
    for (uint64_t at = 0; at < table->sh_size;) {
        size_t want = umem_min((size_t)(table->sh_size - at), sizeof(scratch.symbols));
        size_t count =
            read_at(fd, scratch.symbols, want, table->sh_offset + at) / sizeof(scratch.symbols[0]);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++)
            consider(&scratch.symbols[i], match);
        at += count * sizeof(scratch.symbols[0]);
    }
    return match->match_found;
}

/* Reads section header number index; false past the end. */
static bool
read_section(int fd, const elf_header *header, uint32_t index, elf_section *section)
{
    return index < header->e_shnum &&
           read_at(fd, section, sizeof(*section),
                   header->e_shoff + (uint64_t)index * sizeof(*section)) == sizeof(*section);
}

static bool
is_this_module(const elf_header *header, const struct module *module)
{
    return is_elf(header) &&
           header->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           header->e_shentsize == sizeof(elf_section) &&
           (module->mod_header == NULL || memcmp(header, module->mod_header, sizeof(*header)) == 0);
}

/* Looks in the symbol tables of the module's file; the name goes into the scratch memory. */
static bool
search_file(int fd, const struct module *module, struct match *match)
{
    static const uint32_t kinds[] = {SHT_SYMTAB, SHT_DYNSYM};
    elf_header header;
    elf_section table, strings;

    if (read_at(fd, &header, sizeof(header), 0) != sizeof(header) ||
        !is_this_module(&header, module))
        return false;
    if (header.e_type == ET_EXEC) /* find_mapped() cannot know that its addresses are absolute */
        match->match_value += module->mod_header == NULL ? module->mod_bias : 0;
    for (size_t kind = 0; kind < UMEM_ARRAY_SIZE(kinds); kind++)
        for (uint32_t i = 0; read_section(fd, &header, i, &table); i++) {
            if (table.sh_type != kinds[kind] || !search_table(fd, &table, match) ||
                !read_section(fd, &header, table.sh_link, &strings))
                continue;
            size_t got = read_at(fd, scratch.bytes, OS_SYMBOL_SIZE - 1,
                                 strings.sh_offset + match->match_symbol.st_name);
            scratch.bytes[got] = '\0';
            return true;
        }
    return false;
}

/* Looks in the dynamic symbols as loaded. */
static bool
search_memory(const struct module *module, struct match *match)
{
    struct os_dynamic table;

    if (module->mod_dynamic == NULL ||
        !os_dynamic_tables(module->mod_dynamic, module->mod_bias, &table))
        return false;
    for (size_t i = 0; i < table.dyn_count; i++)
        consider(&table.dyn_symbols[i], match);
    if (match->match_found)
        (void)umem_snprintf(scratch.bytes, OS_SYMBOL_SIZE, "%s",
                            table.dyn_strings + match->match_symbol.st_name);
    return match->match_found;
}

/* The program's own file opens whatever became of its name. */
static int
open_module(const struct module *module)
{
    int fd = -1;

    /* A name without a path is the kernel's vdso: no file. */
    if (strchr(module->mod_path, '/') != NULL)
        fd = open_file(module->mod_path);
    if (fd < 0 && module->mod_program)
        fd = open_file("/proc/self/exe");
    return fd;
}

static bool
search(const struct module *module, struct match *match)
{
    int fd = open_module(module);
    bool found = fd >= 0 && search_file(fd, module, match);

    if (fd >= 0)
        close_file(fd);
    return found || search_memory(module, match);
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/*
 * Module and symbol of the byte at addr - back; the caller has the scratch
 * memory.  False: addr is in no module.
 */
static bool
describe(uintptr_t addr, uintptr_t back, bool data, char *buf, size_t size)
{
    struct module *module = &scratch_module;

    memset(module, 0, sizeof(*module));
    if (!find_loaded(addr - back, module) && !find_mapped(addr - back, module)) {
        (void)umem_snprintf(buf, size, "0x%lx", (unsigned long)addr);
        return false;
    }
    size_t length = umem_snprintf(buf, size, "%s", base_name(module->mod_path));
    if (length >= size)
        return true;
    struct match match = {.match_value = addr - back - module->mod_bias, .match_data = data};
    if (search(module, &match))
        (void)umem_snprintf(
            buf + length, size - length, "`%s+0x%lx", scratch.bytes,
            (unsigned long)(match.match_value + back - match.match_symbol.st_value));
    else
        (void)umem_snprintf(buf + length, size - length, "+0x%lx",
                            (unsigned long)(addr - module->mod_bias));
    return true;
}

static bool
symbolise(uintptr_t addr, uintptr_t back, bool data, char *buf, size_t size)
{
    int saved = errno;
    bool known = false;

    if (atomic_exchange_explicit(&scratch_taken, 1, memory_order_acquire) == 0) {
        known = describe(addr, back, data, buf, size);
        atomic_store_explicit(&scratch_taken, 0, memory_order_release);
    } else {
        (void)umem_snprintf(buf, size, "0x%lx", (unsigned long)addr);
    }
    errno = saved;
    return known;
}

size_t
os_symbolise(uintptr_t addr, char *buf, size_t size)
{
    if (size == 0)
        return 0;
    /* The call before a return address may be the last instruction of its function. */
    (void)symbolise(addr, 1, false, buf, size);
    return strlen(buf);
}

bool
os_symbolise_data(uintptr_t addr, char *buf, size_t size)
{
    return size > 0 && symbolise(addr, 0, true, buf, size);
}

/* --- Our own text --- */

/* Made by the linker for each module; hidden, so that they are this module's. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

bool
os_own_text(uintptr_t *start, uintptr_t *end)
{
    uintptr_t program_headers = (uintptr_t)getauxval(AT_PHDR);
    const elf_header *own = (const elf_header *)(const void *)__ehdr_start;

    *start = (uintptr_t)__ehdr_start;
    *end = (uintptr_t)etext;
    return program_headers != *start + own->e_phoff;
}
