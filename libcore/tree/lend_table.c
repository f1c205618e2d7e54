/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which groups are lent: asked several times for each group of a fold, mostly
 * for the one beside the last one.  So they stand in rows, a place for each
 * group, and the row that was asked for last is at hand.  Beside that they are
 * a list, in the order in which they were lent.
 */
#include "tree/lend_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#define ROW_BITS   6u /* a slice has a whole number of rows' keys */
#define ROW_GROUPS (1u << ROW_BITS)

struct lent_row {
	uint64_t number; /* of the keys, without the low bits */
	unsigned int count;
	struct lent_group *groups[ROW_GROUPS];
	UT_hash_handle hh;
};

_Static_assert(CFS_VADDR_BLOCK_BITS >= ROW_BITS, "a row is of one slice");

static struct lent_row *row_of(struct lender *l, uint64_t key)
{
	const uint64_t number = key >> ROW_BITS;
	struct lent_row *row = l->last_row;

	if (row && row->number == number)
		return row;
	HASH_FIND(hh, l->rows, &number, sizeof(number), row);
	if (row)
		l->last_row = row;
	return row;
}

struct lent_group *cfs_lend_group(const struct cfs_container *c, uint64_t key)
{
	const struct lent_row *row = c->lender ? row_of(c->lender, key) : NULL;

	return row ? row->groups[key % ROW_GROUPS] : NULL;
}

int cfs_lend_table_add(struct lender *l, struct lent_group *g)
{
	struct lent_row *row = row_of(l, g->key);

	if (!row) {
		row = calloc(1, sizeof(*row));
		if (!row)
			return -ENOMEM;
		row->number = g->key >> ROW_BITS;
		if (CFS_HASH_ADD(l->rows, number, row) < 0) {
			free(row);
			return -ENOMEM;
		}
		l->last_row = row;
	}
	if (row->groups[g->key % ROW_GROUPS])
		return -EEXIST;
	row->groups[g->key % ROW_GROUPS] = g;
	row->count++;
	DL_APPEND(l->groups, g);
	l->group_count++;
	return 0;
}

void cfs_lend_table_remove(struct lender *l, struct lent_group *g)
{
	struct lent_row *row = row_of(l, g->key);

	assert(row && row->groups[g->key % ROW_GROUPS] == g);
	row->groups[g->key % ROW_GROUPS] = NULL;
	DL_DELETE(l->groups, g);
	l->group_count--;
	if (--row->count > 0)
		return;
	HASH_DEL(l->rows, row);
	l->last_row = NULL;
	free(row);
}
