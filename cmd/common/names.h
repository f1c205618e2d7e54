/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the command line names things: POOL, POOL:NAME, POOL:NAME/CLONE,
 * POOL:VOLUME@SNAP, POOL:VOLUME[@SNAP]:/path, and ":NAME..." for the pool of
 * $CFS_POOL.  All tools take names apart here and nowhere else, so that a
 * name means the same thing to every one of them.
 *
 * POOL ends at the first ':', and of a URI at the first ':' behind its
 * scheme.  A URI is SCHEME:// of any scheme, or "file:" and its like (see
 * names.c).  /path is the rest as it is: it may hold ':', '@' and any byte.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define CFS_NAME_BYTES_MAX 127u

/* Which parts an operand may have, and which it must. */
enum cfs_name_part {
	CFS_NAME_VOLUME = 1u << 0,
	CFS_NAME_CLONE = 1u << 1, /* "/CLONE" may stand in VOLUME */
	CFS_NAME_SNAP = 1u << 2,
	CFS_NAME_PATH = 1u << 3,
	CFS_NAME_RANGE = 1u << 4, /* SNAP may be FIRST..LAST */
};

#define CFS_NAME_ANY_VOLUME (CFS_NAME_VOLUME | CFS_NAME_CLONE)
#define CFS_NAME_ANY_SNAP   (CFS_NAME_ANY_VOLUME | CFS_NAME_SNAP)
#define CFS_NAME_ANY_PATH   (CFS_NAME_ANY_SNAP | CFS_NAME_PATH)

/*
 * A name in its parts.  All strings are its own; NULL: the part is not there.
 * @volume is "NAME" or "NAME/CLONE"; @container is its NAME and @clone its
 * CLONE.  With a range, @snap is all of "FIRST..LAST" (which is also a valid
 * name: whoever knows the snapshots may look for that first).
 */
struct cfs_name {
	char *pool; /* device path or URI, never empty */
	char *volume;
	char *container;
	char *clone;
	char *snap;
	char *range_first;
	char *range_last;
	char *path;       /* begins with '/' */
	bool is_env_pool; /* the pool came from $CFS_POOL */
};

#define CFS_NAME_INIT                                                          \
	{                                                                      \
		.pool = NULL                                                   \
	}

/*
 * Take @text apart.
 * @need      parts that must be there; @allow  those that may (or must)
 * @env_pool  what ":NAME" stands for, $CFS_POOL; NULL or "": not set
 * @ret       set on success only; to be given to cfs_name_done
 * Returns 0; -EINVAL: @text is no such name, and @err says which part is
 * wrong; -ENOMEM.
 */
int cfs_name_parse(const char *text, unsigned int need, unsigned int allow,
		   const char *env_pool, struct cfs_name *ret,
		   struct cfs_err *err);

/* Free the parts; a name that was never filled (CFS_NAME_INIT) is allowed. */
void cfs_name_done(struct cfs_name *name);

/*
 * Whether an operand that may also be a host file is a volume: it has a ':'
 * behind POOL.  "-", "dir/file" and "file:a%3Ab" are not volumes.
 */
bool cfs_name_is_volume(const char *text);

/* Whether the operand is "-": standard input or output. */
bool cfs_name_is_stdio(const char *text);

/*
 * Check one name of 1 to 127 bytes of A-Z a-z 0-9 . _ -, not beginning with
 * '-' or '.'.  @what names the thing in the message ("snapshot name").
 * Returns 0 or -EINVAL.
 */
int cfs_name_check(const char *what, const char *name, struct cfs_err *err);

/*
 * A snapshot of a volume that is known from elsewhere: "@SNAP", or "SNAP".
 * @ret points into @text.  Returns 0 or -EINVAL.
 */
int cfs_name_parse_snap(const char *text, const char **ret,
			struct cfs_err *err);
