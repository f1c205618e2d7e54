/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/look.h"

#include "volume/vols_priv.h"

static int take_segment(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct cfs_look *ret = arg;

	(void)err;
	if (s->kind != SEGMENT_DISK)
		return 0;
	*ret = (struct cfs_look){
		.vaddr = s->vaddr,
		.branch = s->branch,
		.stamp = s->stamp,
		.seq = s->seq,
		.csum = s->csum,
	};
	return 0;
}

int cfs_look_block(const struct cfs_view *view, uint64_t ino, uint64_t offset,
		   struct cfs_look *ret, struct cfs_err *err)
{
	*ret = (struct cfs_look){ .vaddr = CFS_VADDR_NONE };
	return cfs_segments(view, ino, offset, 1, take_segment, ret, err);
}

/* The piece of @level that has this version of @offset. */
static int history_at(struct cfs_container *c, uint16_t branch, uint64_t ino,
		      unsigned int level, uint64_t offset, uint64_t vaddr,
		      uint64_t version_word, uint64_t *ret_death,
		      struct cfs_err *err)
{
	const uint64_t start = offset & ~((UINT64_C(1) << level) - 1);
	const struct cfs_key key = { {
		cfs_map_word0(branch, ino),
		cfs_map_word1(CFS_MAP_EXTENT,
			      (uint64_t)level << CFS_MAP_LEVEL_SHIFT | start),
		version_word,
	} };
	struct cfs_extent_rec_disk disk;
	struct cfs_extent_rec rec;
	size_t bytes;
	int r = cfs_tree_get(cfs_container_tree(c, CFS_TREE_HISTORY), &key,
			     &disk, sizeof(disk), &bytes, err);

	if (r == 0)
		r = cfs_extent_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					  &rec, err);
	if (r != 0)
		return r;
	if (!rec.vaddr || rec.vaddr + (offset - start) != vaddr)
		return -ENOENT;
	*ret_death = rec.version.death;
	return 0;
}

int cfs_look_version(struct cfs_container *c, uint16_t branch, uint64_t ino,
		     uint64_t offset, uint64_t vaddr, uint64_t stamp,
		     uint16_t seq, uint64_t *ret_death, struct cfs_err *err)
{
	struct extent e;
	int r = cfs_extent_at(cfs_vols_of(c), branch, ino, offset, &e, err);

	if (r == 0 && e.offset <= offset && e.vaddr &&
	    e.vaddr + (offset - e.offset) == vaddr) {
		*ret_death = UINT64_MAX;
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	for (unsigned int l = 0; l <= CFS_HISTORY_LEVEL_MAX; l++) {
		r = history_at(c, branch, ino, l, offset, vaddr,
			       cfs_map_version_word(stamp, seq), ret_death,
			       err);
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}
