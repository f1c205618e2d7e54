/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of a container, for check, scrub and rebuild. */
#include "tree/repair.h"

#include "base/cleanup.h"
#include "base/xxh.h"
#include "tree/container_priv.h"
#include "tree/lend_priv.h"
#include "tree/space_priv.h"
#include "tree/tree_priv.h"

#include <stdlib.h>

uint64_t cfs_repair_root_seq(const struct cfs_container *c)
{
	return c->root_seq;
}

unsigned int cfs_repair_take_healed(
	struct cfs_container *c,
	struct cfs_healed_node ret[CFS_HEALED_NODES_MAX])
{
	unsigned int n = c->healed_count;

	memcpy(ret, c->healed, n * sizeof(*ret));
	c->healed_count = 0;
	return n;
}

static struct open_group *open_group_of(struct cfs_container *c,
					uint64_t lslice, uint32_t group)
{
	uint64_t key = cfs_vaddr(lslice, group);
	struct open_group *g;

	HASH_FIND(hh, c->groups, &key, sizeof(key), g);
	return g;
}

bool cfs_repair_has_group(struct cfs_container *c, uint64_t lslice,
			  uint32_t group)
{
	return open_group_of(c, lslice, group) != NULL;
}

bool cfs_repair_open_tags(struct cfs_container *c, uint64_t lslice,
			  uint32_t group,
			  struct cfs_tag_disk ret[CFS_TAGS_PER_PAGE])
{
	const struct open_group *g = open_group_of(c, lslice, group);

	if (g)
		memcpy(ret, g->g.tags, sizeof(g->g.tags));
	return g != NULL;
}

void cfs_repair_set_open_tag(struct cfs_container *c, uint64_t vaddr,
			     const struct cfs_tag *tag)
{
	cfs_space_set_tag(c, vaddr, tag);
	c->forces_commit = true;
}

void cfs_repair_tags_healed(struct cfs_container *c)
{
	c->unfit.count = 0;
	for (uint64_t l = 0; l < c->slice_room; l++)
		cfs_space_look_again(&c->slices[l]);
}

int cfs_repair_used(struct cfs_container *c, uint64_t lslice, uint32_t group,
		    uint64_t ret[2], struct cfs_err *err)
{
	bool is_there;

	return cfs_space_bits_load(c, cfs_vaddr(lslice, group), ret, &is_there,
				   err);
}

int cfs_repair_kept(struct cfs_container *c, uint64_t lslice, uint32_t group,
		    uint64_t ret[2], bool *ret_is_known, struct cfs_err *err)
{
	const uint64_t key = cfs_vaddr(lslice, group);
	uint64_t used[2], held[2];
	int r = cfs_space_bits_load(c, key, used, ret_is_known, err);

	cfs_space_held_bits(c, key, held);
	ret[0] = used[0] | held[0];
	ret[1] = used[1] | held[1];
	return r;
}

int cfs_repair_is_lent(struct cfs_container *c, uint64_t lslice, uint32_t group,
		       bool *ret, struct cfs_err *err)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_LOAN, 0),
				       cfs_vaddr(lslice, group), 0 } };
	int r = cfs_tree_get(c->trees[CFS_TREE_TABLE - 1], &key, NULL, 0,
			     &(size_t){ 0 }, err);

	*ret = r == 0;
	return r == -ENOENT ? 0 : r;
}

bool cfs_repair_lends_to(struct cfs_container *c, uint64_t key,
			 uint64_t client_id)
{
	const struct lent_group *g = cfs_lend_group(c, key);

	return g && g->client_id == client_id;
}

bool cfs_repair_is_away(struct cfs_container *c, uint64_t lslice,
			uint32_t group)
{
	return cfs_lend_has_group(c, cfs_vaddr(lslice, group));
}

bool cfs_repair_is_frozen(struct cfs_container *c, uint64_t lslice,
			  uint32_t group)
{
	const struct lent_group *g = cfs_lend_group(c,
						    cfs_vaddr(lslice, group));

	return g && g->is_frozen;
}

bool cfs_repair_hold(struct cfs_container *c, uint64_t lslice, uint32_t group)
{
	const struct cfs_candidate cand = { .key = cfs_vaddr(lslice, group) };

	if (cfs_lend_has_group(c, cand.key))
		return false;
	/* No commit in between: a walk may be under way. */
	return !c->fence || open_group_of(c, lslice, group) ||
	       (!c->is_readonly &&
		cfs_log_fits(c->log, 1, CFS_LOG_OP_RESERVE) &&
		cfs_space_lend(c, &cand, 1, NULL) == 0);
}

