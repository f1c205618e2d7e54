/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/slice_copy.h"

#include "base/cleanup.h"
#include "ondisk/geometry.h"
#include "ondisk/label.h"
#include "ondisk/tag.h"
#include "tree/space.h"

#include <inttypes.h>
#include <stdlib.h>

struct group_buf {
	struct cfs_page_disk tags[2];
	uint8_t blocks[CFS_TAGS_PER_PAGE][CFS_BLOCK_BYTES];
};

struct copier {
	struct cfs_slice_copy *copy;
	const struct cfs_piece *to;
	struct cfs_dev *to_dev;
	unsigned int order[CFS_PIECES_MAX]; /* sources, best first */
	unsigned int source_count;
	struct cfs_slice_geometry geo;
	uint64_t slices_offset_bytes;
	uint64_t seed, pool_lo;
	bool is_zero; /* the target reads as zeroes */
	struct group_buf *buf;
	uint8_t *spare; /* a block */
};

static uint64_t offset_of(const struct copier *k, const struct cfs_piece *p,
			  uint32_t block)
{
	return k->slices_offset_bytes + p->slice_index * k->geo.slice_bytes +
	       (uint64_t)block * CFS_BLOCK_BYTES;
}

static int read_from(const struct copier *k, unsigned int source,
		     uint32_t block, uint32_t count, void *buf)
{
	const struct cfs_piece *p = &k->copy->from[k->order[source]];

	return cfs_dev_read(cfs_devset_dev(k->copy->set, p->device_index),
			    offset_of(k, p, block), buf,
			    (size_t)count * CFS_BLOCK_BYTES, NULL);
}

/* Does the page count as slot @slot of the group? */
static bool is_good_page(const struct copier *k, uint32_t group,
			 unsigned int slot, const struct cfs_page_disk *disk,
			 struct cfs_page *ret)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = k->pool_lo,
		.owner = k->copy->container_id,
		.address = cfs_vaddr(k->copy->lslice, group),
	};

	return cfs_page_unpack(disk, &expect, ret, NULL) == 0 &&
	       ret->generation == k->copy->from_generation &&
	       (ret->seq & 1) == slot;
}

/*
 * Both slots of the group's tag page, each from the first piece that has it;
 * sealed for the target.  -> the one that counts, or NULL.
 */
static const struct cfs_page_disk *load_tags(struct copier *k, uint32_t group)
{
	const struct cfs_page_disk *best = NULL;
	uint64_t best_seq = 0;

	for (unsigned int slot = 0; slot < 2; slot++) {
		struct cfs_page_disk *disk = &k->buf->tags[slot];
		const uint32_t at = cfs_geometry_tags_block(&k->geo, group,
							    slot);
		struct cfs_page page = { 0 };
		bool is_good = false;

		for (unsigned int s = 0; !is_good && s < k->source_count; s++)
			is_good = read_from(k, s, at, 1, disk) == 0 &&
				  is_good_page(k, group, slot, disk, &page);
		if (!is_good) {
			memset(disk, 0, sizeof(*disk));
			continue;
		}
		page.generation = k->copy->to_generation;
		cfs_page_pack(&page, disk);
		if (!best || page.seq > best_seq) {
			best = disk;
			best_seq = page.seq;
		}
	}
	return best;
}

/* Bits of the blocks in use, as far as that is known. */
static void load_used(const struct copier *k, uint32_t group, uint64_t ret[2])
{
	const struct cfs_slice_copy *copy = k->copy;

	memset(ret, 0, 2 * sizeof(*ret));
	if (!copy->c)
		return;
	if (!copy->is_locked)
		cfs_container_lock(copy->c);
	(void)cfs_space_group_used(copy->c, copy->lslice, group, ret, NULL);
	if (!copy->is_locked)
		cfs_container_unlock(copy->c);
}

static bool is_right(const struct copier *k, const struct cfs_tag *tag,
		     const void *block)
{
	return cfs_tag_csum(tag, k->seed, block) == tag->csum;
}

static bool has_csum(const struct cfs_tag *tag)
{
	return tag->type == CFS_TAG_DATA || tag->type == CFS_TAG_NODE ||
	       tag->type == CFS_TAG_TABLE;
}

/*
 * A block that the first source has bad (@was_read), or not at all: the same
 * from another piece.  False: none is right; what could be read is there.
 */
static bool find_other(const struct copier *k, uint32_t block,
		       const struct cfs_tag *tag, bool was_read, uint8_t *dst)
{
	for (unsigned int s = was_read ? 1 : 0; s < k->source_count; s++) {
		if (read_from(k, s, block, 1, k->spare) < 0)
			continue;
		if (!tag || is_right(k, tag, k->spare)) {
			memcpy(dst, k->spare, CFS_BLOCK_BYTES);
			return true;
		}
		if (!was_read)
			memcpy(dst, k->spare, CFS_BLOCK_BYTES);
		was_read = true;
	}
	if (!was_read)
		memset(dst, 0, CFS_BLOCK_BYTES);
	return false;
}

