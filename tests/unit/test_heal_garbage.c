/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a scrub does to tombstones and to the tags they stand against.  (That a
 * rebuild then still makes everything as it was: tests/crash/rebuild.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal/tags_priv.h"
#include "heal_fixture.h"
#include "tree/hooks.h"

static void punch(struct cfs_member *m, const struct cfs_volume_rec *rec,
		  uint64_t block, uint64_t count)
{
	HEAL_OK(cfs_op_begin(m->container, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_data_punch(m->container, (uint16_t)rec->head_branch,
			       rec->ino, block * HEAL_BLOCK, count * HEAL_BLOCK,
			       &err_));
	cfs_op_end(m->container);
}

static unsigned int tombstone_count(struct cfs_container *c)
{
	const uint64_t class = cfs_table_word(CFS_TABLE_TOMBSTONE, 0) >> 56;
	struct cfs_key from = { { class << 56, 0, 0 } };
	struct cfs_cursor cur;
	unsigned int n = 0;
	int r;

	cfs_container_lock(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  NULL);
	for (; r == 0 && cur.key.w[0] >> 56 == class; n++)
		r = cfs_cursor_next(&cur, NULL);
	cfs_container_unlock(c);
	return n;
}

/* Tags of data with an offset in [from, to), in all slots of all pieces. */
static unsigned int tag_count(struct cfs_container *c, uint64_t from,
			      uint64_t to)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	unsigned int n = 0;

	for (uint64_t l = 0; l < cfs_metavolume_end(mv); l++) {
		struct tag_area area;

		HEAL_OK(cfs_tag_area_load(mv, l, &area, &err_));
		for (size_t i = 0;
		     i < (size_t)area.group_count * CFS_PIECES_MAX * 2; i++) {
			const uint32_t group = (uint32_t)(i / CFS_PIECES_MAX /
							  2);
			const uint32_t piece = (uint32_t)(i / 2 %
							  CFS_PIECES_MAX);
			const struct cfs_page_disk *page;

			if (area.groups[group].slots[piece][i & 1].state !=
			    TAG_SLOT_GOOD)
				continue;
			page = cfs_tag_area_page(&area, piece, i & 1, group);
			for (size_t k = 0; k < CFS_TAGS_PER_PAGE; k++) {
				struct cfs_tag_disk disk;
				struct cfs_tag tag;

				memcpy(&disk, page->payload + k * sizeof(disk),
				       sizeof(disk));
				cfs_tag_unpack(&disk, &tag);
				n += tag.type == CFS_TAG_DATA &&
				     tag.offset >= from && tag.offset < to;
			}
		}
		cfs_tag_area_done(&area);
	}
	return n;
}

static void cleared(bool is_mirror)
{
	struct heal_pool h = heal_new(is_mirror, UINT64_C(64) << 20);
	struct cfs_container *c = h.lun->container;
	struct cfs_volume_rec rec = heal_volume(h.lun);
	unsigned int others;

	heal_write(h.lun, 0, 100, 1);
	punch(h.lun, &rec, 20, 30);
	HEAL_OK(cfs_container_commit(c, &err_));
	others = tag_count(c, 0, 20);
	assert_int_equal(tombstone_count(c), 1);
	assert_true(tag_count(c, 20, 50) > 0);
	heal_scrub_clean(&h);
	assert_int_equal(tombstone_count(c), 0);
	assert_int_equal(tag_count(c, 20, 50), 0);
	assert_true(tag_count(c, 0, 20) >= others);
	assert_true(tag_count(c, 50, 100) >= 50);
	assert_int_equal(heal_read(h.lun, 0, 20, 1), 0);
	heal_check_clean(&h);
	heal_reopen(&h);
	assert_int_equal(heal_read(h.lun, 0, 20, 1), 0);
	heal_write(h.lun, 20, 30, 2);
	assert_int_equal(heal_read(h.lun, 20, 30, 2), 0);
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_cleared(void **state)
{
	(void)state;
	cleared(false);
	cleared(true);
}

/*
 * As if who cleared tags of what is free had died behind the first piece of the
 * page: of each group the next page, with the same tags, on piece 0 alone.
 * Returns how many there are where piece 1 has older tags in that slot.
 */
static unsigned int write_one_piece(struct cfs_container *c, uint64_t lslice)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct tag_area area;
	unsigned int n = 0;

	assert_non_null(page);
	HEAL_OK(cfs_tag_area_load(mv, lslice, &area, &err_));
	for (uint32_t group = 0; group < area.group_count; group++) {
		const struct tag_group *g = &area.groups[group];
		struct cfs_page head = g->head;
		const unsigned int slot = (head.seq + 1) & 1;
		const uint64_t vaddr = cfs_vaddr(
			lslice, cfs_geometry_tags_block(geo, group, slot));

		if (!g->best || g->slots[1][slot].state != TAG_SLOT_GOOD)
			continue;
		n += memcmp(cfs_tag_area_page(&area, 1, slot, group)->payload,
			    g->best->payload, sizeof(g->best->payload)) != 0;
		memcpy(page, g->best, sizeof(*page));
		head.seq++;
		cfs_page_pack(&head, page);
		HEAL_OK(cfs_metavolume_write_piece(mv, vaddr, 1, 0, page,
						   &err_));
	}
	cfs_tag_area_done(&area);
	free(page);
	return n;
}

/* Of groups that nobody has: no loan tells who opens the pool next of them. */
static void died_between_pieces(bool is_lent_first)
{
	struct heal_pool h = heal_new(true, UINT64_C(64) << 20);
	struct cfs_metavolume *mv;
	unsigned int n = 0;

	heal_write(h.lun, 0, 50, 1);
	heal_write(h.lun, 50, 50, 2);
	heal_reopen(&h);
	mv = cfs_container_metavolume(h.lun->container);
	for (uint64_t l = 0; l < cfs_metavolume_end(mv); l++)
		n += write_one_piece(h.lun->container, l);
	assert_true(n > 0);
	if (is_lent_first)
		heal_write(h.lun, 100, 20, 3);
	heal_scrub_clean(&h);
	heal_reopen(&h);
	assert_int_equal(heal_read(h.lun, 0, 50, 1), 0);
	assert_int_equal(heal_read(h.lun, 50, 50, 2), 0);
	heal_scrub_clean(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_died_between_pieces(void **state)
{
	(void)state;
	died_between_pieces(false);
	died_between_pieces(true);
}

/* Only looking changes nothing. */
static void test_reports_only(void **state)
{
	const struct cfs_scrub_options opt = { .heals = false };
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	struct cfs_volume_rec rec = heal_volume(h.lun);
	unsigned int tags;

	(void)state;
	heal_write(h.lun, 0, 100, 1);
	punch(h.lun, &rec, 20, 30);
	HEAL_OK(cfs_container_commit(h.lun->container, &err_));
	tags = tag_count(h.lun->container, 0, 100);
	free(heal_scrub_with(&h, &opt));
	assert_int_equal(tombstone_count(h.lun->container), 1);
	assert_int_equal(tag_count(h.lun->container, 0, 100), tags);
	heal_free(&h);
}

/* What a snapshot sees is older than the hole, and stays; so does this. */
static void test_snapshot(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	struct cfs_container *c = h.lun->container;
	struct cfs_volume_rec rec = heal_volume(h.lun);

	(void)state;
	heal_write(h.lun, 0, 100, 1);
	heal_snapshot(h.lun, "s");
	punch(h.lun, &rec, 20, 30);
	heal_write(h.lun, 200, 10, 1);
	punch(h.lun, &rec, 200, 10);
	assert_int_equal(tombstone_count(c), 2);
	heal_scrub_clean(&h);
	assert_int_equal(tombstone_count(c), 1);
	assert_true(tag_count(c, 20, 50) >= 30);
	assert_int_equal(tag_count(c, 200, 210), 0);
	HEAL_OK(cfs_snapshot_remove(h.lun, CFS_VOLUME_FIRST, "s", NULL, &err_));
	heal_scrub_clean(&h);
	assert_int_equal(tombstone_count(c), 0);
	assert_int_equal(tag_count(c, 20, 50), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

/* In a clone it hides what the parent has. */
static void test_clone(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	struct cfs_container *c = h.lun->container;
	struct cfs_volume_rec rec;
	uint64_t id;

	(void)state;
	heal_write(h.lun, 0, 100, 1);
	heal_snapshot(h.lun, "s");
	HEAL_OK(cfs_snapshot_clone(h.lun, CFS_VOLUME_FIRST, "s", "k", &err_));
	HEAL_OK(cfs_volume_find(h.lun, "k", &id, &rec, &err_));
	punch(h.lun, &rec, 20, 30);
	/* And one where the parent has nothing. */
	HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
			       300 * HEAL_BLOCK, "x", 1, &err_));
	cfs_op_end(c);
	HEAL_OK(cfs_container_commit(c, &err_));
	punch(h.lun, &rec, 300, 1);
	assert_int_equal(tombstone_count(c), 2);
	heal_scrub_clean(&h);
	assert_int_equal(tombstone_count(c), 1);
	assert_int_equal(tag_count(c, 300, 301), 0);
	assert_true(tag_count(c, 20, 50) >= 30);
	heal_free(&h);
}

/* What a missing device has cannot be looked at, and it may come back. */
static void test_missing_device(void **state)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct heal_pool h = heal_new(true, UINT64_C(64) << 20);
	struct cfs_volume_rec rec = heal_volume(h.lun);
	struct cfs_dev *left;
	unsigned int tags;

	(void)state;
	heal_write(h.lun, 0, 100, 1);
	punch(h.lun, &rec, 20, 30);
	heal_close(&h);
	HEAL_OK(cfs_dev_mem_reopen(cfs_devset_dev(h.set, 0), &left, &err_));
	cfs_devset_close(h.set);
	HEAL_OK(cfs_devset_from_devices(&left, 1, &opt, &h.set, &err_));
	heal_open(&h, true);
	heal_members(&h);
	tags = tag_count(h.lun->container, 20, 50);
	assert_true(tags > 0);
	heal_scrub_clean(&h);
	assert_int_equal(tombstone_count(h.lun->container), 1);
	assert_true(tag_count(h.lun->container, 20, 50) >= tags);
	heal_free(&h);
}

/* A group on loan to another: what its holder will write is not known. */
static void test_lent(void **state)
{
	const struct cfs_loan_rec loan = {
		.loan = 1,
		.holder = 7,
		.epoch = 1,
		.state = CFS_LOAN_OPEN,
	};
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	struct cfs_container *c = h.lun->container;
	struct cfs_volume_rec rec = heal_volume(h.lun);
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_LOAN, 0), 0, 0 } };
	const struct cfs_slice_geometry *geo;
	struct cfs_loan_rec_disk disk;

	(void)state;
	heal_write(h.lun, 0, 100, 1);
	punch(h.lun, &rec, 20, 30);
	HEAL_OK(cfs_container_commit_idle(c, &err_));
	/* One that we do not open ourselves: the log is there. */
	geo = cfs_metavolume_geometry(cfs_container_metavolume(c));
	key.w[1] = cfs_vaddr(1, geo->group_count - 1);
	cfs_loan_rec_pack(&loan, &disk);
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_container_put(c, &key, &disk, sizeof(disk), &err_));
	cfs_op_end(c);
	free(heal_scrub(&h));
	assert_int_equal(tombstone_count(c), 1);
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_container_del(c, &key, &err_));
	cfs_op_end(c);
	free(heal_scrub(&h));
	assert_int_equal(tombstone_count(c), 0);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cleared),
		cmocka_unit_test(test_died_between_pieces),
		cmocka_unit_test(test_reports_only),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_missing_device),
		cmocka_unit_test(test_lent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
