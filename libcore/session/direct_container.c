/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers of direct access: what they ask of the owner goes over the
 * connection.
 *
 * Locks: a container's own, then the link, then the leaser's, then d->mutex.
 */
#include "session/direct_tree.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "pool/metavolume.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_TRIES 4
#define PIECE_BYTES (CFS_DIRECT_DATA_MAX / 4096u * 4096u)

int direct_is_lost(struct direct_container *dc, struct cfs_err *err)
{
	if (!__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
		return 0;
	pthread_mutex_lock(&dc->d->mutex);
	direct_say_lost(&dc->why_lost, err);
	pthread_mutex_unlock(&dc->d->mutex);
	return -ESTALE;
}

/* ---- what the container asks of its owner ---------------------------------
 */

int direct_ask(struct direct_container *dc, uint16_t type, uint64_t value,
	       struct cfs_buf *reply, struct cfs_err *err)
{
	const struct cfs_direct_request q = {
		.container = dc->id,
		.client = dc->client,
		.value = value,
	};
	int r = direct_is_lost(dc, err);

	return r < 0 ? r : direct_call(dc->d, type, &q, reply, err);
}

/* It lies where nothing was when the devices were opened. */
static bool is_beyond(const struct cfs_devset *set,
		      const struct cfs_piece pieces[CFS_PIECES_MAX])
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];

		if (p->flags & CFS_PIECE_USED &&
		    (p->device_index >= cfs_devset_count(set) ||
		     p->slice_index >=
			     cfs_devset_slice_count(set, p->device_index)))
			return true;
	}
	return false;
}

/* Slices that loans or a view (may be NULL) name may lie on new devices. */
static int follow(struct direct_container *dc, const struct cfs_loans *loans,
		  const struct cfs_client_view *view, struct cfs_err *err)
{
	bool is_needed = false;

	for (size_t i = 0; i < loans->count && !is_needed; i++)
		is_needed = is_beyond(dc->d->set, loans->items[i].pieces);
	for (uint32_t i = 0; view && i < view->smap_count && !is_needed; i++)
		is_needed = is_beyond(dc->d->set, view->smap[i].pieces);
	return is_needed ? direct_follow_devices(dc->d, err) : 0;
}

static int source_lend(void *ctx, uint32_t count, struct cfs_loans *loans,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct direct_container *dc = ctx;
	int r = direct_ask(dc, CFS_DIRECT_LEND, count, &reply, err);

	__atomic_store_n(&dc->is_idle, false, __ATOMIC_RELAXED);
	__atomic_add_fetch(&dc->d->stats.lends, 1, __ATOMIC_RELAXED);
	if (r == 0)
		r = cfs_loans_unpack(reply.data, reply.bytes, loans, err);
	return r < 0 ? r : follow(dc, loans, NULL, err);
}

static int source_lend_inos(void *ctx, uint32_t count, uint64_t *ret_first,
			    uint64_t *ret_end, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	le64 disk[2];
	int r = direct_ask(ctx, CFS_DIRECT_LEND_INOS, count, &reply, err);

	if (r < 0)
		return r;
	if (reply.bytes != sizeof(disk))
		return cfs_err_set(err, -EPROTO,
				   "an answer that makes no "
				   "sense");
	memcpy(disk, reply.data, sizeof(disk));
	*ret_first = le64_get(disk[0]);
	*ret_end = le64_get(disk[1]);
	return 0;
}

static int take_view(struct direct_container *dc, const struct cfs_buf *reply,
		     struct cfs_client_view *ret, struct cfs_err *err)
{
	int r;

	__atomic_store_n(&dc->viewed_ns,
			 cfs_clock_elapsed_ns(cfs_clock_system()),
			 __ATOMIC_RELAXED);
	r = cfs_client_view_unpack(reply->data, reply->bytes, ret, err);
	if (r < 0)
		return r;
	r = follow(dc, &ret->loans, ret, err);
	if (r < 0)
		cfs_client_view_donep(ret);
	return r;
}

static int source_view(void *ctx, uint64_t map_change,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct direct_container *dc = ctx;
	int r = direct_ask(dc, CFS_DIRECT_VIEW, map_change, &reply, err);

	__atomic_add_fetch(&dc->d->stats.views, 1, __ATOMIC_RELAXED);
	return r < 0 ? r : take_view(dc, &reply, ret, err);
}

static int stage(struct direct_container *dc, uint64_t seq,
		 const struct cfs_buf *whole, struct cfs_err *err)
{
	int r = 0;

	for (size_t at = 0; at < whole->bytes && r == 0; at += PIECE_BYTES) {
		const struct cfs_direct_request q = {
			.container = dc->id,
			.client = dc->client,
			.value = seq,
			.total = whole->bytes,
			.offset = at,
			.data = whole->data + at,
			.data_bytes = CFS_MIN(whole->bytes - at,
					      (size_t)PIECE_BYTES),
		};

		r = direct_call(dc->d, CFS_DIRECT_STAGE, &q, NULL, err);
	}
	return r;
}

