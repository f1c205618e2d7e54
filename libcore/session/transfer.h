/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies between trees, from single paths of the host, and of bytes between
 * LUNs, files of trees and files of the host.  See import.h for what all
 * copies of entries keep, and export.h for the ways out.
 *
 * In all of them @name is what the copy is called in the directory that is
 * given: one component, or "" to put what the source holds into that
 * directory itself (which takes the source's attributes).
 */
#pragma once

#include "session/import.h"

/*
 * Copy @source_name in the host's directory @source_dir_fd, whatever it is,
 * with all below; a symbolic link is copied, not followed.
 */
int cfs_import_path(struct cfs_fs *fs, uint64_t dir_ino, const char *name,
		    int source_dir_fd, const char *source_name,
		    const struct cfs_transfer_options *opt,
		    struct cfs_transfer_result *ret, struct cfs_err *err);

/*
 * Copy an inode with all below to another place, of the same tree too.  That
 * place is not inside of the source (the caller has looked).
 */
int cfs_transfer_tree(struct cfs_fs *fs, uint64_t dir_ino, const char *name,
		      struct cfs_fs *source_fs, uint64_t source_ino,
		      const struct cfs_transfer_options *opt,
		      struct cfs_transfer_result *ret, struct cfs_err *err);

/*
 * Remove @name; with @is_recursive a directory with all below, from its
 * leaves up.  -ENOENT; -ENOTEMPTY: not recursive, and not empty.
 * @ret_count  names removed, also on failure; may be NULL
 */
int cfs_transfer_remove(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
			size_t name_bytes, bool is_recursive,
			const struct cfs_transfer_options *opt,
			uint64_t *ret_count, struct cfs_err *err);

/* ------------------------------------------------------------- bytes */

enum cfs_bytes_kind {
	CFS_BYTES_SINK, /* a function that takes them in order */
	CFS_BYTES_LUN,
	CFS_BYTES_FILE, /* of a tree */
	CFS_BYTES_FD,   /* of the host */
};

/* One end of a copy of bytes.  All is borrowed. */
struct cfs_bytes_end {
	enum cfs_bytes_kind kind;
	uint64_t offset_bytes; /* where the copy begins */
	struct cfs_io_volume *lun;
	struct cfs_fs *fs;
	uint64_t ino;
	int fd;
	int (*write)(void *arg, const void *bytes, size_t length_bytes,
		     struct cfs_err *err);
	void *write_arg;
	/* Destination: it reads as zeroes everywhere already. */
	bool is_fresh;
	bool has_no_sync; /* the caller will sync it */
};

struct cfs_bytes_result {
	uint64_t copied_bytes; /* from the front: all before is there */
	uint64_t data_bytes;   /* of them, not holes */
	uint64_t damaged_bytes;
	bool is_source; /* a failure was the source's */
};

/*
 * Copy @length_bytes (UINT64_MAX: to the end of the source) from one end to
 * the other.  Reading and writing overlap in several threads, and the callbacks
 * of @opt come from any of them (damaged: one at a time, with the path "").
 * Holes stay holes, and where the destination has old data it is made a hole
 * or zeroes.
 * @capacity_bytes  what the destination takes at most; UINT64_MAX: any
 * @ret  set always
 * Returns 0: all is written and durable, except of CFS_BYTES_SINK; -EFBIG: the
 * source has more than @capacity_bytes, of which all are written; -EUCLEAN,
 * -EIO: @err says where; -EINTR; what the ends return.  On failure what was
 * copied is made durable as far as possible.
 */
int cfs_bytes_copy(const struct cfs_bytes_end *from,
		   const struct cfs_bytes_end *to, uint64_t length_bytes,
		   uint64_t capacity_bytes,
		   const struct cfs_transfer_options *opt,
		   struct cfs_bytes_result *ret, struct cfs_err *err);

/*
 * How many bytes the source has behind its offset; UINT64_MAX: not known
 * before its end (a pipe).
 */
int cfs_bytes_length(const struct cfs_bytes_end *from, uint64_t *ret,
		     struct cfs_err *err);
