/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients of the pool of heal_fixture.h, in the same process: each has its own
 * container in client mode, and reaches the owner by calls.  What goes over the
 * seam is packed and unpacked on the way.  Include after <cmocka.h>.
 */
#pragma once

#include "heal_fixture.h"

#include "base/cleanup.h"
#include "tree/container_client.h"
#include "tree/lend.h"
#include "volume/client.h"

struct client {
	struct cfs_container *owner;
	uint64_t id;
	struct cfs_client_rec rec;
	struct cfs_member *m;
	struct cfs_container *c; /* of it */
	/* What goes wrong. */
	int fold_fails;    /* before the owner hears of it */
	bool loses_answer; /* of the next fold; it asks again */
	bool has_lost;
	const struct cfs_fold_rules *rules;
	void (*forge)(struct client *cl, struct cfs_fold *fold,
		      uint8_t *records);
	uint64_t forge_arg;
	bool has_expired;   /* its period is over */
	uint64_t first_ino; /* that it was lent */
	bool lend_fails;    /* there is no space */
	unsigned int lends, folds, views;
	unsigned int placed;        /* folds that lay in lent blocks */
	unsigned int lent_by_folds; /* groups */
};

static inline int client_lend(void *ctx, uint32_t count,
			      struct cfs_loans *loans, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans got = { .count = 0 };
	struct client *cl = ctx;
	int r = cl->lend_fails ? -ENOSPC
			       : cfs_container_lend(cl->owner, cl->id, count,
						    &got, err);

	cl->lends++;
	if (r < 0)
		return r;
	assert_int_equal(cfs_loans_pack(&got, &buf), 0);
	return cfs_loans_unpack(buf.data, buf.bytes, loans, err);
}

static inline int client_lend_inos(void *ctx, uint32_t count, uint64_t *first,
				   uint64_t *end, struct cfs_err *err)
{
	struct client *cl = ctx;
	int r = cfs_container_lend_inos(cl->owner, cl->id, count, first, end,
					err);

	if (r == 0 && !cl->first_ino)
		cl->first_ino = *first;
	return r;
}

/* Over bytes and back. */
static inline int client_pass_view(struct cfs_client_view *view,
				   struct cfs_client_view *ret,
				   struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;

	assert_int_equal(cfs_client_view_pack(view, &buf), 0);
	cfs_client_view_donep(view);
	return cfs_client_view_unpack(buf.data, buf.bytes, ret, err);
}

static inline int client_fold(void *ctx, const struct cfs_fold *fold,
			      struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_fold_donep) struct cfs_fold got = { .owned = NULL };
	struct cfs_client_view view = { .smap = NULL };
	struct client *cl = ctx;
	int r;

	cl->folds++;
	if (cl->fold_fails)
		return cfs_err_set(err, cl->fold_fails, "the owner is away");
	assert_int_equal(cfs_fold_pack(fold, &buf), 0);
	r = cfs_fold_unpack(buf.data, buf.bytes, &got, err);
	if (r < 0)
		return r;
	cl->placed += got.place_count > 0;
	if (cl->forge)
		cl->forge(cl, &got, buf.data + (got.records - buf.data));
	r = cfs_container_take_fold(cl->owner, cl->id, &got, cl->rules, &view,
				    err);
	if (r == 0 && cl->loses_answer) {
		cl->loses_answer = false;
		cl->has_lost = true;
		cfs_client_view_donep(&view);
		r = cfs_container_take_fold(cl->owner, cl->id, &got, cl->rules,
					    &view, err);
	}
	cl->lent_by_folds += (unsigned int)view.loans.count;
	return r < 0 ? r : client_pass_view(&view, ret, err);
}

static inline int client_view(void *ctx, uint64_t map_change,
			      struct cfs_client_view *ret, struct cfs_err *err)
{
	struct cfs_client_view view = { .smap = NULL };
	struct client *cl = ctx;
	int r = cfs_container_view(cl->owner, cl->id, map_change, &view, err);

