/* SPDX-License-Identifier: MIT */
/*
 * test_parse.c - command lines of the shell as pipelines, and a fuzz of the
 * parser: any line is parsed to its end or refused, and nothing is leaked.
 */
#include "shell/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WHY_SIZE 256
#define FUZZ_LINES 200000
#define FUZZ_PIECES 14

static bool
no_name(void *arg, const char *name, uint64_t *value)
{
    (void)arg;
    (void)name;
    *value = 0;
    return false;
}

static bool
no_word(void *arg, uint64_t addr, uint64_t *value)
{
    (void)arg;
    *value = addr;
    return true;
}

static const struct expr_env env = {NULL, 0x10, no_name, no_name, no_word};

static struct pipeline
parsed(const char *text)
{
    struct pipeline pl;
    char why[WHY_SIZE];
    const char *at = text;
    if (!pipeline_parse(&env, &at, &pl, why, sizeof(why)))
        fail_msg("%s: %s", text, why);
    assert_string_equal(at, "");
    return pl;
}

static void
test_address_and_count(void **state)
{
    (void)state;
    struct pipeline pl = parsed("  20 , 0t3 ::whatis");
    assert_true(pl.pl_has_addr && pl.pl_has_count);
    assert_int_equal(pl.pl_addr, 0x20);
    assert_int_equal(pl.pl_count, 3);
    assert_int_equal(pl.pl_stage_count, 1);
    assert_string_equal(pl.pl_stages[0].stg_verb, "whatis");
    assert_int_equal(pl.pl_stages[0].stg_word_count, 0);
    pipeline_free(&pl);
    pl = parsed("::dcmds");
    assert_false(pl.pl_has_addr || pl.pl_has_count);
    assert_int_equal(pl.pl_count, 1);
    pipeline_free(&pl);
    pl = parsed("");
    assert_int_equal(pl.pl_stage_count, 0);
    pipeline_free(&pl);
    pl = parsed("// nothing");
    assert_int_equal(pl.pl_stage_count, 0);
    pipeline_free(&pl);
}

static void
test_stages_and_words(void **state)
{
    (void)state;
    struct pipeline pl =
        parsed("::walk umem_alloc_32 | ::bufctl -c \"a|b c\"'!'x $[1+1] ! head -1");
    assert_int_equal(pl.pl_stage_count, 2);
    assert_string_equal(pl.pl_stages[0].stg_verb, "walk");
    assert_string_equal(pl.pl_stages[0].stg_words[0], "umem_alloc_32");
    assert_int_equal(pl.pl_stages[1].stg_word_count, 3);
    assert_string_equal(pl.pl_stages[1].stg_words[0], "-c");
    assert_string_equal(pl.pl_stages[1].stg_words[1], "a|b c!x");
    assert_string_equal(pl.pl_stages[1].stg_words[2], "0x2");
    assert_string_equal(pl.pl_shell, "head -1");
    pipeline_free(&pl);
    pl = parsed("::a | ! b | c; d");
    assert_int_equal(pl.pl_stage_count, 1);
    assert_string_equal(pl.pl_shell, "b | c; d");
    pipeline_free(&pl);
    pl = parsed("::echo \"\"");
    assert_int_equal(pl.pl_stages[0].stg_word_count, 1);
    assert_string_equal(pl.pl_stages[0].stg_words[0], "");
    pipeline_free(&pl);
}

static void
test_verbs(void **state)
{
    static const struct {
        const char *text;
        const char *verb;
        const char *word;
    } cases[] = {{"$c", "$c", NULL},       {"10$C", "$C", NULL},
                 {"10/4X", "/", "4X"},     {"10,2/ K", "/", "K"},
                 {"10?X", "/", "X"},       {"10=D", "=", "D"},
                 {"10>name", ">", "name"}, {"::vmem_seg", "vmem_seg", NULL}};
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pipeline pl = parsed(cases[i].text);
        assert_int_equal(pl.pl_stage_count, 1);
        assert_string_equal(pl.pl_stages[0].stg_verb, cases[i].verb);
        assert_int_equal(pl.pl_stages[0].stg_word_count, cases[i].word != NULL);
        if (cases[i].word != NULL)
            assert_string_equal(pl.pl_stages[0].stg_words[0], cases[i].word);
        pipeline_free(&pl);
    }
}

