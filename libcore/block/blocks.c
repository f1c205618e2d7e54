/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The block store: the cache of checksums, open groups, verified reads.
 *
 * The cache holds whole groups' checksums (126 x 8 bytes); the oldest entry
 * goes when it is full.  An entry is dropped when its group is opened for
 * writing, since the group's tags in memory are newer from then on.
 */
#include "block/blocks_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>

/* What one batch brings stays until it has been looked at. */
#define CACHE_GROUPS_MIN CFS_GROUPS_AT_ONCE

void cfs_blocks_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

int cfs_blocks_new(struct cfs_metavolume *mv, const uint8_t container_uuid[16],
		   uint64_t cache_bytes, struct cfs_blocks **ret,
		   struct cfs_err *err)
{
	struct cfs_blocks *b = calloc(1, sizeof(*b));

	if (!b)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	b->ahead = cfs_ahead_new();
	if (!b->ahead) {
		free(b);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	b->mv = mv;
	b->cache.count_max = (size_t)CFS_MAX(cache_bytes / CFS_CSUM_GROUP_BYTES,
					     (uint64_t)CACHE_GROUPS_MIN);
	b->seed = cfs_tag_container_seed(container_uuid);
	cfs_blocks_lock_init(&b->lock);
	cfs_row_init(&b->row);
	*ret = b;
	return 0;
}

void cfs_blocks_free(struct cfs_blocks *b)
{
	struct open_entry *o, *otmp;

	if (!b)
		return;
	cfs_csum_cache_done(&b->cache);
	HASH_ITER(hh, b->open, o, otmp) {
		HASH_DEL(b->open, o);
		free(o);
	}
	cfs_ahead_free(b->ahead);
	cfs_row_done(&b->row);
	pthread_mutex_destroy(&b->lock);
	cfs_peek_hints_free(b);
	free(b);
}

uint64_t cfs_blocks_seed(const struct cfs_blocks *b)
{
	return b->seed;
}

void cfs_blocks_set_epoch(struct cfs_blocks *b, uint32_t epoch)
{
	b->epoch = epoch;
}

int cfs_blocks_register(struct cfs_blocks *b, struct cfs_group *g,
			struct cfs_err *err)
{
	struct open_entry *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	o->key = cfs_group_key(g->lslice, g->index);
	o->group = g;
	pthread_mutex_lock(&b->lock);
	r = CFS_HASH_ADD(b->open, key, o);
	if (r == 0) {
		++*cfs_blocks_changes(b, o->key);
		cfs_csum_cache_drop(&b->cache, o->key);
	}
	pthread_mutex_unlock(&b->lock);
	if (r == 0)
		return 0;
	free(o);
	return cfs_err_set(err, r, "out of memory");
}

void cfs_blocks_unregister(struct cfs_blocks *b, struct cfs_group *g)
{
	uint64_t key = cfs_group_key(g->lslice, g->index);
	struct open_entry *o;

	pthread_mutex_lock(&b->lock);
	++*cfs_blocks_changes(b, key);
	HASH_FIND(hh, b->open, &key, sizeof(key), o);
	if (o) {
		HASH_DEL(b->open, o);
		free(o);
	}
	pthread_mutex_unlock(&b->lock);
}

void cfs_blocks_set_tag(struct cfs_blocks *b, struct cfs_group *g,
			unsigned int index, const struct cfs_tag *tag)
{
	struct cfs_tag_disk disk;

	cfs_tag_pack(tag, &disk);
	pthread_mutex_lock(&b->lock);
	g->tags[index] = disk;
	pthread_mutex_unlock(&b->lock);
}

void cfs_blocks_forget(struct cfs_blocks *b, uint64_t lslice)
{
	pthread_mutex_lock(&b->lock);
	for (unsigned int i = 0; i < CHANGE_BUCKETS; i++)
		b->changes[i]++;
	cfs_csum_cache_drop_slice(&b->cache, lslice);
	pthread_mutex_unlock(&b->lock);
}

void cfs_blocks_forget_group(struct cfs_blocks *b, uint64_t lslice,
			     uint32_t index)
{
	const uint64_t key = cfs_group_key(lslice, index);

	pthread_mutex_lock(&b->lock);
	++*cfs_blocks_changes(b, key);
	cfs_csum_cache_drop(&b->cache, key);
	pthread_mutex_unlock(&b->lock);
}

void cfs_blocks_cache(struct cfs_blocks *b, const struct cfs_group *g,
		      uint64_t changes)
{
	const uint64_t key = cfs_group_key(g->lslice, g->index);
	uint64_t *csums;

	pthread_mutex_lock(&b->lock);
	csums = *cfs_blocks_changes(b, key) == changes
			? cfs_csum_cache_add(&b->cache, key)
			: NULL; /* it is only a cache */
	for (unsigned int i = 0; csums && i < CFS_TAGS_PER_PAGE; i++)
		csums[i] = le64_get(g->tags[i].csum);
	pthread_mutex_unlock(&b->lock);
}

bool cfs_blocks_known(struct cfs_blocks *b, uint64_t key, uint32_t first,
		      uint32_t count, uint64_t *ret)
{
	struct open_entry *o;
	const uint64_t *csums;

	HASH_FIND(hh, b->open, &key, sizeof(key), o);
	if (o) {
		for (uint32_t i = 0; ret && i < count; i++)
			ret[i] = le64_get(o->group->tags[first + i].csum);
		return true;
	}
	csums = cfs_csum_cache_find(&b->cache, key);
	if (csums && ret)
		memcpy(ret, csums + first, count * sizeof(*ret));
	return csums;
}

/*
 * The checksums of blocks first..first+count-1 of one group.
 * -ENOENT: the group has no tags.
 */
int cfs_blocks_csums(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		     uint32_t first, uint32_t count, uint64_t *ret,
		     struct cfs_err *err)
{
	const uint64_t key = cfs_group_key(lslice, index);
	CFS_CLEANUP(cfs_freep) struct cfs_group *g = NULL;
	uint64_t changes;
	bool is_known;
	int r;

