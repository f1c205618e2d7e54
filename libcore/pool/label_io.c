// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Labels on a device.
 *
 * Copies 0 and 1 stand at fixed places; where 2 and 3 stand follows from the
 * size that the label itself gives, or from the device's when both of the
 * first are gone.  A device that grew has two generations of tail copies at
 * different places, so a copy counts as good if it is valid at any of them.
 *
 * Order of writing: copies 0 and 2, flush, 1 and 3, flush.  At each moment one
 * copy in front is whole, the old or the new, and its size leads to its own
 * tail copies: power loss anywhere leaves the old label or the new one.
 */
#include "pool/devset_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>

#define SIZES_MAX 8u

struct reader {
	struct cfs_dev *dev;
	struct cfs_page_disk *page;
	struct cfs_label best;
	bool has_best;
	bool is_good[CFS_LABEL_COPIES];
	uint64_t seqs[CFS_LABEL_COPIES]; /* of those */
	uint64_t sizes[SIZES_MAX];       /* of valid labels */
	size_t size_count;
	int code; /* worst that was met */
	struct cfs_err why;
};

/* Newer beats damaged beats unreadable beats foreign, when none is valid. */
static int gravity(int code)
{
	switch (code) {
	case -ENOTSUP:
		return 4;
	case -EUCLEAN:
		return 3;
	case -EMEDIUMTYPE:
		return 1;
	default:
		return 2;
	}
}

static void note_failure(struct reader *rd, const struct cfs_err *err)
{
	if (rd->code && gravity(rd->code) >= gravity(err->code))
		return;
	rd->code = err->code;
	rd->why = *err;
}

static void note_size(struct reader *rd, uint64_t size_bytes)
{
	size_t i;

	for (i = 0; i < rd->size_count; i++)
		if (rd->sizes[i] == size_bytes)
			return;
	if (rd->size_count < SIZES_MAX)
		rd->sizes[rd->size_count++] = size_bytes;
}

static void read_copy(struct reader *rd, unsigned int copy,
		      uint64_t offset_bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label;
	int r;

	if (!cfs_range_fits(offset_bytes, CFS_PAGE_BYTES,
			    cfs_dev_size_bytes(rd->dev)))
		return;
	r = cfs_dev_read(rd->dev, offset_bytes, rd->page, CFS_PAGE_BYTES, &err);
	if (r == 0)
		r = cfs_label_unpack(rd->page, offset_bytes, &label, &err);
	if (r != 0) {
		note_failure(rd, &err);
		return;
	}
	rd->is_good[copy] = true;
	rd->seqs[copy] = label.seq;
	note_size(rd, label.size_bytes);
	if (!rd->has_best || label.seq > rd->best.seq)
		rd->best = label;
	rd->has_best = true;
}

static void read_tail(struct reader *rd, uint64_t size_bytes)
{
	unsigned int copy;

	if (size_bytes < CFS_DEVICE_TAIL_BYTES)
		return;
	for (copy = 2; copy < CFS_LABEL_COPIES; copy++)
		read_copy(rd, copy, cfs_label_offset_bytes(copy, size_bytes));
}

static int verdict(const struct reader *rd, struct cfs_err *err)
{
	const char *name = cfs_dev_name(rd->dev);

	/*
	 * A newer program may have begun to convert it: one copy of its own is
	 * enough for us to keep away.
	 */
	if (rd->code == -ENOTSUP)
		return cfs_err_set(err, -ENOTSUP,
				   "%s: made by a newer version "
				   "of cfs: %s",
				   name, rd->why.msg);
	if (rd->has_best)
		return 0;
	if (rd->code == 0 || rd->code == -EMEDIUMTYPE)
		return cfs_err_set(err, -EMEDIUMTYPE, "%s: not a cfs device",
				   name);
	if (rd->code == -EUCLEAN)
		return cfs_err_set(err, -EUCLEAN,
				   "%s: no copy of its label is "
				   "valid: %s",
				   name, rd->why.msg);
	return cfs_err_set(err, rd->code, "%s", rd->why.msg);
}

