/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making, opening and closing a container.
 *
 * Opening reads the newest root, opens the trees and replays the log.  If the
 * log held anything, or groups were on loan, the writer died: tags that
 * neither root nor log names are cleared in those groups, and all is committed
 * before the container is used (for an overlay, in memory).
 */
#pragma once

#include "tree/hooks.h"

struct cfs_metavolume;
struct cfs_fence;
struct cfs_container_move;

struct cfs_container_config {
	struct cfs_metavolume *mv; /* owned by the container from then on,
				    * also if it fails */
	uint8_t uuid[16];
	uint32_t epoch;
	unsigned int copies; /* of nodes: 2; 1 on mirrors */
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	uint64_t limit_blocks;
	uint64_t cache_bytes; /* for clean nodes; and a third as much for
			       * checksums */
	bool fills_log;       /* create: write it once ahead of use */
	bool was_clean;       /* the last writer closed the pool */
	/* Pools that hosts share (tree/container_takeover.h). */
	bool has_grave;                /* create: make gravestones */
	const struct cfs_fence *fence; /* NULL: not shared, or an overlay */
	const struct cfs_container_move *move;   /* the last writer may still
						  * write; NULL: it is gone */
	const struct cfs_container_hooks *hooks; /* may be NULL */
	void *hooks_ctx;
	const struct cfs_slice_source *source; /* may be NULL */
	void *source_ctx;
};

/*
 * Make a container in its first two logical slices, 0 and 1, which are mapped
 * in config->mv.  Sets @ret_root_vaddr; its root is durable on return.
 */
int cfs_container_create(const struct cfs_container_config *config,
			 uint64_t ret_root_vaddr[CFS_ROOT_PLACES_MAX],
			 struct cfs_container **ret, struct cfs_err *err);

/* -EUCLEAN: no root is good, or what it names is not; -ENOTSUP; -EIO. */
int cfs_container_open(const struct cfs_container_config *config,
		       struct cfs_container **ret, struct cfs_err *err);

/*
 * For rebuild: a container that goes on behind @root, as if that had been read
 * with the page seq @root_seq, and without a look at the devices: no space is
 * loaded, no log replayed, no hook called.
 */
int cfs_container_open_bare(const struct cfs_container_config *config,
			    const struct cfs_root *root, uint64_t root_seq,
			    struct cfs_container **ret, struct cfs_err *err);

/* Commit what there is, without loans, and free.  NULL is allowed. */
int cfs_container_close(struct cfs_container *c, struct cfs_err *err);
/* Free without writing anything: a crash, for tests and after failures. */
void cfs_container_drop(struct cfs_container *c);

void cfs_container_set_limit(struct cfs_container *c, uint64_t limit_blocks);
/* The root as last made durable; locked. */
const struct cfs_root *cfs_container_root(const struct cfs_container *c);
/* Where its root pages are, up to CFS_ROOT_PLACES_MAX, unused ones 0. */
const uint64_t *cfs_container_root_places(const struct cfs_container *c);
/* The best root page of the given places; for bootstrap and check.
 * @ret_epoch (of who wrote it) and @ret_good_copies may be NULL. */
int cfs_container_read_root(struct cfs_metavolume *mv, uint64_t container_id,
			    const uint64_t root_vaddr[CFS_ROOT_PLACES_MAX],
			    struct cfs_root *ret, uint64_t *ret_seq,
			    uint32_t *ret_epoch, unsigned int *ret_good_copies,
			    struct cfs_err *err);
