/* SPDX-License-Identifier: MIT */
/*
 * symbol.c - the function that an address is in: see symbol.h.
 *
 * Makes system calls, on files only: open, pread, read, close.  No state.  What is
 * read from a file is taken with care, as it may have been replaced since.
 */
#include "symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512 /* of /proc/self/maps; a file with a longer name has none for us */
#define SYMBOLS_AT_ONCE 16
#if UINTPTR_MAX > 0xffffffffu
#define OUR_CLASS ELFCLASS64
#define SYMBOL_TYPE(info) ELF64_ST_TYPE(info)
#else
#define OUR_CLASS ELFCLASS32
#define SYMBOL_TYPE(info) ELF32_ST_TYPE(info)
#endif

/* A line of /proc/self/maps, "start-end perms offset device inode  path". */
struct mapping {
    uintptr_t map_start, map_end, map_offset;
    const char *map_path; /* "" where there is none */
};

static const char *
parse_hex(const char *at, uintptr_t *value)
{
    *value = 0;
    for (;; at++) {
        if (*at >= '0' && *at <= '9')
            *value = *value << 4 | (uintptr_t)(*at - '0');
        else if (*at >= 'a' && *at <= 'f')
            *value = *value << 4 | (uintptr_t)(*at - 'a' + 10);
        else
            return at;
    }
}

static const char *
next_field(const char *at)
{
    while (*at != ' ' && *at != 0)
        at++;
    while (*at == ' ')
        at++;
    return at;
}

static bool
parse_line(const char *line, struct mapping *map)
{
    const char *at = parse_hex(line, &map->map_start);
    if (*at != '-')
        return false;
    at = next_field(next_field(parse_hex(at + 1, &map->map_end)));
    at = next_field(parse_hex(at, &map->map_offset));
    map->map_path = next_field(next_field(at));
    return true;
}

/* The mapping that holds address; its path lies in line. */
static bool
find_mapping(uintptr_t address, char line[LINE_MAX_BYTES], struct mapping *map)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[LINE_MAX_BYTES];
    size_t length = 0;
    bool found = false;
    for (ssize_t n; !found && (n = read(fd, text, sizeof(text))) > 0;)
        for (ssize_t i = 0; i < n && !found; i++) {
            if (text[i] != '\n') {
                if (length < LINE_MAX_BYTES - 1)
                    line[length++] = text[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            found =
                parse_line(line, map) && address - map->map_start < map->map_end - map->map_start;
        }
    close(fd);
    return found && map->map_path[0] == '/';
}

static bool
read_at(int fd, void *to, size_t size, uint64_t offset)
{
    return pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* The address that the file's symbols are given in, of what lies at offset in it. */
static bool
link_address(int fd, const ElfW(Ehdr) * header, uintptr_t offset, uintptr_t *address)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!read_at(fd, &segment, sizeof(segment), header->e_phoff + i * sizeof(segment)))
            return false;
        if (segment.p_type == PT_LOAD && offset - segment.p_offset < segment.p_filesz) {
            *address = offset - segment.p_offset + segment.p_vaddr;
            return true;
        }
    }
    return false;
}

/* The table of all symbols, or of the exported ones where that was stripped. */
static bool
find_table(int fd, const ElfW(Ehdr) * header, ElfW(Shdr) * table)
{
    bool found = false;
    for (unsigned i = 0; i < header->e_shnum; i++) {
        ElfW(Shdr) section;
        if (!read_at(fd, &section, sizeof(section), header->e_shoff + i * sizeof(section)))
            return false;
        if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM)
            continue;
        *table = section;
        found = true;
        if (section.sh_type == SHT_SYMTAB)
            break;
    }
    return found;
}

static bool
search_table(int fd, const ElfW(Shdr) * table, uintptr_t address, ElfW(Sym) * result)
{
    ElfW(Sym) symbols[SYMBOLS_AT_ONCE];
    for (size_t done = 0; done < table->sh_size;) {
        size_t size =
            table->sh_size - done < sizeof(symbols) ? table->sh_size - done : sizeof(symbols);
        if (!read_at(fd, symbols, size, table->sh_offset + done))
            return false;
        for (size_t i = 0; i < size / sizeof(symbols[0]); i++)
            if (SYMBOL_TYPE(symbols[i].st_info) == STT_FUNC && symbols[i].st_shndx != SHN_UNDEF &&
                address - symbols[i].st_value < symbols[i].st_size) {
                *result = symbols[i];
                return true;
            }
        done += size;
    }
    return false;
}

static void
name_symbol(int fd, uintptr_t offset, struct symbol *symbol)
{
    ElfW(Ehdr) header;
    ElfW(Shdr) table, strings;
    ElfW(Sym) found;
    uintptr_t address;

    if (!read_at(fd, &header, sizeof(header), 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != OUR_CLASS || header.e_phentsize != sizeof(ElfW(Phdr)) ||
        !link_address(fd, &header, offset, &address))
        return;
    symbol->symbol_offset = address;
    if (header.e_shentsize != sizeof(ElfW(Shdr)) || !find_table(fd, &header, &table) ||
        !search_table(fd, &table, address, &found) ||
        !read_at(fd, &strings, sizeof(strings), header.e_shoff + table.sh_link * sizeof(strings)))
        return;
    /* Fewer bytes at the end of the file are enough, if a zero is among them. */
    char *name = symbol->symbol_name;
    ssize_t n = pread(fd, name, SYMBOL_NAME_MAX - 1, (off_t)(strings.sh_offset + found.st_name));
    name[n > 0 ? n : 0] = 0;
    symbol->symbol_offset = address - found.st_value;
}

bool
symbol_find(uintptr_t address, struct symbol *symbol)
{
    char line[LINE_MAX_BYTES];
    struct mapping map;
    memset(symbol, 0, sizeof(*symbol));
    if (!find_mapping(address, line, &map))
        return false;
    const char *base = strrchr(map.map_path, '/') + 1;
    memcpy(symbol->symbol_module, base, strnlen(base, SYMBOL_MODULE_MAX - 1));
    symbol->symbol_offset = address - map.map_start + map.map_offset;
    int fd = open(map.map_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        name_symbol(fd, symbol->symbol_offset, symbol);
        close(fd);
    }
    return true;
}
