/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cells are kept until all are known, since a column is as wide as its widest
 * cell; those of a long table come twice instead, and are not kept.  Widths are
 * counted in characters, colours are not part of them.  The last column is not
 * padded: no line ends in blanks.
 */
#include "common/table.h"

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

struct cell {
	char *text; /* escaped */
	enum cfs_color color;
};

enum mode {
	KEEP,
	MEASURE, /* the header is kept, of other cells the width */
	FLOW,    /* cells are kept until their row is whole */
};

struct cfs_table {
	const struct cfs_cmd *cmd;
	enum mode mode;
	struct cell *cells; /* the first row is the header */
	size_t count;
	size_t room;
	size_t columns;
	bool *is_right;  /* of each column */
	size_t *widths;  /* of each column */
	size_t measured; /* cells */
	bool has_header;
	bool is_bad; /* out of memory */
};

static const char *const colors[] = {
	[CFS_COLOR_NONE] = "",         [CFS_COLOR_GOOD] = "\033[32m",
	[CFS_COLOR_WARN] = "\033[33m", [CFS_COLOR_BAD] = "\033[31m",
	[CFS_COLOR_DIM] = "\033[2m",
};

#define COLOR_HEADER "\033[1m"
#define COLOR_END    "\033[0m"

/* Characters, of UTF-8 that is known to be well formed. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void widen(struct cfs_table *table, size_t index, const char *text)
{
	size_t *widest = &table->widths[index % table->columns];
	size_t n = width(text);

	if (n > *widest)
		*widest = n;
}

/* A cell at the end; it owns @text, NULL: no memory. */
static void push(struct cfs_table *table, char *text)
{
	struct cell *cells;
	size_t room;

	if (table->count == table->room) {
		room = table->room ? table->room * 2 : 64;
		cells = reallocarray(table->cells, room, sizeof(*cells));
		if (!cells) {
			table->is_bad = true;
			free(text);
			return;
		}
		table->cells = cells;
		table->room = room;
	}
	table->cells[table->count++] = (struct cell){ .text = text };
	if (!text)
		table->is_bad = true;
}

static void put_row(const struct cfs_table *table, FILE *to, size_t first);

/* The row that is whole goes out. */
static void flow(struct cfs_table *table)
{
	put_row(table, table->cmd->text, 0);
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	table->count = 0;
}

static void add(struct cfs_table *table, const char *text, size_t length)
{
	char few[256], *escaped = few;

	if (!table || table->is_bad)
		return;
	/* Mostly the text fits, and what is only measured needs no memory. */
	if (table->mode != MEASURE ||
	    cfs_text_escape(few, sizeof(few), text, length) >= sizeof(few))
		escaped = cfs_text_escape_dup(text, length);
	if (escaped && table->mode == MEASURE)
		widen(table, table->measured++, escaped);
	else
		push(table, escaped);
	if (table->mode == MEASURE && escaped != few)
		free(escaped);
	if (table->mode == FLOW && table->count == table->columns &&
	    !table->is_bad)
		flow(table);
}

struct cfs_table *cfs_table_new(const struct cfs_cmd *cmd, const char *columns)
{
	struct cfs_table *table = calloc(1, sizeof(*table));
	size_t n;
	bool is_right;

	if (!table)
		return NULL;
	table->cmd = cmd;
	table->has_header = true;
	table->is_right = calloc(strlen(columns) + 1, sizeof(bool));
	if (!table->is_right) {
		cfs_table_free(table);
		return NULL;
	}
	for (;;) {
		is_right = *columns == '>';
		columns += is_right;
		n = strcspn(columns, "|");
		table->is_right[table->columns++] = is_right;
		add(table, columns, n);
		if (!columns[n])
			break;
		columns += n + 1;
	}
	table->widths = calloc(table->columns, sizeof(*table->widths));
	if (!table->widths) {
		cfs_table_free(table);
		return NULL;
	}
	return table;
}

struct cfs_table *cfs_table_new_facts(const struct cfs_cmd *cmd)
{
	struct cfs_table *table = cfs_table_new(cmd, "|");

	if (table)
		table->has_header = false;
	return table;
}

void cfs_table_free(struct cfs_table *table)
{
	size_t i;

	if (!table)
		return;
	for (i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table->is_right);
	free(table->widths);
	free(table);
}

