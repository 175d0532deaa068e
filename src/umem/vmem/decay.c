/* SPDX-License-Identifier: MIT */
/*
 * decay.c - when the pages of free segments go back to the system.
 *
 * A page that is given back and needed again costs some 7 us for each 100 KiB:
 * purging 1 MiB took 30 us, and touching it again 290 us, where writing it
 * costs 24.  So freed pages stay for a while.  No thread runs for this: whoever
 * allocates or frees does a bounded step, with no lock held while pages go.
 *
 *  - By age: what has been free for VMEM_DECAY_MS goes, the oldest first, a
 *    step of PURGE_STEP at a time; of the last VMEM_DECAY_LITTLE bytes what has
 *    been free for VMEM_DECAY_LITTLE_MS.
 *  - By amount: above decay_max the thread that frees purges the oldest.  The
 *    bound starts at VMEM_DECAY_FLOOR and is learnt by regret: allocations that have
 *    to take pages which are not there, while others were purged for that bound
 *    within the last interval.  The first VMEM_DECAY_REGRET_MIN of an interval are a program
 *    that grows; what comes on top raises the bound by twice as much.  An interval
 *    without such regret in which little was allocated from dirty pages halves it.
 *    It never passes what was lately in use, so a program that frees all it has
 *    once is left with little, and one that oscillates keeps its pages.
 *
 * For the age of pages threads look that allocate or free from the heap, or come
 * by a slow path of a cache (cache/reap.c).
 *
 * MADV_DONTNEED, not MADV_FREE: that one costs as much to call, makes reuse
 * cheaper (87 us for 1 MiB), but the pages count as resident until memory is
 * short, and whether they are zero nobody can say.
 *
 * A segment is taken out of the arena while its pages go, so that nobody gets
 * it meanwhile; a fork in between has the child put it back (vm_purging).
 * Locked memory refuses (os_purge()): such a segment stays dirty, is on no list
 * and is not asked again before something is freed beside it.
 */
#include "os/os.h"
#include "vmem/private.h"

/* Pages that one step lets go for their age: 1/4 ms of work. */
#define PURGE_STEP ((size_t)8 << 20)
/* How long a step for age is not repeated by allocations and frees. */
#define STEP_PAUSE_MS 50u
/* Purging for the bound goes on to 3/4 of it, so that not every free has to. */
#define SLACK_FRACTION 4

static size_t
recent_peak(const struct vmem *vmp)
{
    return umem_max(vmp->vm_decay.decay_peak, vmp->vm_decay.decay_peak_last);
}

/* Ends the intervals that are over.  Locked. */
static void
settle(struct vmem *vmp, uint64_t now)
{
    struct vmem_decay *decay = &vmp->vm_decay;
    uint64_t intervals = (now - decay->decay_tick_ms) / VMEM_DECAY_MS;

    if (now - decay->decay_shed_ms >= VMEM_DECAY_MS)
        decay->decay_shed = 0;
    if (intervals == 0)
        return;
    bool earned =
        decay->decay_regret > VMEM_DECAY_REGRET_MIN || decay->decay_reused > decay->decay_max / 2;
    size_t halvings = (size_t)umem_min64(intervals - earned, sizeof(size_t) * 8 - 1);
    decay->decay_peak_last = intervals > 1 ? vmp->vm_stats.vms_inuse : decay->decay_peak;
    decay->decay_peak = vmp->vm_stats.vms_inuse;
    decay->decay_max = umem_min(decay->decay_max >> halvings, recent_peak(vmp));
    decay->decay_max = umem_max(decay->decay_max, VMEM_DECAY_FLOOR);
    decay->decay_regret = 0;
    decay->decay_reused = 0;
    decay->decay_tick_ms = now;
}

/* How much may stay now: with a limit, what that leaves beside what is in use. */
static size_t
dirty_max(const struct vmem *vmp)
{
    size_t max = vmp->vm_decay.decay_max, inuse = vmp->vm_stats.vms_inuse;

    if (vmp->vm_inuse_max == 0)
        return max;
    return umem_min(max, vmp->vm_inuse_max - umem_min(inuse, vmp->vm_inuse_max));
}

void
vmem_decay_allocated(struct vmem *vmp, const struct vmem_seg *seg)
{
    struct vmem_decay *decay = &vmp->vm_decay;
    size_t dirty = vmem_dirt_size(seg);
    size_t clean = vmem_seg_size(seg) - dirty;

    decay->decay_reused += dirty;
    decay->decay_peak = umem_max(decay->decay_peak, vmp->vm_stats.vms_inuse);
    if (clean == 0 || decay->decay_shed == 0)
        return;
    settle(vmp, os_clock_coarse_ms());
    size_t regret = umem_min(clean, decay->decay_shed);
    decay->decay_shed -= regret;
    decay->decay_regret += regret;
    if (decay->decay_regret <= VMEM_DECAY_REGRET_MIN)
        return;
    size_t lesson = umem_min(regret, decay->decay_regret - VMEM_DECAY_REGRET_MIN);
    decay->decay_max =
        umem_min(decay->decay_max + 2 * lesson, umem_max(recent_peak(vmp), VMEM_DECAY_FLOOR));
}

static struct vmem_seg *
seg_of_aged(struct umem_list *link)
{
    return UMEM_CONTAINER_OF(link, struct vmem_seg, seg_aged);
}

/* How long it takes until the first of vm_aged has been there for long enough.  Locked. */
static uint64_t
left_ms(const struct vmem *vmp, uint64_t now)
{
    bool little = vmp->vm_decay.decay_dirty <= VMEM_DECAY_LITTLE;
    uint32_t enough_ms = little ? VMEM_DECAY_LITTLE_MS : VMEM_DECAY_MS;

    if (umem_list_empty(&vmp->vm_aged))
        return VMEM_NEVER;
    uint32_t age_ms = (uint32_t)now - seg_of_aged(vmp->vm_aged.next)->seg_since_ms;
    return age_ms < enough_ms ? enough_ms - age_ms : 0;
}

