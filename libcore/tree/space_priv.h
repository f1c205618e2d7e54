/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about groups on loan share. */
#pragma once

#include "tree/container_priv.h"

/* A group that may be lent. */
struct cfs_candidate {
	uint64_t key;
	uint64_t allowed[2];
	bool was_used;
};

struct cfs_key cfs_space_loan_key(uint64_t key);
/* Blocks of a group that are neither in use nor held. */
int cfs_space_free_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2],
			bool *ret_was_used, struct cfs_err *err);
/* Those that may be written in a loan that begins now: not the bad ones. */
int cfs_space_allowed_bits(struct cfs_container *c, uint64_t key,
			   uint64_t ret[2], bool *ret_was_used,
			   struct cfs_err *err);
/* Bring a group into memory, with its tags, and let reads see them. */
int cfs_space_group_open(struct cfs_container *c, uint64_t key, bool was_used,
			 struct open_group **ret, struct cfs_err *err);
/*
 * Bring groups that are not open into memory, with their tags, and hand out
 * what they allow.  Those whose tag page is damaged are added to c->unfit
 * instead.
 */
int cfs_space_groups_open(struct cfs_container *c,
			  const struct cfs_candidate *list, size_t count,
			  struct cfs_err *err);
/* The loans of these groups, durable; the tree has them in the next commit. */
int cfs_space_lend(struct cfs_container *c, const struct cfs_candidate *list,
		   size_t count, struct cfs_err *err);
