/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An owner and its clients in threads: each writes its own part of a LUN, syncs
 * and folds while the others do; a third client comes and dies, again and
 * again, and is sealed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "client_fixture.h"

#define PART_BYTES (UINT64_C(1) << 20)
#define PARTS      4u
#define ROUNDS     60u

struct worker {
	struct heal_pool *h;
	unsigned int part;
	uint64_t ino;
	struct client cl; /* not the owner's */
	uint32_t seeds[PART_BYTES / HEAL_BLOCK];
};

static void write_one(struct worker *w, struct cfs_container *c,
		      struct cfs_rng *rng)
{
	uint8_t buf[4 * HEAL_BLOCK];
	uint32_t at = (uint32_t)cfs_rng_below(rng, PART_BYTES / HEAL_BLOCK - 4);
	uint32_t n = 1 + (uint32_t)cfs_rng_below(rng, 4);

	for (uint32_t i = 0; i < n; i++) {
		w->seeds[at + i] = (uint32_t)cfs_rng_u64(rng) | 1;
		heal_fill(buf + (size_t)i * HEAL_BLOCK, HEAL_BLOCK,
			  w->seeds[at + i]);
	}
	HEAL_OK(client_write(c, w->ino,
			     w->part * PART_BYTES + (uint64_t)at * HEAL_BLOCK,
			     buf, (size_t)n * HEAL_BLOCK, &err_));
}

static void must_have(struct worker *w, struct cfs_container *c)
{
	uint8_t got[HEAL_BLOCK], want[HEAL_BLOCK];

	for (uint32_t i = 0; i < PART_BYTES / HEAL_BLOCK; i++) {
		memset(want, 0, sizeof(want));
		if (w->seeds[i])
			heal_fill(want, sizeof(want), w->seeds[i]);
		HEAL_OK(client_read(c, CFS_STAMP_HEAD, w->ino,
				    w->part * PART_BYTES +
					    (uint64_t)i * HEAL_BLOCK,
				    got, sizeof(got), &err_));
		assert_memory_equal(got, want, sizeof(want));
	}
}

static void *owner_thread(void *arg)
{
	struct worker *w = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, 1);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		write_one(w, w->h->lun->container, &rng);
		if (i % 4 == 0)
			HEAL_OK(cfs_container_sync(w->h->lun->container,
						   &err_));
		if (i % 16 == 0)
			must_have(w, w->h->lun->container);
	}
	return NULL;
}

static void *client_thread(void *arg)
{
	struct worker *w = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, w->part);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		write_one(w, w->cl.c, &rng);
		if (i % 3 == 0)
			HEAL_OK(cfs_container_sync(w->cl.c, &err_));
		if (i % 8 == 7)
			HEAL_OK(cfs_container_fold(w->cl.c, &err_));
		if (i % 16 == 0)
			must_have(w, w->cl.c);
	}
	HEAL_OK(cfs_container_fold(w->cl.c, &err_));
	return NULL;
}

static void *mortal_thread(void *arg)
{
	struct worker *w = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, 99);
	for (unsigned int i = 0; i < ROUNDS / 8; i++) {
		client_new(&w->cl, w->h, w->h->lun);
		for (unsigned int k = 0; k < 6; k++)
			write_one(w, w->cl.c, &rng);
		HEAL_OK(cfs_container_sync(w->cl.c, &err_));
		client_kill(&w->cl);
		if (i & 1)
			HEAL_OK(cfs_container_client_seal(w->cl.owner, w->cl.id,
							  false, NULL, &err_));
		HEAL_OK(cfs_container_client_gone(w->cl.owner, w->cl.id, NULL,
						  &err_));
		must_have(w, w->h->lun->container);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct heal_pool h = heal_new(false, PARTS * PART_BYTES);
	struct worker *w = calloc(PARTS, sizeof(*w));
	pthread_t threads[PARTS];

	(void)state;
	assert_non_null(w);
	for (unsigned int i = 0; i < PARTS; i++) {
		w[i].h = &h;
		w[i].part = i;
		w[i].ino = heal_volume(h.lun).ino;
		if (i == 1 || i == 2)
			client_new(&w[i].cl, &h, h.lun);
	}
	assert_int_equal(pthread_create(&threads[0], NULL, owner_thread, &w[0]),
			 0);
	for (unsigned int i = 1; i < 3; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, client_thread, &w[i]),
			0);
	assert_int_equal(
		pthread_create(&threads[3], NULL, mortal_thread, &w[3]), 0);
	for (unsigned int i = 0; i < PARTS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < PARTS; i++)
		must_have(&w[i], h.lun->container);
	heal_check_clean(&h);
	client_close(&w[1].cl);
	client_close(&w[2].cl);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
