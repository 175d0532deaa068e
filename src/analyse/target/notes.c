/* SPDX-License-Identifier: MIT */
/*
 * notes.c - the notes of a core file: threads and their registers, the table
 * of mapped files, the auxiliary vector, the process' id and name.
 *
 * libelf walks the notes; the descriptors are the kernel's own structures,
 * read by offset with their sizes checked, for none can be trusted.
 */
#include "target/target_impl.h"

#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in struct elf_prstatus and elf_prpsinfo (linux/elfcore.h), by size of a word. */
#define PRSTATUS_PID(word) ((word) == 8 ? 32U : 24U)
#define PRSTATUS_REGS(word) ((word) == 8 ? 112U : 72U)
#define PRPSINFO_PID(word) ((word) == 8 ? 24U : 12U)
#define PRPSINFO_FNAME(word) ((word) == 8 ? 40U : 28U)
#define PRPSINFO_FNAME_SIZE 16

#ifndef NT_ARM_TLS
#define NT_ARM_TLS 0x401
#endif

static pid_t
pid_at(const unsigned char *p)
{
    int32_t pid;
    memcpy(&pid, p, sizeof(pid));
    return pid;
}

static void
read_prstatus(struct target *t, const unsigned char *desc, size_t size)
{
    unsigned word = target_word(t);
    size_t regs = t->t_machine->mach_nregs * word;
    if (size < PRSTATUS_REGS(word) + regs) {
        target_add_reason(t, "a thread's registers are too short in the core");
        return;
    }
    struct thread *thr = target_add_thread(t, pid_at(desc + PRSTATUS_PID(word)));
    thread_add_registers(t, thr, desc + PRSTATUS_REGS(word), regs);
    if (t->t_pid < 0)
        t->t_pid = thr->thr_tid; /* until NT_PRPSINFO says better */
}

static void
read_prpsinfo(struct target *t, const unsigned char *desc, size_t size)
{
    unsigned word = target_word(t);
    if (size < PRPSINFO_FNAME(word) + PRPSINFO_FNAME_SIZE)
        return;
    t->t_pid = pid_at(desc + PRPSINFO_PID(word));
    char name[PRPSINFO_FNAME_SIZE + 1] = "";
    memcpy(name, desc + PRPSINFO_FNAME(word), PRPSINFO_FNAME_SIZE);
    free(t->t_exe);
    t->t_exe = target_strdup(name); /* until the executable's mapping is known */
}

void
auxv_read(struct target *t, const void *data, size_t size)
{
    const unsigned char *p = data;
    const unsigned word = target_word(t);
    for (; size >= 2 * word; p += 2 * word, size -= 2 * word) {
        uint64_t type = target_word_at(t, p);
        uint64_t value = target_word_at(t, p + word);
        if (type == AT_ENTRY)
            t->t_entry = value;
        else if (type == AT_SYSINFO_EHDR)
            t->t_vdso = value;
        else if (type == AT_EXECFN)
            t->t_execfn = value;
        else if (type == AT_NULL)
            break;
    }
}

/*
 * NT_FILE: count, page size, then start, end, offset in pages of each file
 * mapping, then their names one after another.  They become mappings with no
 * access; core.c merges them with the segments.
 */
static void
read_files(struct target *t, const unsigned char *desc, size_t size)
{
    const unsigned word = target_word(t);
    if (size < 2 * word)
        return;
    uint64_t count = target_word_at(t, desc);
    uint64_t page = target_word_at(t, desc + word);
    if (count > (size - 2 * word) / (3 * word)) {
        target_add_reason(t, "the table of mapped files is damaged in the core");
        return;
    }
    const unsigned char *entry = desc + 2 * word;
    const char *name = (const char *)(entry + 3 * word * count);
    const char *limit = (const char *)desc + size;
    for (; count > 0; count--, entry += 3 * word) {
        size_t length = strnlen(name, (size_t)(limit - name));
        if (name + length >= limit)
            return;
        addr_t start = target_word_at(t, entry);
        addr_t end = target_word_at(t, entry + word);
        if (start < end)
            target_add_mapping(t, start, end, MAPPING_PRIVATE, name,
                               target_word_at(t, entry + 2 * word) * page);
        name += length + 1;
    }
}

/* What target_dump() has written beside what other cores have. */
static void
read_own(struct target *t, unsigned type, const unsigned char *desc, size_t size)
{
    if (type == DUMP_NOTE_TIME && size >= sizeof(t->t_time)) {
        memcpy(&t->t_time, desc, sizeof(t->t_time));
    } else if (type == DUMP_NOTE_MAPS && t->t_maps == NULL) {
        t->t_maps = strndup((const char *)desc, size);
    } else if (type == DUMP_NOTE_MISSING) {
        target_add_reason(t, "%.*s", (int)strnlen((const char *)desc, size), (const char *)desc);
    }
}

static void
read_note(struct target *t, const char *owner, unsigned type, const unsigned char *desc,
          size_t size)
{
    struct thread *last = t->t_thread_count > 0 ? &t->t_threads[t->t_thread_count - 1] : NULL;
    bool linux_note = strcmp(owner, "LINUX") == 0;
    if (strcmp(owner, "CORE") == 0 && type == NT_PRSTATUS) {
        read_prstatus(t, desc, size);
    } else if (strcmp(owner, "CORE") == 0 && type == NT_PRPSINFO) {
        read_prpsinfo(t, desc, size);
    } else if (strcmp(owner, "CORE") == 0 && type == NT_AUXV) {
        auxv_read(t, desc, size);
    } else if (strcmp(owner, "CORE") == 0 && type == NT_FILE) {
        read_files(t, desc, size);
    } else if (strcmp(owner, DUMP_NOTE_OWNER) == 0) {
        read_own(t, type, desc, size);
    } else if (last != NULL && linux_note && type == NT_ARM_TLS && size >= 8) {
        last->thr_fs_base = target_word_at(t, desc);
    } else if (last != NULL && linux_note && type == NT_386_TLS) {
        thread_add_tls(t, last, desc, size);
    } else if (last != NULL && (type == NT_FPREGSET || linux_note)) {
        /* Vector and other register sets belong to the thread before them. */
        thread_add_registers(t, last, desc, size);
    }
}

void
notes_read(struct target *t, uint64_t offset, uint64_t size, uint64_t align)
{
    GElf_Nhdr nhdr;
    size_t name;
    size_t desc;
    size_t at = 0;
    Elf_Data *data = elf_getdata_rawchunk(t->t_elf, (int64_t)offset, (size_t)size,
                                          align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
    if (data == NULL)
        return;
    while ((at = gelf_getnote(data, at, &nhdr, &name, &desc)) > 0) {
        const char *bytes = data->d_buf;
        char owner[8] = "";
        memcpy(owner, bytes + name,
               nhdr.n_namesz < sizeof(owner) ? nhdr.n_namesz : sizeof(owner) - 1);
        read_note(t, owner, nhdr.n_type, (const unsigned char *)bytes + desc, nhdr.n_descsz);
    }
}
