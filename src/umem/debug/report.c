/* SPDX-License-Identifier: MIT */
/*
 * report.c - the one path that misuse is reported by.
 *
 *   umem allocator: redzone violation: write past end of buffer
 *   buffer=0x7f31c0a01fd0  bufctl=0x7f31c0c00a20  cache: umem_alloc_16  requested: 8 bytes
 *   byte at offset 0x8 is 0x41, should be 0xb1
 *   the bytes there now:
 *     +0x0      41 41 41 41 41 41 41 41 41 41 41 41 41 41 41 41  AAAAAAAAAAAAAAAA
 *   allocated by thread 4711, 0.002 s ago:
 *     weblog`main+0x21
 *     libc.so.6`__libc_start_main+0x85
 *     weblog`_start+0x21
 *   umem: heap corruption detected
 *   stack of the thread that found it: thread 4711
 *     ...
 *
 * To standard error and to the message ring.  Nothing here allocates or takes
 * a lock but the log (log.h), whose owner a report is from its first line to
 * its last, so that reports of two threads do not mix; a thread that comes
 * here again within its own report says what it found and dies.  Working
 * memory is static, for a report may run on a small signal stack.  What is
 * printed is read from the chunk, the bufctl and the cache that the caller
 * passed: the heap's lists are never followed.
 */
#include <errno.h>
#include <string.h>

#include "cache/cache.h"
#include "debug/audit.h"
#include "debug/contents.h"
#include "debug/debug.h"
#include "debug/log.h"
#include "debug/stacks.h"
#include "debug/text.h"
#include "os/maps.h"
#include "os/os.h"
#include "os/stderr.h"
#include "os/symbolise.h"
#include "slab/pagemap.h"

#define NS_PER_MS 1000000u
#define MS_PER_S 1000u

/* Frames of the stack of the thread that found it. */
#define FINDER_FRAMES_MAX 64

/* Bytes shown round the place: from 16 before its row to two rows behind. */
#define SHOWN_BEFORE 16
#define SHOWN_SIZE 64

static const char *const messages[] = {
    [UMERR_MODIFIED] = "buffer modified after being freed",
    [UMERR_REDZONE] = "redzone violation: write past end of buffer",
    [UMERR_UNDERRUN] = "redzone violation: write before start of buffer",
    [UMERR_DUPFREE] = "duplicate free: buffer freed twice",
    [UMERR_BADADDR] = "invalid free: buffer not in cache",
    [UMERR_BADBUFTAG] = "boundary tag corrupted",
    [UMERR_BADBUFCTL] = "bufctl corrupted",
    [UMERR_BADCACHE] = "buffer freed to wrong cache",
    [UMERR_BADSIZE] = "bad free: free size",
    [UMERR_BADBASE] = "bad free: free address",
    [UMERR_PAST_END] = "past end of buffer",
    [UMERR_BEFORE_START] = "before start of buffer",
    [UMERR_AFTER_FREE] = "after free of buffer",
    [UMERR_STRAY] = "near no known buffer",
    [UMERR_NOTEMPTY] = "destroyed cache is not empty",
    [UMERR_NULL] = "allocation returns NULL",
    [UMERR_SIGNAL] = "heap used by a signal handler",
};

/* Whether it is a buffer that is wrong; else the call is. */
static bool
is_of_buffer(const struct umem_error_info *err)
{
    return err->err_kind != UMERR_NULL && err->err_kind != UMERR_SIGNAL;
}

/* Whether the processor stopped an access, whose signal ends the process. */
static bool
is_access(enum umem_error kind)
{
    return kind == UMERR_PAST_END || kind == UMERR_BEFORE_START || kind == UMERR_AFTER_FREE ||
           kind == UMERR_STRAY;
}

static const char *
cache_name(const struct umem_cache *cache)
{
    return cache != NULL ? cache->cache_name : "none (oversize)";
}