/* False: it is not right, and no other one is. */
static bool judge_block(struct copier *k, uint32_t start, uint32_t i,
			const struct cfs_tags_payload_disk *tags, bool was_read,
			bool is_used)
{
	uint8_t *block = k->buf->blocks[i];
	const struct cfs_tag *wanted = NULL;
	struct cfs_tag tag;

	if (tags) {
		cfs_tag_unpack(&tags->tags[i], &tag);
		wanted = has_csum(&tag) ? &tag : NULL;
	}
	if ((was_read && (!wanted || is_right(k, wanted, block))) ||
	    find_other(k, start + i, wanted, was_read, block))
		return true;
	k->copy->damaged_blocks += is_used;
	return false;
}

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 &&
	       memcmp(block, block + 1, CFS_BLOCK_BYTES - 1) == 0;
}

static int write_to(const struct copier *k, uint32_t block, uint32_t count,
		    const void *buf, struct cfs_err *err)
{
	return cfs_dev_write(k->to_dev, offset_of(k, k->to, block), buf,
			     (size_t)count * CFS_BLOCK_BYTES, err);
}

/* Runs of blocks; zeroes only where something else may stand. */
static int write_blocks(const struct copier *k, uint32_t start, uint32_t count,
			struct cfs_err *err)
{
	uint32_t from = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i <= count; i++) {
		if (i < count && !(k->is_zero && is_zero(k->buf->blocks[i])))
			continue;
		if (i > from)
			r = write_to(k, start + from, i - from,
				     k->buf->blocks[from], err);
		from = i + 1;
	}
	return r;
}

static int copy_group(struct copier *k, uint32_t group, struct cfs_err *err)
{
	const uint32_t start = cfs_geometry_group_start(&k->geo, group);
	const uint32_t count = cfs_geometry_group_blocks(&k->geo, group);
	const struct cfs_page_disk *page = load_tags(k, group);
	const struct cfs_tags_payload_disk *tags =
		page ? (const void *)page->payload : NULL;
	const bool is_read = read_from(k, 0, start, count, k->buf->blocks) == 0;
	bool is_right_all = true;
	uint64_t used[2];
	int r;

	load_used(k, group, used);
	for (uint32_t i = 0; i < count; i++) {
		const bool was_read = is_read ||
				      read_from(k, 0, start + i, 1,
						k->buf->blocks[i]) == 0;

		is_right_all &= judge_block(k, start, i, tags, was_read,
					    used[i / 64] >> i % 64 & 1);
	}
	if (!is_right_all && k->copy->ret_doubtful)
		k->copy->ret_doubtful[group / 8] |= (uint8_t)(1u << group % 8);
	r = write_blocks(k, start, count, err);
	for (unsigned int slot = 0; r == 0 && slot < 2; slot++)
		if (!k->is_zero || !is_zero((void *)&k->buf->tags[slot]))
			r = write_to(
				k,
				cfs_geometry_tags_block(&k->geo, group, slot),
				1, &k->buf->tags[slot], err);
	return r;
}

/* Those that can be read, @prefer first. */
static void find_sources(struct copier *k, unsigned int prefer)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const unsigned int at = (prefer + i) % CFS_PIECES_MAX;
		const struct cfs_piece *p = &k->copy->from[at];

		if (p->flags & CFS_PIECE_USED &&
		    !(p->flags & CFS_PIECE_STALE) &&
		    cfs_devset_dev(k->copy->set, p->device_index))
			k->order[k->source_count++] = at;
	}
}

/* What stood there goes; on a file the range is a hole then, and its space on
 * the host is had before anything counts on it. */
static int prepare(struct copier *k, struct cfs_err *err)
{
	const uint64_t bytes = k->geo.slice_bytes - 2 * CFS_BLOCK_BYTES;

	if (cfs_dev_kind(k->to_dev) == CFS_DEV_FILE)
		k->is_zero = cfs_dev_discard(k->to_dev, offset_of(k, k->to, 1),
					     bytes, NULL) == 0;
	return cfs_dev_allocate(k->to_dev, offset_of(k, k->to, 0),
				k->geo.slice_bytes, err);
}

int cfs_slice_copy(struct cfs_slice_copy *copy, const struct cfs_piece *to,
		   unsigned int prefer, const uint8_t *groups,
		   struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(copy->set, 0);
	struct copier k = {
		.copy = copy,
		.to = to,
		.to_dev = cfs_devset_dev(copy->set, to->device_index),
		.slices_offset_bytes = label->slices_offset_bytes,
		.seed = cfs_tag_container_seed(copy->uuid),
		.pool_lo = cfs_pool_lo(label->pool_uuid),
	};
	int r = cfs_slice_geometry_init(label->slice_bytes, &k.geo, err);

	find_sources(&k, prefer);
	if (r == 0 && k.source_count == 0)
		r = cfs_err_set(err, -ENODEV,
				"slice %" PRIu64 ": no device "
				"that has it is there",
				copy->lslice);
	/* Only what has been copied whole is copied in part. */
	if (r == 0 && !groups)
		r = prepare(&k, err);
	if (r < 0)
		return r;
	k.buf = cfs_dev_buf_alloc(sizeof(*k.buf));
	k.spare = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	if (!k.buf || !k.spare)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (uint32_t g = 0; r == 0 && g < k.geo.group_count; g++)
		if (!groups || groups[g / 8] >> g % 8 & 1)
			r = copy_group(&k, g, err);
	if (r == 0)
		r = cfs_dev_flush(k.to_dev, err);
	free(k.buf);
	free(k.spare);
	return r;
}
