/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tombstones: ranges that became holes, kept in the small tables so that
 * rebuild from tags does not bring back what stood there.  A tombstone counts
 * against tags of its own stamp too (its seq is the highest), so the stamp
 * rises behind each.
 */
#include "volume/vols_priv.h"

static struct cfs_key key_of(uint16_t branch, uint64_t ino, uint64_t offset)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_TOMBSTONE, branch),
				   ino, offset } };
}

static int get(struct cfs_vols *v, const struct cfs_key *key,
	       struct cfs_tombstone_rec *ret, struct cfs_err *err)
{
	struct cfs_tombstone_rec_disk disk;
	size_t bytes;
	int r = cfs_container_get(v->c, key, &disk, sizeof(disk), &bytes, err);

	if (r < 0)
		return r;
	return cfs_tombstone_rec_unpack(&disk, bytes, ret, err);
}

static int put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
	       uint64_t offset, const struct cfs_tombstone_rec *rec,
	       struct cfs_err *err)
{
	struct cfs_key key = key_of(branch, ino, offset);
	struct cfs_tombstone_rec_disk disk;

	cfs_tombstone_rec_pack(rec, &disk);
	return cfs_container_put(v->c, &key, &disk, sizeof(disk), err);
}

/*
 * An older, longer tombstone at the same place keeps its part behind the new
 * one.  That part may meet another in turn: the newer of the two stands, and
 * what the older one has behind it goes on.
 */
static int keep_rest(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     uint64_t offset, struct cfs_tombstone_rec rest,
		     struct cfs_err *err)
{
	for (;;) {
		struct cfs_key key = key_of(branch, ino, offset);
		struct cfs_tombstone_rec there;
		int r = get(v, &key, &there, err);

		if (r == -ENOENT)
			return put(v, branch, ino, offset, &rest, err);
		if (r < 0)
			return r;
		if (there.stamp < rest.stamp) {
			struct cfs_tombstone_rec newer = rest;

			r = put(v, branch, ino, offset, &newer, err);
			if (r < 0)
				return r;
			rest = there;
			there = newer;
		}
		if (rest.count <= there.count)
			return 0;
		offset += there.count;
		rest.count -= there.count;
	}
}

int cfs_tombstone_put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		      uint64_t offset, uint64_t count, struct cfs_err *err)
{
	const struct cfs_tombstone_rec rec = {
		.count = count,
		.stamp = cfs_container_stamp(v->c),
		.seq = UINT16_MAX,
	};
	struct cfs_key key = key_of(branch, ino, offset);
	struct cfs_tombstone_rec old;
	bool has_rest = false;
	int r = get(v, &key, &old, err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && old.count > count) {
		has_rest = true;
		old.count -= count;
	}
	r = put(v, branch, ino, offset, &rec, err);
	if (r == 0 && has_rest)
		r = keep_rest(v, branch, ino, offset + count, old, err);
	if (r == 0)
		r = cfs_container_raise_stamp(v->c, err);
	return r;
}
