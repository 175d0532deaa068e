/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - the usage of a heap as OpenMetrics text, for Prometheus and its like.
 */
#ifndef ANALYSE_REPORT_METRICS_H
#define ANALYSE_REPORT_METRICS_H

#include "heap/heap.h"

/* Caches that were used, arenas and threads, on standard output, "# EOF" at the end. */
void metrics_print(const struct heap *h);

#endif
