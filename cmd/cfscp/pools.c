/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pools and volumes of all operands.  A pool may be named by one device here
 * and by another there, and a process can hold it only once: so pools are told
 * apart by their UUID, and all operands are looked at before any is opened.
 */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct find_uuid {
	uint8_t uuid[16];
	bool has_uuid;
};

static int on_pool(void *arg, const struct cfs_pool_info *info,
		   const struct cfs_device_info *devices, size_t device_count)
{
	struct find_uuid *find = arg;

	(void)devices;
	(void)device_count;
	memcpy(find->uuid, info->uuid, sizeof(find->uuid));
	find->has_uuid = true;
	return 0;
}

static int add_pool(struct cp *cp, const char *name, size_t *ret)
{
	struct cp_pool pool = { .name = NULL };
	struct find_uuid find = { .has_uuid = false };
	struct cfs_err ignored = CFS_ERR_INIT;
	size_t i;

	for (i = 0; i < cp->pools.count; i++)
		if (strcmp(cp->pools.items[i].name, name) == 0)
			break;
	if (i == cp->pools.count) {
		/* What is wrong with it is said when it is opened. */
		(void)cfs_pools_scan(&name, 1, on_pool, &find, &ignored);
		for (i = 0; find.has_uuid && i < cp->pools.count; i++)
			if (cp->pools.items[i].has_uuid &&
			    memcmp(cp->pools.items[i].uuid, find.uuid, 16) == 0)
				break;
	}
	if (i < cp->pools.count) {
		*ret = i;
		return 0;
	}
	memcpy(pool.uuid, find.uuid, sizeof(pool.uuid));
	pool.has_uuid = find.has_uuid;
	pool.name = strdup(name);
	if (!pool.name || cfs_vec_push(&cp->pools, pool) < 0) {
		free(pool.name);
		return cfs_err_set(&cp->cmd->err, -ENOMEM, "out of memory");
	}
	*ret = cp->pools.count - 1;
	return 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* A file of the host may be written as file:PATH or file:///PATH. */
static int decode_uri(struct cp *cp, struct cp_operand *op)
{
	const char *from = op->text;
	char *to;

	if (strncmp(from, "file:", 5) != 0)
		return 0;
	from += strncmp(from, "file:///", 8) == 0 ? 7 : 5;
	to = op->decoded = malloc(strlen(from) + 1);
	if (!to)
		return cfs_err_set(&cp->cmd->err, -ENOMEM, "out of memory");
	op->path = to;
	while (*from) {
		int high = *from == '%' ? hex_digit(from[1]) : -1;
		int low = high >= 0 ? hex_digit(from[2]) : -1;

		if (*from == '%' && (low < 0 || (high == 0 && low == 0)))
			return cfs_cmd_usage(cp->cmd,
					     "'%s': '%%' is followed "
					     "by no code of a byte",
					     op->text);
		*to++ = *from == '%' ? (char)(high * 16 + low) : *from;
		from += *from == '%' ? 3 : 1;
	}
	*to = '\0';
	return 0;
}

static int read_operand(struct cp *cp, unsigned int index, bool is_dst,
			bool is_volume)
{
	struct cp_operand *op = &cp->operands[index];
	struct cfs_cmd *cmd = cp->cmd;
	int r;

	op->text = cmd->operands[index];
	op->path = op->text;
	if (cfs_name_is_stdio(op->text) && !is_volume) {
		op->kind = CP_STDIO;
		return 0;
	}
	if (!cfs_name_is_volume(op->text) && !is_volume) {
		op->kind = CP_HOST;
		return decode_uri(cp, op);
	}
	r = cfs_cmd_name(cmd, index, CFS_NAME_VOLUME, CFS_NAME_ANY_PATH,
			 &op->name);
	if (r < 0)
		return r;
	/* What it is shows when it is opened. */
	op->kind = op->name.path ? CP_TREE : CP_LUN;
	op->path = op->name.path;
	r = add_pool(cp, op->name.pool, &op->pool);
	if (r == 0 && is_dst)
		cp->pools.items[op->pool].is_writable = true;
	return r;
}

int cp_init(struct cp *cp, struct cfs_cmd *cmd, size_t dst_index,
	    bool all_volumes)
{
	unsigned int i;
	int r = 0;

	memset(cp, 0, sizeof(*cp));
	cp->cmd = cmd;
	cp->operand_count = cmd->operand_count;
	cp->operands = calloc(cmd->operand_count + 1, sizeof(*cp->operands));
	if (!cp->operands)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	for (i = 0; i < cmd->operand_count && r == 0; i++)
		r = read_operand(cp, i,
				 i == dst_index ||
					 (all_volumes && dst_index == 0),
				 all_volumes);
	return r;
}

void cp_donep(struct cp *cp)
{
	size_t i;

	for (i = 0; i < cp->volumes.count; i++) {
		cfs_io_close(cp->volumes.items[i].io);
		free(cp->volumes.items[i].volume);
		free(cp->volumes.items[i].snap);
	}
	cfs_vec_done(&cp->volumes);
	for (i = 0; i < cp->pools.count; i++) {
		cfs_session_closep(&cp->pools.items[i].session);
		free(cp->pools.items[i].name);
	}
	cfs_vec_done(&cp->pools);
	for (i = 0; cp->operands && i < cp->operand_count; i++) {
		cfs_name_done(&cp->operands[i].name);
		free(cp->operands[i].decoded);
	}
	for (i = 0; i < cp->damages.count; i++)
		free(cp->damages.items[i].object);
	cfs_vec_done(&cp->damages);
	cfs_vec_done(&cp->outcomes);
	free(cp->operands);
	cp->operands = NULL;
}

static bool may_write(const struct cp *cp, const struct cp_volume *v)
{
	return v->is_writable && !cp->cmd->is_dry_run;
}

int cp_close(struct cp *cp, int r)
{
	struct cfs_err first = cp->cmd->err;
	size_t i;
	int got;

	for (i = 0; i < cp->volumes.count; i++) {
		struct cp_volume *v = &cp->volumes.items[i];

		got = v->io && may_write(cp, v)
			      ? cfs_io_sync(v->io, &cp->cmd->err)
			      : 0;
		if (got < 0 && r == 0)
			r = cfs_cmd_wrap(cp->cmd, v->volume, got);
		cfs_io_close(v->io);
		v->io = NULL;
	}
	for (i = 0; i < cp->pools.count; i++) {
		struct cp_pool *p = &cp->pools.items[i];
		struct cfs_session *s = CFS_STEAL(p->session);

		got = s ? cfs_session_close(s, &cp->cmd->err) : 0;
		if (got < 0 && r == 0)
			r = cfs_cmd_wrap(cp->cmd, p->name, got);
	}
	/* The first thing that went wrong is what is told. */
	if (r < 0 && first.code < 0)
		cp->cmd->err = first;
	return r;
}

static int open_session(struct cp *cp, struct cp_pool *pool)
{
	struct cfs_session_options opt = {
		CFS_CMD_SESSION(cp->cmd),
		.gives_up = true,
	};
	int r;

	if (pool->session)
		return 0;
	/* A dry run changes nothing: it needs no right to write. */
	opt.is_writable = pool->is_writable && !cp->cmd->is_dry_run;
	r = cfs_session_open(pool->name, &opt, &pool->session, &cp->cmd->err);
	return r < 0 ? cfs_cmd_wrap(cp->cmd, pool->name, r) : 0;
}

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct cp_volume *find_volume(struct cp *cp, const struct cp_operand *op)
{
	size_t i;

	for (i = 0; i < cp->volumes.count; i++) {
		struct cp_volume *v = &cp->volumes.items[i];

		if (v->pool == op->pool &&
		    is_same(v->volume, op->name.volume) &&
		    is_same(v->snap, op->name.snap))
			return v;
	}
	return NULL;
}

static int add_volume(struct cp *cp, const struct cp_operand *op,
		      struct cp_volume **ret)
{
	struct cp_volume v = {
		.pool = op->pool,
		.volume = strdup(op->name.volume),
		.snap = op->name.snap ? strdup(op->name.snap) : NULL,
	};

	if (!v.volume || (op->name.snap && !v.snap) ||
	    cfs_vec_push(&cp->volumes, v) < 0) {
		free(v.volume);
		free(v.snap);
		return cfs_err_set(&cp->cmd->err, -ENOMEM, "out of memory");
	}
	*ret = &cp->volumes.items[cp->volumes.count - 1];
	return 0;
}

/* Which of the two it is, now that it is known. */
static int settle_kind(struct cp *cp, struct cp_operand *op)
{
	bool is_tree = cfs_io_kind(op->io) == CFS_VOLUME_TREE;

	if (!is_tree && op->name.path)
		return cfs_err_set(
			&cp->cmd->err, -ENOTDIR,
			"%s: a LUN, which has no files: leave %s out", op->text,
			op->name.path);
	op->kind = is_tree ? CP_TREE : CP_LUN;
	op->path = !is_tree ? NULL : op->name.path ? op->name.path : "/";
	return 0;
}

int cp_open(struct cp *cp, struct cp_operand *op, bool is_writable)
{
	struct cp_volume *v = find_volume(cp, op);
	struct cp_pool *pool = &cp->pools.items[op->pool];
	int r = 0;

	if (is_writable && op->name.snap)
		return cfs_err_set(&cp->cmd->err, -EROFS,
				   "%s: a snapshot, which never changes",
				   op->text);
	if (!v) {
		r = open_session(cp, pool);
		if (r == 0)
			r = add_volume(cp, op, &v);
		if (r < 0)
			return r;
	}
	v->is_writable = v->is_writable || is_writable;
	if (!v->io) {
		r = cfs_io_open(pool->session, v->volume, v->snap,
				may_write(cp, v), &v->io, &cp->cmd->err);
		if (r < 0)
			return cfs_cmd_wrap(cp->cmd, op->text, r);
	}
	op->io = v->io;
	return settle_kind(cp, op);
}
