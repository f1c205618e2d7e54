/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots, clones and rollback: records of the small tables, and the stamp
 * that rises behind each.  None of it looks at data.
 */
#include "volume/stream_priv.h"
#include "volume/volume_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tree/hooks.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>

static struct cfs_key snapshot_key(uint16_t branch, uint64_t stamp)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SNAPSHOT, branch),
				   stamp, 0 } };
}

/* ---- listing ------------------------------------------------------------- */

struct found {
	uint64_t stamp;
	uint16_t branch;
};

static int by_stamp(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->stamp > y->stamp) - (x->stamp < y->stamp);
}

/* Where the snapshots of a volume are, old to new; locked. */
static int find_all(struct cfs_vols *v, uint64_t volume, struct found **ret,
		    size_t *ret_count, struct cfs_err *err)
{
	struct branch *b, *tmp;
	struct found *list;
	size_t room = 1, n = 0;
	bool is_sorted = true;
	int r;

	HASH_ITER(hh, v->branches, b, tmp) {
		if (b->rec.volume != volume)
			continue;
		r = cfs_branch_load(v, b, err);
		if (r < 0)
			return r;
		room += b->snaps.count;
	}
	list = calloc(room, sizeof(*list));
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	HASH_ITER(hh, v->branches, b, tmp) {
		if (b->rec.volume != volume)
			continue;
		for (size_t i = 0; i < b->snaps.count; i++)
			list[n++] = (struct found){ b->snaps.list[i], b->id };
	}
	for (size_t i = 1; i < n && is_sorted; i++)
		is_sorted = list[i - 1].stamp <= list[i].stamp;
	if (!is_sorted)
		qsort(list, n, sizeof(*list), by_stamp);
	*ret = list;
	*ret_count = n;
	return 0;
}

static int get_locked(struct cfs_container *c, const struct found *at,
		      struct cfs_snapshot_rec *ret, struct cfs_err *err)
{
	struct cfs_key key = snapshot_key(at->branch, at->stamp);
	uint8_t value[CFS_SNAPSHOT_REC_BYTES_MAX];
	size_t bytes;
	int r = cfs_container_get(c, &key, value, sizeof(value), &bytes, err);

	if (r == -ENOENT)
		return cfs_err_set(err, -EUCLEAN, "a snapshot is gone");
	if (r == 0)
		r = cfs_snapshot_rec_unpack(
			value, CFS_MIN(bytes, sizeof(value)), ret, err);
	ret->branch = at->branch;
	return r;
}

int cfs_snapshot_each(struct cfs_member *m, uint64_t volume,
		      cfs_snapshot_rec_each_fn each, void *arg,
		      struct cfs_err *err)
{
	struct found *list = NULL;
	size_t count = 0;
	int r;

	cfs_container_lock(m->container);
	r = find_all(m->vols, volume, &list, &count, err);
	cfs_container_unlock(m->container);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct cfs_snapshot_rec rec;

		cfs_container_lock(m->container);
		r = get_locked(m->container, &list[i], &rec, err);
		cfs_container_unlock(m->container);
		if (r == 0)
			r = each(arg, list[i].stamp, &rec, err);
	}
	free(list);
	return r;
}

int cfs_snapshot_fork(struct cfs_member *m, uint16_t branch,
		      uint16_t *ret_parent, uint64_t *ret_stamp,
		      struct cfs_err *err)
{
	struct branch *b;
	int r;

	cfs_container_lock(m->container);
	r = cfs_branch_get(m->vols, branch, &b, err);
	if (r == 0) {
		*ret_parent = (uint16_t)b->rec.parent;
		*ret_stamp = b->rec.fork_stamp;
	}
	cfs_container_unlock(m->container);
	return r;
}

struct by_name {
	struct cfs_member *m;
	uint64_t volume;
	const char *name;
	struct found *at;
	struct cfs_snapshot_rec *rec;
};

