/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space that a container has at hand: slices that are lent to it and do not go
 * back while it is to have so much, empty or not.
 *
 * The slices come first, then the record: a crash in between leaves slices that
 * go back with the next reclaim.
 */
#include "volume/pool_delegate_priv.h"
#include "volume/pool_slices_priv.h"

#include "base/text.h"
#include "pool/metavolume.h"
#include "tree/space.h"

#include <inttypes.h>

uint64_t cfs_pool_provision_slices(const struct cfs_pool *pool, uint64_t bytes)
{
	struct cfs_slice_geometry geo;
	uint64_t blocks = cfs_div_up(bytes, CFS_BLOCK_BYTES), slices;

	if (bytes == 0 ||
	    cfs_slice_geometry_init(cfs_devset_label(pool->set, 0)->slice_bytes,
				    &geo, NULL) < 0)
		return 0;
	blocks += CFS_SPACE_OP_MARGIN;
	slices = cfs_div_up(blocks + cfs_space_reserve_of(blocks),
			    geo.data_count);
	/* The reserve is of what there is in all. */
	while (slices * geo.data_count <
	       blocks + cfs_space_reserve_of(slices * geo.data_count))
		slices++;
	return slices;
}

static int check_room(struct cfs_pool *pool, uint64_t slices,
		      struct cfs_err *err)
{
	const uint64_t slice_bytes =
		cfs_devset_label(pool->set, 0)->slice_bytes;
	uint64_t left, kept;

	cfs_container_lock(pool->c0);
	left = cfs_pool_slices_free(pool);
	kept = cfs_pool_slices_kept(pool);
	cfs_container_unlock(pool->c0);
	left -= CFS_MIN(left, kept);
	return slices <= left
		       ? 0
		       : cfs_err_set(err, -ENOSPC,
				     "%" PRIu64 " bytes (%" PRIu64 " %s) "
				     "more are needed, and %" PRIu64
				     " are free",
				     slices * slice_bytes, slices,
				     cfs_plural(slices, "slice", "slices"),
				     left * slice_bytes);
}

static int get_slices(struct cfs_pool *pool, struct cfs_container *c,
		      uint64_t want, struct cfs_err *err)
{
	int r = 0;

	cfs_container_lock(c);
	for (;;) {
		const uint64_t has = cfs_metavolume_slice_count(
			cfs_container_metavolume(c));

		if (r < 0 || has >= want)
			break;
		r = cfs_pool_source.more(
			pool, c, (unsigned int)CFS_MIN(want - has, 1024), err);
	}
	cfs_container_unlock(c);
	return r;
}

int cfs_pool_provision(struct cfs_pool *pool, struct cfs_member *m,
		       uint64_t bytes, struct cfs_err *err)
{
	const uint64_t want = cfs_pool_provision_slices(pool, bytes);
	const uint64_t has = cfs_metavolume_slice_count(
		cfs_container_metavolume(m->container));
	struct cfs_container_rec rec = m->rec;
	int r = cfs_pool_delegated_refuse(pool, err);

	if (r == 0 && rec.limit_bytes && bytes > rec.limit_bytes)
		r = cfs_err_set(err, -EINVAL,
				"more than the container's limit "
				"of %" PRIu64 " bytes",
				rec.limit_bytes);
	if (r == 0 && want > has)
		r = check_room(pool, want - has, err);
	if (r == 0 && want > has)
		r = get_slices(pool, m->container, want, err);
	if (r < 0) {
		(void)cfs_pool_reclaim(pool, m, NULL, NULL);
		return r;
	}
	rec.provision_bytes = bytes;
	r = cfs_pool_container_update(pool, m, &rec, err);
	/* What it had more before goes back. */
	if (r == 0 && want < has)
		r = cfs_pool_reclaim(pool, m, NULL, err);
	return r;
}
