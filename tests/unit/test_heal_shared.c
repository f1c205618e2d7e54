/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Scrub on a pool that other hosts may take over: in place only what is on loan
 * to us; what is frozen, since its writer may still write there, is written
 * elsewhere and left as it is.  Headers and tag pages are looked at everywhere,
 * but for the tag pages that a living client may be writing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client_fixture.h"
#include "shared_fixture.h"

#include "heal/header_priv.h"
#include "tree/tree.h"

#define NO_DEVICE UINT32_MAX
#define BLOCKS    64u

/* Where a block of the LUN stands. */
static uint64_t place_of(struct cfs_member *lun, uint64_t block)
{
	struct cfs_volume_rec vol = heal_volume(lun);
	const struct cfs_key key = {
		{ (uint64_t)vol.head_branch << 48 | vol.ino,
		  (uint64_t)CFS_MAP_EXTENT << CFS_MAP_OFF_BITS | block, 0 }
	};
	struct cfs_extent_rec rec;
	struct cfs_cursor cur;

	cfs_container_lock(lun->container);
	HEAL_OK(cfs_cursor_le(&cur,
			      cfs_container_tree(lun->container, CFS_TREE_LIVE),
			      &key, &err_));
	HEAL_OK(cfs_extent_rec_unpack(cur.value, cur.value_bytes, &rec, &err_));
	cfs_container_unlock(lun->container);
	assert_true(key.w[1] - cur.key.w[1] < rec.count);
	return rec.vaddr + (key.w[1] - cur.key.w[1]);
}

static bool is_frozen(struct cfs_member *lun, uint64_t vaddr)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		cfs_container_metavolume(lun->container));
	bool is;

	cfs_container_lock(lun->container);
	is = cfs_repair_is_away(
		lun->container, cfs_vaddr_lslice(vaddr),
		cfs_geometry_group(geo, cfs_vaddr_block(vaddr)));
	cfs_container_unlock(lun->container);
	return is;
}

/* One copy of an address, past everybody: written, or read. */
static void touch_copy(struct shared_pool *p, struct cfs_member *lun,
		       uint64_t vaddr, unsigned int piece, bool writes,
		       uint8_t buf[HEAL_BLOCK])
{
	uint64_t offset;
	uint32_t device;
	struct cfs_dev *dev;

	assert_true(
		cfs_metavolume_locate(cfs_container_metavolume(lun->container),
				      vaddr, piece, &device, &offset));
	HEAL_OK(cfs_sim_dev_open(p->sim, device, &dev, &err_));
	if (writes)
		HEAL_OK(cfs_dev_write(dev, offset, buf, HEAL_BLOCK, &err_));
	else
		HEAL_OK(cfs_dev_read(dev, offset, buf, HEAL_BLOCK, &err_));
	if (writes)
		HEAL_OK(cfs_dev_flush(dev, &err_));
	cfs_dev_close(dev);
}

static uint64_t scrub(struct manager *m, uint64_t bad, uint64_t left)
{
	const struct cfs_scrub_options opt = { .heals = true };
	const struct cfs_scrub_calls calls = { .each = print_damage };
	struct cfs_scrub_result result;

	HEAL_OK(cfs_pool_scrub(m->pool, NULL, &opt, &calls, &result, &err_));
	assert_int_equal(result.bad_blocks, bad);
	assert_int_equal(result.left_blocks, left);
	return result.skipped_groups;
}

static void damage(struct shared_pool *p, struct cfs_member *lun,
		   uint64_t vaddr, uint8_t garbage[HEAL_BLOCK])
{
	heal_fill(garbage, HEAL_BLOCK, 4711);
	touch_copy(p, lun, vaddr, 1, true, garbage);
}

