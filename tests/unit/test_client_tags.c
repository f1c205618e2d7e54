/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The owner looks for the tags of what a client names, without reading more
 * than it must: of a group whose last page it knows only the slot of the next
 * one.  Where the page that it looks at does not show them it asks all of the
 * copies before it says that the client lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "device/device_priv.h"
#include "ondisk/page.h"

#define LUN_BYTES (UINT64_C(160) << 20)
#define DEV_BYTES (UINT64_C(3) << 30) /* of memory, as far as it is used */
#define WRITTEN   24u /* blocks at a time: some times in one group */
#define SLOTS     2u

/* ---- what the device is asked -------------------------------------------- */

static struct cfs_dev_ops counting;
static const struct cfs_dev_ops *plain;
static struct cfs_slice_geometry geo;
static uint64_t slices_at;
static uint64_t page_reads; /* blocks that are no data */

static void count_read(uint64_t offset_bytes, size_t length_bytes)
{
	uint64_t in = (offset_bytes - slices_at) % geo.slice_bytes;

	if (!cfs_geometry_is_data(&geo, (uint32_t)(in / HEAL_BLOCK)))
		page_reads += length_bytes / HEAL_BLOCK;
}

static int count_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			  uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_READ)
		count_read(offset_bytes, length_bytes);
	return plain->transfer(dev, op, offset_bytes, buf, length_bytes);
}

/* ---- a LUN and a client -------------------------------------------------- */

struct world {
	struct heal_pool h;
	struct client cl;
	uint64_t ino;
	uint64_t page[SLOTS]; /* of the group that is written to */
	uint64_t seed;
};

static struct cfs_metavolume *mv_of(const struct world *w)
{
	return cfs_container_metavolume(w->h.lun->container);
}

static void count_begin(struct world *w)
{
	uint64_t vaddr = heal_block(w->h.lun->container, CFS_TAG_DATA, w->ino,
				    0, NULL);
	uint32_t device;
	uint64_t at;

	geo = *cfs_metavolume_geometry(mv_of(w));
	assert_true(cfs_metavolume_locate(mv_of(w), vaddr, 0, &device, &at));
	slices_at = (at - (uint64_t)cfs_vaddr_block(vaddr) * HEAL_BLOCK) %
		    geo.slice_bytes;
	plain = cfs_devset_dev(w->h.set, 0)->ops;
	counting = *plain;
	counting.transfer = count_transfer;
	counting.start = NULL;
	counting.wait = NULL;
	cfs_devset_dev(w->h.set, 0)->ops = &counting;
}

static void world_new(struct world *w, bool is_mirror)
{
	memset(w, 0, sizeof(*w));
	w->h = heal_new_of(is_mirror, DEV_BYTES, LUN_BYTES);
	w->ino = heal_volume(w->h.lun).ino;
	heal_write(w->h.lun, 0, 32, 1);
	count_begin(w);
	client_new(&w->cl, &w->h, w->h.lun);
}

static void world_end(struct world *w)
{
	client_kill(&w->cl);
	HEAL_OK(cfs_container_client_gone(w->h.lun->container, w->cl.id, NULL,
					  &err_));
	heal_check_clean(&w->h);
	heal_free(&w->h);
}

/* Blocks at a place of their own, each time: what was there stays. */
static int fold_some(struct world *w)
{
	uint8_t buf[WRITTEN * HEAL_BLOCK];

	heal_fill(buf, sizeof(buf), ++w->seed);
	HEAL_OK(client_write(w->cl.c, w->ino, w->seed * sizeof(buf), buf,
			     sizeof(buf), &err_));
	return cfs_container_fold(w->cl.c, NULL);
}

static void must_be_there(struct world *w)
{
	static uint8_t buf[WRITTEN * HEAL_BLOCK], want[WRITTEN * HEAL_BLOCK];

	for (uint64_t i = 1; i <= w->seed; i++) {
		heal_fill(want, sizeof(want), i);
		HEAL_OK(client_read(w->h.lun->container, CFS_STAMP_HEAD, w->ino,
				    i * sizeof(buf), buf, sizeof(buf), &err_));
		assert_memory_equal(buf, want, sizeof(buf));
	}
}

/* Where the tag page is of the group that the last blocks went to. */
static void find_pages(struct world *w)
{
	struct cfs_tag tag = { .offset = 0 };
	uint64_t vaddr = 0;

	for (unsigned int i = 0; tag.offset != w->seed * WRITTEN; i++)
		vaddr = heal_block(w->h.lun->container, CFS_TAG_DATA, w->ino, i,
				   &tag);
	for (unsigned int slot = 0; slot < SLOTS; slot++)
		w->page[slot] = cfs_vaddr(
			cfs_vaddr_lslice(vaddr),
			cfs_geometry_tags_block(
				&geo,
				cfs_geometry_group(&geo,
						   cfs_vaddr_block(vaddr)),
				slot));
}

static struct world *world_now; /* for what is done to a fold on its way */

static void page_read(unsigned int slot, struct cfs_page_disk *ret)
{
	HEAL_OK(cfs_metavolume_read(mv_of(world_now), world_now->page[slot], 1,
				    0, ret, &err_));
}

static void page_write(unsigned int slot, const struct cfs_page_disk *page)
{
	const struct cfs_mv_write write = { world_now->page[slot], 1, page };

	HEAL_OK(cfs_metavolume_write(mv_of(world_now), &write, 1, &err_));
}

