/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sweeping a branch: everything in it that no pin sees is freed, and in a
 * branch that has ended, what was born behind its last pin.  The work goes in
 * short operations; see volume.h for what a crash leaves.
 */
#include "volume/stream_priv.h"
#include "volume/volume_priv.h"

#include <inttypes.h>

#define BATCH_RECORDS 1024u
/* Of so few the pins are looked up; for more, those of the branch are loaded. */
#define LOOKED_UP     16u

static struct cfs_key orphan_key(uint16_t branch)
{
	/* Inode 0 is none: the branch itself. */
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_ORPHAN, branch), 0,
				   0 } };
}

int cfs_sweep_mark(struct cfs_member *m, uint16_t branch, struct cfs_err *err)
{
	const struct cfs_orphan_rec rec = {
		.stamp = cfs_container_stamp(m->container),
	};
	struct cfs_key key = orphan_key(branch);
	struct cfs_orphan_rec_disk disk;

	cfs_orphan_rec_pack(&rec, &disk);
	return cfs_container_put(m->container, &key, &disk, sizeof(disk), err);
}

static bool has_ended(const struct branch *b)
{
	return b->rec.end_stamp || b->rec.state == CFS_OBJECT_DELETING;
}

/* Is this record of the branch seen by anybody?  As cfs_branch_is_pinned. */
static int is_seen(struct cfs_vols *v, struct branch *b,
		   const struct cfs_version *version, bool is_history,
		   struct cfs_err *err)
{
	if (is_history)
		return cfs_branch_is_pinned(v, b, version->stamp,
					    version->death, err);
	return has_ended(b) ? cfs_branch_is_pinned(v, b, version->stamp,
						   UINT64_MAX, err)
			    : 1;
}

struct gains {
	struct cfs_sweep_gain *list;
	size_t count;
};

/* The newest of them that saw the version kept it to the last. */
static void count_gain(const struct gains *g, const struct cfs_version *version,
		       bool is_history, uint64_t blocks)
{
	size_t lo = 0, hi = g->count;

	if (g->count == 0)
		return;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (!is_history || g->list[mid].stamp < version->death)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || g->list[lo - 1].stamp < version->stamp)
		lo = g->count;
	g->list[lo - 1].freed_blocks += blocks;
}

static int drop_record(struct cfs_vols *v, struct branch *b,
		       unsigned int tree_id, const struct cfs_cursor *cur,
		       const struct gains *gains, struct cfs_err *err)
{
	struct cfs_key key = cur->key;
	int r = 0;

	if (cur->key.w[1] >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT) {
		struct cfs_extent_rec rec;

		r = cfs_extent_rec_unpack(cur->value, cur->value_bytes, &rec,
					  err);
		if (r == 0 && rec.vaddr) {
			int64_t n = rec.count;

			r = cfs_space_free(v->c, rec.vaddr, rec.count, err);
			if (r == 0)
				r = cfs_branch_count(
					v, b, tree_id == CFS_TREE_LIVE ? -n : 0,
					tree_id == CFS_TREE_LIVE ? 0 : -n, err);
			count_gain(gains, &rec.version,
				   tree_id == CFS_TREE_HISTORY, rec.count);
		}
	}
	if (r == 0)
		r = cfs_container_tree_remove(v->c, tree_id, &key, err);
	return r;
}

/* It goes if nobody sees it.  The cursor stays on it, or where it was. */
static int sweep_record(struct cfs_vols *v, struct branch *b,
			struct cfs_cursor *cur, const struct gains *gains,
			struct cfs_err *err)
{
	const bool is_history = cur->tree ==
				cfs_container_tree(v->c, CFS_TREE_HISTORY);
	const struct cfs_key key = cur->key;
	struct cfs_version version;
	int r = cfs_version_unpack(cur->value, cur->value_bytes, &version, err);

	if (r == 0)
		r = is_seen(v, b, &version, is_history, err);
	if (r < 0)
		return r;
	/* A look at the pins may have taken the leaf from under it. */
	if (!b->has_snaps) {
		int r2 = cfs_cursor_ge(cur, cur->tree, &key, err);

		if (r2 < 0)
			return r2;
	}
	return r > 0 ? 0
		     : drop_record(v, b,
				   is_history ? CFS_TREE_HISTORY
					      : CFS_TREE_LIVE,
				   cur, gains, err);
}

/*
 * One operation's worth of a tree from *at on.  Returns 1: there is more;
 * 0: the branch's records are through.
 */
