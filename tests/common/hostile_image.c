// SPDX-License-Identifier: GPL-3.0-or-later
/* The sound pool, what stands where in it, and edits with their checksums. */
#include "hostile.h"

#include "crash_world.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include "base/xxh.h"
#include "device/overlay.h"
#include "ondisk/frame.h"
#include "ondisk/node.h"
#include "ondisk/page.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define K     UINT64_C(1024)
#define BLOCK ((size_t)CFS_BLOCK_BYTES)

enum part_kind { PART_NODE, PART_FRAME, PART_PAGE };

struct part {
	uint64_t offset_bytes;
	size_t bytes;
	enum part_kind kind;
	unsigned int page_kind;
	uint64_t csum;   /* by which others know it */
	uint8_t *edited; /* NULL: as it is on the device */
	unsigned int mends;
	bool is_dirty;
};

/* @parent knows @child by the 8 bytes at @at. */
struct edge {
	size_t child, parent, at;
};

struct hostile {
	struct crash_world world;
	CFS_VEC(struct part) parts;
	CFS_VEC(struct edge) edges;
	CFS_VEC(size_t) kinds[8]; /* parts of each kind that edits name */
};

/* ---- the sound pool ------------------------------------------------------ */

static const struct crash_op story[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 4096 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 640 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 100 * K,
	  .length = 80 * K,
	  .seed = 2 },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 8 * K, .length = 40 * K },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c" },
	{ .kind = OP_WRITE,
	  .volume = "a/c",
	  .offset = 12 * K,
	  .length = 90 * K,
	  .seed = 3 },
	{ .kind = OP_SNAP, .volume = "a/c", .name = "s2" },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0", .name2 = "s3" },
	{ .kind = OP_CREATE, .volume = "t", .is_tree = true },
	{ .kind = OP_TMKDIR, .volume = "t", .name = "d" },
	{ .kind = OP_TMKDIR, .volume = "t", .name = "d/e" },
	{ .kind = OP_TCREATE, .volume = "t", .name = "f" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "f",
	  .length = 70 * K,
	  .seed = 4 },
	{ .kind = OP_TCREATE, .volume = "t", .name = "d/g" },
	{ .kind = OP_TXATTR,
	  .volume = "t",
	  .name = "d/g",
	  .length = 3000,
	  .seed = 5 },
	{ .kind = OP_TLINK, .volume = "t", .name = "d/g", .name2 = "h" },
	{ .kind = OP_TSYMLINK, .volume = "t", .name = "l", .name2 = "d/e/x" },
	{ .kind = OP_SNAP, .volume = "t", .name = "s0" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "f",
	  .offset = 20 * K,
	  .length = 9 * K,
	  .seed = 6 },
	{ .kind = OP_TRENAME, .volume = "t", .name = "h", .name2 = "d/e/i" },
	{ .kind = OP_REOPEN },
	/* From here on it stands in logs. */
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 300 * K,
	  .length = 60 * K,
	  .seed = 7 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_PUNCH,
	  .volume = "a",
	  .offset = 305 * K,
	  .length = 11 * K },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_TCREATE, .volume = "t", .name = "d/j" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "d/j",
	  .length = 9000,
	  .seed = 8 },
	{ .kind = OP_TUNLINK, .volume = "t", .name = "f" },
	{ .kind = OP_SYNC, .volume = "t" },
	{ .kind = OP_KILL },
};

static int tell(struct hostile *h, struct cfs_err *err)
{
	int r = crash_world_init(&h->world, &crash_shape_one, err);

	if (r == 0)
		r = crash_world_open(&h->world, err);
	for (size_t i = 0; r == 0 && i < CFS_ARRAY_COUNT(story) - 1; i++)
		r = crash_world_apply(&h->world, &story[i], err);
	crash_world_drop(&h->world);
	return r;
}

/* ---- what stands where --------------------------------------------------- */

static uint64_t word_at(const uint8_t *p)
{
	le64 w;

	memcpy(&w, p, sizeof(w));
	return le64_get(w);
}

static uint64_t frame_csum_lo(const uint8_t *frame)
{
	return word_at(frame + offsetof(struct cfs_frame_header_disk, csum));
}

