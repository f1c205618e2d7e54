/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Into a tree: archives, and directories of the host.
 *
 * What comes is not trusted.  A name's leading '/' is dropped; an entry that
 * leads out of the directory (by "..", or by a path through a symbolic link)
 * is left out and reported, and so is one that cannot be what it says; the
 * rest is kept.  Sizes in headers are never allocated.
 *
 * An existing directory stays and takes the attributes of the one that comes;
 * any other entry of the same name is replaced when the new one is complete.
 * A failure that concerns all (no space, no memory, a stop, a device) ends the
 * import; what was made by then stays: removing it is the caller's
 * (cfs_transfer_remove), who knows whether the place was empty before.
 *
 * Nothing is durable before cfs_io_sync (or cfs_fs_sync).
 */
#pragma once

#include "base/err.h"
#include "session/session.h"

struct cfs_fs;

/*
 * One entry that was left out, or not wholly kept.
 * @path  below the destination, as bytes with a NUL; "" is the destination
 * @err   why; -EXDEV: it leads out
 */
typedef void (*cfs_transfer_failed_fn)(void *arg, const char *path,
				       const struct cfs_err *err);
/* Damage that was passed over with skips_damage: zeroes stand there now. */
typedef void (*cfs_transfer_damaged_fn)(void *arg, const char *path,
					uint64_t offset_bytes,
					uint64_t length_bytes);

struct cfs_transfer_options {
	bool is_sparse; /* zeroes become holes */
	bool skips_damage;
	bool is_dry_run;          /* look, count, change nothing */
	cfs_stop_fn stop;         /* may be NULL, as all below */
	cfs_progress_fn progress; /* bytes; total as known, or 0 */
	uint64_t total_bytes;     /* for progress; 0: unknown */
	cfs_transfer_failed_fn failed;
	cfs_transfer_damaged_fn damaged;
	void *arg;
};

struct cfs_transfer_result {
	uint64_t entries;                   /* made, of any type; links too */
	uint64_t files, directories, links; /* of them */
	uint64_t bytes;                     /* of files, holes not counted */
	uint64_t skipped;                   /* calls of failed */
	uint64_t damaged_bytes;             /* passed over */
	int worst_code; /* 0, or of those reported to failed the
			 * one that says most: -EUCLEAN before
			 * -EIO before any other */
};

/*
 * Read an archive of any format and filter that libarchive reads without
 * running programs or opening files by itself (so no mtree), and make its
 * entries below @dir_ino.
 * @fd   read from where it stands, to the end; stays the caller's
 * @opt  may be NULL
 * @ret  set always
 * Returns 0, also when entries were left out (@ret->skipped); -EMEDIUMTYPE:
 * no archive; -EUCLEAN: cut or altered; -EINTR; what cfs_fs_* return.
 */
int cfs_import_archive(struct cfs_fs *fs, uint64_t dir_ino, int fd,
		       const struct cfs_transfer_options *opt,
		       struct cfs_transfer_result *ret, struct cfs_err *err);

/*
 * Copy what the host's directory @path holds, and its own attributes, to
 * @dir_ino.  Symbolic links below it are copied, never followed.
 * Returns 0, also when entries were left out; -ENOENT, -ENOTDIR, -EACCES for
 * @path itself; -EINTR; what cfs_fs_* return.
 */
int cfs_import_directory(struct cfs_fs *fs, uint64_t dir_ino, const char *path,
			 const struct cfs_transfer_options *opt,
			 struct cfs_transfer_result *ret, struct cfs_err *err);
