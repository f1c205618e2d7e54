/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl map: the slices of each device as a picture.  A cell stands for as
 * many neighbouring slices as it takes to fit a device into ROWS lines; what
 * is worst in a cell is what it shows (damaged, then frozen, then how full).
 * So the picture has the same size for a file of 64 MiB and for a petabyte.
 * It is drawn with characters here, as SVG in map_svg.c, and in a report in
 * map_html.c.
 */
#include "slicectl/map.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

struct glyphs {
	const char *free, *fill[4], *pool, *frozen, *damaged;
};

static const struct glyphs shades = {
	"·", { "░", "▒", "▓", "█" }, "◆", "≈", "×"
};
static const struct glyphs ascii = {
	".", { "-", "+", "*", "#" }, "P", "~", "x"
};

static const char *const colors[] = {
	"\033[36m", "\033[32m", "\033[33m", "\033[35m", "\033[34m", "\033[96m",
};

static bool has_utf8(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is_utf8;

	if (!locale)
		return false;
	is_utf8 = !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
	freelocale(locale);
	return is_utf8;
}

/* ------------------------------------------------------------ collecting */

static int add_device(void *arg, const struct cfs_device_info *info)
{
	struct map *m = arg;
	struct drawn d = { .info = *info };

	slicectl_out_device(m->cmd->out, info);
	d.slices_per_cell = cfs_div_up(info->slice_count,
				       MAP_COLUMNS * MAP_ROWS);
	if (!d.slices_per_cell)
		d.slices_per_cell = 1;
	d.cell_count = (size_t)cfs_div_up(info->slice_count, d.slices_per_cell);
	d.cells = calloc(d.cell_count + 1, sizeof(*d.cells));
	if (!d.cells || cfs_vec_push(&m->devices, d) < 0) {
		free(d.cells);
		return -ENOMEM;
	}
	return 0;
}

/* The container of this name, from 1; 0: no memory. */
static uint32_t owner_of(struct map *m, const struct cfs_slice_info *i)
{
	struct owner o = { .slices = 0 };
	size_t k;

	for (k = m->owners.count; k-- > 0;) {
		if (!strcmp(m->owners.items[k].name, i->container))
			break;
	}
	if (k == SIZE_MAX) {
		(void)snprintf(o.name, sizeof(o.name), "%s", i->container);
		if (cfs_vec_push(&m->owners, o) < 0)
			return 0;
		k = m->owners.count - 1;
	}
	m->owners.items[k].slices++;
	m->owners.items[k].used_blocks += i->used_blocks;
	m->owners.items[k].block_count += i->block_count;
	return (uint32_t)k + 1;
}

static void out_slice(struct cfs_out *out, const struct cfs_slice_info *i)
{
	bool is_owned = i->container[0];

	cfs_out_begin_obj(out, NULL);
	cfs_out_u64(out, "device_index", i->device_index);
	cfs_out_u64(out, "slice_index", i->slice_index);
	cfs_out_str(out, "use", i->use);
	cfs_out_str(out, "container", is_owned ? i->container : NULL);
	if (is_owned) {
		cfs_out_u64(out, "logical_slice", i->lslice);
		cfs_out_u64(out, "piece", i->piece);
	} else {
		cfs_out_null(out, "logical_slice");
		cfs_out_null(out, "piece");
	}
	cfs_out_u64(out, "generation", i->generation);
	cfs_out_u64(out, "used_blocks", i->used_blocks);
	cfs_out_u64(out, "total_blocks", i->block_count);
	cfs_out_end(out);
}

