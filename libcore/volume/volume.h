/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes and their versions: the production volume of a container, clones,
 * snapshots, rollback, and giving back what nobody sees any more.
 *
 * A volume has a head branch.  A clone is a volume whose first branch forks
 * from a snapshot; a rollback gives a volume a new head that forks from one of
 * its snapshots, and ends the old head.  A branch that has ended and that
 * nothing looks at any more is removed.
 *
 * Deletion is two things: the record goes in one operation, together with an
 * ORPHAN record that says which branch is to be swept; then the sweep frees
 * what no pin sees, in many short operations, and takes that record away
 * behind a commit.  A sweep that was broken off is begun anew at the next open.
 * What a sweep changes is not logged: until the commit behind it, a crash
 * brings the branch back as it was, with its ORPHAN record.
 *
 * Thread safety: any thread; each call takes the container's lock itself.
 */
#pragma once

#include "volume/map.h"
#include "volume/pool.h"

#define CFS_VOLUME_FIRST UINT64_C(1) /* id of the production volume */

/* The production volume of a container that was just made; durable. */
int cfs_volume_make_first(struct cfs_member *m, uint32_t kind,
			  uint64_t size_bytes, struct cfs_err *err);
/* @clone: NULL for the production volume, else the last part of its name.
 * -ENOENT. */
int cfs_volume_find(struct cfs_member *m, const char *clone, uint64_t *ret_id,
		    struct cfs_volume_rec *ret, struct cfs_err *err);
int cfs_volume_get(struct cfs_member *m, uint64_t id,
		   struct cfs_volume_rec *ret, struct cfs_err *err);
typedef int (*cfs_volume_rec_each_fn)(void *arg, uint64_t id,
				      const struct cfs_volume_rec *rec,
				      struct cfs_err *err);
/* In the order of ids; those being deleted are left out. */
int cfs_volume_each(struct cfs_member *m, cfs_volume_rec_each_fn each,
		    void *arg, struct cfs_err *err);
/* Rename a clone.  -EEXIST. */
int cfs_volume_rename(struct cfs_member *m, uint64_t id, const char *name,
		      struct cfs_err *err);
int cfs_volume_set_limit(struct cfs_member *m, uint64_t id,
			 uint64_t limit_bytes, struct cfs_err *err);
/* A LUN's size; what lies behind it is given up. */
int cfs_volume_resize(struct cfs_member *m, uint64_t id, uint64_t size_bytes,
		      struct cfs_err *err);
/* A clone, with its snapshots.  -EBUSY: it has clones of its own, or
 * snapshots and !recursive; recursive takes them along. */
int cfs_volume_remove(struct cfs_member *m, uint64_t id, bool recursive,
		      struct cfs_err *err);
/* The same without looking: its snapshots go too, held or not.  It has no
 * clones. */
int cfs_volume_remove_whole(struct cfs_member *m, uint64_t id,
			    struct cfs_err *err);
void cfs_volume_view(struct cfs_member *m, const struct cfs_volume_rec *rec,
		     struct cfs_view *ret);

struct cfs_snapshot_name {
	struct cfs_member *member;
	uint64_t volume;
	const char *name;
};
/*
 * Of several volumes, at one moment: all or none, whatever happens.  Durable.
 * If it fails it may be that the next who opens the pool finds all of them.
 */
int cfs_snapshot_take(const struct cfs_snapshot_name *names, size_t count,
		      const char *note, struct cfs_err *err);
/* Sets branch and stamp too.  -ENOENT. */
int cfs_snapshot_find(struct cfs_member *m, uint64_t volume, const char *name,
		      uint64_t *ret_stamp, struct cfs_snapshot_rec *ret,
		      struct cfs_err *err);
typedef int (*cfs_snapshot_rec_each_fn)(void *arg, uint64_t stamp,
					const struct cfs_snapshot_rec *rec,
					struct cfs_err *err);
/* Of one volume, old to new. */
int cfs_snapshot_each(struct cfs_member *m, uint64_t volume,
		      cfs_snapshot_rec_each_fn each, void *arg,
		      struct cfs_err *err);
int cfs_snapshot_clone(struct cfs_member *m, uint64_t volume, const char *snap,
		       const char *clone, struct cfs_err *err);
int cfs_snapshot_rollback(struct cfs_member *m, uint64_t volume,
			  const char *snap, const char *save,
			  struct cfs_err *err);
/* @ret_freed_blocks (may be NULL). */
int cfs_snapshot_remove(struct cfs_member *m, uint64_t volume, const char *snap,
			uint64_t *ret_freed_blocks, struct cfs_err *err);
/*
 * Several of one volume, each named once: all or none, with one commit.
 * @ret_freed_blocks: of each what it gives back if the older ones went first.
 */
int cfs_snapshot_remove_many(struct cfs_member *m, uint64_t volume,
			     const char *const *names, size_t count,
			     uint64_t *ret_freed_blocks, struct cfs_err *err);
int cfs_snapshot_rename(struct cfs_member *m, uint64_t volume, const char *snap,
			const char *name, struct cfs_err *err);
int cfs_snapshot_hold(struct cfs_member *m, uint64_t volume, const char *snap,
		      bool hold, struct cfs_err *err);
/* Where a branch forks from: @ret_parent is 0 if it does not. */
int cfs_snapshot_fork(struct cfs_member *m, uint16_t branch,
		      uint16_t *ret_parent, uint64_t *ret_stamp,
		      struct cfs_err *err);
/* Clones whose first branch forks from this snapshot. */
int cfs_snapshot_clone_count(struct cfs_member *m, uint64_t volume,
			     uint64_t stamp, uint64_t *ret,
			     struct cfs_err *err);

/*
 * Whose clones there are in a container, looked up once for many questions.
 * cfs_origins_get: to be given to cfs_origins_done.
 */
struct cfs_origins {
	struct cfs_origin {
		uint64_t volume, stamp;
	} * list; /* sorted */
	size_t count;
};
int cfs_origins_get(struct cfs_member *m, struct cfs_origins *ret,
		    struct cfs_err *err);
/* Clones whose first branch forks from this snapshot. */
uint64_t cfs_origins_count(const struct cfs_origins *o, uint64_t volume,
			   uint64_t stamp);
/* Of any snapshot of the volume. */
uint64_t cfs_origins_count_all(const struct cfs_origins *o, uint64_t volume);
void cfs_origins_done(struct cfs_origins *o);
/* The snapshot of a volume with this stamp.  -ENOENT without @err. */
int cfs_snapshot_at(struct cfs_member *m, uint64_t volume, uint64_t stamp,
		    struct cfs_snapshot_rec *ret, struct cfs_err *err);

/* Go on with sweeps and removals that were broken off. */
int cfs_volumes_finish_work(struct cfs_member *m, struct cfs_err *err);

/* Space of a volume and of each of its snapshots, by a walk over the maps. */
struct cfs_snapshot_space {
	uint64_t stamp;
	uint16_t branch;
	uint64_t seen_blocks;      /* it sees them */
	uint64_t exclusive_blocks; /* nobody else does */
};
struct cfs_volume_space {
	uint64_t used_blocks;   /* the head sees them */
	uint64_t shared_blocks; /* of them: a snapshot or parent too */
	uint64_t inode_count;   /* tree */
	struct cfs_snapshot_space *snapshots; /* free(); sorted by stamp */
	size_t snapshot_count;
};
int cfs_volume_space(struct cfs_member *m, uint64_t volume,
		     struct cfs_volume_space *ret, struct cfs_err *err);
