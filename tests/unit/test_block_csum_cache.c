/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cache of checksums against a plain list of what is in it: the newest so
 * and so many groups, none that was dropped, each with its own checksums.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "block/csum_cache.h"

#include <string.h>

#define MAX    200u
#define SLICES 7u
#define GROUPS 64u
#define STEPS  40000u

static uint64_t key_of(uint64_t lslice, uint64_t group)
{
	return cfs_vaddr(lslice * 1000, group);
}

struct model {
	struct cfs_csum_cache cache;
	/* In the order in which they came. */
	struct {
		uint64_t key, value;
	} list[MAX + 1];
	size_t count;
};

static void model_drop(struct model *m, size_t i)
{
	m->count--;
	memmove(&m->list[i], &m->list[i + 1],
		(m->count - i) * sizeof(m->list[0]));
}

static void add(struct model *m, uint64_t key, uint64_t value)
{
	uint64_t *csums = cfs_csum_cache_add(&m->cache, key);

	assert_non_null(csums);
	for (uint64_t i = 0; i < CFS_TAGS_PER_PAGE; i++)
		csums[i] = value + i;
	for (size_t i = 0; i < m->count; i++)
		if (m->list[i].key == key)
			model_drop(m, i);
	m->list[m->count].key = key;
	m->list[m->count++].value = value;
	if (m->count > MAX)
		model_drop(m, 0);
}

static void drop_slice(struct model *m, uint64_t lslice)
{
	cfs_csum_cache_drop_slice(&m->cache, lslice * 1000);
	for (size_t i = m->count; i > 0; i--)
		if (cfs_vaddr_lslice(m->list[i - 1].key) == lslice * 1000)
			model_drop(m, i - 1);
}

static void drop(struct model *m, uint64_t key)
{
	cfs_csum_cache_drop(&m->cache, key);
	for (size_t i = m->count; i > 0; i--)
		if (m->list[i - 1].key == key)
			model_drop(m, i - 1);
}

static void compare(const struct model *m)
{
	assert_int_equal(m->cache.count, m->count);
	for (uint64_t key = 0; key < SLICES * GROUPS; key++) {
		const uint64_t k = key_of(key / GROUPS, key % GROUPS);
		const uint64_t *csums = cfs_csum_cache_find(&m->cache, k);
		size_t i = 0;

		while (i < m->count && m->list[i].key != k)
			i++;
		assert_int_equal(csums != NULL, i < m->count);
		if (!csums)
			continue;
		assert_int_equal(csums[0], m->list[i].value);
		assert_int_equal(csums[CFS_TAGS_PER_PAGE - 1],
				 m->list[i].value + CFS_TAGS_PER_PAGE - 1);
	}
}

static void test_model(void **state)
{
	static struct model m;
	struct cfs_rng rng;

	(void)state;
	m.cache.count_max = MAX;
	cfs_rng_init(&rng, 1);
	for (unsigned int i = 0; i < STEPS; i++) {
		const uint64_t x = cfs_rng_u64(&rng);
		const uint64_t key = key_of(x % SLICES, (x >> 8) % GROUPS);

		if (x >> 56 < 40)
			drop(&m, key);
		else if (x >> 56 == 255 && (x >> 52 & 15) == 0)
			drop_slice(&m, x % SLICES);
		else
			add(&m, key, x);
		if (i % 50 == 0)
			compare(&m);
	}
	assert_int_equal(m.cache.count_max, MAX);
	compare(&m);
	cfs_csum_cache_done(&m.cache);
	assert_int_equal(m.cache.count, 0);
	assert_null(cfs_csum_cache_find(&m.cache, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
