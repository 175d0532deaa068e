/* SPDX-License-Identifier: MIT */
/*
 * unwind_rules.c - frames that no compiler makes but tables can describe: each
 * calls the function that it is given.  The numbers of operators are those of
 * DWARF 5, section 7.7.1.
 */
#include "unwind_rules.h"

#define FUNCTION(name, body)                                                                       \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n"    \
            "endbr64\n" body "ret\n.cfi_endproc\n.size " #name ", . - " #name "\n")

/* CFA: rsp + 3 * 16. */
FUNCTION(rule_cfa_product, "subq $40, %rsp\n"
                           ".cfi_escape 0x0f, 6, 0x77, 0, 0x33, 0x40, 0x1e, 0x22\n"
                           "callq *%rdi\n"
                           "addq $40, %rsp\n"
                           ".cfi_def_cfa rsp, 8\n");

/* CFA: rsp + 16, behind a branch over what would add 127 more. */
FUNCTION(rule_cfa_branch, "subq $8, %rsp\n"
                          ".cfi_escape 0x0f, 11, 0x77, 0, 0x31, 0x28, 3, 0, 0x23, 127, 0x96, "
                          "0x23, 16\n"
                          "callq *%rdi\n"
                          "addq $8, %rsp\n"
                          ".cfi_def_cfa rsp, 8\n");

/* CFA: what was saved beside, 40 less than it. */
FUNCTION(rule_cfa_saved, "leaq -32(%rsp), %rax\n"
                         "subq $24, %rsp\n"
                         "movq %rax, 8(%rsp)\n"
                         ".cfi_escape 0x0f, 5, 0x77, 8, 0x06, 0x23, 40\n"
                         "callq *%rdi\n"
                         "addq $24, %rsp\n"
                         ".cfi_def_cfa rsp, 8\n");

/* The return address is in r12, its place on the stack holds something else. */
FUNCTION(rule_address_in_register, "pushq %r12\n"
                                   ".cfi_def_cfa_offset 16\n"
                                   ".cfi_offset r12, -16\n"
                                   "movq 8(%rsp), %r12\n"
                                   ".cfi_register rip, r12\n"
                                   "movq $0x1234, 8(%rsp)\n"
                                   "callq *%rdi\n"
                                   "movq %r12, 8(%rsp)\n"
                                   ".cfi_offset rip, -8\n"
                                   "popq %r12\n"
                                   ".cfi_def_cfa_offset 8\n"
                                   ".cfi_restore r12\n");

/* The return address is at rsp, its place holds something else. */
FUNCTION(rule_address_elsewhere, "subq $24, %rsp\n"
                                 ".cfi_def_cfa_offset 32\n"
                                 "movq 24(%rsp), %rax\n"
                                 "movq %rax, (%rsp)\n"
                                 ".cfi_escape 0x10, 16, 2, 0x77, 0\n"
                                 "movq $0x5678, 24(%rsp)\n"
                                 "callq *%rdi\n"
                                 "movq (%rsp), %rax\n"
                                 "movq %rax, 24(%rsp)\n"
                                 ".cfi_offset rip, -8\n"
                                 "addq $24, %rsp\n"
                                 ".cfi_def_cfa_offset 8\n");

/* rbp is 0 meanwhile, and saved with its lowest bit turned over. */
FUNCTION(rule_rbp_computed, "subq $8, %rsp\n"
                            ".cfi_def_cfa_offset 16\n"
                            "movq %rbp, (%rsp)\n"
                            "xorq $1, (%rsp)\n"
                            ".cfi_escape 0x16, 6, 5, 0x77, 0, 0x06, 0x31, 0x27\n"
                            "xorl %ebp, %ebp\n"
                            "callq *%rdi\n"
                            "movq (%rsp), %rbp\n"
                            "xorq $1, %rbp\n"
                            ".cfi_restore rbp\n"
                            "addq $8, %rsp\n"
                            ".cfi_def_cfa_offset 8\n");

/* The frame is found by a register that is not rsp or rbp. */
FUNCTION(rule_cfa_by_r13, "pushq %r13\n"
                          ".cfi_def_cfa_offset 16\n"
                          ".cfi_offset r13, -16\n"
                          "movq %rsp, %r13\n"
                          ".cfi_def_cfa_register r13\n"
                          "subq $72, %rsp\n"
                          "andq $-32, %rsp\n"
                          "callq *%rdi\n"
                          "movq %r13, %rsp\n"
                          ".cfi_def_cfa_register rsp\n"
                          "popq %r13\n"
                          ".cfi_def_cfa_offset 8\n"
                          ".cfi_restore r13\n");
