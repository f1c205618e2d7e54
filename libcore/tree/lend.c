/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The clients that an owner knows, making one, and what it is shown. */
#include "tree/lend_priv.h"

#include "base/cleanup.h"
#include "base/rng.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define STAMPS_OF_VIEW   4096u
#define LOG_BLOCKS_MIN   32u
#define LOG_RUNS_MORE    256u /* looked at where they are short */
#define LOG_BLOCKS_USUAL 128u
#define LOG_BLOCKS_MAX   2048u

/* ---- entries ------------------------------------------------------------- */

struct cfs_key cfs_lend_client_key(uint64_t client_id)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_CLIENT, 0),
				   client_id, 0 } };
}

int cfs_lend_init(struct cfs_container *c, struct cfs_err *err)
{
	if (!c->lender)
		c->lender = calloc(1, sizeof(*c->lender));
	return c->lender ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

struct client_entry *cfs_lend_entry(const struct cfs_container *c,
				    uint64_t client_id)
{
	struct client_entry *e = NULL;

	if (c->lender)
		HASH_FIND(hh, c->lender->clients, &client_id, sizeof(client_id),
			  e);
	return e;
}

bool cfs_lend_knows(const struct cfs_container *c, uint64_t client_id)
{
	return cfs_lend_entry(c, client_id) != NULL;
}

int cfs_lend_entry_new(struct cfs_container *c, uint64_t id,
		       const struct cfs_client_rec *rec,
		       struct client_entry **ret, struct cfs_err *err)
{
	struct client_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	e->id = id;
	e->rec = *rec;
	e->view_seq = UINT64_MAX;
	if (CFS_HASH_ADD(c->lender->clients, id, e) < 0) {
		free(e);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	*ret = e;
	return 0;
}

void cfs_lend_entry_drop(struct cfs_container *c, struct client_entry *e)
{
	HASH_DEL(c->lender->clients, e);
	cfs_vec_done(&e->inos);
	free(e);
	/* Kept between folds: what is given back comes page by page anew. */
	if (!c->lender->clients)
		cfs_peek_pages_done(&c->lender->pages);
}

void cfs_lend_free(struct cfs_container *c)
{
	struct lender *l = c->lender;

	if (!l)
		return;
	while (l->groups)
		cfs_lend_group_drop(c, l->groups);
	while (l->clients)
		cfs_lend_entry_drop(c, l->clients);
	cfs_vec_done(&l->expected);
	cfs_peek_pages_done(&l->pages);
	free(l);
	c->lender = NULL;
}

int cfs_lend_must_be_open(const struct cfs_container *c, uint64_t client_id,
			  struct client_entry **ret, struct cfs_err *err)
{
	struct client_entry *e = cfs_lend_entry(c, client_id);

	if (!e)
		return cfs_err_set(err, -ENOENT, "no such client");
	if (e->rec.state == CFS_CLIENT_REFUSED)
		return cfs_err_set(err, -EPERM,
				   "what this client gave back "
				   "was wrong; nothing more is taken");
	if (e->is_dead || e->rec.state != CFS_CLIENT_OPEN)
		return cfs_err_set(err, -ESTALE, "the client's log is closed");
	*ret = e;
	return 0;
}

int cfs_lend_store(struct cfs_container *c, uint64_t id,
		   const struct cfs_client_rec *rec, struct cfs_err *err)
{
	const struct cfs_key key = cfs_lend_client_key(id);
	struct cfs_client_rec_disk disk;

	cfs_client_rec_pack(rec, &disk);
	return cfs_container_tree_put(c, CFS_TREE_TABLE, &key, &disk,
				      sizeof(disk), err);
}

/* ---- at open ------------------------------------------------------------- */

int cfs_lend_load(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_key from = cfs_lend_client_key(0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_client_rec rec;
		struct client_entry *e = NULL;

		r = cfs_client_rec_unpack(cur.value, cur.value_bytes, &rec,
					  err);
		if (r == 0)
			r = cfs_lend_init(c, err);
		if (r == 0)
			r = cfs_lend_entry_new(c, cur.key.w[1], &rec, &e, err);
		if (r != 0)
			return r;
		assert(e);
		/* Whatever an owner before us may have given it. */
		e->view_seq = 0;
		e->stamp_end = c->root.stamp_ceiling + 1;
		r = cfs_cursor_next(&cur, err);
	}
	/* L7 */
	if (c->lender)
		c->stamp = CFS_MAX(c->stamp, c->root.stamp_ceiling + 1);
	return r == -ENOENT ? 0 : r;
}

/* ---- making -------------------------------------------------------------- */

/* Blocks of the log or the gravestone, in use: tagged, zeroed. */
static int fill_blocks(struct cfs_container *c, uint64_t log_id,
		       uint32_t offset, uint64_t vaddr, uint32_t count,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) void *zeroes = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const struct cfs_tag tag = {
			.type = CFS_TAG_LOG,
			.ino = log_id,
			.offset = offset + i,
			.stamp = c->stamp,
		};

		cfs_space_set_tag(c, vaddr + i, &tag);
	}
	zeroes = cfs_dev_buf_alloc((size_t)count * CFS_BLOCK_BYTES);
	if (!zeroes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return cfs_container_write_now(c, vaddr, count, zeroes, err);
}

/* Runs as they come, as many as the record has room for. */
static int find_runs(struct cfs_container *c, uint32_t blocks,
		     struct cfs_client_rec *rec, uint32_t *ret_taken,
		     struct cfs_err *err)
{
	uint32_t taken = 0;

	while (taken < blocks) {
		struct cfs_log_extent *last =
			rec->extent_count ? &rec->extents[rec->extent_count - 1]
					  : NULL;
		struct cfs_log_extent run;
		int r;

		if (rec->extent_count == CFS_CLIENT_EXTENTS_MAX)
			break;
		r = cfs_space_alloc_long(c, blocks - taken, &run.vaddr,
					 &run.block_count, err);
		if (r < 0)
			return r;
		taken += run.block_count;
		if (last && last->vaddr + last->block_count == run.vaddr)
			last->block_count += run.block_count;
		else
			rec->extents[rec->extent_count++] = run;
	}
	*ret_taken = taken;
	return 0;
}

/* The next run in place of the shortest; the shorter of them is given back. */
static int find_longer(struct cfs_container *c, struct cfs_client_rec *rec,
		       uint32_t *taken, struct cfs_err *err)
{
	struct cfs_log_extent *least = &rec->extents[0], run, other;
	int r = cfs_space_alloc_data(c, LOG_BLOCKS_MIN, &run.vaddr,
				     &run.block_count, err);

	if (r < 0)
		return r;
	for (uint32_t i = 1; i < rec->extent_count; i++)
		if (rec->extents[i].block_count < least->block_count)
			least = &rec->extents[i];
	if (run.block_count > least->block_count) {
		*taken += run.block_count - least->block_count;
		other = *least;
		*least = run;
		run = other;
	}
	return cfs_space_free(c, run.vaddr, run.block_count, err);
}

/*
 * Free space in small pieces is no reason to refuse a log: if what comes first
 * is too little, as many more are looked at as we may.  While it is, what is
 * looked at in vain is single blocks, so the promise is that many.
 */
static int take_log(struct cfs_container *c, uint32_t blocks,
		    struct cfs_client_rec *rec, uint32_t *ret_taken,
		    struct cfs_err *err)
{
	uint32_t taken = 0, offset = 0;
	int r = find_runs(c, blocks, rec, &taken, err);

	if (r == 0 && taken < LOG_BLOCKS_MIN)
		r = cfs_space_promise(c, LOG_RUNS_MORE + LOG_BLOCKS_MIN, err);
	for (uint32_t i = 0;
	     i < LOG_RUNS_MORE && taken < LOG_BLOCKS_MIN && r == 0; i++)
		r = find_longer(c, rec, &taken, err);
	if (r == -ENOSPC || (r == 0 && taken < LOG_BLOCKS_MIN))
		r = cfs_err_set(err, -ENOSPC, "no room for a client's log");
	for (uint32_t i = 0; i < rec->extent_count && r == 0; i++) {
		const struct cfs_log_extent *run = &rec->extents[i];

		r = fill_blocks(c, rec->log_id, offset, run->vaddr,
				run->block_count, err);
		offset += run->block_count;
	}
	*ret_taken = taken;
	return r;
}

/* Both slots, alive: whoever reads them finds pages that are valid. */
static int take_gravestone(struct cfs_container *c, uint32_t offset,
			   struct cfs_client_rec *rec, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	int r = 0;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		struct cfs_page head = {
			.kind = CFS_PAGE_GRAVE,
			.seq = 2 - i,
			.pool_lo = cfs_metavolume_pool_lo(c->mv),
			.owner = c->id,
			.epoch = c->epoch,
		};
		uint32_t got;

		r = cfs_space_alloc_data(c, 1, &rec->grave_vaddr[i], &got, err);
		if (r == 0)
			r = fill_blocks(c, rec->log_id, offset + i,
					rec->grave_vaddr[i], 1, err);
		if (r < 0)
			break;
		head.address = rec->grave_vaddr[i];
		cfs_grave_pack(0, page);
		cfs_page_pack(&head, page);
		r = cfs_container_write_now(c, head.address, 1, page, err);
	}
	return r;
}

