/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of names: NAME records of the small tables, by which a snapshot is
 * found, or found to be missing, without a look at the others.
 *
 * It is whole or of no use, and the root says which:
 *
 *   1. While it is whole, a change of a SNAPSHOT record changes the NAME record
 *      with it, in the same operation or in the same replay; an abort undoes
 *      both.  The log has the SNAPSHOT record only.
 *   2. What goes wrong with it (no room, no memory, damage) is no error of
 *      who changes a snapshot: from then on it is not whole, in memory, and in
 *      the next root.  A crash before that root finds the one where it was
 *      whole, and the log, from which the same changes follow again.
 *   3. A pool of before it has none: it is made when the next snapshot is
 *      taken, in several operations.  Meanwhile changes go into it as well, so
 *      that it does not matter how far that is; only with the last of them it
 *      is whole.  Left over records of an older one go first.
 *
 * Whoever finds a name compares with the record.  That nothing is found is
 * believed while it is whole.
 */
#include "volume/vols_priv.h"

#include "ondisk/snapname.h"
#include "tree/container_open.h"

#include <errno.h>
#include <string.h>

#define BATCH_RECORDS 1024u
/* Two paths with a split, and their copies. */
#define CHANGE_BLOCKS 48u

static struct cfs_tree *table_of(const struct cfs_vols *v)
{
	return cfs_container_tree(v->c, CFS_TREE_TABLE);
}

static bool is_whole(const struct cfs_vols *v)
{
	return cfs_container_names_are_whole(v->c);
}

static bool is_kept(const struct cfs_vols *v)
{
	return is_whole(v) || v->makes_index;
}

/* It cannot be relied on any more. */
static void drop(struct cfs_vols *v)
{
	cfs_container_set_names_whole(v->c, false);
	v->makes_index = false;
}

void cfs_name_index_opened(struct cfs_container *c)
{
	const struct cfs_root *root = cfs_container_root(c);
	const uint64_t csum = root->trees[CFS_TREE_TABLE - 1].ref.csum;

	cfs_container_set_names_whole(c,
				      root->names_of && root->names_of == csum);
}

void cfs_name_index_begin(struct cfs_vols *v)
{
	cfs_container_set_names_whole(v->c, true);
}

uint64_t cfs_name_index_blocks(struct cfs_vols *v, size_t count)
{
	struct cfs_tree_root root = { .node_count = 0 };
	bool is_used;

	cfs_container_lock_beside(v->c);
	is_used = is_kept(v);
	if (is_used)
		cfs_tree_root(table_of(v), &root);
	cfs_container_unlock(v->c);
	/* A leaf each, but not more than there are; and new ones. */
	return is_used ? 2 * CHANGE_BLOCKS +
				 2 * CFS_MIN(count, root.node_count) +
				 count / 16
		       : 0;
}

/* ---- one record ---------------------------------------------------------- */

static struct cfs_key key_of(uint64_t volume, const void *name, size_t bytes)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_NAME, volume), 0,
				 0 } };

	cfs_snapname_words(name, bytes, &key.w[1], &key.w[2]);
	return key;
}

/* -ENOENT, with no place in @ret. */
static int get(struct cfs_vols *v, const struct cfs_key *key,
	       struct cfs_snapname_rec *ret, struct cfs_err *err)
{
	uint8_t value[CFS_VALUE_BYTES_MAX];
	size_t bytes = 0;
	int r;

	ret->count = 0;
	r = cfs_tree_get(table_of(v), key, value, sizeof(value), &bytes, err);
	return r < 0 ? r : cfs_snapname_rec_unpack(value, bytes, ret, err);
}

static int set(struct cfs_vols *v, const struct cfs_key *key,
	       const struct cfs_snapname_rec *rec)
{
	uint8_t value[CFS_VALUE_BYTES_MAX];

	if (rec->count == 0)
		return cfs_container_tree_remove(v->c, CFS_TREE_TABLE, key,
						 NULL);
	return cfs_container_tree_set(v->c, CFS_TREE_TABLE, key, value,
				      cfs_snapname_rec_pack(rec, value), NULL);
}