static unsigned int newest_slot(void)
{
	struct cfs_page_disk pages[SLOTS];

	for (unsigned int i = 0; i < SLOTS; i++)
		page_read(i, &pages[i]);
	return le64_get(pages[1].seq) > le64_get(pages[0].seq);
}

/* ---- reading no more than that ------------------------------------------- */

static void begin_count(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	(void)cl;
	(void)fold;
	(void)records;
	page_reads = 0;
}

/* Both slots once; from then on the one where the next page is. */
static void test_one_slot(void **state)
{
	struct world w;

	(void)state;
	world_new(&w, false);
	w.cl.forge = begin_count;
	assert_int_equal(fold_some(&w), 0);
	assert_int_equal(page_reads, 2);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fold_some(&w), 0);
		assert_int_equal(page_reads, 1);
	}
	must_be_there(&w);
	world_end(&w);
}

/* ---- pages that do not show it ------------------------------------------- */

/*
 * The group was written once more than the owner knows of: in the slot where
 * it looks there is the page before the newest one.
 */
static void write_twice(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	const struct cfs_page_expect any = {
		.kind = CFS_PAGE_TAGS,
		.any_pool = true,
		.any_owner = true,
		.address = cfs_vaddr(
			cfs_vaddr_lslice(world_now->page[0]),
			cfs_vaddr_block(world_now->page[0]) -
				cfs_geometry_tags_block(&geo, 0, 0)),
	};
	const unsigned int slot = newest_slot();
	struct cfs_page head;

	(void)cl;
	(void)fold;
	(void)records;
	assert_non_null(page);
	page_read(slot, page);
	HEAL_OK(cfs_page_unpack(page, &any, &head, &err_));
	head.seq++;
	cfs_page_pack(&head, page);
	page_write(!slot, page);
	head.seq--;
	memset(page->payload, 0, sizeof(page->payload));
	cfs_page_pack(&head, page);
	page_write(slot, page);
	free(page);
}

static void test_written_twice(void **state)
{
	struct world w;

	(void)state;
	world_new(&w, false);
	world_now = &w;
	assert_int_equal(fold_some(&w), 0);
	find_pages(&w);
	w.cl.forge = write_twice;
	assert_int_equal(fold_some(&w), 0);
	must_be_there(&w);
	/* What the client has in memory is older now. */
	world_end(&w);
}

static void hurt_page(struct client *cl, struct cfs_fold *fold,
		      uint8_t *records)
{
	const unsigned int slot = newest_slot();

	(void)fold;
	(void)records;
	heal_hurt(&world_now->h, world_now->h.lun->container,
		  world_now->page[cl->forge_arg ? !slot : slot], 0);
}

/* On one device of two, or on the only one: then there is nothing to show. */
static void test_damaged(void **state)
{
	(void)state;
	for (unsigned int mirror = 0; mirror < 2; mirror++) {
		struct world w;

		world_new(&w, mirror);
		world_now = &w;
		assert_int_equal(fold_some(&w), 0);
		find_pages(&w);
		w.cl.forge = hurt_page;
		assert_int_equal(fold_some(&w), mirror ? 0 : -EPERM);
		if (!mirror)
			w.seed--;
		must_be_there(&w);
		client_kill(&w.cl);
		heal_free(&w.h);
	}
}

/* The page before the newest one does not matter. */
static void test_older_damaged(void **state)
{
	struct world w;

	(void)state;
	world_new(&w, false);
	world_now = &w;
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(fold_some(&w), 0);
		find_pages(&w);
		w.cl.forge = hurt_page;
		w.cl.forge_arg = 1;
	}
	must_be_there(&w);
	world_end(&w);
}

/* ---- many ---------------------------------------------------------------- */

#define AT_ONCE   256u /* groups that are looked at in one go */
#define MIB       ((size_t)1 << 20)
#define LAP_MIB   140u
#define LAPS_MOST 8u

static size_t most_records; /* bytes, of a fold */

static void see_records(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	(void)cl;
	(void)records;
	most_records = CFS_MAX(most_records, fold->record_bytes);
}

/* Folds grow with what is written: until one has more groups than that. */
static void test_many(void **state)
{
	uint8_t *buf = malloc(2 * MIB);
	unsigned int laps = 0;
	struct world w;

	(void)state;
	assert_non_null(buf);
	world_new(&w, false);
	w.cl.forge = see_records;
	/* A checksum for each block, and little else. */
	while (most_records < AT_ONCE * CFS_TAGS_PER_PAGE * sizeof(le64)) {
		assert_true(laps++ < LAPS_MOST);
		for (unsigned int i = 0; i < LAP_MIB; i++) {
			heal_fill(buf, MIB, laps * LAP_MIB + i);
			HEAL_OK(client_write(w.cl.c, w.ino, i * MIB, buf, MIB,
					     &err_));
		}
	}
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	for (unsigned int i = 0; i < LAP_MIB; i++) {
		heal_fill(buf, MIB, laps * LAP_MIB + i);
		HEAL_OK(client_read(w.h.lun->container, CFS_STAMP_HEAD, w.ino,
				    i * MIB, buf + MIB, MIB, &err_));
		assert_memory_equal(buf, buf + MIB, MIB);
	}
	world_end(&w);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_slot),
		cmocka_unit_test(test_written_twice),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_older_damaged),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