bool cfs_repair_hold_slice(struct cfs_container *c, uint64_t lslice,
			   uint32_t *ret_group)
{
	const uint32_t count = cfs_metavolume_geometry(c->mv)->group_count;

	for (uint32_t g = 0; g < count; g++) {
		if (cfs_repair_is_away(c, lslice, g))
			continue;
		*ret_group = g;
		return cfs_repair_hold(c, lslice, g);
	}
	return false;
}

void cfs_repair_release(struct cfs_container *c, uint64_t lslice,
			uint32_t group)
{
	const struct cfs_key key = cfs_space_loan_key(cfs_vaddr(lslice, group));

	if (!c->fence || open_group_of(c, lslice, group))
		return;
	/* Where that fails it stays ours until the next open. */
	if (cfs_tree_del(c->trees[CFS_TREE_TABLE - 1], &key, NULL) == 0)
		c->forces_commit = true;
}

uint64_t cfs_repair_used_blocks(const struct cfs_container *c)
{
	return c->used_blocks;
}

/* ---- records ------------------------------------------------------------- */

unsigned int cfs_repair_record_count(const void *node)
{
	const struct cfs_node_header_disk *h = node;

	return le16_get(h->record_count);
}

void cfs_repair_record(const void *node, unsigned int slot,
		       struct cfs_leaf_record *ret)
{
	const struct cfs_node_header_disk *h = node;
	const uint8_t *bytes = node;
	const uint8_t *rec;
	le16 at, length;

	memcpy(&at, bytes + sizeof(*h) + CFS_SLOT_BYTES * slot, sizeof(at));
	rec = bytes + le16_get(at);
	ret->key = cfs_tkey_load(rec, h->key_words);
	memcpy(&length, rec + 8 * (size_t)h->key_words, sizeof(length));
	ret->value = rec + 8 * (size_t)h->key_words + sizeof(length);
	ret->value_bytes = le16_get(length);
}

/* ---- rebuild ------------------------------------------------------------- */

int cfs_repair_container_new(const struct cfs_container_config *config,
			     const struct cfs_root *root, uint64_t root_seq,
			     struct cfs_container **ret, struct cfs_err *err)
{
	struct cfs_container *c;
	int r = cfs_container_open_bare(config, root, root_seq, &c, err);

	if (r < 0)
		return r;
	for (uint64_t l = 0; r == 0 && l < cfs_metavolume_end(c->mv); l++) {
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (cfs_metavolume_get(c->mv, l, pieces))
			r = cfs_space_add_slice(c, l, err);
	}
	if (r < 0) {
		cfs_container_drop(c);
		return r;
	}
	*ret = c;
	return 0;
}

int cfs_repair_mark_used(struct cfs_container *c, uint64_t vaddr,
			 uint32_t count, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	for (uint32_t i = 0; i < count;) {
		uint32_t block = cfs_vaddr_block(vaddr + i);
		uint64_t lslice = cfs_vaddr_lslice(vaddr + i);
		uint64_t key = cfs_vaddr(lslice,
					 cfs_geometry_group(geo, block));
		uint64_t used[2];
		bool is_there;
		int r = cfs_space_bits_load(c, key, used, &is_there, err);

		if (r < 0)
			return r;
		do {
			uint32_t at = cfs_geometry_index(geo, block);

			if (!(used[at / 64] >> (at % 64) & 1)) {
				used[at / 64] |= UINT64_C(1) << (at % 64);
				c->slices[lslice].used_blocks++;
				c->used_blocks++;
			}
			i++;
			block++;
		} while (i < count && cfs_geometry_index(geo, block) > 0);
		c->slices[lslice].is_changed = true;
		r = cfs_space_bits_store(c, key, used, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cfs_repair_know_group(struct cfs_container *c, uint64_t lslice,
			  uint32_t group, struct cfs_err *err)
{
	const uint64_t key = cfs_vaddr(lslice, group), none[2] = { 0, 0 };
	uint64_t used[2];
	bool is_there;
	int r = cfs_space_bits_load(c, key, used, &is_there, err);

	if (r == 0 && !is_there)
		r = cfs_space_bits_store(c, key, none, err);
	return r;
}

void cfs_repair_raise_ino(struct cfs_container *c, uint64_t ino)
{
	c->next_ino = CFS_MAX(c->next_ino, ino + 1);
}

int cfs_repair_commit(struct cfs_container *c, struct cfs_err *err)
{
	/* The table may have been made behind its back. */
	int r = cfs_space_bad_load(c, err);

	if (r < 0)
		return r;
	c->is_sealing = true;
	c->forces_commit = true;
	r = cfs_container_commit_locked(c, err);
	c->is_sealing = false;
	return r;
}
