/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many slices, one after the other: off a device, or each to a second one.
 * Container 0 goes first: what says where all else is is safe then.
 */
#include "volume/pool_move_priv.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "base/vec.h"
#include "tree/lend.h"
#include "tree/tree.h"

#include <inttypes.h>
#include <stdlib.h>

/* A slice of a container, and where it stands on the device that it leaves. */
struct job {
	uint64_t container_id, lslice;
	uint64_t slice;
};
struct jobs {
	CFS_VEC(struct job) list;
};

static void jobs_done(struct jobs *jobs)
{
	cfs_vec_done(&jobs->list);
}

static int add_job(struct jobs *jobs, uint64_t container_id, uint64_t lslice,
		   uint64_t slice, struct cfs_err *err)
{
	const struct job job = { container_id, lslice, slice };

	return cfs_vec_push(&jobs->list, job) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/* In the order of the device, but container 0 first. */
static int by_place(const void *a, const void *b)
{
	const struct job *x = a, *y = b;

	if ((x->container_id == 0) != (y->container_id == 0))
		return x->container_id == 0 ? -1 : 1;
	if (x->slice != y->slice)
		return x->slice < y->slice ? -1 : 1;
	if (x->container_id != y->container_id)
		return x->container_id < y->container_id ? -1 : 1;
	return (x->lslice > y->lslice) - (x->lslice < y->lslice);
}

struct on_device {
	struct jobs *jobs;
	uint32_t device;
};

static int find_on(void *arg, uint32_t device, uint64_t slice,
		   const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	const struct on_device *on = arg;

	if (device != on->device || rec->use != CFS_SLICE_USE_OWNED)
		return 0;
	return add_job(on->jobs, rec->container_id, rec->lslice, slice, err);
}

typedef int (*map_each_fn)(void *arg, uint64_t container_id, uint64_t lslice,
			   const struct cfs_smap_rec *rec, struct cfs_err *err);

static int each_mapped(struct cfs_pool *pool, map_each_fn each, void *arg,
		       struct cfs_err *err)
{
	const struct cfs_key from = { { cfs_table_word(CFS_TABLE_SMAP, 0), 0,
					0 } };
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SMAP) {
		struct cfs_smap_rec rec;

		r = cfs_smap_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		if (r == 0)
			r = each(arg, cur.key.w[0] & ((UINT64_C(1) << 56) - 1),
				 cur.key.w[1], &rec, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

static int find_single(void *arg, uint64_t container_id, uint64_t lslice,
		       const struct cfs_smap_rec *rec, struct cfs_err *err)
{
	return slice_used_count(rec->pieces) >= 2
		       ? 0
		       : add_job(arg, container_id, lslice, lslice, err);
}

/* ---- may it be done? ----------------------------------------------------- */

struct asking {
	struct cfs_pool *pool;
	bool is_beside;
};

static int allowed_of(void *arg, uint64_t id,
		      const struct cfs_container_rec *rec, struct cfs_err *err)
{
	const struct asking *a = arg;
	struct cfs_lent_counts lent;
	struct cfs_member *m;
	int r = cfs_pool_member_by_id(a->pool, id, &m, err);

	if (r == -EREMOTE)
		return cfs_err_set(err, -EBUSY,
				   "%s: it is served by another "
				   "process: end that first, with leasectl "
				   "revoke",
				   rec->name);
	/* Nobody writes in one that cannot be opened. */
	if (r == -EUCLEAN || r == -ENOTSUP || r == -EIO)
		return 0;
	if (r < 0 || a->is_beside)
		return r;
	cfs_container_lent_counts(m->container, &lent);
	if (lent.clients || lent.frozen_groups)
		return cfs_err_set(err, -EBUSY,
				   "%s: a client may still write "
				   "to it: wait for its end, or say with "
				   "leasectl gone that it is",
				   rec->name);
	return 0;
}

static int allowed(struct cfs_pool *pool, bool is_beside, struct cfs_err *err)
{
	struct asking a = { pool, is_beside };
	int r = cfs_pool_delegated_refuse(pool, err);

	if (r == 0 && pool->is_shared)
		r = cfs_err_set(err, -EBUSY,
				"slices of a pool that hosts "
				"share cannot be moved");
	return r < 0 ? r : cfs_pool_containers(pool, allowed_of, &a, err);
}

int cfs_pool_move_allowed(struct cfs_pool *pool, struct cfs_err *err)
{
	return allowed(pool, false, err);
}

int cfs_pool_move_allowed_beside(struct cfs_pool *pool, struct cfs_err *err)
{
	return allowed(pool, true, err);
}

/* ---- is there room? ------------------------------------------------------ */

struct demand {
	uint32_t off_device;
	uint32_t count; /* of devices */
	uint64_t all;
	uint64_t *beside; /* of them with a piece on that device */
};

static int count_demand(void *arg, uint64_t container_id, uint64_t lslice,
			const struct cfs_smap_rec *rec, struct cfs_err *err)
{
	struct demand *d = arg;
	bool is_there = false;
	unsigned int used = slice_used_count(rec->pieces);

	(void)container_id;
	(void)lslice;
	(void)err;
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		is_there |= rec->pieces[i].flags & CFS_PIECE_USED &&
			    rec->pieces[i].device_index == d->off_device;
	if (d->off_device == CFS_POOL_NO_DEVICE ? used >= 2 : !is_there)
		return 0;
	d->all++;
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &rec->pieces[i];

		if (p->flags & CFS_PIECE_USED &&
		    p->device_index != d->off_device &&
		    p->device_index < d->count)
			d->beside[p->device_index]++;
	}
	return 0;
}

static int no_room(const struct cfs_pool *pool,
		   const struct cfs_pool_room *room, struct cfs_err *err)
{
	const uint64_t bytes = cfs_devset_label(pool->set, 0)->slice_bytes;

	return cfs_err_set(err, -ENOSPC,
			   "%" PRIu64 " bytes (%" PRIu64 " %s) "
			   "must have room on other devices, and %" PRIu64
			   " bytes (%" PRIu64 ") are free there: add a device "
			   "or delete something",
			   room->need_slices * bytes, room->need_slices,
			   cfs_plural(room->need_slices, "slice", "slices"),
			   room->free_slices * bytes, room->free_slices);
}

/*
 * Each piece goes to any device but those that have another piece of the same
 * slice.  That works out if all fit in all, and those beside each device fit in
 * the others.
 */
int cfs_pool_move_room(struct cfs_pool *pool, uint32_t device,
		       uint64_t extra_slices, struct cfs_pool_room *ret,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	uint64_t *beside = calloc(pool->device_count, sizeof(*beside));
	struct demand d = {
		.off_device = device,
		.count = pool->device_count,
		.beside = beside,
	};
	int r = beside ? each_mapped(pool, count_demand, &d, err)
		       : cfs_err_set(err, -ENOMEM, "out of memory");
	uint64_t all = extra_slices;

	if (r < 0)
		return r;
	cfs_container_lock(pool->c0);
	for (uint32_t i = 0; i < pool->device_count; i++)
		if (i != device)
			all += cfs_pool_device_free(pool, i);
	*ret = (struct cfs_pool_room){ .need_slices = d.all,
				       .free_slices = all };
	if (d.all > all)
		r = no_room(pool, ret, err);
	for (uint32_t i = 0; r == 0 && i < pool->device_count; i++) {
		const uint64_t rest =
			i == device ? all : all - cfs_pool_device_free(pool, i);

		if (beside[i] <= rest)
			continue;
		*ret = (struct cfs_pool_room){ .need_slices = beside[i],
					       .free_slices = rest };
		r = no_room(pool, ret, err);
	}
	cfs_container_unlock(pool->c0);
	return r;
}

/* ---- doing it ------------------------------------------------------------ */

/* It went back to the pool since we looked; or the tables are damaged. */
static int not_mapped(struct cfs_pool *pool, const struct job *job,
		      const struct slice_move *mv, struct cfs_err *err)
{
	const struct cfs_key key = cfs_pool_slice_key(mv->off_device,
						      job->slice);
	struct cfs_slice_rec_disk disk = { 0 };
	struct cfs_slice_rec rec;
	size_t bytes = 0;
	int r = 0;

	if (mv->off_device == CFS_POOL_NO_DEVICE)
		return -EAGAIN;
	r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes, err);
	if (r == 0)
		r = cfs_slice_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					 &rec, err);
	if (r == -ENOENT || (r == 0 && (rec.use != CFS_SLICE_USE_OWNED ||
					rec.container_id != job->container_id ||
					rec.lslice != job->lslice)))
		return -EAGAIN;
	return r < 0 ? r
		     : cfs_err_set(err, -EUCLEAN,
				   "slice %" PRIu64 " of "
				   "container %" PRIu64 " is lent, and not "
				   "mapped: cfsck-heal check says more",
				   job->lslice, job->container_id);
}

