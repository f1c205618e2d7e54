/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How what the library reports becomes lines, JSON and an exit status. */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "common/progress.h"
#include "common/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *cp_tree_object(const struct cp_operand *op, const char *path)
{
	const char *colon = op->name.path ? op->name.path : NULL;
	size_t n = colon ? strlen(op->text) - strlen(colon) - 1
			 : strlen(op->text);
	char *text = NULL;

	if (asprintf(&text, "%.*s:%s", (int)n, op->text, path) < 0)
		return NULL;
	return text;
}

char *cp_object_below(const struct cp *cp, const char *path)
{
	const struct cp_operand *op = cp->source;
	const char *rest = path, *base = op->path;
	char *text = NULL, *full;
	size_t n = strlen(cp->prefix);

	if (n && strncmp(path, cp->prefix, n) == 0)
		rest = path + n;
	if (op->kind == CP_LUN || op->kind == CP_STDIO)
		return strdup(op->text);
	while (*rest == '/')
		rest++;
	n = strlen(base);
	while (n && base[n - 1] == '/')
		n--;
	if (asprintf(&text, "%.*s%s%s", (int)n, base,
		     *rest || (n == 0 && *base == '/') ? "/" : "", rest) < 0)
		return NULL;
	if (op->kind != CP_TREE)
		return text;
	full = cp_tree_object(op, text);
	free(text);
	return full;
}

void cp_hint_damage(const struct cp *cp, struct cfs_err *err)
{
	const struct cp_operand *op = cp->source;
	const struct cfs_err why = *err;

	if (err->code != -EUCLEAN || cfs_cmd_has(cp->cmd, "skip-damaged") ||
	    (op->kind != CP_LUN && op->kind != CP_TREE))
		return;
	(void)cfs_err_set(err, why.code,
			  "%s: --skip-damaged goes on, with "
			  "zeroes there",
			  why.msg);
}

static void on_failed(void *arg, const char *path, const struct cfs_err *err)
{
	struct cp *cp = arg;
	CFS_CLEANUP(cfs_freep) char *object = cp_object_below(cp, path);
	struct cfs_err hinted = *err;

	/* Only what is read has an offset; a damaged directory has none. */
	if (strstr(err->msg, "offset "))
		cp_hint_damage(cp, &hinted);
	cfs_cmd_fail(cp->cmd, object ? object : path, &hinted);
}

/*
 * Called from the thread that reads, too; but never from two at once, and
 * nobody else touches the list while a copy runs.
 */
static void on_damaged(void *arg, const char *path, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	struct cp *cp = arg;
	struct cp_damage damage = {
		.source = cp->source,
		.object = cp_object_below(cp, path),
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};

	cfs_cmd_raise(cp->cmd, CFS_STATUS_DAMAGED);
	if (!damage.object || cfs_vec_push(&cp->damages, damage) < 0)
		free(damage.object);
}

static int by_place(const void *a, const void *b)
{
	const struct cp_damage *x = a, *y = b;
	int by_object = strcmp(x->object, y->object);

	if (by_object)
		return by_object;
	return x->offset_bytes < y->offset_bytes ? -1 : 1;
}

/* Neighbours become one. */
static void join_damage(struct cp *cp, size_t begin)
{
	struct cp_damage *items = cp->damages.items;
	size_t i, kept = begin;

	for (i = begin + 1; i < cp->damages.count; i++) {
		struct cp_damage *last = &items[kept];

		if (strcmp(last->object, items[i].object) == 0 &&
		    last->offset_bytes + last->length_bytes ==
			    items[i].offset_bytes) {
			last->length_bytes += items[i].length_bytes;
			free(items[i].object);
			continue;
		}
		items[++kept] = items[i];
	}
	cp->damages.count = kept + 1;
}

void cp_tell_damage(struct cp *cp)
{
	size_t i, begin = cp->told_damages;

	if (cp->damages.count == begin)
		return;
	qsort(cp->damages.items + begin, cp->damages.count - begin,
	      sizeof(cp->damages.items[0]), by_place);
	join_damage(cp, begin);
	for (i = begin; i < cp->damages.count; i++) {
		const struct cp_damage *d = &cp->damages.items[i];

		cfs_cmd_warn(cp->cmd,
			     "%s: offset %llu: %llu damaged bytes: "
			     "zeroes are written in their place",
			     d->object, (unsigned long long)d->offset_bytes,
			     (unsigned long long)d->length_bytes);
	}
	cp->told_damages = cp->damages.count;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct cp *cp = arg;

	cfs_cmd_progress(cp->cmd, done, total);
}

