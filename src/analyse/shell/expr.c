/* SPDX-License-Identifier: MIT */
/*
 * expr.c - see expr.h.  Recursive descent, one function a rank of operators;
 * how deep it goes is bounded, since lines may come from anywhere.
 */
#include "shell/expr.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Parentheses and unary operators within each other. */
#define DEPTH_MAX 100
#define RADIX_DEFAULT 16
#define CHARACTERS_MAX 8 /* of a character constant: as many as its value has bytes */

struct parser {
    const struct expr_env *env;
    const char *at;
    unsigned depth;       /* of operators within each other */
    unsigned parentheses; /* open ones */
    char *why;
    size_t why_size;
};

static bool binary(struct parser *p, unsigned rank, uint64_t *value);

__attribute__((format(printf, 2, 3))) static bool
fail(struct parser *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->why, p->why_size, fmt, ap);
    va_end(ap);
    return false;
}

static void
skip_blanks(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t')
        p->at++;
}

static bool
is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static bool
is_name_part(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '@';
}

/* What file names of modules have besides. */
static bool
is_module_part(char c)
{
    return is_name_part(c) || c == '-' || c == '+';
}

bool
expr_begins(const char *text)
{
    return isalnum((unsigned char)text[0]) ||
           (text[0] != '\0' && strchr("_.(-~#*<'`", text[0]) != NULL);
}

static unsigned
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (isalpha((unsigned char)c))
        return (unsigned)(tolower((unsigned char)c) - 'a') + 10;
    return RADIX_DEFAULT;
}

/* Digits of a radix, all of them. */
static bool
number(struct parser *p, const char *digits, size_t length, unsigned radix, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = digit_of(digits[i]);
        if (digit >= radix)
            return fail(p, "%.*s: not a number", (int)length, digits);
        if (*value > (UINT64_MAX - digit) / radix)
            return fail(p, "%.*s: more than 64 bits", (int)length, digits);
        *value = *value * radix + digit;
    }
    return true;
}

static unsigned
radix_of(char letter)
{
    switch (tolower((unsigned char)letter)) {
    case 'i':
        return 2;
    case 'o':
        return 8;
    case 't':
        return 10;
    case 'x':
        return 16;
    default:
        return 0;
    }
}

static bool
integer(struct parser *p, uint64_t *value)
{
    const char *start = p->at;
    unsigned radix = start[0] == '0' ? radix_of(start[1]) : 0;

    if (radix == 0)
        radix = RADIX_DEFAULT;
    else
        start += 2;
    p->at = start;
    while (isalnum((unsigned char)*p->at) || *p->at == '_')
        p->at++;
    if (p->at == start)
        return fail(p, "digits are missing after %.2s", start - 2);
    return number(p, start, (size_t)(p->at - start), radix, value);
}

static bool
characters(struct parser *p, uint64_t *value)
{
    unsigned count = 0;
    *value = 0;
    for (p->at++; *p->at != '\0' && *p->at != '\''; p->at++) {
        if (++count > CHARACTERS_MAX)
            return fail(p, "more than %d characters in one constant", CHARACTERS_MAX);
        *value = *value << 8 | (unsigned char)*p->at;
    }
    if (*p->at != '\'')
        return fail(p, "a ' is missing");
    p->at++;
    return true;
}

/* Copies a name of at most EXPR_NAME_MAX - 1 characters that is_part accepts. */
static bool
copy_name(struct parser *p, bool (*is_part)(char), char *name)
{
    size_t n = 0;
    while (is_part(p->at[n]))
        n++;
    if (n == 0 || n >= EXPR_NAME_MAX)
        return fail(p, n == 0 ? "a name is missing" : "a name is too long");
    memcpy(name, p->at, n);
    name[n] = '\0';
    p->at += n;
    return true;
}

static bool
variable(struct parser *p, uint64_t *value)
{
    char name[EXPR_NAME_MAX];
    p->at++;
    if (!copy_name(p, is_name_part, name))
        return fail(p, "the name of a variable or register is missing after <");
    if (!p->env->env_variable(p->env->env_arg, name, value))
        return fail(p, "%s: no such variable or register", name);
    return true;
}

/* module`name, `name or name; what is no symbol may be a number. */
static bool
symbol(struct parser *p, uint64_t *value)
{
    char name[2 * EXPR_NAME_MAX];
    size_t module = 0;

    while (is_module_part(p->at[module]))
        module++;
    if (p->at[module] == '`') {
        if (module >= EXPR_NAME_MAX)
            return fail(p, "a name is too long");
        memcpy(name, p->at, module + 1);
        p->at += module + 1;
        module++;
    } else {
        module = 0;
    }
    if (!copy_name(p, is_name_part, name + module))
        return false;
    if (p->env->env_symbol(p->env->env_arg, name, value))
        return true;
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (!isxdigit((unsigned char)name[i]))
            return fail(p, "%s: no such symbol; numbers are hexadecimal", name);
    return number(p, name, length, RADIX_DEFAULT, value);
}