static uint32_t log_blocks_usual(struct cfs_container *c)
{
	int64_t left = cfs_space_left(c);
	uint64_t blocks = left > 0 ? (uint64_t)left / 64 : 0;

	return (uint32_t)CFS_MIN(CFS_MAX(blocks, LOG_BLOCKS_USUAL),
				 LOG_BLOCKS_MAX);
}

static int make_locked(struct cfs_container *c, uint32_t log_blocks,
		       uint64_t id, struct cfs_client_rec *rec,
		       struct cfs_err *err)
{
	struct cfs_rng rng;
	uint32_t taken = 0;
	int r = cfs_rng_init_random(&rng, err);

	if (r < 0)
		return r;
	if (log_blocks == 0)
		log_blocks = log_blocks_usual(c);
	rec->log_id = 1 + cfs_rng_below(&rng, CFS_INO_MAX);
	r = cfs_space_promise(c, log_blocks + 2, err);
	if (r == 0)
		r = take_log(c, log_blocks, rec, &taken, err);
	if (r == 0)
		r = take_gravestone(c, taken, rec, err);
	if (r == 0)
		r = cfs_lend_store(c, id, rec, err);
	return r;
}

int cfs_container_client_make(struct cfs_container *c,
			      const struct cfs_client_identity *who,
			      uint32_t log_blocks, uint64_t *ret_client_id,
			      struct cfs_client_rec *ret, struct cfs_err *err)
{
	struct cfs_client_rec rec = {
		.who = *who,
		.state = CFS_CLIENT_OPEN,
		.epoch = c->epoch,
		.log = { .seq = 1 },
	};
	struct client_entry *e = NULL;
	uint64_t id;
	int r = cfs_op_begin_for(c, CFS_OP_NORMAL, log_blocks + 32, err);

