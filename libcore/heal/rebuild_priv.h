/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the rebuild share. */
#pragma once

#include "base/vec.h"
#include "heal/rebuild.h"
#include "ondisk/map.h"
#include "ondisk/table.h"
#include "tree/container_open.h"
#include "tree/repair.h"

/* Adjacent blocks of one version. */
struct rebuild_run {
	uint64_t branch_ino; /* branch 16 | inode 48 */
	uint64_t offset;     /* block */
	uint64_t vaddr;
	uint64_t stamp;
	uint64_t csum; /* if it is one block */
	uint32_t count;
	uint16_t seq;
};

struct rebuild_tombstone {
	uint64_t branch_ino;
	uint64_t offset, count;
	uint64_t stamp;
	uint16_t seq;
};

/* A node by its tag. */
struct rebuild_node {
	uint64_t vaddr;
	struct cfs_tag tag;
	bool is_leaf; /* and good */
};

struct rebuild_branch {
	uint16_t id;
	struct cfs_branch_rec rec;
	uint64_t only_ino;      /* of a LUN; 0: any */
	CFS_VEC(uint64_t) pins; /* sorted */
	uint64_t live_blocks, history_blocks, level_mask;
};

struct rebuild {
	struct cfs_rebuild_result *result;
	struct cfs_err *err;
	struct cfs_metavolume *mv; /* config.mv, until it is given away */
	struct cfs_container_config config;
	const struct cfs_slice_geometry *geo;
	uint64_t seed;
	/* What the new trees have beside the leaves; the lock is held. */
	int (*fill)(struct rebuild *b);
	void *arg; /* for fill */

	CFS_VEC(struct rebuild_run) runs;
	CFS_VEC(struct rebuild_tombstone) tombstones;
	CFS_VEC(struct rebuild_node) nodes;
	CFS_VEC(struct rebuild_branch) branches; /* sorted by id */
	CFS_VEC(struct cfs_log_extent) logs;     /* by their tags */
	CFS_VEC(uint64_t) groups; /* that have a page: lslice, group */
	uint64_t stamp_max, ino_max;

	struct cfs_root root; /* to go on behind */
	uint64_t root_seq;
	struct cfs_container *c;
};

/* rebuild_tags.c: all tags of all slices */
int cfs_rebuild_scan(struct rebuild *b);
/* A good copy of the block that @tag describes, into @buf. */
bool cfs_rebuild_read(struct rebuild *b, uint64_t vaddr,
		      const struct cfs_tag *tag, void *buf);

/* rebuild_nodes.c: leaves into the new trees */
int cfs_rebuild_leaves(struct rebuild *b);

/* rebuild_map.c: extents by the rule */
int cfs_rebuild_map(struct rebuild *b);

/* rebuild.c */
void cfs_rebuild_done(struct rebuild *b);
/* Scan, leaves, fill, commit; mv, config and fill are set. */
int cfs_rebuild_run(struct rebuild *b);
