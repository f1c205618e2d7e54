/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tag pages that are not in memory are read beside the data that they verify,
 * in one batch: a read waits once, not for one behind the other.  Where reads
 * go through a slice in order, some pages more are asked for, so that the next
 * reads find theirs in memory.
 *
 * A page that is read beside its data may be older or newer than it.  That is
 * no danger: a tag that does not match is no proof of damage here, whoever
 * reads asks again in that case, under the container's lock.  And what is kept
 * is only what no change has made void since the page was asked for.
 */
#include "block/blocks_priv.h"

#include "base/bits.h"

#include <stdlib.h>

#define AHEAD_GROUPS_MAX 16u /* 8 MiB of data */
#define AHEAD_GROWS_BY   4u

struct cfs_fetch {
	struct cfs_groups_plan *plan;
	size_t count;
	struct cfs_group *groups[CFS_GROUPS_AT_ONCE];
	uint64_t changes[CFS_GROUPS_AT_ONCE];
	struct cfs_group room[]; /* of groups */
};

/* Keys of groups, none twice. */
struct wanted {
	uint64_t keys[CFS_GROUPS_AT_ONCE];
	uint64_t changes[CFS_GROUPS_AT_ONCE];
	size_t count;
};

static void want(struct cfs_blocks *b, struct wanted *w, uint64_t key)
{
	if (w->count == CFS_GROUPS_AT_ONCE)
		return;
	for (size_t i = w->count; i > 0; i--)
		if (w->keys[i - 1] == key)
			return;
	w->keys[w->count] = key;
	w->changes[w->count++] = *cfs_blocks_changes(b, key);
}

/* The row that a read of groups first..last goes on; NULL: none. */
static struct tag_track *track_of(struct cfs_blocks *b, uint64_t first,
				  uint64_t last)
{
	for (unsigned int i = 0; i < TAG_TRACKS; i++) {
		struct tag_track *t = &b->tracks[i];

		if (t->length && first <= t->next &&
		    last + t->length / 2 >= t->next)
			return t;
	}
	return NULL;
}

/*
 * Groups first..last of a slice are read.  Half of a row's pages in advance is
 * when the next are asked for.
 */
static void go_ahead(struct cfs_blocks *b, struct wanted *w, uint64_t first,
		     uint64_t last, bool is_missing)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint64_t lslice = cfs_vaddr_lslice(last);
	const uint64_t end = cfs_group_key(lslice, geo->group_count);
	struct tag_track *t = track_of(b, first, last);
	uint64_t key;

	if (!t) {
		if (!is_missing)
			return;
		t = &b->tracks[b->track_next++ % TAG_TRACKS];
		t->length = 1;
		t->next = last + 1;
	} else {
		t->length = CFS_MIN(t->length * AHEAD_GROWS_BY,
				    AHEAD_GROUPS_MAX);
		key = CFS_MAX(t->next, last + 1);
		t->next = CFS_MIN(key + t->length, end);
		for (; key < t->next; key++)
			if (!cfs_blocks_known(b, key, 0, 0, NULL))
				want(b, w, key);
	}
	if (t->next == end)
		t->next = cfs_group_key(lslice + 1, 0);
}

/* With the lock: what is known, and what of the rest is wanted. */
static void look_up(struct cfs_blocks *b, const struct cfs_block_read *rd,
		    uint64_t *csums, struct wanted *w)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint64_t lslice = cfs_vaddr_lslice(rd->vaddr);
	const uint32_t block = cfs_vaddr_block(rd->vaddr);
	uint64_t key = 0, first_key = 0;
	bool is_missing = false;

	if (rd->count == 1 && rd->csum) {
		csums[0] = rd->csum;
		return;
	}
	if (!cfs_geometry_is_data(geo, block) ||
	    !cfs_geometry_is_data(geo, block + rd->count - 1)) {
		csums[0] = 0; /* whoever asks for the tags tells why */
		return;
	}
	for (uint32_t done = 0, n; done < rd->count; done += n) {
		const uint32_t first = cfs_geometry_index(geo, block + done);

		n = CFS_MIN(rd->count - done, CFS_TAGS_PER_PAGE - first);
		key = cfs_group_key(lslice,
				    cfs_geometry_group(geo, block + done));
		first_key = done ? first_key : key;
		if (cfs_blocks_known(b, key, first, n, csums + done))
			continue;
		is_missing = true;
		want(b, w, key);
	}
	if (is_missing)
		csums[0] = 0;
	go_ahead(b, w, first_key, key, is_missing);
}