static int sweep_batch(struct cfs_vols *v, uint16_t branch,
		       unsigned int tree_id, struct cfs_key *at,
		       const struct gains *gains, struct cfs_err *err)
{
	struct cfs_tree *tree = cfs_container_tree(v->c, tree_id);
	struct cfs_cursor cur;
	struct branch *b;
	int r = cfs_branch_get(v, branch, &b, err);

	if (r == 0)
		r = cfs_cursor_ge(&cur, tree, at, err);
	for (unsigned int n = 0; r == 0; n++) {
		if (cur.key.w[0] >> 48 != branch)
			return 0;
		*at = cur.key;
		if (n == BATCH_RECORDS)
			return 1;
		if (n == LOOKED_UP && !b->has_snaps) {
			r = cfs_branch_load(v, b, err);
			if (r == 0)
				r = cfs_cursor_ge(&cur, tree, at, err);
		}
		if (r == 0)
			r = sweep_record(v, b, &cur, gains, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static int sweep_tree(struct cfs_member *m, uint16_t branch,
		      unsigned int tree_id, const struct gains *gains,
		      struct cfs_err *err)
{
	struct cfs_key at = { { (uint64_t)branch << 48, 0, 0 } };
	int r;

	do {
		r = cfs_op_begin(m->container, CFS_OP_FREEING, err);
		if (r < 0)
			return r;
		r = sweep_batch(m->vols, branch, tree_id, &at, gains, err);
		if (r < 0)
			cfs_op_abort(m->container);
		else
			cfs_op_end(m->container);
	} while (r == 1);
	return r;
}

/* Tombstones of a branch that is gone count for nothing. */
static int drop_tombstones(struct cfs_member *m, uint16_t branch,
			   struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_TOMBSTONE, branch),
				  0, 0 } };
	int r = 0;

	while (r == 0) {
		struct cfs_cursor cur;

		r = cfs_op_begin(m->container, CFS_OP_FREEING, err);
		if (r < 0)
			return r;
		for (unsigned int n = 0; n < BATCH_RECORDS && r == 0; n++) {
			r = cfs_cursor_ge(&cur,
					  cfs_container_tree(m->container,
							     CFS_TREE_TABLE),
					  &from, err);
			if (r == 0 && cur.key.w[0] != from.w[0])
				r = -ENOENT;
			if (r == 0) {
				struct cfs_key key = cur.key;

				r = cfs_container_del(m->container, &key, err);
			}
		}
		if (r < 0 && r != -ENOENT)
			cfs_op_abort(m->container);
		else
			cfs_op_end(m->container);
	}
	return r == -ENOENT ? 0 : r;
}

/* The sweep is durable: its mark goes, and the branch if nothing is left. */
static int sweep_done(struct cfs_member *m, uint16_t branch,
		      struct cfs_err *err)
{
	struct cfs_key mark = orphan_key(branch);
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_BRANCH, branch), 0,
				 0 } };
	uint16_t parent = 0;
	bool is_gone = false;
	struct branch *b;
	int r = 0;

	cfs_container_lock(m->container);
	b = cfs_branch_find(m->vols, branch);
	if (b && has_ended(b))
		r = cfs_branch_is_pinned(m->vols, b, 0, UINT64_MAX, err);
	if (b && has_ended(b) && r == 0) {
		is_gone = true;
		parent = (uint16_t)b->rec.parent;
	}
	cfs_container_unlock(m->container);
	if (is_gone)
		r = drop_tombstones(m, branch, err);
	if (r < 0)
		return r;
	r = cfs_op_begin(m->container, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = cfs_container_del(m->container, &mark, err);
	if (r == -ENOENT)
		r = 0;
	if (r == 0 && is_gone)
		r = cfs_container_del(m->container, &key, err);
	/* The parent lost a pin. */
	if (r == 0 && parent)
		r = cfs_sweep_mark(m, parent, err);
	r = cfs_volume_op_done(m, r, err);
	if (r == 0 && parent)
		r = cfs_sweep(m, parent, NULL, 0, err);
	return r;
}

int cfs_sweep(struct cfs_member *m, uint16_t branch,
	      struct cfs_sweep_gain *gains, size_t count, struct cfs_err *err)
{
	const struct gains g = { gains, count };
	bool is_there, wants_live = false;
	struct branch *b;
	int r = 0;

	cfs_container_lock(m->container);
	b = cfs_branch_find(m->vols, branch);
	is_there = b && b->rec.volume;
	if (is_there)
		wants_live = has_ended(b);
	cfs_container_unlock(m->container);
	if (is_there) {
		r = sweep_tree(m, branch, CFS_TREE_HISTORY, &g, err);
		if (r == 0 && wants_live)
			r = sweep_tree(m, branch, CFS_TREE_LIVE, &g, err);
	}
	if (r == 0)
		r = cfs_container_commit(m->container, err);
	if (r == 0)
		r = sweep_done(m, branch, err);
	return r;
}

/* ---- removal of volumes -------------------------------------------------- */

