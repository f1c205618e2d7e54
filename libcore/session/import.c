/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ways into a tree: each is a source put together with the tree's sink. */
#include "session/import.h"

#include "base/cleanup.h"
#include "session/transfer.h"
#include "session/transfer_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* What a run needs; the sink counts only when nothing is to change. */
struct run {
	struct transfer t;
	struct transfer_tree_sink sink;
	struct cfs_err own; /* if the caller wants none */
};

static int run_begin(struct run *run, struct cfs_fs *fs, uint64_t dir_ino,
		     const struct cfs_transfer_options *opt,
		     struct cfs_transfer_result *ret, struct cfs_err *err)
{
	bool is_dry = opt && opt->is_dry_run;

	transfer_init(&run->t, opt, ret,
		      is_dry ? &transfer_null_sink : &transfer_tree_sink,
		      &run->sink);
	if (is_dry) {
		memset(&run->sink, 0, sizeof(run->sink));
		return 0;
	}
	return transfer_tree_sink_init(&run->sink, fs, dir_ino, err);
}

static void run_end(struct run *run)
{
	transfer_done(&run->t);
	transfer_tree_sink_done(&run->sink);
}

int cfs_import_archive(struct cfs_fs *fs, uint64_t dir_ino, int fd,
		       const struct cfs_transfer_options *opt,
		       struct cfs_transfer_result *ret, struct cfs_err *err)
{
	struct run run = { .own = CFS_ERR_INIT };
	int r;

	err = err ? err : &run.own;
	r = run_begin(&run, fs, dir_ino, opt, ret, err);
	if (r == 0)
		r = transfer_read_archive(&run.t, fd, err);
	run_end(&run);
	return r;
}

int cfs_import_directory(struct cfs_fs *fs, uint64_t dir_ino, const char *path,
			 const struct cfs_transfer_options *opt,
			 struct cfs_transfer_result *ret, struct cfs_err *err)
{
	int r, dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0) {
		memset(ret, 0, sizeof(*ret));
		return cfs_err_errno(err, -errno, "%s", path);
	}
	r = cfs_import_path(fs, dir_ino, "", dir_fd, ".", opt, ret, err);
	close(dir_fd);
	return r;
}

int cfs_import_path(struct cfs_fs *fs, uint64_t dir_ino, const char *name,
		    int source_dir_fd, const char *source_name,
		    const struct cfs_transfer_options *opt,
		    struct cfs_transfer_result *ret, struct cfs_err *err)
{
	struct run run = { .own = CFS_ERR_INIT };
	int r;

	err = err ? err : &run.own;
	r = run_begin(&run, fs, dir_ino, opt, ret, err);
	if (r == 0)
		r = transfer_walk_host(&run.t, source_dir_fd, source_name, name,
				       err);
	run_end(&run);
	return r;
}

int cfs_transfer_tree(struct cfs_fs *fs, uint64_t dir_ino, const char *name,
		      struct cfs_fs *source_fs, uint64_t source_ino,
		      const struct cfs_transfer_options *opt,
		      struct cfs_transfer_result *ret, struct cfs_err *err)
{
	struct run run = { .own = CFS_ERR_INIT };
	int r;

	err = err ? err : &run.own;
	r = run_begin(&run, fs, dir_ino, opt, ret, err);
	if (r == 0)
		r = transfer_walk_tree(&run.t, source_fs, source_ino, name,
				       err);
	run_end(&run);
	return r;
}
