/* SPDX-License-Identifier: MIT */
/*
 * symtab.c - target_find_symbol: where the target's modules define a name.
 *
 * Dynamic symbols are read from target memory by way of PT_DYNAMIC, so that
 * they are those of the object that runs, whatever became of its file (for a
 * kernel core, which lacks them, segments filled from the checked file answer
 * the same reads).  A static executable has none: its .symtab is read from its
 * file by libelf.  Every count and offset may be garbage and is bounded.
 */
#include "target/target_impl.h"

#include <gelf.h>
#include <stdlib.h>
#include <string.h>

/* Longer hash chains than this are garbage. */
#define CHAIN_MAX 65536
/* More entries than this in PT_DYNAMIC are garbage. */
#define DYNAMIC_MAX 512
/* A name is compared up to here. */
#define NAME_MAX_BYTES 256

struct dynamic {
    addr_t dyn_symtab;
    addr_t dyn_strtab;
    addr_t dyn_gnu_hash;
    addr_t dyn_hash;
};

struct search {
    struct target *s_target;
    const struct module *s_module;
    const char *s_name;
    struct dynamic s_dynamic;
};

static bool
read_u32(struct target *t, addr_t addr, uint32_t *value)
{
    return target_read_exact(t, addr, value, sizeof(*value));
}

/* glibc adds the bias to the pointers in PT_DYNAMIC, others do not. */
static addr_t
dynamic_address(const struct module *mod, addr_t value)
{
    return value >= mod->mod_start && value < mod->mod_end ? value : value + mod->mod_bias;
}

static bool
find_dynamic(struct target *t, const struct module *mod, addr_t *addr)
{
    char header[TARGET_PAGE];
    GElf_Phdr phdr;
    size_t count;
    bool found = false;
    size_t n = target_read(t, mod->mod_start, header, sizeof(header));
    if (n < sizeof(Elf32_Ehdr))
        return false;
    Elf *elf = elf_memory(header, n);
    if (elf != NULL && elf_getphdrnum(elf, &count) == 0)
        for (size_t i = 0; i < count && !found; i++)
            if (gelf_getphdr(elf, (int)i, &phdr) != NULL && phdr.p_type == PT_DYNAMIC) {
                *addr = mod->mod_bias + phdr.p_vaddr;
                found = true;
            }
    elf_end(elf);
    return found;
}

static bool
read_dynamic(struct search *s)
{
    unsigned char dyn[2 * sizeof(uint64_t)]; /* a tag and its value, words both */
    const unsigned word = target_word(s->s_target);
    addr_t addr;
    struct dynamic *d = &s->s_dynamic;
    *d = (struct dynamic){0};
    if (!find_dynamic(s->s_target, s->s_module, &addr))
        return false;
    for (int i = 0; i < DYNAMIC_MAX; i++, addr += 2 * word) {
        if (!target_read_exact(s->s_target, addr, dyn, 2 * word))
            break;
        uint64_t tag = target_word_at(s->s_target, dyn);
        addr_t value = dynamic_address(s->s_module, target_word_at(s->s_target, dyn + word));
        if (tag == DT_NULL)
            break;
        if (tag == DT_SYMTAB)
            d->dyn_symtab = value;
        else if (tag == DT_STRTAB)
            d->dyn_strtab = value;
        else if (tag == DT_GNU_HASH)
            d->dyn_gnu_hash = value;
        else if (tag == DT_HASH)
            d->dyn_hash = value;
    }
    return d->dyn_symtab != 0 && d->dyn_strtab != 0;
}

static bool
read_symbol(const struct search *s, uint32_t index, Elf64_Sym *sym)
{
    Elf32_Sym narrow;
    if (target_word(s->s_target) == 8)
        return target_read_exact(s->s_target, s->s_dynamic.dyn_symtab + index * sizeof(*sym), sym,
                                 sizeof(*sym));
    if (!target_read_exact(s->s_target, s->s_dynamic.dyn_symtab + index * sizeof(narrow), &narrow,
                           sizeof(narrow)))
        return false;
    *sym = (Elf64_Sym){.st_name = narrow.st_name,
                       .st_value = narrow.st_value,
                       .st_shndx = narrow.st_shndx,
                       .st_info = narrow.st_info};
    return true;
}

/* Is the symbol of that index the one, and defined here? */
static bool
check_symbol(const struct search *s, uint32_t index, addr_t *found)
{
    Elf64_Sym sym;
    char name[NAME_MAX_BYTES];
    size_t length = strlen(s->s_name) + 1;
    if (length > sizeof(name) || !read_symbol(s, index, &sym))
        return false;
    if (sym.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(sym.st_info) == STT_TLS)
        return false;
    if (!target_read_exact(s->s_target, s->s_dynamic.dyn_strtab + sym.st_name, name, length) ||
        memcmp(name, s->s_name, length) != 0)
        return false;
    *found = sym.st_value + (sym.st_shndx == SHN_ABS ? 0 : s->s_module->mod_bias);
    return true;
}