	cl->views++;
	return r < 0 ? r : client_pass_view(&view, ret, err);
}

static inline bool client_holds(void *ctx)
{
	const struct client *cl = ctx;

	return !cl->has_expired;
}

static const struct cfs_client_source client_source = {
	.lend = client_lend,
	.lend_inos = client_lend_inos,
	.fold = client_fold,
	.view = client_view,
	.holds = client_holds,
};

/* On the devices of @set, perhaps not the owner's handles. */
static inline void client_open_on(struct client *cl, struct cfs_devset *set,
				  struct cfs_member *m, bool is_checked)
{
	struct cfs_client_config client = {
		.client_id = cl->id,
		.rec = cl->rec,
		.source = &client_source,
		.source_ctx = cl,
		.is_checked = is_checked,
	};
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };

	cl->owner = m->container;
	HEAL_OK(client_view(cl, 0, &view, &err_));
	HEAL_OK(cfs_client_member_open(set, &client, &view, 4u << 20, &cl->m,
				       &err_));
	cl->c = cl->m->container;
}

static inline void client_make(struct client *cl, struct cfs_member *m,
			       uint32_t log_blocks)
{
	const struct cfs_client_identity who = { .host = "test", .pid = 7 };

	memset(cl, 0, sizeof(*cl));
	cl->owner = m->container;
	HEAL_OK(cfs_container_client_make(m->container, &who, log_blocks,
					  &cl->id, &cl->rec, &err_));
}

static inline void client_new(struct client *cl, struct heal_pool *h,
			      struct cfs_member *m)
{
	client_make(cl, m, 0);
	client_open_on(cl, h->set, m, true);
}

/* Its process ends: nothing more is written. */
static inline void client_kill(struct client *cl)
{
	cfs_client_member_drop(cl->m);
	cl->c = NULL;
	cl->m = NULL;
}

/* Fold, give all back, goodbye. */
static inline void client_close(struct client *cl)
{
	HEAL_OK(cfs_client_member_close(cl->m, &err_));
	cl->c = NULL;
	cl->m = NULL;
	HEAL_OK(cfs_container_client_gone(cl->owner, cl->id, NULL, &err_));
}

/* A write that is not durable yet; 0 or negative errno. */
static inline int client_write(struct cfs_container *c, uint64_t ino,
			       uint64_t offset, const void *buf, size_t bytes,
			       struct cfs_err *err)
{
	int r, tries = 0;

	do {
		r = cfs_op_begin(c, CFS_OP_NORMAL, err);
		if (r == 0) {
			r = cfs_data_write(c, 1, ino, offset, buf, bytes, err);
			if (r < 0)
				cfs_op_abort(c);
			else
				cfs_op_end(c);
		}
	} while (r == -EAGAIN && tries++ < 8 &&
		 cfs_container_client_again(c, r, err) == 1);
	return r;
}

static inline int client_punch(struct cfs_container *c, uint64_t ino,
			       uint64_t offset, uint64_t bytes,
			       struct cfs_err *err)
{
	int r, tries = 0;

	do {
		r = cfs_op_begin(c, CFS_OP_ZEROING, err);
		if (r == 0) {
			r = cfs_data_punch(c, 1, ino, offset, bytes, err);
			if (r < 0)
				cfs_op_abort(c);
			else
				cfs_op_end(c);
		}
	} while (r == -EAGAIN && tries++ < 8 &&
		 cfs_container_client_again(c, r, err) == 1);
	return r;
}

static inline int client_read(struct cfs_container *c, uint64_t stamp,
			      uint64_t ino, uint64_t offset, void *buf,
			      size_t bytes, struct cfs_err *err)
{
	const struct cfs_view view = { c, 1, stamp };
	int r, tries = 0;

	do {
		cfs_container_lock(c);
		r = cfs_data_read(&view, ino, offset, buf, bytes, NULL, err);
		cfs_container_unlock(c);
	} while (r == -EAGAIN && tries++ < 8 &&
		 cfs_container_client_again(c, r, err) == 1);
	return r;
}
