/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trace: from a place on a device to the volume, file, offset and snapshots
 * that it belongs to.  The tag beside the block says which inode and offset of
 * which branch it is, the map whether it still is, and who sees it.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_pool;

/* One damaged range, traced. */
struct cfs_damage {
	const char *kind;  /* "data", "node", "table", "log", "root",
			    * "tags", "header", "free", "label", "seat",
			    * "reserved" */
	const char *cause; /* "content", "unreadable", "tag", "" */
	char device[4096]; /* path */
	uint32_t device_index;
	uint64_t device_offset_bytes;
	char container[128];
	char volume[260]; /* empty: not a volume's data */
	char path[4096];  /* tree only; has_path */
	bool has_path;
	uint64_t offset_bytes, length_bytes;
	char (*snapshots)[128]; /* those that see it */
	size_t snapshot_count;
	bool is_healed;
};
/* What it is given lives until it returns.  Non-zero ends the work. */
typedef int (*cfs_damage_each_fn)(void *arg, const struct cfs_damage *d);

/*
 * What stands at a byte of a device.  Data that several volumes see (clones)
 * is told once for each of them.
 * -EINVAL: the device is not that long.
 */
int cfs_pool_trace_at(struct cfs_pool *pool, uint32_t device_index,
		      uint64_t offset_bytes, cfs_damage_each_fn each, void *arg,
		      struct cfs_err *err);
/*
 * The damage that is in the bad-block tables and still there: what was
 * overwritten or deleted since is left out.
 */
int cfs_pool_trace_bad(struct cfs_pool *pool, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err);
