/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots of several containers, all or none: each container makes its own
 * durable with a frame of its own log, so container 0 has a SNAPSET record for
 * each of them first.  While the records stand, the snapshots are not taken:
 *
 *   1. the records of all of them, durable    -> crash: nothing, or undone
 *   2. the containers' frames, one by one     -> crash: undone
 *   3. the records go, in one frame           -> crash: undone, or all taken
 *
 * Whoever opens a container undoes what is still named for it before anybody
 * sees the container, and then removes its records.  Containers need not wait
 * for each other in that: a record that is left says that all of its set is
 * to go, and no record of a set goes alone before all of it is taken.
 *
 * A stamp of a container belongs to one snapshot for ever, so a record that
 * outlives its snapshot names nothing else.
 */
#include "volume/pool_priv.h"
#include "volume/volume_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"

#include <stdlib.h>

struct key_list {
	CFS_VEC(struct cfs_key) keys;
};

static void key_listp(struct key_list *list)
{
	cfs_vec_done(&list->keys);
}

static int no_memory(struct cfs_err *err)
{
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

static struct cfs_key snapset_key(uint64_t container, uint16_t branch,
				  uint64_t stamp)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SNAPSET, container),
				   branch, stamp } };
}

static uint64_t container_of(const struct cfs_key *key)
{
	return key->w[0] & ((UINT64_C(1) << 56) - 1);
}

/* Records from @from on, up to @end in the first word.  Container 0 locked. */
static int list_locked(struct cfs_pool *pool, const struct cfs_key *from,
		       uint64_t end, struct key_list *ret, struct cfs_err *err)
{
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), from, err);

	while (r == 0 && cur.key.w[0] <= end) {
		if (cfs_vec_push(&ret->keys, cur.key) < 0)
			return no_memory(err);
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static int list(struct cfs_pool *pool, uint64_t first, uint64_t last,
		struct key_list *ret, struct cfs_err *err)
{
	const struct cfs_key from = snapset_key(first, 0, 0);
	int r;

	cfs_container_lock(pool->c0);
	r = list_locked(pool, &from, cfs_table_word(CFS_TABLE_SNAPSET, last),
			ret, err);
	cfs_container_unlock(pool->c0);
	return r;
}

/* ---- container 0 --------------------------------------------------------- */

/* Room for an operation on so many records, beside what each may take. */
static uint64_t blocks_for(size_t count)
{
	return 32 + count / 8;
}

/* One operation of container 0, and durable. */
static int change(struct cfs_pool *pool, const struct cfs_key *keys,
		  size_t count, const struct cfs_snapset_rec *rec,
		  struct cfs_err *err)
{
	struct cfs_snapset_rec_disk disk;
	int r = cfs_op_begin_for(pool->c0, CFS_OP_FREEING, blocks_for(count),
				 err);

	if (r < 0)
		return r;
	if (rec)
		cfs_snapset_rec_pack(rec, &disk);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (rec)
			r = cfs_container_put(pool->c0, &keys[i], &disk,
					      sizeof(disk), err);
		else
			r = cfs_container_del(pool->c0, &keys[i], err);
		/* Two may have found it left over. */
		if (!rec && r == -ENOENT)
			r = 0;
	}
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	return cfs_container_sync(pool->c0, err);
}

static int keys_of(const struct cfs_snapset_mark *marks, size_t count,
		   struct key_list *ret, struct cfs_err *err)
{
	for (size_t i = 0; i < count; i++)
		if (cfs_vec_push(&ret->keys, snapset_key(marks[i].member->id,
							 marks[i].branch,
							 marks[i].stamp)) < 0)
			return no_memory(err);
	return 0;
}