/* What begins at @offset_bytes, of which @block is the first block. */
static bool classify(const uint8_t *block, uint64_t offset_bytes,
		     uint64_t end_bytes, struct part *ret)
{
	const struct cfs_page_disk *page = (const void *)block;
	const struct cfs_frame_header_disk *frame = (const void *)block;

	*ret = (struct part){ .offset_bytes = offset_bytes, .bytes = BLOCK };
	switch (le32_get(page->magic)) {
	case CFS_PAGE_MAGIC:
		ret->kind = PART_PAGE;
		ret->page_kind = le16_get(page->kind);
		return ret->page_kind < 8;
	case CFS_NODE_MAGIC:
		ret->kind = PART_NODE;
		ret->csum = cfs_xxh3(block, BLOCK);
		return true;
	case CFS_FRAME_MAGIC:
		ret->kind = PART_FRAME;
		ret->csum = frame_csum_lo(block);
		ret->bytes = le32_get(frame->block_count) * BLOCK;
		return ret->bytes && ret->bytes <= end_bytes - offset_bytes &&
		       ret->bytes <= CFS_FRAME_BLOCKS_MAX * BLOCK;
	default:
		return false;
	}
}

static int scan(struct hostile *h, struct cfs_dev *dev, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint8_t *block = cfs_dev_buf_alloc(BLOCK);
	const uint64_t end = cfs_dev_size_bytes(dev);
	int r = block ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < end; at += BLOCK) {
		struct part part;

		r = cfs_dev_read(dev, at, block, BLOCK, err);
		if (r == 0 && classify(block, at, end, &part))
			r = cfs_vec_push(&h->parts, part) < 0 ? -ENOMEM : 0;
	}
	return r;
}

/* A part as it is now, in memory that is its own. */
static uint8_t *contents(struct cfs_dev *dev, struct part *part)
{
	struct cfs_err err = CFS_ERR_INIT;

	if (part->edited)
		return part->edited;
	part->edited = cfs_dev_buf_alloc(part->bytes);
	if (part->edited && cfs_dev_read(dev, part->offset_bytes, part->edited,
					 part->bytes, &err) < 0) {
		free(part->edited);
		part->edited = NULL;
	}
	return part->edited;
}

