/* SPDX-License-Identifier: MIT */
/*
 * users_report.h - who has the memory, as text and as JSON.
 */
#ifndef ANALYSE_REPORT_USERS_REPORT_H
#define ANALYSE_REPORT_USERS_REPORT_H

#include "look/users.h"
#include "report/open.h"

struct users_view {
    bool usv_small; /* also small groups */
    bool usv_each;  /* each allocation of a group */
};

void users_report_text(const struct look *look, const struct leaks *users,
                       const struct users_view *view);
void users_report_json(const struct look *look, const struct leaks *users);

#endif