	assert(!c->client && c->id != 0);
	if (r < 0)
		return r;
	r = cfs_lend_init(c, err);
	id = c->next_loan++;
	rec.stamp = c->stamp;
	if (r == 0)
		r = make_locked(c, log_blocks, id, &rec, err);
	if (r == 0)
		r = cfs_lend_entry_new(c, id, &rec, &e, err);
	if (r != 0) {
		cfs_op_abort(c);
		return r;
	}
	assert(e);
	e->knows_inos = true;
	e->stamp_end = c->stamp;
	/* It begins with a view. */
	e->is_held = true;
	r = cfs_op_end_commit(c, err);
	cfs_container_unlock(c);
	if (r < 0)
		return r;
	*ret_client_id = id;
	*ret = rec;
	return 0;
}

/* ---- views --------------------------------------------------------------- */

void cfs_client_view_donep(struct cfs_client_view *view)
{
	free(view->smap);
	view->smap = NULL;
	cfs_loans_donep(&view->loans);
}

void cfs_loans_donep(struct cfs_loans *loans)
{
	free(loans->items);
	memset(loans, 0, sizeof(*loans));
}

static int show_map(struct cfs_container *c, struct cfs_client_view *view,
		    struct cfs_err *err)
{
	uint64_t end = cfs_metavolume_end(c->mv);

