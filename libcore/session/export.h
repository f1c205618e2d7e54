/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Out of a tree: to a directory of the host, and to archives.  See import.h
 * for what failed and damaged mean, and transfer.h for @name.
 */
#pragma once

#include "session/transfer.h"

/*
 * Copy an inode with all below into the host's directory @dir_fd.  Nothing is
 * made or changed outside of it, whatever the tree holds and whatever stands
 * there: no symbolic link is followed.  Owners and attributes that only root
 * may set are left out without a word for others.
 * @is_few  the files are synced one by one; else the whole file system is,
 *          which is faster for many
 * Returns 0, also when entries were left out: what was made is durable.
 */
int cfs_export_path(struct cfs_fs *fs, uint64_t ino, int dir_fd,
		    const char *name, bool is_few,
		    const struct cfs_transfer_options *opt,
		    struct cfs_transfer_result *ret, struct cfs_err *err);

/* Remove what an export has made that failed: @name with all below. */
int cfs_export_remove(int dir_fd, const char *name, struct cfs_err *err);

/*
 * "tar", "cpio", "zip", "7z", and behind a dot a filter: "gz", "bz2", "xz",
 * "zst", "lz4", "lz", "lzma".  tar is pax, which keeps everything; the others
 * keep what they can, and what has no place in them at all (a device in a zip)
 * is reported to failed.
 * Returns 0; -EINVAL: @format is none of them.
 */
int cfs_export_check_format(const char *format, struct cfs_err *err);

/*
 * Write an archive of an inode with all below.  The names in it are relative
 * to the inode if that is a directory, else its name is @name.
 * @write  gets the bytes in order; what it returns ends the export
 * Returns 0, also when entries were left out.
 */
int cfs_export_archive(struct cfs_fs *fs, uint64_t ino, const char *name,
		       const char *format,
		       int (*write)(void *arg, const void *bytes,
				    size_t length_bytes, struct cfs_err *err),
		       void *write_arg, const struct cfs_transfer_options *opt,
		       struct cfs_transfer_result *ret, struct cfs_err *err);
