/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bad places: those of the table BAD, as bits of their groups.  One that is
 * free is not handed out, and does not count as space that can be promised; one
 * in use is freed like any other.
 *
 * The bits follow the table: loaded at open, then changed with each change of a
 * record, also when that is replayed or undone.  A group that once had a bad
 * place keeps its entry, so that undoing a removal needs no memory.
 */
#include "tree/space_priv.h"

#include <stdlib.h>

static struct bad_group *bad_find(struct cfs_container *c, uint64_t key)
{
	struct bad_group *b = NULL;

	if (c->bad)
		HASH_FIND(hh, c->bad, &key, sizeof(key), b);
	return b;
}

void cfs_space_bad_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2])
{
	const struct bad_group *b = bad_find(c, key);

	ret[0] = b ? b->bits[0] : 0;
	ret[1] = b ? b->bits[1] : 0;
}

static struct bad_group *bad_get(struct cfs_container *c, uint64_t key,
				 struct cfs_err *err)
{
	struct bad_group *b = bad_find(c, key);

	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	b->key = key;
	if (CFS_HASH_ADD(c->bad, key, b) < 0) {
		free(b);
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return b;
}

int cfs_space_bad_changed(struct cfs_container *c, const struct cfs_key *key,
			  bool is_bad, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint64_t vaddr = key->w[1], lslice = cfs_vaddr_lslice(vaddr);
	const uint32_t block = cfs_vaddr_block(vaddr);
	struct bad_group *b;
	struct open_group *g;
	uint64_t bit;
	uint32_t at;

	/* Of other places nothing is handed out anyhow. */
	if (key->w[0] != cfs_table_word(CFS_TABLE_BAD, 0) ||
	    !cfs_geometry_is_data(geo, block))
		return 0;
	b = bad_get(c, cfs_vaddr(lslice, cfs_geometry_group(geo, block)), err);
	if (!b)
		return -ENOMEM;
	at = cfs_geometry_index(geo, block);
	bit = UINT64_C(1) << (at % 64);
	c->bad_is_stale = true;
	if (is_bad) {
		b->bits[at / 64] |= bit;
		g = cfs_space_group(c, vaddr);
		if (g)
			g->allowed[at / 64] &= ~bit;
		return 0;
	}
	b->bits[at / 64] &= ~bit;
	if (lslice < c->slice_room)
		cfs_space_look_again(&c->slices[lslice]);
	return 0;
}

int cfs_space_bad_load(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_key from = { { cfs_table_word(CFS_TABLE_BAD, 0), 0,
					0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		r = cfs_space_bad_changed(c, &cur.key, true, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* Bad blocks that are neither in use nor held; all, if that cannot be read. */
static uint64_t group_free(struct cfs_container *c, const struct bad_group *b)
{
	uint64_t used[2], held[2], n = 0;
	bool is_there;

	if (cfs_vaddr_lslice(b->key) >= c->slice_room ||
	    !c->slices[cfs_vaddr_lslice(b->key)].is_mapped)
		return 0;
	if (cfs_space_bits_load(c, b->key, used, &is_there, NULL) < 0)
		used[0] = used[1] = 0;
	cfs_space_held_bits(c, b->key, held);
	for (unsigned int i = 0; i < 2; i++)
		n += (uint64_t)__builtin_popcountll(b->bits[i] & ~used[i] &
						    ~held[i]);
	return n;
}

uint64_t cfs_space_bad_free(struct cfs_container *c)
{
	struct bad_group *b, *tmp;

	if (!c->bad || !c->bad_is_stale)
		return c->bad_free;
	c->bad_free = 0;
	HASH_ITER(hh, c->bad, b, tmp)
		c->bad_free += group_free(c, b);
	c->bad_is_stale = false;
	return c->bad_free;
}

bool cfs_space_bad_in_slice(struct cfs_container *c, uint64_t lslice)
{
	struct bad_group *b, *tmp;

	HASH_ITER(hh, c->bad, b, tmp)
		if (cfs_vaddr_lslice(b->key) == lslice &&
		    (b->bits[0] | b->bits[1]))
			return true;
	return false;
}

void cfs_space_bad_done(struct cfs_container *c)
{
	struct bad_group *b, *tmp;

	HASH_ITER(hh, c->bad, b, tmp) {
		HASH_DEL(c->bad, b);
		free(b);
	}
}
