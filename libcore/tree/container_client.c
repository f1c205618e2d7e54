/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Client mode: opening, views, what is asked of it.  The head of
 * container_client.h tells the order of things.
 */
#include "tree/container_grave.h"
#include "tree/container_client_priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>

bool cfs_container_is_client(const struct cfs_container *c)
{
	return c->client != NULL;
}

uint64_t cfs_container_client_id(const struct cfs_container *c)
{
	return c->client ? c->client->id : 0;
}

void cfs_client_free(struct cfs_container *c)
{
	struct client_mode *m = c->client;

	if (!m)
		return;
	cfs_client_shelf_done(c);
	cfs_buf_donep(&m->records);
	cfs_vec_done(&m->spoilt);
	free(m);
	c->client = NULL;
}

/* ---- views --------------------------------------------------------------- */

static bool is_listed(const struct cfs_client_view *view, uint64_t lslice)
{
	uint32_t lo = 0, hi = view->smap_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (view->smap[mid].lslice < lslice)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < view->smap_count && view->smap[lo].lslice == lslice;
}

bool cfs_client_is_same_map(const struct cfs_piece *a,
			    const struct cfs_piece *b)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (a[i].device_index != b[i].device_index ||
		    a[i].flags != b[i].flags ||
		    a[i].slice_index != b[i].slice_index ||
		    a[i].generation != b[i].generation)
			return false;
	return true;
}

