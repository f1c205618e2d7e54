/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The blocks that a container's log and root pages stand in: whole groups, and
 * the first two blocks of a slice.
 */
#include "tree/lend_priv.h"
#include "tree/space_priv.h"

#include <stdlib.h>

/* Groups, adjacent and never used, for one more extent of the log. */
static uint32_t find_empty_run(struct cfs_container *c, uint32_t want,
			       uint64_t *ret_key, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint64_t end = cfs_metavolume_end(c->mv);
	uint32_t best = 0;

	for (uint64_t l = 0; l < end && best < want; l++) {
		uint32_t run = 0;

		if (l >= c->slice_room || !c->slices[l].is_mapped ||
		    c->slices[l].is_leaving ||
		    geo->data_count - c->slices[l].used_blocks <
			    CFS_TAGS_PER_PAGE)
			continue;
		for (uint32_t i = 0; i < geo->group_count && best < want; i++) {
			uint64_t key = cfs_vaddr(l, i), bits[2], bad[2];
			struct open_group *g;
			bool was_used;

			HASH_FIND(hh, c->groups, &key, sizeof(key), g);
			cfs_space_bad_bits(c, key, bad);
			if (g || bad[0] | bad[1] ||
			    (c->lender && cfs_lend_has_group(c, key)) ||
			    cfs_space_free_bits(c, key, bits, &was_used, err) <
				    0 ||
			    was_used) {
				run = 0;
				continue;
			}
			run++;
			if (run > best) {
				best = run;
				*ret_key = cfs_vaddr(l, i + 1 - run);
			}
		}
	}
	return best;
}

/* Mark all blocks of a fresh group as the log's. */
static int take_log_group(struct cfs_container *c, uint64_t key,
			  struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint32_t start = cfs_geometry_group_start(geo, cfs_vaddr_block(key));
	uint32_t count = cfs_geometry_group_blocks(geo, cfs_vaddr_block(key));
	uint64_t lslice = cfs_vaddr_lslice(key);
	uint64_t used[2] = { 0, 0 };
	struct open_group *g;
	int r = cfs_space_group_open(c, key, false, &g, err);

	for (uint32_t i = 0; i < count; i++)
		used[i / 64] |= UINT64_C(1) << (i % 64);
	if (r == 0)
		r = cfs_space_bits_store(c, key, used, err);
	if (r < 0)
		return r;
	c->slices[lslice].used_blocks += count;
	c->slices[lslice].is_changed = true;
	c->used_blocks += count;
	for (uint32_t i = 0; i < count; i++) {
		const struct cfs_tag tag = {
			.type = CFS_TAG_LOG,
			.ino = c->root.log_id,
			.offset = i,
			.stamp = c->stamp,
		};

		cfs_space_set_tag(c, cfs_vaddr(lslice, start + i), &tag);
	}
	return 0;
}

/* A new container's root pages: the first two blocks of a slice. */
int cfs_space_take_root(struct cfs_container *c, uint64_t lslice,
			uint64_t *ret_vaddr, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint64_t key = cfs_vaddr(lslice, 0), used[2] = { 3, 0 };
	struct open_group *g;
	uint64_t allowed[2];
	bool was_used;
	int r = cfs_space_allowed_bits(c, key, allowed, &was_used, err);

	if (r == 0)
		r = cfs_space_group_open(c, key, false, &g, err);
	if (r == 0)
		r = cfs_space_bits_store(c, key, used, err);
	if (r != 0)
		return r;
	g->allowed[0] = allowed[0] & ~used[0];
	g->allowed[1] = allowed[1];
	c->slices[lslice].used_blocks += 2;
	c->slices[lslice].is_changed = true;
	c->used_blocks += 2;
	*ret_vaddr = cfs_vaddr(lslice, geo->data_start);
	for (unsigned int i = 0; i < 2; i++) {
		const struct cfs_tag tag = {
			.type = CFS_TAG_ROOT,
			.offset = i,
			.stamp = c->stamp,
		};

		cfs_space_set_tag(c, *ret_vaddr + i, &tag);
	}
	return 0;
}

