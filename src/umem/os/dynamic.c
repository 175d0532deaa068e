/* SPDX-License-Identifier: MIT */
/*
 * dynamic.c - see dynamic.h.
 *
 * No state.  A symbol's value is written as one word, so that others may be
 * looking it up; its page is writable for as long as that takes.
 */
#include "os/dynamic.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "os/os.h"
#include "os/watch.h"

/* Symbols of a GNU hash table: behind the last one of the last chain. */
static size_t
count_gnu_hash(const uint32_t *hash)
{
    uint32_t buckets = hash[0], first = hash[1], bloom_words = hash[2], last = 0;
    const uint32_t *bucket = hash + 4 + bloom_words * (sizeof(os_elf_address) / sizeof(uint32_t));
    const uint32_t *chain = bucket + buckets;

    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last)
            last = bucket[i];
    if (last < first)
        return 0;
    while ((chain[last - first] & 1) == 0)
        last++;
    return last + 1;
}

/* An address of the dynamic section, which the loader has relocated or not (vdso). */
static const void *
address(os_elf_address value, uintptr_t bias)
{
    return (const void *)(value < bias ? value + bias : value);
}

bool
os_dynamic_tables(const os_elf_dynamic *section, uintptr_t bias, struct os_dynamic *out)
{
    *out = (struct os_dynamic){.dyn_symbols = NULL};
    for (const os_elf_dynamic *d = section; d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_SYMTAB)
            out->dyn_symbols = address(d->d_un.d_ptr, bias);
        else if (d->d_tag == DT_STRTAB)
            out->dyn_strings = address(d->d_un.d_ptr, bias);
        else if (d->d_tag == DT_HASH)
            out->dyn_count = ((const uint32_t *)address(d->d_un.d_ptr, bias))[1];
        else if (d->d_tag == DT_GNU_HASH && out->dyn_count == 0)
            out->dyn_count = count_gnu_hash(address(d->d_un.d_ptr, bias));
    return out->dyn_symbols != NULL && out->dyn_strings != NULL;
}

#ifdef __GLIBC__

/* Makes a symbol's value another one. */
static bool
redefine(const os_elf_symbol *symbol, os_elf_address value)
{
    os_elf_address *field = (os_elf_address *)(uintptr_t)&symbol->st_value;
    void *page = (void *)umem_align_down((uintptr_t)field, os_page_size());

    if (__atomic_load_n(field, __ATOMIC_RELAXED) == value)
        return true;
    os_watch_syscall();
    if (mprotect(page, os_page_size(), PROT_READ | PROT_WRITE) != 0)
        return false;
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
    (void)mprotect(page, os_page_size(), PROT_READ);
    return true;
}

static bool
is_function(const os_elf_symbol *symbol)
{
    return (symbol->st_info & 0xf) == STT_FUNC && symbol->st_shndx != SHN_UNDEF;
}

bool
os_libc_follows(const char *const *names, size_t n)
{
    const char *(*of_libc)(void) = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
    struct link_map *libc = NULL;
    struct os_dynamic table;
    Dl_info info;
    int saved = errno;
    bool done = of_libc != NULL &&
                dladdr1((void *)(uintptr_t)of_libc, &info, (void **)&libc, RTLD_DL_LINKMAP) != 0 &&
                os_dynamic_tables(libc->l_ld, libc->l_addr, &table);

    for (size_t i = 0; done && i < n; i++) {
        void *wanted = dlsym(RTLD_DEFAULT, names[i]);
        if (wanted == NULL)
            continue;
        /* All versions of it. */
        for (const os_elf_symbol *s = table.dyn_symbols; s < table.dyn_symbols + table.dyn_count;
             s++)
            if (is_function(s) && strcmp(table.dyn_strings + s->st_name, names[i]) == 0)
                done &= redefine(s, (os_elf_address)(uintptr_t)wanted - libc->l_addr);
    }
    errno = saved;
    return done;
}

#else

bool
os_libc_follows(const char *const *names, size_t n)
{
    (void)names;
    (void)n;
    return false;
}

#endif
