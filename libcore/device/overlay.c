// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Overlay devices.
 *
 * What was written lies in whole blocks, found by a hash of their numbers.
 * They are aligned for direct transfers, so that a write-back hands them to
 * the base as they are: formatting a pool is short enough for the pages of a
 * second copy to show.
 *
 * What must stay true:
 *  - nothing here writes to, discards on, resizes or flushes the base but a
 *    write-back;
 *  - a block in @kept is wholly there, and stays at its address until the
 *    overlay is closed; any other block is the base's (zeroes behind
 *    @base_end);
 *  - reads of the base are done without the mutex: most of what is read
 *    through an overlay was never written, and must stay parallel.
 */
#include "device/overlay.h"

#include "device/device_priv.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/vec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BLOCKS 16u /* allocated at once */

struct kept {
	uint64_t block;
	uint8_t *bytes;
	UT_hash_handle hh;
};

struct overlay_dev {
	struct cfs_dev dev;
	struct cfs_dev *base;
	pthread_mutex_t mutex;
	struct kept *kept;         /* by block */
	CFS_VEC(uint8_t *) chunks; /* what the blocks lie in */
	unsigned int chunk_used;   /* blocks of the last one */
	uint64_t base_end;         /* bytes of the base still seen */
};

static struct overlay_dev *overlay_of(struct cfs_dev *dev)
{
	return (struct overlay_dev *)dev;
}

/* What was written of a block, or NULL. */
static uint8_t *find_kept(const struct overlay_dev *o, uint64_t block)
{
	struct kept *k;

	HASH_FIND(hh, o->kept, &block, sizeof(block), k);
	return k ? k->bytes : NULL;
}

static bool is_present(const struct overlay_dev *o, uint64_t block)
{
	return find_kept(o, block);
}

/* Room for one more block at the end of the last chunk. */
static int chunk_grow(struct overlay_dev *o)
{
	uint8_t *chunk;

	if (o->chunks.count && o->chunk_used < CHUNK_BLOCKS)
		return 0;
	chunk = cfs_dev_buf_alloc_unset((size_t)CHUNK_BLOCKS * CFS_BLOCK_BYTES);
	if (!chunk || cfs_vec_push(&o->chunks, chunk) < 0) {
		free(chunk);
		return -ENOMEM;
	}
	o->chunk_used = 0;
	return 0;
}

/* A place for a block that is not kept yet; the caller fills all of it. */
static int keep_block(struct overlay_dev *o, uint64_t block, uint8_t **ret)
{
	struct kept *k = chunk_grow(o) < 0 ? NULL : calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->block = block;
	k->bytes = o->chunks.items[o->chunks.count - 1] +
		   (size_t)o->chunk_used * CFS_BLOCK_BYTES;
	if (CFS_HASH_ADD(o->kept, block, k) < 0) {
		free(k);
		return -ENOMEM;
	}
	o->chunk_used++;
	*ret = k->bytes;
	return 0;
}

static bool any_present(const struct overlay_dev *o, uint64_t offset_bytes,
			uint64_t length_bytes)
{
	uint64_t block = offset_bytes >> CFS_BLOCK_SHIFT;
	uint64_t end = (offset_bytes + length_bytes - 1) >> CFS_BLOCK_SHIFT;

	if (!o->kept)
		return false;
	for (; block <= end; block++)
		if (is_present(o, block))
			return true;
	return false;
}

/* What the base shows there; zeroes where it ends. */
static int read_base(struct overlay_dev *o, uint64_t base_end,
		     uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	size_t n = 0;

	if (offset_bytes < base_end)
		n = (size_t)CFS_MIN((uint64_t)length_bytes,
				    base_end - offset_bytes);
	memset((char *)buf + n, 0, length_bytes - n);
	return n ? cfs_dev_read(o->base, offset_bytes, buf, n, NULL) : 0;
}

