/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of one writer: frames appended in a ring of extents.
 *
 * A frame is written in one contiguous write.  It is durable when a flush that
 * began behind the write has ended; only then is anything acknowledged.  The
 * space of a frame comes back when a root that covers it is durable.
 *
 *   tail                              head
 *   v                                 v
 *   | frame 7 | frame 8 | ... | frame n |  free ...      (wraps at the end of
 *   ^ named by the root                                   the last extent)
 *
 * A frame does not cross the end of an extent: when it does not fit, the rest
 * of the extent is skipped.  A reader looks behind the last frame, then at the
 * start of the next extent (cfs(5)).
 *
 * Thread safety: none; the container's lock is held by the caller.
 */
#pragma once

#include "ondisk/frame.h"
#include "ondisk/root.h"
#include "pool/metavolume.h"

struct cfs_log;

/* @root: as read from the device, or with the extents of a new log. */
int cfs_log_new(struct cfs_metavolume *mv, uint32_t epoch,
		const struct cfs_root *root, struct cfs_log **ret,
		struct cfs_err *err);
void cfs_log_free(struct cfs_log *log); /* NULL is allowed */

struct cfs_log_replay {
	/*
	 * May the writer have died?  Then, where the chain ends, the rest of
	 * the log is searched for frames that say that more was durable.
	 */
	bool looks_for_damage;
	/* Do the blocks that this frame names verify?  Called for frames that
	 * nothing says were flushed.  <0: an error; 0: no; 1: yes. */
	int (*verify)(void *arg, const struct cfs_frame *frame, const void *buf,
		      struct cfs_err *err);
	/* In order; the buffer is the log's. */
	int (*apply)(void *arg, const struct cfs_frame *frame, const void *buf,
		     struct cfs_err *err);
	void *arg;
};
/*
 * Read the log from where the root says to its end, and stand there for
 * appending.  @ret_frames: how many there were, with one that was refused.  If
 * there were any, a root must be made durable before the next append.
 * -EUCLEAN: damage before the end, or what apply said; -EIO.
 */
int cfs_log_replay(struct cfs_log *log, const struct cfs_log_replay *how,
		   uint64_t *ret_frames, struct cfs_err *err);

/* The longest frame that this log can take at all, in blocks. */
uint32_t cfs_log_frame_blocks_max(const struct cfs_log *log);
/* Would a frame of so many blocks fit now, with @reserve blocks left over? */
bool cfs_log_fits(const struct cfs_log *log, uint32_t block_count,
		  uint32_t reserve);
uint64_t cfs_log_total_blocks(const struct cfs_log *log);
uint64_t cfs_log_used_blocks(const struct cfs_log *log);

/*
 * Append a frame: @buf holds @block_count blocks with records and inline data
 * in place behind the header's room; frame->stamp, record_bytes, record_count
 * and inline_count are set.  The rest of the header is filled in here.
 * -ENOSPC: it does not fit; -EIO and the like from the devices.
 */
int cfs_log_append(struct cfs_log *log, struct cfs_frame *frame, void *buf,
		   uint32_t block_count, struct cfs_err *err);
/*
 * The same, but the write is the caller's, without any lock; if that fails, or
 * the flush behind it, nothing may be appended any more.
 */
int cfs_log_start(struct cfs_log *log, struct cfs_frame *frame, void *buf,
		  uint32_t block_count, struct cfs_mv_write *ret,
		  struct cfs_err *err);
/* A flush behind the frame with this number has succeeded. */
void cfs_log_flushed(struct cfs_log *log, uint64_t seq);
uint64_t cfs_log_seq(const struct cfs_log *log); /* of the next frame */

/* Put the head into a root: frames before it are covered by that root. */
void cfs_log_to_root(const struct cfs_log *log, struct cfs_root *root);
/* That root is durable: the space before the head it named is free. */
void cfs_log_trim(struct cfs_log *log, const struct cfs_root *root);

/*
 * Go on at the beginning of the longest extent, unless there is as much room
 * where the log stands.  Only where no frame is needed any more once the
 * position that cfs_log_to_root tells next is durable: a frame finds no place
 * behind a head that only a short extent follows.
 */
void cfs_log_rewind(struct cfs_log *log);

/* A root that gives the log another id is durable: frames from here on have
 * it. */
void cfs_log_rename(struct cfs_log *log, uint64_t log_id);

/* One more extent at the end of the list; it is in use from the next lap. */
int cfs_log_add_extent(struct cfs_log *log, uint64_t vaddr,
		       uint32_t block_count, struct cfs_err *err);
