/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uthash, which otherwise ends the process where memory runs out: include this
 * instead, and add with CFS_HASH_ADD.
 *
 *   if (CFS_HASH_ADD(c->groups, key, g) < 0) {
 *           free(g);
 *           return cfs_err_set(err, -ENOMEM, "out of memory");
 *   }
 */
#pragma once

#include <errno.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* @item by its @field, with a handle hh.  0; -ENOMEM: it is not in there. */
#define CFS_HASH_ADD(head, field, item)                                        \
	__extension__({                                                        \
		HASH_ADD(hh, head, field, sizeof((item)->field), item);        \
		(item)->hh.tbl ? 0 : -ENOMEM;                                  \
	})