	pthread_mutex_lock(&b->lock);
	changes = *cfs_blocks_changes(b, key);
	is_known = cfs_blocks_known(b, key, first, count, ret);
	pthread_mutex_unlock(&b->lock);
	if (is_known)
		return 0;

	g = malloc(sizeof(*g));
	if (!g)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_group_load(b, lslice, index, g, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++)
		ret[i] = le64_get(g->tags[first + i].csum);
	cfs_blocks_cache(b, g, changes);
	return 0;
}

int cfs_block_tag(struct cfs_blocks *b, uint64_t vaddr, struct cfs_tag *ret,
		  struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	uint32_t block = cfs_vaddr_block(vaddr);
	uint64_t lslice = cfs_vaddr_lslice(vaddr);
	CFS_CLEANUP(cfs_freep) struct cfs_group *g = NULL;
	struct open_entry *o;
	uint64_t key;
	uint32_t i;
	int r;

	if (!cfs_geometry_is_data(geo, block))
		return cfs_err_set(err, -EUCLEAN,
				   "address %#" PRIx64 " is no data block",
				   vaddr);
	key = cfs_group_key(lslice, cfs_geometry_group(geo, block));
	i = cfs_geometry_index(geo, block);
	pthread_mutex_lock(&b->lock);
	HASH_FIND(hh, b->open, &key, sizeof(key), o);
	if (o)
		cfs_tag_unpack(&o->group->tags[i], ret);
	pthread_mutex_unlock(&b->lock);
	if (o)
		return 0;
	g = malloc(sizeof(*g));
	if (!g)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_group_load(b, lslice, cfs_geometry_group(geo, block), g, err);
	if (r < 0)
		return r;
	cfs_tag_unpack(&g->tags[i], ret);
	return 0;
}

bool cfs_block_is_good(const struct cfs_blocks *b, const struct cfs_tag *tag,
		       const void *block)
{
	return cfs_tag_csum(tag, b->seed, block) == tag->csum;
}
