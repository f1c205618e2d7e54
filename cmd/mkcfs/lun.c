/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A LUN from an image.  Runs of zeroes are not written: the LUN is new, and a
 * hole reads the same.  What comes through a pipe has no size before its end:
 * it goes to a LUN as large as one can be, which is cut behind it; that costs
 * nothing, as nothing was ever written there.
 */
#include "mkcfs/mkcfs.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "session/transfer.h"

static int copy(struct cfs_cmd *cmd, struct cfs_io_volume *lun,
		const struct mkcfs_image *image, struct cfs_bytes_result *ret)
{
	const struct cfs_bytes_end from = {
		.kind = CFS_BYTES_FD,
		.fd = image->fd,
		.offset_bytes = image->base_bytes,
	};
	const struct cfs_bytes_end to = {
		.kind = CFS_BYTES_LUN,
		.lun = lun,
		.is_fresh = true,
	};
	const struct cfs_transfer_options opt = {
		.is_sparse = true,
		.stop = cfs_cmd_is_stopped,
		.progress = cfs_cmd_progress,
		.total_bytes = image->has_size ? image->size_bytes : 0,
		.arg = cmd,
	};
	int r;

	r = cfs_bytes_copy(&from, &to, UINT64_MAX, cfs_io_size_bytes(lun), &opt,
			   ret, &cmd->err);
	if (r == -EFBIG)
		return cfs_err_set(&cmd->err, -ENOSPC,
				   "the image is larger "
				   "than the LUN");
	return r < 0 && ret->is_source ? cfs_cmd_wrap(cmd, image->name, r) : r;
}

/* Cut the LUN behind what has come. */
static int cut(struct cfs_cmd *cmd, struct cfs_session *s, const char *volume,
	       uint64_t end_bytes, uint64_t *ret_size_bytes)
{
	uint64_t size = cfs_align_up(end_bytes, CFS_BLOCK_BYTES);
	int r;

	if (!end_bytes)
		return cfs_err_set(&cmd->err, -EINVAL,
				   "the image is empty: "
				   "give a size");
	r = cfs_session_resize_volume(s, volume, size, &cmd->err);
	if (r == 0)
		*ret_size_bytes = size;
	return r;
}

int mkcfs_fill_lun(struct cfs_cmd *cmd, struct cfs_session *s,
		   const char *volume, const struct mkcfs_image *image,
		   bool cuts, uint64_t *size_bytes, uint64_t *ret_bytes)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *lun = NULL;
	struct cfs_bytes_result result = { .copied_bytes = 0 };
	struct cfs_progress *progress;
	int r;

	r = cfs_io_open(s, volume, NULL, true, &lun, &cmd->err);
	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "copy", "bytes",
				      image->has_size ? image->size_bytes : 0);
	r = copy(cmd, lun, image, &result);
	cfs_progress_end(progress);
	/* It is cut when nobody has it open, whichever way. */
	if (r == 0 && cuts)
		r = cfs_io_sync(lun, &cmd->err);
	if (r == 0 && cuts) {
		cfs_io_close(CFS_STEAL(lun));
		r = cut(cmd, s, volume, result.copied_bytes, size_bytes);
	}
	if (r == 0)
		*ret_bytes = result.data_bytes;
	return r;
}
