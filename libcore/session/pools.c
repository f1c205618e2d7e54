/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pool as a whole: space, devices, slices, settings. */
#include "session/devices.h"
#include "session/judge.h"
#include "session/local.h"
#include "session/serve_lease.h"
#include "session/session_priv.h"

#include "base/bits.h"
#include "base/units.h"
#include "pool/metavolume.h"
#include "tree/hooks.h"
#include "tree/space.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cfs_pool_state_name(enum cfs_pool_state state)
{
	static const char *const names[] = {
		[CFS_POOL_OK] = "ok",
		[CFS_POOL_NEARLY_FULL] = "nearly_full",
		[CFS_POOL_DEGRADED] = "degraded",
		[CFS_POOL_DAMAGED] = "damaged",
		[CFS_POOL_MISSING_DEVICES] = "devices_missing",
		[CFS_POOL_BUSY] = "busy",
		[CFS_POOL_NEWER] = "newer_format",
	};

	return names[state];
}

/* ---- space --------------------------------------------------------------- */

/* The trees grow with what is written in large pieces by one in so many. */
#define BLOCKS_PER_NODE 2048u

struct sum {
	struct cfs_session *s;
	struct cfs_pool_info *info;
	uint64_t left_blocks;
	uint64_t largest_blocks; /* of one container */
};

static void add_container(struct sum *sum, struct cfs_container *c)
{
	struct cfs_space_counts counts;

	cfs_container_lock(c);
	cfs_space_counts(c, &counts);
	cfs_container_unlock(c);
	sum->info->used_bytes += counts.used_blocks * CFS_BLOCK_BYTES;
	if (cfs_container_id(c) == 0)
		return;
	sum->left_blocks += counts.left_blocks -
			    CFS_MIN(counts.left_blocks, CFS_SPACE_OP_MARGIN);
	sum->largest_blocks = CFS_MAX(sum->largest_blocks, counts.total_blocks);
}

/*
 * How many blocks of data the free slices take.  A container that grows keeps
 * more in reserve, for deletions; most where it is large already.
 */
static uint64_t takes_blocks(const struct sum *sum, uint64_t free_blocks)
{
	const uint64_t reserve = cfs_space_reserve_of(sum->largest_blocks +
						      free_blocks) -
				 cfs_space_reserve_of(sum->largest_blocks);
	const uint64_t lost = reserve + free_blocks / BLOCKS_PER_NODE;

	return free_blocks - CFS_MIN(free_blocks, lost);
}

static int sum_container(void *arg, uint64_t id,
			 const struct cfs_container_rec *rec,
			 struct cfs_err *err)
{
	struct sum *sum = arg;
	struct cfs_member *m;
	uint64_t bad = 0;
	int r;

	if (rec->state == CFS_OBJECT_DELETING)
		return 0;
	sum->info->container_count++;
	r = cfs_pool_member_by_id(sum->s->pool, id, &m, err);
	if (r == -EREMOTE) /* whoever serves it counts it */
		return 0;
	if (r == -EUCLEAN) {
		/* One that cannot be opened is damage; the others count on. */
		sum->info->damaged_blocks++;
		return 0;
	}
	if (r == 0)
		r = cfs_session_bad_count(m->container, &bad, err);
	if (r < 0)
		return r;
	sum->info->damaged_blocks += bad;
	add_container(sum, m->container);
	return 0;
}

static enum cfs_pool_state state_of(const struct cfs_pool_info *info)
{
	if (info->devices_present < info->device_count)
		return CFS_POOL_DEGRADED;
	if (info->damaged_blocks)
		return CFS_POOL_DAMAGED;
	if (info->free_bytes < info->capacity_bytes / 20)
		return CFS_POOL_NEARLY_FULL;
	return CFS_POOL_OK;
}

static void fill_devices(struct cfs_session *s, struct cfs_pool_info *ret)
{
	for (uint32_t i = 0; i < cfs_devset_count(s->set); i++) {
		ret->device_count += !cfs_devset_is_removed(s->set, i);
		if (!cfs_devset_dev(s->set, i))
			continue;
		ret->devices_present++;
		ret->size_bytes += cfs_devset_size_bytes(s->set, i);
	}
}

