/* SPDX-License-Identifier: MIT */
/*
 * run.c - umem run: executes a program under the library.
 *
 * Only sets the environment (LD_PRELOAD, UMEM_DEBUG, STACKALLOC_OPTIONS) and execs, so that the
 * program keeps our pid, its signals and its exit code.  What the environment
 * holds already stays: other preloads, other items of UMEM_DEBUG.  With --leaks
 * the program is a child instead, and watch.c waits for it.
 */
#include "commands/commands.h"
#include "commands/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libumem.so.1"
#define STACKS_LIBRARY "libstackalloc_preload.so.1"
/* Where meson installs libraries, relative to the prefix. */
#ifndef UMEM_LIBDIR
#define UMEM_LIBDIR "lib"
#endif

#define LEAKS_EXIT_CODE 23 /* LeakSanitizer's */
#define EXIT_CODE_MAX 255

struct run_options {
    bool run_audit;
    size_t run_audit_frames; /* SIZE_MAX: the library's default */
    bool run_guards;
    bool run_self;
    bool run_leaks;
    const char *run_leaks_then; /* "report" or "fail" */
    bool run_leaks_code_given;
    size_t run_leaks_code;
    bool run_stacks;
    const char *run_stacks_size;
    struct option_list run_files;
    struct suppressions run_suppressions;
};

/*
 * Candidates relative to the folder that the command lies in: the build tree's
 * before the installed one, since nothing is installed into a build tree.
 */
static const char beside_the_prefix[] = "../" UMEM_LIBDIR;
static const char in_the_system[] = "/usr/" UMEM_LIBDIR;
static const char in_local[] = "/usr/local/" UMEM_LIBDIR;
static const char *const library_places[] = {"../umem", "../stackalloc", beside_the_prefix,
                                             "../lib", "."};
static const char *const system_places[] = {in_the_system, in_local, "/usr/local/lib", "/usr/lib"};

static bool
library_at(const char *folder, const char *place, const char *library, char *path, size_t size)
{
    char file[PATH_MAX];
    int n = snprintf(file, sizeof(file), "%s%s%s/%s", folder, folder[0] != '\0' ? "/" : "", place,
                     library);
    if (n < 0 || (size_t)n >= sizeof(file) || access(file, R_OK) != 0)
        return false;
    /* Without "..": the path is shown in the program's maps and in its children's environment. */
    char *end = strrchr(file, '/');
    *end = '\0';
    char *real = realpath(file, NULL);
    if (real == NULL)
        return false;
    n = snprintf(path, size, "%s/%s", real, library);
    free(real);
    return n > 0 && (size_t)n < size;
}

/*
 * Installed under <prefix>/lib/<triplet> or <prefix>/lib64, the folder becomes
 * $LIB, which the dynamic linker of each word size replaces by its own.
 */
static void
use_lib_token(const char *library, char *path, size_t size)
{
#ifdef __GLIBC__
    char suffix[PATH_MAX];
    size_t n = strlen(path);
    size_t m = (size_t)snprintf(suffix, sizeof(suffix), "/" UMEM_LIBDIR "/%s", library);
    if (strcmp(UMEM_LIBDIR, "lib") == 0 || n < m || strcmp(path + n - m, suffix) != 0)
        return;
    snprintf(path + n - m, size - (n - m), "/$LIB/%s", library);
#else
    (void)library;
    (void)path; /* musl knows no $LIB */
    (void)size;
#endif
}

static bool
find_library(const char *library, char *path, size_t size)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *slash = NULL;
    if (n > 0) {
        exe[n] = '\0';
        slash = strrchr(exe, '/');
    }
    bool found = false;
    if (slash != NULL) {
        *slash = '\0';
        for (size_t i = 0; !found && i < sizeof(library_places) / sizeof(char *); i++)
            found = library_at(exe, library_places[i], library, path, size);
    }
    for (size_t i = 0; !found && i < sizeof(system_places) / sizeof(char *); i++)
        found = library_at("", system_places[i], library, path, size);
    if (found)
        use_lib_token(library, path, size);
    return found;
}

/*
 * LD_PRELOAD with a library in front: whoever asks for it wants it to serve.
 * One that is there already is perhaps another build, on purpose.
 */
