/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tree from an archive or a directory.  What leads out of it, or cannot be
 * kept, is named on standard error; the rest is kept all the same.
 */
#include "mkcfs/mkcfs.h"

#include "base/cleanup.h"
#include "session/import.h"
#include "volume/fs.h"

#include <sys/stat.h>

static void report(void *arg, const char *path, const struct cfs_err *err)
{
	cfs_cmd_fail(arg, *path ? path : "/", err);
}

static void put(struct cfs_cmd *cmd, const struct cfs_transfer_result *result)
{
	cfs_out_begin_obj(cmd->out, "copied");
	cfs_out_u64(cmd->out, "entries", result->entries);
	cfs_out_u64(cmd->out, "files", result->files);
	cfs_out_u64(cmd->out, "directories", result->directories);
	cfs_out_u64(cmd->out, "links", result->links);
	cfs_out_u64(cmd->out, "data_bytes", result->bytes);
	cfs_out_u64(cmd->out, "skipped", result->skipped);
	cfs_out_end(cmd->out);
}

static int import(struct cfs_cmd *cmd, struct cfs_fs *fs, const char *from,
		  struct cfs_transfer_result *result)
{
	CFS_CLEANUP(mkcfs_image_donep) struct mkcfs_image image = { .fd = -1 };
	struct cfs_transfer_options opt = {
		.is_dry_run = cmd->is_dry_run,
		.stop = cfs_cmd_is_stopped,
		.progress = cfs_cmd_progress,
		.failed = report,
		.arg = cmd,
	};
	uint64_t root = cfs_fs_root_ino(fs);
	struct stat st;
	int r;

	if (!cfs_name_is_stdio(from) && stat(from, &st) == 0 &&
	    S_ISDIR(st.st_mode))
		return cfs_import_directory(fs, root, from, &opt, result,
					    &cmd->err);
	r = mkcfs_image_open(from, &image, &cmd->err);
	if (r < 0)
		return r;
	return cfs_import_archive(fs, root, image.fd, &opt, result, &cmd->err);
}

int mkcfs_fill_tree(struct cfs_cmd *cmd, struct cfs_session *s,
		    const char *volume, const char *from)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *io = NULL;
	struct cfs_transfer_result result = { .entries = 0 };
	struct cfs_progress *progress;
	int r = cfs_io_open(s, volume, NULL, true, &io, &cmd->err);

	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "copy", "bytes", 0);
	r = import(cmd, cfs_io_fs(io), from, &result);
	cfs_progress_end(progress);
	if (r < 0)
		return cfs_cmd_wrap(cmd, from, r);
	r = cfs_io_sync(io, &cmd->err);
	if (r == 0)
		put(cmd, &result);
	return r;
}
