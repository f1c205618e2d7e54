/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Scrub: each kind of damage, on one device and on a mirror, is found, named,
 * and healed where there is a good copy; a second scrub finds nothing new.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"

#include "heal/tags_priv.h"

static struct heal_pool used_pool(bool is_mirror)
{
	struct heal_pool h = heal_new(is_mirror, UINT64_C(64) << 20);

	heal_write(h.lun, 0, 100, 1);
	heal_snapshot(h.lun, "a");
	heal_write(h.lun, 50, 10, 2);
	heal_write(h.lun, 300, 1, 3);
	(void)heal_file(h.tree, "one", 40, 4);
	heal_snapshot(h.tree, "t");
	(void)heal_file(h.tree, "two", 3, 5);
	heal_reopen(&h);
	return h;
}

/* One damage, of that kind, and whether it was healed; then nothing. */
static void scrub_once(struct heal_pool *h, const char *kind, size_t count,
		       bool is_healed)
{
	struct heal_damage *all = heal_scrub(h);

	if (all->count != count)
		heal_print(all);
	assert_int_equal(all->count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(all->found[i].kind, kind);
		assert_int_equal(all->found[i].is_healed, is_healed);
	}
	assert_true(all->result.bad_blocks >= count);
	assert_int_equal(all->result.left_blocks,
			 is_healed ? 0 : all->result.bad_blocks);
	free(all);
	if (is_healed) {
		heal_scrub_clean(h);
		heal_check_clean(h);
	}
}

static void clean(bool is_mirror)
{
	struct heal_pool h = used_pool(is_mirror);

	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_reopen(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

static void test_clean(void **state)
{
	(void)state;
	clean(false);
	clean(true);
}

static size_t bad_count(struct heal_pool *h, struct heal_damage *all)
{
	all->count = 0;
	HEAL_OK(cfs_pool_trace_bad(h->pool, heal_find, all, &err_));
	return all->count;
}

/* Without a copy: contained, listed, and gone once it is overwritten. */
static void test_data_alone(void **state)
{
	struct heal_pool h = used_pool(false);
	struct heal_damage *all, *known = calloc(1, sizeof(*known));
	uint64_t vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 20,
				    NULL);
	struct cfs_tag tag;
	uint64_t offset;

	(void)state;
	assert_non_null(known);
	HEAL_OK(cfs_block_tag(cfs_container_blocks(h.lun->container), vaddr,
			      &tag, &err_));
	offset = tag.offset;
	heal_hurt(&h, h.lun->container, vaddr, 0);
	heal_check_clean(&h); /* data is the scrub's */
	all = heal_scrub(&h);
	assert_int_equal(all->count, 1);
	assert_string_equal(all->found[0].kind, "data");
	assert_string_equal(all->found[0].cause, "content");
	assert_string_equal(all->found[0].volume, "lun");
	assert_false(all->found[0].has_path);
	assert_int_equal(all->found[0].offset_bytes, offset * HEAL_BLOCK);
	assert_int_equal(all->found[0].length_bytes, HEAL_BLOCK);
	assert_int_equal(all->found[0].snapshot_count, 1);
	assert_string_equal(all->found[0].snapshots[0], "a");
	assert_int_equal(all->result.left_blocks, 1);
	free(all);
	assert_int_equal(bad_count(&h, known), 1);
	assert_int_equal(known->found[0].offset_bytes, offset * HEAL_BLOCK);
	heal_reopen(&h);
	assert_int_equal(bad_count(&h, known), 1);
	/* Still there, and told again. */
	scrub_once(&h, "data", 1, false);
	/* Overwritten: the head is good; the snapshot still sees it. */
	heal_write(h.lun, offset, 1, 77);
	assert_int_equal(heal_read(h.lun, offset, 1, 77), 0);
	assert_int_equal(bad_count(&h, known), 1);
	HEAL_OK(cfs_snapshot_remove(h.lun, CFS_VOLUME_FIRST, "a", NULL, &err_));
	assert_int_equal(bad_count(&h, known), 0);
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	free(known);
	heal_free(&h);
}

static void test_data_mirror(void **state)
{
	struct heal_pool h = used_pool(true);
	uint64_t vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 7, NULL);

	(void)state;
	heal_hurt(&h, h.lun->container, vaddr, 1);
	heal_hurt(&h, h.lun->container, vaddr + 1, 0);
	scrub_once(&h, "data", 2, true);
	heal_free(&h);
}

