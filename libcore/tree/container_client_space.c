/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space of a client: groups and inode numbers that the owner lends, and giving
 * groups back.  Groups that are lent are open groups like the owner's own, with
 * the blocks that the loan allows; there is no space tree here.
 */
#include "tree/container_client_priv.h"

#include "base/cleanup.h"
#include "tree/space_priv.h"

#include <stdlib.h>

#define BORROW_MIN	4u
#define BORROW_MAX	256u
#define INOS_MIN	512u
#define INOS_MAX	8192u
/* So many blocks that no fold has named are worth one where space ends. */
#define NAMED_WORTH	256u

static unsigned int bits_count(const uint64_t bits[2])
{
	return (unsigned int)__builtin_popcountll(bits[0]) +
	       (unsigned int)__builtin_popcountll(bits[1]);
}

/* ---- borrowing ----------------------------------------------------------- */

/* One group of an answer, into memory with its tags. */
static int take_loan(struct cfs_container *c, const struct cfs_loan *loan,
		     struct cfs_err *err)
{
	struct client_mode *m = c->client;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct open_group *g;
	int r;

	if (!cfs_metavolume_get(c->mv, cfs_vaddr_lslice(loan->key), pieces)) {
		r = cfs_metavolume_set(c->mv, cfs_vaddr_lslice(loan->key),
				       loan->pieces, err);
		if (r < 0)
			return r;
	}
	HASH_FIND(hh, c->groups, &loan->key, sizeof(loan->key), g);
	if (g)
		return cfs_err_set(err, -EPROTO,
				   "the owner lent a group twice");
	r = cfs_space_group_open(c, loan->key, loan->was_used, &g, err);
	if (r == -EUCLEAN || r == -EIO) {
		/* Its tag page is damaged: not for us to write over. */
		if (cfs_vec_push(&m->spoilt, loan->key) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		return 0;
	}
	if (r < 0)
		return r;
	g->allowed[0] = loan->allowed[0];
	g->allowed[1] = loan->allowed[1];
	m->allowed_blocks += bits_count(g->allowed);
	return 0;
}

int cfs_client_borrow(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err)
{
	struct client_mode *m = c->client;
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans loans = { .count = 0 };
	uint64_t count = cfs_div_up(blocks, CFS_TAGS_PER_PAGE);
	int r;

	/* Twice as many each time, so that long writes ask seldom. */
	count = CFS_MAX(CFS_MAX(count, BORROW_MIN), c->data_batch);
	count = CFS_MIN(count, CFS_LOANS_MAX);
	c->data_batch = (uint32_t)CFS_MIN(2 * count, BORROW_MAX);
	r = m->source->lend(m->source_ctx, (uint32_t)count, &loans, err);
	for (size_t i = 0; i < loans.count && r == 0; i++)
		r = take_loan(c, &loans.items[i], err);
	return r;
}

int64_t cfs_client_space_left(struct cfs_container *c)
{
	uint64_t blocks = 0, records = 0;

	/* Dirty pages have a claim on what is lent. */
	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	return (int64_t)c->client->allowed_blocks - (int64_t)blocks;
}

int cfs_client_ensure(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err)
{
	int64_t left;

	while ((left = cfs_client_space_left(c)) < (int64_t)blocks) {
		int r = cfs_client_borrow(c, (uint64_t)((int64_t)blocks - left),
					  err);

		if (r < 0)
			return r;
		/* All that was lent was spoilt. */
		if (cfs_client_space_left(c) <= left)
			return cfs_err_set(err, -ENOSPC, "no space left");
	}
	return 0;
}

/*
 * Before an operation: what it will usually want.  Where there is no more, what
 * was overwritten comes back by a fold, which also gives back what is used up,
 * and the owner then counts the nodes that name it instead of guessing them;
 * and if that brings nothing, the operation itself finds out how much it needs.
 */
int cfs_client_make_room(struct cfs_container *c, uint64_t blocks,
			 struct cfs_err *err)
{
	int r = cfs_client_release(c, err);

	if (r < 0)
		return r;
	r = cfs_client_ensure(c, blocks, err);
	if (r == -ENOSPC && (c->client->freed_blocks ||
			     c->client->named_blocks >= NAMED_WORTH)) {
		c->forces_commit = true;
		r = cfs_client_fold_locked(c, err);
		if (r == 0)
			r = cfs_client_ensure(c, blocks, err);
	}
	return r == -ENOSPC ? 0 : r;
}

int cfs_client_new_ino(struct cfs_container *c, uint64_t *ret,
		       struct cfs_err *err)
{
	struct client_mode *m = c->client;

	if (c->next_ino >= m->ino_end) {
		uint64_t first = 0, end = 0;
		uint32_t count = CFS_MAX(m->ino_batch, INOS_MIN);
		int r = m->source->lend_inos(m->source_ctx, count, &first,
					     &end, err);

		if (r < 0)
			return r;
		/* Who makes many asks seldom. */
		m->ino_batch = CFS_MIN(4 * count, INOS_MAX);
		if (first >= end || end > CFS_INO_MAX + 1)
			return cfs_err_set(err, -EPROTO, "the owner lent no "
					   "inode numbers");
		c->next_ino = first;
		m->ino_end = end;
	}
	*ret = c->next_ino++;
	return 0;
}

int cfs_container_reconcile(struct cfs_container *c,
			    const struct cfs_loans *loans,
			    struct cfs_err *err)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < loans->count && r == 0; i++) {
		uint64_t key = loans->items[i].key;
		struct open_group *g;

		HASH_FIND(hh, c->groups, &key, sizeof(key), g);
		if (!g && cfs_vec_push(&c->client->spoilt, key) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (c->client->spoilt.count)
		c->forces_commit = true;
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- giving back --------------------------------------------------------- */

static bool goes_back(const struct cfs_container *c, const struct open_group *g)
{
	if (c->is_sealing || !(g->allowed[0] | g->allowed[1]))
		return true;
	return c->client->returns_idle && !g->is_assigned;
}

int cfs_client_returns(struct cfs_container *c, uint64_t **ret,
		       size_t *ret_count, struct cfs_err *err)
{
	struct client_mode *m = c->client;
	size_t room = HASH_COUNT(c->groups) + m->spoilt.count, n = 0;
	uint64_t *keys = calloc(room + 1, sizeof(*keys));
	struct open_group *g, *tmp;

	if (!keys)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	HASH_ITER(hh, c->groups, g, tmp)
		if (goes_back(c, g))
			keys[n++] = g->key;
	for (size_t i = 0; i < m->spoilt.count; i++)
		keys[n++] = m->spoilt.items[i];
	*ret = keys;
	*ret_count = CFS_MIN(n, CFS_FOLD_RETURNS_MAX);
	return 0;
}

void cfs_client_returned(struct cfs_container *c, const uint64_t *keys,
			 size_t count)
{
	struct client_mode *m = c->client;

	for (size_t i = 0; i < count; i++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &keys[i], sizeof(keys[i]), g);
		if (!g)
			continue;
		m->allowed_blocks -= bits_count(g->allowed);
		for (unsigned int s = 0; s < CFS_STREAM_COUNT; s++)
			if (c->current[s] == g)
				c->current[s] = NULL;
		HASH_DEL(c->groups, g);
		cfs_blocks_unregister(c->blocks, &g->g);
		free(g);
	}
	m->spoilt.count = 0;
}
