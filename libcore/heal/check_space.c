/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Roots in all their places, what the log takes, and the space tree, which is
 * to say the same as all that was found to be reachable.
 */
#include "heal/check_priv.h"

#include "base/cleanup.h"
#include "pool/metavolume.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- roots --------------------------------------------------------------- */

static void check_root_copy(struct check *k, uint64_t vaddr, unsigned int piece,
			    struct cfs_page_disk *page)
{
	const uint64_t seq = cfs_repair_root_seq(k->c);
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_ROOT,
		.pool_lo = cfs_metavolume_pool_lo(k->mv),
		.owner = cfs_metavolume_container_id(k->mv),
		.address = vaddr,
	};
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_page head;

	if (cfs_metavolume_read(k->mv, vaddr, 1, piece, page, &why) < 0 ||
	    cfs_page_unpack(page, &expect, &head, &why) < 0)
		cfs_check_say(k, "root",
			      "the root at %#" PRIx64 " is bad in "
			      "piece %u: %s",
			      vaddr, piece, why.msg);
	else if (head.seq != seq)
		cfs_check_say(k, "root",
			      "the root at %#" PRIx64 " in piece %u"
			      " is an old one: %" PRIu64 ", not %" PRIu64,
			      vaddr, piece, head.seq, seq);
}

int cfs_check_own_other(struct check *k, uint64_t vaddr, uint32_t count,
			uint8_t type, const char *what)
{
	const struct check_run run = {
		.vaddr = vaddr,
		.count = count,
		.tag = { .type = type },
		.only_type = true,
	};

	return cfs_check_own(k, vaddr, count, what) ? cfs_check_expect(k, &run)
						    : 0;
}

int cfs_check_roots(struct check *k)
{
	const uint64_t *places = cfs_container_root_places(k->c);
	const struct cfs_root *root = cfs_container_root(k->c);
	const uint64_t slot = cfs_repair_root_seq(k->c) & 1;
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	int r = 0;

	if (!page)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX && r == 0; i++) {
		unsigned int readable;

		if (!places[i])
			continue;
		readable = cfs_metavolume_readable(k->mv,
						   cfs_vaddr_lslice(places[i]));
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			if (readable & 1u << p)
				check_root_copy(k, places[i] + slot, p, page);
		r = cfs_check_own_other(k, places[i], 2, CFS_TAG_ROOT,
					"the root");
	}
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		if (root->grave_vaddr[i])
			r = cfs_check_own_other(k, root->grave_vaddr[i], 1,
						CFS_TAG_ROOT, "a gravestone");
	for (uint32_t i = 0; i < root->log_extent_count && r == 0; i++)
		r = cfs_check_own_other(k, root->log_extents[i].vaddr,
					root->log_extents[i].block_count,
					CFS_TAG_LOG, "the log");
	return r;
}

/* ---- space --------------------------------------------------------------- */

static bool is_all_free(const struct cfs_leaf_record *rec)
{
	for (size_t i = 0; i < rec->value_bytes; i++)
		if (rec->value[i])
			return false;
	return true;
}

static int visit(void *arg, const struct cfs_node_found *node,
		 struct cfs_err *err)
{
	struct check *k = arg;
	int r = cfs_check_node(k, node);

	(void)err;
	if (r != 1)
		return r;
	for (unsigned int i = 0; i < cfs_repair_record_count(node->node); i++) {
		struct cfs_leaf_record rec;
		uint64_t lslice;
		bool is_group;

		cfs_repair_record(node->node, i, &rec);
		lslice = rec.key.w[0] & ((UINT64_C(1) << 56) - 1);
		is_group = rec.key.w[0] >> 56 == 2;
		/* A crash while a slice went back leaves that nothing of it
		 * is in use. */
		if (is_group &&
		    (lslice >= k->lslice_end || !k->owned[lslice]) &&
		    is_all_free(&rec))
			continue;
		if (rec.key.w[0] >> 56 < 1 || rec.key.w[0] >> 56 > 2 ||
		    lslice >= k->lslice_end || !k->owned[lslice] ||
		    (is_group ? rec.key.w[1] >= k->geo->group_count
			      : rec.key.w[1] != 0) ||
		    rec.value_bytes <
			    (is_group ? sizeof(struct cfs_space_group_disk)
				      : sizeof(struct cfs_space_slice_disk)))
			cfs_check_say(k, "space",
				      "space record %#" PRIx64 " %#" PRIx64
				      " makes no sense",
				      rec.key.w[0], rec.key.w[1]);
	}
	return 0;
}

/* The owned bits of one group. */
static void owned_bits(const struct check *k, uint64_t lslice, uint32_t group,
		       uint64_t ret[2])
{
	uint32_t first = group * CFS_TAGS_PER_PAGE;
	uint32_t count = cfs_geometry_group_blocks(k->geo, group);

	ret[0] = ret[1] = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = first + i;

		if (k->owned[lslice][at / 64] >> (at % 64) & 1)
			ret[i / 64] |= UINT64_C(1) << (i % 64);
	}
}

static unsigned int count_bits(uint64_t a, uint64_t b)
{
	return (unsigned int)__builtin_popcountll(a) +
	       (unsigned int)__builtin_popcountll(b);
}

static int check_slice(struct check *k, uint64_t lslice, uint64_t *ret_used)
{
	struct cfs_key key = { { UINT64_C(1) << 56 | lslice, 0, 0 } };
	struct cfs_space_slice_disk disk = { .used_blocks = le32_put(0) };
	uint64_t sum = 0;
	size_t bytes;
	int r;

	for (uint32_t g = 0; g < k->geo->group_count; g++) {
		uint64_t used[2], owned[2];
		unsigned int leaked, missing;

		r = cfs_repair_used(k->c, lslice, g, used, k->err);
		if (r < 0)
			return r;
		owned_bits(k, lslice, g, owned);
		leaked = count_bits(used[0] & ~owned[0], used[1] & ~owned[1]);
		missing = count_bits(owned[0] & ~used[0], owned[1] & ~used[1]);
		if (leaked)
			cfs_check_say(k, "space",
				      "slice %" PRIu64 ", group %" PRIu32
				      ": %u blocks count as used, and "
				      "nothing names them",
				      lslice, g, leaked);
		if (missing)
			cfs_check_say(k, "space",
				      "slice %" PRIu64 ", group %" PRIu32
				      ": %u blocks count as free, and "
				      "are in use",
				      lslice, g, missing);
		sum += count_bits(used[0], used[1]);
	}
	r = cfs_tree_get(cfs_container_tree(k->c, CFS_TREE_SPACE), &key, &disk,
			 sizeof(disk), &bytes, k->err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (le32_get(disk.used_blocks) != sum ||
	    cfs_space_slice_used(k->c, lslice) != sum)
		cfs_check_say(k, "space",
			      "slice %" PRIu64 ": the sum is %" PRIu32
			      " and not %" PRIu64,
			      lslice, le32_get(disk.used_blocks), sum);
	*ret_used += sum;
	return 0;
}

int cfs_check_space(struct check *k)
{
	uint64_t used = 0;
	int r = cfs_repair_walk(k->c, CFS_TREE_SPACE, visit, k, k->err);

	if (r < 0 || k->has_lost_nodes)
		return r;
	for (uint64_t l = 0; l < k->lslice_end && r == 0; l++)
		if (k->owned[l])
			r = check_slice(k, l, &used);
	if (r == 0 && used != cfs_repair_used_blocks(k->c))
		cfs_check_say(k, "space",
			      "the container counts %" PRIu64
			      " blocks in use, and has %" PRIu64,
			      cfs_repair_used_blocks(k->c), used);
	return r;
}
