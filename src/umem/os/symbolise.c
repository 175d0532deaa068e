/* SPDX-License-Identifier: MIT */
/*
 * symbolise.c - see symbolise.h.
 *
 * The module is found by _dl_find_object(), which takes no lock, and where
 * that is missing in /proc/self/maps; the symbol in the module's file, read by
 * pieces: a mapping would be locked, or refused, under mlockall(MCL_FUTURE),
 * and a file that is cut meanwhile would be a SIGBUS.  A file whose ELF header
 * is not the one in memory (upgraded since) is not believed.
 *
 * Static scratch memory, since reports also run on small signal stacks: its
 * flag is taken by the first caller, and others (and one that comes from a
 * crash in here) get the module alone.  Raw system calls: open() and pread()
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

#define SCRATCH_SIZE 16384
#define PATH_SIZE 512
#define SYMBOL_INFO_TYPE(info) ((info)&0xf)
#define SYMBOL_INFO_BIND(info) ((info) >> 4)

/* The module that an address lies in. */
struct module {
    char mod_path[PATH_SIZE];
    const ElfW(Ehdr) * mod_header; /* in memory; NULL where not known */
    uintptr_t mod_bias;            /* address in memory less address in the file */
};

/* The best symbol so far. */
struct match {
    ElfW(Sym) match_symbol;
    bool match_found;
};

static _Atomic uint32_t scratch_taken;
static union {
    char bytes[SCRATCH_SIZE];
    ElfW(Shdr) sections[SCRATCH_SIZE / sizeof(ElfW(Shdr))];
    ElfW(Sym) symbols[SCRATCH_SIZE / sizeof(ElfW(Sym))];
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

static void
program_path(struct module *module)
{
    long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", module->mod_path,
                     sizeof(module->mod_path) - 1);

    module->mod_path[n > 0 ? n : 0] = '\0';
}

static bool
is_elf(const void *header)
{
    return memcmp(header, ELFMAG, SELFMAG) == 0;
}

static bool
find_loaded(uintptr_t addr, struct module *module)
{
#if HAVE_DL_FIND_OBJECT
    struct dl_find_object object;

    if (_dl_find_object == NULL || _dl_find_object((void *)addr, &object) != 0)
        return false;
    const struct link_map *map = object.dlfo_link_map;
    module->mod_bias = map->l_addr;
    module->mod_header = is_elf(object.dlfo_map_start) ? object.dlfo_map_start : NULL;
    if (map->l_name != NULL && map->l_name[0] != '\0')
        copy_path(module, map->l_name);
    else
        program_path(module);
    return true;
#else
    (void)addr;
    (void)module;
    return false;
#endif
}

/* A hexadecimal number; moves *p behind it and the one character that follows. */
static uint64_t
parse_hex(const char **p)
{
    uint64_t n = 0;

    for (;; (*p)++) {
        char c = **p;
        if (c >= '0' && c <= '9')
            n = n << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (uint64_t)(c - 'a' + 10);
        else
            break;
    }
    if (**p != '\0')
        (*p)++;
    return n;
}

/*
 * One line of maps: "start-end perms offset device inode   path".  A mapping
 * of offset 0 begins a module; its bias is right where the first segment has
 * address 0 in the file, as in every shared library and PIE.
 */
static bool
module_of_line(const char *line, uintptr_t addr, struct module *module)
{
    uint64_t start = parse_hex(&line);
    uint64_t end = parse_hex(&line);
    const char *path = strchr(line, '/');

    if (path == NULL)
        return false;
    line += sizeof("rwxp ") - 1;
    if (parse_hex(&line) == 0 && strcmp(path, module->mod_path) != 0) {
        copy_path(module, path);
        module->mod_bias = start;
    }
    return addr >= start && addr < end && strcmp(path, module->mod_path) == 0;
}

/* Without _dl_find_object(): the caller has the scratch memory. */
static bool
find_mapped(uintptr_t addr, struct module *module)
{
    int fd = open_file("/proc/self/maps");
    bool found = false;
    size_t have = 0;
    long n;

    if (fd < 0)
        return false;
    while (!found && (n = syscall(SYS_read, fd, scratch.bytes + have,
                                  sizeof(scratch.bytes) - 1 - have)) > 0) {
        char *line = scratch.bytes;
        have += (size_t)n;
        scratch.bytes[have] = '\0';
        for (char *end; !found && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            found = module_of_line(line, addr, module);
        }
        have = strlen(line);
        memmove(scratch.bytes, line, have);
    }
    close_file(fd);
    return found;
}

/* --- The symbol --- */

/* Among symbols that cover an address: the one that starts last, and of these global names. */
static bool
is_better(const ElfW(Sym) * symbol, const struct match *match)
{
    static const int rank[] = {[STB_LOCAL] = 0, [STB_GLOBAL] = 2, [STB_WEAK] = 1};

    if (!match->match_found || symbol->st_value != match->match_symbol.st_value)
        return !match->match_found || symbol->st_value > match->match_symbol.st_value;
    unsigned bind = SYMBOL_INFO_BIND(symbol->st_info);
    unsigned other = SYMBOL_INFO_BIND(match->match_symbol.st_info);
    return bind < UMEM_ARRAY_SIZE(rank) && other < UMEM_ARRAY_SIZE(rank) &&
           rank[bind] > rank[other];
}