static void
test_commands_of_a_line(void **state)
{
    const char *at = "::a; 10 ::b ;; $c";
    static const char *const verbs[] = {"a", "b", NULL, "$c"};
    (void)state;

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        struct pipeline pl;
        char why[WHY_SIZE];
        assert_true(pipeline_parse(&env, &at, &pl, why, sizeof(why)));
        assert_int_equal(pl.pl_stage_count, verbs[i] != NULL);
        if (verbs[i] != NULL)
            assert_string_equal(pl.pl_stages[0].stg_verb, verbs[i]);
        pipeline_free(&pl);
    }
    assert_string_equal(at, "");
}

static void
test_errors(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {{"::", "a name is missing after ::"},
                 {"10 foo", "a command is missing"},
                 {"::a |", "a command is missing"},
                 {"::a | b", "a command is missing"},
                 {"::a \"x", "a \" is missing"},
                 {"::a $[1", "a ] is missing"},
                 {"::a $[", "line ends"},
                 {"!", "a shell command is missing"},
                 {"10,::a", "where a value should be"},
                 {"1zz::a", "not a number"}};
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pipeline pl;
        char why[WHY_SIZE];
        const char *at = cases[i].text;
        assert_false(pipeline_parse(&env, &at, &pl, why, sizeof(why)));
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("%s: \"%s\" is not \"%s\"", cases[i].text, why, cases[i].why);
        pipeline_free(&pl);
    }
}

/* Pieces that mean something, in any order, and bytes that mean nothing. */
static size_t
random_line(char *line)
{
    static const char *const pieces[] = {
        "::", "::walk", " ",  "|",  "!", ";", ",", "/", "=",  ">",  "<",  "$",  "$c", "$[",
        "]",  "\"",     "'",  "(",  ")", "*", "-", "#", "%",  ".",  "0t", "10", "ff", "name",
        "`",  "//",     "\t", "-v", "?", "^", "&", "~", "<<", ">>", "==", "!="};
    size_t n = 0;
    int count = rand() % FUZZ_PIECES;

    for (int i = 0; i < count; i++) {
        if (rand() % 8 == 0) {
            line[n++] = (char)(rand() % 255 + 1);
            continue;
        }
        const char *piece = pieces[(size_t)rand() % (sizeof(pieces) / sizeof(pieces[0]))];
        memcpy(line + n, piece, strlen(piece));
        n += strlen(piece);
    }
    line[n] = '\0';
    return n;
}

static void
test_any_line(void **state)
{
    char line[FUZZ_PIECES * 16];
    size_t good = 0;
    (void)state;

    srand(1);
    for (int i = 0; i < FUZZ_LINES; i++) {
        /* On the heap, exactly: a byte read behind it is seen by valgrind and sanitizers. */
        size_t length = random_line(line);
        char *text = malloc(length + 1);
        memcpy(text, line, length + 1);
        const char *at = text;
        bool ok = true;
        for (size_t commands = 0; ok && *at != '\0'; commands++) {
            struct pipeline pl;
            char why[WHY_SIZE] = "?";
            const char *before = at;
            ok = pipeline_parse(&env, &at, &pl, why, sizeof(why));
            assert_true(at >= before && at <= text + length);
            assert_true(!ok || at > before); /* it gets on */
            assert_true(ok || why[0] != '\0');
            assert_true(commands <= length);
            pipeline_free(&pl);
        }
        good += ok;
        free(text);
    }
    assert_true(good > FUZZ_LINES / 100); /* the pieces do make sense now and then */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_address_and_count),
                                       cmocka_unit_test(test_stages_and_words),
                                       cmocka_unit_test(test_verbs),
                                       cmocka_unit_test(test_commands_of_a_line),
                                       cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_any_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