static bool is_on(const struct slice_move *mv, uint32_t device)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (mv->old[i].flags & CFS_PIECE_USED &&
		    mv->old[i].device_index == device)
			return true;
	return false;
}

/* The container's UUID, and its map as it is now.  -EAGAIN: nothing is to be
 * done. */
static int load(struct cfs_pool *pool, const struct job *job,
		struct slice_move *mv, struct cfs_err *err)
{
	const struct cfs_key map = cfs_pool_smap_key(job->container_id,
						     job->lslice);
	const struct cfs_key key = {
		{ cfs_table_word(CFS_TABLE_CONTAINER, job->container_id), 0, 0 }
	};
	struct cfs_container_rec_disk disk = { 0 };
	struct cfs_smap_rec_disk smap_disk = { 0 };
	struct cfs_container_rec rec;
	struct cfs_smap_rec smap;
	size_t bytes = 0;
	int r = cfs_container_get(pool->c0, &map, &smap_disk, sizeof(smap_disk),
				  &bytes, err);

	if (r == -ENOENT)
		return not_mapped(pool, job, mv, err);
	if (r == 0)
		r = cfs_smap_rec_unpack(&smap_disk,
					CFS_MIN(bytes, sizeof(smap_disk)),
					&smap, err);
	if (r < 0)
		return r;
	memcpy(mv->old, smap.pieces, sizeof(mv->old));
	if (mv->off_device == CFS_POOL_NO_DEVICE &&
	    slice_used_count(mv->old) >= 2)
		return -EAGAIN;
	if (mv->off_device != CFS_POOL_NO_DEVICE && !is_on(mv, mv->off_device))
		return not_mapped(pool, job, mv, err);
	if (job->container_id == 0) {
		memcpy(mv->uuid, cfs_devset_label(pool->set, 0)->pool_uuid, 16);
		return 0;
	}
	r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes, err);
	if (r == 0)
		r = cfs_container_rec_unpack(
			&disk, CFS_MIN(bytes, sizeof(disk)), &rec, err);
	if (r == 0)
		memcpy(mv->uuid, rec.uuid, 16);
	return r;
}

