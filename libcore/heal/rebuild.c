/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rebuild of one container, from the scan to the new root.
 *
 * Until that root is durable, nothing is written to a block that an old node
 * stands in: all good leaves count as in use, and are given back behind it.
 */
#include "heal/rebuild_priv.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "volume/pool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STAMPS_AHEAD (UINT64_C(1) << 20) /* that a lost root may promise */
#define INOS_AHEAD   1024u

void cfs_rebuild_done(struct rebuild *b)
{
	for (size_t i = 0; i < b->branches.count; i++)
		cfs_vec_done(&b->branches.items[i].pins);
	cfs_vec_done(&b->branches);
	cfs_vec_done(&b->runs);
	cfs_vec_done(&b->tombstones);
	cfs_vec_done(&b->nodes);
	cfs_vec_done(&b->logs);
	cfs_vec_done(&b->groups);
	cfs_container_drop(b->c);
	cfs_metavolume_free(b->mv);
}

/* ---- the root to go on behind -------------------------------------------- */

/* Extents of the log: its tagged blocks, whatever is in them. */
static int take_logs(struct rebuild *b, struct cfs_root *root)
{
	struct cfs_rng rng;
	int r = cfs_rng_init_random(&rng, b->err);

	if (r < 0)
		return r;
	if (b->logs.count == 0)
		return cfs_err_set(b->err, -EUCLEAN,
				   "no tag says where the log was");
	root->log_extent_count = 0;
	for (size_t i = 0;
	     i < b->logs.count && root->log_extent_count < CFS_LOG_EXTENTS_MAX;
	     i++)
		root->log_extents[root->log_extent_count++] = b->logs.items[i];
	/* Frames of the old log are another's. */
	root->log_id = 1 + cfs_rng_below(&rng, CFS_INO_MAX);
	root->log_seq = 1;
	root->log_chain = 0;
	root->log_extent = root->log_block = 0;
	return 0;
}

static int make_root(struct rebuild *b)
{
	struct cfs_root *root = &b->root;
	uint64_t ceiling = b->stamp_max + STAMPS_AHEAD;
	uint64_t next_ino = b->ino_max + 1 + INOS_AHEAD;

	/* One that is left tells what was promised. */
	if (cfs_container_read_root(b->mv, cfs_metavolume_container_id(b->mv),
				    b->config.root_vaddr, root, &b->root_seq,
				    NULL, NULL, NULL) == 0 &&
	    memcmp(root->container_uuid, b->config.uuid, 16) == 0) {
		ceiling = CFS_MAX(root->stamp_ceiling, b->stamp_max);
		next_ino = CFS_MAX(root->next_ino, b->ino_max + 1);
	} else {
		memset(root, 0, sizeof(*root));
	}
	if (ceiling > CFS_STAMP_MAX - STAMPS_AHEAD)
		return cfs_err_set(b->err, -EUCLEAN,
				   "a tag has a stamp that cannot be");
	memcpy(root->container_uuid, b->config.uuid, 16);
	root->stamp = ceiling;
	root->next_ino = CFS_MAX(CFS_MIN(next_ino, CFS_INO_MAX), 16);
	memset(root->trees, 0, sizeof(root->trees));
	memset(root->grave_vaddr, 0, sizeof(root->grave_vaddr));
	root->names_of = 0;
	for (size_t i = 0; i < b->nodes.count; i++) {
		const struct cfs_tag *tag = &b->nodes.items[i].tag;
		struct cfs_tree_root *t = &root->trees[tag->ino - 1];

		t->next_node = CFS_MAX(t->next_node, tag->offset + 1);
	}
	return take_logs(b, root);
}

static int know_groups(struct rebuild *b)
{
	int r = 0;

	for (size_t i = 0; i < b->groups.count && r == 0; i++)
		r = cfs_repair_know_group(
			b->c, cfs_vaddr_lslice(b->groups.items[i]),
			cfs_vaddr_block(b->groups.items[i]), b->err);
	return r;
}

static int begin(struct rebuild *b)
{
	int r = make_root(b);

	if (r < 0)
		return r;
	/* The container owns the map from here on, also if it fails. */
	b->mv = NULL;
	r = cfs_repair_container_new(&b->config, &b->root, b->root_seq, &b->c,
				     b->err);
	return r < 0 ? r : know_groups(b);
}

