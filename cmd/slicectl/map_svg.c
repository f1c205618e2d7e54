/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The slice map as SVG: the same cells as in the terminal, as squares.  How
 * full a lent cell is, is how opaque it is; what is wrong with one is shown by
 * a pattern as well as by a colour; a title on each says it in words.
 *
 * Names are of unknown origin: they are escaped twice, as text and as XML.
 */
#include "slicectl/map.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define CELL 12u /* pixels, with a gap of 1 */
#define LEFT 110u
#define LINE 18u

/* Okabe and Ito's, without the red one: that is for damage. */
static const char *const fills[] = {
	"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#b8a800",
};

enum look { LOOK_FREE, LOOK_LENT, LOOK_POOL, LOOK_FROZEN, LOOK_DAMAGED };

static const struct {
	const char *word, *fill;
} looks[] = {
	[LOOK_FREE] = { "free", "#e6e6e6" },
	[LOOK_LENT] = { "lent", NULL }, /* its container's */
	[LOOK_POOL] = { "pool", "#4d4d4d" },
	[LOOK_FROZEN] = { "frozen", "url(#frozen)" },
	[LOOK_DAMAGED] = { "damaged", "url(#damaged)" },
};

void map_put_escaped(FILE *f, const char *bytes)
{
	CFS_CLEANUP(cfs_freep)
	char *text = cfs_text_escape_dup(bytes, strlen(bytes));

	for (const char *p = text ? text : "?"; *p; p++) {
		if (*p == '&')
			fputs("&amp;", f);
		else if (*p == '<')
			fputs("&lt;", f);
		else if (*p == '>')
			fputs("&gt;", f);
		else if (*p == '"')
			fputs("&quot;", f);
		else
			fputc(*p, f);
	}
}

const char *map_owner_color(size_t index)
{
	return fills[index % CFS_ARRAY_COUNT(fills)];
}

void map_put_patterns(FILE *f)
{
	fputs("<defs>"
	      "<pattern id='frozen' width='4' height='4' "
	      "patternUnits='userSpaceOnUse'><rect width='4' height='4' "
	      "fill='#dcebff'/><path d='M0 4L4 0' stroke='#3a6fb0' "
	      "stroke-width='1.2'/></pattern>"
	      "<pattern id='damaged' width='6' height='6' "
	      "patternUnits='userSpaceOnUse'><rect width='6' height='6' "
	      "fill='#d55e00'/><path d='M0 0L6 6M6 0L0 6' stroke='#fff' "
	      "stroke-width='1'/></pattern>"
	      "</defs>\n",
	      f);
}

/* ---- cells --------------------------------------------------------------- */

/* What is worst in it. */
static enum look look_of(const struct cell *c)
{
	return c->damaged  ? LOOK_DAMAGED
	       : c->frozen ? LOOK_FROZEN
	       : c->lent   ? LOOK_LENT
	       : c->pool   ? LOOK_POOL
			   : LOOK_FREE;
}

static unsigned int side_of(const struct drawn *d)
{
	unsigned int side = 1;

	while ((size_t)side * side < d->cell_count)
		side *= 2;
	return side;
}

/* Where the curve through a square of @side, a power of two, is at step @at. */
static void hilbert(unsigned int side, size_t at, unsigned int *ret_x,
		    unsigned int *ret_y)
{
	unsigned int x = 0, y = 0;

	for (unsigned int s = 1; s < side; s *= 2, at /= 4) {
		unsigned int right = (unsigned int)(at / 2 & 1);
		unsigned int up = (unsigned int)((at ^ right) & 1);
		unsigned int swap;

		if (!up) {
			if (right) {
				x = s - 1 - x;
				y = s - 1 - y;
			}
			swap = x;
			x = y;
			y = swap;
		}
		x += s * right;
		y += s * up;
	}
	*ret_x = x;
	*ret_y = y;
}

static void put_title(FILE *f, const struct map *m, const struct drawn *d,
		      size_t i)
{
	const struct cell *c = &d->cells[i];
	enum look look = look_of(c);
	uint64_t first = i * d->slices_per_cell;
	uint64_t last =
		CFS_MIN(first + d->slices_per_cell, d->info.slice_count) - 1;

	fprintf(f, "<title>slice %llu", (unsigned long long)first);
	if (last > first)
		fprintf(f, " to %llu", (unsigned long long)last);
	fprintf(f, ": %s", looks[look].word);
	if (c->owner) {
		fputs(", ", f);
		map_put_escaped(f, m->owners.items[c->owner - 1].name);
	}
	if (look == LOOK_LENT && c->block_count)
		fprintf(f, ", %llu %% full",
			(unsigned long long)(c->used_blocks * 100 /
					     c->block_count));
	fputs("</title>", f);
}

static void put_cell(FILE *f, const struct map *m, const struct drawn *d,
		     size_t i, unsigned int x, unsigned int y)
{
	const struct cell *c = &d->cells[i];
	enum look look = look_of(c);
	double opacity = 1;

	if (look == LOOK_LENT && c->block_count)
		opacity = 0.25 + 0.75 * (double)c->used_blocks /
					 (double)c->block_count;
	fprintf(f, "<rect x='%u' y='%u' width='%u' height='%u' fill='%s'", x, y,
		CELL - 1, CELL - 1,
		look == LOOK_LENT ? map_owner_color(c->owner ? c->owner - 1 : 0)
				  : looks[look].fill);
	/* For a report in the dark. */
	if (look == LOOK_FREE)
		fputs(" class='free'", f);
	if (opacity < 1)
		fprintf(f, " fill-opacity='%.2f'", opacity);
	fputc('>', f);
	put_title(f, m, d, i);
	fputs("</rect>\n", f);
}

