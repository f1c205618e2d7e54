/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about the containers of a pool share. */
#pragma once

#include "volume/pool_shared.h"

struct listed {
	uint64_t id;
	struct cfs_container_rec rec;
};

static inline struct cfs_key container_key(uint64_t id)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_CONTAINER, id), 0,
				   0 } };
}

/* All records, by name; the caller frees the list. */
int cfs_pool_container_list(struct cfs_pool *pool, struct listed **ret,
			    size_t *ret_count, struct cfs_err *err);
/* Its slices, one at a time, and then its record. */
int cfs_pool_give_back_all(struct cfs_pool *pool, uint64_t id,
			   const struct cfs_container_rec *rec,
			   struct cfs_err *err);
