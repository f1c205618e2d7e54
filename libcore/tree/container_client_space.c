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

#define BORROW_MIN      16u
#define BORROW_MAX      256u
#define INOS_MIN        512u
#define INOS_MAX        32768u
/* Blocks that no fold has named: so many, or in a small container a sixteenth
 * of it, and where groups are used up a fold brings more than asking does.  A
 * quarter of that, and it is asked for more with the fold. */
#define FOLD_WORTH      16384u /* 64 MiB */
#define FOLD_WORTH_PART 16u
#define FOLD_PART       32u /* of what a fold names it takes itself, at most */
/* So many blocks that no fold has named are worth one where space ends. */
#define NAMED_WORTH     256u

static unsigned int bits_count(const uint64_t bits[2])
{
	return (unsigned int)__builtin_popcountll(bits[0]) +
	       (unsigned int)__builtin_popcountll(bits[1]);
}

/* ---- borrowing ----------------------------------------------------------- */

/*
 * The slice of a loan may be new, also where our map has one: that one was
 * empty and went back, and is somebody else's, or nobody's.  Nothing of it is
 * on loan to us, and what an old view names there does not verify.
 */
static int map_loan(struct cfs_container *c, const struct cfs_loan *loan,
		    struct cfs_err *err)
{
	const uint64_t lslice = cfs_vaddr_lslice(loan->key);
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (cfs_metavolume_get(c->mv, lslice, pieces)) {
		if (cfs_client_is_same_map(pieces, loan->pieces))
			return 0;
		cfs_blocks_forget(c->blocks, lslice);
	}
	return cfs_metavolume_set(c->mv, lslice, loan->pieces, err);
}

static int by_key(const void *a, const void *b)
{
	const struct cfs_candidate *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* In the order of addresses, in which their pages are read. */
static int list_loans(struct cfs_container *c, const struct cfs_loans *loans,
		      struct cfs_candidate *list, struct cfs_err *err)
{
	for (size_t i = 0; i < loans->count; i++) {
		const struct cfs_loan *loan = &loans->items[i];
		int r = map_loan(c, loan, err);

		if (r < 0)
			return r;
		list[i] = (struct cfs_candidate){
			.key = loan->key,
			.allowed = { loan->allowed[0], loan->allowed[1] },
			.was_used = loan->was_used,
		};
	}
	if (loans->count > 1)
		qsort(list, loans->count, sizeof(*list), by_key);
	for (size_t i = 0; i < loans->count; i++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &list[i].key, sizeof(list[i].key), g);
		if (g || (i > 0 && list[i].key == list[i - 1].key))
			return cfs_err_set(err, -EPROTO,
					   "the owner lent a group twice");
	}
	return 0;
}

int cfs_client_take_loans(struct cfs_container *c,
			  const struct cfs_loans *loans, struct cfs_err *err)
{
	struct client_mode *m = c->client;
	CFS_CLEANUP(cfs_freep)
	struct cfs_candidate *list = calloc(loans->count + 1, sizeof(*list));
	const size_t unfit = c->unfit.count;
	int r = list ? list_loans(c, loans, list, err)
		     : cfs_err_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = cfs_space_groups_open(c, list, loans->count, err);
	/* A damaged tag page is not for us to write over. */
	for (size_t i = unfit; i < c->unfit.count && r == 0; i++)
		if (cfs_vec_push(&m->spoilt, c->unfit.items[i]) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	c->unfit.count = unfit;
	for (size_t i = 0; i < loans->count && r == 0; i++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &list[i].key, sizeof(list[i].key), g);
		if (g)
			m->allowed_blocks += bits_count(g->allowed);
	}
	return r;
}

int cfs_client_borrow(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err)
{
	struct client_mode *m = c->client;
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans loans = { .count = 0 };
	uint64_t count = cfs_div_up(blocks, CFS_TAGS_PER_PAGE);
	int r;

	/* Many more each time, so that long writes ask seldom. */
	count = CFS_MAX(CFS_MAX(count, BORROW_MIN), c->data_batch);
	count = CFS_MIN(count, CFS_LOANS_MAX);
	c->data_batch = (uint32_t)CFS_MIN(4 * count, BORROW_MAX);
	r = m->source->lend(m->source_ctx, (uint32_t)count, &loans, err);
	return r < 0 ? r : cfs_client_take_loans(c, &loans, err);
}

static uint64_t worth_a_fold(const struct cfs_container *c)
{
	return CFS_MAX(
		NAMED_WORTH,
		CFS_MIN(FOLD_WORTH, c->client->total_blocks / FOLD_WORTH_PART));
}

/*
 * With a fold: groups for twice of what was written since the last one, as far
 * as they are not at hand, and no more than the next fold will name, and itself
 * takes: what is missing then has to be asked for.
 */
uint32_t cfs_client_groups_wanted(const struct cfs_container *c)
{
	const struct client_mode *m = c->client;
	const uint64_t named = CFS_MIN(2 * m->named_blocks,
				       CFS_CLIENT_BLOCKS_SOFT);
	const uint64_t blocks = named + named / FOLD_PART;

	if (c->is_sealing || m->returns_idle || m->will_hold ||
	    m->named_blocks < worth_a_fold(c) / 4 ||
	    m->allowed_blocks >= blocks)
		return 0;
	return (uint32_t)CFS_MIN(
		cfs_div_up(blocks - m->allowed_blocks, CFS_TAGS_PER_PAGE),
		CFS_LOANS_MAX);
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

static int fold_now(struct cfs_container *c, struct cfs_err *err)
{
	c->forces_commit = true;
	return cfs_client_fold_locked(c, err);
}

/*
 * Before an operation: what it will usually want.  Who has written much folds
 * for it, and gets both with one message.  Where there is no more, what was
 * overwritten comes back by a fold, which also gives back what is used up,
 * and the owner then counts the nodes that name it instead of guessing them;
 * and if that brings nothing, the operation itself finds out how much it needs.
 */
int cfs_client_make_room(struct cfs_container *c, uint64_t blocks,
			 struct cfs_err *err)
{
	int r = cfs_client_release(c, err);

	if (r == 0 && c->client->named_blocks >= worth_a_fold(c) &&
	    cfs_client_space_left(c) < (int64_t)blocks)
		r = fold_now(c, err);
	if (r < 0)
		return r;
	r = cfs_client_ensure(c, blocks, err);
	if (r == -ENOSPC && (c->client->freed_blocks ||
			     c->client->named_blocks >= NAMED_WORTH)) {
		r = fold_now(c, err);
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
		int r = m->source->lend_inos(m->source_ctx, count, &first, &end,
					     err);

		if (r < 0)
			return r;
		/* Who makes many asks seldom. */
		m->ino_batch = CFS_MIN(16 * count, INOS_MAX);
		if (first >= end || end > CFS_INO_MAX + 1)
			return cfs_err_set(err, -EPROTO,
					   "the owner lent no "
					   "inode numbers");
		c->next_ino = first;
		m->ino_end = end;
	}
	*ret = c->next_ino++;
	return 0;
}

int cfs_container_reconcile(struct cfs_container *c,
			    const struct cfs_loans *loans, struct cfs_err *err)
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