/*
 * Zeroes ahead of use, so that later appends do not make the host's file
 * system allocate anything behind a flush.
 */
static int fill_log(struct cfs_container *c, uint64_t vaddr, uint32_t blocks,
		    struct cfs_err *err)
{
	void *zeroes = cfs_dev_buf_alloc((size_t)blocks * CFS_BLOCK_BYTES);
	int r;

	if (!zeroes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_container_write_now(c, vaddr, blocks, zeroes, err);
	free(zeroes);
	return r;
}

/* A new container's log: the last groups of a slice. */
int cfs_space_take_log(struct cfs_container *c, uint64_t lslice,
		       uint32_t group_count, bool is_filled,
		       struct cfs_log_extent *ret, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint32_t first = geo->group_count - group_count;
	uint32_t start = cfs_geometry_group_start(geo, first);
	uint32_t blocks = geo->data_start + geo->data_count - start;
	int r = 0;

	for (uint32_t i = first; i < geo->group_count && r == 0; i++)
		r = take_log_group(c, cfs_vaddr(lslice, i), err);
	ret->vaddr = cfs_vaddr(lslice, start);
	ret->block_count = blocks;
	if (r == 0 && is_filled)
		r = fill_log(c, ret->vaddr, blocks, err);
	return r;
}

/* pool / 32, within 1 and 64 MiB, in blocks. */
static uint64_t log_cap(const struct cfs_container *c)
{
	struct cfs_devset *set = cfs_metavolume_devset(c->mv);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < cfs_devset_count(set); i++)
		bytes += cfs_devset_size_bytes(set, i);
	bytes = CFS_MIN(CFS_MAX(bytes / 32, UINT64_C(1) << 20), UINT64_C(64)
									<< 20);
	return bytes / CFS_BLOCK_BYTES;
}

static int log_grow(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint64_t total = cfs_log_total_blocks(c->log);
	uint64_t cap = log_cap(c);
	uint32_t want;
	struct cfs_candidate *list;
	uint64_t key = 0, blocks = 0;
	uint32_t run;
	int r;

	if (total >= cap)
		return 0;
	/* Twice as long, up to the cap. */
	want = (uint32_t)cfs_div_up(CFS_MIN(total, cap - total),
				    CFS_TAGS_PER_PAGE);
	if (cfs_space_left(c) <
	    (int64_t)(cfs_space_reserve(c) +
		      4 * (uint64_t)want * CFS_TAGS_PER_PAGE))
		return 0; /* space is needed for other things */
	run = find_empty_run(c, want, &key, err);
	if (run == 0)
		return 0;
	list = calloc(run, sizeof(*list));
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < run; i++)
		list[i].key = key + i;
	r = cfs_space_lend(c, list, run, err);
	free(list);
	for (uint32_t i = 0; i < run && r == 0; i++) {
		r = take_log_group(c, key + i, err);
		blocks += cfs_geometry_group_blocks(geo,
						    cfs_vaddr_block(key + i));
	}
	if (r < 0)
		return r;
	key = cfs_vaddr(cfs_vaddr_lslice(key),
			cfs_geometry_group_start(geo, cfs_vaddr_block(key)));
	r = fill_log(c, key, (uint32_t)blocks, err);
	if (r == 0)
		r = cfs_log_add_extent(c->log, key, (uint32_t)blocks, err);
	return r;
}

/* More room for the log, within a commit. */
int cfs_space_log_grow(struct cfs_container *c, struct cfs_err *err)
{
	const uint64_t total = cfs_log_total_blocks(c->log);
	int r = log_grow(c, err);

	c->log_stays = cfs_log_total_blocks(c->log) == total;
	return r;
}

bool cfs_space_log_is_long(const struct cfs_container *c)
{
	return c->log_stays || cfs_log_total_blocks(c->log) >= log_cap(c);
}