static unsigned int rows_of(const struct drawn *d)
{
	return (unsigned int)((d->cell_count + MAP_COLUMNS - 1) / MAP_COLUMNS);
}

static unsigned int width_of(const struct drawn *d, enum map_order order)
{
	return order == MAP_HILBERT ? side_of(d) * CELL
				    : LEFT + MAP_COLUMNS * CELL;
}

static unsigned int height_of(const struct drawn *d, enum map_order order)
{
	return (order == MAP_HILBERT ? side_of(d) : rows_of(d)) * CELL;
}

static void put_grid(FILE *f, const struct map *m, const struct drawn *d,
		     enum map_order order, unsigned int left, unsigned int top)
{
	unsigned int x, y, side = side_of(d);

	for (unsigned int row = 0; order == MAP_LINEAR && row < rows_of(d);
	     row++)
		fprintf(f,
			"<text x='%u' y='%u' text-anchor='end'>%llu</text>"
			"\n",
			left + LEFT - 8, top + row * CELL + 10,
			(unsigned long long)row * MAP_COLUMNS *
				d->slices_per_cell);
	for (size_t i = 0; i < d->cell_count; i++) {
		if (order == MAP_HILBERT) {
			hilbert(side, i, &x, &y);
			put_cell(f, m, d, i, left + x * CELL, top + y * CELL);
		} else {
			x = LEFT + (unsigned int)(i % MAP_COLUMNS) * CELL;
			y = (unsigned int)(i / MAP_COLUMNS) * CELL;
			put_cell(f, m, d, i, left + x, top + y);
		}
	}
}

void map_put_cells(FILE *f, const struct map *m, const struct drawn *d,
		   enum map_order order)
{
	unsigned int width = width_of(d, order), height = height_of(d, order);

	fprintf(f,
		"<svg role='img' viewBox='0 0 %u %u' style='width:%upx' "
		"font-family='monospace' font-size='11'>\n",
		width, height, width);
	put_grid(f, m, d, order, 0, 0);
	fputs("</svg>\n", f);
}

/* ---- a file of its own --------------------------------------------------- */

/* Returns where the next thing goes. */
static unsigned int put_device(FILE *f, const struct map *m,
			       const struct drawn *d, enum map_order order,
			       unsigned int top)
{
	fprintf(f, "<text x='10' y='%u'>device %u  ", top + 12, d->info.index);
	map_put_escaped(f, d->info.path[0] ? d->info.path : "missing");
	fprintf(f, "  %llu %s, %llu a cell</text>\n",
		(unsigned long long)d->info.slice_count,
		cfs_plural(d->info.slice_count, "slice", "slices"),
		(unsigned long long)d->slices_per_cell);
	put_grid(f, m, d, order, order == MAP_HILBERT ? 10 : 0, top + LINE);
	return top + LINE + height_of(d, order) + LINE;
}

static void put_key(FILE *f, unsigned int x, unsigned int y, const char *fill,
		    const char *word)
{
	fprintf(f,
		"<rect x='%u' y='%u' width='%u' height='%u' fill='%s'/>"
		"<text x='%u' y='%u'>",
		x, y, CELL - 1, CELL - 1, fill, x + 18, y + 10);
	map_put_escaped(f, word);
}

static unsigned int put_legend(FILE *f, const struct map *m, unsigned int top)
{
	unsigned int x = 10;

	for (unsigned int i = 0; i < CFS_ARRAY_COUNT(looks); i++) {
		if (i == LOOK_LENT)
			continue;
		put_key(f, x, top, looks[i].fill, looks[i].word);
		fputs("</text>\n", f);
		x += 90;
	}
	top += LINE;
	for (size_t i = 0; i < m->owners.count; i++, top += LINE) {
		put_key(f, 10, top, map_owner_color(i),
			m->owners.items[i].name);
		fprintf(f, "  %llu %s</text>\n",
			(unsigned long long)m->owners.items[i].slices,
			cfs_plural(m->owners.items[i].slices, "slice",
				   "slices"));
	}
	return top;
}

void map_put_svg(FILE *f, const struct map *m, enum map_order order)
{
	unsigned int top = 10, height = 20 + LINE, width = 400;

	for (size_t i = 0; i < m->devices.count; i++) {
		const struct drawn *d = &m->devices.items[i];

		height += 2 * LINE + height_of(d, order);
		width = CFS_MAX(width, 20 + width_of(d, order));
	}
	height += LINE * (unsigned int)m->owners.count;
	fprintf(f,
		"<?xml version='1.0' encoding='UTF-8'?>\n"
		"<svg xmlns='http://www.w3.org/2000/svg' width='%u' "
		"height='%u' font-family='monospace' font-size='11' "
		"xml:space='preserve'>\n",
		width, height);
	map_put_patterns(f);
	fputs("<rect width='100%' height='100%' fill='white'/>\n", f);
	for (size_t i = 0; i < m->devices.count; i++)
		top = put_device(f, m, &m->devices.items[i], order, top);
	put_legend(f, m, top);
	fputs("</svg>\n", f);
}
