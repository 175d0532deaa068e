/* SPDX-License-Identifier: MIT */
/*
 * verify_report.h - what the verifier found, as text and as JSON.
 */
#ifndef ANALYSE_REPORT_VERIFY_REPORT_H
#define ANALYSE_REPORT_VERIFY_REPORT_H

#include "look/verify.h"
#include "report/open.h"

/* all: also caches without buffers.  name: the only cache looked at, or NULL. */
void verify_report_text(const struct look *look, const struct verification *v, const char *name,
                        bool all);
void verify_report_json(const struct look *look, const struct verification *v);

#endif
