/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sparse bytes in memory that can be cloned at once: a radix tree of chunks
 * with counted references.  A clone shares everything; a write copies the path
 * to what it changes.  This is what makes a petabyte of zeroes fit into a few
 * pages, and thousands of crash images a second possible.
 *
 * Thread safety: one tree belongs to one thread at a time, but trees that
 * share parts may be used by different threads (the counts are atomic).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CFS_SPARSE_CHUNK_BYTES 16384u

struct cfs_sparse { /* all zero: an empty tree, reads as zeroes */
	void *root;
	unsigned int height; /* levels of nodes above the chunks */
};

void cfs_sparse_done(struct cfs_sparse *sparse);
/* @ret is empty or uninitialised, never a tree that owns something. */
void cfs_sparse_clone(const struct cfs_sparse *sparse, struct cfs_sparse *ret);

void cfs_sparse_read(const struct cfs_sparse *sparse, uint64_t offset_bytes,
		     void *buf, size_t length_bytes);
/* -ENOMEM: a part may have been written. */
int cfs_sparse_write(struct cfs_sparse *sparse, uint64_t offset_bytes,
		     const void *buf, size_t length_bytes);
/* Zero a range; whole chunks are given back.  -ENOMEM as in a write. */
int cfs_sparse_zero(struct cfs_sparse *sparse, uint64_t offset_bytes,
		    uint64_t length_bytes);
