/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Owners that clean up at the end of their scope.
 *
 *   CFS_CLEANUP(cfs_freep) char *name = NULL;
 *
 * Destructors accept NULL and half-built objects.  A cleanup attribute cannot
 * report a failure: close and flush after writing are called explicitly.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define CFS_CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cfs_freep(void *p)
{
	free(*(void **)p);
}

static inline void cfs_fdclosep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Hand an owned pointer on: reads @p and sets it to NULL. */
#define CFS_STEAL(p)                                                           \
	(__extension__({                                                       \
		__typeof__(p) p_ = (p);                                        \
		(p) = NULL;                                                    \
		p_;                                                            \
	}))
