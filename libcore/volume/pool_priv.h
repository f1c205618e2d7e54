/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of an open pool share. */
#pragma once

#include "base/hash.h"
#include "tree/container_open.h"
#include "tree/container_takeover.h"
#include "tree/space.h"
#include "volume/pool.h"
#include "volume/vols.h"

#include <pthread.h>

/* Free slices of one device. */
struct device_slices {
	uint64_t slice_count;
	uint64_t virgin_from; /* no slice from here on was ever used */
	uint64_t free_used;   /* free ones below, used once before */
	uint64_t cursor;      /* look for those from here on */
	bool is_usable;       /* present, not out, not evacuating */
	bool is_removed;
};

struct member_entry {
	struct cfs_member m;
	UT_hash_handle hh; /* by m.id */
};

struct cfs_pool_lender;

struct cfs_pool {
	struct cfs_devset *set;
	uint32_t epoch;
	bool is_mirror;
	bool is_shared;
	bool was_clean;
	uint64_t cache_bytes;
	void (*warn)(void *arg, const char *line);
	void *arg;
	struct cfs_holder *holder; /* of a shared pool, to write; or NULL */
	struct cfs_fence fence;    /* for its containers */
	/* Of a secondary (pool_delegated.c); else NULL. */
	struct cfs_pool_lender *lender;
	struct cfs_devset *own_set; /* of container 0, in memory */
	uint64_t delegated_id;
	uint64_t free_slices, total_slices; /* of the pool; atomic */
	struct cfs_container *c0;
	struct cfs_metavolume *c0_mv;  /* owned by c0 */
	struct cfs_err c0_error;       /* of a hook that can't return one */
	struct device_slices *devices; /* under c0's lock */
	uint32_t device_count;
	/* Picked by a move, which has no record yet; one at a time. */
	struct cfs_piece reserved[CFS_PIECES_MAX];
	uint64_t container_count;     /* as last counted */
	uint64_t promoted_count;      /* atomic: live, with a source */
	uint64_t copy_slices_x4;      /* atomic: what a takeover could copy */
	uint64_t slices_lack;         /* atomic: of those kept for takeovers */
	pthread_mutex_t reclaim_lock; /* one at a time looks into the others */
	pthread_mutex_t lock;         /* guards members */
	struct member_entry *members;
};

/* It is no longer in the list: nobody who found it there is in it behind this
 * (cfs_pool_rest). */
void cfs_pool_member_left(const struct cfs_member *m);

extern const struct cfs_slice_source cfs_pool_source;
extern const struct cfs_container_hooks cfs_pool_c0_hooks;

/* pool_slices.c; container 0 locked. */
int cfs_pool_slices_load(struct cfs_pool *pool, struct cfs_err *err);
/* The same, not locked. */
int cfs_pool_slices_reload(struct cfs_pool *pool, struct cfs_err *err);
/* Free ones became more, or fewer. */
void cfs_pool_slices_changed(struct cfs_pool *pool);
/* Are there more than what is kept for takeovers?  Deletions may use most of
 * that.  -ENOSPC. */
int cfs_pool_slice_may_pick(const struct cfs_pool *pool, bool for_freeing,
			    struct cfs_err *err);
/* A slice for each piece of a new logical slice; not recorded yet. */
int cfs_pool_slice_pick(struct cfs_pool *pool, struct cfs_piece *pieces,
			struct cfs_err *err);
/* Lend a slice to a container that is not open yet, as @lslice of its map. */
int cfs_pool_slice_lend(struct cfs_pool *pool, uint64_t id,
			const uint8_t uuid[16], struct cfs_metavolume *mv,
			uint64_t lslice, struct cfs_err *err);
int cfs_pool_slice_headers(struct cfs_pool *pool, uint64_t container_id,
			   const uint8_t uuid[16], uint64_t lslice,
			   const struct cfs_piece *pieces, uint32_t state,
			   struct cfs_err *err);
int cfs_pool_slice_record(struct cfs_pool *pool, uint64_t container_id,
			  uint64_t lslice, const struct cfs_piece *pieces,
			  bool is_lent, struct cfs_err *err);
int cfs_pool_rec_get_locked(struct cfs_pool *pool, struct cfs_pool_rec *ret,
			    struct cfs_err *err);
/* Empty slices of container 0 itself go back, on a shared pool; not locked. */
int cfs_pool_reclaim_own(struct cfs_pool *pool, struct cfs_err *err);
/* pool_recs.c: within an operation of container 0. */
int cfs_pool_rec_put(struct cfs_pool *pool, const struct cfs_pool_rec *rec,
		     struct cfs_err *err);
int cfs_pool_device_rec_put(struct cfs_pool *pool, uint32_t index,
			    const struct cfs_device_rec *rec,
			    struct cfs_err *err);
/* pool_containers_end.c */
int cfs_pool_finish_work(struct cfs_pool *pool, struct cfs_err *err);
/* snapset.c */
/* Undo the snapshots of a set that did not come to its end; before anybody
 * else sees @m.  Durable. */
int cfs_snapset_finish(struct cfs_member *m, struct cfs_err *err);
/* Records about containers that do not exist go. */
typedef bool (*cfs_snapset_exists_fn)(const void *arg, uint64_t container_id);
int cfs_snapset_forget(struct cfs_pool *pool, cfs_snapset_exists_fn exists,
		       const void *arg, struct cfs_err *err);
/* promote.c */
/* Clones of @m that are containers of their own are gone, before anybody sees
 * @m.  Durable. */
int cfs_promote_finish(struct cfs_member *m, struct cfs_err *err);
/* Devices and their labels: flush all that is there. */
int cfs_pool_flush_devices(struct cfs_pool *pool, struct cfs_err *err);
uint32_t cfs_pool_devices_usable(const struct cfs_pool *pool);
int cfs_pool_device_rec_locked(struct cfs_pool *pool, uint32_t index,
			       struct cfs_device_rec *ret, struct cfs_err *err);
unsigned int cfs_pool_piece_count(const struct cfs_pool *pool);
