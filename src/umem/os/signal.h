/* SPDX-License-Identifier: MIT */
/*
 * signal.h - a signal by which the process is asked for something: its handler
 * sets a flag, and whoever comes by does what is asked.
 */
#ifndef UMEM_SIGNAL_H
#define UMEM_SIGNAL_H

#include "base/base.h"

/*
 * From now on the signal sets the flag, of which there is one in the process,
 * and does nothing else.  A handler that the program installs later replaces
 * this.  -1 with EBUSY: the program has a handler, or ignores the signal.
 */
int os_signal_flag(int number, _Atomic bool *set);

#endif