static void
say_headline(const struct umem_error_info *err)
{
    static const char *const accesses[] = {
        [OS_ACCESS] = "access", [OS_ACCESS_READ] = "read", [OS_ACCESS_WRITE] = "write"};

    if (is_access(err->err_kind))
        umem_text_add(
            "umem allocator: %s%s %s",
            pagemap_kind(pagemap_get(err->err_addr)) == UMEM_PAGEMAP_FIREWALL ? "firewall: " : "",
            accesses[err->err_fault->fault_access], messages[err->err_kind]);
    else
        umem_text_add("umem allocator: %s", messages[err->err_kind]);
    if (err->err_kind == UMERR_BADSIZE)
        umem_text_add(" (%zu) != alloc size (%zu)", err->err_size, err->err_alloc_size);
    if (err->err_kind == UMERR_BADBASE)
        umem_text_add(" (%p) != alloc address (%p)", err->err_addr,
                      err->err_buffer != NULL ? (void *)err->err_buffer->buf_addr : NULL);
    if (err->err_kind == UMERR_NULL)
        umem_text_add(": %s", err->err_why);
    umem_text_add("\n");
}

static void
say_buffer_line(const struct umem_buffer *buf)
{
    umem_text_add("buffer=%p", (void *)buf->buf_addr);
    if (buf->buf_bufctl != NULL)
        umem_text_add("  bufctl=%p", (void *)buf->buf_bufctl);
    umem_text_add("  cache: %s", cache_name(buf->buf_cache));
    if (buf->buf_bufctl != NULL)
        umem_text_add("  requested: %llu bytes", (unsigned long long)buf->buf_bufctl->bc_size);
    umem_text_add("\n");
}

static void
say_buffer(const struct umem_error_info *err)
{
    const struct umem_buffer *buf = err->err_buffer;

    if (err->err_kind == UMERR_STRAY)
        return; /* none is meant: see say_stray() */
    if (!is_of_buffer(err)) {
        if (err->err_kind == UMERR_NULL)
            umem_text_add("requested: %zu bytes  cache: %s\n", err->err_size,
                          cache_name(err->err_cache));
        return;
    }
    if (buf == NULL) {
        if (err->err_kind != UMERR_NOTEMPTY)
            umem_text_add("buffer=%p", err->err_addr);
        if (err->err_cache != NULL)
            umem_text_add("%scache: %s", err->err_kind != UMERR_NOTEMPTY ? "  " : "",
                          err->err_cache->cache_name);
        umem_text_add("\n");
        return;
    }
    say_buffer_line(buf);
}

/* Bytes from the start of a buffer to the end of what is ours behind it. */
static size_t
size_with_tag(const struct umem_buffer *buf)
{
    size_t tag = (buf->buf_flags & UMF_REDZONE) != 0 ? sizeof(struct umem_buftag) : 0;

    return buf->buf_space + buf->buf_gap + tag;
}

/* Up to SHOWN_SIZE bytes round the place that is wrong, and what they had been. */
static void
say_bytes(const struct umem_error_info *err)
{
    char freed[SHOWN_SIZE];
    const struct umem_buffer *buf = err->err_buffer;
    size_t limit = size_with_tag(buf);
    size_t from = umem_align_down(err->err_offset, SHOWN_BEFORE);

    if (err->err_kind == UMERR_UNDERRUN) /* limit - from is right modulo 2^N */
        from = -sizeof(struct umem_buftag);
    else
        from -= umem_min(from, SHOWN_BEFORE);
    umem_text_bytes("the bytes there now:", buf->buf_addr + (ptrdiff_t)from, from,
                    umem_min(limit - from, SHOWN_SIZE));
    if (err->err_kind != UMERR_MODIFIED || (buf->buf_flags & UMF_CONTENTS) == 0)
        return;
    size_t kept = umem_contents_find(buf->buf_addr, from, freed, sizeof(freed));
    if (kept > 0)
        umem_text_bytes("the bytes there when it was freed:", freed, from, kept);
    else
        umem_text_add("what they were when it was freed is no longer in the contents log\n");
}

/* What an address is that is none of ours. */
static void
say_whereabouts(const void *addr)
{
    static struct os_mapping mapping;
    static char symbol[OS_SYMBOL_SIZE];
    const char *path = mapping.map_path;

    if (pagemap_get(addr) != 0)
        umem_text_add("the address is in umem's heap, but in no buffer\n");
    else if (!os_mapping_find((uintptr_t)addr, &mapping))
        umem_text_add("nothing is mapped at that address\n");
    else if ((uintptr_t)__builtin_frame_address(0) - mapping.map_start <
             mapping.map_end - mapping.map_start)
        umem_text_add("the address is in the stack of this thread\n");
    else if (os_symbolise_data((uintptr_t)addr, symbol, sizeof(symbol)))
        umem_text_add("the address is in %s: %s\n",
                      mapping.map_perms[2] == 'x' ? "code" : "static data", symbol);
    else if (path[0] == '[' && strcmp(path, "[heap]") != 0)
        umem_text_add("the address is in %s\n", path);
    else
        umem_text_add("the address is in memory that is not umem's%s%s\n",
                      path[0] != '\0' ? ": " : "", path);
}