/* Out of blocks that are all kept. */
static void copy_kept(const struct overlay_dev *o, uint64_t offset_bytes,
		      uint8_t *to, size_t length_bytes)
{
	while (length_bytes) {
		size_t at = (size_t)(offset_bytes % CFS_BLOCK_BYTES);
		size_t n = CFS_MIN(length_bytes, CFS_BLOCK_BYTES - at);

		memcpy(to, find_kept(o, offset_bytes >> CFS_BLOCK_SHIFT) + at,
		       n);
		to += n;
		offset_bytes += n;
		length_bytes -= n;
	}
}

/*
 * How far from @offset_bytes on all blocks are alike, written here or not;
 * what was written is copied at once, under the mutex.
 */
static size_t next_run(struct overlay_dev *o, uint64_t offset_bytes, void *buf,
		       size_t length_bytes, bool *ret_is_present,
		       uint64_t *ret_base_end)
{
	uint64_t end = offset_bytes + length_bytes;
	uint64_t block = offset_bytes >> CFS_BLOCK_SHIFT;
	uint64_t at;
	size_t n;

	pthread_mutex_lock(&o->mutex);
	*ret_base_end = o->base_end;
	*ret_is_present = o->kept && is_present(o, block);
	at = o->kept ? (block + 1) << CFS_BLOCK_SHIFT : end;
	while (at < end &&
	       is_present(o, at >> CFS_BLOCK_SHIFT) == *ret_is_present)
		at += CFS_BLOCK_BYTES;
	n = (size_t)(CFS_MIN(at, end) - offset_bytes);
	if (*ret_is_present)
		copy_kept(o, offset_bytes, buf, n);
	pthread_mutex_unlock(&o->mutex);
	return n;
}

static int overlay_read(struct overlay_dev *o, uint64_t offset_bytes, char *buf,
			size_t length_bytes)
{
	int r = 0;

	while (r == 0 && length_bytes) {
		uint64_t base_end;
		bool is_written;
		size_t n = next_run(o, offset_bytes, buf, length_bytes,
				    &is_written, &base_end);

		if (!is_written)
			r = read_base(o, base_end, offset_bytes, buf, n);
		offset_bytes += n;
		buf += n;
		length_bytes -= n;
	}
	return r;
}

/*
 * Write within one block.  One that is not kept yet and is written in part is
 * taken over from the base first.
 */
static int write_block(struct overlay_dev *o, uint64_t offset_bytes,
		       const uint8_t *from, size_t length_bytes)
{
	uint64_t block = offset_bytes >> CFS_BLOCK_SHIFT;
	size_t at = (size_t)(offset_bytes % CFS_BLOCK_BYTES);
	uint8_t *bytes = find_kept(o, block);
	int r = 0;

	if (!bytes && length_bytes < CFS_BLOCK_BYTES) {
		uint8_t old[CFS_BLOCK_BYTES];

		r = read_base(o, o->base_end, block << CFS_BLOCK_SHIFT, old,
			      sizeof(old));
		if (r == 0)
			r = keep_block(o, block, &bytes);
		if (r == 0)
			memcpy(bytes, old, sizeof(old));
	} else if (!bytes) {
		r = keep_block(o, block, &bytes);
	}
	if (r == 0)
		memcpy(bytes + at, from, length_bytes);
	return r;
}

static int overlay_write(struct overlay_dev *o, uint64_t offset_bytes,
			 const uint8_t *from, size_t length_bytes)
{
	int r = 0;

	pthread_mutex_lock(&o->mutex);
	while (r == 0 && length_bytes) {
		size_t at = (size_t)(offset_bytes % CFS_BLOCK_BYTES);
		size_t n = CFS_MIN(length_bytes, CFS_BLOCK_BYTES - at);

		r = write_block(o, offset_bytes, from, n);
		from += n;
		offset_bytes += n;
		length_bytes -= n;
	}
	pthread_mutex_unlock(&o->mutex);
	return r;
}

static int overlay_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			    uint64_t offset_bytes, void *buf,
			    size_t length_bytes)
{
	struct overlay_dev *o = overlay_of(dev);

	if (op == CFS_IO_READ)
		return overlay_read(o, offset_bytes, buf, length_bytes);
	return overlay_write(o, offset_bytes, buf, length_bytes);
}

