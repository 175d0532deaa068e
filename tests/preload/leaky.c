/* SPDX-License-Identifier: MIT */
/*
 * A program with known leaks, for the leak finder to find exactly.
 *
 *   leaky leaks MODULE     loses 1,052 blocks and keeps all sorts of others
 *   leaky thread MODULE    the same, the losing done by a thread that then ends
 *   leaky clean MODULE     only keeps
 *
 * It says "ready" and waits for a line on stdin ("quit" makes it end with 0).
 * The lines where lost blocks are made carry "SITE name" in a comment, which
 * the test looks for.
 *
 * A conservative scan takes any stale copy for a pointer.  So lost pointers are
 * made in functions that keep nothing (noipa), and afterwards wipe() overwrites
 * the dead part of the stack and every register that nobody needs, vector
 * registers included.
 */
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __x86_64__
#error "registers are written by hand: port hold_in_register() and wipe()"
#endif

#define KEEP __attribute__((noipa)) static

enum { LIST = 50, REACHABLE = 10000, HELD = 700, WIPED_BYTES = 256 * 1024, LIFETIME_SECONDS = 600 };

struct node {
    struct node *next;
    char payload[48];
};

/* The block, which the compiler may not lose, filled with no pointers. */
static inline void *
made(void *p, size_t size)
{
    if (p == NULL)
        abort();
    memset(p, 0x11, size);
    __asm__ volatile("" : : "r"(p) : "memory");
    return p;
}

/* --- What is lost --- */

KEEP void
leak_24(void)
{
    made(malloc(24), 24); /* SITE leak_24 */
}

KEEP void
leak_100(void)
{
    made(malloc(100), 100); /* SITE leak_100 */
}

KEEP void
leak_1000(void)
{
    made(calloc(10, 100), 1000); /* SITE leak_1000 */
}

/* The first node is lost, and by it the others. */
KEEP void
lose_list(void)
{
    struct node *head = NULL;
    for (int i = 0; i < LIST; i++) {
        struct node *n = made(malloc(sizeof(*n)), sizeof(*n)); /* SITE lose_list */
        n->next = head;
        head = n;
    }
}

KEEP void
lose_cycle(void)
{
    struct node *n[2];
    size_t size = sizeof(*n[0]) + 200;
    for (int i = 0; i < 2; i++)
        n[i] = made(malloc(size), size); /* SITE lose_cycle */
    n[0]->next = n[1];
    n[1]->next = n[0];
}

KEEP void *
lose_everything(void *unused)
{
    for (int i = 0; i < 500; i++)
        leak_24();
    for (int i = 0; i < 300; i++)
        leak_100();
    for (int i = 0; i < 200; i++)
        leak_1000();
    lose_list();
    lose_cycle();
    return unused;
}

/* --- What is kept --- */

static struct node *reachable;
static char *interior;
static __thread void *held_by_tls;
static pthread_key_t held_by_key;
static int stop; /* a futex */
static sem_t holders_ready;

KEEP void *
make_held(size_t size)
{
    return made(malloc(size), size);
}

KEEP void
keep_reachable(void)
{
    for (int i = 0; i < REACHABLE; i++) {
        struct node *n = made(malloc(sizeof(*n)), sizeof(*n));
        n->next = reachable;
        reachable = n;
    }
}

/* Only an address in the middle is known. */
KEEP void
keep_interior(void)
{
    interior = (char *)make_held(HELD) + 333;
}

KEEP void
free_reachable(void)
{
    while (reachable != NULL) {
        struct node *n = reachable;
        reachable = n->next;
        free(n);
    }
    free(interior - 333);
}

/*
 * Wipes the dead stack, tells that it is ready and waits for `stop`, with p,
 * a variable bound to a callee-saved register, in that register alone: all in
 * one piece of assembly, so that nothing can spill it.  spin, bound to r14,
 * says whether to spin or to sleep.
 */
static int registers_ready;

#define HOLD_IN_REGISTER(p, spin)                                                                  \
    __asm__ volatile("lea -32768(%%rsp), %%rdi\n"                                                  \
                     "xor %%eax, %%eax\n"                                                          \
                     "mov $4096, %%ecx\n"                                                          \
                     "rep stosq\n"                                                                 \
                     "lock incl %[ready]\n"                                                        \
                     "1: cmpl $0, %[stop]\n"                                                       \
                     "jne 2f\n"                                                                    \
                     "pause\n"                                                                     \
                     "test %%r14d, %%r14d\n"                                                       \
                     "jnz 1b\n"                                                                    \
                     "mov %[futex], %%eax\n"                                                       \
                     "lea %[stop], %%rdi\n"                                                        \
                     "xor %%esi, %%esi\n"                                                          \
                     "xor %%edx, %%edx\n"                                                          \
                     "xor %%r10d, %%r10d\n"                                                        \
                     "syscall\n"                                                                   \
                     "jmp 1b\n"                                                                    \
                     "2:\n"                                                                        \
                     : "+r"(p), [ready] "+m"(registers_ready)                                      \
                     : [stop] "m"(stop), "r"(spin), [futex] "i"(SYS_futex)                         \
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc",          \
                       "memory")

KEEP void *
hold_spinning(void *unused)
{
    register void *p __asm__("rbx") = make_held(HELD);
    register int spin __asm__("r14") = 1;
    HOLD_IN_REGISTER(p, spin);
    free(p);
    return unused;
}

KEEP void *
hold_waiting(void *unused)
{
    register void *p __asm__("r15") = make_held(HELD);
    register int spin __asm__("r14") = 0;
    HOLD_IN_REGISTER(p, spin);
    free(p);
    return unused;
}

static void
wait_for_stop(void)
{
    sem_post(&holders_ready);
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0)
        syscall(SYS_futex, &stop, FUTEX_WAIT, 0, NULL, NULL, 0);
}

