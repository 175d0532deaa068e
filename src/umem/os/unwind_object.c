/* SPDX-License-Identifier: MIT */
/*
 * unwind_object.c - which loaded object holds an address, and whether it is
 * still the one whose rules the table holds.
 *
 * _dl_find_object() (glibc 2.35) answers without a lock.  Where it is missing
 * the unwinder has no tables and goes by frame pointers: dl_iterate_phdr()
 * takes the loader's lock, which the thread that we interrupt may hold.
 *
 * Staleness.  After dlclose() and dlopen() other code may lie at an address
 * whose rule is in the table.  Where dlclose() is ours (malloc/dlclose.c) it
 * tells, and what is not there any more is forgotten at once; libc's own calls,
 * and all in a program with libumem_core, nobody tells.  But every object that rules
 * came from is remembered with its range and a fingerprint (build id, shape of
 * its table, ld.so's record), and an object found to overlap a remembered one
 * that differs has all rules of the old range forgotten and the walk started
 * again.  It is found by the first return address of the new code that is not
 * in the table, that is mostly in the first walk; and should every address be
 * one of the old code too, by a sample: now and then a walk looks one of its
 * frames up anew.  Until then a frame may be wrong, but it is read within the
 * stack's bounds like any other.  What is not noticed is code without tables
 * (JIT) on the addresses of an unloaded object.
 *
 * State: the remembered objects, read without a lock, written by whoever gets
 * known_busy by a try.  Nobody waits: who does not get it keeps no rule.
 */
#include "os/unwind.h"
#include "os/unwind_impl.h"

#if defined(__x86_64__)

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "os/os.h"

/*
 * More objects than nearly any process has (LibreOffice: 300).  When it is
 * full an old one makes room and its rules are forgotten.
 */
#define KNOWN_MAX 512
/* So many failed tries in a row and the holder is gone (the parent of a fork had it). */
#define BUSY_TRIES_MAX 65536

struct known {
    _Atomic uintptr_t known_start; /* 0: free */
    _Atomic uintptr_t known_end;
    _Atomic uint64_t known_print;
};

static struct known known[KNOWN_MAX];
static _Atomic uint32_t known_count; /* of known[], the used ones lie below it */
static _Atomic uint32_t known_busy;  /* 0 free, else tries since it was taken */
static uint32_t known_victim;        /* next to make room, under known_busy */

#ifdef DLFO_STRUCT_HAS_EH_DBASE
/*
 * Where the tables may lie: in the range where that holds them.  glibc gives
 * one segment only of a program whose segments have gaps between them; then
 * nothing but the 32-bit offsets in the tables bounds them.
 */
static void
object_tables(struct unwind_object *obj)
{
    const uintptr_t reach = (uintptr_t)1 << 31;

    obj->obj_tables_start = obj->obj_start;
    obj->obj_tables_end = obj->obj_end;
    if (obj->obj_hdr - obj->obj_start < obj->obj_end - obj->obj_start)
        return;
    obj->obj_tables_start = obj->obj_hdr > reach ? obj->obj_hdr - reach : 1;
    obj->obj_tables_end = obj->obj_hdr + reach;
}

extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

bool
unwind_object_find(uintptr_t addr, struct unwind_object *obj)
{
    struct dl_find_object found;

    if (_dl_find_object == NULL || _dl_find_object((void *)addr, &found) != 0 ||
        found.dlfo_eh_frame == NULL)
        return false;
    obj->obj_start = (uintptr_t)found.dlfo_map_start;
    obj->obj_end = (uintptr_t)found.dlfo_map_end;
    obj->obj_hdr = (uintptr_t)found.dlfo_eh_frame;
    obj->obj_handle = (uintptr_t)found.dlfo_link_map;
    object_tables(obj);
    return true;
}
#else
bool
unwind_object_find(uintptr_t addr, struct unwind_object *obj)
{
    (void)addr;
    (void)obj;
    return false;
}
#endif

/* Hashes size bytes at p. */
static uint64_t
hash_bytes(uint64_t hash, const void *p, size_t size)
{
    const char *bytes = p;
    uint64_t word;

    for (size_t i = 0; i < size; i += sizeof(word)) {
        word = 0;
        memcpy(&word, bytes + i, umem_min(size - i, sizeof(word)));
        hash = umem_hash64(hash ^ word);
    }
    return hash;
}

/* The build id in the notes of [p, end), hashed; unchanged where there is none. */
static uint64_t
hash_build_id(uint64_t hash, uintptr_t p, uintptr_t end)
{
    while (end - p >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)p;
        uintptr_t name = p + sizeof(*note);
        uintptr_t desc = name + umem_align_up(note->n_namesz, 4);

        if (note->n_namesz > end - name || desc > end || note->n_descsz > end - desc)
            break;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof("GNU") &&
            memcmp((const void *)name, "GNU", sizeof("GNU")) == 0)
            return hash_bytes(hash, (const void *)desc, note->n_descsz);
        p = desc + umem_align_up(note->n_descsz, 4);
        if (p > end)
            break;
    }
    return hash;
}

/* The object's notes, where its range begins with the file's header. */
static uint64_t
hash_notes(uint64_t hash, const struct unwind_object *obj)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)obj->obj_start;
    size_t size = obj->obj_end - obj->obj_start;

    if (size < os_page_size() || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_phentsize != sizeof(ElfW(Phdr)) ||
        header->e_phoff + header->e_phnum * sizeof(ElfW(Phdr)) > os_page_size())
        return hash;
    const ElfW(Phdr) *program = (const ElfW(Phdr) *)(obj->obj_start + header->e_phoff);
    uintptr_t bias = obj->obj_start;
    bool based = false;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        const ElfW(Phdr) *p = &program[i];
        if (p->p_type == PT_LOAD && !based) {
            bias -= umem_align_down(p->p_vaddr, os_page_size());
            based = true;
        }
    }
    for (unsigned i = 0; i < header->e_phnum; i++) {
        uintptr_t at = bias + program[i].p_vaddr;
        if (program[i].p_type == PT_NOTE && at - obj->obj_start < size &&
            program[i].p_memsz <= obj->obj_end - at)
            hash = hash_build_id(hash, at, at + program[i].p_memsz);
    }
    return hash;
}

