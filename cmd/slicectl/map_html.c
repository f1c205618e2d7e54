/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A report of a pool as one HTML file: the number that matters first, then
 * what the space is used for, the map, and what volumes and snapshots share.
 * No scripts, no fonts and nothing else from elsewhere; it prints, and follows
 * the reader's choice of light or dark.
 */
#include "slicectl/map.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

/* More of them would be a list nobody reads: those that keep most are shown. */
#define SNAPSHOTS_SHOWN 100u

struct snapshot {
	char name[400];
	uint64_t created_ns, exclusive_bytes, shared_bytes;
};

struct report {
	FILE *f;
	struct map *m;
	uint64_t most_bytes; /* the widest bar of a table */
	CFS_VEC(struct cfs_volume_info) volumes;
	CFS_VEC(struct snapshot) snapshots;
};

static const char style[] =
	":root{--ink:#1b1f23;--soft:#5b636b;--line:#d7dce1;--paper:#fff;"
	"--own:#0072b2;--shared:#56b4e9;--empty:#e6e6e6;--bad:#d55e00}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ad;"
	"--line:#3a4149;--paper:#15181b;--empty:#33393f}}\n"
	"body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);"
	"background:var(--paper);max-width:960px;margin:2em auto;"
	"padding:0 1em}\n"
	"h1{font-size:1.5em;margin:0}h2{font-size:1.1em;margin:2em 0 .5em}\n"
	"p{margin:.3em 0}.soft{color:var(--soft)}"
	".big{font-size:2em;margin:.6em 0 0}.bad{color:var(--bad)}\n"
	"table{border-collapse:collapse;width:100%}"
	"th{font-weight:600;text-align:left;color:var(--soft)}"
	"td,th{padding:.25em .6em .25em 0;"
	"border-bottom:1px solid var(--line);vertical-align:middle}"
	"td.n,th.n{text-align:right;white-space:nowrap}"
	"td.bar{width:35%}\n"
	".stack{display:flex;height:1.1em;background:var(--empty);"
	"overflow:hidden;border-radius:2px}.stack i{display:block}\n"
	".key{display:inline-block;width:.8em;height:.8em;margin:0 .4em 0 1em;"
	"border-radius:2px}.key:first-child{margin-left:0}\n"
	".cols{display:flex;align-items:flex-end;height:6em;gap:3px}"
	".cols div{flex:1;background:var(--own);min-height:1px}"
	".scale{display:flex;gap:3px}.scale span{flex:1;text-align:center;"
	"font-size:.8em;color:var(--soft)}\n"
	"svg{max-width:100%;height:auto;color:var(--ink)}"
	"svg text{fill:currentColor}rect.free{fill:var(--empty)}\n"
	"input[name=order]{margin:0 .3em 0 0}label{margin-right:1.2em}"
	".hilbert{display:none}"
	"#hilbert:checked~.linear{display:none}"
	"#hilbert:checked~.hilbert{display:block}\n";

/* ---- pieces -------------------------------------------------------------- */

static void put_size(const struct report *rp, uint64_t bytes)
{
	char text[CFS_SIZE_TEXT_BYTES];

	fputs(cfs_size_format(bytes, text), rp->f);
}

/* To the minute, for people. */
static void put_time(const struct report *rp, uint64_t realtime_ns)
{
	char text[CFS_TIME_TEXT_BYTES];

	cfs_time_format_ns(realtime_ns, text);
	fprintf(rp->f, "%.10s %.5s UTC", text, text + 11);
}

/* A part of a bar; @title says what it is. */
static void put_part(const struct report *rp, uint64_t part, uint64_t whole,
		     const char *fill, const char *title)
{
	if (!part || !whole)
		return;
	fprintf(rp->f, "<i style=\"width:%.3f%%;background:%s\" title=\"%s: ",
		100.0 * (double)part / (double)whole, fill, title);
	put_size(rp, part);
	fputs("\"></i>", rp->f);
}

static void put_key(const struct report *rp, const char *fill, const char *word)
{
	fprintf(rp->f, "<span class=key style=\"background:%s\"></span>%s",
		fill, word);
}

