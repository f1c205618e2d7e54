/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rebuild where leaves are left: names, modes and links of trees come back
 * too.  (Maps from tags alone: tests/crash/rebuild.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "heal/rebuild.h"
#include "heal_fixture.h"

#define FILES 300u

struct place {
	uint32_t device;
	uint64_t offset_bytes;
};

struct places {
	struct place list[4096];
	size_t count;
};

/* Where the container's roots, inner nodes and space nodes are. */
static void find_places(struct heal_pool *h, struct cfs_container *c,
			struct places *ret)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);

	cfs_container_lock(c);
	for (uint64_t l = 0; l < cfs_metavolume_end(mv); l++) {
		for (uint32_t i = 0; i < geo->data_count; i++) {
			uint64_t vaddr = cfs_vaddr(l, geo->data_start + i);
			uint8_t node[HEAL_BLOCK];
			struct place p;
			struct cfs_tag tag;

			if (cfs_block_tag(cfs_container_blocks(c), vaddr, &tag,
					  NULL) < 0 ||
			    (tag.type != CFS_TAG_ROOT &&
			     tag.type != CFS_TAG_NODE &&
			     tag.type != CFS_TAG_TABLE))
				continue;
			assert_true(cfs_metavolume_locate(
				mv, vaddr, 0, &p.device, &p.offset_bytes));
			HEAL_OK(cfs_dev_read(cfs_devset_dev(h->set, p.device),
					     p.offset_bytes, node, sizeof(node),
					     &err_));
			if (tag.type != CFS_TAG_ROOT && node[7] == 0 &&
			    tag.ino != CFS_TREE_SPACE)
				continue; /* a leaf */
			assert_true(ret->count < 4096);
			ret->list[ret->count++] = p;
		}
	}
	cfs_container_unlock(c);
}

static void zero_places(struct heal_pool *h, const struct places *places)
{
	const uint8_t zero[HEAL_BLOCK] = { 0 };

	for (size_t i = 0; i < places->count; i++)
		HEAL_OK(cfs_dev_write(
			cfs_devset_dev(h->set, places->list[i].device),
			places->list[i].offset_bytes, zero, sizeof(zero),
			&err_));
}

static void many_files(struct heal_pool *h)
{
	struct cfs_volume_rec rec = heal_volume(h->tree);
	struct cfs_view view;
	struct cfs_fs *fs;
	char name[64];
	uint64_t ino;
	size_t done;

	cfs_volume_view(h->tree, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	for (unsigned int i = 0; i < FILES; i++) {
		int n = snprintf(name, sizeof(name), "file-%u", i);

		HEAL_OK(cfs_fs_create(fs, rec.ino, name, (size_t)n,
				      0600 + i % 64, i, 0, &ino, &err_));
		HEAL_OK(cfs_fs_write(fs, ino, 0, name, (size_t)n, &done,
				     &err_));
	}
	for (unsigned int i = 0; i < FILES; i += 7) {
		int n = snprintf(name, sizeof(name), "file-%u", i);

		HEAL_OK(cfs_fs_unlink(fs, rec.ino, name, (size_t)n, &err_));
	}
	cfs_fs_close(fs);
	HEAL_OK(cfs_container_commit(h->tree->container, &err_));
}

static void see_files(struct heal_pool *h)
{
	struct cfs_volume_rec rec = heal_volume(h->tree);
	struct cfs_view view;
	struct cfs_fs *fs;

	cfs_volume_view(h->tree, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	for (unsigned int i = 0; i < FILES; i++) {
		char name[64], back[64];
		int n = snprintf(name, sizeof(name), "file-%u", i);
		struct cfs_inode inode;
		uint64_t ino;
		size_t done;
		int r = cfs_fs_lookup(fs, rec.ino, name, (size_t)n, &ino,
				      &inode, NULL);

		assert_int_equal(r, i % 7 ? 0 : -ENOENT);
		if (r < 0)
			continue;
		assert_int_equal(inode.mode & 07777, 0600 + i % 64);
		assert_int_equal(inode.uid, i);
		HEAL_OK(cfs_fs_read(fs, ino, 0, back, sizeof(back), &done,
				    &err_));
		assert_int_equal(done, n);
		assert_memory_equal(name, back, done);
	}
	cfs_fs_close(fs);
}

static void test_tree(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(8) << 20);
	struct places *places = calloc(1, sizeof(*places));
	struct cfs_rebuild_result result;
	struct cfs_member *m;
	uint64_t id = h.tree->id;

	(void)state;
	assert_non_null(places);
	many_files(&h);
	heal_snapshot(h.tree, "s");
	heal_reopen(&h);
	find_places(&h, h.tree->container, places);
	assert_true(places->count > 6);
	assert_int_equal(cfs_rebuild_container(h.pool, id, &result, NULL),
			 -EBUSY);
	heal_close(&h);
	zero_places(&h, places);
	heal_open(&h, true);
	assert_true(cfs_pool_member(h.pool, "tree", &m, NULL) < 0);
	HEAL_OK(cfs_rebuild_container(h.pool, id, &result, &err_));
	assert_true(result.leaves > 10);
	assert_int_equal(result.lost_groups, 0);
	heal_members(&h);
	heal_check_clean(&h);
	see_files(&h);
	heal_scrub_clean(&h);
	assert_int_equal(cfs_rebuild_container(h.pool, 999, &result, NULL),
			 -ENOENT);
	free(places);
	heal_free(&h);
}

/* The pool's own container: its map of slices comes from their headers. */
static void test_pool(void **state)
{
	struct heal_pool h = heal_new(true, UINT64_C(8) << 20);
	struct places *places = calloc(1, sizeof(*places));
	const struct cfs_pool_options opt = { .was_clean = true };
	struct cfs_rebuild_result result;

	(void)state;
	assert_non_null(places);
	heal_write(h.lun, 3, 60, 7);
	/* A rebuild does not take away what an old record is about. */
	heal_snapshot(h.lun, "kept");
	heal_break_off(&h, h.lun, "kept");
	heal_close(&h);
	heal_open(&h, true);
	find_places(&h, cfs_pool_container0(h.pool), places);
	heal_close(&h);
	/* Both devices have the same at the same places. */
	zero_places(&h, places);
	for (size_t i = 0; i < places->count; i++)
		places->list[i].device ^= 1;
	zero_places(&h, places);
	assert_true(cfs_pool_open(h.set, ++h.epoch, h.roots, &opt, &h.pool,
				  NULL) < 0);
	h.pool = NULL;
	HEAL_OK(cfs_rebuild_pool(h.set, ++h.epoch, h.roots, &result, &err_));
	heal_open(&h, true);
	heal_members(&h);
	heal_check_clean(&h);
	assert_int_equal(heal_read(h.lun, 3, 60, 7), 0);
	assert_true(heal_has_snapshot(h.lun, "kept"));
	heal_write(h.lun, 100, 500, 8);
	heal_reopen(&h);
	heal_check_clean(&h);
	assert_int_equal(heal_read(h.lun, 100, 500, 8), 0);
	free(places);
	heal_free(&h);
}

/* ---- two of one identity ------------------------------------------------- */

static void copy_block(struct heal_pool *h, struct cfs_container *c,
		       uint64_t from, uint64_t to)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	uint8_t block[HEAL_BLOCK];
	uint32_t device;
	uint64_t at;

	assert_true(cfs_metavolume_locate(mv, from, 0, &device, &at));
	HEAL_OK(cfs_dev_read(cfs_devset_dev(h->set, device), at, block,
			     sizeof(block), &err_));
	assert_true(cfs_metavolume_locate(mv, to, 0, &device, &at));
	HEAL_OK(cfs_dev_write(cfs_devset_dev(h->set, device), at, block,
			      sizeof(block), &err_));
}

