/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data of one inode (a LUN, or a file of a tree): bytes at offsets up to
 * 2^60, thin.  Small writes wait in memory as dirty pages, until a sync logs
 * them or a commit writes them home; large ones go home at once.
 *
 * Thread safety: as map.h.
 */
#pragma once

#include "volume/map.h"

/*
 * Read @length_bytes at @offset_bytes; holes read as zeroes.  Each block is
 * verified.  -EUCLEAN: damage that no copy could heal; @err names the block
 * offset, and *ret_good_bytes (may be NULL) tells how much of the front was
 * read.
 */
int cfs_data_read(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, void *buf, size_t length_bytes,
		  size_t *ret_good_bytes, struct cfs_err *err);

/*
 * The same, by whoever does not hold the container's lock: it is taken only
 * to find the blocks, and again if what was read does not verify.  What is
 * read is what stood there at some moment of the call.
 */
int cfs_data_read_beside(const struct cfs_view *view, uint64_t ino,
			 uint64_t offset_bytes, void *buf, size_t length_bytes,
			 size_t *ret_good_bytes, struct cfs_err *err);

/*
 * Many such reads of one inode at the same time, as far as that is possible:
 * how many in front of the list have been read, and are good.  0: ask for the
 * first by itself, which reads it in whatever way there is, or tells why not.
 */
struct cfs_data_part {
	uint64_t offset_bytes;
	void *buf;
	size_t length_bytes;
};
size_t cfs_data_read_many(const struct cfs_view *view, uint64_t ino,
			  const struct cfs_data_part *parts, size_t count);

/*
 * One read of something that ends: @clip is asked, with the lock held, before
 * each of the ways, and may make *length_bytes less or fail, which ends the
 * read.
 */
typedef int (*cfs_data_clip_fn)(void *arg, size_t *length_bytes,
				struct cfs_err *err);
int cfs_data_read_clipped(const struct cfs_view *view, uint64_t ino,
			  uint64_t offset_bytes, void *buf, size_t length_bytes,
			  cfs_data_clip_fn clip, void *arg,
			  size_t *ret_good_bytes, struct cfs_err *err);

/* Write bytes at a branch's head; within an operation. */
int cfs_data_write(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, const void *buf, size_t length_bytes,
		   struct cfs_err *err);

/*
 * The same for whole blocks, of which many may be written at the same time: the
 * data goes home when the operation, one of cfs_op_begin_beside, has ended.
 * Behind a start that succeeded and the end of the operation comes
 * cfs_data_write_finish, without the lock, with the same bytes still there.
 * What cannot be written to its place is kept in memory, for the next commit to
 * write to another.
 */
#define CFS_DATA_FLIGHT_WRITES 32u
struct cfs_data_flight {
	struct cfs_container *c;
	uint64_t ino;
	uint16_t branch;
	bool wants_back; /* call cfs_data_write_back behind it */
	const void *buf;
	const uint64_t *hashes; /* of the blocks of buf, or NULL */
	size_t count;
	struct {
		uint64_t offset; /* block */
		uint64_t vaddr;
		uint32_t count; /* blocks */
		const void *buf;
	} writes[CFS_DATA_FLIGHT_WRITES];
};
/* Whole blocks of so many bytes are kept in memory: an operation of
 * cfs_op_begin_pages will do. */
bool cfs_data_stays_in_memory(size_t length_bytes);
/* Before the operation: what needs no lock.  @ret has room for the blocks of
 * @length_bytes.  False: nothing of it would be used. */
bool cfs_data_write_hash(const void *buf, size_t length_bytes, uint64_t *ret);
/* @hashes: of that, or NULL. */
int cfs_data_write_start(struct cfs_container *c, uint16_t branch, uint64_t ino,
			 uint64_t offset_bytes, const void *buf,
			 size_t length_bytes, const uint64_t *hashes,
			 struct cfs_data_flight *ret, struct cfs_err *err);
int cfs_data_write_finish(struct cfs_data_flight *flight, struct cfs_err *err);
/*
 * Many small writes wait in memory: bring some home, beside others and without
 * the lock.  If that fails they stay, and the next commit tells.
 */
void cfs_data_write_back(struct cfs_container *c);

/*
 * Make [offset, offset + length) a hole: whole blocks are given up, the parts
 * of blocks at its ends are zeroed.  A @length_bytes of UINT64_MAX: to the end
 * of everything (truncate).  Within an operation: CFS_OP_ZEROING if the range
 * has parts of blocks.  -ENOSPC: a part found no block; what whole blocks give
 * back is there for it only once they went in an operation of their own.
 */
int cfs_data_punch(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, uint64_t length_bytes,
		   struct cfs_err *err);

/*
 * The first byte >= @offset_bytes that is data (@data) or lies in a hole, to
 * the block.  -ENXIO without @err: there is no data behind it.  (There is
 * always a hole in the end; the caller knows the size.)
 */
int cfs_data_seek(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, bool data, uint64_t *ret_offset_bytes,
		  struct cfs_err *err);

/*
 * Whether the byte at @offset_bytes is data or lies in a hole, and for how many
 * bytes from there on, up to @length_bytes (not 0), that goes on.
 */
int cfs_data_extent(const struct cfs_view *view, uint64_t ino,
		    uint64_t offset_bytes, uint64_t length_bytes,
		    bool *ret_is_data, uint64_t *ret_length_bytes,
		    struct cfs_err *err);

/* Blocks of this inode that the view shows, its own and its parents'. */
int cfs_data_block_count(const struct cfs_view *view, uint64_t ino,
			 uint64_t *ret_count, struct cfs_err *err);