/* 1: it is the one. */
static int match_name(void *arg, uint16_t branch, uint64_t stamp,
		      struct cfs_err *err)
{
	const struct by_name *by = arg;
	struct branch *b = cfs_branch_find(by->m->vols, branch);
	const struct found at = { stamp, branch };
	int r;

	if (!b || b->rec.volume != by->volume)
		return 0;
	r = cfs_branch_has_snapshot(by->m->vols, b, stamp, err);
	if (r <= 0)
		return r;
	r = get_locked(by->m->container, &at, by->rec, err);
	if (r == 0 && strcmp(by->rec->name, by->name) == 0) {
		*by->at = at;
		r = 1;
	}
	return r;
}

/* By name; locked.  -ENOENT without @err. */
static int find_locked(struct cfs_member *m, uint64_t volume, const char *name,
		       struct found *ret, struct cfs_snapshot_rec *ret_rec,
		       struct cfs_err *err)
{
	struct by_name by = { m, volume, name, ret, ret_rec };
	int r = cfs_name_index_find(m->vols, volume, name, match_name, &by,
				    err);

	if (r == -ENODATA)
		r = cfs_names_find(m->vols, name, match_name, &by, err);
	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

static int must_find(struct cfs_member *m, uint64_t volume, const char *name,
		     struct found *ret, struct cfs_snapshot_rec *ret_rec,
		     struct cfs_err *err)
{
	int r = find_locked(m, volume, name, ret, ret_rec, err);

	if (r == -ENOENT)
		cfs_err_set(err, r, "no such snapshot");
	return r;
}

int cfs_snapshot_find(struct cfs_member *m, uint64_t volume, const char *name,
		      uint64_t *ret_stamp, struct cfs_snapshot_rec *ret,
		      struct cfs_err *err)
{
	struct found at = { 0, 0 };
	int r;

	cfs_container_lock(m->container);
	r = must_find(m, volume, name, &at, ret, err);
	cfs_container_unlock(m->container);
	*ret_stamp = at.stamp;
	return r;
}

int cfs_snapshot_at(struct cfs_member *m, uint64_t volume, uint64_t stamp,
		    struct cfs_snapshot_rec *ret, struct cfs_err *err)
{
	struct branch *b, *tmp;
	struct found at = { stamp, 0 };
	int r = 0;

	cfs_container_lock(m->container);
	HASH_ITER(hh, m->vols->branches, b, tmp) {
		if (r < 0 || b->rec.volume != volume)
			continue;
		r = cfs_branch_has_snapshot(m->vols, b, stamp, err);
		if (r > 0)
			at.branch = b->id;
	}
	if (r >= 0)
		r = at.branch ? get_locked(m->container, &at, ret, err)
			      : -ENOENT;
	cfs_container_unlock(m->container);
	return r;
}

/* ---- beginning ----------------------------------------------------------- */

/* Leaves that so many records may stand in, twice, and those of their names,
 * beside the usual. */
static uint64_t blocks_for(struct cfs_member *m, size_t count)
{
	return 32 + count / 2 + cfs_name_index_blocks(m->vols, count);
}

static int begin_for(struct cfs_member *m, size_t count, struct cfs_err *err)
{
	return cfs_op_begin_for(m->container, CFS_OP_FREEING,
				blocks_for(m, count), err);
}

/* What adds snapshots leaves the reserve alone: it is for removing them. */
static int begin_to_add(struct cfs_member *m, size_t count, struct cfs_err *err)
{
	const uint64_t blocks = blocks_for(m, count);
	int r = cfs_op_begin_for(m->container, CFS_OP_NORMAL, blocks, err);

	if (r < 0)
		return r;
	/* It may have begun with less. */
	r = cfs_space_promise(m->container, blocks, err);
	if (r < 0)
		cfs_op_end(m->container);
	return r;
}

/* ---- taking -------------------------------------------------------------- */

static int put(struct cfs_member *m, uint16_t branch, uint64_t stamp,
	       const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct cfs_key key = snapshot_key(branch, stamp);
	uint8_t value[CFS_SNAPSHOT_REC_BYTES_MAX];
	size_t bytes = cfs_snapshot_rec_pack(rec, value);

	return cfs_container_put(m->container, &key, value, bytes, err);
}

/* A snapshot at the volume's head, as @rec says; the stamp rises behind it. */
static int add_locked(struct cfs_member *m, uint64_t volume, uint16_t branch,
		      const struct cfs_snapshot_rec *rec, struct found *ret,
		      struct cfs_err *err)
{
	struct cfs_snapshot_rec there;
	struct found at;
	int r = find_locked(m, volume, rec->name, &at, &there, err);

