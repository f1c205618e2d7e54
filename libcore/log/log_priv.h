/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What appending and replay share. */
#pragma once

#include "log/log.h"

struct log_position {
	uint32_t extent;
	uint32_t block; /* within it */
	uint64_t seq;   /* of the frame that is or goes there */
	uint64_t chain;
};

struct cfs_log {
	struct cfs_metavolume *mv;
	uint32_t epoch;
	uint64_t log_id;
	uint64_t durable_seq;
	uint64_t total_blocks;
	uint64_t used_blocks; /* from the tail to the head */
	struct log_position head;
	uint32_t extent_count;
	struct cfs_log_extent extents[CFS_LOG_EXTENTS_MAX];
};

bool cfs_log_place(const struct cfs_log *log, uint32_t block_count,
		   struct log_position *at, uint64_t *ret_blocks);