void cfs_table_freep(struct cfs_table **table)
{
	cfs_table_free(*table);
}

void cfs_table_str(struct cfs_table *table, const char *text)
{
	if (!text || !*text)
		text = "-";
	add(table, text, strlen(text));
}

void cfs_table_fmt(struct cfs_table *table, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0) {
		cfs_table_str(table, text);
		free(text);
	} else if (table) {
		table->is_bad = true;
	}
}

void cfs_table_u64(struct cfs_table *table, uint64_t n)
{
	cfs_table_fmt(table, "%llu", (unsigned long long)n);
}

char *cfs_table_format_size(const struct cfs_cmd *cmd, uint64_t bytes,
			    char ret[CFS_TABLE_SIZE_BYTES])
{
	char text[CFS_SIZE_TEXT_BYTES];

	if (cmd->is_bytes)
		(void)snprintf(ret, CFS_TABLE_SIZE_BYTES, "%llu",
			       (unsigned long long)bytes);
	else
		(void)snprintf(ret, CFS_TABLE_SIZE_BYTES, "%s",
			       cfs_size_format(bytes, text));
	return ret;
}

void cfs_table_size(struct cfs_table *table, uint64_t bytes)
{
	char text[CFS_TABLE_SIZE_BYTES];

	if (table)
		cfs_table_str(table,
			      cfs_table_format_size(table->cmd, bytes, text));
}

void cfs_table_time(struct cfs_table *table, uint64_t realtime_ns)
{
	char text[CFS_TIME_TEXT_BYTES];
	char *dot;

	if (!realtime_ns) {
		cfs_table_str(table, NULL);
		return;
	}
	cfs_time_format_ns(realtime_ns, text);
	dot = strchr(text, '.');
	if (dot)
		memcpy(dot, "Z", 2);
	cfs_table_str(table, text);
}

void cfs_table_color(struct cfs_table *table, enum cfs_color color)
{
	if (table && table->count)
		table->cells[table->count - 1].color = color;
}

static void put_spaces(FILE *to, size_t count)
{
	static const char spaces[] = "                                ";
	size_t n;

	for (; count; count -= n) {
		n = count < sizeof(spaces) - 1 ? count : sizeof(spaces) - 1;
		fwrite(spaces, 1, n, to);
	}
}

static void put_cell(const struct cfs_table *table, FILE *to, size_t index,
		     bool is_header)
{
	const struct cell *cell = &table->cells[index];
	size_t column = index % table->columns;
	size_t pad = table->widths[column] - width(cell->text);
	const char *color = is_header ? COLOR_HEADER : colors[cell->color];

	if (!table->cmd->has_color)
		color = "";
	if (table->is_right[column])
		put_spaces(to, pad);
	fputs(color, to);
	fputs(cell->text, to);
	if (*color)
		fputs(COLOR_END, to);
	if (column + 1 == table->columns || index + 1 == table->count)
		fputc('\n', to);
	else
		put_spaces(to, (table->is_right[column] ? 0 : pad) + 2);
}

/* The row that begins at the cell @first; the last one may be cut. */
static void put_row(const struct cfs_table *table, FILE *to, size_t first)
{
	const bool is_header = table->has_header && first == 0 &&
			       table->mode != FLOW;

	for (size_t i = 0; i < table->columns && first + i < table->count; i++)
		put_cell(table, to, first + i, is_header);
}

static int out_of_memory(struct cfs_cmd *cmd)
{
	return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
}

int cfs_table_print(struct cfs_table *table, struct cfs_cmd *cmd)
{
	size_t i, first;

	if (!table || table->is_bad)
		return out_of_memory(cmd);
	first = table->has_header ? 0 : table->columns;
	for (i = first; i < table->count; i++)
		widen(table, i, table->cells[i].text);
	for (i = first; i < table->count; i += table->columns)
		put_row(table, cmd->text, i);
	return 0;
}

void cfs_table_measure(struct cfs_table *table)
{
	if (table)
		table->mode = MEASURE;
}

int cfs_table_flow(struct cfs_table *table, struct cfs_cmd *cmd)
{
	int r = cfs_table_print(table, cmd);

	if (r < 0)
		return r;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	table->count = 0;
	table->mode = FLOW;
	return 0;
}