static void test_reports_only(void **state)
{
	const struct cfs_scrub_options opt = { .heals = false };
	struct heal_pool h = used_pool(true);
	uint64_t vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 7, NULL);

	(void)state;
	heal_hurt(&h, h.lun->container, vaddr, 0);
	for (int i = 0; i < 2; i++) {
		struct heal_damage *all = heal_scrub_with(&h, &opt);

		assert_int_equal(all->count, 1);
		assert_false(all->found[0].is_healed);
		free(all);
	}
	heal_free(&h);
}

/* A file: its path, and the snapshots that see it. */
static void test_file(void **state)
{
	struct heal_pool h = used_pool(false);
	struct heal_damage *all;
	struct cfs_tag tag;
	uint64_t vaddr = heal_block(h.tree->container, CFS_TAG_DATA, 0, 5,
				    &tag);

	(void)state;
	heal_hurt(&h, h.tree->container, vaddr, 0);
	heal_hurt(&h, h.tree->container, vaddr + 1, 0);
	all = heal_scrub(&h);
	assert_int_equal(all->count, 1); /* neighbours are one */
	assert_string_equal(all->found[0].volume, "tree");
	assert_string_equal(all->found[0].path, "/one");
	assert_int_equal(all->found[0].offset_bytes, tag.offset * HEAL_BLOCK);
	assert_int_equal(all->found[0].length_bytes, 2 * HEAL_BLOCK);
	assert_int_equal(all->found[0].snapshot_count, 1);
	assert_string_equal(all->found[0].snapshots[0], "t");
	free(all);
	heal_free(&h);
}

/* A node has a second copy, or a mirror. */
static void one_node(bool is_mirror, bool is_pool, unsigned int tree_id,
		     unsigned int piece)
{
	struct heal_pool h = used_pool(is_mirror);
	struct cfs_container *c = is_pool ? cfs_pool_container0(h.pool)
					  : h.lun->container;
	struct heal_seen *seen;
	uint8_t type = tree_id == CFS_TREE_TABLE ? CFS_TAG_TABLE : CFS_TAG_NODE;
	uint64_t vaddr = heal_block(c, type, tree_id, 0, NULL);

	heal_hurt(&h, c, vaddr, piece);
	seen = heal_check(&h);
	assert_true(heal_has(seen, "node"));
	free(seen);
	scrub_once(&h, type == CFS_TAG_TABLE ? "table" : "node", 1, true);
	/* It is met when the pool is opened, and healed then. */
	heal_hurt(&h, c, vaddr, piece);
	heal_reopen(&h);
	free(heal_scrub(&h));
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_nodes(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		one_node(i, false, CFS_TREE_TABLE, 0);
		one_node(i, false, CFS_TREE_LIVE, 0);
		one_node(i, false, CFS_TREE_SPACE, i);
		one_node(i, true, CFS_TREE_TABLE, i);
	}
}

/* Both copies of a leaf: its container is hit, the other one is not. */
static void test_node_lost(void **state)
{
	struct heal_pool h = used_pool(false);
	struct heal_damage *all;
	struct heal_seen *seen;
	uint64_t a = heal_block(h.lun->container, CFS_TAG_NODE, CFS_TREE_LIVE,
				0, NULL);
	uint64_t b = heal_block(h.lun->container, CFS_TAG_NODE, CFS_TREE_LIVE,
				1, NULL);

	(void)state;
	heal_hurt(&h, h.lun->container, a, 0);
	heal_hurt(&h, h.lun->container, b, 0);
	seen = heal_check(&h);
	assert_true(heal_has(seen, "node"));
	for (size_t i = 0; i < seen->count; i++)
		assert_string_equal(seen->problems[i].container, "lun");
	free(seen);
	all = heal_scrub(&h);
	assert_int_equal(all->result.left_blocks, 2);
	for (size_t i = 0; i < all->count; i++)
		assert_string_equal(all->found[i].kind, "node");
	free(all);
	cfs_pool_drop(h.pool);
	h.pool = NULL;
	heal_free(&h);
}

