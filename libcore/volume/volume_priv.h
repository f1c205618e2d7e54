/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about volumes and snapshots share. */
#pragma once

#include "volume/vols_priv.h"
#include "volume/volume.h"

struct cfs_key cfs_volume_key(uint64_t id);
int cfs_volume_get_locked(struct cfs_member *m, uint64_t id,
			  struct cfs_volume_rec *ret, struct cfs_err *err);
int cfs_volume_put(struct cfs_member *m, uint64_t id,
		   const struct cfs_volume_rec *rec, struct cfs_err *err);
int cfs_volume_next_locked(struct cfs_member *m, uint64_t *id,
			   struct cfs_volume_rec *ret, struct cfs_err *err);
int cfs_volume_by_name_locked(struct cfs_member *m, const char *clone,
			      uint64_t *ret_id, struct cfs_volume_rec *ret,
			      struct cfs_err *err);
/* An id that no volume has had record of; locked. */
int cfs_volume_free_id(struct cfs_member *m, uint64_t *ret,
		       struct cfs_err *err);
/* It is gone for everybody; its branches are swept behind it.  Durable. */
int cfs_volume_mark_deleting(struct cfs_member *m, uint64_t id,
			     struct cfs_err *err);
int cfs_branch_put(struct cfs_member *m, uint16_t branch,
		   const struct cfs_branch_rec *rec, struct cfs_err *err);
int cfs_branch_number(struct cfs_vols *v, uint16_t *ret, struct cfs_err *err);
int cfs_volume_op_done(struct cfs_member *m, int r, struct cfs_err *err);
/* Within an operation: the volume's head as it is now, with the name and all
 * else that @rec says.  -EEXIST; -EBUSY: clients write that do not hold. */
int cfs_snapshot_add_locked(struct cfs_member *m, uint64_t volume,
			    const struct cfs_snapshot_rec *rec,
			    struct cfs_err *err);

/* snapset.c: where a snapshot of a set stands. */
struct cfs_snapset_mark {
	struct cfs_member *member;
	uint16_t branch;
	uint64_t stamp;
};
/*
 * Within operations on all of their containers: from now on they are undone by
 * whoever finds them, until the set has ended.  Durable.
 */
int cfs_snapset_begin(const struct cfs_snapset_mark *marks, size_t count,
		      struct cfs_err *err);
/*
 * All of them are durable: they are taken.  If this fails, either they are or
 * the next who opens the pool undoes them; nothing else may.
 */
int cfs_snapset_end(const struct cfs_snapset_mark *marks, size_t count,
		    struct cfs_err *err);
/* Undo them now, where that is possible; the rest is left to who comes next. */
void cfs_snapset_undo(const struct cfs_snapset_mark *marks, size_t count);

/* sweep.c */
/* Within an operation: this branch is to be swept. */
int cfs_sweep_mark(struct cfs_member *m, uint16_t branch, struct cfs_err *err);
/* What a sweep gave back on account of a snapshot that was removed. */
struct cfs_sweep_gain {
	uint64_t stamp;
	uint64_t freed_blocks;
};
/*
 * Free what no pin sees in a branch that was marked; the branch itself too,
 * if it has ended and nothing looks at it.  @gains: what was removed of the
 * branch, sorted by stamp; each gets what would have been freed if they had
 * gone one by one, from old to new, and the last one all that none saw.
 */
int cfs_sweep(struct cfs_member *m, uint16_t branch,
	      struct cfs_sweep_gain *gains, size_t count, struct cfs_err *err);
/* A volume that is DELETING: its snapshots, branches, record. */
int cfs_volume_finish_removal(struct cfs_member *m, uint64_t id,
			      struct cfs_err *err);