static bool
add_preload(const char *name)
{
    char library[PATH_MAX];
    const char *old = getenv("LD_PRELOAD");
    if (old != NULL && strstr(old, name) != NULL)
        return true;
    if (!find_library(name, library, sizeof(library))) {
        command_error("run: %s was not found beside this command nor under /usr/" UMEM_LIBDIR
                      "; install it, or set LD_PRELOAD to its path",
                      name);
        return false;
    }
    if (strpbrk(library, " :") != NULL) {
        command_error("run: %s: LD_PRELOAD cannot hold a path with blanks or colons; "
                      "move the library",
                      library);
        return false;
    }
    char *value;
    if (asprintf(&value, "%s%s%s", library, old != NULL && old[0] != '\0' ? ":" : "",
                 old != NULL ? old : "") < 0)
        return false;
    bool ok = setenv("LD_PRELOAD", value, 1) == 0;
    free(value);
    return ok;
}

/* Threads that ask for no size get the library's largest stack, unless another is given. */
static bool
set_stacks(const struct run_options *run)
{
    char value[PATH_MAX];
    int n = snprintf(value, sizeof(value), "size=%s", run->run_stacks_size);
    return n > 0 && (size_t)n < sizeof(value) && setenv("STACKALLOC_OPTIONS", value, 1) == 0 &&
           add_preload(STACKS_LIBRARY);
}

/* Does a UMEM_DEBUG item set what one of our options sets too?  Then the option wins. */
static bool
item_is_overridden(const char *item, const struct run_options *run)
{
    item += strspn(item, " \t");
    size_t n = strcspn(item, "=, \t");
    if (run->run_audit && n == strlen("audit") && strncmp(item, "audit", n) == 0)
        return true;
    return run->run_guards && ((n == strlen("guards") && strncmp(item, "guards", n) == 0) ||
                               (n == strlen("guard") && strncmp(item, "guard", n) == 0));
}

/* UMEM_DEBUG: its other items as they were, then ours. */
static void
write_debug(FILE *f, const char *old, const struct run_options *run)
{
    const char *comma = "";
    while (*old != '\0') {
        size_t n = strcspn(old, ",");
        if (n > 0 && !item_is_overridden(old, run)) {
            fprintf(f, "%s%.*s", comma, (int)n, old);
            comma = ",";
        }
        old += n + (old[n] == ',');
    }
    if (run->run_audit) {
        fprintf(f, "%saudit", comma);
        if (run->run_audit_frames != SIZE_MAX)
            fprintf(f, "=%zu", run->run_audit_frames);
        comma = ",";
    }
    if (run->run_leaks && !run->run_audit) { /* what is set of it stays */
        fprintf(f, "%saudit", comma);
        comma = ",";
    }
    if (run->run_guards)
        fprintf(f, "%sguards", comma);
}

static bool
set_debug(const struct run_options *run)
{
    const char *old = getenv("UMEM_DEBUG");
    char *value = NULL;
    size_t size;
    FILE *f = open_memstream(&value, &size);
    if (f == NULL)
        return false;
    write_debug(f, old != NULL ? old : "", run);
    bool ok = fclose(f) == 0 && setenv("UMEM_DEBUG", value, 1) == 0;
    free(value);
    return ok;
}

static const char description[] =
    "Sets LD_PRELOAD and UMEM_DEBUG and executes PROGRAM, which keeps this process:\n"
    "its signals, its exit code.  An LD_PRELOAD that is set already stays behind ours,\n"
    "other items of UMEM_DEBUG stay.  Programs that are statically linked or set-uid\n"
    "cannot be run under a preloaded library and run as always.\n"
    "\n"
    "With --leaks the program is a child of this process, which passes signals on to it,\n"
    "looks for leaks when it calls exit() or returns from main(), reports them on standard\n"
    "error, and ends as the program did. --leaks turns --audit on. Only the first process\n"
    "of the program is looked at, by what it executed last.\n"
    "\n"
    "Exit code: the program's; 127 if it is not found, 126 if it cannot be executed,\n"
    "125 if the library is not found, an option is wrong, or leaks could not be looked for\n"
    "under --leaks=fail.\n"
    "\n"
    "Examples: umem run --audit=64 --guards -- python3 script.py\n"
    "          umem run --leaks=fail --suppressions=known.supp -- ./test\n";