static bool
parenthesis(struct parser *p, uint64_t *value)
{
    p->at++;
    p->parentheses++;
    if (!binary(p, 0, value))
        return false;
    skip_blanks(p);
    if (*p->at != ')')
        return fail(p, "a ) is missing");
    p->at++;
    p->parentheses--;
    return true;
}

static bool
primary(struct parser *p, uint64_t *value)
{
    char c = *p->at;
    if (c == '(')
        return parenthesis(p, value);
    if (c == '\'')
        return characters(p, value);
    if (c == '<')
        return variable(p, value);
    if (c == '.' && !is_name_part(p->at[1])) {
        p->at++;
        *value = p->env->env_dot;
        return true;
    }
    if (isdigit((unsigned char)c))
        return integer(p, value);
    if (is_name_start(c) || c == '`')
        return symbol(p, value);
    if (c == '\0')
        return fail(p, "the line ends where a value should be");
    return fail(p, "%c where a value should be", isprint((unsigned char)c) ? c : '?');
}

static bool
unary(struct parser *p, uint64_t *value)
{
    skip_blanks(p);
    char operator= * p->at;
    if (operator== '\0' || strchr("-~#*", operator) == NULL)
        return primary(p, value);
    p->at++;
    if (p->depth++ == DEPTH_MAX)
        return fail(p, "operators are nested too deep");
    bool ok = unary(p, value);
    p->depth--;
    if (!ok)
        return false;
    switch (operator) {
    case '-':
        *value = -*value;
        break;
    case '~':
        *value = ~*value;
        break;
    case '#':
        *value = *value == 0;
        break;
    default:
        if (!p->env->env_word(p->env->env_arg, *value, value))
            return fail(p, "0x%llx cannot be read", (unsigned long long)*value);
        break;
    }
    return true;
}

enum operator{
    OP_NONE,
    OP_OR,
    OP_XOR,
    OP_AND,
    OP_EQUAL,
    OP_DIFFERENT,
    OP_LEFT,
    OP_RIGHT,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_ROUND
};

/* Ranks, the loosest first. */
static const struct {
    const char *text;
    unsigned rank;
    enum operator operator;
} operators[] = {{"|", 0, OP_OR},       {"^", 1, OP_XOR},        {"&", 2, OP_AND},
                 {"==", 3, OP_EQUAL},   {"!=", 3, OP_DIFFERENT}, {"<<", 4, OP_LEFT},
                 {">>", 4, OP_RIGHT},   {"+", 5, OP_ADD},        {"-", 5, OP_SUBTRACT},
                 {"*", 6, OP_MULTIPLY}, {"%", 6, OP_DIVIDE},     {"#", 6, OP_ROUND}};
#define RANK_LAST 6

/* The operator of a rank that comes next; it is passed over. */
static enum operator next_operator(struct parser *p, unsigned rank)
{
    skip_blanks(p);
    if (*p->at == '|' && p->parentheses == 0)
        return OP_NONE;
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        size_t length = strlen(operators[i].text);
        if (operators[i].rank == rank && strncmp(p->at, operators[i].text, length) == 0) {
            p->at += length;
            return operators[i].operator;
        }
    }
    return OP_NONE;
}

static bool
divide(struct parser *p, bool round, uint64_t a, uint64_t b, uint64_t *value)
{
    if (b == 0)
        return fail(p, "division by zero");
    *value = round ? (a + b - 1) / b * b : a / b;
    return true;
}

static bool
apply(struct parser *p, enum operator operator, uint64_t a, uint64_t b, uint64_t *value)
{
    switch (operator) {
    case OP_OR:
        *value = a | b;
        break;
    case OP_XOR:
        *value = a ^ b;
        break;
    case OP_AND:
        *value = a & b;
        break;
    case OP_EQUAL:
        *value = a == b;
        break;
    case OP_DIFFERENT:
        *value = a != b;
        break;
    case OP_LEFT:
        *value = b < 64 ? a << b : 0;
        break;
    case OP_RIGHT:
        *value = b < 64 ? a >> b : 0;
        break;
    case OP_ADD:
        *value = a + b;
        break;
    case OP_SUBTRACT:
        *value = a - b;
        break;
    case OP_MULTIPLY:
        *value = a * b;
        break;
    case OP_DIVIDE:
    case OP_ROUND:
        return divide(p, operator== OP_ROUND, a, b, value);
    case OP_NONE:
        break;
    }
    return true;
}

static bool
binary(struct parser *p, unsigned rank, uint64_t *value)
{
    enum operator operator;

    if (rank > RANK_LAST)
        return unary(p, value);
    if (rank == 0 && p->depth++ == DEPTH_MAX)
        return fail(p, "parentheses are nested too deep");
    if (!binary(p, rank + 1, value))
        return false;
    while ((operator= next_operator(p, rank)) != OP_NONE) {
        uint64_t right;
        if (!binary(p, rank + 1, &right) || !apply(p, operator, * value, right, value))
            return false;
    }
    if (rank == 0)
        p->depth--;
    return true;
}

bool
expr_eval(const struct expr_env *env, const char **text, uint64_t *value, char *why, size_t size)
{
    struct parser p = {.env = env, .at = *text, .why = why, .why_size = size};
    bool ok = binary(&p, 0, value);
    *text = p.at;
    return ok;
}