KEEP void *
hold_on_stack(void *unused)
{
    void *volatile held[3] = {NULL, make_held(HELD), NULL};
    wait_for_stop();
    free(held[1]);
    return unused;
}

KEEP void *
hold_in_tls(void *unused)
{
    held_by_tls = make_held(HELD);
    wait_for_stop();
    free(held_by_tls);
    return unused;
}

KEEP void *
hold_by_key(void *unused)
{
    pthread_setspecific(held_by_key, make_held(HELD));
    wait_for_stop();
    return unused; /* the key's destructor is free */
}

static void (*module_hold_in_tls)(size_t);

KEEP void *
hold_in_module_tls(void *unused)
{
    module_hold_in_tls(HELD);
    wait_for_stop();
    return unused;
}

/* --- Wiping --- */

static int
has_avx512(void)
{
    return __builtin_cpu_supports("avx512f");
}

KEEP void
wipe_vectors(int wide)
{
    if (wide)
        __asm__ volatile(
            ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,"
            "26,27,28,29,30,31\n"
            "vpxorq %%zmm\\n, %%zmm\\n, %%zmm\\n\n"
            ".endr\n" ::
                : "memory");
    else if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "memory");
    else
        __asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
                         "pxor %%xmm\\n, %%xmm\\n\n"
                         ".endr\n" ::
                             : "memory");
}

/* Overwrites the stack below the caller and all registers that it may. */
KEEP void
wipe(void)
{
    wipe_vectors(has_avx512());
    __asm__ volatile("lea -%c[bytes](%%rsp), %%rdi\n"
                     "xor %%eax, %%eax\n"
                     "mov %[bytes] / 8, %%ecx\n"
                     "rep stosq\n"
                     "xor %%edx, %%edx\n"
                     "xor %%esi, %%esi\n"
                     "xor %%edi, %%edi\n"
                     "xor %%r8d, %%r8d\n"
                     "xor %%r9d, %%r9d\n"
                     "xor %%r10d, %%r10d\n"
                     "xor %%r11d, %%r11d\n"
                     :
                     : [bytes] "i"(WIPED_BYTES)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

/* --- Main --- */

enum { HOLDERS = 6 };
static pthread_t holders[HOLDERS];

KEEP void
start_holders(const char *module)
{
    static void *(*const bodies[HOLDERS])(void *) = {
        hold_spinning, hold_waiting, hold_on_stack, hold_in_tls, hold_by_key, hold_in_module_tls,
    };
    void *handle = dlopen(module, RTLD_NOW);
    if (handle == NULL || pthread_key_create(&held_by_key, free) != 0 ||
        sem_init(&holders_ready, 0, 0) != 0)
        exit(3);
    void (*module_hold_in_data)(size_t) = (void (*)(size_t))dlsym(handle, "module_hold_in_data");
    module_hold_in_tls = (void (*)(size_t))dlsym(handle, "module_hold_in_tls");
    if (module_hold_in_data == NULL || module_hold_in_tls == NULL)
        exit(3);
    module_hold_in_data(HELD);
    for (int i = 0; i < HOLDERS; i++)
        if (pthread_create(&holders[i], NULL, bodies[i], NULL) != 0)
            exit(3);
    for (int i = 2; i < HOLDERS; i++)
        sem_wait(&holders_ready);
    while (__atomic_load_n(&registers_ready, __ATOMIC_ACQUIRE) < 2)
        usleep(1000);
}

KEEP void
stop_holders(void)
{
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &stop, FUTEX_WAKE, HOLDERS, NULL, NULL, 0);
    for (int i = 0; i < HOLDERS; i++)
        pthread_join(holders[i], NULL);
}

KEEP void
lose_in_thread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, lose_everything, NULL) != 0 || pthread_join(t, NULL) != 0)
        exit(3);
}

KEEP int
wait_for_quit(void)
{
    char c = 0;
    write(1, "ready\n", 6);
    while (read(0, &c, 1) == 1 && c != 'q')
        ;
    return c == 'q';
}

int
main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    alarm(LIFETIME_SECONDS); /* threads that spin are not to be left behind */
    start_holders(argv[2]);
    keep_reachable();
    keep_interior();
    if (strcmp(argv[1], "leaks") == 0)
        lose_everything(NULL);
    else if (strcmp(argv[1], "thread") == 0)
        lose_in_thread();
    wipe();
    int quit = wait_for_quit();
    stop_holders();
    free_reachable();
    return quit ? 0 : 1;
}
