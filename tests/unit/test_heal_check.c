/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Check: a pool that was used is clean, and what cannot be is told.  (What is
 * damaged on the devices: test_heal_scrub.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"

static void used_pool_is_clean(bool is_mirror)
{
	struct heal_pool h = heal_new(is_mirror, UINT64_C(64) << 20);

	heal_check_clean(&h);
	heal_write(h.lun, 0, 1, 1);
	heal_write(h.lun, 7, 100, 2);
	heal_snapshot(h.lun, "a");
	heal_write(h.lun, 20, 40, 3);
	heal_write(h.lun, 500, 3, 4);
	heal_snapshot(h.lun, "b");
	heal_write(h.lun, 0, 70, 5);
	heal_check_clean(&h);
	HEAL_OK(cfs_snapshot_clone(h.lun, CFS_VOLUME_FIRST, "a", "c", &err_));
	HEAL_OK(cfs_snapshot_rollback(h.lun, CFS_VOLUME_FIRST, "b", "save",
				      &err_));
	heal_write(h.lun, 10, 10, 6);
	heal_check_clean(&h);
	HEAL_OK(cfs_snapshot_remove(h.lun, CFS_VOLUME_FIRST, "save", NULL,
				    &err_));
	heal_check_clean(&h);
	heal_reopen(&h);
	heal_check_clean(&h);
	assert_int_equal(heal_read(h.lun, 10, 10, 6), 0);
	heal_free(&h);
}

static void test_clean(void **state)
{
	(void)state;
	used_pool_is_clean(false);
}

static void test_clean_mirror(void **state)
{
	(void)state;
	used_pool_is_clean(true);
}

/* ---- what cannot be, put there by hand -------------------------------------
 */

/* A record of a tree, past all that would keep it right. */
static void put(struct cfs_container *c, unsigned int tree_id, uint64_t w0,
		uint64_t w1, uint64_t w2, const void *value, size_t bytes)
{
	const struct cfs_key key = { { w0, w1, w2 } };

	cfs_container_lock(c);
	HEAL_OK(cfs_tree_put(cfs_container_tree(c, tree_id), &key, value, bytes,
			     NULL, &err_));
	cfs_container_unlock(c);
	HEAL_OK(cfs_container_commit(c, &err_));
}

static void put_extent(struct heal_pool *h, unsigned int tree_id,
		       uint64_t offset, uint64_t vaddr, uint32_t count,
		       uint64_t stamp, uint64_t death)
{
	const struct cfs_extent_rec rec = {
		.version = { .stamp = stamp, .death = death },
		.vaddr = vaddr,
		.count = count,
	};
	struct cfs_extent_rec_disk disk;

	cfs_extent_rec_pack(&rec, &disk);
	put(h->lun->container, tree_id,
	    cfs_map_word0(1, heal_volume(h->lun).ino),
	    cfs_map_word1(CFS_MAP_EXTENT, offset),
	    tree_id == CFS_TREE_LIVE ? 0 : cfs_map_version_word(stamp, 0),
	    &disk, sizeof(disk));
}

static void expect(struct heal_pool *h, const char *kind, const char *text)
{
	struct heal_seen *seen = heal_check(h);
	bool was_told = false;

	for (size_t i = 0; i < seen->count && i < HEAL_SEEN_MAX; i++)
		was_told |= strcmp(seen->problems[i].kind, kind) == 0 &&
			    strstr(seen->problems[i].text, text);
	for (size_t i = 0; !was_told && i < seen->count; i++)
		print_message("# %s: %s\n", seen->problems[i].kind,
			      seen->problems[i].text);
	assert_true(was_told);
	free(seen);
	cfs_pool_drop(h->pool);
	h->pool = NULL;
	heal_free(h);
}

static struct heal_pool written(void)
{
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);

	heal_write(h.lun, 0, 40, 1);
	heal_snapshot(h.lun, "a");
	heal_write(h.lun, 10, 4, 2);
	(void)heal_file(h.tree, "f", 3, 3);
	return h;
}

