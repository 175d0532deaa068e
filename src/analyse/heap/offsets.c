/* SPDX-License-Identifier: MIT */
/*
 * offsets.c - resolves the names of offsets.h in the target's layout block.
 */
#include "heap/offsets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "umem/layout.h"

/* A library of today has some 150 entries; beyond this the header is garbage. */
#define ENTRIES_MAX 4096
/* The block lies at a multiple of its entries' alignment; pieces are multiples of it too. */
#define SEARCH_ALIGN 8
#define SEARCH_PIECE ((size_t)65536)

enum name_kind { NAME_FIELD, NAME_STRUCT, NAME_CONSTANT, NAME_ADDRESS };

struct name {
    const char *name_text;
    size_t name_member; /* where its value goes in struct offsets */
    enum name_kind name_kind;
    bool name_optional;
};

#define NAME_OF_FIELD(type, name, member)                                                          \
    {#type "." #name, offsetof(struct offsets, member), NAME_FIELD, false},
#define NAME_OF_OPTIONAL(type, name, member)                                                       \
    {#type "." #name, offsetof(struct offsets, member), NAME_FIELD, true},
#define NAME_OF_STRUCT(type) {#type, offsetof(struct offsets, size_##type), NAME_STRUCT, false},
#define NAME_OF_CONSTANT(name)                                                                     \
    {#name, offsetof(struct offsets, const_##name), NAME_CONSTANT, false},
#define NAME_OF_ADDRESS(name) {#name, offsetof(struct offsets, at_##name), NAME_ADDRESS, false},
#define NAME_OF_OPTIONAL_ADDRESS(name)                                                             \
    {#name, offsetof(struct offsets, at_##name), NAME_ADDRESS, true},

#define NAME_OF_OPTIONAL_STRUCT(type)                                                              \
    {#type, offsetof(struct offsets, size_##type), NAME_STRUCT, true},
#define NAME_OF_OPTIONAL_CONSTANT(name)                                                            \
    {#name, offsetof(struct offsets, const_##name), NAME_CONSTANT, true},

static const struct name names[] = {
    OFFSETS_FIELDS(NAME_OF_FIELD) OFFSETS_OPTIONAL_FIELDS(NAME_OF_OPTIONAL)
        OFFSETS_STRUCTS(NAME_OF_STRUCT) OFFSETS_CONSTANTS(NAME_OF_CONSTANT)
            OFFSETS_ADDRESSES(NAME_OF_ADDRESS) OFFSETS_OPTIONAL_ADDRESSES(NAME_OF_OPTIONAL_ADDRESS)
                OFFSETS_OPTIONAL_STRUCTS(NAME_OF_OPTIONAL_STRUCT)
                    OFFSETS_OPTIONAL_CONSTANTS(NAME_OF_OPTIONAL_CONSTANT)};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

#define BUCKETS 256
#define NO_ENTRY UINT16_MAX

struct entries {
    struct umem_layout_entry *ent;
    size_t ent_count;
    uint16_t ent_first[BUCKETS]; /* by the hash of a name: an entry's index */
    uint16_t ent_next[ENTRIES_MAX];
};

static unsigned
hash_name(const char *name)
{
    unsigned hash = 0;
    for (; *name != '\0'; name++)
        hash = hash * 31 + (unsigned char)*name;
    return hash % BUCKETS;
}

/* Entries may be longer in a later library: only what is known here is kept. */
static bool
read_entries(struct target *t, addr_t block, const struct umem_layout_block *head,
             struct entries *entries)
{
    size_t stride = head->layout_entry_size;
    size_t size = stride * head->layout_entry_count;
    unsigned char *raw = malloc(size);

    entries->ent = calloc(head->layout_entry_count, sizeof(*entries->ent));
    entries->ent_count = head->layout_entry_count;
    bool ok = raw != NULL && entries->ent != NULL &&
              target_read_exact(t, block + sizeof(*head), raw, size);
    for (size_t i = 0; ok && i < entries->ent_count; i++) {
        memcpy(&entries->ent[i], raw + i * stride, sizeof(entries->ent[i]));
        entries->ent[i].entry_name[sizeof(entries->ent[i].entry_name) - 1] = '\0';
    }
    memset(entries->ent_first, 0xff, sizeof(entries->ent_first));
    for (size_t i = entries->ent_count; ok && i-- > 0;) { /* so that the first of a name is found */
        uint16_t *first = &entries->ent_first[hash_name(entries->ent[i].entry_name)];
        entries->ent_next[i] = *first;
        *first = (uint16_t)i;
    }
    free(raw);
    return ok;
}

static bool
head_is_sane(const struct umem_layout_block *head)
{
    return memcmp(head->layout_magic, UMEM_LAYOUT_MAGIC, sizeof(UMEM_LAYOUT_MAGIC)) == 0 &&
           (head->layout_pointer_size == 4 || head->layout_pointer_size == 8) &&
           head->layout_entry_size >= sizeof(struct umem_layout_entry) &&
           head->layout_entry_size <= 4 * sizeof(struct umem_layout_entry) &&
           head->layout_entry_count > 0 && head->layout_entry_count <= ENTRIES_MAX;
}

static const struct umem_layout_entry *
find_entry(const struct entries *entries, const struct name *name)
{
    static const uint32_t kind_of[] = {
        [NAME_FIELD] = UMEM_LAYOUT_FIELD,
        [NAME_STRUCT] = UMEM_LAYOUT_STRUCT,
        [NAME_CONSTANT] = UMEM_LAYOUT_CONSTANT,
        [NAME_ADDRESS] = UMEM_LAYOUT_ADDRESS,
    };
    for (uint16_t i = entries->ent_first[hash_name(name->name_text)]; i != NO_ENTRY;
         i = entries->ent_next[i])
        if (entries->ent[i].entry_kind == kind_of[name->name_kind] &&
            strcmp(entries->ent[i].entry_name, name->name_text) == 0)
            return &entries->ent[i];
    return NULL;
}

static void
store(struct offsets *off, const struct name *name, const struct umem_layout_entry *entry)
{
    char *member = (char *)off + name->name_member;
    uint32_t u32;
    uint64_t u64;

    switch (name->name_kind) {
    case NAME_FIELD: {
        struct field f = {(uint32_t)entry->entry_value, (uint32_t)entry->entry_size};
        memcpy(member, &f, sizeof(f));
        break;
    }
    case NAME_STRUCT:
        u32 = (uint32_t)entry->entry_size;
        memcpy(member, &u32, sizeof(u32));
        break;
    case NAME_CONSTANT:
    case NAME_ADDRESS:
        u64 = entry->entry_value;
        memcpy(member, &u64, sizeof(u64));
        break;
    }
}

/* The first name that is missing, or NULL. */
static const char *
resolve(const struct entries *entries, struct offsets *off)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        const struct umem_layout_entry *entry = find_entry(entries, &names[i]);
        if (entry != NULL)
            store(off, &names[i], entry);
        else if (!names[i].name_optional)
            return names[i].name_text;
    }
    for (size_t i = 0; i < entries->ent_count; i++) {
        const struct umem_layout_entry *e = &entries->ent[i];
        if (e->entry_kind == UMEM_LAYOUT_ADDRESS && off->off_variables < OFFSETS_VARIABLES_MAX)
            off->off_variable[off->off_variables++] =
                (struct variable){e->entry_value, e->entry_value + e->entry_size};
    }
    return NULL;
}

struct search {
    struct target *s_target;
    struct offsets *s_best;
    enum offsets_status s_status;
    char *s_why;
    size_t s_why_size;
};

static enum offsets_status
load_block(struct search *s, const struct module *mod, addr_t addr, struct offsets *off)
{
    struct umem_layout_block head;
    struct entries entries = {.ent = NULL};
    enum offsets_status status = OFFSETS_UNREADABLE;
    const char *slash = strrchr(mod->mod_path, '/');

    *off = (struct offsets){
        .off_block = addr, .off_module_start = mod->mod_start, .off_module_end = mod->mod_end};
    snprintf(off->off_module, sizeof(off->off_module), "%s",
             slash != NULL ? slash + 1 : (mod->mod_path[0] != '\0' ? mod->mod_path : "libumem"));
    if (!target_read_exact(s->s_target, addr, &head, sizeof(head)) || !head_is_sane(&head)) {
        snprintf(s->s_why, s->s_why_size, "the layout block of %s cannot be read or is damaged",
                 off->off_module);
    } else if (head.layout_version != UMEM_LAYOUT_VERSION) {
        snprintf(s->s_why, s->s_why_size,
                 "%s has layout version %u and this umem reads version %u: use the umem of the "
                 "same release as the library",
                 off->off_module, head.layout_version, (unsigned)UMEM_LAYOUT_VERSION);
    } else if (!read_entries(s->s_target, addr, &head, &entries)) {
        snprintf(s->s_why, s->s_why_size, "the layout block of %s cannot be read whole",
                 off->off_module);
    } else {
        off->off_word = head.layout_pointer_size;
        const char *missing = resolve(&entries, off);
        status = missing == NULL ? OFFSETS_OK : OFFSETS_TOO_OLD;
        if (missing != NULL)
            snprintf(s->s_why, s->s_why_size,
                     "%s does not describe %s: it is too old or too new for this umem; use the "
                     "umem of the same release as the library",
                     off->off_module, missing);
    }
    free(entries.ent);
    return status;
}

/*
 * Where libumem and libumem_core are both loaded, one sleeps: the ready one
 * counts, and one that cannot be read more than one that sleeps.
 */
static bool
consider(void *arg, const struct module *mod, addr_t addr)
{
    struct search *s = arg;
    struct offsets *off = malloc(sizeof(*off));
    if (off == NULL)
        return false;
    enum offsets_status status = load_block(s, mod, addr, off);
    if (status == OFFSETS_OK && !target_read_exact(s->s_target, off->at_umem_state, &off->off_state,
                                                   sizeof(off->off_state))) {
        snprintf(s->s_why, s->s_why_size, "the data of %s is missing", off->off_module);
        status = OFFSETS_UNREADABLE;
    }
    bool ready = status == OFFSETS_OK && off->off_state == off->const_UMEM_STATE_READY;
    if (ready || (status == OFFSETS_OK && s->s_status == OFFSETS_NO_LIBRARY))
        *s->s_best = *off;
    if (ready || status != OFFSETS_OK || s->s_status == OFFSETS_NO_LIBRARY)
        s->s_status = status;
    free(off);
    return !ready;
}

static struct module
module_at(struct target *t, const struct mapping *map)
{
    const struct module *modules;
    size_t n = target_modules(t, &modules);
    for (size_t i = 0; i < n; i++)
        if (map->map_start >= modules[i].mod_start && map->map_start < modules[i].mod_end)
            return modules[i];
    return (struct module){
        .mod_path = map->map_name, .mod_start = map->map_start, .mod_end = map->map_end};
}

/* Where to go on behind so many bytes at an address; what ends there may begin a block. */
static addr_t
after_piece(const struct target *t, addr_t at, size_t got)
{
    if (got == SEARCH_PIECE)
        return at + got - SEARCH_ALIGN;
    addr_t hole = at + got;
    addr_t next = target_after_hole(t, hole);
    if (next < hole)
        next = hole;
    return (next + SEARCH_ALIGN - 1) & ~(addr_t)(SEARCH_ALIGN - 1);
}

/* Looks for the block itself in a mapping; false once consider() has seen enough. */
static bool
search_mapping(struct search *s, const struct mapping *map)
{
    unsigned char piece[SEARCH_PIECE];
    uint64_t magic; /* its first bytes: the search is as fast as memory */
    uint64_t word;
    memcpy(&magic, UMEM_LAYOUT_MAGIC, sizeof(magic));
    for (addr_t at = map->map_start, next; at < map->map_end; at = next) {
        size_t want =
            map->map_end - at < sizeof(piece) ? (size_t)(map->map_end - at) : sizeof(piece);
        size_t got = target_read(s->s_target, at, piece, want);
        for (size_t i = 0; i + sizeof(UMEM_LAYOUT_MAGIC) <= got; i += SEARCH_ALIGN) {
            memcpy(&word, piece + i, sizeof(word));
            if (word != magic ||
                memcmp(piece + i, UMEM_LAYOUT_MAGIC, sizeof(UMEM_LAYOUT_MAGIC)) != 0)
                continue;
            struct module mod = module_at(s->s_target, map);
            if (!consider(s, &mod, at + i))
                return false;
        }
        next = after_piece(s->s_target, at, got);
        if (next <= at) /* the end of the address space */
            break;
    }
    return true;
}

/*
 * The symbol needs the library's file, which may be gone or replaced by
 * another version since a core was taken; the block is in the core anyway.
 */
static void
search_data(struct search *s)
{
    const unsigned want = MAPPING_WRITE | MAPPING_PRESENT;
    const struct mapping *maps;
    size_t n = target_mappings(s->s_target, &maps);

    for (size_t i = 0; i < n; i++)
        if ((maps[i].map_flags & want) == want && (maps[i].map_flags & MAPPING_ANONYMOUS) == 0 &&
            !search_mapping(s, &maps[i]))
            return;
}

enum offsets_status
offsets_load(struct target *t, struct offsets *off, char *why, size_t size)
{
    struct search s = {t, off, OFFSETS_NO_LIBRARY, why, size};

    snprintf(why, size,
             "no libumem in it, and no heap of glibc's: run the program under 'umem run' or with "
             "LD_PRELOAD=libumem.so.1");
    target_find_symbol(t, UMEM_LAYOUT_SYMBOL, consider, &s);
    if (s.s_status == OFFSETS_NO_LIBRARY)
        search_data(&s);
    return s.s_status;
}