static int add_slice(void *arg, const struct cfs_slice_info *i)
{
	struct map *m = arg;
	struct drawn *d = NULL;
	struct cell *c;
	size_t k;

	out_slice(m->cmd->out, i);
	for (k = 0; k < m->devices.count; k++) {
		if (m->devices.items[k].info.index == i->device_index)
			d = &m->devices.items[k];
	}
	if (!d || i->slice_index / d->slices_per_cell >= d->cell_count)
		return 0;
	c = &d->cells[i->slice_index / d->slices_per_cell];
	if (!strcmp(i->use, "bad"))
		c->damaged++;
	else if (!strcmp(i->use, "frozen"))
		c->frozen++;
	else if (!strcmp(i->use, "pool"))
		c->pool++;
	else if (!strcmp(i->use, "container"))
		c->lent++;
	c->used_blocks += i->used_blocks;
	c->block_count += i->block_count;
	if (i->block_count && !strcmp(i->use, "container"))
		m->fill_counts[CFS_MIN(i->used_blocks * MAP_FILL_CLASSES /
					       i->block_count,
				       MAP_FILL_CLASSES - 1)]++;
	if (i->container[0]) {
		c->owner = owner_of(m, i);
		if (!c->owner)
			return -ENOMEM;
	}
	return 0;
}

/* --------------------------------------------------------------- drawing */

static void put_colored(struct cfs_cmd *cmd, const char *color,
			const char *text)
{
	if (cmd->has_color)
		cfs_cmd_print(cmd, "%s%s\033[0m", color, text);
	else
		cfs_cmd_print(cmd, "%s", text);
}

static const char *owner_color(uint32_t owner)
{
	return colors[(owner ? owner - 1 : 0) % CFS_ARRAY_COUNT(colors)];
}

static void put_cell(struct map *m, const struct glyphs *g,
		     const struct cell *c)
{
	unsigned int fill = 0;

	if (c->block_count)
		fill = (unsigned int)(c->used_blocks * 4 / c->block_count);
	if (fill > 3)
		fill = 3;
	if (c->damaged)
		put_colored(m->cmd, "\033[31m", g->damaged);
	else if (c->frozen)
		put_colored(m->cmd, "\033[94m", g->frozen);
	else if (c->lent)
		put_colored(m->cmd, owner_color(c->owner), g->fill[fill]);
	else if (c->pool)
		put_colored(m->cmd, "\033[37m", g->pool);
	else
		put_colored(m->cmd, "\033[2m", g->free);
}

static void draw_device(struct map *m, const struct glyphs *g,
			const struct drawn *d)
{
	uint64_t first;
	size_t i;

	cfs_cmd_print(m->cmd, "device %u  %s  %llu slices", d->info.index,
		      d->info.path[0] ? d->info.path : "missing",
		      (unsigned long long)d->info.slice_count);
	if (d->slices_per_cell > 1)
		cfs_cmd_print(m->cmd, ", %llu a cell",
			      (unsigned long long)d->slices_per_cell);
	cfs_cmd_print(m->cmd, "\n");
	for (i = 0; i < d->cell_count; i++) {
		first = i * d->slices_per_cell;
		if (i % MAP_COLUMNS == 0)
			cfs_cmd_print(m->cmd, "%12llu ",
				      (unsigned long long)first);
		put_cell(m, g, &d->cells[i]);
		if (i % MAP_COLUMNS == MAP_COLUMNS - 1 ||
		    i + 1 == d->cell_count)
			cfs_cmd_print(m->cmd, "\n");
	}
	cfs_cmd_print(m->cmd, "\n");
}

static void put_legend(struct map *m, const struct glyphs *g)
{
	cfs_cmd_print(m->cmd,
		      "%s free   %s%s%s%s lent, by how full   "
		      "%s pool   %s frozen   %s damaged\n",
		      g->free, g->fill[0], g->fill[1], g->fill[2], g->fill[3],
		      g->pool, g->frozen, g->damaged);
}

static int put_owners(struct map *m)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	const struct owner *o;
	size_t i;

	if (!m->owners.count)
		return 0;
	cfs_cmd_print(m->cmd, "\n");
	table = cfs_table_new(m->cmd, "CONTAINER|>SLICES|>FULL");
	for (i = 0; i < m->owners.count; i++) {
		o = &m->owners.items[i];
		cfs_table_str(table, o->name);
		cfs_table_u64(table, o->slices);
		cfs_table_fmt(
			table, "%llu %%",
			(unsigned long long)(o->block_count
						     ? o->used_blocks * 100 /
							       o->block_count
						     : 0));
	}
	return cfs_table_print(table, m->cmd);
}

