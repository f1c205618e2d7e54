/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bad-block table and the scrub's record: places that failed and have no
 * good copy, and how far the last scrub came.  The allocator leaves out what
 * stands in the table.
 */
#pragma once

#include "base/vec.h"
#include "ondisk/table.h"
#include "tree/container.h"

struct bad_entry {
	uint64_t vaddr;
	struct cfs_bad_rec rec;
	bool is_current; /* the block is in use, and still what the
			  * record says */
	bool is_free;
};
struct bad_list {
	struct bad_entry *items;
	size_t count, room;
};

/* All records; takes the lock.  The caller ends the list. */
int cfs_bad_load(struct cfs_container *c, struct bad_list *ret,
		 struct cfs_err *err);
/* Note, and forget; within an operation. */
int cfs_bad_put(struct cfs_container *c, uint64_t vaddr,
		const struct cfs_bad_rec *rec, struct cfs_err *err);
int cfs_bad_del(struct cfs_container *c, uint64_t vaddr, struct cfs_err *err);

/* All zero where there is none. */
int cfs_scrub_rec_get(struct cfs_container *c, struct cfs_scrub_rec *ret,
		      struct cfs_err *err);
/* As an operation of its own, durable. */
int cfs_scrub_rec_set(struct cfs_container *c, const struct cfs_scrub_rec *rec,
		      struct cfs_err *err);
