/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The slice map as SVG: the same cells as in the terminal, as squares.  How
 * full a lent cell is, is how opaque it is; a title on each says it in words.
 * Names are of unknown origin: they are escaped twice, as text and as XML.
 */
#include "slicectl/map.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CELL	12u		/* pixels, with a gap of 1 */
#define LEFT	110u
#define LINE	18u
#define WIDTH	(LEFT + MAP_COLUMNS * CELL + 10u)

static const char *const fills[] = {
	"#0a8a9e", "#2f8f3a", "#b58900", "#a03c9a", "#2b5fc0", "#5b6b00",
};

static void put_escaped(FILE *f, const char *bytes)
{
	CFS_CLEANUP(cfs_freep) char *text =
		cfs_text_escape_dup(bytes, strlen(bytes));
	const char *p;

	for (p = text ? text : "?"; *p; p++) {
		if (*p == '&')
			fputs("&amp;", f);
		else if (*p == '<')
			fputs("&lt;", f);
		else if (*p == '>')
			fputs("&gt;", f);
		else
			fputc(*p, f);
	}
}

static unsigned int percent(const struct cell *c)
{
	return c->block_count ? (unsigned int)(c->used_blocks * 100 /
					       c->block_count)
			      : 0;
}

/* The colour of a cell, and the word for it. */
static const char *fill_of(const struct cell *c, const char **ret_word)
{
	*ret_word = c->damaged ? "damaged" : c->frozen ? "frozen" :
		    c->lent ? "lent" : c->pool ? "pool" : "free";
	if (c->damaged)
		return "#d01010";
	if (c->frozen)
		return "#7fb2ff";
	if (c->lent)
		return fills[(c->owner ? c->owner - 1 : 0) %
			     CFS_ARRAY_COUNT(fills)];
	return c->pool ? "#606060" : "#e8e8e8";
}

static void put_cell(FILE *f, const struct map *m, const struct drawn *d,
		     size_t i, unsigned int top)
{
	const struct cell *c = &d->cells[i];
	const char *word, *fill = fill_of(c, &word);
	bool is_lent = strcmp(word, "lent") == 0;
	unsigned int full = percent(c);

	fprintf(f, "<rect x='%zu' y='%zu' width='%u' height='%u' fill='%s' "
		"fill-opacity='%.2f'><title>slice %llu: %s",
		LEFT + i % MAP_COLUMNS * CELL, top + i / MAP_COLUMNS * CELL,
		CELL - 1, CELL - 1, fill, is_lent ? 0.25 + full * 0.0075 : 1.0,
		(unsigned long long)(i * d->slices_per_cell), word);
	if (is_lent && c->owner) {
		fputs(", ", f);
		put_escaped(f, m->owners.items[c->owner - 1].name);
	}
	if (is_lent)
		fprintf(f, ", %u %% full", full);
	fputs("</title></rect>\n", f);
}

/* Returns where the next thing goes. */
static unsigned int put_device(FILE *f, const struct map *m,
			       const struct drawn *d, unsigned int top)
{
	unsigned int rows = (unsigned int)((d->cell_count + MAP_COLUMNS - 1) /
					   MAP_COLUMNS);
	unsigned int row;
	size_t i;

	fprintf(f, "<text x='10' y='%u'>device %u  ", top + 12,
		d->info.index);
	put_escaped(f, d->info.path[0] ? d->info.path : "missing");
	fprintf(f, "  %llu %s, %llu a cell</text>\n",
		(unsigned long long)d->info.slice_count,
		cfs_plural(d->info.slice_count, "slice", "slices"),
		(unsigned long long)d->slices_per_cell);
	top += LINE;
	for (row = 0; row < rows; row++)
		fprintf(f, "<text x='%u' y='%u' text-anchor='end'>%llu</text>"
			"\n", LEFT - 8, top + row * CELL + 10,
			(unsigned long long)(row * MAP_COLUMNS *
					     d->slices_per_cell));
	for (i = 0; i < d->cell_count; i++)
		put_cell(f, m, d, i, top);
	return top + rows * CELL + LINE;
}

static void put_owner(FILE *f, const struct map *m, size_t i,
		      unsigned int top)
{
	const struct owner *o = &m->owners.items[i];

	fprintf(f, "<rect x='10' y='%u' width='%u' height='%u' fill='%s'/>"
		"<text x='28' y='%u'>", top, CELL - 1, CELL - 1,
		fills[i % CFS_ARRAY_COUNT(fills)], top + 10);
	put_escaped(f, o->name);
	fprintf(f, "  %llu %s</text>\n", (unsigned long long)o->slices,
		cfs_plural(o->slices, "slice", "slices"));
}

static void put_svg(FILE *f, const struct map *m)
{
	unsigned int top = 10, height = 20;
	size_t i;

	for (i = 0; i < m->devices.count; i++)
		height += 2 * LINE + CELL *
			  (unsigned int)((m->devices.items[i].cell_count +
					  MAP_COLUMNS - 1) / MAP_COLUMNS);
	height += LINE * (unsigned int)m->owners.count;
	fprintf(f, "<?xml version='1.0' encoding='UTF-8'?>\n"
		"<svg xmlns='http://www.w3.org/2000/svg' width='%u' "
		"height='%u' font-family='monospace' font-size='11' "
		"xml:space='preserve'>\n"
		"<rect width='100%%' height='100%%' fill='white'/>\n",
		WIDTH, height);
	for (i = 0; i < m->devices.count; i++)
		top = put_device(f, m, &m->devices.items[i], top);
	for (i = 0; i < m->owners.count; i++, top += LINE)
		put_owner(f, m, i, top);
	fputs("</svg>\n", f);
}

static int write_all(int fd, const char *text, size_t n)
{
	ssize_t got;

	while (n) {
		got = write(fd, text, n);
		if (got < 0 && errno != EINTR)
			return -errno;
		text += got > 0 ? got : 0;
		n -= got > 0 ? (size_t)got : 0;
	}
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

/* Beside it first, so that what was there is there until it is complete. */
static int write_file(struct map *m, const char *path, const char *text,
		      size_t n)
{
	CFS_CLEANUP(cfs_freep) char *temp = NULL;
	struct cfs_err *err = &m->cmd->err;
	mode_t mask = umask(0);
	int fd, r;

	(void)umask(mask);
	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	fd = mkstemp(temp);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	r = write_all(fd, text, n);
	if (r == 0 && fchmod(fd, 0666 & ~mask) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temp);
	return r < 0 ? cfs_err_errno(err, r, "%s", path) : 0;
}

int map_write_svg(struct map *m, const char *path)
{
	CFS_CLEANUP(cfs_freep) char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return cfs_err_set(&m->cmd->err, -ENOMEM, "out of memory");
	put_svg(f, m);
	if (fclose(f) != 0)
		return cfs_err_set(&m->cmd->err, -ENOMEM, "out of memory");
	if (strcmp(path, "-") != 0)
		return write_file(m, path, text, n);
	cfs_cmd_print(m->cmd, "%s", text);
	return 0;
}