/* ---- the pool ------------------------------------------------------------ */

static void put_head(const struct report *rp)
{
	const struct cfs_pool_info *info = &rp->m->info;
	fputs("<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
	      "<meta name=viewport content=\"width=device-width\">\n<title>",
	      rp->f);
	map_put_escaped(rp->f, info->name[0] ? info->name : "cfs pool");
	fprintf(rp->f, "</title>\n<style>\n%s</style></head><body>\n<h1>",
		style);
	map_put_escaped(rp->f,
			info->name[0] ? info->name : rp->m->cmd->operands[0]);
	fprintf(rp->f, "</h1>\n<p class=soft>cfs pool, %s, %u %s, %s; as of ",
		cfs_pool_state_name(info->state), info->device_count,
		cfs_plural(info->device_count, "device", "devices"),
		info->is_mirror ? "mirrored" : "not mirrored");
	put_time(rp, cfs_clock_realtime_ns(cfs_clock_system()));
	fputs("</p>\n", rp->f);
}

static void put_numbers(const struct report *rp)
{
	const struct cfs_pool_info *info = &rp->m->info;
	const uint64_t room = CFS_MAX(info->capacity_bytes, UINT64_C(1));

	fputs("<p class=big>", rp->f);
	put_size(rp, info->free_bytes);
	fprintf(rp->f, " free</p>\n<p>Writes fail after so many bytes. ");
	put_size(rp, info->used_bytes);
	fprintf(rp->f, " of ");
	put_size(rp, info->capacity_bytes);
	fprintf(rp->f, " are used, %llu %%. ",
		(unsigned long long)(100 * CFS_MIN(info->used_bytes, room) /
				     room));
	if (info->damaged_blocks)
		fprintf(rp->f, "<b class=bad>%llu damaged %s known.</b>",
			(unsigned long long)info->damaged_blocks,
			cfs_plural(info->damaged_blocks, "block is",
				   "blocks are"));
	else
		fputs("No damage is known.", rp->f);
	fputs("</p>\n", rp->f);
}

/* Every slice, by what it is used for. */
static void put_space(const struct report *rp)
{
	const struct cfs_pool_info *info = &rp->m->info;
	const uint64_t slice = info->slice_bytes;
	uint64_t used = 0, lent = info->lent_slices * slice;
	const uint64_t all = info->slices * slice;

	for (size_t i = 0; i < rp->m->owners.count; i++)
		used += rp->m->owners.items[i].used_blocks * 4096;
	used = CFS_MIN(used, lent);
	fputs("<h2>Space</h2>\n<div class=stack>", rp->f);
	put_part(rp, used, all, "var(--own)", "in use");
	put_part(rp, lent - used, all, "var(--shared)",
		 "lent to containers, not in use");
	put_part(rp, info->frozen_slices * slice, all, "#cc79a7",
		 "frozen until their holder is known to be gone");
	put_part(rp, info->bad_slices * slice, all, "var(--bad)", "damaged");
	fputs("</div>\n<p class=soft>", rp->f);
	put_key(rp, "var(--own)", "in use");
	put_key(rp, "var(--shared)", "lent, not in use");
	put_key(rp, "var(--empty)", "free");
	put_key(rp, "#cc79a7", "frozen");
	put_key(rp, "var(--bad)", "damaged");
	fputs("</p>\n", rp->f);
}

/* ---- the map ------------------------------------------------------------- */

static void put_maps(const struct report *rp, enum map_order order)
{
	fprintf(rp->f, "<div class=%s>\n",
		order == MAP_HILBERT ? "hilbert" : "linear");
	for (size_t i = 0; i < rp->m->devices.count; i++) {
		const struct drawn *d = &rp->m->devices.items[i];

		fprintf(rp->f, "<p>device %u: ", d->info.index);
		map_put_escaped(rp->f,
				d->info.path[0] ? d->info.path : "missing");
		fprintf(rp->f,
			"<span class=soft>, %llu %s, %llu a cell"
			"</span></p>\n",
			(unsigned long long)d->info.slice_count,
			cfs_plural(d->info.slice_count, "slice", "slices"),
			(unsigned long long)d->slices_per_cell);
		map_put_cells(rp->f, rp->m, d, order);
	}
	fputs("</div>\n", rp->f);
}

