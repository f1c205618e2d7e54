/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What makes one view of another: each record and each block that differ, in
 * the order of keys (inode, class, offset).  It is found by births and deaths,
 * past all that lies below nodes that were not written since, so that the cost
 * follows what changed and not what there is.
 *
 * Both views are of one container, and of one line: they have an ancestor in
 * common (a snapshot before both, or the fork of a clone).  Versions must not
 * go away meanwhile: whoever names a snapshot sees to it that it stays.  All
 * that is only in memory was committed before.
 *
 * An inode that has lost its last name is none here.  Of a file, blocks behind
 * its end are none.
 *
 * Thread safety: the container's lock is held by the caller of cfs_diff_next;
 * between two calls it need not be, and the container may change.
 */
#pragma once

#include "ondisk/stream.h"
#include "volume/map.h"

struct cfs_diff;

enum cfs_change_kind {
	CFS_CHANGE_PUT,  /* a record is new, or another */
	CFS_CHANGE_DEL,  /* it is not there any more */
	CFS_CHANGE_GONE, /* an inode is not, with all it had */
	CFS_CHANGE_DATA, /* blocks have another content */
	CFS_CHANGE_HOLE, /* where blocks were there are none */
};

struct cfs_change {
	enum cfs_change_kind kind;
	uint64_t ino;
	uint64_t word; /* class and offset; GONE: 0 */
	bool is_new;   /* the inode is not in the first view */
	/* PUT: the value, without its version; valid until the next call */
	const uint8_t *value;
	size_t value_bytes;
	/* DATA, HOLE: blocks from @offset on */
	uint64_t offset;
	uint64_t count;
	/* DATA: where the blocks are and how they are tagged */
	uint64_t vaddr; /* 0: it waits in memory: read the view */
	uint64_t stamp;
	uint64_t csum; /* see struct segment */
	uint16_t branch, seq;
};

struct cfs_diff_of {
	const struct cfs_view *from; /* NULL: nothing */
	const struct cfs_view *to;
	uint32_t kind; /* enum cfs_volume_kind */
	uint64_t ino;  /* the LUN */
};

/*
 * -EINVAL: the views are of different lines.  Lock not held.
 */
int cfs_diff_new(const struct cfs_diff_of *of, struct cfs_diff **ret,
		 struct cfs_err *err);
void cfs_diff_free(struct cfs_diff *d);
void cfs_diff_freep(struct cfs_diff **d);

/* Go on with the first change at or behind this key. */
void cfs_diff_seek(struct cfs_diff *d,
		   const struct cfs_stream_position *position);
/* Where the next call goes on. */
struct cfs_stream_position cfs_diff_position(const struct cfs_diff *d);

/* The next change: 1; 0: that was all.  @ret is set then. */
int cfs_diff_next(struct cfs_diff *d, struct cfs_change *ret,
		  struct cfs_err *err);
