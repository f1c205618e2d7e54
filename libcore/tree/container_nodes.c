/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trees' nodes as tagged blocks of the container, each in two copies (one,
 * where the pool mirrors): reading, placing, giving up, writing.
 */
#include "tree/container_client_priv.h"
#include "tree/container_priv.h"

#include "base/cleanup.h"
#include "base/xxh.h"

#include <inttypes.h>
#include <stdlib.h>

static struct cfs_tag node_tag(unsigned int tree_id, uint64_t number,
			       uint64_t stamp)
{
	return (struct cfs_tag){
		.type = tree_id == CFS_TREE_TABLE ? CFS_TAG_TABLE
						  : CFS_TAG_NODE,
		.ino = tree_id,
		.offset = number,
		.stamp = stamp,
	};
}

/* Write a good copy over the bad ones: the same content in the same place. */
static void heal_copies(struct cfs_container *c, unsigned int tree_id,
			const struct cfs_node_ref *ref,
			unsigned int bad_pieces[2], const void *node)
{
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			if (!(bad_pieces[i] & 1u << p))
				continue;
			/* Should it fail, the next read tries again. */
			if (cfs_metavolume_write_piece(c->mv, ref->vaddr[i], 1,
						       p, node, NULL) < 0 ||
			    c->healed_count == CFS_HEALED_NODES_MAX)
				continue;
			c->healed[c->healed_count++] = (struct cfs_healed_node){
				.tree_id = tree_id,
				.vaddr = ref->vaddr[i],
				.piece = p,
			};
		}
	}
}

/* What could not be read does not verify. */
static void ahead_land(struct cfs_container *c)
{
	if (c->ahead.flight)
		(void)cfs_metavolume_flight_end(c->ahead.flight, NULL);
	c->ahead.flight = NULL;
}

static void ahead_drop(struct cfs_container *c)
{
	ahead_land(c);
	free(c->ahead.images);
	c->ahead.images = NULL;
	c->ahead.count = 0;
	c->ahead.left = 0;
}

void cfs_container_ahead_done(struct cfs_container *c)
{
	ahead_drop(c);
}

/* One copy of each, from one piece, which is waited for when one of them is
 * asked for; what is not good then is read again, from wherever it is. */
static void node_ahead(void *ctx, const struct cfs_node_ref *refs,
		       unsigned int count)
{
	struct cfs_mv_read reads[CFS_TREE_AHEAD_MAX];
	struct cfs_container *c = ctx;
	unsigned int n = 0;

	ahead_drop(c);
	if (c->client)
		return;
	c->ahead.images = cfs_dev_buf_alloc_unset((size_t)count *
						  CFS_NODE_BYTES);
	if (!c->ahead.images)
		return;
	for (unsigned int i = 0; i < count; i++) {
		const unsigned int readable = cfs_metavolume_readable(
			c->mv, cfs_vaddr_lslice(refs[i].vaddr[0]));

		if (!refs[i].vaddr[0] || !readable)
			continue;
		c->ahead.vaddr[n] = refs[i].vaddr[0];
		reads[n] = (struct cfs_mv_read){
			.vaddr = refs[i].vaddr[0],
			.count = 1,
			.piece = (unsigned int)__builtin_ctz(readable),
			.buf = c->ahead.images + (size_t)n * CFS_NODE_BYTES,
		};
		n++;
	}
	if (n == 0 || cfs_metavolume_read_start(c->mv, reads, n,
						&c->ahead.flight, NULL) < 0) {
		ahead_drop(c);
		return;
	}
	c->ahead.count = n;
	c->ahead.left = n;
}

static bool ahead_take(struct cfs_container *c, const struct cfs_node_ref *ref,
		       void *buf)
{
	for (unsigned int i = 0; i < c->ahead.count; i++) {
		const uint8_t *image = c->ahead.images +
				       (size_t)i * CFS_NODE_BYTES;
		bool is_good;

		if (!ref->vaddr[0] || c->ahead.vaddr[i] != ref->vaddr[0])
			continue;
		ahead_land(c);
		is_good = cfs_xxh3(image, CFS_NODE_BYTES) == ref->csum;
		if (is_good)
			memcpy(buf, image, CFS_NODE_BYTES);
		c->ahead.vaddr[i] = 0;
		if (--c->ahead.left == 0)
			ahead_drop(c);
		return is_good;
	}
	return false;
}

