/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes of LUNs, files of trees and files of the host, seen as one thing. */
#pragma once

#include "session/transfer.h"

/* What is known of an end while it is copied. */
struct bytes_end {
	const struct cfs_bytes_end *end;
	const struct cfs_transfer_options *opt;
	bool is_seekable; /* FD: a file or a block device */
	bool is_regular;
	bool is_direct;      /* FD: O_DIRECT is on */
	bool has_no_holes;   /* asking for them failed once */
	uint64_t size_bytes; /* of the whole; UINT64_MAX: unknown */
	int old_flags;       /* FD: to be set again; -1: unchanged */
	int direct_fd;       /* FD: the same file past the cache; -1 */
};

int bytes_end_init(struct bytes_end *b, const struct cfs_bytes_end *end,
		   const struct cfs_transfer_options *opt, struct cfs_err *err);
void bytes_end_done(struct bytes_end *b);

/* Let writes of @length_bytes go past the host's cache, if it can. */
void bytes_end_use_direct(struct bytes_end *b, uint64_t length_bytes);

/* The same for reads. */
void bytes_end_read_direct(struct bytes_end *b, uint64_t length_bytes);

/*
 * The first data at or behind @at, up to where it ends or @limit is; both are
 * @limit if there is none.  Offsets count from the end's own offset_bytes.
 */
int bytes_end_extent(struct bytes_end *b, uint64_t at, uint64_t limit,
		     uint64_t *ret_begin, uint64_t *ret_end,
		     struct cfs_err *err);

/*
 * Read at @at; less than asked for is the end.  @ret_bytes is also set when
 * damage or a device (-EUCLEAN, -EIO) stops it: good bytes in front.
 */
int bytes_end_read(struct bytes_end *b, uint64_t at, void *buf, size_t bytes,
		   size_t *ret_bytes, struct cfs_err *err);

/* Write; an end that is no file or LUN takes all in order. */
int bytes_end_write(struct bytes_end *b, uint64_t at, const void *buf,
		    size_t bytes, struct cfs_err *err);
/* Zeroes, and no space for them where that can be. */
int bytes_end_zero(struct bytes_end *b, uint64_t at, uint64_t length_bytes,
		   struct cfs_err *err);
/* All @length_bytes are there: set the length, make it durable. */
int bytes_end_finish(struct bytes_end *b, uint64_t length_bytes,
		     struct cfs_err *err);
/* Make durable what is there. */
int bytes_end_sync(struct bytes_end *b, struct cfs_err *err);