/*
 * What tells two objects at one address apart: the build id, and where there
 * is none the table's place, length, first, middle and last lines, and ld.so's
 * record.
 */
static uint64_t
fingerprint(const struct unwind_object *obj)
{
    enum { HEAD = 12, LINE = 8 };
    uint64_t hash = umem_hash64((obj->obj_hdr - obj->obj_start) ^ obj->obj_handle);
    uint32_t head[HEAD / sizeof(uint32_t)];
    size_t room = obj->obj_tables_end - obj->obj_hdr;

    uint64_t with_id = hash_notes(hash, obj);
    if (with_id != hash || room < HEAD)
        return with_id;
    memcpy(head, (const void *)obj->obj_hdr, HEAD);
    hash = hash_bytes(hash, head, HEAD);
    size_t count = head[2];
    if (count == 0 || count > (room - HEAD) / LINE)
        return hash;
    const char *lines = (const char *)obj->obj_hdr + HEAD;
    hash = hash_bytes(hash, lines, LINE);
    hash = hash_bytes(hash, lines + count / 2 * LINE, LINE);
    return hash_bytes(hash, lines + (count - 1) * LINE, LINE);
}

static bool
known_is(const struct known *k, const struct unwind_object *obj, uint64_t print)
{
    return atomic_load_explicit(&k->known_start, memory_order_relaxed) == obj->obj_start &&
           atomic_load_explicit(&k->known_end, memory_order_relaxed) == obj->obj_end &&
           atomic_load_explicit(&k->known_print, memory_order_relaxed) == print;
}

static bool
busy_try(void)
{
    uint32_t tries = atomic_fetch_add_explicit(&known_busy, 1, memory_order_acquire);

    return tries == 0 || tries > BUSY_TRIES_MAX;
}

/* Forgets what overlaps the object; returns whether anything did, and a free place. */
static bool
known_replace(const struct unwind_object *obj, struct known **place)
{
    uint32_t count = atomic_load_explicit(&known_count, memory_order_relaxed);
    bool any = false;

    *place = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct known *k = &known[i];
        uintptr_t start = atomic_load_explicit(&k->known_start, memory_order_relaxed);
        uintptr_t end = atomic_load_explicit(&k->known_end, memory_order_relaxed);

        if (start != 0 && start < obj->obj_end && obj->obj_start < end) {
            atomic_store_explicit(&k->known_start, 0, memory_order_relaxed);
            unwind_table_forget(start, end);
            start = 0;
            any = true;
        }
        if (start == 0)
            *place = k;
    }
    return any;
}

/* A place for one more: a new one, or that of a victim. */
static struct known *
known_more(void)
{
    uint32_t count = atomic_load_explicit(&known_count, memory_order_relaxed);
    struct known *k;

    if (count < KNOWN_MAX) {
        atomic_store_explicit(&known_count, count + 1, memory_order_release);
        return &known[count];
    }
    k = &known[known_victim++ % KNOWN_MAX];
    uintptr_t start = atomic_exchange_explicit(&k->known_start, 0, memory_order_relaxed);
    unwind_table_forget(start, atomic_load_explicit(&k->known_end, memory_order_relaxed));
    return k;
}

bool
unwind_object_known(const struct unwind_object *obj, bool *forgotten)
{
    uint64_t print = fingerprint(obj);
    uint32_t count = atomic_load_explicit(&known_count, memory_order_acquire);
    struct known *place;

    for (uint32_t i = 0; i < count; i++) {
        if (known_is(&known[i], obj, print))
            return true;
    }
    if (!busy_try())
        return false;
    *forgotten = known_replace(obj, &place);
    /* Rules of code without tables may have been kept where the object lies now. */
    if (!*forgotten && atomic_load_explicit(&unwind_guessed, memory_order_relaxed))
        unwind_table_forget(obj->obj_start, obj->obj_end);
    if (place == NULL)
        place = known_more();
    atomic_store_explicit(&place->known_end, obj->obj_end, memory_order_relaxed);
    atomic_store_explicit(&place->known_print, print, memory_order_relaxed);
    atomic_store_explicit(&place->known_start, obj->obj_start, memory_order_release);
    atomic_store_explicit(&known_busy, 0, memory_order_release);
    return true;
}

/* Whether a remembered object is still mapped where it was.  Reads nothing of it: it may be going.
 */
static bool
known_is_there(uintptr_t start, uintptr_t end)
{
    struct unwind_object obj;

    return unwind_object_find(start, &obj) && obj.obj_start == start && obj.obj_end == end;
}

void
os_unwind_unloaded(void)
{
    uint32_t count = atomic_load_explicit(&known_count, memory_order_acquire);

    for (uint32_t i = 0; i < count; i++) {
        struct known *k = &known[i];
        uintptr_t start = atomic_load_explicit(&k->known_start, memory_order_relaxed);
        uintptr_t end = atomic_load_explicit(&k->known_end, memory_order_relaxed);

        /* Whose place another thread takes meanwhile has forgotten it, too. */
        if (start != 0 && !known_is_there(start, end) &&
            atomic_compare_exchange_strong(&k->known_start, &start, 0))
            unwind_table_forget(start, end);
    }
}

#else

void
os_unwind_unloaded(void)
{
}

#endif