/* A group that nobody has on loan: lent to the repair, and given back. */
static void test_own(void **state)
{
	struct shared_pool p = shared_new(3, true);
	uint8_t garbage[HEAL_BLOCK], now[HEAL_BLOCK];
	struct cfs_member *lun;
	struct manager a;
	uint64_t at;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, BLOCKS, 1), 0);
	HEAL_OK(cfs_container_commit_idle(lun->container, &err_));
	at = place_of(lun, 5);
	damage(&p, lun, at, garbage);
	scrub(&a, 1, 0);
	assert_true(place_of(lun, 5) == at);
	touch_copy(&p, lun, at, 1, false, now);
	assert_true(memcmp(now, garbage, HEAL_BLOCK) != 0);
	scrub(&a, 0, 0);
	assert_int_equal(heal_read(lun, 0, BLOCKS, 1), 0);
	manager_check(&a);
	manager_close(&a);
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	a.host.self.pid = a.host.alive_pid = 77;
	manager_open(&p, &a, NULL);
	manager_check(&a);
	manager_close(&a);
	shared_free(&p);
}

/* A is silent, and may write there at any time: nothing of it is touched. */
static void test_frozen(void **state)
{
	struct shared_pool p = shared_new(3, true);
	uint8_t garbage[HEAL_BLOCK], now[HEAL_BLOCK];
	struct cfs_member *lun;
	struct manager a, b;
	uint64_t at;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, BLOCKS, 1), 0);
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	assert_true(cfs_holder_must_move(b.holder));
	lun = manager_lun(&b);
	at = place_of(lun, 5);
	assert_true(is_frozen(lun, at));
	damage(&p, lun, at, garbage);
	scrub(&b, 1, 0);
	assert_true(place_of(lun, 5) != at);
	assert_false(is_frozen(lun, place_of(lun, 5)));
	touch_copy(&p, lun, at, 1, false, now);
	assert_memory_equal(now, garbage, HEAL_BLOCK);
	scrub(&b, 0, 0);
	assert_int_equal(heal_read(lun, 0, BLOCKS, 1), 0);
	manager_check(&b);
	manager_drop(&a);
	manager_close(&b);
	shared_free(&p);
}

/* ---- headers ---------------------------------------------------------------
 */

/* The header of a piece of a slice, past everybody: read, or written. */
static void touch_header(struct shared_pool *p, struct cfs_member *lun,
			 struct manager *m, uint64_t lslice, bool writes,
			 uint8_t buf[HEAL_BLOCK])
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct header_place at;
	struct cfs_dev *dev;
	uint64_t offset;

	assert_true(cfs_metavolume_get(cfs_container_metavolume(lun->container),
				       lslice, pieces));
	at = (struct header_place){
		.device = pieces[1].device_index,
		.slice = pieces[1].slice_index,
		.generation = pieces[1].generation,
	};
	offset = cfs_header_offset_bytes(m->set, &at);
	HEAL_OK(cfs_sim_dev_open(p->sim, at.device, &dev, &err_));
	if (writes) {
		HEAL_OK(cfs_dev_write(dev, offset, buf, HEAL_BLOCK, &err_));
		HEAL_OK(cfs_dev_flush(dev, &err_));
	} else {
		HEAL_OK(cfs_dev_read(dev, offset, buf, HEAL_BLOCK, &err_));
	}
	cfs_dev_close(dev);
}

/* A slice of ours: its header is written anew, while a group of it is ours. */
static void test_header(void **state)
{
	struct shared_pool p = shared_new(2, true);
	uint8_t before[HEAL_BLOCK], now[HEAL_BLOCK];
	struct cfs_member *lun;
	struct manager a;
	uint64_t lslice;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, BLOCKS, 1), 0);
	HEAL_OK(cfs_container_commit_idle(lun->container, &err_));
	lslice = cfs_vaddr_lslice(place_of(lun, 5));
	touch_header(&p, lun, &a, lslice, false, before);
	heal_fill(now, sizeof(now), 4711);
	touch_header(&p, lun, &a, lslice, true, now);
	scrub(&a, 1, 0);
	touch_header(&p, lun, &a, lslice, false, now);
	assert_memory_equal(before, now, sizeof(now));
	scrub(&a, 0, 0);
	manager_check(&a);
	manager_close(&a);
	shared_free(&p);
}

/* ---- tag pages -------------------------------------------------------------
 */

/* The newest slot of the tag page of @vaddr in piece 1 becomes as it was before
 * the last two times that it was written; or garbage.  Where it stands. */
