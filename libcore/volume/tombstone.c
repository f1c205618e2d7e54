/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tombstones: ranges that became holes, kept in the small tables so that
 * rebuild from tags does not bring back what stood there.  A tombstone counts
 * against tags of its own stamp too (its seq is the highest), so the stamp
 * rises behind each.
 *
 * A range may become a hole again and again.  An older tombstone is needed as
 * long as a pin lies between it and the next: there the range was a hole, and
 * nothing else says so.  One that no pin needs, and that the new one covers,
 * makes room for it.
 */
#include "volume/vols_priv.h"

static struct cfs_key key_of(uint16_t branch, uint64_t ino, uint64_t offset,
			     uint16_t index)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_TOMBSTONE, branch),
				   ino, cfs_tombstone_word(offset, index) } };
}

/*
 * An index for a new tombstone among those at its offset; those that it makes
 * superfluous go.  Indices need not be in the order of stamps.
 */
static int make_room(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     uint64_t offset, const struct cfs_tombstone_rec *rec,
		     uint16_t *ret, struct cfs_err *err)
{
	struct cfs_tree *tree = cfs_container_tree(v->c, CFS_TREE_TABLE);
	struct cfs_key at = key_of(branch, ino, offset, 0);
	uint32_t index = 0;
	struct cfs_cursor cur;
	struct branch *b;
	int r = cfs_branch_get(v, branch, &b, err);

	if (r == 0)
		r = cfs_cursor_ge(&cur, tree, &at, err);
	while (r == 0 && cur.key.w[0] == at.w[0] && cur.key.w[1] == ino &&
	       cfs_tombstone_offset(cur.key.w[2]) == offset) {
		const struct cfs_key key = cur.key;
		struct cfs_tombstone_rec old;

		r = cfs_tombstone_rec_unpack(cur.value, cur.value_bytes, &old,
					     err);
		if (r < 0)
			return r;
		r = old.count > rec->count
			    ? 1
			    : cfs_branch_is_pinned(v, b, old.stamp, rec->stamp,
						   err);
		if (r == 0)
			r = cfs_container_del(v->c, &key, err);
		else if (r > 0 && cfs_tombstone_index(key.w[2]) == index)
			index++;
		r = CFS_MIN(r, 0);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (index > UINT16_MAX)
		return cfs_err_set(err, -ENOSPC,
				   "a range became a hole in too "
				   "many snapshots");
	*ret = (uint16_t)index;
	return 0;
}

int cfs_tombstone_put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		      uint64_t offset, uint64_t count, struct cfs_err *err)
{
	const struct cfs_tombstone_rec rec = {
		.count = count,
		.stamp = cfs_container_stamp(v->c),
		.seq = UINT16_MAX,
	};
	struct cfs_tombstone_rec_disk disk;
	uint16_t index = 0;
	int r = make_room(v, branch, ino, offset, &rec, &index, err);

	if (r == 0) {
		const struct cfs_key key = key_of(branch, ino, offset, index);

		cfs_tombstone_rec_pack(&rec, &disk);
		r = cfs_container_put(v->c, &key, &disk, sizeof(disk), err);
	}
	if (r == 0)
		r = cfs_container_raise_stamp(v->c, err);
	return r;
}
