/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is written to a slice that is being moved is noted, and all of it can
 * be stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "device/device.h"
#include "pool/metavolume_watch.h"
#include "pool_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LSLICE 3u

struct fix {
	struct cfs_devset *set;
	struct cfs_metavolume *mv;
	const struct cfs_slice_geometry *geo;
	uint8_t *block;
	uint8_t groups[256]; /* bits of those that were noted */
};

static void map(struct fix *f, uint64_t lslice)
{
	const struct cfs_piece pieces[CFS_PIECES_MAX] = {
		{ .flags = CFS_PIECE_USED,
		  .slice_index = (uint32_t)lslice,
		  .generation = 1 },
	};

	assert_int_equal(cfs_metavolume_set(f->mv, lslice, pieces, NULL), 0);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->set = pool_fixture_mem(1, UINT64_C(64) << 20, 0, NULL);
	assert_int_equal(cfs_metavolume_new(f->set, 1, &f->mv, NULL), 0);
	f->geo = cfs_metavolume_geometry(f->mv);
	f->block = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	assert_non_null(f->block);
	memset(f->block, 7, CFS_BLOCK_BYTES);
	map(f, LSLICE);
	map(f, LSLICE + 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	cfs_metavolume_free(f->mv);
	cfs_devset_close(f->set);
	free(f->block);
	free(f);
	return 0;
}

static void put(struct fix *f, uint64_t lslice, uint32_t block)
{
	const struct cfs_mv_write w = {
		.vaddr = cfs_vaddr(lslice, block),
		.count = 1,
		.buf = f->block,
	};

	assert_int_equal(cfs_metavolume_write(f->mv, &w, 1, NULL), 0);
}

/* The notes are that of @group alone, and then there are none. */
static void assert_noted(struct fix *f, uint32_t group)
{
	memset(f->groups, 0, sizeof(f->groups));
	assert_true(cfs_metavolume_take_written(f->mv, f->groups));
	for (uint32_t g = 0; g < f->geo->group_count; g++)
		assert_int_equal(f->groups[g / 8] >> g % 8 & 1, g == group);
	assert_false(cfs_metavolume_take_written(f->mv, f->groups));
}

static void test_notes(void **state)
{
	struct fix *f = *state;
	const uint32_t last = f->geo->group_count - 1;
	const struct cfs_mv_write both[2] = {
		{ cfs_vaddr(LSLICE, f->geo->data_start), 1, f->block },
		{ cfs_vaddr(LSLICE + 1, f->geo->data_start), 1, f->block },
	};

	put(f, LSLICE, f->geo->data_start);
	assert_false(cfs_metavolume_take_written(f->mv, f->groups));
	assert_int_equal(cfs_metavolume_watch(f->mv, LSLICE, NULL), 0);
	assert_false(cfs_metavolume_take_written(f->mv, f->groups));
	put(f, LSLICE, cfs_geometry_group_start(f->geo, last));
	assert_noted(f, last);
	/* Tag pages belong to their groups. */
	put(f, LSLICE, cfs_geometry_tags_block(f->geo, 0, 0));
	assert_noted(f, 0);
	put(f, LSLICE, cfs_geometry_tags_block(f->geo, last, 1));
	assert_noted(f, last);
	/* Another slice, and its own in the same batch; one piece alone. */
	put(f, LSLICE + 1, f->geo->data_start);
	assert_false(cfs_metavolume_take_written(f->mv, f->groups));
	assert_int_equal(cfs_metavolume_write(f->mv, both, 2, NULL), 0);
	assert_noted(f, 0);
	assert_int_equal(cfs_metavolume_write_piece(f->mv, both[0].vaddr, 1, 0,
						    f->block, NULL),
			 0);
	assert_noted(f, 0);
	cfs_metavolume_touch(f->mv, both[0].vaddr, 1);
	assert_noted(f, 0);
	cfs_metavolume_touch(f->mv, both[0].vaddr, UINT32_MAX);
	cfs_metavolume_watch_end(f->mv);
	put(f, LSLICE, f->geo->data_start);
	assert_false(cfs_metavolume_take_written(f->mv, f->groups));
}

struct reader {
	struct fix *f;
	atomic_bool is_done;
	uint8_t first;
};

static void *run_reader(void *arg)
{
	struct reader *r = arg;
	uint8_t *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);

	if (cfs_metavolume_read(r->f->mv,
				cfs_vaddr(LSLICE, r->f->geo->data_start), 1, 0,
				buf, NULL) == 0)
		r->first = buf[0];
	atomic_store(&r->is_done, true);
	free(buf);
	return NULL;
}

/* Who begins while all is stopped reads where the map says afterwards. */
static void test_stop(void **state)
{
	const struct timespec moment = { .tv_nsec = 20000000 };
	const struct cfs_piece there[CFS_PIECES_MAX] = {
		{ .flags = CFS_PIECE_USED,
		  .slice_index = LSLICE + 1,
		  .generation = 1 },
	};
	struct fix *f = *state;
	struct reader r = { .f = f };
	pthread_t thread;

	put(f, LSLICE + 1, f->geo->data_start);
	cfs_metavolume_stop(f->mv);
	assert_int_equal(pthread_create(&thread, NULL, run_reader, &r), 0);
	nanosleep(&moment, NULL);
	assert_false(atomic_load(&r.is_done));
	assert_int_equal(cfs_metavolume_set(f->mv, LSLICE, there, NULL), 0);
	cfs_metavolume_go_on(f->mv);
	pthread_join(thread, NULL);
	assert_int_equal(r.first, 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_notes),
		TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
