/* SPDX-License-Identifier: MIT */
/* unwind_rules.h - what unwind_rules.c has: functions that call fn from frames of rare kinds. */
#ifndef UNWIND_RULES_H
#define UNWIND_RULES_H

void rule_cfa_product(void (*fn)(void));
void rule_cfa_branch(void (*fn)(void));
void rule_cfa_saved(void (*fn)(void));
void rule_cfa_by_r13(void (*fn)(void));
void rule_address_in_register(void (*fn)(void));
void rule_address_elsewhere(void (*fn)(void));
void rule_rbp_computed(void (*fn)(void));

#endif