static int draw(struct map *m)
{
	const struct glyphs *g = has_utf8() ? &shades : &ascii;
	size_t i;

	for (i = 0; i < m->devices.count; i++)
		draw_device(m, g, &m->devices.items[i]);
	put_legend(m, g);
	return put_owners(m);
}

/* ------------------------------------------------------------------ verb */

static int collect(struct map *m, struct cfs_session *s, const char *only)
{
	struct cfs_cmd *cmd = m->cmd;
	int r = cfs_session_pool_info(s, &m->info, &cmd->err);

	if (r < 0)
		return r;
	cfs_out_u64(cmd->out, "slice_bytes", m->info.slice_bytes);
	cfs_out_begin_array(cmd->out, "devices");
	r = cfs_session_devices(s, add_device, m, &cmd->err);
	cfs_out_end(cmd->out);
	if (r < 0)
		return r;
	cfs_out_begin_array(cmd->out, "slices");
	r = cfs_session_slices(s, only, add_slice, m, &cmd->err);
	cfs_out_end(cmd->out);
	return r;
}

static void map_donep(struct map *m)
{
	size_t i;

	for (i = 0; i < m->devices.count; i++)
		free(m->devices.items[i].cells);
	cfs_vec_done(&m->devices);
	cfs_vec_done(&m->owners);
}

/* Into memory first: a file appears when all of it is there. */
static int draw_file(struct map *m, struct cfs_session *s, const char *path,
		     bool is_html)
{
	CFS_CLEANUP(cfs_freep) char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int r = 0;

	if (!f)
		return cfs_err_set(&m->cmd->err, -ENOMEM, "out of memory");
	if (is_html)
		r = map_put_html(f, m, s);
	else
		map_put_svg(f, m,
			    cfs_cmd_has(m->cmd, "hilbert") ? MAP_HILBERT
							   : MAP_LINEAR);
	if (fclose(f) != 0 && r == 0)
		r = cfs_err_set(&m->cmd->err, -ENOMEM, "out of memory");
	return r < 0 ? r : map_write_file(m, path, text, n);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(map_donep) struct map m = { .cmd = cmd };
	const char *svg = cfs_cmd_str(cmd, "svg", NULL);
	const char *html = cfs_cmd_str(cmd, "html", NULL);
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0 && cfs_cmd_has(cmd, "hilbert") && !svg)
		r = cfs_cmd_usage(cmd, "--hilbert is for --svg");
	if (r == 0 && html && name.container)
		r = cfs_cmd_usage(cmd, "a report is of a whole pool");
	if (r == 0)
		r = slicectl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	r = collect(&m, s, name.container);
	if (r == -ENOMEM && !cmd->err.code)
		r = cfs_err_set(&cmd->err, r, "out of memory");
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	if (!svg && !html)
		return draw(&m);
	if (svg)
		r = draw_file(&m, s, svg, false);
	if (r == 0 && html)
		r = draw_file(&m, s, html, true);
	return r;
}

const struct cfs_verb slicectl_map = {
	.name = "map",
	.operands = "POOL[:NAME]",
	.help = "draw which slices are in use, and by whom",
	.more = "A line begins with the index of its first slice. With NAME "
		"only the slices of that container are drawn. The JSON has "
		"every slice that was ever used; the others are free.",
	.examples = "slicectl map pool.img\n"
		    "slicectl map --svg map.svg --hilbert pool.img\n"
		    "slicectl map --html report.html pool.img\n"
		    "slicectl map --json pool.img:vm0 | jq '.slices | length'",
	.opts = CFS_OPTS(
		{ .name = "svg",
		  .type = CFS_OPT_STRING,
		  .argument = "FILE",
		  .help = "draw it as SVG into FILE, '-' for standard "
			  "output" },
		{ .name = "hilbert",
		  .type = CFS_OPT_FLAG,
		  .help = "along a curve that keeps neighbours together, not "
			  "in rows" },
		{ .name = "html",
		  .type = CFS_OPT_STRING,
		  .argument = "FILE",
		  .help = "write a report of the pool with its map into "
			  "FILE" }),
	.common = CFS_COMMON_READ,
	.items = "slices",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