static uint32_t
gnu_hash(const char *name)
{
    uint32_t h = 5381;
    for (; *name != '\0'; name++)
        h = h * 33 + (unsigned char)*name;
    return h;
}

static bool
search_gnu_hash(const struct search *s, addr_t *found)
{
    /* Buckets, first symbol that is hashed, words of the Bloom filter, its shift. */
    uint32_t header[4];
    uint32_t index;
    uint32_t hash = gnu_hash(s->s_name);
    struct target *t = s->s_target;
    addr_t table = s->s_dynamic.dyn_gnu_hash;
    if (!target_read_exact(t, table, header, sizeof(header)) || header[0] == 0)
        return false;
    addr_t buckets = table + sizeof(header) + target_word(t) * (addr_t)header[2];
    addr_t chains = buckets + 4 * (addr_t)header[0];
    if (!read_u32(t, buckets + 4 * (addr_t)(hash % header[0]), &index) || index < header[1])
        return false;
    for (int i = 0; i < CHAIN_MAX; i++, index++) {
        uint32_t chain;
        if (!read_u32(t, chains + 4 * ((addr_t)index - header[1]), &chain))
            return false;
        if ((chain | 1) == (hash | 1) && check_symbol(s, index, found))
            return true;
        if (chain & 1) /* the last of its bucket */
            return false;
    }
    return false;
}

static uint32_t
sysv_hash(const char *name)
{
    uint32_t h = 0;
    for (; *name != '\0'; name++) {
        h = (h << 4) + (unsigned char)*name;
        h ^= (h >> 24) & 0xf0;
        h &= 0x0fffffff;
    }
    return h;
}

static bool
search_sysv_hash(const struct search *s, addr_t *found)
{
    uint32_t count;
    uint32_t index;
    struct target *t = s->s_target;
    addr_t table = s->s_dynamic.dyn_hash;
    if (!read_u32(t, table, &count) || count == 0 ||
        !read_u32(t, table + 8 + 4 * (addr_t)(sysv_hash(s->s_name) % count), &index))
        return false;
    for (int i = 0; i < CHAIN_MAX && index != 0; i++) {
        if (check_symbol(s, index, found))
            return true;
        if (!read_u32(t, table + 8 + 4 * ((addr_t)count + index), &index))
            return false;
    }
    return false;
}

/* The static symbol table of the file, for programs without a dynamic one. */
static bool
search_file(const struct search *s, const struct backing *back, addr_t *found)
{
    GElf_Shdr shdr;
    GElf_Sym sym;
    bool ok = false;
    if (back->back_data == NULL)
        return false;
    Elf *elf = elf_memory((char *)(uintptr_t)back->back_data, back->back_size);
    for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn != NULL && !ok; scn = elf_nextscn(elf, scn)) {
        if (gelf_getshdr(scn, &shdr) == NULL || shdr.sh_type != SHT_SYMTAB)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        for (int i = 0; data != NULL && gelf_getsym(data, i, &sym) != NULL && !ok; i++) {
            const char *name = elf_strptr(elf, shdr.sh_link, sym.st_name);
            ok = name != NULL && sym.st_shndx != SHN_UNDEF &&
                 GELF_ST_TYPE(sym.st_info) != STT_TLS && strcmp(name, s->s_name) == 0;
            *found = sym.st_value + s->s_module->mod_bias;
        }
    }
    elf_end(elf);
    return ok;
}

static bool
search_module(struct search *s, size_t index, bool executable, addr_t *found)
{
    if (read_dynamic(s)) {
        if (s->s_dynamic.dyn_gnu_hash != 0 && search_gnu_hash(s, found))
            return true;
        if (s->s_dynamic.dyn_hash != 0 && search_sysv_hash(s, found))
            return true;
    }
    return executable && search_file(s, module_backing(s->s_target, index), found);
}

void
target_find_symbol(struct target *t, const char *name,
                   bool (*fn)(void *arg, const struct module *mod, addr_t addr), void *arg)
{
    size_t executable = t->t_entry != 0 ? module_index(t, t->t_entry) : 0;
    for (size_t i = 0; i < t->t_module_count; i++) {
        struct search s = {.s_target = t, .s_module = &t->t_modules[i], .s_name = name};
        addr_t addr = 0;
        if (search_module(&s, i, i == executable, &addr) && !fn(arg, s.s_module, addr))
            return;
    }
}