	if (r == 0)
		return cfs_err_set(err, -EEXIST, "it exists already");
	if (r != -ENOENT)
		return r;
	ret->branch = branch;
	ret->stamp = cfs_container_stamp(m->container);
	r = put(m, ret->branch, ret->stamp, rec, err);
	if (r == 0)
		r = cfs_container_raise_stamp(m->container, err);
	return r;
}

int cfs_snapshot_add_locked(struct cfs_member *m, uint64_t volume,
			    const struct cfs_snapshot_rec *rec,
			    struct cfs_err *err)
{
	struct cfs_volume_rec vol = { .head_branch = 0 };
	struct found at;
	int r = cfs_container_may_pin(m->container, err);

	if (r == 0)
		r = cfs_volume_get_locked(m, volume, &vol, err);
	if (r < 0)
		return r;
	return add_locked(m, volume, (uint16_t)vol.head_branch, rec, &at, err);
}

/* What a stream has brought so far is not to be seen. */
static int refuse_receiving(struct cfs_member *m, uint64_t volume,
			    struct cfs_err *err)
{
	struct cfs_receive_rec rec;
	int r = cfs_receive_get_locked(m, volume, &rec, err);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r
		     : cfs_err_set(err, -EBUSY,
				   "a stream is being "
				   "received into it");
}

/* Within an operation: the volume's head as it is now. */
static int take_locked(struct cfs_member *m, uint64_t volume, const char *name,
		       const char *note, struct found *ret, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec = {
		.created_ns = cfs_clock_realtime_ns(cfs_clock_system()),
	};
	struct cfs_volume_rec vol = { .head_branch = 0 };
	int r;

	if (!cfs_name_is_valid(name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	if (note && strlen(note) >= sizeof(rec.note))
		return cfs_err_set(err, -EINVAL, "the note is too long");
	/* What clients have not folded would not be in it. */
	r = cfs_container_may_pin(m->container, err);
	if (r == 0)
		r = cfs_volume_get_locked(m, volume, &vol, err);
	if (r == 0)
		r = refuse_receiving(m, volume, err);
	if (r < 0)
		return r;
	strcpy(rec.name, name);
	if (note)
		strcpy(rec.note, note);
	rec.size_bytes = vol.size_bytes;
	return add_locked(m, volume, (uint16_t)vol.head_branch, &rec, ret, err);
}

/* Containers of the names, each once, in the order of ids. */
static size_t distinct_members(const struct cfs_snapshot_name *names,
			       size_t count, struct cfs_member **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < n && ret[k] != names[i].member)
			k++;
		if (k < n)
			continue;
		for (k = n++; k > 0 && ret[k - 1]->id > names[i].member->id;
		     k--)
			ret[k] = ret[k - 1];
		ret[k] = names[i].member;
	}
	return n;
}

/* Within operations on all containers: records in memory. */
static int take_all_locked(const struct cfs_snapshot_name *names, size_t count,
			   const char *note, struct cfs_snapset_mark *ret,
			   struct cfs_err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct found at = { 0, 0 };
		int r = take_locked(names[i].member, names[i].volume,
				    names[i].name, note, &at, err);

		if (r < 0)
			return count == 1 ? r
					  : cfs_err_wrap(err, r, "@%s",
							 names[i].name);
		ret[i] = (struct cfs_snapset_mark){ names[i].member, at.branch,
						    at.stamp };
	}
	return 0;
}

