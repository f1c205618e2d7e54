/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a fold: everything is checked and applied in one operation, which a
 * commit ends without letting anybody in between, since nothing of it is in our
 * log.
 */
#include "tree/lend_priv.h"

#include "base/cleanup.h"
#include "base/xxh.h"
#include "tree/space_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INO_RANGES_MAX 32768u /* of one client */

/* ---- checks -------------------------------------------------------------- */

static int check_head(const struct client_entry *e, const struct cfs_fold *fold,
		      struct cfs_err *err)
{
	const struct cfs_client_rec *rec = &e->rec;

	if (fold->seq != rec->fold_seq + 1)
		return cfs_err_set(err, -EPERM,
				   "a client's fold %" PRIu64
				   " comes behind %" PRIu64,
				   fold->seq, rec->fold_seq);
	if (fold->log.extent >= rec->extent_count ||
	    fold->log.block > rec->extents[fold->log.extent].block_count ||
	    fold->log.seq < rec->log.seq)
		return cfs_err_set(err, -EPERM,
				   "a client's log ends where it cannot");
	if (fold->record_bytes > CFS_FOLD_BYTES_MAX || fold->record_bytes % 8 ||
	    fold->return_count > CFS_FOLD_RETURNS_MAX)
		return cfs_err_set(err, -EPERM, "a client's fold is too large");
	return 0;
}

/* All at once: one by one each would be waited for. */
static int read_blocks(struct cfs_container *c, const struct cfs_fold *fold,
		       uint64_t blocks, uint8_t *buf, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_mv_read *reads = calloc(fold->place_count, sizeof(*reads));
	uint64_t done = 0;
	int r = 0;

	if (!reads)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < fold->place_count && r == 0; i++) {
		const struct cfs_fold_place *p = &fold->places[i];

		if (p->count > blocks - done)
			return cfs_err_set(err, -EPERM,
					   "a client's fold lies "
					   "in too many blocks");
		r = cfs_lend_check_place(c, p, err);
		reads[i] = (struct cfs_mv_read){
			.vaddr = p->vaddr,
			.count = p->count,
			.buf = buf + done * CFS_BLOCK_BYTES,
		};
		done += p->count;
	}
	if (r == 0 && done != blocks)
		return cfs_err_set(err, -EPERM,
				   "a client's fold lies in too "
				   "few blocks");
	if (r == 0)
		r = cfs_metavolume_read_batch(c->mv, reads, fold->place_count,
					      err);
	/* The other pieces, for what the first did not give. */
	for (size_t i = 0; i < fold->place_count && r == 0; i++)
		if (reads[i].result < 0)
			r = cfs_metavolume_read_any(c->mv, reads[i].vaddr,
						    reads[i].count,
						    reads[i].buf, NULL, err);
	return r;
}

/*
 * What a fold has in lent blocks, into *@ret_buf.  It is read once, verified,
 * and then as good as what came in a message: whatever becomes of the blocks.
 */
static int read_places(struct cfs_container *c, struct cfs_fold *fold,
		       void **ret_buf, struct cfs_err *err)
{
	const size_t bytes = cfs_fold_bytes(fold);
	const uint64_t blocks = cfs_div_up(bytes, CFS_BLOCK_BYTES);
	CFS_CLEANUP(cfs_freep) uint8_t *buf = NULL;
	uint8_t csum[sizeof(fold->csum)];
	int r;

	if (bytes > CFS_FOLD_BYTES_MAX + 8 * CFS_FOLD_RETURNS_MAX)
		return cfs_err_set(err, -EPERM, "a client's fold is too large");
	buf = cfs_dev_buf_alloc_unset(blocks * CFS_BLOCK_BYTES + 1);
	if (!buf)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = read_blocks(c, fold, blocks, buf, err);
	if (r < 0)
		return r;
	cfs_xxh3_128(buf, bytes, csum);
	if (memcmp(csum, fold->csum, sizeof(csum)) != 0)
		return cfs_err_set(err, -EIO,
				   "a client's fold reads "
				   "differently from what it wrote");
	r = cfs_fold_attach(fold, buf, err);
	if (r == 0)
		*ret_buf = CFS_STEAL(buf);
	return r;
}

static int apply_records(struct cfs_container *c, const struct cfs_fold *fold,
			 struct cfs_err *err)
{
	const uint32_t bytes = (uint32_t)fold->record_bytes;
	uint32_t pos = 0, expected = 0, count = 0;
	struct cfs_rec rec;
	int r;

	for (;;) {
		if (pos >= expected) {
			r = cfs_lend_expect(c, fold->records, bytes, &expected,
					    err);
			if (r < 0)
				return r;
		}
		r = cfs_rec_next(fold->records, bytes, &pos, &rec, err);
		if (r != 1)
			break;
		r = cfs_lend_check(c, &rec, err);
		if (r == 0)
			r = cfs_lend_apply(c, &rec, err);
		if (r < 0)
			return r;
		count++;
	}
	if (r == -EUCLEAN)
		return cfs_err_wrap(err, -EPERM, "a client's fold");
	if (r == 0 && count != fold->record_count)
		return cfs_err_set(err, -EPERM,
				   "a client's fold has %" PRIu32
				   " records, not %" PRIu32,
				   count, fold->record_count);
	return r;
}