int cfs_snapset_begin(const struct cfs_snapset_mark *marks, size_t count,
		      struct cfs_err *err)
{
	CFS_CLEANUP(key_listp) struct key_list list = { CFS_VEC_INIT };
	const struct cfs_snapset_rec rec = {
		.begun_ns = (uint64_t)cfs_clock_realtime_ns(cfs_clock_system()),
		.count = (uint32_t)count,
	};
	int r = keys_of(marks, count, &list, err);

	return r < 0 ? r
		     : change(marks[0].member->pool, list.keys.items, count,
			      &rec, err);
}

int cfs_snapset_end(const struct cfs_snapset_mark *marks, size_t count,
		    struct cfs_err *err)
{
	CFS_CLEANUP(key_listp) struct key_list list = { CFS_VEC_INIT };
	int r = keys_of(marks, count, &list, err);

	return r < 0 ? r
		     : change(marks[0].member->pool, list.keys.items, count,
			      NULL, err);
}

/* ---- undoing ------------------------------------------------------------- */

/* Within an operation: the snapshot that the record names, if it is there. */
static int undo_one(struct cfs_member *m, const struct cfs_key *record,
		    struct cfs_err *err)
{
	const uint16_t branch = (uint16_t)record->w[1];
	const struct cfs_key key = { {
		cfs_table_word(CFS_TABLE_SNAPSHOT, branch),
		record->w[2],
		0,
	} };
	const struct branch *b = cfs_branch_find(m->vols, branch);
	int r;

	/* Of one that was used before it was acknowledged a clone is left. */
	for (size_t i = 0; b && i < b->forks.count; i++)
		if (b->forks.list[i] == record->w[2])
			return 0;
	r = cfs_container_del(m->container, &key, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : cfs_sweep_mark(m, branch, err);
}

/* Durable; the records may go behind it. */
static int undo(struct cfs_member *m, const struct key_list *list,
		struct cfs_err *err)
{
	int r = cfs_op_begin(m->container, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < list->keys.count; i++)
		if (container_of(&list->keys.items[i]) == m->id)
			r = undo_one(m, &list->keys.items[i], err);
	return cfs_volume_op_done(m, r, err);
}

void cfs_snapset_undo(const struct cfs_snapset_mark *marks, size_t count)
{
	CFS_CLEANUP(key_listp) struct key_list list = { CFS_VEC_INIT };
	CFS_CLEANUP(key_listp) struct key_list done = { CFS_VEC_INIT };

	if (keys_of(marks, count, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct cfs_member *m = marks[i].member;

		/* Again for each mark of a container: the second time there is
		 * nothing to do. */
		if (undo(m, &list, NULL) < 0)
			continue;
		(void)cfs_vec_push(&done.keys, list.keys.items[i]);
		(void)cfs_sweep(m, marks[i].branch, NULL, 0, NULL);
	}
	/* What stays is for the next who opens the container. */
	(void)change(marks[0].member->pool, done.keys.items, done.keys.count,
		     NULL, NULL);
}

int cfs_snapset_finish(struct cfs_member *m, struct cfs_err *err)
{
	CFS_CLEANUP(key_listp) struct key_list left = { CFS_VEC_INIT };
	int r = list(m->pool, m->id, m->id, &left, err);

	if (r < 0 || left.keys.count == 0)
		return r;
	r = undo(m, &left, err);
	if (r < 0)
		return r;
	return change(m->pool, left.keys.items, left.keys.count, NULL, err);
}

int cfs_snapset_forget(struct cfs_pool *pool, cfs_snapset_exists_fn exists,
		       const void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(key_listp) struct key_list all = { CFS_VEC_INIT };
	size_t stray = 0;
	int r = list(pool, 0, (UINT64_C(1) << 56) - 1, &all, err);

	for (size_t i = 0; r == 0 && i < all.keys.count; i++)
		if (!exists(arg, container_of(&all.keys.items[i])))
			all.keys.items[stray++] = all.keys.items[i];
	return r < 0 || stray == 0
		       ? r
		       : change(pool, all.keys.items, stray, NULL, err);
}
