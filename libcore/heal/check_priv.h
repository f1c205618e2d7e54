/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the check share. */
#pragma once

#include "base/vec.h"
#include "heal/check.h"
#include "ondisk/map.h"
#include "ondisk/table.h"
#include "tree/container_open.h"
#include "tree/repair.h"
#include "volume/pool.h"

/* What tags are to say of a run of blocks. */
struct check_run {
	uint64_t vaddr;
	uint32_t count;
	struct cfs_tag tag; /* of the first; offsets follow */
	bool only_type;     /* of log and root */
};

struct check_branch {
	uint16_t id;
	bool has_mark; /* a sweep of it is not done */
	struct cfs_branch_rec rec;
	CFS_VEC(uint64_t) pins; /* sorted once the tables are read */
};

struct check_volume {
	uint64_t id;
	struct cfs_volume_rec rec;
};

struct check_snapshot {
	uint16_t branch;
	uint64_t stamp;
	uint64_t name_hash;
	uint64_t word1, word2; /* of the key of its name */
	uint64_t volume;       /* filled in when branches are known */
};

struct check_name { /* a place of a NAME record */
	uint64_t volume;
	uint64_t word1, word2;
	uint64_t place;
};

struct check_slice { /* a SLICE record, in order of keys */
	uint32_t device;
	uint64_t slice;
	struct cfs_slice_rec rec;
	bool is_mapped;
};

struct check_map { /* an SMAP record */
	uint64_t container_id, lslice;
	struct cfs_smap_rec rec;
};

struct check_container {
	uint64_t id;
	struct cfs_container_rec rec;
};

/* One problem that waits until no lock is held. */
struct check_note {
	const char *kind;
	char text[400];
};

struct check {
	struct cfs_pool *pool;
	const struct cfs_check_options *opt;
	struct cfs_check_result *result;
	struct cfs_err *err;

	/* Of the container that is being checked. */
	struct cfs_container *c;
	struct cfs_member *m; /* NULL: the pool's own */
	const char *name;
	uint64_t stamp; /* of its root */
	uint64_t next_ino;
	uint64_t seed;
	const struct cfs_slice_geometry *geo;
	struct cfs_metavolume *mv;
	uint64_t lslice_end;
	uint64_t **owned; /* by lslice: a bit for each data block */
	uint64_t owned_count;
	bool has_lost_nodes;
	CFS_VEC(struct check_run) runs;
	CFS_VEC(struct check_branch) branches; /* sorted by id */
	CFS_VEC(struct check_volume) volumes;
	CFS_VEC(struct check_snapshot) snapshots;
	CFS_VEC(struct check_name) names;
	struct {
		uint64_t w0, w1, end, birth;
		bool is_set;
	} last;
	uint64_t visits;

	CFS_VEC(struct check_note) notes;
	size_t left_out; /* notes beyond what is told */

	/* Of the pool. */
	CFS_VEC(struct check_slice) slices;
	CFS_VEC(struct check_map) maps;
	CFS_VEC(struct check_container) containers;
	uint32_t piece_count;
};

/* check.c */
/* Note a problem of the container; told when no lock is held. */
void cfs_check_say(struct check *k, const char *kind, const char *fmt, ...)
	CFS_PRINTF(3, 4);
/* Tell one at once; no lock held. */
int cfs_check_tell(struct check *k, const struct cfs_problem *p);
int cfs_check_flush(struct check *k);
/* These blocks belong to @what; false (and told): they cannot. */
bool cfs_check_own(struct check *k, uint64_t vaddr, uint32_t count,
		   const char *what);
/* What the tags of a run must be.  0 or an error. */
int cfs_check_expect(struct check *k, const struct check_run *run);
/* Blocks that have no content of their own kind to prove: roots, logs. */
int cfs_check_own_other(struct check *k, uint64_t vaddr, uint32_t count,
			uint8_t type, const char *what);
/* Judge a node: counts, copies, owner, tag.  1: its records can be read. */
int cfs_check_node(struct check *k, const struct cfs_node_found *node);
int cfs_check_stopped(struct check *k);

/* check_tags.c */
/* Compare what is expected with the tags; @is_last: also what nothing owns. */
int cfs_check_tags(struct check *k, bool is_last);

/* check_pool.c */
int cfs_check_devices(struct check *k);
int cfs_check_pool_record(struct check *k, const struct cfs_leaf_record *rec);
int cfs_check_slices(struct check *k);

/* check_table.c */
int cfs_check_tables(struct check *k);
struct check_branch *cfs_check_branch(struct check *k, uint16_t id);
bool cfs_check_is_pinned(const struct check_branch *b, uint64_t lo,
			 uint64_t hi);

/* check_names.c */
int cfs_check_name_record(struct check *k, const struct cfs_leaf_record *at,
			  struct cfs_err *why);
/* Behind the tables, whose snapshots know their volumes. */
int cfs_check_names(struct check *k);

/* check_map.c */
int cfs_check_maps(struct check *k);

/* check_space.c */
int cfs_check_roots(struct check *k);
int cfs_check_space(struct check *k);

/* check_trees.c; no lock held */
int cfs_check_trees(struct check *k);
