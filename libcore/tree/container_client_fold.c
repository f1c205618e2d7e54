/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Folds of a client, which take the place of commits.  What a fold says is in
 * lent blocks if it is much: so it takes one small message, however large it
 * is, and the owner reads it from the devices as it reads a dead client's log.
 */
#include "tree/container_client_priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>

bool cfs_client_wants_fold(struct cfs_container *c)
{
	const struct client_mode *m = c->client;
	size_t dirty = 0;

	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			dirty += cfs_tree_dirty_count(c->trees[i]);
	return m->records.bytes + c->pending.bytes > CFS_CLIENT_RECORDS_SOFT ||
	       dirty > CFS_CLIENT_DIRTY_SOFT ||
	       m->named_blocks > CFS_CLIENT_BLOCKS_SOFT ||
	       c->stamp + CFS_CLIENT_STAMPS_SOFT >= m->stamp_end;
}

bool cfs_client_has_changes(struct cfs_container *c)
{
	uint64_t blocks = 0, records = 0;

	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	return blocks || c->client->records.bytes || c->pending.bytes ||
	       c->forces_commit || (c->is_sealing && c->groups);
}

/* A fold in the making. */
struct outgoing {
	struct cfs_fold fold;
	uint64_t *returns;
	CFS_VEC(struct cfs_fold_place) places;
};

static void outgoing_done(struct outgoing *out)
{
	free(out->returns);
	cfs_vec_done(&out->places);
}

/* Blocks that nothing else will use, @count of them; fewer places than may be
 * named, or none. */