/* A batch of reads that nothing here concerns is the base's own business. */
static int overlay_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
			 void **ret_batch)
{
	struct overlay_dev *o = overlay_of(dev);
	bool is_straight = true;
	size_t i;

	if (!o->base->ops->start)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&o->mutex);
	for (i = 0; i < count && is_straight; i++) {
		const struct cfs_io *io = &ios[i];

		if (io->result != CFS_IO_PENDING)
			continue;
		is_straight = io->op == CFS_IO_READ &&
			      cfs_range_fits(io->offset_bytes, io->length_bytes,
					     o->base_end) &&
			      !any_present(o, io->offset_bytes,
					   io->length_bytes);
	}
	pthread_mutex_unlock(&o->mutex);
	if (!is_straight)
		return -EOPNOTSUPP; /* the dispatcher does it one by one */
	return o->base->ops->start(o->base, ios, count, ret_batch);
}

static void overlay_wait(struct cfs_dev *dev, void *batch)
{
	struct cfs_dev *base = overlay_of(dev)->base;

	base->ops->wait(base, batch);
}

static int overlay_flush(struct cfs_dev *dev)
{
	(void)dev;
	return 0;
}

static int overlay_discard(struct cfs_dev *dev, uint64_t offset_bytes,
			   uint64_t length_bytes)
{
	struct overlay_dev *o = overlay_of(dev);
	uint64_t start = cfs_align_up(offset_bytes, CFS_BLOCK_BYTES);
	uint64_t end = cfs_align_down(offset_bytes + length_bytes,
				      CFS_BLOCK_BYTES);

	/* What was never written may as well go on showing the base. */
	pthread_mutex_lock(&o->mutex);
	for (uint64_t at = start; o->kept && at < end; at += CFS_BLOCK_BYTES) {
		uint8_t *bytes = find_kept(o, at >> CFS_BLOCK_SHIFT);

		if (bytes)
			memset(bytes, 0, CFS_BLOCK_BYTES);
	}
	pthread_mutex_unlock(&o->mutex);
	return 0;
}

static int overlay_resize(struct cfs_dev *dev, uint64_t size_bytes)
{
	struct overlay_dev *o = overlay_of(dev);
	uint64_t block = size_bytes >> CFS_BLOCK_SHIFT;

	/* What was cut off reads as zeroes if it ever comes back. */
	pthread_mutex_lock(&o->mutex);
	for (struct kept *k = o->kept; k; k = k->hh.next) {
		size_t at = k->block == block
				    ? (size_t)(size_bytes % CFS_BLOCK_BYTES)
				    : 0;

		if (k->block >= block)
			memset(k->bytes + at, 0, CFS_BLOCK_BYTES - at);
	}
	o->base_end = CFS_MIN(o->base_end, size_bytes);
	pthread_mutex_unlock(&o->mutex);
	return 0;
}

static int overlay_lock(struct cfs_dev *dev, bool exclusive)
{
	struct cfs_dev *base = overlay_of(dev)->base;

	return base->ops->lock(base, exclusive && base->is_writable);
}

static void overlay_unlock(struct cfs_dev *dev)
{
	cfs_dev_unlock(overlay_of(dev)->base);
}

static int overlay_mark(struct cfs_dev *dev, uint64_t number, bool is_wanted)
{
	struct cfs_dev *base = overlay_of(dev)->base;

	return base->ops->mark ? base->ops->mark(base, number, is_wanted)
			       : -EOPNOTSUPP;
}

static bool overlay_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	return cfs_dev_is_same(((const struct overlay_dev *)a)->base,
			       ((const struct overlay_dev *)b)->base);
}

static bool overlay_is_direct(const struct cfs_dev *dev)
{
	return cfs_dev_is_direct(((const struct overlay_dev *)dev)->base);
}