	view->smap = calloc(end + 1, sizeof(*view->smap));
	if (!view->smap)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (uint64_t l = 0; l < end; l++) {
		struct cfs_smap_entry *e = &view->smap[view->smap_count];

		if (!cfs_metavolume_get(c->mv, l, e->pieces))
			continue;
		e->lslice = l;
		view->smap_count++;
	}
	view->has_map = true;
	return 0;
}

int cfs_lend_view(struct cfs_container *c, struct client_entry *e,
		  uint64_t map_change, struct cfs_client_view *ret,
		  struct cfs_err *err)
{
	static const unsigned int ids[CFS_CLIENT_TREES] = {
		CFS_TREE_TABLE,
		CFS_TREE_LIVE,
		CFS_TREE_HISTORY,
	};
	struct cfs_client_view view = {
		.container_id = c->id,
		.epoch = c->epoch,
		.map_change = c->map_change,
	};
	struct cfs_space_counts counts;
	int r;

	if (c->is_readonly)
		return cfs_err_set(err, -EROFS, "%s",
				   c->why_readonly.code
					   ? c->why_readonly.msg
					   : "opened to read only");
	if (e && c->stamp + STAMPS_OF_VIEW > c->root.stamp_ceiling)
		c->forces_commit = true;
	r = cfs_container_commit_locked(c, err);
	if (r == 0 && map_change != c->map_change)
		r = show_map(c, &view, err);
	if (r < 0)
		return r;
	memcpy(view.uuid, c->uuid, sizeof(view.uuid));
	view.root_seq = c->root_seq;
	for (unsigned int i = 0; i < CFS_CLIENT_TREES; i++)
		view.trees[i] = c->root.trees[ids[i] - 1];
	cfs_space_counts(c, &counts);
	view.total_blocks = counts.total_blocks;
	view.used_blocks = counts.used_blocks;
	view.left_blocks = counts.left_blocks;
	view.stamp = c->stamp;
	view.stamp_end = c->stamp + 1;
	if (e) {
		c->stamp += STAMPS_OF_VIEW;
		view.stamp_end = c->stamp;
		e->stamp_end = c->stamp;
		e->view_seq = c->root_seq;
	}
	*ret = view;
	return 0;
}

int cfs_container_view(struct cfs_container *c, uint64_t client_id,
		       uint64_t map_change, struct cfs_client_view *ret,
		       struct cfs_err *err)
{
	struct client_entry *e = NULL;
	int r = 0;

	cfs_container_lock_to_change(c);
	if (client_id)
		r = cfs_lend_must_be_open(c, client_id, &e, err);
	if (r == 0)
		r = cfs_lend_view(c, e, map_change, ret, err);
	if (r == 0 && e)
		e->is_held = false;
	pthread_mutex_unlock(&c->lock);
	return r;
}

void cfs_lend_forget_views(struct cfs_container *c, bool forgets)
{
	if (c->lender)
		c->lender->forgets_views = forgets;
}

bool cfs_lend_views_passed(struct cfs_container *c)
{
	struct lender *l = c->lender;
	struct client_entry *e, *tmp;

	HASH_ITER(hh, l->clients, e, tmp)
		if (!l->forgets_views && e->rec.state == CFS_CLIENT_OPEN &&
		    e->view_seq < l->waiting_cut)
			return false;
	/* What begins to wait now was freed before this root. */
	l->waiting_cut = c->root_seq;
	return true;
}