/* The slice map as the view has it; sorted by logical slice. */
static int install_map(struct cfs_container *c,
		       const struct cfs_client_view *view, struct cfs_err *err)
{
	uint64_t end = cfs_metavolume_end(c->mv);

	for (uint64_t l = 0; l < end; l++) {
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (!cfs_metavolume_get(c->mv, l, pieces) || is_listed(view, l))
			continue;
		cfs_blocks_forget(c->blocks, l);
		cfs_metavolume_clear(c->mv, l);
	}
	for (uint32_t i = 0; i < view->smap_count; i++) {
		const struct cfs_smap_entry *e = &view->smap[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];
		int r;

		if (cfs_metavolume_get(c->mv, e->lslice, pieces) &&
		    cfs_client_is_same_map(pieces, e->pieces))
			continue;
		cfs_blocks_forget(c->blocks, e->lslice);
		r = cfs_metavolume_set(c->mv, e->lslice, e->pieces, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_view(const struct cfs_container *c,
		      const struct cfs_client_view *view, struct cfs_err *err)
{
	if (view->container_id != c->id ||
	    memcmp(view->uuid, c->uuid, sizeof(c->uuid)) != 0)
		return cfs_err_set(err, -EPROTO,
				   "the view is another container's");
	if (view->stamp < c->stamp || view->stamp >= view->stamp_end ||
	    view->stamp_end > CFS_STAMP_MAX)
		return cfs_err_set(err, -EPROTO,
				   "the view's stamps make no sense");
	return 0;
}

/* Trees from the view's roots; nothing is dirty any more. */
int cfs_client_install_view(struct cfs_container *c,
			    const struct cfs_client_view *view,
			    struct cfs_err *err)
{
	static const unsigned int ids[CFS_CLIENT_TREES] = {
		CFS_TREE_TABLE,
		CFS_TREE_LIVE,
		CFS_TREE_HISTORY,
	};
	struct client_mode *m = c->client;
	int r = check_view(c, view, err);

	if (r == 0 && view->has_map)
		r = install_map(c, view, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++) {
		cfs_tree_close(c->trees[i]);
		c->trees[i] = NULL;
	}
	memset(c->root.trees, 0, sizeof(c->root.trees));
	for (unsigned int i = 0; i < CFS_CLIENT_TREES; i++)
		c->root.trees[ids[i] - 1] = view->trees[i];
	c->epoch = view->epoch;
	cfs_blocks_set_epoch(c->blocks, view->epoch);
	c->stamp = view->stamp;
	m->stamp_end = view->stamp_end;
	m->root_seq = view->root_seq;
	m->map_change = view->map_change;
	m->total_blocks = view->total_blocks;
	m->used_blocks = view->used_blocks;
	m->left_blocks = view->left_blocks;
	m->view_number++;
	r = cfs_container_open_trees(c, err);
	if (r == 0 && c->hooks && c->hooks->opened)
		r = c->hooks->opened(c->hooks_ctx, c, err);
	return r;
}

/* ---- opening ------------------------------------------------------------- */

static void container_dropp(struct cfs_container **c)
{
	cfs_container_drop(*c);
}

static int open_log(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_client_rec *rec = &c->client->rec;
	struct cfs_root *root = &c->root;

	root->log_id = rec->log_id;
	root->log_seq = rec->log.seq;
	root->log_chain = rec->log.chain;
	root->log_extent = rec->log.extent;
	root->log_block = rec->log.block;
	root->log_extent_count = rec->extent_count;
	memcpy(root->log_extents, rec->extents,
	       rec->extent_count * sizeof(*rec->extents));
	return cfs_log_new(c->mv, c->epoch, root, &c->log, err);
}

int cfs_container_open_client(const struct cfs_container_config *config,
			      const struct cfs_client_config *client,
			      const struct cfs_client_view *view,
			      struct cfs_container **ret, struct cfs_err *err)
{
	CFS_CLEANUP(container_dropp) struct cfs_container *c = NULL;
	struct cfs_container_config own = *config;
	int r;

	/* Nothing but data is placed by a client. */
	own.copies = 1;
	own.source = NULL;
	memset(own.root_vaddr, 0, sizeof(own.root_vaddr));
	r = cfs_container_object_new(&own, &c, err);
	if (r < 0)
		return r;
	c->client = calloc(1, sizeof(*c->client));
	if (!c->client)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	c->client->id = client->client_id;
	c->client->rec = client->rec;
	c->client->source = client->source;
	c->client->source_ctx = client->source_ctx;
	c->client->is_checked = client->is_checked;
	c->client->fold_seq = client->rec.fold_seq;
	r = cfs_client_install_view(c, view, err);
	if (client->client_id == 0)
		c->is_readonly = true;
	else if (r == 0)
		r = open_log(c, err);
	if (r < 0)
		return r;
	*ret = CFS_STEAL(c);
	return 0;
}

/* ---- sync ---------------------------------------------------------------- */

int cfs_client_may_ack(struct cfs_container *c, struct cfs_err *err)
{
	const struct client_mode *m = c->client;
	bool is_dead = false;
	int r = 0;

	if (m->source->holds && !m->source->holds(m->source_ctx))
		r = cfs_err_set(err, -ESTALE, "the lease is lost");
	if (r == 0 && m->is_checked)
		r = cfs_grave_is_set(c, m->rec.grave_vaddr, m->rec.log_id, 0,
				     &is_dead, err);
	if (r == 0 && is_dead)
		r = cfs_err_set(err, -ESTALE,
				"the lease is lost: the owner "
				"has closed our log");
	if (r < 0)
		cfs_container_poison(c, err);
	return r;
}

int cfs_client_synced(struct cfs_container *c, size_t bytes, uint32_t count,
		      struct cfs_err *err)
{
	struct client_mode *m = c->client;

	if (cfs_buf_append(&m->records, c->pending.data, bytes) < 0) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		cfs_container_poison(c, err);
		return -ENOMEM;
	}
	m->record_count += count;
	return 0;
}

/* ---- what is asked of it ------------------------------------------------- */

/* -EROFS, or what closed it. */
static int refuse(const struct cfs_container *c, struct cfs_err *err)
{
	return cfs_err_set(err, -EROFS, "%s",
			   c->why_readonly.code ? c->why_readonly.msg
						: "opened to read only");
}

static int fold_with(struct cfs_container *c, bool forces, bool idle, bool all,
		     struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&c->lock);
	assert(c->client && !c->in_op);
	if (c->is_readonly) {
		r = refuse(c, err);
	} else {
		c->client->returns_idle = idle;
		c->forces_commit |= forces;
		c->is_sealing = all;
		r = cfs_client_fold_locked(c, err);
		c->is_sealing = false;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cfs_container_fold(struct cfs_container *c, struct cfs_err *err)
{
	return fold_with(c, false, false, false, err);
}

int cfs_container_hold(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&c->lock);
	assert(c->client && !c->in_op);
	if (c->is_readonly) {
		r = refuse(c, err);
	} else {
		c->client->will_hold = true;
		c->forces_commit = true;
		r = cfs_client_fold_locked(c, err);
		c->client->will_hold = false;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cfs_container_give_back(struct cfs_container *c, bool all,
			    struct cfs_err *err)
{
	return fold_with(c, true, true, all, err);
}

/* A view; nothing of ours is left to fold. */
static int get_view(struct cfs_container *c, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = {
		.smap = NULL,
	};
	struct client_mode *m = c->client;
	struct cfs_err why = CFS_ERR_INIT;
	int r = m->source->view(m->source_ctx, m->map_change, &view, &why);

	if (r == 0)
		r = cfs_client_install_view(c, &view, &why);
	if (r == 0) {
		m->is_held = false;
		return 0;
	}
	/* A reader may ask again. */
	cfs_container_poison(c, &why);
	if (err)
		*err = why;
	return r;
}

int cfs_client_release(struct cfs_container *c, struct cfs_err *err)
{
	return c->client->is_held ? get_view(c, err) : 0;
}

int cfs_container_refresh(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&c->lock);
	assert(c->client && !c->in_op);
	if (c->why_readonly.code)
		r = refuse(c, err);
	else if (!c->is_readonly && cfs_client_has_changes(c))
		r = cfs_client_fold_locked(c, err);
	else
		r = get_view(c, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

void cfs_container_client_counts(struct cfs_container *c,
				 struct cfs_client_counts *ret)
{
	const struct client_mode *m = c->client;

	pthread_mutex_lock(&c->lock);
	*ret = (struct cfs_client_counts){
		.loan_count = HASH_COUNT(c->groups),
		.allowed_blocks = m->allowed_blocks,
		.unfolded_bytes = m->records.bytes + c->pending.bytes,
		.folds = m->folds,
		.root_seq = m->root_seq,
		.stamp = c->stamp,
		.stamp_end = m->stamp_end,
	};
	pthread_mutex_unlock(&c->lock);
}

uint64_t cfs_container_client_folds(const struct cfs_container *c)
{
	return __atomic_load_n(&c->client->begun, __ATOMIC_SEQ_CST);
}