static struct cfs_fetch *fetch_of(struct cfs_blocks *b, struct wanted *w)
{
	struct cfs_fetch *f = malloc(sizeof(*f) +
				     w->count * sizeof(f->room[0]));

	if (!f)
		return NULL;
	f->plan = NULL;
	f->count = w->count;
	for (size_t i = 0; i < w->count; i++) {
		f->groups[i] = &f->room[i];
		f->room[i].lslice = cfs_vaddr_lslice(w->keys[i]);
		f->room[i].index = cfs_vaddr_block(w->keys[i]);
		f->changes[i] = w->changes[i];
	}
	if (cfs_groups_plan_new(&f->plan, NULL) < 0 ||
	    cfs_groups_plan_make(b, f->groups, f->count, f->plan, NULL) < 0) {
		cfs_fetch_free(f);
		return NULL;
	}
	return f;
}

/* The group of a read that asks for checksums, and the place in it. */
static bool place_of(const struct cfs_blocks *b,
		     const struct cfs_block_read *rd, uint64_t *ret_key,
		     uint32_t *ret_first)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint32_t block = cfs_vaddr_block(rd->vaddr);

	if ((rd->count == 1 && rd->csum) || !cfs_geometry_is_data(geo, block))
		return false;
	*ret_key = cfs_group_key(cfs_vaddr_lslice(rd->vaddr),
				 cfs_geometry_group(geo, block));
	*ret_first = cfs_geometry_index(geo, block);
	return true;
}

/* With the lock: many reads wait for memory at the same time, not one behind
 * the other. */
static void prefetch(const struct cfs_blocks *b,
		     const struct cfs_block_read *reads, size_t count)
{
	uint64_t key;
	uint32_t first;

	for (size_t i = 0; i < count; i++)
		if (place_of(b, &reads[i], &key, &first))
			cfs_csum_cache_prefetch_slot(&b->cache, key);
	for (size_t i = 0; i < count; i++)
		if (place_of(b, &reads[i], &key, &first))
			cfs_csum_cache_prefetch(&b->cache, key, first);
}

struct cfs_fetch *cfs_fetch_new(struct cfs_blocks *b,
				const struct cfs_block_read *reads,
				size_t count, uint64_t *csums)
{
	struct wanted w;
	size_t at = 0;

	w.count = 0;
	pthread_mutex_lock(&b->lock);
	if (count > 1)
		prefetch(b, reads, count);
	for (size_t i = 0; i < count; i++) {
		look_up(b, &reads[i], csums + at, &w);
		at += reads[i].count;
	}
	pthread_mutex_unlock(&b->lock);
	return w.count ? fetch_of(b, &w) : NULL;
}

struct cfs_mv_read *cfs_fetch_reads(struct cfs_fetch *f, size_t *ret_count)
{
	return cfs_groups_plan_reads(f->plan, ret_count);
}

/* What is not valid, or not there, is for who needs it to find out. */
void cfs_fetch_end(struct cfs_blocks *b, struct cfs_fetch *f)
{
	int results[CFS_GROUPS_AT_ONCE];

	if (cfs_groups_plan_end(b, f->groups, f->count, f->plan, results,
				NULL) < 0)
		return;
	for (size_t i = 0; i < f->count; i++)
		if (results[i] == 0)
			cfs_blocks_cache(b, f->groups[i], f->changes[i]);
}

void cfs_fetch_free(struct cfs_fetch *f)
{
	if (!f)
		return;
	cfs_groups_plan_free(f->plan);
	free(f);
}

void cfs_fetch_freep(struct cfs_fetch **f)
{
	cfs_fetch_free(*f);
}