static bool
covers(const ElfW(Sym) * symbol, ElfW(Addr) value)
{
    unsigned type = SYMBOL_INFO_TYPE(symbol->st_info);

    return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol->st_shndx != SHN_UNDEF &&
           value - symbol->st_value < symbol->st_size;
}

static bool
search_table(int fd, const ElfW(Shdr) * table, ElfW(Addr) value, struct match *match)
{
    *match = (struct match){.match_found = false};
    if (table->sh_entsize != sizeof(ElfW(Sym)))
        return false;
    for (uint64_t at = 0; at < table->sh_size;) {
        size_t want = umem_min((size_t)(table->sh_size - at), sizeof(scratch.symbols));
        size_t count =
            read_at(fd, scratch.symbols, want, table->sh_offset + at) / sizeof(scratch.symbols[0]);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++)
            if (covers(&scratch.symbols[i], value) && is_better(&scratch.symbols[i], match)) {
                match->match_symbol = scratch.symbols[i];
                match->match_found = true;
            }
        at += count * sizeof(scratch.symbols[0]);
    }
    return match->match_found;
}

/* Reads section header number index; false past the end. */
static bool
read_section(int fd, const ElfW(Ehdr) * header, uint32_t index, ElfW(Shdr) * section)
{
    return index < header->e_shnum &&
           read_at(fd, section, sizeof(*section),
                   header->e_shoff + (uint64_t)index * sizeof(*section)) == sizeof(*section);
}

static bool
is_this_module(const ElfW(Ehdr) * header, const struct module *module)
{
    return is_elf(header) &&
           header->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           header->e_shentsize == sizeof(ElfW(Shdr)) &&
           (module->mod_header == NULL || memcmp(header, module->mod_header, sizeof(*header)) == 0);
}

/* The text "`name+0x21" of addr into buf; false where no symbol covers the call before it. */
static bool
describe_symbol(int fd, struct module *module, uintptr_t addr, char *buf, size_t size)
{
    static const uint32_t kinds[] = {SHT_SYMTAB, SHT_DYNSYM};
    ElfW(Ehdr) header;
    ElfW(Shdr) table, strings;
    struct match match;

    if (read_at(fd, &header, sizeof(header), 0) != sizeof(header) ||
        !is_this_module(&header, module))
        return false;
    if (header.e_type == ET_EXEC) /* find_mapped() cannot know */
        module->mod_bias = 0;
    ElfW(Addr) value = addr - module->mod_bias;
    for (size_t kind = 0; kind < UMEM_ARRAY_SIZE(kinds); kind++) {
        for (uint32_t i = 0; read_section(fd, &header, i, &table); i++) {
            if (table.sh_type != kinds[kind] || !search_table(fd, &table, value - 1, &match) ||
                !read_section(fd, &header, table.sh_link, &strings))
                continue;
            size_t got = read_at(fd, scratch.bytes, OS_SYMBOL_SIZE - 1,
                                 strings.sh_offset + match.match_symbol.st_name);
            scratch.bytes[got] = '\0';
            (void)umem_snprintf(buf, size, "`%s+0x%lx", scratch.bytes,
                                (unsigned long)(value - match.match_symbol.st_value));
            return true;
        }
    }
    return false;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Module and symbol; the caller has the scratch memory. */
static void
describe(uintptr_t addr, char *buf, size_t size)
{
    struct module *module = &scratch_module;

    memset(module, 0, sizeof(*module));
    /* The call before a return address may be the last instruction of its module. */
    if (!find_loaded(addr - 1, module) && !find_mapped(addr - 1, module)) {
        (void)umem_snprintf(buf, size, "0x%lx", (unsigned long)addr);
        return;
    }
    size_t length = umem_snprintf(buf, size, "%s", base_name(module->mod_path));
    if (length >= size)
        return;
    /* A name without a path is the kernel's vdso: no file. */
    int fd = strchr(module->mod_path, '/') != NULL ? open_file(module->mod_path) : -1;
    bool named = fd >= 0 && describe_symbol(fd, module, addr, buf + length, size - length);
    if (fd >= 0)
        close_file(fd);
    if (!named)
        (void)umem_snprintf(buf + length, size - length, "+0x%lx",
                            (unsigned long)(addr - module->mod_bias));
}

size_t
os_symbolise(uintptr_t addr, char *buf, size_t size)
{
    int saved = errno;

    if (size == 0)
        return 0;
    if (atomic_exchange_explicit(&scratch_taken, 1, memory_order_acquire) == 0) {
        describe(addr, buf, size);
        atomic_store_explicit(&scratch_taken, 0, memory_order_release);
    } else {
        (void)umem_snprintf(buf, size, "0x%lx", (unsigned long)addr);
    }
    errno = saved;
    return strlen(buf);
}

/* --- Our own text --- */

/* Made by the linker for each module; hidden, so that they are this module's. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

bool
os_own_text(uintptr_t *start, uintptr_t *end)
{
    uintptr_t program_headers = (uintptr_t)getauxval(AT_PHDR);
    const ElfW(Ehdr) *own = (const ElfW(Ehdr) *)(const void *)__ehdr_start;

    *start = (uintptr_t)__ehdr_start;
    *end = (uintptr_t)etext;
    return program_headers != *start + own->e_phoff;
}
