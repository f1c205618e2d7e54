// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Overlay devices.
 *
 * What must stay true:
 *  - nothing here writes to, discards on, resizes or flushes the base;
 *  - a block whose bit is set in @present is wholly in @blocks, any other
 *    block is the base's (zeroes behind @base_end);
 *  - reads of the base are done without the mutex: most of what is read
 *    through an overlay was never written, and must stay parallel.
 */
#include "device/overlay.h"

#include "device/device_priv.h"
#include "device/sparse.h"

#include "base/bits.h"
#include "base/vec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct overlay_dev {
	struct cfs_dev dev;
	struct cfs_dev *base;
	pthread_mutex_t mutex;
	struct cfs_sparse blocks;       /* contents, by offset */
	struct cfs_sparse present;      /* one bit a block */
	CFS_VEC(uint64_t) present_list; /* the same blocks, as they came */
	uint64_t base_end;              /* bytes of the base still seen */
};

static struct overlay_dev *overlay_of(struct cfs_dev *dev)
{
	return (struct overlay_dev *)dev;
}

static bool is_present(const struct overlay_dev *o, uint64_t block)
{
	uint8_t bits;

	cfs_sparse_read(&o->present, block / 8, &bits, 1);
	return bits >> (block % 8) & 1;
}

static int set_present(struct overlay_dev *o, uint64_t block)
{
	uint8_t bits;
	int r;

	cfs_sparse_read(&o->present, block / 8, &bits, 1);
	if (bits >> (block % 8) & 1)
		return 0;
	bits = (uint8_t)(bits | 1u << (block % 8));
	if (cfs_vec_reserve(&o->present_list, 1) < 0)
		return -ENOMEM;
	r = cfs_sparse_write(&o->present, block / 8, &bits, 1);
	if (r == 0)
		(void)cfs_vec_push(&o->present_list, block);
	return r;
}