static void tag_page(bool is_mirror, bool newest, bool older, bool all_pieces)
{
	struct heal_pool h = used_pool(is_mirror);
	struct cfs_container *c = h.lun->container;
	uint64_t vaddr = heal_block(c, CFS_TAG_DATA, 0, 3, NULL);
	uint64_t pages[2] = { heal_tag_page(c, vaddr, true),
			      heal_tag_page(c, vaddr, false) };
	struct heal_damage *all;

	for (unsigned int p = 0; p < (all_pieces && is_mirror ? 2 : 1); p++) {
		if (newest)
			heal_hurt(&h, c, pages[0], p);
		if (older)
			heal_hurt(&h, c, pages[1], p);
	}
	cfs_blocks_forget(cfs_container_blocks(c), cfs_vaddr_lslice(vaddr));
	all = heal_scrub(&h);
	if (all->count == 0 || all->result.left_blocks)
		heal_print(all);
	/* An older slot that was never written is no damage. */
	if (newest)
		assert_true(all->count > 0);
	assert_int_equal(all->result.left_blocks, 0);
	for (size_t i = 0; i < all->count; i++)
		assert_string_equal(all->found[i].kind, "tags");
	free(all);
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	assert_int_equal(heal_read(h.lun, 300, 1, 3), 0);
	assert_int_equal(heal_read(h.lun, 50, 10, 2), 0);
	/* And it can be written to. */
	heal_write(h.lun, 0, 200, 9);
	heal_reopen(&h);
	assert_int_equal(heal_read(h.lun, 0, 200, 9), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_tag_pages(void **state)
{
	(void)state;
	tag_page(true, true, false, false);
	tag_page(true, false, true, false);
	tag_page(true, true, true, false);
	tag_page(true, true, true, true);
	tag_page(false, false, true, false);
	tag_page(false, true, false, false);
	tag_page(false, true, true, false);
}

/*
 * A page of one piece as a crash leaves it that came between the two: one write
 * behind the other's.  If it lacks a tag of a block in use it was lost later.
 */
static void behind(bool lacks_tag)
{
	struct heal_pool h = used_pool(true);
	struct cfs_container *c = h.lun->container;
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	uint64_t vaddr = heal_block(c, CFS_TAG_DATA, 0, 3, NULL);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	const uint32_t group = cfs_geometry_group(geo, cfs_vaddr_block(vaddr));
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct heal_damage *all;
	struct tag_area area;
	struct cfs_page head;
	unsigned int slot;

	for (uint64_t i = 0; i < 4; i++) { /* both slots, more than once */
		heal_write(h.lun, 2000 + i, 1, i);
		HEAL_OK(cfs_container_commit(c, &err_));
	}
	HEAL_OK(cfs_tag_area_load(mv, cfs_vaddr_lslice(vaddr), &area, &err_));
	head = area.groups[group].head;
	memcpy(page, area.groups[group].best, sizeof(*page));
	cfs_tag_area_done(&area);
	slot = head.seq & 1;
	assert_true(head.seq > 2);
	if (lacks_tag)
		memset(page->payload, 0, CFS_PAGE_PAYLOAD_BYTES);
	/* The one before it has what counts, too, or has not. */
	for (unsigned int i = 0; i < 2; i++) {
		head.seq--;
		cfs_page_pack(&head, page);
		if (i == 1 || lacks_tag)
			HEAL_OK(cfs_metavolume_write_piece(
				mv,
				cfs_vaddr(cfs_vaddr_lslice(vaddr),
					  cfs_geometry_tags_block(
						  geo, group, head.seq & 1)),
				1, 1, page, &err_));
	}
	free(page);
	all = heal_scrub(&h);
	assert_int_equal(all->count, lacks_tag);
	free(all);
	HEAL_OK(cfs_tag_area_load(mv, cfs_vaddr_lslice(vaddr), &area, &err_));
	assert_int_equal(area.groups[group].slots[1][slot].seq,
			 area.groups[group].head.seq);
	cfs_tag_area_done(&area);
	heal_scrub_clean(&h);
	heal_free(&h);
}

static void test_tag_page_behind(void **state)
{
	(void)state;
	behind(false);
	behind(true);
}

/* As heal_write, but logged: the blocks are named by a frame, not by a root. */
static void write_synced(struct cfs_member *m, uint64_t block, uint32_t count,
			 uint64_t seed)
{
	struct cfs_volume_rec rec = heal_volume(m);
	uint8_t *buf = malloc((size_t)count * HEAL_BLOCK);

	assert_non_null(buf);
	heal_fill(buf, (size_t)count * HEAL_BLOCK, seed);
	HEAL_OK(cfs_op_begin(m->container, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(m->container, (uint16_t)rec.head_branch, rec.ino,
			       block * HEAL_BLOCK, buf,
			       (size_t)count * HEAL_BLOCK, &err_));
	cfs_op_end(m->container);
	HEAL_OK(cfs_container_sync(m->container, &err_));
	free(buf);
}

/* The group with the most tags that its page on the device has not yet. */
static void find_unwritten(struct cfs_container *c, struct cfs_group *ret)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	unsigned int best = 0;

	for (uint64_t l = 0; l < cfs_metavolume_end(mv); l++)
		for (uint32_t i = 0; i < geo->group_count; i++) {
			struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];
			struct cfs_group g;
			unsigned int n = 0;

			if (!cfs_repair_open_tags(c, l, i, tags) ||
			    cfs_group_load(cfs_container_blocks(c), l, i, &g,
					   NULL) < 0 ||
			    g.seq < 2)
				continue;
			for (unsigned int k = 0; k < CFS_TAGS_PER_PAGE; k++)
				n += memcmp(&tags[k], &g.tags[k],
					    sizeof(tags[k])) != 0;
			if (n <= best)
				continue;
			best = n;
			*ret = g;
			memcpy(ret->tags, tags, sizeof(tags));
		}
	assert_true(best > 0);
}

/*
 * Death in a commit: of the pages that it was to write one has come to a single
 * piece, whole or torn.  Recovery makes both pieces the same, in both slots, so
 * nothing is left for a scrub; and what one piece alone had is on both before
 * it is written over.
 */
static void died_in_commit(bool is_torn)
{
	struct heal_pool h = used_pool(true);
	struct cfs_container *c = h.lun->container;
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct tag_area area;
	struct cfs_group g;
	uint64_t vaddr;

	for (uint64_t i = 0; i < 4; i++)
		heal_write(h.lun, 2000 + i, 1, i);
	write_synced(h.lun, 1000, 40, 77);
	find_unwritten(c, &g);
	cfs_group_page(cfs_container_blocks(c), &g, cfs_container_stamp(c),
		       page, &vaddr);
	if (is_torn)
		memset((uint8_t *)page + 2048, 0x5a, 1024);
	HEAL_OK(cfs_metavolume_write_piece(cfs_container_metavolume(c), vaddr,
					   1, 0, page, &err_));
	free(page);
	cfs_pool_drop(h.pool);
	heal_open(&h, false);
	heal_members(&h);
	c = h.lun->container;
	HEAL_OK(cfs_tag_area_load(cfs_container_metavolume(c), g.lslice, &area,
				  &err_));
	for (unsigned int slot = 0; slot < 2; slot++) {
		const struct tag_slot *ts = area.groups[g.index].slots[0];

		assert_int_equal(ts[slot].state, TAG_SLOT_GOOD);
		assert_int_equal(area.groups[g.index].slots[1][slot].seq,
				 ts[slot].seq);
		assert_memory_equal(cfs_tag_area_page(&area, 0, slot, g.index),
				    cfs_tag_area_page(&area, 1, slot, g.index),
				    sizeof(*page));
	}
	cfs_tag_area_done(&area);
	assert_int_equal(heal_read(h.lun, 1000, 40, 77), 0);
	heal_scrub_clean(&h);
	heal_free(&h);
}

static void test_tag_page_died_in_commit(void **state)
{
	(void)state;
	died_in_commit(false);
	died_in_commit(true);
}

/* A container with a tag page in pieces is still written to, elsewhere. */
static void test_tag_page_lost_writes(void **state)
{
	struct heal_pool h = used_pool(false);
	struct cfs_container *c = h.lun->container;
	uint64_t vaddr = heal_block(c, CFS_TAG_DATA, 0, 3, NULL);
	uint64_t page = heal_tag_page(c, vaddr, true);
	uint64_t old = heal_tag_page(c, vaddr, false);

	(void)state;
	heal_hurt(&h, c, page, 0);
	heal_hurt(&h, c, old, 0);
	for (uint64_t i = 0; i < 20; i++)
		heal_write(h.lun, 1000 + 40 * i, 40, i);
	heal_reopen(&h);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(heal_read(h.lun, 1000 + 40 * i, 40, i), 0);
	free(heal_scrub(&h));
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void header(bool is_mirror)
{
	struct heal_pool h = used_pool(is_mirror);
	struct cfs_container *c = h.lun->container;
	uint32_t generation = cfs_metavolume_generation(
		cfs_container_metavolume(c), 1);
	struct heal_seen *seen;

	heal_hurt(&h, c,
		  cfs_vaddr(1, cfs_geometry_header_block(
				       cfs_metavolume_geometry(
					       cfs_container_metavolume(c)),
				       generation & 1)),
		  0);
	seen = heal_check(&h);
	assert_true(heal_has(seen, "slice"));
	free(seen);
	scrub_once(&h, "header", 1, true);
	heal_free(&h);
}

static void test_headers(void **state)
{
	(void)state;
	header(false);
	header(true);
}

static void root(bool is_mirror, unsigned int place, unsigned int piece)
{
	struct heal_pool h = used_pool(is_mirror);
	struct cfs_container *c = h.lun->container;
	uint64_t vaddr = cfs_container_root_places(c)[place] +
			 (cfs_repair_root_seq(c) & 1);
	struct heal_seen *seen;

	heal_hurt(&h, c, vaddr, piece);
	seen = heal_check(&h);
	assert_int_equal(seen->count, 1);
	assert_true(heal_has(seen, "root"));
	free(seen);
	/* The scrub's own commits write roots as well, to the other slot
	 * first; what was bad is told all the same. */
	free(heal_scrub(&h));
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_roots(void **state)
{
	(void)state;
	root(false, 0, 0);
	root(false, 1, 0);
	root(true, 0, 1);
}

static void test_labels(void **state)
{
	struct heal_pool h = used_pool(false);
	struct cfs_dev *dev = cfs_devset_dev(h.set, 0);
	uint8_t zero[HEAL_BLOCK] = { 0 };
	struct heal_seen *seen;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		HEAL_OK(cfs_dev_write(
			dev, cfs_label_offset_bytes(i, cfs_dev_size_bytes(dev)),
			zero, sizeof(zero), &err_));
	seen = heal_check(&h);
	assert_true(heal_has(seen, "label"));
	free(seen);
	scrub_once(&h, "label", 3, true);
	heal_free(&h);
}

/* What nobody uses is nobody's damage. */
static void test_free_block(void **state)
{
	struct heal_pool h = used_pool(false);
	struct cfs_container *c = h.lun->container;
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		cfs_container_metavolume(c));
	bool was_hurt = false;

	(void)state;
	for (uint32_t i = 0; i < geo->data_count && !was_hurt; i++) {
		uint32_t block = geo->data_start + i;
		uint32_t at = cfs_geometry_index(geo, block);
		uint64_t used[2];

		cfs_container_lock(c);
		HEAL_OK(cfs_repair_used(c, 0, cfs_geometry_group(geo, block),
					used, &err_));
		cfs_container_unlock(c);
		if (used[at / 64] >> (at % 64) & 1)
			continue;
		heal_hurt(&h, c, cfs_vaddr(0, block), 0);
		was_hurt = true;
	}
	assert_true(was_hurt);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* ---- trace -------------------------------------------------------------- */

static void trace(struct heal_pool *h, struct cfs_container *c, uint64_t vaddr,
		  struct heal_damage *all)
{
	uint32_t device;
	uint64_t offset;

	all->count = 0;
	assert_true(cfs_metavolume_locate(cfs_container_metavolume(c), vaddr, 0,
					  &device, &offset));
	HEAL_OK(cfs_pool_trace_at(h->pool, device, offset + 17, heal_find, all,
				  &err_));
	assert_true(all->count > 0);
	assert_int_equal(all->found[0].device_offset_bytes, offset);
}

static void test_trace(void **state)
{
	struct heal_pool h = used_pool(false);
	struct heal_damage *all = calloc(1, sizeof(*all));
	struct cfs_container *c = h.lun->container;
	struct cfs_tag tag;
	uint64_t vaddr;

	(void)state;
	assert_non_null(all);
	HEAL_OK(cfs_snapshot_clone(h.lun, CFS_VOLUME_FIRST, "a", "c", &err_));
	vaddr = heal_block(c, CFS_TAG_DATA, 0, 10, &tag);
	trace(&h, c, vaddr, all);
	assert_int_equal(all->count, 2); /* the volume, and its clone */
	assert_string_equal(all->found[0].volume, "lun");
	assert_string_equal(all->found[0].snapshots[0], "a");
	assert_string_equal(all->found[1].volume, "lun/c");
	assert_int_equal(all->found[1].snapshot_count, 0);
	assert_int_equal(all->found[1].offset_bytes, tag.offset * HEAL_BLOCK);

	trace(&h, c, heal_block(c, CFS_TAG_NODE, 0, 0, NULL), all);
	assert_string_equal(all->found[0].kind, "node");
	assert_string_equal(all->found[0].container, "lun");
	trace(&h, c, heal_block(c, CFS_TAG_TABLE, 0, 0, NULL), all);
	assert_string_equal(all->found[0].kind, "table");
	trace(&h, c, heal_block(c, CFS_TAG_ROOT, 0, 0, NULL), all);
	assert_string_equal(all->found[0].kind, "root");
	trace(&h, c, heal_block(c, CFS_TAG_LOG, 0, 0, NULL), all);
	assert_string_equal(all->found[0].kind, "log");
	trace(&h, c, cfs_vaddr(0, 0), all);
	assert_string_equal(all->found[0].kind, "header");
	trace(&h, c, cfs_vaddr(0, 1), all);
	assert_string_equal(all->found[0].kind, "tags");
	all->count = 0;
	HEAL_OK(cfs_pool_trace_at(h.pool, 0, 4096, heal_find, all, &err_));
	assert_string_equal(all->found[0].kind, "label");
	all->count = 0;
	HEAL_OK(cfs_pool_trace_at(h.pool, 0, 65536, heal_find, all, &err_));
	assert_string_equal(all->found[0].kind, "seat");
	all->count = 0;
	HEAL_OK(cfs_pool_trace_at(h.pool, 0, UINT64_C(60) << 20, heal_find, all,
				  &err_));
	assert_string_equal(all->found[0].kind, "free");
	assert_int_equal(cfs_pool_trace_at(h.pool, 0, UINT64_C(1) << 40,
					   heal_find, all, NULL),
			 -EINVAL);
	free(all);
	heal_free(&h);
}

/* ---- stopping and going on ---------------------------------------------- */

struct stopper {
	unsigned int calls, after;
};

static bool stop_after(void *arg)
{
	struct stopper *s = arg;

	return s->calls++ >= s->after;
}

static void test_continues(void **state)
{
	struct heal_pool h = used_pool(false);
	struct heal_damage *all = calloc(1, sizeof(*all));
	struct cfs_scrub_options opt = { .heals = true };
	struct stopper stopper = { .after = 12 };
	const struct cfs_scrub_calls calls = {
		.each = heal_find,
		.arg = all,
		.stop = stop_after,
		.session_arg = &stopper,
	};
	struct cfs_scrub_result whole, part;
	uint64_t sum = 0;
	int r, rounds = 0;

	(void)state;
	assert_non_null(all);
	stopper.after = 1000000;
	HEAL_OK(cfs_pool_scrub(h.pool, "lun", &opt, &calls, &whole, &err_));
	opt.continues = false;
	do {
		stopper = (struct stopper){ .after = 3 };
		r = cfs_pool_scrub(h.pool, "lun", &opt, &calls, &part, NULL);
		assert_true(r == 0 || r == -EINTR);
		sum += part.verified_blocks;
		opt.continues = true;
		heal_reopen(&h);
	} while (r == -EINTR && ++rounds < 1000);
	assert_int_equal(r, 0);
	assert_true(rounds > 1);
	/* Each block once, but for what the rounds themselves wrote. */
	assert_true(sum >= whole.verified_blocks);
	assert_int_equal(all->count, 0);
	free(all);
	heal_free(&h);
}

static void test_rate(void **state)
{
	struct heal_pool h = used_pool(false);
	struct cfs_clock_manual clock;
	struct cfs_scrub_options opt = { .rate_bytes = 1u << 20 };
	struct cfs_scrub_calls calls = { .clock = &clock.clock };
	struct cfs_scrub_result result;
	uint64_t took;

	(void)state;
	cfs_clock_manual_init(&clock, 0, 0);
	HEAL_OK(cfs_pool_scrub(h.pool, NULL, &opt, &calls, &result, &err_));
	took = clock.elapsed_ns;
	assert_true(result.read_bytes > 0);
	assert_true(took + CFS_NS_PER_S / 10 >=
		    result.read_bytes * CFS_NS_PER_S / (1u << 20));
	assert_true(took <= result.read_bytes * CFS_NS_PER_S / (1u << 20) +
				    CFS_NS_PER_S);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_data_alone),
		cmocka_unit_test(test_data_mirror),
		cmocka_unit_test(test_reports_only),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_node_lost),
		cmocka_unit_test(test_tag_pages),
		cmocka_unit_test(test_tag_page_behind),
		cmocka_unit_test(test_tag_page_died_in_commit),
		cmocka_unit_test(test_tag_page_lost_writes),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_roots),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_free_block),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_continues),
		cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