int cfs_local_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
			struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(s->set, 0);
	struct sum sum = { .s = s, .info = ret };
	struct cfs_slice_counts slices;
	struct cfs_slice_geometry geo;
	struct cfs_pool_rec rec;
	uint64_t pieces;
	int r = cfs_pool_rec_get(s->pool, &rec, err);

	if (r == 0)
		r = cfs_slice_geometry_init(label->slice_bytes, &geo, err);
	if (r == 0)
		r = cfs_pool_slice_counts(s->pool, UINT32_MAX, &slices, err);
	if (r != 0)
		return r;
	/* Of a secondary only what its container has. */
	if (s->secondary)
		memset(&slices, 0, sizeof(slices));
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, rec.name, sizeof(ret->name));
	memcpy(ret->uuid, label->pool_uuid, 16);
	ret->is_mirror = label->flags & CFS_POOL_FLAG_MIRROR;
	ret->is_shared = label->flags & CFS_POOL_FLAG_SHARED;
	ret->created_ns = label->created_ns;
	ret->slice_bytes = label->slice_bytes;
	fill_devices(s, ret);
	pieces = ret->is_mirror ? 2 : 1;
	ret->slices = slices.total;
	ret->free_slices = slices.free;
	ret->lent_slices = slices.used;
	ret->frozen_slices = slices.frozen;
	ret->bad_slices = slices.bad;
	ret->capacity_bytes = ((slices.total - slices.free) / pieces +
			       slices.usable) *
			      geo.data_count * CFS_BLOCK_BYTES;
	ret->epoch = cfs_pool_epoch(s->pool);
	ret->takeovers_left = s->secondary ? 0
					   : cfs_pool_takeovers_left(s->pool);
	ret->lease_period_ns = rec.config[CFS_POOL_CONFIG_LEASE_NS];
	ret->clock_drift_ppm = rec.config[CFS_POOL_CONFIG_DRIFT_PPM];
	ret->cache_bytes = rec.config[CFS_POOL_CONFIG_CACHE_BYTES];
	ret->is_checked = rec.config[CFS_POOL_CONFIG_CHECKED];
	if (!s->secondary)
		add_container(&sum, cfs_pool_container0(s->pool));
	r = cfs_pool_containers(s->pool, sum_container, &sum, err);
	slices.usable -= CFS_MIN(slices.usable, slices.kept / pieces);
	ret->free_bytes = (takes_blocks(&sum, slices.usable * geo.data_count) +
			   sum.left_blocks) *
			  CFS_BLOCK_BYTES;
	ret->state = state_of(ret);
	return r;
}

/* ---- slices -------------------------------------------------------------- */

struct trim_state {
	struct cfs_session *s;
	struct cfs_trim_result *ret;
	const char *only;
};

static int trim_container(void *arg, uint64_t id,
			  const struct cfs_container_rec *rec,
			  struct cfs_err *err)
{
	struct trim_state *st = arg;
	struct cfs_member *m;
	uint64_t slices = 0;
	int r;

	if (rec->state == CFS_OBJECT_DELETING ||
	    (st->only && strcmp(st->only, rec->name) != 0))
		return 0;
	r = cfs_pool_member_by_id(st->s->pool, id, &m, err);
	if (r == -EREMOTE && !st->only)
		return 0;
	if (r == 0)
		r = cfs_pool_reclaim(st->s->pool, m, &slices, err);
	st->ret->returned_slices += slices;
	return r;
}

int cfs_local_trim(struct cfs_session *s, const char *container,
		   struct cfs_trim_result *ret, struct cfs_err *err)
{
	struct trim_state st = { s, ret, container };
	struct cfs_member *m;
	int r = cfs_session_may_write(s, err);