/* A group comes back: it is known as used, since it may have a tag page. */
static int take_back(struct cfs_container *c, uint64_t key, struct cfs_err *err)
{
	const struct cfs_key loan = cfs_space_loan_key(key);
	const uint64_t none[2] = { 0, 0 };
	const struct lent_group *g = cfs_lend_group(c, key);
	uint64_t used[2];
	bool is_there = true;
	int r = 0;

	if (!g || g->client_id != c->lender->of->id || g->is_frozen)
		return cfs_err_set(err, -EPERM,
				   "a client gives back group %#" PRIx64
				   ", which it does not have",
				   key);
	/* What was adopted is in its record. */
	if (!(g->adopted[0] | g->adopted[1]))
		r = cfs_space_bits_load(c, key, used, &is_there, err);
	if (r == 0 && !is_there)
		r = cfs_space_bits_store(c, key, none, err);
	if (r == 0)
		r = cfs_container_tree_del(c, CFS_TREE_TABLE, &loan, err);
	return r == -ENOENT ? 0 : r;
}

/* ---- taking it ----------------------------------------------------------- */

static int apply_fold(struct cfs_container *c, struct client_entry *e,
		      const struct cfs_fold *fold, struct cfs_client_rec *rec,
		      struct cfs_err *err)
{
	int r = check_head(e, fold, err);