/* Notes when a step for age is to be made; whether that is now.  Locked. */
static bool
note_due(struct vmem *vmp, uint64_t now)
{
    uint64_t left = left_ms(vmp, now);
    uint64_t due = left == VMEM_NEVER ? left : now + left;

    if (due < vmp->vm_decay.decay_next_ms)
        due = vmp->vm_decay.decay_next_ms;
    atomic_store_explicit(&vmp->vm_decay.decay_due_ms, due, memory_order_relaxed);
    return now >= due;
}

bool
vmem_decay_is_due(struct vmem *vmp)
{
    if (!vmp->vm_tracks_pages)
        return false;
    uint64_t now = os_clock_coarse_ms();
    settle(vmp, now);
    return note_due(vmp, now) || vmp->vm_decay.decay_dirty > dirty_max(vmp);
}

/* Allocates for as long as its pages go; no statistic counts it.  Locked, with tags. */
static struct vmem_seg *
take_out(struct vmem *vmp, struct vmem_seg *seg, size_t bytes)
{
    uintptr_t start = seg->seg_dirt.dirt_start;
    size_t size = umem_min(vmem_dirt_size(seg), umem_align_up(bytes, vmp->vm_quantum));

    seg = vmem_seg_carve(vmp, seg, start, size);
    vmp->vm_stats.vms_allocs++;
    vmp->vm_stats.vms_inuse += size;
    vmp->vm_decay.decay_purging += size;
    umem_list_push_back(&vmp->vm_purging, &seg->seg_aged);
    return seg;
}

static struct vmem_seg *
put_back(struct vmem *vmp, struct vmem_seg *seg, bool clean)
{
    umem_list_remove(&seg->seg_aged);
    umem_list_init(&seg->seg_aged);
    vmem_hash_remove(vmp, seg);
    vmp->vm_stats.vms_allocs--;
    vmp->vm_stats.vms_inuse -= vmem_seg_size(seg);
    vmp->vm_decay.decay_purging -= vmem_seg_size(seg);
    return vmem_seg_release(vmp, seg, clean);
}

/*
 * Lets the oldest pages go, at most so many bytes, aged: if they are old enough: by
 * unmapping a span of which nothing is in use, else by purging.  Returns how
 * many bytes it dealt with.  No lock held.
 */
static size_t
purge_oldest(struct vmem *vmp, size_t bytes, bool aged)
{
    if (!vmem_lock_with_tags(vmp))
        return 0;
    uint64_t left = left_ms(vmp, os_clock_coarse_ms());
    if (aged ? left != 0 : left == VMEM_NEVER) {
        umem_lock_release(&vmp->vm_lock);
        return 0;
    }
    struct vmem_seg *seg = seg_of_aged(vmp->vm_aged.next);
    size_t size = vmem_dirt_size(seg);
    struct vmem_unused unused = vmem_take_unused(vmp, seg);
    if (unused.unused_size != 0) {
        umem_lock_release(&vmp->vm_lock);
        vmem_return_unused(vmp, unused);
        return size;
    }
    seg = take_out(vmp, seg, bytes);
    uintptr_t start = seg->seg_start;
    size = vmem_seg_size(seg);
    umem_lock_release(&vmp->vm_lock);

    bool purged = os_purge((void *)start, size) == 0;

    umem_lock_acquire(&vmp->vm_lock);
    seg = put_back(vmp, seg, purged);
    if (!purged)
        vmem_dirt_forget(vmp, seg);
    else if (vmem_dirt_size(seg) == 0)
        unused = vmem_take_unused(vmp, seg);
    umem_lock_release(&vmp->vm_lock);
    vmem_return_unused(vmp, unused);
    return size;
}

/* How much there is above the bound; done of it was just purged for that.  No lock held. */
static size_t
excess(struct vmem *vmp, size_t done)
{
    struct vmem_decay *decay = &vmp->vm_decay;
    size_t above = 0;

    umem_lock_acquire(&vmp->vm_lock);
    uint64_t now = os_clock_coarse_ms();
    settle(vmp, now);
    if (done != 0 && decay->decay_shed == 0)
        decay->decay_shed_ms = now;
    decay->decay_shed += done;
    size_t max = dirty_max(vmp), target = max - max / SLACK_FRACTION;
    if (decay->decay_dirty > (done == 0 ? max : target))
        above = decay->decay_dirty - target;
    decay->decay_next_ms = now + STEP_PAUSE_MS;
    umem_lock_release(&vmp->vm_lock);
    return above;
}

bool
vmem_decay_step(struct vmem *vmp)
{
    size_t above, aged = 0, done = 0;

    while ((above = excess(vmp, done)) != 0 && (done = purge_oldest(vmp, above, false)) != 0)
        ;
    while (aged < PURGE_STEP && (done = purge_oldest(vmp, PURGE_STEP - aged, true)) != 0)
        aged += done;
    umem_lock_acquire(&vmp->vm_lock);
    (void)note_due(vmp, os_clock_coarse_ms());
    umem_lock_release(&vmp->vm_lock);
    return aged >= PURGE_STEP;
}

UMEM_COLD void
vmem_decay_all(struct vmem *vmp)
{
    while (purge_oldest(vmp, SIZE_MAX / 2, false) != 0)
        ;
}

UMEM_COLD void
vmem_decay_fork_child(struct vmem *vmp)
{
    while (!umem_list_empty(&vmp->vm_purging))
        (void)put_back(vmp, seg_of_aged(vmp->vm_purging.next), false);
}
