/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The scan: of each group the best page, of each tag what it says.  Where a
 * slot of a group is damaged, a newer page may have stood there: then a tag
 * of data counts only if its block verifies.
 */
#include "heal/rebuild_priv.h"
#include "heal/tags_priv.h"

#include "base/cleanup.h"
#include "device/device.h"

#include <stdlib.h>

struct scan {
	struct rebuild *b;
	struct tag_area area;
	bool is_doubtful;
	uint64_t vaddr;
	void *buf;
};

bool cfs_rebuild_read(struct rebuild *b, uint64_t vaddr,
		      const struct cfs_tag *tag, void *buf)
{
	struct cfs_metavolume *mv = b->c ? cfs_container_metavolume(b->c)
					 : b->mv;
	unsigned int readable = cfs_metavolume_readable(
		mv, cfs_vaddr_lslice(vaddr));

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if ((readable & 1u << p) &&
		    cfs_metavolume_read(mv, vaddr, 1, p, buf, NULL) == 0 &&
		    cfs_tag_csum(tag, b->seed, buf) == tag->csum)
			return true;
	return false;
}

static int no_memory(struct rebuild *b)
{
	return cfs_err_set(b->err, -ENOMEM, "out of memory");
}

static int add_data(struct scan *s, const struct cfs_tag *tag)
{
	struct rebuild *b = s->b;
	const struct rebuild_run run = {
		.branch_ino = cfs_map_word0(tag->branch, tag->ino),
		.offset = tag->offset,
		.vaddr = s->vaddr,
		.stamp = tag->stamp,
		.csum = tag->csum,
		.count = 1,
		.seq = tag->seq,
	};
	struct rebuild_run *last = b->runs.count > 0
					   ? &b->runs.items[b->runs.count - 1]
					   : NULL;

	b->ino_max = CFS_MAX(b->ino_max, tag->ino);
	if (s->is_doubtful && !cfs_rebuild_read(b, s->vaddr, tag, s->buf))
		return 0;
	if (last && last->branch_ino == run.branch_ino &&
	    last->stamp == run.stamp && last->seq == run.seq &&
	    last->offset + last->count == run.offset &&
	    last->vaddr + last->count == run.vaddr &&
	    last->count < CFS_EXTENT_BLOCKS_MAX) {
		last->count++;
		last->csum = 0;
		return 0;
	}
	return cfs_vec_push(&b->runs, run) < 0 ? no_memory(b) : 0;
}

static int add_node(struct scan *s, const struct cfs_tag *tag)
{
	const struct rebuild_node node = { .vaddr = s->vaddr, .tag = *tag };

	if (tag->ino == 0 || tag->ino > CFS_TREE_COUNT)
		return 0;
	return cfs_vec_push(&s->b->nodes, node) < 0 ? no_memory(s->b) : 0;
}

/* Adjacent blocks of the log; a group's numbering begins anew. */
static int add_log(struct scan *s)
{
	struct rebuild *b = s->b;
	struct cfs_log_extent *last =
		b->logs.count > 0 ? &b->logs.items[b->logs.count - 1] : NULL;
	const struct cfs_log_extent one = { s->vaddr, 1 };

	if (last && last->vaddr + last->block_count == s->vaddr) {
		last->block_count++;
		return 0;
	}
	return cfs_vec_push(&b->logs, one) < 0 ? no_memory(b) : 0;
}

static int add_tag(struct scan *s, const struct cfs_tag *tag)
{
	switch (tag->type) {
	case CFS_TAG_DATA:
		s->b->stamp_max = CFS_MAX(s->b->stamp_max, tag->stamp);
		return add_data(s, tag);
	case CFS_TAG_NODE:
	case CFS_TAG_TABLE:
		s->b->stamp_max = CFS_MAX(s->b->stamp_max, tag->stamp);
		return add_node(s, tag);
	case CFS_TAG_LOG:
		return add_log(s);
	default:
		return 0;
	}
}

static int scan_group(struct scan *s, uint32_t group)
{
	struct rebuild *b = s->b;
	const struct tag_group *g = &s->area.groups[group];
	uint32_t start = cfs_geometry_group_start(b->geo, group);
	uint32_t count = cfs_geometry_group_blocks(b->geo, group);
	int r = 0;

	if (!g->best) {
		b->result->lost_groups += g->is_doubtful;
		return 0;
	}
	b->stamp_max = CFS_MAX(b->stamp_max, g->head.stamp);
	if (cfs_vec_push(&b->groups, cfs_vaddr(s->area.lslice, group)) < 0)
		return no_memory(b);
	s->is_doubtful = g->is_doubtful;
	for (uint32_t i = 0; i < count && r == 0; i++) {
		struct cfs_tag tag;

		s->vaddr = cfs_vaddr(s->area.lslice, start + i);
		if (cfs_tag_area_get(&s->area, group, i, &tag) &&
		    !cfs_tag_is_free(&tag))
			r = add_tag(s, &tag);
	}
	return r;
}

int cfs_rebuild_scan(struct rebuild *b)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	struct scan s = { .b = b, .buf = buf };
	uint64_t end = cfs_metavolume_end(b->mv);
	int r = 0;

	if (!buf)
		return no_memory(b);
	for (uint64_t l = 0; l < end && r == 0; l++) {
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (!cfs_metavolume_get(b->mv, l, pieces))
			continue;
		r = cfs_tag_area_load(b->mv, l, &s.area, b->err);
		for (uint32_t g = 0; r == 0 && g < s.area.group_count; g++)
			r = scan_group(&s, g);
		cfs_tag_area_done(&s.area);
	}
	return r;
}
