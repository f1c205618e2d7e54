/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Gradual commits beside many: some write and sync, some read, some do what
 * ends one.  What a thread has written it reads, and what it has synced is there
 * when the process is killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"
#include "tree/container_gradual.h"

#include <pthread.h>

#define WRITERS    3u
#define BLOCKS     40u /* of each */
#define ROUNDS     1500u
#define LUN_BLOCKS 1024u

static struct heal_pool h;
static struct cfs_volume_rec rec;
static atomic_uint working;

struct writer {
	pthread_t thread;
	uint64_t first;         /* block */
	uint32_t value[BLOCKS]; /* written, and synced */
	bool is_right;
};

static void fill(uint32_t buf[HEAL_BLOCK / 4], uint32_t value)
{
	for (size_t i = 0; i < HEAL_BLOCK / 4; i++)
		buf[i] = value;
}

static bool put(uint64_t block, uint32_t value)
{
	struct cfs_container *c = h.lun->container;
	uint32_t buf[HEAL_BLOCK / 4];

	fill(buf, value);
	if (cfs_op_begin_pages(c, 8, NULL) < 0)
		return false;
	if (cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
			   block * HEAL_BLOCK, buf, sizeof(buf), NULL) < 0) {
		cfs_op_abort(c);
		return false;
	}
	cfs_op_end(c);
	return true;
}

static bool has(uint64_t block, uint32_t value)
{
	const struct cfs_view view = { h.lun->container,
				       (uint16_t)rec.head_branch,
				       CFS_STAMP_HEAD };
	uint32_t want[HEAL_BLOCK / 4], got[HEAL_BLOCK / 4];

	fill(want, value);
	return cfs_data_read_beside(&view, rec.ino, block * HEAL_BLOCK, got,
				    sizeof(got), NULL, NULL) == 0 &&
	       memcmp(want, got, sizeof(got)) == 0;
}

static void *write_and_sync(void *arg)
{
	struct writer *w = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, w->first);
	w->is_right = true;
	for (uint32_t i = 1; i <= ROUNDS && w->is_right; i++) {
		const uint64_t at = cfs_rng_below(&rng, BLOCKS);

		w->is_right = put(w->first + at, i) &&
			      cfs_container_sync(h.lun->container, NULL) == 0;
		w->value[at] = i;
		for (uint64_t k = 0; k < BLOCKS && w->is_right; k += 3)
			w->is_right = has(w->first + k, w->value[k]);
	}
	atomic_fetch_sub(&working, 1);
	return NULL;
}

/* A snapshot, a long write, a commit, a look under the lock. */
static void *disturb(void *arg)
{
	struct cfs_container *c = h.lun->container;
	char name[16];

	(void)arg;
	for (unsigned int i = 0; atomic_load(&working); i++) {
		const struct timespec rest = { .tv_nsec = 3000000 };

		(void)snprintf(name, sizeof(name), "s%u", i);
		if (i % 4 == 0 && i < 60)
			heal_snapshot(h.lun, name);
		else if (i % 4 == 1)
			heal_write(h.lun, LUN_BLOCKS / 2, 64, i);
		else if (i % 4 == 2)
			HEAL_OK(cfs_container_commit(c, &err_));
		else
			(void)heal_volume(h.lun);
		nanosleep(&rest, NULL);
	}
	return NULL;
}

static void test_beside(void **state)
{
	struct writer writers[WRITERS] = { { .first = 0 } };
	pthread_t other;

	(void)state;
	cfs_gradual_set(1, 5);
	h = heal_new(false, LUN_BLOCKS * HEAL_BLOCK);
	rec = heal_volume(h.lun);
	atomic_store(&working, WRITERS);
	for (unsigned int i = 0; i < WRITERS; i++) {
		writers[i].first = (uint64_t)i * BLOCKS;
		assert_int_equal(pthread_create(&writers[i].thread, NULL,
						write_and_sync, &writers[i]),
				 0);
	}
	assert_int_equal(pthread_create(&other, NULL, disturb, NULL), 0);
	for (unsigned int i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(other, NULL);
	cfs_pool_drop(h.pool);
	heal_open(&h, false);
	heal_members(&h);
	for (unsigned int i = 0; i < WRITERS; i++) {
		assert_true(writers[i].is_right);
		for (uint64_t k = 0; k < BLOCKS; k++)
			assert_true(
				has(writers[i].first + k, writers[i].value[k]));
	}
	heal_check_clean(&h);
	heal_free(&h);
	cfs_gradual_set(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
