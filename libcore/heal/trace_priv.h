/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tracer tells places on devices as what they belong to.  It keeps what it
 * has read of one container's volumes, branches and snapshots, and joins
 * neighbours of one file into one damage.
 */
#pragma once

#include "heal/trace.h"
#include "ondisk/tag.h"
#include "volume/volume.h"

struct tracer;

struct trace_place {
	const char *kind;
	const char *cause; /* "" : none */
	uint32_t device_index;
	uint64_t device_offset_bytes;
	uint64_t length_bytes;
	struct cfs_member *m; /* NULL: the pool's own, or nobody's */
	uint64_t vaddr;       /* for data */
	struct cfs_tag tag;   /* for data */
	bool is_healed;
};

int cfs_tracer_new(struct cfs_pool *pool, cfs_damage_each_fn each, void *arg,
		   struct tracer **ret, struct cfs_err *err);
void cfs_tracer_free(struct tracer *t); /* NULL is allowed */
/*
 * Tell one place; no lock held.  Data is told once for each volume that sees
 * it, or as the container's if none does.
 */
int cfs_tracer_tell(struct tracer *t, const struct trace_place *place,
		    struct cfs_err *err);
/* What was kept back to be joined.  Before the tracer is freed. */
int cfs_tracer_flush(struct tracer *t);
/* Forget what was read: the container has changed. */
void cfs_tracer_forget(struct tracer *t);

/* "content" and so on, of CFS_BAD_*. */
const char *cfs_cause_name(uint32_t cause);
/* "data" and so on, of the tag's type. */
const char *cfs_tag_kind_name(uint8_t type);
