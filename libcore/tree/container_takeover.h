/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a container whose last writer may still write: on shared pools, when
 * another host has fallen silent.  Nothing that it can still write to is ever
 * read again, or used, until it is known to be gone.
 *
 *   1. gravestone, flush              -> it learns of us before it reuses
 *                                        anything, or never acts on it
 *   2. root and log are read to the end, in memory: -> nothing has changed
 *      what it had synced is there
 *   3. data that the log names is copied, all is committed: into fresh slices,
 *      root, log and gravestone too   -> the old root, for whoever comes next
 *   4. the pool says durably that the new root counts (the seat, or the record
 *      of the container)              -> the new root
 *
 * Who dies before 4 leaves a successor that begins at 1, from the same root.
 * The fresh slices are known to that one before anything is written in them: by
 * the seat, or by the record and the slice map.
 *
 * What was on loan to the old writer is frozen: live blocks there are read in
 * place, free ones are not handed out.  The blocks of its root, log and
 * gravestone are retired: nobody's, in use.  When it is gone, whoever opens the
 * container then takes groups over and frees the rest.
 */
#pragma once

#include "tree/container_open.h"

/* On shared pools, for the writer of the container; outlives it. */
struct cfs_fence {
	/* Are the holders of all epochs from @first to @last, but us, gone? */
	bool (*is_gone)(void *ctx, uint32_t first, uint32_t last);
	/* Does our period run?  Any thread. */
	bool (*may_ack)(void *ctx);
	/* May the holder of @epoch live, and have a device that we have not? */
	bool (*may_reach)(void *ctx, uint32_t epoch, uint32_t device_index);
	void *ctx;
	bool is_checked; /* read the gravestone behind each sync; atomic */
};

/* The same for one container alone, from now on. */
void cfs_container_set_checked(struct cfs_container *c, bool is_checked);

struct cfs_container_move {
	uint64_t base_vaddr[CFS_ROOT_PLACES_MAX];
	uint32_t base_epoch; /* of that root; its loans are frozen */
	/* Fresh slices, mapped already; NULL plan. */
	uint64_t lslices[CFS_ROOT_PLACES_MAX];
	unsigned int lslice_count;
	/*
	 * Or chosen once the log is read, for about @blocks; durable on return.
	 */
	int (*plan)(void *ctx, struct cfs_container *c, uint64_t blocks,
		    uint64_t ret_lslices[CFS_ROOT_PLACES_MAX],
		    unsigned int *ret_count, struct cfs_err *err);
	/* Was this slice lent in a takeover that was not finished? */
	bool (*is_theirs)(void *ctx, uint64_t lslice, uint32_t *ret_epoch);
	void *ctx;
};

/*
 * In service, behind opening it: what writers that are gone had on loan is
 * ours, and what was theirs is free.  @ret_is_any: there was something.
 * -ENOSPC: not now, and nothing is lost; else the container is closed for
 * writing.
 */
int cfs_container_take_gone(struct cfs_container *c, bool *ret_is_any,
			    struct cfs_err *err);

/* In a takeover: is there anything that will come back so? */
bool cfs_container_has_gone(struct cfs_container *c);
/*
 * Slices in which somebody before us may still write: with frozen groups, or
 * with the root, log or gravestone of one that is not known to be gone.  *ret
 * is owned by the caller.
 */
int cfs_container_anothers_slices(struct cfs_container *c, uint64_t **ret,
				  size_t *ret_count, struct cfs_err *err);

/* Who asks for slices: a takeover, from one that may still write; a deletion.
 */
bool cfs_container_is_taking(const struct cfs_container *c);
bool cfs_container_is_freeing(const struct cfs_container *c);
/* Or it is on its way to be open: no other container may be opened for it. */
bool cfs_container_is_opening(const struct cfs_container *c);

/* ---- within this folder -------------------------------------------------- */

/* container_open: what follows behind the object. */
int cfs_takeover_open(struct cfs_container *c,
		      const struct cfs_container_config *config,
		      struct cfs_err *err);
/* From cfs_space_adopt, while a log is read in a takeover. */
int cfs_takeover_adopt(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		       struct cfs_err *err);
/* A group on loan to a writer that is not gone: not to be used. */
int cfs_takeover_freeze(struct cfs_container *c, uint64_t key, uint64_t loan,
			struct cfs_err *err);
/* In recovery: blocks of writers that are gone are free. */
int cfs_takeover_thaw(struct cfs_container *c, struct cfs_err *err);
/* A log id for a new epoch. */
int cfs_takeover_log_id(uint64_t *ret, struct cfs_err *err);
