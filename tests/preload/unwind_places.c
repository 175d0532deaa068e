/* SPDX-License-Identifier: MIT */
/*
 * unwind_places.c - a block is made, freed, and freed again, somewhere that
 * stacks are hard to take from: the report has to tell make() and who called.
 *
 * The functions keep their names and frames (noipa), and none ends in a jump.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stackalloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define KEEP __attribute__((noipa)) static
#define HERE() __asm__ volatile("" : : : "memory")
#define STACK_SIZE ((size_t)64 << 10)
#define DEPTH 60000

static void *volatile block;

KEEP void
make(void)
{
    block = malloc(40);
    HERE();
}

KEEP void
misuse(void)
{
    make();
    free(block);
    free(block);
    HERE();
}

/* --- A stack of the program's, of libstackalloc, and for signals --- */

static ucontext_t scheduler, fiber;

KEEP void
fiber_work(void)
{
    misuse();
    HERE();
}

KEEP void
run_fiber(void *stack, size_t size)
{
    if (stack == NULL || getcontext(&fiber) != 0)
        abort();
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = size;
    fiber.uc_link = &scheduler;
    makecontext(&fiber, fiber_work, 0);
    swapcontext(&scheduler, &fiber);
    HERE();
}

KEEP void
on_signal(int number)
{
    (void)number;
    misuse();
    HERE();
}

KEEP void
interrupted(void)
{
    __asm__ volatile("movl $0, 0" : : : "memory");
}

KEEP void
take_signal(void)
{
    static char stack[STACK_SIZE];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

    if (sigaltstack(&alternate, NULL) != 0 || sigaction(SIGSEGV, &action, NULL) != 0)
        abort();
    interrupted();
    HERE();
}

/* --- Calls without a return --- */

static jmp_buf back;

/* Its last instruction is the call: the address behind is the next function's. */
KEEP __attribute__((noreturn)) void
never(void)
{
    misuse();
    longjmp(back, 1);
}

KEEP __attribute__((noreturn)) void
last_call(void)
{
    never();
}

KEEP void
calls_last(void)
{
    if (setjmp(back) == 0)
        last_call();
    HERE();
}

/* --- Code made at run time, without tables --- */

KEEP void
through_code(const unsigned char *bytes, size_t size)
{
    void *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (code == MAP_FAILED)
        abort();
    memcpy(code, bytes, size);
    ((void (*)(void (*)(void)))(uintptr_t)code)(misuse);
    HERE();
}

KEEP void
through_chain(void)
{
    /* push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret */
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};

    through_code(code, sizeof(code));
    HERE();
}

KEEP void
through_no_chain(void)
{
    /* xor %ebp,%ebp, saved in rbx; sub $16,%rsp; call *%rdi; and back */
    static const unsigned char code[] = {0x53, 0x48, 0x89, 0xeb, 0x31, 0xed, 0x48,
                                         0x83, 0xec, 0x10, 0xff, 0xd7, 0x48, 0x83,
                                         0xc4, 0x10, 0x48, 0x89, 0xdd, 0x5b, 0xc3};

    through_code(code, sizeof(code));
    HERE();
}

/* --- Depth, and a stack that was written over --- */

KEEP void
deeper(unsigned depth)
{
    if (depth == 0)
        misuse();
    else
        deeper(depth - 1);
    HERE();
}

KEEP void
deep(void)
{
    deeper(DEPTH);
    HERE();
}

KEEP void
overrun(void)
{
    volatile uintptr_t *frame = __builtin_frame_address(0);

    for (int i = 0; i < 8; i++) /* what was saved, and the caller's frame */
        frame[i] = UINT64_C(0x4141414141414141);
    misuse();
    HERE();
}

/* --- Modules: a call that the loader is asked for, code in the place of other code --- */

static const char *module_path[2];

KEEP void *
load(int i)
{
    void *module = dlopen(module_path[i], RTLD_LAZY);

    if (module == NULL)
        abort();
    return module;
}

typedef void module_fn(void (*fn)(void));

KEEP void
call_module(void *module, const char *name, void (*fn)(void))
{
    module_fn *call = (module_fn *)(uintptr_t)dlsym(module, name);

    if (call == NULL)
        abort();
    call(fn);
    HERE();
}

KEEP void
within_loader(void)
{
    call_module(load(0), "lazy_chosen", misuse);
    HERE();
}

KEEP void
make_and_free(void)
{
    make();
    free(block);
    HERE();
}

KEEP void
reloaded(void)
{
    void *module;

    for (int i = 0; i < 20; i++) {
        module = load(i % 2);
        for (int n = 0; n < 10; n++)
            call_module(module, "module_call", make_and_free);
        dlclose(module);
    }
    module = load(0);
    call_module(module, "module_call", misuse);
    HERE();
}

/* No return address of the second module but those that the first one had, and other frames. */
KEEP void
reloaded_at_once(void)
{
    void *module = load(0);

    for (int n = 0; n < 10; n++)
        call_module(module, "module_quiet", make_and_free);
    dlclose(module);
    module = load(1);
    call_module(module, "module_quiet", misuse);
    HERE();
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } places[] = {
        {"signal", take_signal},
        {"noreturn", calls_last},
        {"chain", through_chain},
        {"no_chain", through_no_chain},
        {"deep", deep},
        {"overrun", overrun},
        {"loader", within_loader},
        {"reloaded", reloaded},
        {"reloaded_at_once", reloaded_at_once},
    };
    const char *place = argc > 1 ? argv[1] : "";

    module_path[0] = argc > 3 ? argv[2] : NULL;
    module_path[1] = argc > 3 ? argv[3] : NULL;
    if (strcmp(place, "fiber") == 0)
        run_fiber(malloc(STACK_SIZE), STACK_SIZE);
    if (strcmp(place, "stackalloc") == 0)
        run_fiber(stack_alloc(STACK_SIZE), STACK_SIZE);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (strcmp(place, places[i].name) == 0)
            places[i].fn();
    puts("survived");
    return 0;
}