static void put_map(const struct report *rp)
{
	fputs("<h2>Slices</h2>\n<svg width=0 height=0 "
	      "style=\"position:absolute\">",
	      rp->f);
	map_put_patterns(rp->f);
	fputs("</svg><div>\n"
	      "<input type=radio name=order id=linear checked>"
	      "<label for=linear>in rows</label>"
	      "<input type=radio name=order id=hilbert>"
	      "<label for=hilbert>along a Hilbert curve</label>\n",
	      rp->f);
	put_maps(rp, MAP_LINEAR);
	put_maps(rp, MAP_HILBERT);
	fputs("<p class=soft>", rp->f);
	for (size_t i = 0; i < rp->m->owners.count; i++) {
		fprintf(rp->f,
			"<span class=key style=\"background:%s\">"
			"</span>",
			map_owner_color(i));
		map_put_escaped(rp->f, rp->m->owners.items[i].name);
	}
	fputs("; the paler, the emptier. A cell says more when it is pointed "
	      "at.</p></div>\n",
	      rp->f);
}

/* Space in slices that are neither full nor empty is what fragments. */
static void put_fill(const struct report *rp)
{
	const uint64_t *counts = rp->m->fill_counts;
	uint64_t most = 1;

	for (size_t i = 0; i < MAP_FILL_CLASSES; i++)
		most = CFS_MAX(most, counts[i]);
	fputs("<h2>How full lent slices are</h2>\n<div class=cols>", rp->f);
	for (size_t i = 0; i < MAP_FILL_CLASSES; i++)
		fprintf(rp->f,
			"<div style=\"height:%.1f%%\" title=\"%llu %s, "
			"%zu to %zu %% full\"></div>",
			100.0 * (double)counts[i] / (double)most,
			(unsigned long long)counts[i],
			cfs_plural(counts[i], "slice", "slices"), i * 10,
			i * 10 + 10);
	fputs("</div><div class=scale>", rp->f);
	for (size_t i = 0; i < MAP_FILL_CLASSES; i++)
		fprintf(rp->f, "<span>%zu %%</span>", i * 10 + 10);
	fputs("</div>\n", rp->f);
}

/* ---- volumes and snapshots ----------------------------------------------- */

static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	struct report *rp = arg;

	return cfs_vec_push(&rp->volumes, *info);
}

static int add_snapshot(void *arg, const struct cfs_snapshot_info *info)
{
	struct report *rp = arg;
	struct snapshot snap = {
		.created_ns = info->created_ns,
		.exclusive_bytes = info->exclusive_bytes,
		.shared_bytes = info->shared_bytes,
	};

	(void)snprintf(snap.name, sizeof(snap.name), "%s@%s", info->volume,
		       info->name);
	return cfs_vec_push(&rp->snapshots, snap);
}

static void put_bar(const struct report *rp, uint64_t own, uint64_t shared)
{
	fputs("<td class=bar><div class=stack>", rp->f);
	put_part(rp, own, rp->most_bytes, "var(--own)", "its own");
	put_part(rp, shared, rp->most_bytes, "var(--shared)", "shared");
	fputs("</div></td>", rp->f);
}

static void put_bytes(const struct report *rp, uint64_t bytes)
{
	fputs("<td class=n>", rp->f);
	put_size(rp, bytes);
	fputs("</td>", rp->f);
}

static void put_shared_key(const struct report *rp)
{
	fputs("<p class=soft>", rp->f);
	put_key(rp, "var(--own)", "its own");
	put_key(rp, "var(--shared)", "shared with snapshots and clones");
	fputs("</p>\n", rp->f);
}