static int add(struct cfs_vols *v, const struct cfs_key *key, uint64_t place)
{
	struct cfs_snapname_rec rec;
	int r = get(v, key, &rec, NULL);

	if (r < 0 && r != -ENOENT)
		return r;
	return cfs_snapname_rec_add(&rec, place) ? set(v, key, &rec) : -ENOSPC;
}

static int take_out(struct cfs_vols *v, const struct cfs_key *key,
		    uint64_t place)
{
	struct cfs_snapname_rec rec;
	int r = get(v, key, &rec, NULL);

	if (r == 0 && !cfs_snapname_rec_remove(&rec, place))
		r = -ENOENT;
	return r < 0 ? r : set(v, key, &rec);
}

/* ---- in step with the snapshots ------------------------------------------ */

struct named {
	struct cfs_key key;
	bool has_key;
};

static void name_key(uint64_t volume, const void *value, size_t value_bytes,
		     struct named *ret)
{
	size_t bytes = 0;
	const uint8_t *name = value ? cfs_names_in(value, value_bytes, &bytes)
				    : NULL;

	ret->has_key = name != NULL;
	if (name)
		ret->key = key_of(volume, name, bytes);
}

/* Another record stands at @place, or none. */
static int follow(struct cfs_vols *v, uint64_t place, const struct named *was,
		  const struct named *is)
{
	int r = 0;

	if (was->has_key && is->has_key &&
	    cfs_key_cmp(&was->key, &is->key) == 0)
		return v->makes_index ? add(v, &is->key, place) : 0;
	if (!cfs_space_has(v->c, CHANGE_BLOCKS))
		return -ENOSPC;
	if (was->has_key)
		r = take_out(v, &was->key, place);
	/* One that is being made need not have it yet. */
	if (r == -ENOENT && v->makes_index)
		r = 0;
	return r == 0 && is->has_key ? add(v, &is->key, place) : r;
}

void cfs_name_index_changing(struct cfs_vols *v, const struct cfs_key *key,
			     const void *value, size_t value_bytes)
{
	const uint16_t branch = (uint16_t)key->w[0];
	uint8_t old[CFS_SNAPSHOT_REC_BYTES_MAX];
	struct named was, is;
	const struct branch *b;
	size_t old_bytes = 0;
	int r;

	if (key->w[0] >> 56 != CFS_TABLE_SNAPSHOT || !v->c || !is_kept(v))
		return;
	b = cfs_branch_find(v, branch);
	r = cfs_tree_get(table_of(v), key, old, sizeof(old), &old_bytes, NULL);
	/* Of a branch that is not there nothing is known but that the tables
	 * are damaged. */
	if (!b || !b->rec.volume || (r < 0 && r != -ENOENT)) {
		drop(v);
		return;
	}
	name_key(b->rec.volume, r == 0 ? old : NULL,
		 CFS_MIN(old_bytes, sizeof(old)), &was);
	name_key(b->rec.volume, value, value_bytes, &is);
	if (follow(v, cfs_snapname_place(branch, key->w[1]), &was, &is) < 0)
		drop(v);
}

/* ---- finding ------------------------------------------------------------- */

int cfs_name_index_find(struct cfs_vols *v, uint64_t volume, const char *name,
			cfs_names_match_fn fn, void *arg, struct cfs_err *err)
{
	const struct cfs_key key = key_of(volume, name, strlen(name));
	struct cfs_snapname_rec rec;
	int r;

	if (!is_whole(v))
		return -ENODATA;
	r = get(v, &key, &rec, NULL);
	if (r < 0 && r != -ENOENT) {
		drop(v);
		return -ENODATA;
	}
	r = 0;
	for (size_t i = 0; r == 0 && i < rec.count; i++)
		r = fn(arg, cfs_snapname_branch(rec.places[i]),
		       cfs_snapname_stamp(rec.places[i]), err);
	return r;
}

/* ---- making it ----------------------------------------------------------- */