struct work {
	struct cfs_pool *pool;
	const struct cfs_pool_move_options *opt;
	struct cfs_pool_move_result *ret;
	uint32_t device;
	uint64_t slice_bytes;
	uint64_t busy; /* jobs that others stand in the way of */
	struct cfs_err why;
};

static int do_job(struct work *w, const struct job *job, struct cfs_err *err)
{
	struct slice_move mv = {
		.container_id = job->container_id,
		.lslice = job->lslice,
		.off_device = w->device,
	};
	int r;

	cfs_container_lock(w->pool->c0);
	r = load(w->pool, job, &mv, err);
	if (r == 0 && w->device != CFS_POOL_NO_DEVICE)
		r = cfs_pool_device_rec_locked(w->pool, w->device, &mv.device,
					       err);
	if (r == 0 && w->device != CFS_POOL_NO_DEVICE &&
	    mv.device.state != CFS_DEVICE_EVACUATING)
		r = cfs_err_set(err, -ECANCELED,
				"it is not being evacuated any more");
	cfs_container_unlock(w->pool->c0);
	if (r < 0)
		return r;
	mv.want = slice_used_count(mv.old);
	if (w->device == CFS_POOL_NO_DEVICE) {
		mv.want = CFS_MAX(mv.want, 2);
	} else if (job->container_id != 0) {
		mv.has_cursor = true;
		mv.device.cursor = job->slice + 1;
	}
	r = cfs_pool_slice_move(w->pool, &mv, w->opt, err);
	w->ret->damaged_blocks += mv.damaged_blocks;
	if (r < 0)
		return r;
	w->ret->moved_slices += mv.written;
	w->ret->moved_bytes += mv.written * w->slice_bytes;
	return 0;
}

