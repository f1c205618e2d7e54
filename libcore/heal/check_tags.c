/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags against what the trees expect of them.  Expectations are gathered in
 * batches, sorted by address, and compared slice by slice, so that each tag
 * area is read front to back and memory stays bounded.
 */
#include "heal/check_priv.h"
#include "heal/tags_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int by_vaddr(const void *a, const void *b)
{
	const struct check_run *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

/* The tags of one slice, with those of open groups on top. */
struct slice_tags {
	struct check *k;
	struct tag_area area;
	uint32_t group; /* whose open tags are below */
	bool has_open;
	struct cfs_tag_disk open[CFS_TAGS_PER_PAGE];
};

static bool tag_of(struct slice_tags *st, uint32_t group, unsigned int index,
		   struct cfs_tag *ret)
{
	if (st->group != group) {
		st->group = group;
		st->has_open = cfs_repair_open_tags(st->k->c, st->area.lslice,
						    group, st->open);
	}
	if (st->has_open) {
		cfs_tag_unpack(&st->open[index], ret);
		return true;
	}
	return cfs_tag_area_get(&st->area, group, index, ret);
}

/* What is wrong with a tag; NULL: nothing. */
static const char *compare(const struct check_run *run, uint32_t i,
			   const struct cfs_tag *tag)
{
	const struct cfs_tag *want = &run->tag;

	if (tag->type != want->type)
		return tag->type == CFS_TAG_FREE ? "it is empty"
						 : "it is of another kind";
	if (run->only_type)
		return NULL;
	if (tag->ino != want->ino || tag->offset != want->offset + i)
		return "it names another object or offset";
	if (tag->stamp != want->stamp || tag->seq != want->seq)
		return "it is of another birth";
	if (tag->branch != want->branch)
		return "it is of another branch";
	if (want->csum && run->count == 1 && tag->csum != want->csum)
		return "it has another checksum than the record";
	return NULL;
}

static void compare_run(struct slice_tags *st, const struct check_run *run)
{
	struct check *k = st->k;

	for (uint32_t i = 0; i < run->count; i++) {
		uint32_t block = cfs_vaddr_block(run->vaddr) + i;
		struct cfs_tag tag;
		const char *why = "no page of its group is good";

		if (tag_of(st, cfs_geometry_group(k->geo, block),
			   cfs_geometry_index(k->geo, block), &tag))
			why = compare(run, i, &tag);
		if (why) {
			cfs_check_say(k, "tag",
				      "tag of address %#" PRIx64 " (%" PRIu32
				      " blocks): %s",
				      run->vaddr + i, run->count - i, why);
			return; /* once for a run */
		}
	}
}

/*
 * Garbage is allowed, but not of the future: it would pass for the newest. What
 * a client may write in is between it and us: it writes tags before it tells us
 * of what they are for, with stamps of its own range.
 */
static void compare_unowned(struct slice_tags *st)
{
	struct check *k = st->k;
	const uint64_t *owned = k->owned[st->area.lslice];
	struct cfs_tag tag;

	for (uint32_t i = 0; i < k->geo->data_count; i++) {
		uint32_t block = k->geo->data_start + i;
		uint32_t group = cfs_geometry_group(k->geo, block);

		if (owned[i / 64] >> (i % 64) & 1)
			continue;
		if (tag_of(st, group, cfs_geometry_index(k->geo, block),
			   &tag) &&
		    !st->has_open && !cfs_tag_is_free(&tag) &&
		    tag.stamp > k->stamp &&
		    !cfs_repair_is_away(k->c, st->area.lslice, group))
			cfs_check_say(k, "tag",
				      "tag of address %#" PRIx64
				      " is newer than the root, and nothing "
				      "names it",
				      cfs_vaddr(st->area.lslice, block));
	}
}

static int check_slice(struct check *k, uint64_t lslice, size_t *at,
		       bool is_last)
{
	CFS_CLEANUP(cfs_freep) struct slice_tags *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	st->k = k;
	st->group = UINT32_MAX;
	r = cfs_tag_area_load(k->mv, lslice, &st->area, k->err);
	if (r < 0)
		return r;
	while (*at < k->runs.count &&
	       cfs_vaddr_lslice(k->runs.items[*at].vaddr) == lslice)
		compare_run(st, &k->runs.items[(*at)++]);
	if (is_last && !k->has_lost_nodes)
		compare_unowned(st);
	cfs_tag_area_done(&st->area);
	return cfs_check_stopped(k);
}

int cfs_check_tags(struct check *k, bool is_last)
{
	size_t at = 0;
	int r = 0;

	if (k->runs.count > 0)
		qsort(k->runs.items, k->runs.count, sizeof(*k->runs.items),
		      by_vaddr);
	for (uint64_t l = 0; l < k->lslice_end && r == 0; l++) {
		bool has_runs = at < k->runs.count &&
				cfs_vaddr_lslice(k->runs.items[at].vaddr) == l;

		if (k->owned[l] && (has_runs || is_last))
			r = check_slice(k, l, &at, is_last);
	}
	k->runs.count = 0;
	return r;
}
