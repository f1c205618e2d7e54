/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots by name where the index on the device (name_index.c) cannot be
 * used: a table from hashes of names to where their records are, made when a
 * name is looked for the second time, and kept in step by the table_changed
 * hook.  The first time the records themselves are looked through, since many
 * a command asks for one name and ends.
 *
 * It is only a hint, and may have too much: what was removed or renamed stays
 * in it until it is made anew.  Whoever looks compares with the record.  It
 * never has too little.
 */
#include "volume/vols_priv.h"

#include "base/xxh.h"

#include <stdlib.h>

static uint64_t place_of(uint16_t branch, uint64_t stamp)
{
	return stamp << 16 | branch;
}

/* Where @place with @hash is, or would be; there is room. */
static size_t slot_of(const struct snap_names *n, uint64_t hash, uint64_t place)
{
	size_t i = hash & (n->room - 1);

	while (n->list[i].place &&
	       (n->list[i].hash != hash || n->list[i].place != place))
		i = (i + 1) & (n->room - 1);
	return i;
}

static int grow(struct snap_names *n)
{
	struct snap_names more = { .room = n->room ? 2 * n->room : 1024 };

	more.list = calloc(more.room, sizeof(*more.list));
	if (!more.list)
		return -ENOMEM;
	for (size_t i = 0; i < n->room; i++) {
		if (!n->list[i].place)
			continue;
		more.list[slot_of(&more, n->list[i].hash, n->list[i].place)] =
			n->list[i];
		more.count++;
	}
	free(n->list);
	*n = more;
	return 0;
}

const uint8_t *cfs_names_in(const uint8_t *value, size_t value_bytes,
			    size_t *ret_bytes)
{
	struct cfs_snapshot_rec_disk disk;

	if (value_bytes < sizeof(disk))
		return NULL;
	memcpy(&disk, value, sizeof(disk));
	if (disk.name_bytes > value_bytes - sizeof(disk))
		return NULL;
	*ret_bytes = disk.name_bytes;
	return value + sizeof(disk);
}

static int add(struct snap_names *n, uint16_t branch, uint64_t stamp,
	       const void *value, size_t value_bytes)
{
	const uint64_t place = place_of(branch, stamp);
	size_t name_bytes = 0;
	const uint8_t *name = cfs_names_in(value, value_bytes, &name_bytes);
	uint64_t hash;
	size_t i;

	if (!name)
		return 0;
	if (2 * n->count >= n->room && grow(n) < 0)
		return -ENOMEM;
	hash = cfs_xxh3(name, name_bytes);
	i = slot_of(n, hash, place);
	n->count += n->list[i].place == 0;
	n->list[i].hash = hash;
	n->list[i].place = place;
	return 0;
}

void cfs_names_forget(struct cfs_vols *v)
{
	free(v->names.list);
	v->names = (struct snap_names){ .list = NULL };
}

void cfs_names_changed(struct cfs_vols *v, uint16_t branch, uint64_t stamp,
		       const void *value, size_t value_bytes)
{
	if (!v->names.list || !value)
		return;
	if (add(&v->names, branch, stamp, value, value_bytes) < 0)
		cfs_names_forget(v);
}

static int make(struct cfs_vols *v, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SNAPSHOT, 0), 0,
				  0 } };
	struct snap_names n = { .list = NULL };
	struct cfs_cursor cur;
	int r = grow(&n);

	if (r < 0)
		return cfs_err_set(err, r, "out of memory");
	r = cfs_cursor_ge(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE), &from,
			  err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SNAPSHOT) {
		r = add(&n, (uint16_t)cur.key.w[0], cur.key.w[1], cur.value,
			cur.value_bytes);
		if (r < 0)
			cfs_err_set(err, r, "out of memory");
		else
			r = cfs_cursor_next(&cur, err);
	}
	if (r < 0 && r != -ENOENT) {
		free(n.list);
		return r;
	}
	n.made_of = n.count;
	n.was_asked = true;
	free(v->names.list);
	v->names = n;
	return 0;
}

/* Without the table: all records are looked at. */
static int look_through(struct cfs_vols *v, const char *name,
			cfs_names_match_fn fn, void *arg, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SNAPSHOT, 0), 0,
				  0 } };
	const size_t bytes = strlen(name);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE),
			      &from, err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SNAPSHOT) {
		size_t n = 0;
		const uint8_t *at = cfs_names_in(cur.value, cur.value_bytes,
						 &n);

		if (at && n == bytes && memcmp(at, name, n) == 0)
			r = fn(arg, (uint16_t)cur.key.w[0], cur.key.w[1], err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

int cfs_names_find(struct cfs_vols *v, const char *name, cfs_names_match_fn fn,
		   void *arg, struct cfs_err *err)
{
	const uint64_t hash = cfs_xxh3(name, strlen(name));
	struct snap_names *n = &v->names;
	int r = 0;

	if (!n->list && !n->was_asked) {
		n->was_asked = true;
		return look_through(v, name, fn, arg, err);
	}
	/* Half of it may be of what is not there any more. */
	if (!n->list || n->count > 2 * n->made_of + 4096)
		r = make(v, err);
	if (r < 0)
		return r;
	for (size_t i = hash & (n->room - 1); r == 0 && n->list[i].place;
	     i = (i + 1) & (n->room - 1))
		if (n->list[i].hash == hash)
			r = fn(arg, (uint16_t)n->list[i].place,
			       n->list[i].place >> 16, err);
	return r;
}