/* One that went meanwhile is none, and one that is in use is left for later. */
static int do_job_alone(struct work *w, const struct job *job,
			struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	if (w->opt->enter)
		w->opt->enter(w->opt->arg);
	r = do_job(w, job, &why);
	if (w->opt->leave)
		w->opt->leave(w->opt->arg);
	if (r == -EAGAIN)
		return 0;
	if (r == -EBUSY) {
		w->busy++;
		w->why = why;
		return 0;
	}
	if (r < 0 && err)
		*err = why;
	return r;
}

static int do_jobs(struct work *w, const struct jobs *jobs, struct cfs_err *err)
{
	const size_t count = jobs->list.count;
	const struct cfs_pool_move_options *opt = w->opt;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		w->ret->left_slices = count - i;
		if (opt->progress)
			opt->progress(opt->arg, i * w->slice_bytes,
				      count * w->slice_bytes);
		if (opt->stop && opt->stop(opt->arg))
			r = cfs_err_set(err, -EINTR,
					"stopped with %zu of %zu "
					"%s moved: the same command goes on",
					i, count,
					cfs_plural(count, "slice", "slices"));
		if (r == 0)
			r = do_job_alone(w, &jobs->list.items[i], err);
		if (r < 0)
			return r;
	}
	w->ret->left_slices = w->busy;
	if (w->busy) {
		if (err)
			*err = w->why;
		return -EBUSY;
	}
	if (opt->progress)
		opt->progress(opt->arg, count * w->slice_bytes,
			      count * w->slice_bytes);
	return 0;
}

static int run(struct cfs_pool *pool, uint32_t device, const struct jobs *jobs,
	       const struct cfs_pool_move_options *opt,
	       struct cfs_pool_move_result *ret, struct cfs_err *err)
{
	struct work w = {
		.pool = pool,
		.opt = opt,
		.ret = ret,
		.device = device,
		.slice_bytes = cfs_devset_label(pool->set, 0)->slice_bytes,
	};

	if (jobs->list.count > 0)
		qsort(jobs->list.items, jobs->list.count,
		      sizeof(*jobs->list.items), by_place);
	return do_jobs(&w, jobs, err);
}

static void add_up(struct cfs_pool_move_result *sum,
		   const struct cfs_pool_move_result *more)
{
	sum->moved_slices += more->moved_slices;
	sum->moved_bytes += more->moved_bytes;
	sum->damaged_blocks += more->damaged_blocks;
	sum->left_slices = more->left_slices;
}

/* What was there when it began; 1: there was something. */
static int evacuate_once(struct cfs_pool *pool, uint32_t device,
			 const struct cfs_pool_move_options *opt,
			 struct cfs_pool_move_result *ret, struct cfs_err *err)
{
	CFS_CLEANUP(jobs_done) struct jobs jobs = { .list = CFS_VEC_INIT };
	struct cfs_pool_move_result once = { 0 };
	struct on_device on = { &jobs, device };
	int r = cfs_pool_slices(pool, find_on, &on, err);

	if (r < 0)
		return r;
	r = run(pool, device, &jobs, opt, &once, err);
	add_up(ret, &once);
	return r < 0 ? r : jobs.list.count > 0;
}

int cfs_pool_evacuate(struct cfs_pool *pool, uint32_t device,
		      const struct cfs_pool_move_options *opt,
		      struct cfs_pool_move_result *ret, struct cfs_err *err)
{
	struct cfs_device_rec rec = { .cursor = 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	do
		r = evacuate_once(pool, device, opt, ret, err);
	while (r > 0);
	if (r == 0)
		r = cfs_pool_device_rec(pool, device, &rec, err);
	if (r < 0 || rec.cursor == rec.slice_count)
		return r;
	rec.cursor = rec.slice_count;
	return cfs_pool_device_update(pool, device, &rec, err);
}

int cfs_pool_fill_mirror(struct cfs_pool *pool,
			 const struct cfs_pool_move_options *opt,
			 struct cfs_pool_move_result *ret, struct cfs_err *err)
{
	CFS_CLEANUP(jobs_done) struct jobs jobs = { .list = CFS_VEC_INIT };
	int r;

	memset(ret, 0, sizeof(*ret));
	/* What is lent meanwhile is on two from the start. */
	pool->is_mirror = true;
	r = each_mapped(pool, find_single, &jobs, err);
	return r < 0 ? r : run(pool, CFS_POOL_NO_DEVICE, &jobs, opt, ret, err);
}
