/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What may stand in the first blocks of a LUN: numbered contents, the last one
 * that was acknowledged or any that came behind it.  Include after <cmocka.h>.
 */
#pragma once

#include "delegate_fixture.h"

#include <inttypes.h>

#define CELLS        64u
#define CELL_PENDING 32u

struct cell {
	uint64_t acked; /* 0: zeroes */
	uint64_t pending[CELL_PENDING];
	unsigned int count;
};

struct cells {
	struct cell list[CELLS];
	uint64_t next;
};

static inline void cells_acked(struct cells *cells)
{
	for (unsigned int i = 0; i < CELLS; i++) {
		struct cell *at = &cells->list[i];

		if (at->count)
			at->acked = at->pending[at->count - 1];
		at->count = 0;
	}
}

static inline void cell_fill(uint8_t *buf, uint64_t number)
{
	if (number)
		heal_fill(buf, HEAL_BLOCK, number);
	else
		memset(buf, 0, HEAL_BLOCK);
}

static inline bool cell_is(const uint8_t *buf, uint64_t number)
{
	uint8_t want[HEAL_BLOCK];

	cell_fill(want, number);
	return memcmp(buf, want, HEAL_BLOCK) == 0;
}

/* Blocks of new numbers; not synced.  What failed may be there or not. */
static inline int cells_write(struct cells *cells, struct cfs_member *lun,
			      uint64_t block, uint32_t count)
{
	uint8_t *buf = malloc((size_t)count * HEAL_BLOCK);
	struct cfs_volume_rec rec;
	int r = cfs_volume_get(lun, CFS_VOLUME_FIRST, &rec, NULL);

	assert_non_null(buf);
	for (uint32_t i = 0; i < count; i++) {
		struct cell *at = &cells->list[block + i];

		assert_true(at->count < CELL_PENDING);
		at->pending[at->count++] = ++cells->next;
		cell_fill(buf + (size_t)i * HEAL_BLOCK, cells->next);
	}
	if (r == 0)
		r = cfs_op_begin(lun->container, CFS_OP_NORMAL, NULL);
	if (r == 0) {
		r = cfs_data_write(lun->container, (uint16_t)rec.head_branch,
				   rec.ino, block * HEAL_BLOCK, buf,
				   (size_t)count * HEAL_BLOCK, NULL);
		if (r < 0)
			cfs_op_abort(lun->container);
		else
			cfs_op_end(lun->container);
	}
	free(buf);
	return r;
}

/* What is there is one of those, and becomes the one that is acknowledged:
 * whoever has seen it sees nothing older. */
static inline void cells_look(struct cells *cells, struct cfs_member *lun,
			      const char *who)
{
	const struct cfs_volume_rec rec = heal_volume(lun);
	uint8_t *buf = malloc(CELLS * HEAL_BLOCK);
	struct cfs_view view;

	assert_non_null(buf);
	cfs_volume_view(lun, &rec, &view);
	cfs_container_lock(lun->container);
	HEAL_OK(cfs_data_read(&view, rec.ino, 0, buf, CELLS * HEAL_BLOCK, NULL,
			      &err_));
	cfs_container_unlock(lun->container);
	for (unsigned int i = 0; i < CELLS; i++) {
		struct cell *at = &cells->list[i];
		const uint8_t *b = buf + (size_t)i * HEAL_BLOCK;
		bool is_known = cell_is(b, at->acked);

		for (unsigned int k = 0; !is_known && k < at->count; k++) {
			is_known = cell_is(b, at->pending[k]);
			if (is_known)
				at->acked = at->pending[k];
		}
		if (!is_known)
			fail_msg("%s: block %u is not %" PRIu64 " nor one of "
				 "%u behind it",
				 who, i, at->acked, at->count);
		at->count = 0;
	}
	free(buf);
}
