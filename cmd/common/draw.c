/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Trees with lines.  The lines before a label are found by walking up to the
 * root, for each node anew: a tree that a person looks at is small enough,
 * and nothing has to be allocated.
 */
#include "common/table.h"

#include "base/text.h"

#include <assert.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

struct lines {
	const char *more, *last, *pass, *none;
};

static const struct lines box = { "├─ ", "└─ ", "│  ", "   " };
static const struct lines ascii = { "|- ", "`- ", "|  ", "   " };

struct drawing {
	const struct cfs_draw_node *nodes;
	size_t count;
	const struct lines *lines;
	FILE *to;
};

static bool is_root(const struct drawing *d, size_t i)
{
	return d->nodes[i].parent == i;
}

/* No later node has the same parent. */
static bool is_last(const struct drawing *d, size_t i)
{
	size_t k;

	for (k = i + 1; k < d->count; k++) {
		if (d->nodes[k].parent == d->nodes[i].parent && !is_root(d, k))
			return false;
	}
	return true;
}

/* The columns left of node @i's own branch, from the root on. */
static void put_columns(const struct drawing *d, size_t i)
{
	if (is_root(d, i))
		return;
	put_columns(d, d->nodes[i].parent);
	fputs(is_last(d, i) ? d->lines->none : d->lines->pass, d->to);
}

static void put_node(const struct drawing *d, size_t i)
{
	const char *label = d->nodes[i].label;
	char *shown = cfs_text_escape_dup(label, strlen(label));
	size_t k;

	if (!is_root(d, i)) {
		put_columns(d, d->nodes[i].parent);
		fputs(is_last(d, i) ? d->lines->last : d->lines->more, d->to);
	}
	fprintf(d->to, "%s\n", shown ? shown : "?");
	free(shown);
	for (k = i + 1; k < d->count; k++) {
		if (d->nodes[k].parent == i)
			put_node(d, k);
	}
}

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

void cfs_draw_tree(struct cfs_cmd *cmd, const struct cfs_draw_node *nodes,
		   size_t count)
{
	struct drawing d = {
		.nodes = nodes,
		.count = count,
		.to = cmd->text,
		.lines = has_utf8() ? &box : &ascii,
	};
	size_t i;

	for (i = 0; i < count; i++)
		assert(nodes[i].parent <= i);
	for (i = 0; i < count; i++) {
		if (is_root(&d, i))
			put_node(&d, i);
	}
}
