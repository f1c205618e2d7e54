/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rows of long reads that meet, of several threads, while all I/O is stopped
 * again and again: each gets what stands there.  For the thread sanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "heal_fixture.h"
#include "pool/metavolume_watch.h"

#define PIECE_BYTES (12u * HEAL_BLOCK)
#define PIECES      108u
#define THREADS     4u

static struct cfs_view view;
static uint64_t ino;
static uint8_t model[PIECES * PIECE_BYTES];

/* NULL, or its argument if something was wrong. */
static void *read_rows(void *arg)
{
	const uint32_t first = *(const uint32_t *)arg;
	uint8_t *buf = malloc(PIECE_BYTES);

	for (uint32_t n = 0; buf && n < 3 * PIECES; n++) {
		const uint64_t at = (uint64_t)((first + n) % PIECES) *
				    PIECE_BYTES;

		if (cfs_data_read_beside(&view, ino, at, buf, PIECE_BYTES, NULL,
					 NULL) < 0 ||
		    memcmp(buf, model + at, PIECE_BYTES) != 0)
			break;
		if (n + 1 == 3 * PIECES)
			arg = NULL;
	}
	free(buf);
	return arg;
}

static void test_rows(void **state)
{
	/* A short way behind each other, so that they meet. */
	uint32_t first[THREADS] = { 0, 1, 3, PIECES / 2 };
	struct heal_pool h = heal_new(false, sizeof(model));
	struct cfs_volume_rec rec = heal_volume(h.lun);
	struct cfs_metavolume *mv;
	pthread_t threads[THREADS];
	void *failed;

	(void)state;
	heal_write(h.lun, 0, sizeof(model) / HEAL_BLOCK, 1);
	heal_fill(model, sizeof(model), 1);
	cfs_volume_view(h.lun, &rec, &view);
	ino = rec.ino;
	mv = cfs_container_metavolume(view.container);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_rows, &first[i]),
			0);
	for (unsigned int i = 0; i < 50; i++) {
		cfs_metavolume_stop(mv);
		cfs_metavolume_go_on(mv);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