static void test_space(void **state)
{
	struct heal_pool h = written();
	struct cfs_container *c = h.lun->container;
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		cfs_container_metavolume(c));
	uint64_t used[2];
	uint32_t at = 0;

	(void)state;
	cfs_container_lock(c);
	do {
		HEAL_OK(cfs_repair_used(c, 0, at / CFS_TAGS_PER_PAGE, used,
					&err_));
	} while (used[at % CFS_TAGS_PER_PAGE / 64] >>
				 (at % CFS_TAGS_PER_PAGE % 64) &
			 1 &&
		 ++at);
	HEAL_OK(cfs_repair_mark_used(c, cfs_vaddr(0, geo->data_start + at), 1,
				     &err_));
	cfs_container_unlock(c);
	HEAL_OK(cfs_container_commit(c, &err_));
	expect(&h, "space", "nothing names them");
}

static void test_two_owners(void **state)
{
	struct heal_pool h = written();
	uint64_t vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 3, NULL);

	(void)state;
	put_extent(&h, CFS_TREE_LIVE, 500, vaddr, 1,
		   cfs_container_stamp(h.lun->container), 0);
	expect(&h, "space", "another owner");
}

static void test_extent_outside(void **state)
{
	struct heal_pool h = written();

	(void)state;
	put_extent(&h, CFS_TREE_LIVE, 500, cfs_vaddr(4000, 9), 1, 3, 0);
	expect(&h, "space", "in no slice");
}

static void test_overlap(void **state)
{
	struct heal_pool h = written();
	struct cfs_tag tag;
	uint64_t vaddr = heal_block(h.lun->container, CFS_TAG_DATA, 0, 1, &tag);

	(void)state;
	put_extent(&h, CFS_TREE_LIVE, tag.offset, vaddr, 1, tag.stamp, 0);
	expect(&h, "map", "overlaps");
}

static void test_unseen_history(void **state)
{
	struct heal_pool h = written();
	uint64_t stamp = cfs_container_stamp(h.lun->container);

	(void)state;
	put_extent(&h, CFS_TREE_HISTORY, 700, CFS_VADDR_NONE, 1, stamp,
		   stamp + 1);
	expect(&h, "map", "nobody sees it");
}

static void test_history_meets_live(void **state)
{
	struct heal_pool h = written();
	struct cfs_tag tag;

	(void)state;
	(void)heal_block(h.lun->container, CFS_TAG_DATA, 0, 1, &tag);
	put_extent(&h, CFS_TREE_HISTORY, tag.offset, CFS_VADDR_NONE, 1,
		   tag.stamp - 1, tag.stamp + 1);
	expect(&h, "map", "born before this one died");
}

static void test_tag(void **state)
{
	struct heal_pool h = written();
	struct cfs_container *c = h.lun->container;
	uint64_t vaddr = heal_block(c, CFS_TAG_DATA, 0, 3, NULL);
	const struct cfs_slice_geometry *geo;
	struct cfs_metavolume *mv;
	struct cfs_group *g = calloc(1, sizeof(*g));
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_mv_write w = { .count = 1, .buf = page };
	struct cfs_tag tag;
	uint32_t index;

	(void)state;
	assert_non_null(g);
	assert_non_null(page);
	heal_reopen(&h);
	c = h.lun->container;
	mv = cfs_container_metavolume(c);
	geo = cfs_metavolume_geometry(mv);
	index = cfs_geometry_index(geo, cfs_vaddr_block(vaddr));
	HEAL_OK(cfs_group_load(cfs_container_blocks(c), cfs_vaddr_lslice(vaddr),
			       cfs_geometry_group(geo, cfs_vaddr_block(vaddr)),
			       g, &err_));
	cfs_tag_unpack(&g->tags[index], &tag);
	tag.ino++;
	cfs_tag_pack(&tag, &g->tags[index]);
	cfs_group_page(cfs_container_blocks(c), g, 1, page, &w.vaddr);
	HEAL_OK(cfs_metavolume_write(mv, &w, 1, &err_));
	free(page);
	free(g);
	expect(&h, "tag", "another object");
}

static void test_slice_table(void **state)
{
	struct heal_pool h = written();
	struct cfs_container *c0 = cfs_pool_container0(h.pool);
	struct cfs_slice_rec rec = {
		.use = CFS_SLICE_USE_OWNED,
		.generation = 9,
		.container_id = h.lun->id,
		.lslice = 1,
	};
	struct cfs_slice_rec_disk disk;
	struct cfs_piece pieces[CFS_PIECES_MAX];

	(void)state;
	assert_true(cfs_metavolume_get(
		cfs_container_metavolume(h.lun->container), 1, pieces));
	cfs_slice_rec_pack(&rec, &disk);
	put(c0, CFS_TREE_TABLE, cfs_table_word(CFS_TABLE_SLICE, 0),
	    pieces[0].slice_index, 0, &disk, sizeof(disk));
	expect(&h, "slice", "do not say the same");
}

