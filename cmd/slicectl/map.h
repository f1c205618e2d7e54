/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What slicectl map has collected, for those who draw it. */
#pragma once

#include "base/vec.h"
#include "slicectl/slicectl.h"

#define MAP_COLUMNS 64u
#define MAP_ROWS    16u

struct cell {
	uint64_t lent, pool, frozen, damaged; /* slices */
	uint64_t used_blocks, block_count;
	uint32_t owner; /* index of a container, from 1 */
};

struct drawn { /* a device */
	struct cfs_device_info info;
	uint64_t slices_per_cell;
	size_t cell_count;
	struct cell *cells;
};

struct owner {
	char name[128];
	uint64_t slices, used_blocks, block_count;
};

#define MAP_FILL_CLASSES 10u

struct map {
	struct cfs_cmd *cmd;
	struct cfs_pool_info info;
	CFS_VEC(struct drawn) devices;
	CFS_VEC(struct owner) owners;
	/* Lent slices by how full they are: [0] up to 10 %, ... */
	uint64_t fill_counts[MAP_FILL_CLASSES];
};

enum map_order {
	MAP_LINEAR,  /* rows, as in the terminal: offsets can be read */
	MAP_HILBERT, /* a curve: what is near on the device is near here */
};

/* map_svg.c */

/* Bytes of unknown origin, as text of XML or HTML. */
void map_put_escaped(FILE *f, const char *bytes);
/* The colour of a container, of a palette that all eyes tell apart. */
const char *map_owner_color(size_t index);
/* Patterns that the cells use; once a document. */
void map_put_patterns(FILE *f);
/* The cells of a device, each with a title, as one <svg> element. */
void map_put_cells(FILE *f, const struct map *m, const struct drawn *d,
		   enum map_order order);
/* All of it as a file of its own. */
void map_put_svg(FILE *f, const struct map *m, enum map_order order);

/* map_html.c */

/* A report of the pool that @s has open.  0 or a negative errno, in cmd->err.
 */
int map_put_html(FILE *f, struct map *m, struct cfs_session *s);

/* map_file.c */

/*
 * @text into the host file @path, which appears when it is complete; "-":
 * standard output.  Errors name the file.
 */
int map_write_file(struct map *m, const char *path, const char *text,
		   size_t length_bytes);