/* A manager that came in between knows nothing of what was staged. */
static int send_fold(struct direct_container *dc, uint64_t seq,
		     const struct cfs_buf *whole, struct cfs_buf *reply,
		     struct cfs_err *err)
{
	struct cfs_direct_request q = {
		.container = dc->id,
		.client = dc->client,
		.value = seq,
	};
	int r, tries = 0;

	if (whole->bytes <= PIECE_BYTES) {
		q.data = whole->data;
		q.data_bytes = whole->bytes;
		return direct_call(dc->d, CFS_DIRECT_FOLD, &q, reply, err);
	}
	do {
		r = stage(dc, seq, whole, err);
		if (r == 0)
			r = direct_call(dc->d, CFS_DIRECT_FOLD, &q, reply, err);
	} while (r == -ENODATA && ++tries < STAGE_TRIES);
	return r;
}

static int source_fold(void *ctx, const struct cfs_fold *fold,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct direct_container *dc = ctx;
	int r = direct_is_lost(dc, err);

	if (r == 0 && cfs_fold_pack(fold, &whole) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = send_fold(dc, fold->seq, &whole, &reply, err);
	if (fold->record_count)
		__atomic_store_n(&dc->is_idle, false, __ATOMIC_RELAXED);
	__atomic_add_fetch(&dc->d->stats.folds, 1, __ATOMIC_RELAXED);
	return r < 0 ? r : take_view(dc, &reply, ret, err);
}

static bool source_holds(void *ctx)
{
	struct direct_container *dc = ctx;
	struct cfs_direct *d = dc->d;
	struct cfs_lease_client *client;
	bool is_alive;

	if (__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
		return false;
	client = cfs_leaser_lock(d->leaser);
	is_alive = cfs_lease_client_is_alive(client);
	cfs_leaser_unlock(d->leaser);
	return is_alive && cfs_direct_locks_hold(d->locks, dc->id) &&
	       direct_trees_hold(dc);
}

static const struct cfs_client_source source = {
	.lend = source_lend,
	.lend_inos = source_lend_inos,
	.fold = source_fold,
	.view = source_view,
	.holds = source_holds,
};

/* ---- opening and closing ------------------------------------------------- */

static int open_container(struct direct_container *dc,
			  const struct cfs_direct_opened *o,
			  struct cfs_err *err)
{
	const struct cfs_client_config client = {
		.client_id = o->client,
		.rec = o->rec,
		.source = &source,
		.source_ctx = dc,
		.is_checked = o->is_checked,
	};
	struct cfs_container_config config = {
		.cache_bytes = UINT64_C(64) << 20,
		.hooks = &cfs_vols_hooks,
	};
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	int r = source_view(dc, 0, &view, err);

	if (r == 0)
		r = cfs_vols_new(&dc->vols, err);
	if (r == 0)
		r = cfs_metavolume_new(dc->d->set, o->container, &config.mv,
				       err);
	if (r < 0)
		return r;
	memcpy(config.uuid, o->uuid, sizeof(config.uuid));
	config.hooks_ctx = dc->vols;
	r = cfs_container_open_client(&config, &client, &view, &dc->c, err);
	if (r < 0)
		return r;
	dc->m = (struct cfs_member){
		.id = o->container,
		.container = dc->c,
		.vols = dc->vols,
	};
	memcpy(dc->m.rec.uuid, o->uuid, sizeof(o->uuid));
	return 0;
}

static void container_free(struct direct_container *dc)
{
	if (dc->c)
		cfs_container_drop(dc->c);
	if (dc->vols)
		cfs_vols_free(dc->vols);
	pthread_mutex_destroy(&dc->view_lock);
	free(dc);
}

static struct direct_container *find(struct cfs_direct *d, uint64_t id,
				     uint64_t client)
{
	struct direct_container *dc;

	for (dc = d->containers; dc; dc = dc->next)
		if (dc->id == id && (!client || dc->client == client))
			break;
	return dc;
}

/* Openings are one at a time (direct.c), so nobody makes the same one. */
int direct_container_get(struct cfs_direct *d,
			 const struct cfs_direct_opened *o,
			 struct direct_container **ret, struct cfs_err *err)
{
	struct direct_container *dc;
	int r;

	pthread_mutex_lock(&d->mutex);
	dc = find(d, o->container, o->client);
	if (dc)
		dc->users++;
	pthread_mutex_unlock(&d->mutex);
	*ret = dc;
	if (dc)
		return direct_is_lost(dc, err);
	__atomic_store_n(&d->container, o->container, __ATOMIC_RELAXED);
	dc = calloc(1, sizeof(*dc));
	if (!dc)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&dc->view_lock, NULL);
	dc->d = d;
	dc->id = o->container;
	dc->client = o->client;
	dc->users = 1;
	r = open_container(dc, o, err);
	if (r < 0) {
		container_free(dc);
		return r;
	}
	pthread_mutex_lock(&d->mutex);
	dc->next = d->containers;
	d->containers = dc;
	if (d->early_container == dc->id) {
		dc->hold_serial = d->early_serial;
		d->early_container = 0;
		pthread_cond_broadcast(&d->changed);
	}
	pthread_mutex_unlock(&d->mutex);
	*ret = dc;
	return 0;
}

void direct_container_put(struct direct_container *dc)
{
	struct cfs_direct *d = dc->d;

	pthread_mutex_lock(&d->mutex);
	assert(dc->users > 0);
	dc->users--;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

/*
 * Its leases go first, and what was written under them is folded by that; then
 * all that it has on loan.  Or it is dropped, if it is lost.
 */
static void close_container(struct direct_container *dc)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	cfs_direct_locks_drop(dc->d->locks, dc->id, 0);
	if (__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&dc->has_failed, __ATOMIC_SEQ_CST))
		cfs_container_drop(dc->c);
	else
		r = cfs_container_close(dc->c, &err);
	dc->c = NULL;
	if (r < 0)
		direct_failed(dc->d, &err);
	/* What it synced and could not fold is taken from its log. */
	if (!__atomic_load_n(&dc->d->is_lost, __ATOMIC_SEQ_CST)) {
		const struct cfs_direct_request q = {
			.container = dc->id,
			.client = dc->client,
		};

		(void)direct_call(dc->d, CFS_DIRECT_CLOSE, &q, NULL, NULL);
	}
}