static void test_slice_leak(void **state)
{
	struct heal_pool h = written();
	struct cfs_slice_rec rec = {
		.use = CFS_SLICE_USE_OWNED,
		.generation = 1,
		.container_id = h.lun->id,
		.lslice = 77,
	};
	struct cfs_slice_rec_disk disk;

	(void)state;
	cfs_slice_rec_pack(&rec, &disk);
	put(cfs_pool_container0(h.pool), CFS_TREE_TABLE,
	    cfs_table_word(CFS_TABLE_SLICE, 0), 40, 0, &disk, sizeof(disk));
	expect(&h, "slice", "does not map it");
}

static void test_branches(void **state)
{
	struct heal_pool h = written();
	struct cfs_branch_rec rec = {
		.volume = 1,
		.parent = 9,
		.state = CFS_OBJECT_LIVE,
		.created_stamp = 2,
		.fork_stamp = 1,
	};
	struct cfs_branch_rec_disk disk;

	(void)state;
	cfs_branch_rec_pack(&rec, &disk);
	put(h.lun->container, CFS_TREE_TABLE,
	    cfs_table_word(CFS_TABLE_BRANCH, 5), 0, 0, &disk, sizeof(disk));
	expect(&h, "branch", "its parent is not there");
}

static void test_volumes(void **state)
{
	struct heal_pool h = written();
	struct cfs_volume_rec rec = heal_volume(h.lun);
	struct cfs_volume_rec_disk disk;

	(void)state;
	rec.head_branch = 33;
	cfs_volume_rec_pack(&rec, &disk);
	put(h.lun->container, CFS_TREE_TABLE,
	    cfs_table_word(CFS_TABLE_VOLUME, 1), 0, 0, &disk, sizeof(disk));
	expect(&h, "volume", "its branch 33");
}

static void test_snapshots(void **state)
{
	struct heal_pool h = written();
	struct cfs_snapshot_rec rec = { .name = "x" };
	uint8_t value[CFS_SNAPSHOT_REC_BYTES_MAX];
	size_t bytes = cfs_snapshot_rec_pack(&rec, value);

	(void)state;
	put(h.lun->container, CFS_TREE_TABLE,
	    cfs_table_word(CFS_TABLE_SNAPSHOT, 44), 3, 0, value, bytes);
	expect(&h, "snapshot", "the branch is not there");
}

/* What is left of a set is no damage, and goes with the next open. */
static void test_snapset(void **state)
{
	struct heal_pool h = written();
	const struct cfs_key from = { {
		cfs_table_word(CFS_TABLE_SNAPSET, 0),
		0,
		0,
	} };
	struct cfs_container *c0;
	struct cfs_cursor cur;
	int r;

	(void)state;
	heal_snapshot(h.lun, "x");
	heal_snapshot(h.tree, "x");
	heal_break_off(&h, h.lun, "x");
	heal_break_off(&h, h.tree, "x");
	heal_check_clean(&h);
	heal_reopen(&h);
	assert_false(heal_has_snapshot(h.lun, "x"));
	assert_false(heal_has_snapshot(h.tree, "x"));
	assert_true(heal_has_snapshot(h.lun, "a"));
	c0 = cfs_pool_container0(h.pool);
	cfs_container_lock(c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c0, CFS_TREE_TABLE), &from,
			  NULL);
	assert_true(r == -ENOENT || cur.key.w[0] >> 56 != CFS_TABLE_SNAPSET);
	cfs_container_unlock(c0);
	heal_check_clean(&h);
	heal_snapshot(h.lun, "x");
	heal_reopen(&h);
	assert_true(heal_has_snapshot(h.lun, "x"));
	heal_free(&h);
}

