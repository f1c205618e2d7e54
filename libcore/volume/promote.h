/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A clone becomes a container of its own.  Containers share no slices and no
 * trees, and the container and the branch are in the checksum of each block,
 * so what the clone shows is copied; only then are they changed for each other.
 *
 *   1. a container that is being made, with the clone as its source: nobody
 *      sees it, and whoever opens the pool keeps it     -> crash: the clone
 *   2. its content comes, as streams do                 -> crash: the clone
 *   3. one record of container 0 says that it is there  -> crash: see 4
 *   4. the clone is removed, then the source forgotten
 *
 * Behind 3 nobody sees the clone any more: who opens its container finds the
 * record, and removes it first.  The source names the clone's container, its
 * id, and when it was made, since ids come again.
 *
 * Thread safety: any thread.
 */
#pragma once

#include "volume/volume.h"

struct cfs_promote_source {
	struct cfs_member *member; /* of the clone */
	uint64_t volume;
	struct cfs_volume_rec rec;
};

/* The container that is being made of it.  -ENOENT without @err. */
int cfs_promote_find(const struct cfs_promote_source *of,
		     struct cfs_member **ret, struct cfs_err *err);
/* Step 1: @m was made for that, and has its production volume. */
int cfs_promote_begin(struct cfs_member *m, const struct cfs_promote_source *of,
		      struct cfs_err *err);
/*
 * Steps 3 and 4: @m has all that the clone has, durably, and nobody uses that.
 * If it fails behind step 3, the next who opens the clone's container goes on.
 */
int cfs_promote_commit(struct cfs_member *m, const char *name,
		       const struct cfs_promote_source *of,
		       struct cfs_err *err);
/* Clones of container @id, or one of them (@volume not 0), are gone: so is what
 * was to become of them. */
int cfs_promote_forget(struct cfs_pool *pool, uint64_t id, uint64_t volume,
		       struct cfs_err *err);