struct cfs_transfer_options cp_options(struct cp *cp)
{
	struct cfs_transfer_options opt = {
		.is_sparse = cfs_cmd_has(cp->cmd, "sparse"),
		.skips_damage = cfs_cmd_has(cp->cmd, "skip-damaged"),
		.is_dry_run = cp->cmd->is_dry_run,
		.stop = cfs_cmd_is_stopped,
		.progress = on_progress,
		.failed = on_failed,
		.damaged = on_damaged,
		.arg = cp,
	};

	return opt;
}

int cp_add_outcome(struct cp *cp, const struct cp_outcome *outcome)
{
	if (cfs_vec_push(&cp->outcomes, *outcome) < 0)
		return cfs_err_set(&cp->cmd->err, -ENOMEM, "out of memory");
	return 0;
}

static void put_damage(struct cfs_cmd *cmd, const struct cp_damage *d)
{
	const struct cp_operand *op = d->source;
	const char *path = NULL;

	/* The object is the operand up to its path, and the path. */
	if (op->kind == CP_TREE && d->object)
		path = d->object + strlen(op->text) -
		       (op->name.path ? strlen(op->name.path) : 0) +
		       (op->name.path ? 0 : 1);
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "source", op->text);
	cfs_out_str(cmd->out, "volume", op->name.volume);
	cfs_out_str(cmd->out, "snapshot", op->name.snap);
	cfs_out_str(cmd->out, "path", path);
	cfs_out_u64(cmd->out, "offset_bytes", d->offset_bytes);
	cfs_out_u64(cmd->out, "length_bytes", d->length_bytes);
	cfs_out_end(cmd->out);
}

static void put_outcome(struct cfs_cmd *cmd, const struct cp_outcome *o,
			const char *dst)
{
	char size[CFS_TABLE_SIZE_BYTES];

	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "source", o->source->text);
	cfs_out_str(cmd->out, "destination", dst);
	if (o->is_bytes) {
		cfs_out_u64(cmd->out, "copied_bytes", o->bytes.copied_bytes);
		cfs_out_u64(cmd->out, "data_bytes", o->bytes.data_bytes);
		cfs_out_u64(cmd->out, "damaged_bytes", o->bytes.damaged_bytes);
	} else {
		cfs_out_u64(cmd->out, "entry_count", o->entries.entries);
		cfs_out_u64(cmd->out, "file_count", o->entries.files);
		cfs_out_u64(cmd->out, "directory_count",
			    o->entries.directories);
		cfs_out_u64(cmd->out, "link_count", o->entries.links);
		cfs_out_u64(cmd->out, "data_bytes", o->entries.bytes);
		cfs_out_u64(cmd->out, "damaged_bytes",
			    o->entries.damaged_bytes);
	}
	cfs_out_end(cmd->out);
	cfs_table_format_size(
		cmd, o->is_bytes ? o->bytes.copied_bytes : o->entries.bytes,
		size);
	if (!cmd->is_dry_run)
		return;
	if (o->is_bytes)
		cfs_cmd_print(cmd, "would copy %s from %s to %s\n", size,
			      o->source->text, dst);
	else
		cfs_cmd_print(
			cmd, "would copy %s to %s: %llu %s, %s\n",
			o->source->text, dst,
			(unsigned long long)o->entries.entries,
			cfs_plural(o->entries.entries, "entry", "entries"),
			size);
}

void cp_put_outcomes(struct cp *cp, const char *dst)
{
	struct cfs_cmd *cmd = cp->cmd;
	size_t i;

	cfs_out_begin_array(cmd->out, "copies");
	for (i = 0; i < cp->outcomes.count; i++)
		put_outcome(cmd, &cp->outcomes.items[i], dst);
	cfs_out_end(cmd->out);
	cfs_out_begin_array(cmd->out, "damaged");
	for (i = 0; i < cp->damages.count; i++)
		put_damage(cmd, &cp->damages.items[i]);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}
