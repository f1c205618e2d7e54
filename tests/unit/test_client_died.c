/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a client that is gone had synced last: nothing says that it was flushed,
 * so it counts only if all of it is there, on one device at least; then it is
 * the same on all.  It is looked at many blocks at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "device/device_priv.h"

#define LUN_BYTES (UINT64_C(32) << 20)
#define DEV_BYTES (UINT64_C(1) << 30) /* of memory, as far as it is used */
#define BLOCKS    2000u               /* some runs, many groups */

static struct cfs_dev_ops counting;
static const struct cfs_dev_ops *plain;
static unsigned int reads;

static int count_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			  uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	reads += op == CFS_IO_READ;
	return plain->transfer(dev, op, offset_bytes, buf, length_bytes);
}

struct world {
	struct heal_pool h;
	struct client cl;
	uint64_t ino;
	uint8_t before[BLOCKS * HEAL_BLOCK];
	uint8_t after[BLOCKS * HEAL_BLOCK];
	uint8_t buf[BLOCKS * HEAL_BLOCK];
};

/* A client has synced @after in place of @before, and was killed. */
static struct world *world_new(bool is_mirror)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->h = heal_new_of(is_mirror, DEV_BYTES, LUN_BYTES);
	w->ino = heal_volume(w->h.lun).ino;
	heal_write(w->h.lun, 0, BLOCKS, 1);
	heal_fill(w->before, sizeof(w->before), 1);
	heal_fill(w->after, sizeof(w->after), 2);
	client_new(&w->cl, &w->h, w->h.lun);
	HEAL_OK(client_write(w->cl.c, w->ino, 0, w->after, sizeof(w->after),
			     &err_));
	HEAL_OK(cfs_container_sync(w->cl.c, &err_));
	assert_int_equal(w->cl.folds, 0);
	return w;
}

/* Where block @index is that the client wrote. */
static uint64_t place_of(struct world *w, uint64_t index)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(
		w->h.lun->container);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	uint8_t block[HEAL_BLOCK];

	for (uint64_t l = 0; l < cfs_metavolume_end(mv); l++)
		for (uint32_t i = 0; i < geo->data_count; i++) {
			const uint64_t vaddr = cfs_vaddr(l,
							 geo->data_start + i);

			if (cfs_metavolume_read(mv, vaddr, 1, 0, block, NULL) ==
				    0 &&
			    memcmp(block, w->after + index * HEAL_BLOCK,
				   HEAL_BLOCK) == 0)
				return vaddr;
		}
	fail_msg("block %u is nowhere", (unsigned int)index);
	return 0;
}

static void end_client(struct world *w)
{
	client_kill(&w->cl);
	HEAL_OK(cfs_container_client_gone(w->h.lun->container, w->cl.id, NULL,
					  &err_));
}

static void must_hold(struct world *w, const uint8_t *want)
{
	HEAL_OK(client_read(w->h.lun->container, CFS_STAMP_HEAD, w->ino, 0,
			    w->buf, sizeof(w->buf), &err_));
	assert_memory_equal(w->buf, want, sizeof(w->buf));
}

static void world_end(struct world *w)
{
	heal_check_clean(&w->h);
	heal_scrub_clean(&w->h);
	heal_free(&w->h);
	free(w);
}

static void test_many_at_once(void **state)
{
	struct world *w = world_new(false);

	(void)state;
	plain = cfs_devset_dev(w->h.set, 0)->ops;
	counting = *plain;
	counting.transfer = count_transfer;
	counting.start = NULL;
	counting.wait = NULL;
	cfs_devset_dev(w->h.set, 0)->ops = &counting;
	reads = 0;
	end_client(w);
	print_message("%u reads\n", reads);
	assert_in_range(reads, BLOCKS / 256, 110);
	must_hold(w, w->after);
	world_end(w);
}

/* One block that is not there: then nothing of it is. */
static void test_torn(void **state)
{
	struct world *w = world_new(false);

	(void)state;
	heal_hurt(&w->h, w->h.lun->container, place_of(w, 1234), 0);
	end_client(w);
	must_hold(w, w->before);
	world_end(w);
}

/* It is there on one of two devices. */
static void test_on_one_device(void **state)
{
	(void)state;
	for (unsigned int piece = 0; piece < 2; piece++) {
		struct world *w = world_new(true);
		const uint64_t vaddr = place_of(w, 1234);

		heal_hurt(&w->h, w->h.lun->container, vaddr, piece);
		end_client(w);
		for (unsigned int p = 0; p < 2; p++) {
			HEAL_OK(cfs_metavolume_read(
				cfs_container_metavolume(w->h.lun->container),
				vaddr, 1, p, w->buf, &err_));
			assert_memory_equal(w->buf,
					    w->after + 1234 * HEAL_BLOCK,
					    HEAL_BLOCK);
		}
		must_hold(w, w->after);
		world_end(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_on_one_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