	if (r == 0)
		r = apply_records(c, fold, err);
	for (size_t i = 0; i < fold->return_count && r == 0; i++)
		r = take_back(c, fold->returns[i], err);
	/* The commit must find room for what became dirty. */
	if (r == 0)
		r = cfs_space_ensure(c, 0, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	*rec = e->rec;
	rec->fold_seq = fold->seq;
	rec->log = fold->log;
	/* The view that answers it begins here, or later. */
	rec->stamp = c->stamp;
	return cfs_lend_store(c, e->id, rec, err);
}

/* It lied: its loans are frozen, and it gets nothing more. */
static void refuse_locked(struct cfs_container *c, struct client_entry *e)
{
	struct cfs_client_rec_disk disk;
	struct cfs_table_change change = {
		.key = cfs_lend_client_key(e->id),
		.value = &disk,
		.value_bytes = sizeof(disk),
	};
	struct lent_group *g, *tmp;

	e->rec.state = CFS_CLIENT_REFUSED;
	cfs_client_rec_pack(&e->rec, &disk);
	CFS_LENT_EACH(c->lender, g, tmp)
		if (g->client_id == e->id)
			g->is_frozen = true;
	/* Should it fail, the next owner may find out for itself. */
	if (!c->is_readonly && cfs_container_ready(c, NULL) == 0)
		(void)cfs_container_put_now(c, &change, 1, NULL);
}

static void refuse(struct cfs_container *c, uint64_t client_id)
{
	struct client_entry *e;

	cfs_container_lock_to_change(c);
	e = cfs_lend_entry(c, client_id);
	if (e && e->rec.state == CFS_CLIENT_OPEN)
		refuse_locked(c, e);
	pthread_mutex_unlock(&c->lock);
}

/* Numbers that it was lent are known for as long as there are not too many:
 * what it made stays its own until somebody else gets it. */
static void forget_inos(struct client_entry *e)
{
	const size_t half = INO_RANGES_MAX / 2;

	if (e->inos.count < INO_RANGES_MAX)
		return;
	memmove(e->inos.items, e->inos.items + half,
		(e->inos.count - half) * sizeof(*e->inos.items));
	e->inos.count -= half;
}

static bool is_unused(const struct cfs_container *c, uint64_t key)
{
	const struct lent_group *g = cfs_lend_group(c, key);

	return g && !g->was_named;
}

/*
 * Groups that come back unused, with tag pages that may be damaged: those are
 * not lent again.  What cannot be found out is the next client's to find out.
 */
static void look_at_unused(struct cfs_container *c, const struct cfs_fold *fold)
{
	CFS_CLEANUP(cfs_freep) struct cfs_group *groups = NULL;
	CFS_CLEANUP(cfs_freep) struct cfs_group **list = NULL;
	CFS_CLEANUP(cfs_freep) int *results = NULL;
	size_t n = 0;

	for (size_t i = 0; i < fold->return_count; i++)
		n += is_unused(c, fold->returns[i]);
	groups = calloc(n + 1, sizeof(*groups));
	list = calloc(n + 1, sizeof(struct cfs_group *));
	results = calloc(n + 1, sizeof(*results));
	if (!groups || !list || !results)
		return;
	n = 0;
	for (size_t i = 0; i < fold->return_count; i++) {
		if (!is_unused(c, fold->returns[i]))
			continue;
		groups[n].lslice = cfs_vaddr_lslice(fold->returns[i]);
		groups[n].index = cfs_vaddr_block(fold->returns[i]);
		list[n] = &groups[n];
		n++;
	}
	if (n == 0 || cfs_groups_load(c->blocks, list, n, results, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (results[i] == -EUCLEAN)
			(void)cfs_vec_push(
				&c->unfit,
				cfs_vaddr(groups[i].lslice, groups[i].index));
}

static void fold_taken(struct cfs_container *c, struct client_entry *e,
		       const struct cfs_fold *fold,
		       const struct cfs_client_rec *rec)
{
	e->rec = *rec;
	forget_inos(e);
	look_at_unused(c, fold);
	for (size_t i = 0; i < fold->return_count; i++) {
		struct lent_group *g = cfs_lend_group(c, fold->returns[i]);

		if (!g)
			continue;
		cfs_blocks_forget_group(c->blocks, cfs_vaddr_lslice(g->key),
					cfs_vaddr_block(g->key));
		cfs_lend_group_drop(c, g);
	}
}

/* Our own pages go home first: a client's records find none in their way. */
static int settle_own(struct cfs_container *c, struct cfs_err *err)
{
	uint64_t blocks = 0, records = 0;

	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	return blocks ? cfs_container_commit_locked(c, err) : 0;
}

/*
 * Before the operation.  1: this very fold was taken before, its answer was
 * lost; 0: it is to be taken.
 */
static int look_first(struct cfs_container *c, uint64_t client_id,
		      const struct cfs_fold *fold, struct cfs_client_view *ret,
		      struct cfs_err *err)
{
	struct client_entry *e;
	int r;

	cfs_container_lock_to_change(c);
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	if (r == 0 && fold->seq && fold->seq == e->rec.fold_seq) {
		r = cfs_lend_view(c, e, fold->map_change, ret, err);
		if (r == 0)
			e->is_held = fold->holds;
		r = r < 0 ? r : 1;
	} else if (r == 0) {
		r = settle_own(c, err);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* Behind the commit: the view that answers it, and what it asks for. */
static int answer(struct cfs_container *c, struct client_entry *e,
		  const struct cfs_fold *fold, struct cfs_client_view *ret,
		  struct cfs_err *err)
{
	int r = cfs_lend_view(c, e, fold->map_change, ret, err);

	if (r < 0)
		return r;
	/* Less than it asked for, or nothing, will do. */
	if (fold->want_groups &&
	    cfs_lend_more(c, e, fold->want_groups, &ret->loans, NULL) < 0)
		cfs_loans_donep(&ret->loans);
	e->is_held = fold->holds;
	return 0;
}

static int take_whole(struct cfs_container *c, uint64_t client_id,
		      const struct cfs_fold *fold,
		      const struct cfs_fold_rules *rules,
		      struct cfs_client_view *ret, struct cfs_err *err)
{
	struct cfs_client_rec rec;
	struct client_entry *e;
	int r = cfs_op_begin_for(c, CFS_OP_FREEING,
				 32 + fold->record_count / 16, err);
	if (r < 0)
		return r;
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	if (r == 0 && fold->seq == e->rec.fold_seq) {
		/* It was sent again while it was being taken. */
		cfs_op_abort(c);
		return look_first(c, client_id, fold, ret, err) < 0
			       ? cfs_err_set(err, -ESTALE,
					     "the client is closed")
			       : 0;
	}
	if (r < 0) {
		cfs_op_abort(c);
		return r;
	}
	cfs_lend_begin(c, e, rules, LEND_ADOPT_LENT, true);
	r = apply_fold(c, e, fold, &rec, err);
	c->is_replaying = false;
	if (r < 0) {
		cfs_lend_end(c, false);
		cfs_op_abort(c);
		if (r == -EPERM)
			refuse(c, client_id);
		return r;
	}
	r = cfs_op_end_commit(c, err);
	cfs_lend_end(c, r == 0);
	if (r == 0) {
		fold_taken(c, e, fold, &rec);
		r = answer(c, e, fold, ret, err);
	}
	cfs_container_unlock(c);
	return r;
}

/* In memory, whatever it has in blocks. */
static int make_whole(struct cfs_container *c, uint64_t client_id,
		      struct cfs_fold *fold, void **ret_buf,
		      struct cfs_err *err)
{
	struct client_entry *e;
	int r;

	cfs_container_lock_to_change(c);
	r = cfs_lend_must_be_open(c, client_id, &e, err);
	/* Else it was sent twice at once, and the blocks are others' now. */
	if (r == 0 && fold->seq != e->rec.fold_seq) {
		c->lender->of = e;
		r = read_places(c, fold, ret_buf, err);
		c->lender->of = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (r == -EPERM)
		refuse(c, client_id);
	return r;
}

int cfs_container_take_fold(struct cfs_container *c, uint64_t client_id,
			    const struct cfs_fold *fold,
			    const struct cfs_fold_rules *rules,
			    struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_fold_donep) struct cfs_fold whole = *fold;
	CFS_CLEANUP(cfs_freep) void *buf = NULL;
	int r = look_first(c, client_id, fold, ret, err);

	whole.owned = NULL;
	if (r == 0 && fold->place_count)
		r = make_whole(c, client_id, &whole, &buf, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return take_whole(c, client_id, &whole, rules, ret, err);
}