/* What --leaks and its companions say; OPTIONS_GO, or an exit code. */
static int
check_leaks(struct run_options *run)
{
    if (strcmp(run->run_leaks_then, "report") != 0 && strcmp(run->run_leaks_then, "fail") != 0)
        return command_error("run: --leaks=%s: give report or fail", run->run_leaks_then);
    if (run->run_leaks_code > EXIT_CODE_MAX)
        return command_error("run: --leaks-exit-code=%zu: give at most %d", run->run_leaks_code,
                             EXIT_CODE_MAX);
    if (run->run_leaks_code_given && strcmp(run->run_leaks_then, "fail") != 0)
        return command_error("run: --leaks-exit-code is of use with --leaks=fail only");
    if (run->run_files.list_count > 0 && !run->run_leaks)
        return command_error("run: --suppressions is of use with --leaks only");
    if (!leaks_read_suppressions("run", &run->run_files, &run->run_suppressions))
        return COMMAND_TROUBLE;
    return OPTIONS_GO;
}

static int
execute(struct run_options *run, struct command_options *options)
{
    const struct leak_options find = {.opt_addresses = options->opt_max,
                                      .opt_suppressions = &run->run_suppressions};
    const struct watch_options watch = {.watch_fail = strcmp(run->run_leaks_then, "fail") == 0,
                                        .watch_code = (int)run->run_leaks_code,
                                        .watch_find = &find,
                                        .watch_common = options};
    if (run->run_leaks) {
        int code = watch_program(&watch, options->opt_argv);
        suppressions_fini(&run->run_suppressions);
        return code;
    }
    execvp(options->opt_argv[0], options->opt_argv);
    return watch_not_started(options->opt_argv[0], errno);
}

int
command_run(int argc, char **argv)
{
    struct run_options run = {.run_audit_frames = SIZE_MAX,
                              .run_leaks_then = "report",
                              .run_stacks_size = "2m",
                              .run_leaks_code = LEAKS_EXIT_CODE};
    const struct option_row rows[] = {
        {"audit", 'a', OPTION_OPTIONAL_NUMBER, &run.run_audit_frames, "N",
         "record thread, time and up to N stack frames of each allocation", &run.run_audit},
        {"guards", 'g', OPTION_FLAG, &run.run_guards, NULL,
         "fill free and fresh memory, check redzones and writes after free", NULL},
        {"leaks", 'l', OPTION_OPTIONAL_STRING, &run.run_leaks_then, "report|fail",
         "look for leaks at exit; fail: they are the exit code", &run.run_leaks},
        {"leaks-exit-code", 0, OPTION_NUMBER, &run.run_leaks_code, "N",
         "the exit code with --leaks=fail where there are leaks (23)", &run.run_leaks_code_given},
        {"stacks", 's', OPTION_OPTIONAL_STRING, &run.run_stacks_size, "SIZE",
         "threads run on cached stacks; those that ask for no size get SIZE (2m)", &run.run_stacks},
        {"self", 0, OPTION_FLAG, &run.run_self, NULL,
         "have an agent, for umem VERB --self and --leaks to ask the program itself", NULL},
        SUPPRESSIONS_ROW(&run.run_files),
        {0}};
    const struct command_spec spec = {.cmd_name = "run",
                                      .cmd_usage = "[--] PROGRAM [ARGUMENT...]",
                                      .cmd_summary = "Runs a program under the umem library",
                                      .cmd_description = description,
                                      .cmd_rows = rows,
                                      .cmd_shared = SHARED_MAX,
                                      .cmd_min_args = 1,
                                      .cmd_max_args = -1,
                                      .cmd_stop_at_operand = true};
    struct command_options options;
    int code = options_parse(&spec, argc, argv, &options);
    if (code == OPTIONS_GO)
        code = check_leaks(&run);
    if (code != OPTIONS_GO)
        return code == COMMAND_CLEAN ? COMMAND_CLEAN : RUN_TROUBLE;
    if ((run.run_stacks && !set_stacks(&run)) || !add_preload(LIBRARY))
        return RUN_TROUBLE;
    options.opt_self = run.run_self;
    if (((run.run_audit || run.run_guards || run.run_leaks) && !set_debug(&run)) ||
        (run.run_self && !watch_add_option("agent"))) {
        command_error("run: out of memory");
        return RUN_TROUBLE;
    }
    return execute(&run, &options);
}
