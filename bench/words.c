/* SPDX-License-Identifier: MIT */
/*
 * words.c - a small real program for the section "debugging": an index of the
 * words of a text, by line, as a program that is not shy of malloc keeps it.
 * Built a second time with AddressSanitizer, which needs the source.
 *
 *   words FILE
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS ((size_t)1 << 16)
#define SEPARATORS " \t\n"

struct word {
    struct word *word_next;
    char *word_text;
    size_t word_lines; /* of them */
    size_t *word_line; /* grown by one at a time, as one does */
};

static struct word *index_of[BUCKETS];

static void *
need(void *p)
{
    if (p == NULL) {
        perror("words");
        exit(1);
    }
    return p;
}

static struct word *
find(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (const char *p = text; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    struct word **link = &index_of[hash % BUCKETS];
    for (struct word *word = *link; word != NULL; word = word->word_next)
        if (strcmp(word->word_text, text) == 0)
            return word;
    struct word *word = need(calloc(1, sizeof(*word)));
    word->word_text = need(strdup(text));
    word->word_next = *link;
    *link = word;
    return word;
}

static void
read_lines(FILE *file)
{
    char *line = NULL, *rest;
    size_t room = 0;

    for (size_t number = 1; getline(&line, &room, file) > 0; number++) {
        char *copy = need(strdup(line)); /* strtok_r() writes */
        for (char *text = strtok_r(copy, SEPARATORS, &rest); text != NULL;
             text = strtok_r(NULL, SEPARATORS, &rest)) {
            struct word *word = find(text);
            if (word->word_lines < 64) {
                size_t size = (word->word_lines + 1) * sizeof(word->word_line[0]);
                word->word_line = need(realloc(word->word_line, size));
                word->word_line[word->word_lines++] = number;
            }
        }
        free(copy);
    }
    free(line);
}

int
main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    size_t words = 0, lines = 0;

    if (file == NULL) {
        fprintf(stderr, "usage: words FILE\n");
        return 2;
    }
    read_lines(file);
    fclose(file);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct word *word = index_of[i], *next; word != NULL; word = next) {
            next = word->word_next;
            words++;
            lines += word->word_lines;
            free(word->word_line);
            free(word->word_text);
            free(word);
        }
    }
    printf("%zu %zu\n", words, lines);
    return 0;
}