/* A clone that was made of it keeps its snapshot. */
static void test_snapset_cloned(void **state)
{
	struct heal_pool h = written();

	(void)state;
	heal_snapshot(h.lun, "x");
	HEAL_OK(cfs_snapshot_clone(h.lun, CFS_VOLUME_FIRST, "x", "c", &err_));
	heal_break_off(&h, h.lun, "x");
	heal_reopen(&h);
	assert_true(heal_has_snapshot(h.lun, "x"));
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_snapset_stray(void **state)
{
	struct heal_pool h = written();

	(void)state;
	heal_put_snapset(&h, 77, 1, 5, 2);
	heal_reopen(&h);
	heal_check_clean(&h);
	heal_put_snapset(&h, 77, 1, 5, 2);
	expect(&h, "snapshot", "container 77, which does not exist");
}

static void test_snapset_garbled(void **state)
{
	struct heal_pool h = written();

	(void)state;
	heal_put_snapset(&h, h.lun->id, UINT16_MAX + 1, 5, 2);
	expect(&h, "record", "no snapshot can be there");
	h = written();
	heal_put_snapset(&h, h.lun->id, 1, 5, 1);
	expect(&h, "record", "count");
}

static void test_garbled_record(void **state)
{
	struct heal_pool h = written();

	(void)state;
	put(h.lun->container, CFS_TREE_TABLE, cfs_table_word(CFS_TABLE_BAD, 0),
	    12345, 0, "short", 5);
	expect(&h, "record", "table record");
}

static void test_links(void **state)
{
	struct heal_pool h = written();
	struct cfs_volume_rec rec = heal_volume(h.tree);
	struct cfs_container *c = h.tree->container;
	uint8_t value[512];
	struct cfs_view view;
	size_t bytes;
	uint64_t ino = rec.ino;

	(void)state;
	cfs_volume_view(h.tree, &rec, &view);
	HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
	ino++;
	HEAL_OK(cfs_map_next_inode(&view, &ino, &err_));
	HEAL_OK(cfs_map_get(&view, ino, CFS_MAP_INODE, 0, value, sizeof(value),
			    &bytes, &err_));
	value[12]++; /* cfs(5): links */
	HEAL_OK(cfs_map_put(c, (uint16_t)rec.head_branch, ino, CFS_MAP_INODE, 0,
			    value, bytes, &err_));
	cfs_op_end(c);
	expect(&h, "link", "");
}

/* A client writes home, with tags, before it tells the owner. */
static void test_beside_client(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	uint8_t *buf = malloc(80 * HEAL_BLOCK);
	struct client cl;

	(void)state;
	assert_non_null(buf);
	client_new(&cl, &h, h.lun);
	heal_fill(buf, 80 * HEAL_BLOCK, 3);
	HEAL_OK(cfs_container_refresh(cl.c, &err_));
	HEAL_OK(client_write(cl.c, heal_volume(h.lun).ino, 0, buf,
			     80 * HEAL_BLOCK, &err_));
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	HEAL_OK(client_write(cl.c, heal_volume(h.lun).ino, 0, buf,
			     80 * HEAL_BLOCK, &err_));
	cl.fold_fails = -EIO;
	assert_int_equal(cfs_container_fold(cl.c, NULL), -EIO);
	heal_check_clean(&h);
	/* All that comes back with it: nothing of that passes for newer. */
	client_kill(&cl);
	HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id, false, NULL,
					  &err_));
	heal_check_clean(&h);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	free(buf);
	heal_free(&h);
}

/*
 * A slice is given back, and before its container has heard that it is gone
 * another thread of it gets a slice in the same place, and fills it.
 */
static void test_slice_there_again(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(8) << 20);
	struct cfs_container *c = h.lun->container;
	uint64_t lslice;

	(void)state;
	heal_write(h.lun, 0, 64, 1);
	lslice = cfs_vaddr_lslice(heal_block(c, CFS_TAG_DATA, 0, 3, NULL));
	cfs_container_slice_gone(c, lslice);
	heal_check_clean(&h);
	heal_write(h.lun, 0, 64, 2); /* the first ones are freed */
	heal_check_clean(&h);
	heal_reopen(&h);
	assert_int_equal(heal_read(h.lun, 0, 64, 2), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_clean_mirror),
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_two_owners),
		cmocka_unit_test(test_extent_outside),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_unseen_history),
		cmocka_unit_test(test_history_meets_live),
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_slice_table),
		cmocka_unit_test(test_slice_leak),
		cmocka_unit_test(test_branches),
		cmocka_unit_test(test_volumes),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_snapset),
		cmocka_unit_test(test_snapset_cloned),
		cmocka_unit_test(test_snapset_stray),
		cmocka_unit_test(test_snapset_garbled),
		cmocka_unit_test(test_garbled_record),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_beside_client),
		cmocka_unit_test(test_slice_there_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