	memset(ret, 0, sizeof(*ret));
	if (r == 0 && container)
		r = cfs_pool_member(s->pool, container, &m, err);
	if (r == 0)
		r = cfs_pool_containers(s->pool, trim_container, &st, err);
	if (r == 0 && !container)
		r = cfs_pool_discard_free(s->pool, &ret->discarded_bytes, err);
	return r;
}

struct slice_list {
	struct cfs_slice_info *list;
	size_t count, room;
};

static int collect_slice(void *arg, uint32_t device, uint64_t slice,
			 const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	struct slice_list *l = arg;
	struct cfs_slice_info *i;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		void *list = realloc(l->list, room * sizeof(*l->list));

		if (!list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		l->list = list;
		l->room = room;
	}
	i = &l->list[l->count++];
	memset(i, 0, sizeof(*i));
	i->device_index = device;
	i->slice_index = slice;
	i->generation = rec->generation;
	i->lslice = rec->lslice;
	i->piece = rec->piece;
	i->container_id = rec->container_id;
	i->use = rec->use == CFS_SLICE_USE_FREE     ? "free"
		 : rec->use == CFS_SLICE_USE_FROZEN ? "frozen"
		 : rec->use == CFS_SLICE_USE_BAD    ? "bad"
		 : rec->container_id                ? "container"
						    : "pool";
	return 0;
}

/* Behind the table's lock: names and fill from the containers. */
static void complete_slice(struct cfs_session *s, struct cfs_slice_info *i)
{
	struct cfs_container *c = NULL;
	struct cfs_member *m;

	if (strcmp(i->use, "pool") == 0) {
		c = cfs_pool_container0(s->pool);
	} else if (strcmp(i->use, "container") == 0 &&
		   cfs_pool_member_by_id(s->pool, i->container_id, &m, NULL) ==
			   0) {
		memcpy(i->container, m->rec.name, sizeof(i->container));
		c = m->container;
	}
	if (!c)
		return;
	cfs_container_lock(c);
	i->used_blocks = cfs_space_slice_used(c, i->lslice);
	i->block_count = cfs_metavolume_geometry(cfs_container_metavolume(c))
				 ->data_count;
	cfs_container_unlock(c);
}

int cfs_local_slices(struct cfs_session *s, const char *container,
		     cfs_slice_each_fn each, void *arg, struct cfs_err *err)
{
	struct slice_list l = { NULL, 0, 0 };
	struct cfs_member *m;
	int r = container ? cfs_pool_member(s->pool, container, &m, err) : 0;

	if (r == 0)
		r = cfs_pool_slices(s->pool, collect_slice, &l, err);
	for (size_t i = 0; r == 0 && i < l.count; i++) {
		complete_slice(s, &l.list[i]);
		if (!container || strcmp(l.list[i].container, container) == 0)
			r = each(arg, &l.list[i]);
	}
	free(l.list);
	return r;
}

/* ---- settings ------------------------------------------------------------ */

/* Clients that are here keep the period that they were told. */
static void set_period(const struct cfs_session *s, struct cfs_pool_rec *rec,
		       uint64_t period_ns)
{
	uint64_t *longest = &rec->config[CFS_POOL_CONFIG_LONGEST_NS];
	uint64_t *period = &rec->config[CFS_POOL_CONFIG_LEASE_NS];

	*longest = s->seat.has_clients ? CFS_MAX(*longest, *period) : 0;
	*period = period_ns;
}

static int parse_checked(const char *value, bool *ret, struct cfs_err *err)
{
	*ret = strcmp(value, "yes") == 0;
	if (!*ret && strcmp(value, "no") != 0)
		return cfs_err_set(err, -EINVAL, "checked: yes or no");
	return 0;
}

static int set_pool(struct cfs_session *s, const char *key, const char *value,
		    struct cfs_err *err)
{
	struct cfs_move_result moved;
	struct cfs_pool_rec rec;
	bool is_checked = false;
	uint64_t n = 0;
	int r = cfs_pool_rec_get(s->pool, &rec, err);