static int link_to(struct hostile *h, size_t parent, const uint8_t *bytes,
		   size_t count)
{
	for (size_t at = 0; at + 8 <= count; at++) {
		uint64_t word = word_at(bytes + at);

		for (size_t i = 0; word && i < h->parts.count; i++) {
			struct edge e = { i, parent, at };

			if (i != parent && h->parts.items[i].csum == word &&
			    cfs_vec_push(&h->edges, e) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* Nodes are known to nodes and roots; frames to the frame behind them. */
static int link_all(struct hostile *h, struct cfs_dev *dev)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < h->parts.count; i++) {
		struct part *part = &h->parts.items[i];
		const size_t bytes = part->kind == PART_FRAME
					     ? CFS_FRAME_HEADER_BYTES
					     : BLOCK;
		const uint8_t *buf;

		if (part->kind == PART_PAGE && part->page_kind != CFS_PAGE_ROOT)
			continue;
		buf = contents(dev, part);
		r = buf ? link_to(h, i, buf, bytes) : -ENOMEM;
		free(part->edited);
		part->edited = NULL;
	}
	return r;
}

/* Nodes that nobody knows are of the past. */
static bool is_known(const struct hostile *h, size_t part)
{
	for (size_t i = 0; i < h->edges.count; i++)
		if (h->edges.items[i].child == part)
			return true;
	return h->parts.items[part].kind != PART_NODE;
}

static int sort(struct hostile *h)
{
	for (size_t i = 0; i < h->parts.count; i++) {
		const struct part *part = &h->parts.items[i];
		const unsigned int kind = part->kind == PART_NODE ? 0
					  : part->kind == PART_FRAME
						  ? 7
						  : part->page_kind;

		if (is_known(h, i) && cfs_vec_push(&h->kinds[kind], i) < 0)
			return -ENOMEM;
	}
	return 0;
}

int hostile_new(struct hostile **ret, struct cfs_err *err)
{
	struct hostile *h = calloc(1, sizeof(*h));
	struct cfs_dev *dev = NULL;
	int r = h ? tell(h, err) : -ENOMEM;

	if (r == 0)
		r = cfs_sim_dev_open(h->world.sim, 0, &dev, err);
	if (r == 0)
		r = scan(h, dev, err);
	if (r == 0)
		r = link_all(h, dev);
	if (r == 0)
		r = sort(h);
	cfs_dev_close(dev);
	if (r < 0) {
		hostile_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void hostile_free(struct hostile *h)
{
	if (!h)
		return;
	if (h->world.sim)
		crash_world_done(&h->world);
	for (unsigned int i = 0; i < CFS_ARRAY_COUNT(h->kinds); i++)
		cfs_vec_done(&h->kinds[i]);
	cfs_vec_done(&h->parts);
	cfs_vec_done(&h->edges);
	free(h);
}

/* ---- edits --------------------------------------------------------------- */

static const uint64_t nasty[] = {
	0,
	1,
	2,
	127,
	128,
	255,
	256,
	4095,
	4096,
	4097,
	65535,
	65536,
	INT32_MAX,
	UINT32_MAX,
	(uint64_t)UINT32_MAX + 1,
	INT64_MAX,
	UINT64_MAX,
	UINT64_C(1) << 63,
	UINT64_C(1) << 60,
	(UINT64_C(1) << 60) - 1,
	UINT64_C(1) << 48,
	(UINT64_C(1) << 48) - 1,
	UINT64_C(1) << 56,
	(UINT64_C(1) << 26) - 1,
	UINT64_C(1) << 22,
	UINT64_C(1) << 44,
};

/* The bytes that mean something are hit, not the empty middle of a node. */
static size_t place_in(const struct part *part, const uint8_t *buf, size_t at)
{
	const struct cfs_node_header_disk *node = (const void *)buf;
	const struct cfs_frame_header_disk *frame = (const void *)buf;
	size_t front, back;

	switch (part->kind) {
	case PART_NODE:
		front = sizeof(*node) +
			2 * (size_t)le16_get(node->record_count);
		back = CFS_MIN((size_t)le16_get(node->records_start), BLOCK);
		if (front > back)
			return at % BLOCK;
		at %= front + BLOCK - back;
		return at < front ? at : back + at - front;
	case PART_FRAME:
		front = CFS_FRAME_HEADER_BYTES +
			(size_t)le32_get(frame->record_bytes);
		return at % CFS_MIN(front, part->bytes);
	default:
		return part->page_kind == CFS_PAGE_TAGS ||
				       part->page_kind == CFS_PAGE_ROOT
			       ? at % BLOCK
			       : at % 512;
	}
}

static void put(uint8_t *to, size_t room, uint64_t value, size_t bytes)
{
	const le64 w = le64_put(value);

	memcpy(to, &w, CFS_MIN(bytes, room));
}

static void change(const struct hostile *h, const struct part *part,
		   uint8_t *buf, size_t at, unsigned int op, uint32_t value)
{
	uint8_t *to = buf + at;
	const size_t room = part->bytes - at;
	const struct part *other;

	switch (op & 7) {
	case 0:
		*to ^= (uint8_t)(1u << (value & 7));
		break;
	case 1:
	case 2:
	case 3:
		put(to, room, value, (size_t)1 << ((op & 7) - 1));
		break;
	case 4:
		put(to, room, nasty[value % CFS_ARRAY_COUNT(nasty)], 8);
		break;
	case 5:
		put(to, room,
		    room < 8 ? value : word_at(to) + (uint64_t)(int32_t)value,
		    8);
		break;
	case 6:
		memmove(to, buf + value % part->bytes,
			CFS_MIN(CFS_MIN(room, (size_t)(value >> 16 & 63) + 1),
				part->bytes - value % part->bytes));
		break;
	default:
		other = &h->parts.items[value % h->parts.count];
		put(to, room, other->csum, 8);
		break;
	}
}

static void edit(struct hostile *h, struct cfs_dev *dev, const uint8_t *e)
{
	const unsigned int kind = e[0] & 7;
	const size_t which = e[1] | (size_t)e[2] << 8;
	const size_t at = e[3] | (size_t)e[4] << 8;
	const uint32_t value = e[6] | (uint32_t)e[7] << 8 |
			       (uint32_t)e[8] << 16 | (uint32_t)e[9] << 24;
	struct part *part;
	uint8_t *buf;

	if (!h->kinds[kind].count)
		return;
	part = &h->parts.items[h->kinds[kind]
				       .items[which % h->kinds[kind].count]];
	buf = contents(dev, part);
	if (!buf)
		return;
	change(h, part, buf, place_in(part, buf, at), e[5], value);
	part->is_dirty |= !(e[5] & 0x80);
}

/* ---- checksums ----------------------------------------------------------- */

static uint64_t seal_frame(const struct part *part, uint8_t *buf)
{
	struct cfs_frame_header_disk *f = (void *)buf;
	uint8_t canonical[16];

	memset(f->csum, 0, sizeof(f->csum));
	cfs_xxh3_128(buf, part->bytes, canonical);
	for (unsigned int i = 0; i < 16; i++)
		f->csum[i] = canonical[15 - i];
	return frame_csum_lo(buf);
}

/* Returns by what others shall know it. */
static uint64_t seal(const struct part *part, uint8_t *buf)
{
	struct cfs_page_disk *page = (void *)buf;

	switch (part->kind) {
	case PART_NODE:
		cfs_node_seal(buf);
		return cfs_xxh3(buf, BLOCK);
	case PART_FRAME:
		return seal_frame(part, buf);
	default:
		page->csum = le64_put(0);
		page->csum = le64_put(cfs_xxh3(page, sizeof(*page)));
		return 0;
	}
}

/* Upwards, until nothing has changed.  A part that stands above itself would
 * go on for ever. */
static void mend(struct hostile *h, struct cfs_dev *dev, size_t index)
{
	struct part *part = &h->parts.items[index];
	uint64_t csum;

	if (part->mends++ > 8)
		return;
	csum = seal(part, part->edited);
	for (size_t i = 0; i < h->edges.count; i++) {
		const struct edge *e = &h->edges.items[i];
		uint8_t *buf;

		if (e->child != index)
			continue;
		buf = contents(dev, &h->parts.items[e->parent]);
		if (!buf)
			continue;
		put(buf + e->at, 8, csum, 8);
		h->parts.items[e->parent].is_dirty = true;
	}
}

static void mend_all(struct hostile *h, struct cfs_dev *dev)
{
	bool is_again = true;

	while (is_again) {
		is_again = false;
		for (size_t i = 0; i < h->parts.count; i++) {
			if (!h->parts.items[i].is_dirty)
				continue;
			h->parts.items[i].is_dirty = false;
			mend(h, dev, i);
			is_again = true;
		}
	}
}

int hostile_device(struct hostile *h, const uint8_t *edits, size_t bytes,
		   struct cfs_dev **ret, struct cfs_err *err)
{
	struct cfs_dev *base = NULL, *dev = NULL;
	size_t count = CFS_MIN(bytes / HOSTILE_EDIT_BYTES,
			       (size_t)HOSTILE_EDITS_MAX);
	int r = cfs_sim_dev_open(h->world.sim, 0, &base, err);

	if (r == 0)
		r = cfs_dev_overlay_new(base, &dev, err);
	if (r < 0) {
		cfs_dev_close(base);
		return r;
	}
	for (size_t i = 0; i < count; i++)
		edit(h, dev, edits + i * HOSTILE_EDIT_BYTES);
	mend_all(h, dev);
	for (size_t i = 0; i < h->parts.count; i++) {
		struct part *part = &h->parts.items[i];

		if (r == 0 && part->edited)
			r = cfs_dev_write(dev, part->offset_bytes, part->edited,
					  part->bytes, err);
		free(part->edited);
		part->edited = NULL;
		part->mends = 0;
	}
	if (r < 0) {
		cfs_dev_close(dev);
		return r;
	}
	*ret = dev;
	return 0;
}