void direct_containers_close(struct cfs_direct *d)
{
	struct direct_container *dc;

	while ((dc = d->containers)) {
		close_container(dc);
		pthread_mutex_lock(&d->mutex);
		d->containers = dc->next;
		pthread_mutex_unlock(&d->mutex);
		container_free(dc);
	}
}

/* ---- views and folds ----------------------------------------------------- */

int direct_look(struct direct_container *dc, uint64_t grant,
		struct cfs_err *err)
{
	uint64_t last;
	int r = 0;

	pthread_mutex_lock(&dc->view_lock);
	if (dc->seen_grant < grant) {
		last = cfs_direct_locks_last(dc->d->locks);
		r = cfs_container_refresh(dc->c, err);
		if (r == 0)
			dc->seen_grant = last;
	}
	pthread_mutex_unlock(&dc->view_lock);
	return r;
}

/* One with a user more, or NULL. */
static struct direct_container *use(struct cfs_direct *d, uint64_t id)
{
	struct direct_container *dc;

	pthread_mutex_lock(&d->mutex);
	for (dc = d->containers; dc; dc = dc->next)
		if (dc->id == id &&
		    !__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
			break;
	if (dc)
		dc->users++;
	pthread_mutex_unlock(&d->mutex);
	return dc;
}

void direct_note_failure(struct direct_container *dc, const struct cfs_err *why)
{
	__atomic_store_n(&dc->has_failed, true, __ATOMIC_SEQ_CST);
	direct_failed(dc->d, why);
}

/*
 * Lost with another lease, and not closed: what was synced is in its log, and
 * nobody has been told to read that.
 */
static bool is_left_open(struct cfs_direct *d, uint64_t id)
{
	struct direct_container *dc;

	pthread_mutex_lock(&d->mutex);
	for (dc = d->containers; dc; dc = dc->next)
		if (dc->id == id && !dc->is_closed &&
		    __atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
			break;
	pthread_mutex_unlock(&d->mutex);
	return dc;
}

static void note_closed(struct direct_container *dc)
{
	pthread_mutex_lock(&dc->d->mutex);
	dc->is_closed = true;
	pthread_mutex_unlock(&dc->d->mutex);
}

int direct_give_up(struct direct_container *dc, const struct cfs_err *why)
{
	const struct cfs_direct_request q = {
		.container = dc->id,
		.client = dc->client,
	};
	struct cfs_err lost = *why;
	int r = why->code;

	if (!__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
		r = direct_call(dc->d, CFS_DIRECT_CLOSE, &q, NULL, NULL);
	if (r == 0)
		note_closed(dc);
	cfs_err_wrap(&lost, why->code,
		     "what was written could not be given "
		     "to the manager");
	direct_lose_one(dc, lost.msg);
	return r;
}

/*
 * A lease is wanted back: what was written is the owner's with this.  If it is
 * refused, or there is none any more, the owner reads our log when the lease
 * has ended, and we say so at once, to be sealed now.
 */
int direct_settle(void *arg, uint64_t container)
{
	struct cfs_direct *d = arg;
	struct direct_container *dc;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (is_left_open(d, container))
		return -ESTALE;
	dc = use(d, container);
	if (!dc)
		return 0;
	r = cfs_container_fold(dc->c, &err);
	if (r < 0) {
		direct_note_failure(dc, &err);
		r = direct_give_up(dc, &err);
	}
	direct_container_put(dc);
	return r;
}