/* ---- what there is ------------------------------------------------------- */

static void info_of(const struct cfs_container *c, const struct client_entry *e,
		    struct cfs_client_info *ret)
{
	struct lent_group *g, *tmp;

	*ret = (struct cfs_client_info){
		.id = e->id,
		.rec = e->rec,
		.is_held = e->is_held,
		.is_behind = e->rec.state == CFS_CLIENT_OPEN &&
			     e->view_seq < c->lender->waiting_cut,
	};
	CFS_LENT_EACH(c->lender, g, tmp) {
		if (g->client_id != e->id)
			continue;
		ret->loan_count++;
		ret->lent_blocks += g->free_blocks;
	}
}

int cfs_container_may_pin(struct cfs_container *c, struct cfs_err *err)
{
	struct client_entry *e, *tmp;

	if (!c->lender)
		return 0;
	HASH_ITER(hh, c->lender->clients, e, tmp)
		if (e->rec.state == CFS_CLIENT_OPEN && !e->is_held)
			return cfs_err_set(err, -EBUSY,
					   "client %" PRIu64 " on %s writes",
					   e->id, e->rec.who.host);
	return 0;
}

int cfs_container_client_get(struct cfs_container *c, uint64_t client_id,
			     struct cfs_client_info *ret, struct cfs_err *err)
{
	const struct client_entry *e;

	pthread_mutex_lock(&c->lock);
	e = cfs_lend_entry(c, client_id);
	if (e)
		info_of(c, e, ret);
	pthread_mutex_unlock(&c->lock);
	return e ? 0 : cfs_err_set(err, -ENOENT, "no such client");
}

static int by_id(const void *a, const void *b)
{
	const struct cfs_client_info *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int cfs_container_clients(struct cfs_container *c, cfs_client_each_fn each,
			  void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_client_info *list = NULL;
	struct client_entry *e, *tmp;
	size_t n = 0;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->lender) {
		list = calloc(HASH_COUNT(c->lender->clients) + 1,
			      sizeof(*list));
		if (!list)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		HASH_ITER(hh, c->lender->clients, e, tmp)
			if (list)
				info_of(c, e, &list[n++]);
	}
	pthread_mutex_unlock(&c->lock);
	if (n > 1)
		qsort(list, n, sizeof(*list), by_id);
	for (size_t i = 0; i < n && r == 0; i++)
		r = each(arg, &list[i], err);
	return r;
}

void cfs_container_lent_counts(struct cfs_container *c,
			       struct cfs_lent_counts *ret)
{
	struct client_entry *e, *etmp;
	struct lent_group *g, *gtmp;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&c->lock);
	if (c->lender) {
		HASH_ITER(hh, c->lender->clients, e, etmp) {
			ret->clients++;
			ret->open += e->rec.state == CFS_CLIENT_OPEN;
		}
		CFS_LENT_EACH(c->lender, g, gtmp) {
			ret->lent_groups++;
			ret->lent_blocks += g->free_blocks;
			ret->frozen_groups += g->is_frozen;
			ret->frozen_blocks += g->is_frozen ? g->free_blocks : 0;
		}
	}
	pthread_mutex_unlock(&c->lock);
}

int cfs_container_frozen_slices(struct cfs_container *c, uint64_t **ret,
				size_t *ret_count, struct cfs_err *err)
{
	struct lent_group *g, *tmp;
	uint64_t *list = NULL;
	size_t n = 0;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->lender && c->lender->groups) {
		list = calloc(c->lender->group_count, sizeof(*list));
		if (!list)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		CFS_LENT_EACH(c->lender, g, tmp) {
			uint64_t lslice = cfs_vaddr_lslice(g->key);
			size_t i = 0;

			while (i < n && list[i] != lslice)
				i++;
			if (list && g->is_frozen && i == n)
				list[n++] = lslice;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return r;
	*ret = list;
	*ret_count = n;
	return 0;
}