static void overlay_close(struct cfs_dev *dev)
{
	struct overlay_dev *o = overlay_of(dev);
	struct kept *k, *next;

	cfs_dev_close(o->base);
	HASH_ITER(hh, o->kept, k, next) {
		HASH_DEL(o->kept, k);
		free(k);
	}
	for (size_t i = 0; i < o->chunks.count; i++)
		free(o->chunks.items[i]);
	cfs_vec_done(&o->chunks);
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

static const struct cfs_dev_ops overlay_ops = {
	.transfer = overlay_transfer,
	.start = overlay_start,
	.wait = overlay_wait,
	.flush = overlay_flush,
	.discard = overlay_discard,
	.resize = overlay_resize,
	.lock = overlay_lock,
	.unlock = overlay_unlock,
	.mark = overlay_mark,
	.is_same = overlay_is_same,
	.is_direct = overlay_is_direct,
	.close = overlay_close,
};

int cfs_dev_overlay_new(struct cfs_dev *base, struct cfs_dev **ret,
			struct cfs_err *err)
{
	struct overlay_dev *o = calloc(1, sizeof(*o));

	if (o)
		o->dev.name = strdup(cfs_dev_name(base));
	if (!o || !o->dev.name) {
		free(o);
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(base));
	}
	pthread_mutex_init(&o->mutex, NULL);
	o->base = base;
	o->base_end = cfs_dev_size_bytes(base);
	o->dev.ops = &overlay_ops;
	o->dev.kind = CFS_DEV_OVERLAY;
	o->dev.is_writable = true;
	o->dev.size_bytes = o->base_end;
	*ret = &o->dev;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	uint64_t x = ((const struct cfs_io *)a)->offset_bytes;
	uint64_t y = ((const struct cfs_io *)b)->offset_bytes;

	return (x > y) - (x < y);
}

/* The blocks of the range, in order, as transfers out of where they lie. */
static int plan_write_back(struct overlay_dev *o, uint64_t from_bytes,
			   uint64_t to_bytes, struct cfs_io **ret_ios,
			   size_t *ret_count)
{
	struct cfs_io *ios = calloc(HASH_COUNT(o->kept) + 1, sizeof(*ios));
	size_t n = 0;

	if (!ios)
		return -ENOMEM;
	for (const struct kept *k = o->kept; k; k = k->hh.next) {
		uint64_t at = k->block << CFS_BLOCK_SHIFT;

		if (at >= from_bytes && at < to_bytes)
			ios[n++] = (struct cfs_io){
				.op = CFS_IO_WRITE,
				.offset_bytes = at,
				.buf = k->bytes,
				.length_bytes = CFS_BLOCK_BYTES,
			};
	}
	qsort(ios, n, sizeof(*ios), by_offset);
	*ret_ios = ios;
	*ret_count = n;
	return 0;
}

/* The base reads out of the kept blocks themselves: the mutex stays taken, so
 * that nobody changes one under it. */
int cfs_dev_overlay_write_back(struct cfs_dev *dev, uint64_t from_bytes,
			       uint64_t to_bytes, struct cfs_err *err)
{
	struct overlay_dev *o = overlay_of(dev);
	struct cfs_io *ios = NULL;
	size_t count = 0;
	int r;

	assert(dev->kind == CFS_DEV_OVERLAY);
	pthread_mutex_lock(&o->mutex);
	r = plan_write_back(o, from_bytes, to_bytes, &ios, &count);
	if (r < 0)
		(void)cfs_err_errno(err, r, "%s", cfs_dev_name(dev));
	else if (count)
		r = cfs_dev_submit(o->base, ios, count, err);
	pthread_mutex_unlock(&o->mutex);
	if (r == 0)
		r = cfs_dev_flush(o->base, err);
	free(ios);
	return r;
}

uint64_t cfs_dev_overlay_written_bytes(const struct cfs_dev *dev)
{
	struct overlay_dev *o = (struct overlay_dev *)(uintptr_t)dev;
	uint64_t bytes;

	assert(dev->kind == CFS_DEV_OVERLAY);
	pthread_mutex_lock(&o->mutex);
	bytes = (uint64_t)HASH_COUNT(o->kept) * CFS_BLOCK_BYTES;
	pthread_mutex_unlock(&o->mutex);
	return bytes;
}
