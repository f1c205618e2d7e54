/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tables and trees for people.  Columns align, a header line comes first
 * (also of an empty table), sizes are IEC unless --bytes.  Text may change at
 * any time: programs read the JSON.
 *
 * Cells are escaped, so that no name can move the cursor.  Running out of
 * memory makes the table incomplete and cfs_table_print fail.
 */
#pragma once

#include "common/cmd.h"

struct cfs_table;

enum cfs_color {
	CFS_COLOR_NONE,
	CFS_COLOR_GOOD,
	CFS_COLOR_WARN,
	CFS_COLOR_BAD,
	CFS_COLOR_DIM,
};

/*
 * @columns  headers, separated by '|': "NAME|KIND|>SIZE"; a '>' aligns the
 * column to the right.  Returns NULL if there is no memory, which all others
 * accept.  Units and colours are as @cmd says.
 */
struct cfs_table *cfs_table_new(const struct cfs_cmd *cmd, const char *columns);
void cfs_table_free(struct cfs_table *table);
void cfs_table_freep(struct cfs_table **table);

/* Cells from left to right, row after row. */
void cfs_table_str(struct cfs_table *table, const char *text); /* NULL: - */
void cfs_table_fmt(struct cfs_table *table, const char *fmt, ...)
	CFS_PRINTF(2, 3);
void cfs_table_u64(struct cfs_table *table, uint64_t n);
void cfs_table_size(struct cfs_table *table, uint64_t bytes);
/* Nanoseconds since 1970, in UTC to the second; 0: - */
void cfs_table_time(struct cfs_table *table, uint64_t realtime_ns);
/* Colour of the cell that was added last. */
void cfs_table_color(struct cfs_table *table, enum cfs_color color);

/* To cmd->text.  Returns 0 or -ENOMEM with cmd->err set. */
int cfs_table_print(struct cfs_table *table, struct cfs_cmd *cmd);

/*
 * A long table, whose cells are not kept; without colours.  After measure cells
 * count for the widths alone.  flow prints the header (as print does); from
 * then on the same cells are added again, and each row is printed when it is
 * whole.
 */
void cfs_table_measure(struct cfs_table *table);
int cfs_table_flow(struct cfs_table *table, struct cfs_cmd *cmd);

/*
 * "Key: value" lines of one object, the values in a column.  A table with
 * the columns "|" whose header is not printed: see cfs_table_new.
 */
struct cfs_table *cfs_table_new_facts(const struct cfs_cmd *cmd);

/* Text of a size as the command wants it: IEC units, or a plain number. */
#define CFS_TABLE_SIZE_BYTES 32u
char *cfs_table_format_size(const struct cfs_cmd *cmd, uint64_t bytes,
			    char ret[CFS_TABLE_SIZE_BYTES]);

/* A node of a tree that is drawn. */
struct cfs_draw_node {
	const char *label;
	size_t parent; /* index, below this node's; itself: a root */
};

/*
 * Draw a forest with lines to cmd->text, children in the order they stand in.
 * Box characters where the locale has them, else ASCII.  A parent that is not
 * before its child is a bug.
 */
void cfs_draw_tree(struct cfs_cmd *cmd, const struct cfs_draw_node *nodes,
		   size_t count);
