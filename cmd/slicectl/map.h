/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What slicectl map has collected, for those who draw it. */
#pragma once

#include "base/vec.h"
#include "slicectl/slicectl.h"

#define MAP_COLUMNS 64u
#define MAP_ROWS 16u

struct cell {
	uint64_t	lent, pool, frozen, damaged;	/* slices */
	uint64_t	used_blocks, block_count;
	uint32_t	owner;		/* index of a container, from 1 */
};

struct drawn {			/* a device */
	struct cfs_device_info	info;
	uint64_t		slices_per_cell;
	size_t			cell_count;
	struct cell		*cells;
};

struct owner {
	char		name[128];
	uint64_t	slices, used_blocks, block_count;
};

struct map {
	struct cfs_cmd		*cmd;
	CFS_VEC(struct drawn)	devices;
	CFS_VEC(struct owner)	owners;
};

/*
 * Draw it as SVG into the host file @path, which appears when it is complete;
 * "-": standard output.  Errors name the file.
 */
int map_write_svg(struct map *m, const char *path);
