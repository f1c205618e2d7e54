/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The name by which tgtd finds a store that it has loaded. */
#pragma once

#include <stdbool.h>

/* tgtd's thread, before its loop runs.  Nothing in any other program, and
 * nothing the second time.  Not in a tgtd that does not fit, which is said in
 * its log. */
void register_bs_module(void);