/* Ends an operation of @count changes; 1: there is more to do. */
static int batch_done(struct cfs_vols *v, int r, unsigned int count)
{
	if (r < 0 && r != -ENOENT) {
		cfs_op_abort(v->c);
		return r;
	}
	cfs_op_end(v->c);
	return count == BATCH_RECORDS;
}

static int batch_begin(struct cfs_vols *v)
{
	struct cfs_tree_root root;
	uint64_t blocks;
	int r;

	cfs_container_lock_beside(v->c);
	cfs_tree_root(table_of(v), &root);
	cfs_container_unlock(v->c);
	blocks = 2 * CHANGE_BLOCKS + BATCH_RECORDS / 16 +
		 2 * CFS_MIN(BATCH_RECORDS, root.node_count);
	r = cfs_op_begin_for(v->c, CFS_OP_NORMAL, blocks, NULL);
	if (r < 0)
		return r;
	/* It may have begun with less. */
	if (cfs_space_has(v->c, blocks) && v->makes_index)
		return 0;
	cfs_op_end(v->c);
	return -ENOSPC;
}

/* Records of an index that was not whole. */
static int clear_batch(struct cfs_vols *v)
{
	const struct cfs_key from = { { cfs_table_word(CFS_TABLE_NAME, 0), 0,
					0 } };
	struct cfs_cursor cur;
	unsigned int count = 0;
	int r = batch_begin(v);

	if (r < 0)
		return r;
	r = cfs_cursor_ge(&cur, table_of(v), &from, NULL);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_NAME &&
	       count < BATCH_RECORDS) {
		const struct cfs_key key = cur.key;

		r = cfs_container_tree_remove(v->c, CFS_TREE_TABLE, &key, NULL);
		if (r == 0)
			r = cfs_cursor_next(&cur, NULL);
		count++;
	}
	return batch_done(v, r, count);
}

static int add_record(struct cfs_vols *v, const struct cfs_cursor *cur)
{
	const uint16_t branch = (uint16_t)cur->key.w[0];
	const struct branch *b = cfs_branch_find(v, branch);
	struct named is;

	if (!b || !b->rec.volume)
		return -EUCLEAN;
	name_key(b->rec.volume, cur->value, cur->value_bytes, &is);
	return is.has_key ? add(v, &is.key,
				cfs_snapname_place(branch, cur->key.w[1]))
			  : 0;
}

/* @next: the first record that was not looked at yet. */
static int add_batch(struct cfs_vols *v, struct cfs_key *next)
{
	struct cfs_cursor cur;
	unsigned int count = 0;
	int r = batch_begin(v);

	if (r < 0)
		return r;
	r = cfs_cursor_ge(&cur, table_of(v), next, NULL);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SNAPSHOT &&
	       count < BATCH_RECORDS) {
		r = add_record(v, &cur);
		if (r == 0)
			r = cfs_cursor_next(&cur, NULL);
		count++;
	}
	if (r == 0)
		*next = cur.key;
	/* With the last of them it is whole, before anybody changes one. */
	if (r == -ENOENT || (r == 0 && count < BATCH_RECORDS)) {
		count = 0;
		cfs_container_set_names_whole(v->c, true);
	}
	return batch_done(v, r, count);
}

void cfs_name_index_make(struct cfs_vols *v)
{
	struct cfs_key next = { { cfs_table_word(CFS_TABLE_SNAPSHOT, 0), 0,
				  0 } };
	bool wants;
	int r;

	cfs_container_lock_beside(v->c);
	wants = !is_kept(v) && !v->lacks_index &&
		!cfs_container_is_client(v->c) &&
		cfs_container_is_writable(v->c);
	if (wants)
		v->makes_index = true;
	cfs_container_unlock(v->c);
	if (!wants)
		return;
	do
		r = clear_batch(v);
	while (r == 1);
	while (r == 0 || r == 1) {
		r = add_batch(v, &next);
		if (r == 0)
			break;
	}
	cfs_container_lock_beside(v->c);
	v->makes_index = false;
	v->lacks_index = r < 0;
	cfs_container_unlock(v->c);
}
