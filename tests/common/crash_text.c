// SPDX-License-Identifier: GPL-3.0-or-later
/* The words in which a model and a pool are compared. */
#include "crash_model_priv.h"

#include "base/bits.h"
#include "base/xxh.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void crash_render_volume(struct cfs_buf *ret, const char *volume,
			 const char *snap, bool is_tree, uint64_t size_bytes)
{
	cfs_buf_printf(ret, "%s %s%s%s %" PRIu64 "\n", is_tree ? "tree" : "lun",
		       volume, snap ? "@" : "", snap ? snap : "",
		       is_tree ? 0 : size_bytes);
}

void crash_render_block(struct cfs_buf *ret, uint64_t index,
			const uint8_t *block)
{
	static const uint8_t zeroes[MODEL_BLOCK_BYTES];

	if (memcmp(block, zeroes, sizeof(zeroes)) != 0)
		cfs_buf_printf(ret, " %" PRIu64 ":%016" PRIx64 "\n", index,
			       cfs_xxh3(block, MODEL_BLOCK_BYTES));
}

void crash_render_node(struct cfs_buf *ret, const struct crash_node_text *n)
{
	if (n->type == 'd') {
		cfs_buf_printf(ret, " d %s", n->path);
	} else {
		cfs_buf_printf(
			ret, " %c %s #%u n%u s%" PRIu64 " h%016" PRIx64,
			n->type, n->path, n->number, n->nlink, n->size_bytes,
			n->size_bytes ? cfs_xxh3(n->data, n->size_bytes) : 0);
	}
	cfs_buf_printf(ret, " x%016" PRIx64 "\n",
		       n->xattr_bytes ? cfs_xxh3(n->xattr, n->xattr_bytes) : 0);
}

static void render_content(const struct content *c, const char *volume,
			   const char *snap, struct cfs_buf *ret)
{
	crash_render_volume(ret, volume, snap, c->tree != NULL, c->size_bytes);
	if (c->tree) {
		mtree_render(c->tree, ret);
		return;
	}
	for (uint64_t i = 0; i < c->size_bytes / MODEL_BLOCK_BYTES; i++)
		crash_render_block(ret, i, c->bytes + i * MODEL_BLOCK_BYTES);
}

static void render_of(const struct container *c, const struct volume *v,
		      struct cfs_buf *ret)
{
	char name[2 * MODEL_NAME_BYTES + 2];

	snprintf(name, sizeof(name), "%s%s%s", c->name, v->name[0] ? "/" : "",
		 v->name);
	render_content(v->head, name, NULL, ret);
	for (unsigned int i = 0; i < v->snap_count; i++)
		render_content(v->snaps[i].content, name, v->snaps[i].name,
			       ret);
}

/* Clones in the order of names. */
void model_render(const struct model *m, unsigned int slot, struct cfs_buf *ret)
{
	const struct container *c = &m->containers[slot];
	const struct volume *order[MODEL_VOLUMES];
	unsigned int n = 0;

	if (!c->in_use)
		return;
	render_of(c, &c->volumes[0], ret);
	for (unsigned int i = 1; i < MODEL_VOLUMES; i++) {
		unsigned int k = n;

		if (!c->volumes[i].head)
			continue;
		for (; k > 0 &&
		       strcmp(order[k - 1]->name, c->volumes[i].name) > 0;
		     k--)
			order[k] = order[k - 1];
		order[k] = &c->volumes[i];
		n++;
	}
	for (unsigned int i = 0; i < n; i++)
		render_of(c, order[i], ret);
}

static const char *const kind_names[] = {
	[OP_SYNC] = "sync",        [OP_COMMIT] = "commit",
	[OP_REOPEN] = "reopen",    [OP_SNAP] = "snap",
	[OP_SNAP_RM] = "snap-rm",  [OP_SNAP_RENAME] = "snap-rename",
	[OP_CLONE] = "clone",      [OP_ROLLBACK] = "rollback",
	[OP_CREATE] = "create",    [OP_RM] = "rm",
	[OP_RENAME] = "rename",    [OP_TRIM] = "trim",
	[OP_KILL] = "kill",        [OP_WRITE] = "write",
	[OP_PUNCH] = "punch",      [OP_RESIZE] = "resize",
	[OP_TCREATE] = "t-create", [OP_TWRITE] = "t-write",
	[OP_TRENAME] = "t-rename", [OP_TLINK] = "t-link",
	[OP_TUNLINK] = "t-unlink", [OP_TMKDIR] = "t-mkdir",
	[OP_TRMDIR] = "t-rmdir",   [OP_TTRUNCATE] = "t-truncate",
	[OP_TXATTR] = "t-xattr",   [OP_TSYMLINK] = "t-symlink",
	[OP_TPUNCH] = "t-punch",
};

void crash_op_text(const struct crash_op *op, struct cfs_buf *ret)
{
	cfs_buf_printf(ret, "%s %s %s %s %" PRIu64 "+%" PRIu64 " seed %" PRIu64,
		       kind_names[op->kind], op->volume, op->name, op->name2,
		       op->offset, op->length, op->seed);
}

bool crash_op_is_durable(const struct crash_op *op)
{
	return op->kind <= OP_RENAME || op->kind == OP_RESIZE;
}