	if (r < 0)
		return r;
	if (strcmp(key, "label") == 0) {
		r = cfs_pool_name_check(value, err);
		if (r < 0)
			return r;
		memset(rec.name, 0, sizeof(rec.name));
		strcpy(rec.name, value);
	} else if (strcmp(key, "cache") == 0) {
		r = cfs_size_parse(value, &n, err);
		rec.config[CFS_POOL_CONFIG_CACHE_BYTES] = n;
		if (r == 0 && n < UINT64_C(1) << 20)
			r = cfs_err_set(err, -EINVAL, "cache: 1 MiB at least");
	} else if (strcmp(key, "lease_period") == 0) {
		r = cfs_duration_parse(value, &n, err);
		set_period(s, &rec, n);
		if (r == 0 && n < 3 * CFS_SEAT_PERIOD_NS_MIN && s->holder &&
		    cfs_holder_is_shared(s->holder))
			r = cfs_err_set(err, -EINVAL,
					"lease_period: from 3s "
					"on a shared pool: a host is silent "
					"for 1s at least before another one "
					"takes over, and leases must outlast "
					"that");
		if (r == 0 &&
		    (n < UINT64_C(1000000000) || n > UINT64_C(3600000000000)))
			r = cfs_err_set(err, -EINVAL,
					"lease_period: from 1s "
					"to 1h");
	} else if (strcmp(key, "clock_drift") == 0) {
		char *end;

		errno = 0;
		n = strtoull(value, &end, 10);
		if (errno || !*value || *end || n == 0 || n > 100000)
			return cfs_err_set(err, -EINVAL,
					   "clock_drift: parts "
					   "per million, 1 to 100000");
		rec.config[CFS_POOL_CONFIG_DRIFT_PPM] = n;
	} else if (strcmp(key, "checked") == 0) {
		r = parse_checked(value, &is_checked, err);
		rec.config[CFS_POOL_CONFIG_CHECKED] = is_checked;
	} else if (strcmp(key, "mirror") == 0) {
		return strcmp(value, "yes") == 0
			       ? cfs_local_make_mirror(s, &s->opt, &moved, err)
			       : cfs_err_set(err, -EINVAL,
					     "mirror: yes; a mirror stays "
					     "one");
	} else {
		return cfs_err_set(err, -EINVAL,
				   "%s: no such setting of a "
				   "pool",
				   key);
	}
	if (r == 0)
		r = cfs_pool_rec_set(s->pool, &rec, err);
	/* Who takes over is quick enough before anybody has a short one. */
	if (r == 0 && strcmp(key, "lease_period") == 0)
		r = cfs_session_follow_period(s, err);
	if (r == 0 && strcmp(key, "lease_period") == 0)
		cfs_serve_lease_set_period(s, n);
	/* The labels carry the name as a hint for tools that only look. */
	if (r == 0 && strcmp(key, "label") == 0) {
		cfs_devset_set_name(s->set, value);
		r = cfs_devset_write_labels(s->set, err);
	}
	return r;
}

int cfs_local_set(struct cfs_session *s, const char *volume, const char *key,
		  const char *value, struct cfs_err *err)
{
	bool is_checked;
	uint64_t n = 0;
	int r = cfs_session_may_write(s, err);

	if (r < 0)
		return r;
	if (!volume)
		return set_pool(s, key, value, err);
	if (strcmp(key, "checked") == 0) {
		r = parse_checked(value, &is_checked, err);
		return r < 0 ? r
			     : cfs_session_set_checked(s, volume, is_checked,
						       err);
	}
	if (strcmp(key, "limit") != 0 && strcmp(key, "provision") != 0)
		return cfs_err_set(err, -EINVAL,
				   "%s: no such setting of a "
				   "volume",
				   key);
	if (strcmp(value, "none") != 0)
		r = cfs_size_parse(value, &n, err);
	if (r < 0)
		return r;
	return strcmp(key, "limit") == 0
		       ? cfs_session_set_limit(s, volume, n, err)
		       : cfs_session_set_provision(s, volume, n, err);
}