/* Where an access was, as seen from its buffer, and what is there if not the heap. */
static void
say_access(const struct umem_error_info *err)
{
    size_t size = err->err_buffer->buf_space, offset = err->err_offset;

    if (err->err_kind == UMERR_BEFORE_START)
        umem_text_add("address %p, byte %zu before its start\n", err->err_addr, 0 - offset);
    else if (offset >= size)
        umem_text_add("address %p, byte %zu past its end (offset 0x%zx)\n", err->err_addr,
                      offset - size + 1, offset);
    else
        umem_text_add("address %p, offset 0x%zx\n", err->err_addr, offset);
    if (err->err_kind != UMERR_AFTER_FREE && pagemap_get(err->err_addr) == 0)
        say_whereabouts(err->err_addr);
}

static void
say_transaction(const char *what, const struct umem_transaction *txn)
{
    if (txn->txn_when == 0)
        return;
    uint64_t ago_ms = (os_clock_ns() - umem_transaction_ns(txn)) / NS_PER_MS;
    const struct umem_stack *stack = umem_stacks_get(txn->txn_stack);
    umem_text_add("%s by thread %u, %llu.%03llu s ago:\n", what, umem_transaction_thread(txn),
                  (unsigned long long)(ago_ms / MS_PER_S), (unsigned long long)(ago_ms % MS_PER_S));
    if (stack != NULL)
        umem_text_stack(stack->stack_frame, stack->stack_depth);
    else
        umem_text_add("  (no stack was kept)\n");
}

static void
say_transactions(const struct umem_buffer *buf)
{
    if (buf->buf_bufctl == NULL)
        return;
    const struct umem_bufctl *bc = buf->buf_bufctl;
    if (bc->bc_state == UMEM_BUFFER_RAW) {
        umem_text_add("it was never handed out\n");
        return;
    }
    if ((buf->buf_flags & UMF_AUDIT) == 0) {
        umem_text_add("no transactions are recorded without UMEM_DEBUG=audit\n");
        return;
    }
    switch (bc->bc_state) {
    case UMEM_BUFFER_ALLOCATED:
        say_transaction("allocated", &bc->bc_last);
        say_transaction("before that, freed", &bc->bc_prev);
        break;
    case UMEM_BUFFER_FREE:
        say_transaction("freed", &bc->bc_last);
        say_transaction("allocated", &bc->bc_prev);
        break;
    default:
        say_transaction("last used", &bc->bc_last);
        say_transaction("before that", &bc->bc_prev);
        break;
    }
}

/* An access that no record explains: the buffers on both sides. */
static void
say_stray(const struct umem_error_info *err)
{
    uintptr_t addr = (uintptr_t)err->err_addr;
    const struct umem_buffer *below = err->err_buffer, *above = err->err_above;

    umem_text_add("address %p: if a buffer was there, nothing is known of it any more\n",
                  err->err_addr);
    if (below != NULL) {
        umem_text_add("the nearest buffer below ends %zu bytes before it:\n",
                      (size_t)(addr - (uintptr_t)below->buf_addr - below->buf_space));
        say_buffer_line(below);
        say_transactions(below);
    }
    if (above != NULL) {
        umem_text_add("the nearest buffer above begins %zu bytes behind it:\n",
                      (size_t)((uintptr_t)above->buf_addr - addr));
        say_buffer_line(above);
        say_transactions(above);
    }
}