int cfs_snapshot_take(const struct cfs_snapshot_name *names, size_t count,
		      const char *note, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_member **members = calloc(count, sizeof(*members));
	CFS_CLEANUP(cfs_freep)
	struct cfs_snapset_mark *marks = calloc(count, sizeof(*marks));
	size_t n, begun = 0;
	int r = 0;

	if (!members || !marks)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	n = distinct_members(names, count, members);
	for (size_t i = 0; i < n; i++)
		cfs_name_index_make(members[i]->vols);
	/* All locks together: one moment. */
	for (; begun < n; begun++) {
		r = begin_to_add(members[begun], count, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = take_all_locked(names, count, note, marks, err);
	/* One container's frame is whole or not there; several need a record
	 * that holds them together. */
	if (r == 0 && n > 1)
		r = cfs_snapset_begin(marks, count, err);
	for (size_t i = 0; i < begun; i++) {
		if (r < 0)
			cfs_op_abort(members[i]->container);
		else
			cfs_op_end(members[i]->container);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cfs_container_sync(members[i]->container, err);
	if (n == 1)
		return r;
	if (r == 0)
		return cfs_snapset_end(marks, count, err);
	cfs_snapset_undo(marks, count);
	return r;
}

/* ---- changing ------------------------------------------------------------ */

int cfs_snapshot_rename(struct cfs_member *m, uint64_t volume, const char *snap,
			const char *name, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec, there;
	struct found at, other;
	int r;

	if (!cfs_name_is_valid(name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	r = begin_for(m, 1, err);
	if (r < 0)
		return r;
	r = must_find(m, volume, snap, &at, &rec, err);
	if (r == 0) {
		r = find_locked(m, volume, name, &other, &there, err);
		if (r == 0 && other.stamp != at.stamp)
			r = cfs_err_set(err, -EEXIST, "it exists already");
		else if (r == -ENOENT)
			r = 0;
	}
	if (r == 0) {
		memset(rec.name, 0, sizeof(rec.name));
		strcpy(rec.name, name);
		r = put(m, at.branch, at.stamp, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

int cfs_snapshot_hold(struct cfs_member *m, uint64_t volume, const char *snap,
		      bool hold, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec;
	struct found at;
	int r = cfs_op_begin(m->container, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = must_find(m, volume, snap, &at, &rec, err);
	if (r == 0) {
		rec.flags &= ~CFS_SNAPSHOT_HELD;
		if (hold)
			rec.flags |= CFS_SNAPSHOT_HELD;
		r = put(m, at.branch, at.stamp, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

struct removal {
	struct found at;
	size_t index; /* of its name */
	bool is_swept;
};

static int removal_by_stamp(const void *a, const void *b)
{
	const struct removal *x = a, *y = b;

	return by_stamp(&x->at, &y->at);
}

/* The snapshot that a stream under way begins at; 0: none.  Locked. */
static int receiving_from(struct cfs_member *m, uint64_t volume,
			  uint64_t *ret_stamp, struct cfs_err *err)
{
	struct cfs_receive_rec rec;
	int r = cfs_receive_get_locked(m, volume, &rec, err);

	if (r == 0)
		*ret_stamp = rec.base_stamp;
	return r == -ENOENT ? 0 : r;
}

/* Where they are, from old to new, and none of them is held.  Locked. */
static int find_removals(struct cfs_member *m, uint64_t volume,
			 const char *const *names, size_t count,
			 struct removal *ret, struct cfs_err *err)
{
	uint64_t base = 0;
	int r = receiving_from(m, volume, &base, err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct cfs_snapshot_rec rec;
		struct found at;

		r = must_find(m, volume, names[i], &at, &rec, err);
		if (r == 0 && (rec.flags & CFS_SNAPSHOT_HELD))
			r = cfs_err_set(err, -EBUSY, "it is on hold");
		else if (r == 0 && at.stamp == base)
			r = cfs_err_set(err, -EBUSY,
					"a stream is being "
					"received onto it");
		if (r == 0)
			ret[i] = (struct removal){ at, i, false };
	}
	if (r == 0)
		qsort(ret, count, sizeof(*ret), removal_by_stamp);
	for (size_t i = 1; r == 0 && i < count; i++)
		if (ret[i].at.stamp == ret[i - 1].at.stamp)
			r = cfs_err_set(err, -EINVAL, "it is named twice");
	return r;
}

/* Within an operation: their records, and a mark for each branch. */
static int remove_locked(struct cfs_member *m, const struct removal *list,
			 size_t count, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct cfs_key key = snapshot_key(list[i].at.branch,
						  list[i].at.stamp);

		r = cfs_container_del(m->container, &key, err);
		if (r == 0 &&
		    (i == 0 || list[i].at.branch != list[i - 1].at.branch))
			r = cfs_sweep_mark(m, list[i].at.branch, err);
	}
	return r;
}

/* Branch by branch, parents first: theirs are the older snapshots. */
static int sweep_removed(struct cfs_member *m, struct removal *list,
			 size_t count, struct cfs_sweep_gain *gains,
			 uint64_t *ret_freed_blocks, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const uint16_t branch = list[i].at.branch;
		size_t n = 0;

		if (list[i].is_swept)
			continue;
		for (size_t k = i; k < count; k++)
			if (list[k].at.branch == branch)
				gains[n++] = (struct cfs_sweep_gain){
					list[k].at.stamp,
					0,
				};
		r = cfs_sweep(m, branch, gains, n, err);
		n = 0;
		for (size_t k = i; k < count; k++) {
			if (list[k].at.branch != branch)
				continue;
			list[k].is_swept = true;
			ret_freed_blocks[list[k].index] =
				gains[n++].freed_blocks;
		}
	}
	return r;
}

int cfs_snapshot_remove_many(struct cfs_member *m, uint64_t volume,
			     const char *const *names, size_t count,
			     uint64_t *ret_freed_blocks, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct removal *list = calloc(count, sizeof(*list));
	CFS_CLEANUP(cfs_freep)
	struct cfs_sweep_gain *gains = calloc(count, sizeof(*gains));
	CFS_CLEANUP(cfs_origins_done)
	struct cfs_origins origins = { .list = NULL };
	uint64_t clones = 0;
	int r;

	if (!list || !gains)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_container_lock(m->container);
	r = find_removals(m, volume, names, count, list, err);
	cfs_container_unlock(m->container);
	if (r == 0)
		r = cfs_origins_get(m, &origins, err);
	for (size_t i = 0; r == 0 && clones == 0 && i < count; i++)
		clones = cfs_origins_count(&origins, volume, list[i].at.stamp);
	if (r == 0 && clones)
		r = cfs_err_set(err, -EBUSY, "it has %" PRIu64 " clones",
				clones);
	if (r == 0)
		r = begin_for(m, count, err);
	if (r < 0)
		return r;
	r = find_removals(m, volume, names, count, list, err);
	if (r == 0)
		r = remove_locked(m, list, count, err);
	r = cfs_volume_op_done(m, r, err);
	return r < 0 ? r
		     : sweep_removed(m, list, count, gains, ret_freed_blocks,
				     err);
}

int cfs_snapshot_remove(struct cfs_member *m, uint64_t volume, const char *snap,
			uint64_t *ret_freed_blocks, struct cfs_err *err)
{
	uint64_t freed = 0;
	int r = cfs_snapshot_remove_many(m, volume, &snap, 1, &freed, err);

	if (ret_freed_blocks)
		*ret_freed_blocks = freed;
	return r;
}

/* ---- new branches -------------------------------------------------------- */

/* Within an operation: a branch that sees @at, for @volume. */
static int fork_locked(struct cfs_member *m, const struct found *at,
		       uint64_t volume, uint16_t *ret, struct cfs_err *err)
{
	struct cfs_branch_rec rec = {
		.volume = volume,
		.parent = at->branch,
		.state = CFS_OBJECT_LIVE,
		.fork_stamp = at->stamp,
		.created_stamp = cfs_container_stamp(m->container),
	};
	int r = cfs_branch_number(m->vols, ret, err);

	/* Births in it are above its creation, so that older tags of a branch
	 * that had the same number do not count. */
	if (r == 0)
		r = cfs_container_raise_stamp(m->container, err);
	if (r == 0)
		r = cfs_branch_put(m, *ret, &rec, err);
	return r;
}

int cfs_snapshot_clone(struct cfs_member *m, uint64_t volume, const char *snap,
		       const char *clone, struct cfs_err *err)
{
	struct cfs_volume_rec origin, rec = {
		.state = CFS_OBJECT_LIVE,
		.created_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.origin_volume = volume,
	}, other;
	struct cfs_snapshot_rec snap_rec;
	struct found at;
	uint64_t id = CFS_VOLUME_FIRST + 1, other_id;
	uint16_t branch;
	int r;

	if (!cfs_name_is_valid(clone))
		return cfs_err_set(err, -EINVAL, "no valid name");
	r = begin_to_add(m, 1, err);
	if (r < 0)
		return r;
	r = cfs_volume_get_locked(m, volume, &origin, err);
	if (r == 0)
		r = must_find(m, volume, snap, &at, &snap_rec, err);
	if (r == 0) {
		r = cfs_volume_by_name_locked(m, clone, &other_id, &other, err);
		if (r == 0)
			r = cfs_err_set(err, -EEXIST, "it exists already");
		else if (r == -ENOENT)
			r = cfs_volume_free_id(m, &id, err);
	}
	if (r == 0)
		r = fork_locked(m, &at, id, &branch, err);
	if (r == 0) {
		strcpy(rec.name, clone);
		rec.kind = origin.kind;
		rec.head_branch = branch;
		rec.ino = origin.ino;
		rec.size_bytes = snap_rec.size_bytes;
		rec.origin_stamp = at.stamp;
		rec.hash_seed = origin.hash_seed;
		r = cfs_volume_put(m, id, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

/*
 * The volume goes on in a new branch; the old head ends.  What was born there
 * behind its last pin is swept.  Everything goes home first, so that no page
 * in memory belongs to a branch that has ended.
 */
int cfs_snapshot_rollback(struct cfs_member *m, uint64_t volume,
			  const char *snap, const char *save,
			  struct cfs_err *err)
{
	struct cfs_snapshot_rec snap_rec;
	struct cfs_volume_rec rec;
	struct found at, saved;
	struct branch *old;
	uint16_t branch = 0;
	int r = cfs_container_commit(m->container, err);

	if (r == 0)
		r = begin_for(m, 1, err);
	if (r < 0)
		return r;
	r = must_find(m, volume, snap, &at, &snap_rec, err);
	if (r == 0 && save)
		r = take_locked(m, volume, save, NULL, &saved, err);
	if (r == 0)
		r = cfs_volume_get_locked(m, volume, &rec, err);
	if (r == 0)
		r = fork_locked(m, &at, volume, &branch, err);
	if (r == 0)
		r = cfs_branch_get(m->vols, (uint16_t)rec.head_branch, &old,
				   err);
	if (r == 0) {
		struct cfs_branch_rec ended = old->rec;

		ended.end_stamp = cfs_container_stamp(m->container);
		r = cfs_branch_put(m, old->id, &ended, err);
	}
	if (r == 0)
		r = cfs_sweep_mark(m, (uint16_t)rec.head_branch, err);
	if (r == 0) {
		uint16_t old_id = (uint16_t)rec.head_branch;

		rec.head_branch = branch;
		rec.size_bytes = snap_rec.size_bytes;
		r = cfs_volume_put(m, volume, &rec, err);
		branch = old_id;
	}
	if (r == 0)
		r = cfs_receive_give_up_locked(m, volume, err);
	r = cfs_volume_op_done(m, r, err);
	if (r == 0)
		r = cfs_sweep(m, branch, NULL, 0, err);
	return r;
}
