/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small reads of data that go on where others have ended: many small files,
 * read in the order in which they were written.  Some blocks more are read with
 * one request, and kept until they are asked for.
 *
 * What is kept is only bytes: whoever takes some compares them with the tag, as
 * if they came from the device, and reads there what does not verify.  So
 * nothing here has to know what is freed or written meanwhile.  Bytes are
 * handed out once: who reads a block again wants to know what the device has.
 */
#include "block/blocks_priv.h"

#include "device/device.h"

#include <stdlib.h>
#include <string.h>

#define AHEAD_BLOCKS 32u
#define SMALL_BLOCKS 8u  /* longer ones are no small reads */
#define GAP_BLOCKS   16u /* that one that goes on may leave out */
#define RUN_MIN      3u  /* reads in a row */
#define TRACK_COUNT  4u

/* A row of reads, and what was read behind its last one. */
struct track {
	uint64_t end; /* where its last read ended */
	unsigned int run;
	uint64_t used;  /* when, in reads */
	uint64_t vaddr; /* of buf */
	uint32_t left;  /* bits: blocks not handed out yet */
	uint8_t *buf;
};

struct cfs_ahead {
	pthread_mutex_t lock;
	uint64_t reads;
	struct track tracks[TRACK_COUNT];
};

struct cfs_ahead *cfs_ahead_new(void)
{
	struct cfs_ahead *a = calloc(1, sizeof(*a));

	if (a)
		cfs_blocks_lock_init(&a->lock);
	return a;
}

void cfs_ahead_free(struct cfs_ahead *a)
{
	if (!a)
		return;
	for (unsigned int i = 0; i < TRACK_COUNT; i++)
		free(a->tracks[i].buf);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* The blocks of a buffer that starts at @vaddr. */
static bool mask_of(uint64_t vaddr, const struct cfs_block_read *rd,
		    uint32_t *ret)
{
	const uint64_t at = rd->vaddr - vaddr;

	if (rd->vaddr < vaddr || at + rd->count > AHEAD_BLOCKS)
		return false;
	*ret = (uint32_t)(((UINT64_C(1) << rd->count) - 1) << at);
	return true;
}

/* With the lock. */
static bool take_kept(struct cfs_ahead *a, const struct cfs_block_read *rd)
{
	for (unsigned int i = 0; i < TRACK_COUNT; i++) {
		struct track *t = &a->tracks[i];
		uint32_t mask;

		if (!t->left || !mask_of(t->vaddr, rd, &mask) ||
		    (t->left & mask) != mask)
			continue;
		memcpy(rd->buf,
		       t->buf + (rd->vaddr - t->vaddr) * CFS_BLOCK_BYTES,
		       (size_t)rd->count * CFS_BLOCK_BYTES);
		t->left &= ~mask;
		t->used = a->reads;
		return true;
	}
	return false;
}

/* With the lock: the row that the read goes on, or the one that is oldest. */
static struct track *track_of(struct cfs_ahead *a,
			      const struct cfs_block_read *rd)
{
	struct track *oldest = &a->tracks[0];

	for (unsigned int i = 0; i < TRACK_COUNT; i++) {
		struct track *t = &a->tracks[i];

		if (t->run && rd->vaddr >= t->end &&
		    rd->vaddr - t->end <= GAP_BLOCKS)
			return t;
		if (t->used < oldest->used)
			oldest = t;
	}
	oldest->run = 0;
	return oldest;
}

/* Up to the end of the slice; NULL: not to be had. */
static uint8_t *read_ahead(struct cfs_blocks *b, uint64_t vaddr,
			   uint32_t *ret_count)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint32_t end = geo->data_start + geo->data_count;
	const uint32_t block = cfs_vaddr_block(vaddr);
	uint32_t count;
	uint8_t *buf;

	if (!cfs_geometry_is_data(geo, block))
		return NULL;
	count = CFS_MIN(AHEAD_BLOCKS, end - block);
	buf = cfs_dev_buf_alloc_unset((size_t)count * CFS_BLOCK_BYTES);
	if (buf &&
	    cfs_metavolume_read_any(b->mv, vaddr, count, buf, NULL, NULL) < 0) {
		free(buf);
		return NULL;
	}
	*ret_count = count;
	return buf;
}

/* With the lock: what was read, if nobody has come to its row meanwhile. */
static void keep(struct cfs_ahead *a, struct track *t, uint64_t vaddr,
		 uint8_t *buf, uint32_t count)
{
	if (t->end != vaddr) {
		free(buf);
		return;
	}
	free(t->buf);
	t->buf = buf;
	t->vaddr = vaddr;
	t->left = (uint32_t)((UINT64_C(1) << count) - 1);
	t->end = vaddr + count;
	t->used = a->reads;
}

bool cfs_ahead_read(struct cfs_blocks *b, const struct cfs_block_read *rd)
{
	struct cfs_ahead *a = b->ahead;
	bool is_there, goes_on = false;
	struct track *t = NULL;
	uint32_t count = 0;
	uint8_t *buf;

	if (!rd->may_ahead || rd->count > SMALL_BLOCKS || !a)
		return false;
	pthread_mutex_lock(&a->lock);
	a->reads++;
	is_there = take_kept(a, rd);
	if (!is_there) {
		t = track_of(a, rd);
		t->run++;
		t->used = a->reads;
		goes_on = t->run >= RUN_MIN;
		t->end = rd->vaddr + (goes_on ? 0 : rd->count);
	}
	pthread_mutex_unlock(&a->lock);
	if (!goes_on)
		return is_there;
	buf = read_ahead(b, rd->vaddr, &count);
	pthread_mutex_lock(&a->lock);
	if (buf)
		keep(a, t, rd->vaddr, buf, count);
	else if (t->end == rd->vaddr)
		t->run = 0;
	is_there = take_kept(a, rd);
	pthread_mutex_unlock(&a->lock);
	return is_there;
}
