/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which snapshots have clones: asked for each of a hundred thousand snapshots
 * in a container of thousands of clones, so all are collected once and sorted.
 */
#include "volume/volume.h"

#include <stdlib.h>

struct collecting {
	struct cfs_origins *to;
	size_t room;
};

static int collect(void *arg, uint64_t id, const struct cfs_volume_rec *rec,
		   struct cfs_err *err)
{
	struct collecting *c = arg;

	(void)id;
	if (!rec->origin_volume)
		return 0;
	if (c->to->count == c->room) {
		const size_t room = c->room ? 2 * c->room : 64;
		void *list = realloc(c->to->list, room * sizeof(*c->to->list));

		if (!list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		c->to->list = list;
		c->room = room;
	}
	c->to->list[c->to->count++] = (struct cfs_origin){
		rec->origin_volume,
		rec->origin_stamp,
	};
	return 0;
}

static int compare(const struct cfs_origin *a, const struct cfs_origin *b)
{
	if (a->volume != b->volume)
		return a->volume < b->volume ? -1 : 1;
	return (a->stamp > b->stamp) - (a->stamp < b->stamp);
}

static int by_origin(const void *a, const void *b)
{
	return compare(a, b);
}

int cfs_origins_get(struct cfs_member *m, struct cfs_origins *ret,
		    struct cfs_err *err)
{
	struct collecting c = { .to = ret };
	int r;

	*ret = (struct cfs_origins){ .list = NULL };
	r = cfs_volume_each(m, collect, &c, err);
	if (r < 0)
		cfs_origins_done(ret);
	else if (ret->count > 1)
		qsort(ret->list, ret->count, sizeof(*ret->list), by_origin);
	return r;
}

/* The index of the first that is not below. */
static size_t first_of(const struct cfs_origins *o, uint64_t volume,
		       uint64_t stamp)
{
	const struct cfs_origin key = { volume, stamp };
	size_t lo = 0, hi = o->count;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (compare(&o->list[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t cfs_origins_count(const struct cfs_origins *o, uint64_t volume,
			   uint64_t stamp)
{
	return first_of(o, volume, stamp + 1) - first_of(o, volume, stamp);
}

uint64_t cfs_origins_count_all(const struct cfs_origins *o, uint64_t volume)
{
	return first_of(o, volume + 1, 0) - first_of(o, volume, 0);
}

void cfs_origins_done(struct cfs_origins *o)
{
	free(o->list);
	*o = (struct cfs_origins){ .list = NULL };
}