static void
say_place(const struct umem_error_info *err)
{
    const struct umem_buffer *buf = err->err_buffer;

    switch (err->err_kind) {
    case UMERR_MODIFIED:
        umem_text_add("modification occurred at offset 0x%zx (0x%llx replaced by 0x%llx)\n",
                      err->err_offset, (unsigned long long)err->err_expected,
                      (unsigned long long)err->err_found);
        break;
    case UMERR_BADCACHE:
        umem_text_add("buffer was allocated from %s, freed %s%s\n",
                      buf != NULL ? cache_name(buf->buf_cache) : "another cache",
                      err->err_cache != NULL ? "to " : "by free() or umem_free()",
                      err->err_cache != NULL ? err->err_cache->cache_name : "");
        return;
    case UMERR_BADBUFTAG:
        if (err->err_offset >= sizeof(uint32_t) && buf != NULL &&
            err->err_offset - sizeof(uint32_t) >= buf->buf_space + buf->buf_gap)
            umem_text_add("the buffer's end is intact: a wild write\n");
        /* fall through */
    case UMERR_REDZONE:
    case UMERR_UNDERRUN:
        umem_text_add("byte at offset %s0x%zx is 0x%02llx, should be 0x%02llx\n",
                      err->err_kind == UMERR_UNDERRUN ? "-" : "",
                      err->err_kind == UMERR_UNDERRUN ? -err->err_offset : err->err_offset,
                      (unsigned long long)err->err_found, (unsigned long long)err->err_expected);
        break;
    case UMERR_PAST_END:
    case UMERR_BEFORE_START:
    case UMERR_AFTER_FREE:
        say_access(err);
        return;
    case UMERR_STRAY:
        say_stray(err);
        return;
    case UMERR_BADADDR:
        if (buf == NULL)
            say_whereabouts(err->err_addr);
        return;
    default:
        return;
    }
    if (buf != NULL && buf->buf_addr != NULL &&
        (err->err_kind == UMERR_UNDERRUN || err->err_offset < size_with_tag(buf)))
        say_bytes(err);
}

/*
 * Drops the frames of the signal's delivery.  The program counter is no return
 * address: a byte on it is still that instruction, which is what is looked up.
 */
static uint32_t
from_fault(uintptr_t *frames, uint32_t depth, uintptr_t pc)
{
    uint32_t inner = 0;

    while (inner < depth && frames[inner] != pc)
        inner++;
    if (pc == 0 || inner == depth)
        return depth;
    memmove(frames, frames + inner, (depth - inner) * sizeof(frames[0]));
    frames[0]++;
    return depth - inner;
}

/* The stack of this thread, of an access from where it was made. */
static void
say_finder(const struct umem_error_info *err)
{
    static uintptr_t frames[FINDER_FRAMES_MAX + UMEM_OWN_FRAMES_MAX];
    uint32_t depth = umem_audit_stack(frames, FINDER_FRAMES_MAX);

    if (err->err_fault != NULL)
        depth = from_fault(frames, depth, err->err_fault->fault_pc);
    if (is_access(err->err_kind))
        umem_text_add("umem: illegal access\n");
    else if (is_of_buffer(err))
        umem_text_add("umem: heap corruption detected\n");
    umem_text_add("stack of the thread that %s: thread %u\n",
                  is_of_buffer(err) ? is_access(err->err_kind) ? "made it" : "found it" : "called",
                  umem_thread_self());
    umem_text_stack(frames, depth);
}

/*
 * This thread is within a report already: its own report crashed, and a
 * handler of that signal came here.  The log's text is in an unknown state.
 */
static UMEM_COLD void
report_nested(const struct umem_error_info *err)
{
    const char *message = messages[err->err_kind];

    os_stderr("\numem allocator: ", sizeof("\numem allocator: ") - 1);
    os_stderr(message, strlen(message));
    os_stderr(", within a report of this thread\n",
              sizeof(", within a report of this thread\n") - 1);
    if (!umem_options.opt_noabort)
        os_abort();
}

UMEM_COLD void
umem_report(const struct umem_error_info *err)
{
    int saved = errno;
    bool access = is_access(err->err_kind);
    bool fatal = err->err_kind != UMERR_NOTEMPTY && !access;

    if (!umem_log_enter()) {
        report_nested(err);
        errno = saved;
        return;
    }
    say_headline(err);
    say_buffer(err);
    say_place(err);
    if (err->err_kind != UMERR_STRAY && err->err_buffer != NULL)
        say_transactions(err->err_buffer);
    if (fatal || access)
        say_finder(err);
    umem_text_flush();
    /* The log stays ours to the end: other threads' reports wait, and die with us. */
    if (fatal && !umem_options.opt_noabort)
        os_abort();
    umem_log_leave();
    errno = saved;
}