/* As a move leaves them that has not come to its end: the same bytes under the
 * same tag in a block of the group that nobody uses.  Where that is. */
static uint64_t add_twin(struct heal_pool *h, uint64_t vaddr,
			 const struct cfs_tag *tag)
{
	struct cfs_container *c = h->lun->container;
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		cfs_container_metavolume(c));
	const uint64_t l = cfs_vaddr_lslice(vaddr);
	const uint32_t group = cfs_geometry_group(geo, cfs_vaddr_block(vaddr));
	static struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];
	uint64_t kept[2], twin = 0;
	bool is_known;

	cfs_container_lock(c);
	assert_true(cfs_repair_open_tags(c, l, group, tags));
	HEAL_OK(cfs_repair_kept(c, l, group, kept, &is_known, &err_));
	for (uint32_t i = 0; i < geo->data_count; i++) {
		const uint32_t block = geo->data_start + i;
		const uint32_t at = cfs_geometry_index(geo, block);

		/* The last one: nothing that follows is put there. */
		if (cfs_geometry_group(geo, block) == group &&
		    !(kept[at / 64] >> (at % 64) & 1))
			twin = cfs_vaddr(l, block);
	}
	assert_int_not_equal(twin, 0);
	copy_block(h, c, vaddr, twin);
	cfs_repair_set_open_tag(c, twin, tag);
	cfs_container_unlock(c);
	HEAL_OK(cfs_container_commit(c, &err_));
	return twin;
}

/* T22: of two with one identity the one that verifies is kept, whichever of
 * them that is. */
static void test_twins(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		struct heal_pool h = heal_new(false, UINT64_C(8) << 20);
		struct places *places = calloc(1, sizeof(*places));
		struct cfs_rebuild_result result;
		const uint64_t id = h.lun->id;
		uint64_t vaddr, twin;
		struct cfs_member *m;
		struct cfs_tag tag;

		assert_non_null(places);
		heal_write(h.lun, 3, 20, 7);
		vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 9, &tag);
		twin = add_twin(&h, vaddr, &tag);
		find_places(&h, h.lun->container, places);
		if (round > 0)
			heal_hurt(&h, h.lun->container,
				  round == 1 ? vaddr : twin, 0);
		heal_close(&h);
		zero_places(&h, places);
		heal_open(&h, true);
		assert_true(cfs_pool_member(h.pool, "lun", &m, NULL) < 0);
		HEAL_OK(cfs_rebuild_container(h.pool, id, &result, &err_));
		/* It was there, and is not needed. */
		assert_true(result.garbage_blocks > 0);
		heal_members(&h);
		heal_check_clean(&h);
		assert_int_equal(heal_read(h.lun, 3, 20, 7), 0);
		free(places);
		heal_free(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_twins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