/* ---- space, and the commit ----------------------------------------------- */

static int mark_fixed(struct rebuild *b)
{
	int r = 0;

	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX && r == 0; i++)
		if (b->config.root_vaddr[i])
			r = cfs_repair_mark_used(b->c, b->config.root_vaddr[i],
						 2, b->err);
	for (uint32_t i = 0; i < b->root.log_extent_count && r == 0; i++)
		r = cfs_repair_mark_used(b->c, b->root.log_extents[i].vaddr,
					 b->root.log_extents[i].block_count,
					 b->err);
	return r;
}

/*
 * Old leaves stay until the new root stands.  A tag may lie: where a block is
 * the new trees' own by now, it stays theirs.
 */
static int mark_leaves(struct rebuild *b)
{
	int r = 0;

	for (size_t i = 0; i < b->nodes.count && r == 0; i++) {
		struct rebuild_node *n = &b->nodes.items[i];
		uint32_t block = cfs_vaddr_block(n->vaddr);
		uint32_t at = cfs_geometry_index(b->geo, block);
		uint64_t used[2];

		if (!n->is_leaf)
			continue;
		r = cfs_repair_used(b->c, cfs_vaddr_lslice(n->vaddr),
				    cfs_geometry_group(b->geo, block), used,
				    b->err);
		if (r == 0 && (used[at / 64] >> (at % 64) & 1))
			n->is_leaf = false;
		else if (r == 0)
			r = cfs_repair_mark_used(b->c, n->vaddr, 1, b->err);
	}
	return r;
}

static int release_leaves(struct rebuild *b)
{
	int r = 0;

	for (size_t i = 0; i < b->nodes.count && r == 0;) {
		r = cfs_op_begin(b->c, CFS_OP_FREEING, b->err);
		if (r < 0)
			return r;
		for (unsigned int n = 0;
		     n < 256 && i < b->nodes.count && r == 0; n++, i++)
			if (b->nodes.items[i].is_leaf)
				r = cfs_space_free(b->c,
						   b->nodes.items[i].vaddr, 1,
						   b->err);
		if (r < 0)
			cfs_op_abort(b->c);
		else
			cfs_op_end(b->c);
	}
	return r;
}

/* The new trees and root; the lock is held. */
static int commit(struct rebuild *b)
{
	int r = mark_fixed(b);

	if (r == 0)
		r = mark_leaves(b);
	/* More slices, where there are some; the commit says if that was not
	 * enough. */
	if (r == 0)
		(void)cfs_space_promise(b->c, 64, NULL);
	cfs_repair_raise_ino(b->c, b->ino_max);
	return r == 0 ? cfs_repair_commit(b->c, b->err) : r;
}

/* ---- all of it ----------------------------------------------------------- */

int cfs_rebuild_run(struct rebuild *b)
{
	struct cfs_container *c;
	int r;

	b->geo = cfs_metavolume_geometry(b->mv);
	b->seed = cfs_tag_container_seed(b->config.uuid);
	r = cfs_rebuild_scan(b);
	if (r == 0)
		r = begin(b);
	if (r < 0)
		return r;
	cfs_container_lock(b->c);
	r = cfs_rebuild_leaves(b);
	if (r == 0)
		r = b->fill(b);
	if (r == 0)
		r = commit(b);
	cfs_container_unlock(b->c);
	if (r == 0)
		r = release_leaves(b);
	if (r < 0)
		return r;
	c = b->c;
	b->c = NULL;
	return cfs_container_close(c, b->err);
}

int cfs_rebuild_container(struct cfs_pool *pool, uint64_t id,
			  struct cfs_rebuild_result *ret, struct cfs_err *err)
{
	struct rebuild *b = calloc(1, sizeof(*b));
	struct cfs_container_rec rec = { .kind = 0 };
	int r;

	if (!b)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memset(ret, 0, sizeof(*ret));
	b->result = ret;
	b->err = err;
	r = cfs_pool_container_config(pool, id, &b->config, &rec, err);
	if (r == 0) {
		b->mv = b->config.mv;
		b->fill = cfs_rebuild_map;
		r = cfs_rebuild_run(b);
		if (r < 0)
			cfs_err_wrap(err, r, "container %s", rec.name);
	}
	cfs_rebuild_done(b);
	free(b);
	return r;
}