static uint64_t spoil_tags(struct shared_pool *p, struct cfs_member *lun,
			   uint64_t vaddr, bool is_garbage,
			   uint8_t ret[HEAL_BLOCK])
{
	const uint64_t at = heal_tag_page(lun->container, vaddr, true);
	const struct cfs_metavolume *mv = cfs_container_metavolume(
		lun->container);
	struct cfs_page_disk *page = (void *)ret;
	struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.any_owner = true,
		.pool_lo = cfs_metavolume_pool_lo(mv),
		.address = cfs_vaddr(
			cfs_vaddr_lslice(vaddr),
			cfs_geometry_group(cfs_metavolume_geometry(mv),
					   cfs_vaddr_block(vaddr))),
	};
	struct cfs_page head;

	touch_copy(p, lun, at, 1, false, ret);
	HEAL_OK(cfs_page_unpack(page, &expect, &head, &err_));
	assert_true(head.seq > 2);
	head.seq -= 2;
	cfs_page_pack(&head, page);
	if (is_garbage)
		heal_fill(ret, HEAL_BLOCK, 4711);
	touch_copy(p, lun, at, 1, true, ret);
	return at;
}

/*
 * Of a silent host: what is damaged is told and left alone, and healed when it
 * is known to be gone.  What it did not come to write is no damage.
 */
static void test_frozen_tags(void **state)
{
	struct shared_pool p = shared_new(2, true);
	uint8_t garbage[HEAL_BLOCK], good[HEAL_BLOCK], now[HEAL_BLOCK];
	struct cfs_member *lun;
	struct manager a, b;
	uint64_t at, page;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, BLOCKS, 1), 0);
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(lun_write(lun, BLOCKS, 4, 2), 0);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
	}
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	lun = manager_lun(&b);
	at = place_of(lun, 5);
	assert_true(is_frozen(lun, at));
	assert_int_equal(scrub(&b, 0, 0), 0);

	page = heal_tag_page(lun->container, at, true);
	touch_copy(&p, lun, page, 1, false, good);
	spoil_tags(&p, lun, at, false, garbage);
	assert_int_equal(scrub(&b, 0, 0), 1);
	touch_copy(&p, lun, page, 1, true, good);
	spoil_tags(&p, lun, at, true, garbage);
	scrub(&b, 1, 1);
	touch_copy(&p, lun, page, 1, false, now);
	assert_memory_equal(now, garbage, HEAL_BLOCK);

	manager_drop(&a);
	manager_close(&b);
	manager_init(&p, &b, "c", 3, NO_DEVICE, NULL);
	manager_open(&p, &b, "a");
	/* It was written anew by who took the group. */
	assert_int_equal(scrub(&b, 0, 0), 0);
	touch_copy(&p, manager_lun(&b), page, 1, false, now);
	assert_memory_not_equal(now, garbage, HEAL_BLOCK);
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

/* Beside a client that has written on one piece only, as yet. */
static void test_living(void **state)
{
	struct shared_pool p = shared_new(2, true);
	uint8_t garbage[HEAL_BLOCK], data[HEAL_BLOCK];
	struct client cl;
	struct cfs_member *lun;
	struct manager a;
	uint64_t at;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	HEAL_OK(cfs_container_commit_idle(lun->container, &err_));
	client_make(&cl, lun, 0);
	client_open_on(&cl, a.set, lun, true);
	heal_fill(data, sizeof(data), 1);
	for (unsigned int i = 0; i < 3; i++) {
		HEAL_OK(client_write(cl.c, heal_volume(lun).ino, 0, data,
				     sizeof(data), &err_));
		HEAL_OK(cfs_container_fold(cl.c, &err_));
	}
	at = place_of(lun, 0);
	assert_true(is_frozen(lun, at)); /* or lent */
	spoil_tags(&p, lun, at, false, garbage);
	assert_true(scrub(&a, 0, 0) > 0);
	/* Its blocks are read all the same. */
	damage(&p, lun, at, garbage);
	scrub(&a, 1, 1);
	client_close(&cl);
	scrub(&a, 1, 0);
	assert_int_equal(scrub(&a, 0, 0), 0);
	manager_close(&a);
	shared_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_frozen_tags),
		cmocka_unit_test(test_living),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