/* A branch of the volume that no branch forks from; 0: none is left. */
static uint16_t leaf_branch(struct cfs_vols *v, uint64_t volume)
{
	struct branch *b, *tmp;

	HASH_ITER(hh, v->branches, b, tmp)
		if (b->rec.volume == volume && b->forks.count == 0)
			return b->id;
	return 0;
}

/* Some of its snapshots go.  Returns 1: there are more. */
static int drop_snapshots(struct cfs_member *m, uint16_t branch,
			  struct branch **ret, struct cfs_err *err)
{
	struct branch *b;
	int r = cfs_branch_get(m->vols, branch, &b, err);

	if (r == 0)
		r = cfs_branch_load(m->vols, b, err);
	for (unsigned int n = 0; r == 0 && b->snaps.count > 0; n++) {
		struct cfs_key key = { {
			cfs_table_word(CFS_TABLE_SNAPSHOT, branch),
			b->snaps.list[b->snaps.count - 1],
			0,
		} };

		if (n == BATCH_RECORDS)
			return 1;
		r = cfs_container_del(m->container, &key, err);
	}
	if (r == 0)
		*ret = b;
	return r;
}

/*
 * Its snapshots go, and it is marked as ended, to be swept away whole.  What
 * one operation changes must find room in one commit, so many go in several;
 * the volume is being deleted, and nobody sees what is left meanwhile.
 */
static int end_branch(struct cfs_member *m, uint16_t branch,
		      struct cfs_err *err)
{
	struct branch *b = NULL;
	int r;

	do {
		r = cfs_op_begin_for(
			m->container, CFS_OP_FREEING,
			32 + BATCH_RECORDS / 2 +
				cfs_name_index_blocks(m->vols, BATCH_RECORDS),
			err);
		if (r < 0)
			return r;
		r = drop_snapshots(m, branch, &b, err);
		if (r == 1)
			cfs_op_end(m->container);
	} while (r == 1);
	if (r == 0) {
		struct cfs_branch_rec rec = b->rec;

		rec.state = CFS_OBJECT_DELETING;
		r = cfs_branch_put(m, branch, &rec, err);
	}
	if (r == 0)
		r = cfs_sweep_mark(m, branch, err);
	if (r == 0)
		cfs_pages_drop_branch(m->vols, branch);
	return cfs_volume_op_done(m, r, err);
}

int cfs_volume_finish_removal(struct cfs_member *m, uint64_t id,
			      struct cfs_err *err)
{
	struct cfs_key key = cfs_volume_key(id);
	uint16_t branch;
	int r = 0;

	do {
		cfs_container_lock(m->container);
		branch = leaf_branch(m->vols, id);
		cfs_container_unlock(m->container);
		if (branch)
			r = end_branch(m, branch, err);
		if (branch && r == 0)
			r = cfs_sweep(m, branch, NULL, 0, err);
	} while (branch && r == 0);
	if (r == 0)
		r = cfs_op_begin(m->container, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = cfs_container_del(m->container, &key, err);
	if (r == 0)
		r = cfs_receive_give_up_locked(m, id, err);
	return cfs_volume_op_done(m, r, err);
}

/* The first record of @class from @low on: its low bits.  -ENOENT. */
static int first_of(struct cfs_member *m, enum cfs_table_class class,
		    uint64_t *low, struct cfs_key *ret_key, uint32_t *ret_state,
		    struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(class, *low), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(m->container);
	r = cfs_cursor_ge(&cur,
			  cfs_container_tree(m->container, CFS_TREE_TABLE),
			  &from, err);
	if (r == 0 && cur.key.w[0] >> 56 != class)
		r = -ENOENT;
	if (r == 0 && class == CFS_TABLE_VOLUME) {
		struct cfs_volume_rec rec;

		r = cfs_volume_rec_unpack(cur.value, cur.value_bytes, &rec,
					  err);
		*ret_state = rec.state;
	}
	if (r == 0) {
		*low = cur.key.w[0] & ((UINT64_C(1) << 56) - 1);
		*ret_key = cur.key;
	}
	cfs_container_unlock(m->container);
	return r;
}

int cfs_volumes_finish_work(struct cfs_member *m, struct cfs_err *err)
{
	struct cfs_key key;
	uint32_t state = 0;
	uint64_t low;
	int r = 0;

	for (low = 1; r == 0; low++) {
		r = first_of(m, CFS_TABLE_VOLUME, &low, &key, &state, err);
		if (r == 0 && state == CFS_OBJECT_DELETING)
			r = cfs_volume_finish_removal(m, low, err);
	}
	for (low = 0; r == 0 || r == -ENOENT; low++) {
		r = first_of(m, CFS_TABLE_ORPHAN, &low, &key, &state, err);
		if (r == -ENOENT)
			return 0;
		/* Inodes that were unlinked are the file system's to free. */
		if (r == 0 && key.w[1] == 0)
			r = cfs_sweep(m, (uint16_t)low, NULL, 0, err);
	}
	return r;
}