static int take_places(struct cfs_container *c, struct outgoing *out,
		       uint64_t count, struct cfs_err *err)
{
	while (count > 0 && out->places.count < CFS_FOLD_PLACES_MAX) {
		struct cfs_fold_place p;
		int r = cfs_space_alloc_stream(c, CFS_STREAM_DATA,
					       (uint32_t)count, false, &p.vaddr,
					       &p.count, err);

		if (r < 0 && r != -ENOSPC)
			return r;
		if (r == 0 && cfs_vec_push(&out->places, p) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		if (r < 0)
			break;
		count -= p.count;
	}
	if (count > 0) /* it goes with messages */
		out->places.count = 0;
	return 0;
}

/* The content of the fold into its places, as far as it needs them. */
static int fill_places(struct cfs_container *c, struct outgoing *out,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_fold *fold = &out->fold;
	uint64_t left, done = 0;
	uint8_t *pages;

	if (cfs_fold_detach(fold, &buf) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	left = cfs_div_up(buf.bytes, CFS_BLOCK_BYTES);
	pages = cfs_dev_buf_alloc(left * CFS_BLOCK_BYTES);
	if (!pages ||
	    cfs_buf_append(&c->page_bufs, &pages, sizeof(pages)) < 0) {
		free(pages);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(pages, buf.data, buf.bytes);
	for (size_t i = 0; left > 0 && i < out->places.count; i++) {
		struct cfs_fold_place *p = &out->places.items[i];
		int r;

		p->count = (uint32_t)CFS_MIN(p->count, left);
		r = cfs_container_add_write(c, p->vaddr, p->count,
					    pages + done * CFS_BLOCK_BYTES,
					    err);
		if (r < 0)
			return r;
		done += p->count;
		left -= p->count;
		fold->place_count++;
	}
	fold->places = out->places.items;
	if (left > 0) /* more keys than there were groups */
		fold->place_count = 0;
	return 0;
}

/*
 * All records since the last fold, and the groups that go back with them; where
 * that is much it goes into lent blocks, in the same batch of writes.
 */
static int make_fold(struct cfs_container *c, struct outgoing *out,
		     struct cfs_err *err)
{
	struct client_mode *m = c->client;
	struct cfs_fold *fold = &out->fold;
	size_t bytes;
	int r = 0;

	if (cfs_buf_append(&m->records, c->pending.data, c->pending.bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	m->record_count += c->pending_count;
	bytes = m->records.bytes +
		8 * (HASH_COUNT(c->groups) + m->spoilt.count);
	if (bytes > CFS_FOLD_INLINE_BYTES)
		/* One more for groups that come for this. */
		r = take_places(c, out, cfs_div_up(bytes, CFS_BLOCK_BYTES) + 1,
				err);
	if (r == 0)
		r = cfs_client_returns(c, &out->returns, &fold->return_count,
				       err);
	fold->returns = out->returns;
	fold->record_count = m->record_count;
	fold->record_bytes = m->records.bytes;
	fold->records = m->records.data;
	if (r == 0 && out->places.count > 0)
		r = fill_places(c, out, err);
	return r;
}

/* Pages, tags and the fold go home, durably. */
static int bring_home(struct cfs_container *c, struct outgoing *out,
		      struct cfs_err *err)
{
	uint64_t budget = UINT64_MAX;
	int r = 0;

	/* Pages get a birth of their own, so that no record of ours has it. */
	c->commit_stamp = ++c->stamp;
	if (c->hooks)
		r = c->hooks->fold(c->hooks_ctx, &budget, err);
	if (r == 0)
		r = make_fold(c, out, err);
	if (r == 0)
		r = cfs_space_commit_pages(c, err);
	if (r == 0)
		r = cfs_container_write_all(c, err);
	if (r == 0)
		cfs_log_flushed(c->log, cfs_log_seq(c->log) - 1);
	return r;
}

static int send_fold(struct cfs_container *c, struct cfs_fold *fold,
		     struct cfs_client_view *ret, struct cfs_err *err)
{
	struct client_mode *m = c->client;
	int r;

	fold->seq = m->fold_seq + 1;
	fold->map_change = m->map_change;
	fold->holds = m->will_hold;
	fold->want_groups = cfs_client_groups_wanted(c);
	/* What is in the log is folded, or nothing is written to it again. */
	cfs_log_rewind(c->log);
	cfs_log_to_root(c->log, &c->root);
	fold->log = (struct cfs_log_position){
		.seq = c->root.log_seq,
		.chain = c->root.log_chain,
		.extent = c->root.log_extent,
		.block = c->root.log_block,
	};
	__atomic_add_fetch(&m->begun, 1, __ATOMIC_SEQ_CST);
	r = m->source->fold(m->source_ctx, fold, ret, err);
	if (r == 0)
		m->fold_seq++;
	return r;
}

/* The owner has it all: nothing of it is ours to keep. */
static int folded(struct cfs_container *c, const struct cfs_client_view *view,
		  const struct cfs_fold *fold, struct cfs_err *err)
{
	struct client_mode *m = c->client;
	int r;

	cfs_client_returned(c, fold->returns, fold->return_count);
	cfs_log_trim(c->log, &c->root);
	m->records.bytes = 0;
	m->record_count = 0;
	m->freed_blocks = 0;
	m->named_blocks = 0;
	m->folds++;
	m->returns_idle = false;
	m->is_held = m->will_hold;
	c->pending.bytes = 0;
	c->pending_count = 0;
	c->data_batch /= 2; /* who writes much goes on with it */
	if (c->hooks)
		c->hooks->folded(c->hooks_ctx);
	r = cfs_client_install_view(c, view, err);
	if (r == 0 && view->loans.count)
		r = cfs_client_take_loans(c, &view->loans, err);
	return r;
}

int cfs_client_fold_locked(struct cfs_container *c, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = {
		.smap = NULL,
	};
	CFS_CLEANUP(outgoing_done) struct outgoing out = { .returns = NULL };
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	assert(!c->in_op);
	if (!cfs_client_has_changes(c))
		return 0;
	c->forces_commit = false;
	c->is_committing = true;
	r = bring_home(c, &out, &why);
	cfs_container_drop_writes(c);
	if (r == 0)
		r = send_fold(c, &out.fold, &view, &why);
	if (r == 0)
		r = folded(c, &view, &out.fold, &why);
	if (r < 0) {
		cfs_container_poison(c, &why);
		if (err)
			*err = why;
	}
	c->is_committing = false;
	return r;
}