static void put_volumes(struct report *rp)
{
	fputs("<h2>Volumes</h2>\n<table><tr><th>Name<th>Kind<th class=n>Size"
	      "<th class=n>Used<th class=n>Snapshots<th></tr>\n",
	      rp->f);
	rp->most_bytes = 1;
	for (size_t i = 0; i < rp->volumes.count; i++)
		rp->most_bytes = CFS_MAX(rp->most_bytes,
					 rp->volumes.items[i].used_bytes);
	for (size_t i = 0; i < rp->volumes.count; i++) {
		const struct cfs_volume_info *v = &rp->volumes.items[i];
		const uint64_t shared = CFS_MIN(v->shared_bytes, v->used_bytes);

		fputs("<tr><td>", rp->f);
		map_put_escaped(rp->f, v->name);
		if (strcmp(v->state, "clean") != 0)
			fprintf(rp->f, " <b class=bad>%s</b>", v->state);
		fprintf(rp->f, "</td><td>%s</td>", slicectl_kind_name(v->kind));
		put_bytes(rp, v->size_bytes);
		put_bytes(rp, v->used_bytes);
		fprintf(rp->f, "<td class=n>%llu</td>",
			(unsigned long long)v->snapshot_count);
		put_bar(rp, v->used_bytes - shared, shared);
		fputs("</tr>\n", rp->f);
	}
	fputs("</table>\n", rp->f);
	put_shared_key(rp);
}

static int by_exclusive(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;

	return x->exclusive_bytes < y->exclusive_bytes ? 1
	       : x->exclusive_bytes > y->exclusive_bytes
		       ? -1
		       : strcmp(x->name, y->name);
}

static void put_snapshots(struct report *rp)
{
	size_t shown = CFS_MIN(rp->snapshots.count, SNAPSHOTS_SHOWN);

	if (shown == 0)
		return;
	qsort(rp->snapshots.items, rp->snapshots.count,
	      sizeof(*rp->snapshots.items), by_exclusive);
	rp->most_bytes = 1;
	for (size_t i = 0; i < shown; i++)
		rp->most_bytes = CFS_MAX(
			rp->most_bytes,
			rp->snapshots.items[i].exclusive_bytes +
				rp->snapshots.items[i].shared_bytes);
	fprintf(rp->f,
		"<h2>Snapshots</h2>\n<p class=soft>%zu of %zu, those "
		"first that would give back most</p>\n<table><tr><th>Name<th>"
		"Taken<th class=n>Its own<th class=n>Shared<th></tr>\n",
		shown, rp->snapshots.count);
	for (size_t i = 0; i < shown; i++) {
		const struct snapshot *s = &rp->snapshots.items[i];

		fputs("<tr><td>", rp->f);
		map_put_escaped(rp->f, s->name);
		fputs("</td><td>", rp->f);
		put_time(rp, s->created_ns);
		fputs("</td>", rp->f);
		put_bytes(rp, s->exclusive_bytes);
		put_bytes(rp, s->shared_bytes);
		put_bar(rp, s->exclusive_bytes, s->shared_bytes);
		fputs("</tr>\n", rp->f);
	}
	fputs("</table>\n", rp->f);
	put_shared_key(rp);
}

int map_put_html(FILE *f, struct map *m, struct cfs_session *s)
{
	struct report rp = { .f = f, .m = m };
	struct cfs_err *err = &m->cmd->err;
	int r = cfs_session_volumes(s, NULL, add_volume, &rp, err);

	if (r == 0)
		r = cfs_session_snapshots(s, NULL, true, add_snapshot, &rp,
					  err);
	if (r == -ENOMEM && !err->code)
		r = cfs_err_set(err, r, "out of memory");
	if (r == 0) {
		put_head(&rp);
		put_numbers(&rp);
		put_space(&rp);
		put_map(&rp);
		put_fill(&rp);
		put_volumes(&rp);
		put_snapshots(&rp);
		fputs("</body></html>\n", f);
	} else {
		r = cfs_cmd_wrap(m->cmd, m->cmd->operands[0], r);
	}
	cfs_vec_done(&rp.volumes);
	cfs_vec_done(&rp.snapshots);
	return r;
}