static bool any_present(const struct overlay_dev *o, uint64_t offset_bytes,
			uint64_t length_bytes)
{
	uint64_t block = offset_bytes >> CFS_BLOCK_SHIFT;
	uint64_t end = (offset_bytes + length_bytes - 1) >> CFS_BLOCK_SHIFT;

	if (!o->present_list.count)
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
	*ret_is_present = o->present_list.count && is_present(o, block);
	at = o->present_list.count ? (block + 1) << CFS_BLOCK_SHIFT : end;
	while (at < end &&
	       is_present(o, at >> CFS_BLOCK_SHIFT) == *ret_is_present)
		at += CFS_BLOCK_BYTES;
	n = (size_t)(CFS_MIN(at, end) - offset_bytes);
	if (*ret_is_present)
		cfs_sparse_read(&o->blocks, offset_bytes, buf, n);
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

/* Take a block of which only a part will be written over from the base. */
static int pull_block(struct overlay_dev *o, uint64_t block)
{
	uint64_t offset_bytes = block << CFS_BLOCK_SHIFT;
	uint8_t bytes[CFS_BLOCK_BYTES];
	int r;

	if (is_present(o, block))
		return 0;
	r = read_base(o, o->base_end, offset_bytes, bytes, sizeof(bytes));
	if (r == 0)
		r = cfs_sparse_write(&o->blocks, offset_bytes, bytes,
				     sizeof(bytes));
	return r;
}

static int overlay_write(struct overlay_dev *o, uint64_t offset_bytes,
			 const void *buf, size_t length_bytes)
{
	uint64_t end = offset_bytes + length_bytes;
	uint64_t first = offset_bytes >> CFS_BLOCK_SHIFT;
	uint64_t last = (end - 1) >> CFS_BLOCK_SHIFT;
	uint64_t block;
	int r = 0;

	pthread_mutex_lock(&o->mutex);
	if (offset_bytes % CFS_BLOCK_BYTES)
		r = pull_block(o, first);
	if (r == 0 && end % CFS_BLOCK_BYTES &&
	    !(offset_bytes % CFS_BLOCK_BYTES && first == last))
		r = pull_block(o, last);
	if (r == 0)
		r = cfs_sparse_write(&o->blocks, offset_bytes, buf,
				     length_bytes);
	for (block = first; r == 0 && block <= last; block++)
		r = set_present(o, block);
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
	uint64_t at;
	int r = 0;

	/* What was never written may as well go on showing the base. */
	pthread_mutex_lock(&o->mutex);
	for (at = start; o->present_list.count && r == 0 && at < end;
	     at += CFS_BLOCK_BYTES)
		if (is_present(o, at >> CFS_BLOCK_SHIFT))
			r = cfs_sparse_zero(&o->blocks, at, CFS_BLOCK_BYTES);
	pthread_mutex_unlock(&o->mutex);
	return r;
}

static int overlay_resize(struct cfs_dev *dev, uint64_t size_bytes)
{
	struct overlay_dev *o = overlay_of(dev);
	uint64_t now_bytes = cfs_dev_size_bytes(dev);
	int r = 0;

	/* What was cut off reads as zeroes if it ever comes back. */
	pthread_mutex_lock(&o->mutex);
	if (size_bytes < now_bytes)
		r = cfs_sparse_zero(&o->blocks, size_bytes,
				    now_bytes - size_bytes);
	if (r == 0)
		o->base_end = CFS_MIN(o->base_end, size_bytes);
	pthread_mutex_unlock(&o->mutex);
	return r;
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

	cfs_dev_close(o->base);
	cfs_sparse_done(&o->blocks);
	cfs_sparse_done(&o->present);
	cfs_vec_done(&o->present_list);
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

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The blocks of the range, in order, as transfers; buffers are the caller's
 * to free, all of them by freeing *@ret_bytes. */
static int plan_write_back(struct overlay_dev *o, uint64_t from_bytes,
			   uint64_t to_bytes, struct cfs_io **ret_ios,
			   size_t *ret_count, uint8_t **ret_bytes)
{
	size_t n = 0, room = o->present_list.count + 1;
	struct cfs_io *ios = calloc(room, sizeof(*ios));
	uint8_t *bytes = cfs_dev_buf_alloc(room * CFS_BLOCK_BYTES);

	if (!ios || !bytes) {
		free(ios);
		free(bytes);
		return -ENOMEM;
	}
	qsort(o->present_list.items, o->present_list.count,
	      sizeof(*o->present_list.items), by_number);
	for (size_t i = 0; i < o->present_list.count; i++) {
		uint64_t at = o->present_list.items[i] << CFS_BLOCK_SHIFT;

		if (at < from_bytes || at >= to_bytes)
			continue;
		ios[n] = (struct cfs_io){
			.op = CFS_IO_WRITE,
			.offset_bytes = at,
			.buf = bytes + n * CFS_BLOCK_BYTES,
			.length_bytes = CFS_BLOCK_BYTES,
		};
		cfs_sparse_read(&o->blocks, at, ios[n].buf, CFS_BLOCK_BYTES);
		n++;
	}
	*ret_ios = ios;
	*ret_count = n;
	*ret_bytes = bytes;
	return 0;
}

int cfs_dev_overlay_write_back(struct cfs_dev *dev, uint64_t from_bytes,
			       uint64_t to_bytes, struct cfs_err *err)
{
	struct overlay_dev *o = overlay_of(dev);
	struct cfs_io *ios = NULL;
	uint8_t *bytes = NULL;
	size_t count = 0;
	int r;

	assert(dev->kind == CFS_DEV_OVERLAY);
	pthread_mutex_lock(&o->mutex);
	r = plan_write_back(o, from_bytes, to_bytes, &ios, &count, &bytes);
	pthread_mutex_unlock(&o->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "%s", cfs_dev_name(dev));
	r = count ? cfs_dev_submit(o->base, ios, count, err) : 0;
	if (r == 0)
		r = cfs_dev_flush(o->base, err);
	free(ios);
	free(bytes);
	return r;
}

uint64_t cfs_dev_overlay_written_bytes(const struct cfs_dev *dev)
{
	struct overlay_dev *o = (struct overlay_dev *)(uintptr_t)dev;
	uint64_t bytes;

	assert(dev->kind == CFS_DEV_OVERLAY);
	pthread_mutex_lock(&o->mutex);
	bytes = o->present_list.count * CFS_BLOCK_BYTES;
	pthread_mutex_unlock(&o->mutex);
	return bytes;
}