static int node_read(void *ctx, unsigned int tree_id,
		     const struct cfs_node_ref *ref, void *buf,
		     struct cfs_err *err)
{
	struct cfs_container *c = ctx;
	CFS_CLEANUP(cfs_freep) void *node = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	unsigned int bad[2] = { 0, 0 };
	int r = -EUCLEAN;

	if (!node)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (c->client && cfs_client_shelf_get(c, ref, buf))
		return 0;
	if (ahead_take(c, ref, buf))
		return 0;
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int readable =
			ref->vaddr[i] ? cfs_metavolume_readable(
						c->mv,
						cfs_vaddr_lslice(ref->vaddr[i]))
				      : 0;

		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			int r2;

			if (!(readable & 1u << p))
				continue;
			r2 = cfs_metavolume_read(c->mv, ref->vaddr[i], 1, p,
						 node, NULL);
			if (r2 == 0 &&
			    cfs_xxh3(node, CFS_NODE_BYTES) == ref->csum) {
				memcpy(buf, node, CFS_NODE_BYTES);
				if ((bad[0] | bad[1]) && cfs_container_heals(c))
					heal_copies(c, tree_id, ref, bad, node);
				if (c->client)
					cfs_client_shelf_put(c, ref, node);
				return 0;
			}
			bad[i] |= 1u << p;
			if (r2 < 0 && r2 != -EUCLEAN)
				r = r2;
		}
	}
	if (c->client && r == -EUCLEAN)
		return cfs_client_doubt(c, ref->vaddr[0], err);
	return cfs_err_set(
		err, r, "tree %u: no copy of the node at %#" PRIx64 " is good",
		tree_id, ref->vaddr[0]);
}

static int node_alloc(void *ctx, unsigned int tree_id, uint64_t node_number,
		      struct cfs_node_ref *ret, struct cfs_err *err)
{
	struct cfs_container *c = ctx;
	uint32_t got;
	int r;

	(void)tree_id;
	(void)node_number;
	memset(ret, 0, sizeof(*ret));
	ret->stamp = c->commit_stamp;
	for (unsigned int i = 0; i < c->copies; i++) {
		r = cfs_space_alloc_stream(c, CFS_STREAM_META0 + i, 1, false,
					   &ret->vaddr[i], &got, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int node_release(void *ctx, unsigned int tree_id,
			const struct cfs_node_ref *ref, struct cfs_err *err)
{
	struct cfs_container *c = ctx;

	(void)tree_id;
	for (unsigned int i = 0; i < 2; i++) {
		int r;

		if (!ref->vaddr[i])
			continue;
		r = cfs_space_free(c, ref->vaddr[i], 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int node_write(void *ctx, unsigned int tree_id, uint64_t node_number,
		      const struct cfs_node_ref *ref, const void *node,
		      struct cfs_err *err)
{
	struct cfs_container *c = ctx;
	struct cfs_tag tag = node_tag(tree_id, node_number, ref->stamp);

	tag.csum = cfs_tag_csum(&tag, cfs_blocks_seed(c->blocks), node);
	for (unsigned int i = 0; i < 2; i++) {
		int r;

		if (!ref->vaddr[i])
			continue;
		cfs_space_set_tag(c, ref->vaddr[i], &tag);
		r = cfs_container_add_write(c, ref->vaddr[i], 1, node, err);
		if (r < 0)
			return r;
	}
	return 0;
}

const struct cfs_tree_ops cfs_container_tree_ops = {
	.read = node_read,
	.alloc = node_alloc,
	.release = node_release,
	.write = node_write,
	.ahead = node_ahead,
};