/* @ret_old_copies: valid ones that are older than the best; NULL as below. */
static int read_label(struct cfs_dev *dev, bool is_quick, struct cfs_label *ret,
		      unsigned int *ret_bad_copies,
		      unsigned int *ret_old_copies, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) void *page = cfs_dev_buf_alloc(CFS_PAGE_BYTES);
	struct reader rd = { .dev = dev, .page = page };
	unsigned int copy, bad = 0, old = 0;
	size_t i;
	int r;

	if (!page)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	for (copy = 0; copy < 2; copy++)
		read_copy(&rd, copy,
			  cfs_label_offset_bytes(copy, CFS_DEVICE_BYTES_MIN));
	/* Sizes that the tail itself reveals are followed too. */
	for (i = 0; !is_quick && i < rd.size_count; i++)
		read_tail(&rd, rd.sizes[i]);
	if (!is_quick && !rd.has_best)
		read_tail(&rd, cfs_dev_size_bytes(dev));
	r = verdict(&rd, err);
	if (r < 0)
		return r;
	for (copy = 0; copy < CFS_LABEL_COPIES; copy++) {
		bad += !rd.is_good[copy];
		old += rd.is_good[copy] && rd.seqs[copy] != rd.best.seq;
	}
	*ret = rd.best;
	if (ret_bad_copies)
		*ret_bad_copies = bad;
	if (ret_old_copies)
		*ret_old_copies = old;
	return 0;
}

int cfs_label_read(struct cfs_dev *dev, struct cfs_label *ret,
		   unsigned int *ret_bad_copies, struct cfs_err *err)
{
	return read_label(dev, false, ret, ret_bad_copies, NULL, err);
}

bool cfs_label_is_level(struct cfs_dev *dev, uint64_t seq)
{
	struct cfs_label label;
	unsigned int bad = 0, old = 0;

	return read_label(dev, false, &label, &bad, &old, NULL) == 0 && !bad &&
	       !old && label.seq >= seq;
}

int cfs_label_peek(struct cfs_dev *dev, struct cfs_label *ret,
		   struct cfs_err *err)
{
	return read_label(dev, true, ret, NULL, NULL, err);
}

int cfs_label_store(struct cfs_dev *dev, const struct cfs_label *label,
		    struct cfs_err *err)
{
	static const unsigned int order[2][2] = { { 0, 2 }, { 1, 3 } };
	CFS_CLEANUP(cfs_freep) void *page = cfs_dev_buf_alloc(CFS_PAGE_BYTES);
	unsigned int step, i;
	int r = 0;

	if (!page)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	if (label->size_bytes > cfs_dev_size_bytes(dev) ||
	    label->size_bytes < CFS_DEVICE_TAIL_BYTES)
		return cfs_err_set(err, -EINVAL,
				   "%s: a label for %" PRIu64
				   " bytes does not fit its %" PRIu64,
				   cfs_dev_name(dev), label->size_bytes,
				   cfs_dev_size_bytes(dev));
	for (step = 0; step < 2; step++) {
		for (i = 0; i < 2 && r == 0; i++) {
			uint64_t at = cfs_label_offset_bytes(order[step][i],
							     label->size_bytes);

			cfs_label_pack(label, at, page);
			r = cfs_dev_write(dev, at, page, CFS_PAGE_BYTES, err);
		}
		if (r == 0)
			r = cfs_dev_flush(dev, err);
	}
	return r;
}

int cfs_label_write(struct cfs_dev *dev, const struct cfs_label *label,
		    struct cfs_err *err)
{
	struct cfs_label next = *label;
	struct cfs_label old;

	/* Also above what another pool left there: its copies that we have
	 * not reached yet when the power goes must not win over ours. */
	if (cfs_label_read(dev, &old, NULL, NULL) == 0 && old.seq > next.seq)
		next.seq = old.seq;
	next.seq++;
	return cfs_label_store(dev, &next, err);
}
