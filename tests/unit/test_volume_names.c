/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The index of names: it tells of all snapshots and of nothing else, whatever
 * is done to them, undone or replayed; it is asked instead of the snapshots;
 * and where there is none, or it is damaged, they are found all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"
#include "ondisk/snapname.h"
#include "tree/hooks.h"

/* A record of the small tables, past all that would keep them right; NULL: it
 * goes. */
static void put(struct cfs_member *m, const struct cfs_key *key,
		const void *value, size_t bytes)
{
	struct cfs_tree *tree = cfs_container_tree(m->container,
						   CFS_TREE_TABLE);

	cfs_container_lock(m->container);
	if (value)
		HEAL_OK(cfs_tree_put(tree, key, value, bytes, NULL, &err_));
	else
		HEAL_OK(cfs_tree_del(tree, key, &err_));
	cfs_container_unlock(m->container);
	HEAL_OK(cfs_container_commit(m->container, &err_));
}

static struct cfs_key name_key(uint64_t volume, const char *name)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_NAME, volume), 0,
				 0 } };

	cfs_snapname_words(name, strlen(name), &key.w[1], &key.w[2]);
	return key;
}

/* A snapshot that the index knows nothing of. */
static void put_unnamed(struct cfs_member *m, uint64_t stamp, const char *name)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_SNAPSHOT, 1),
				       stamp, 0 } };
	struct cfs_snapshot_rec rec = { .size_bytes = 1 << 20 };
	uint8_t value[CFS_SNAPSHOT_REC_BYTES_MAX];

	strcpy(rec.name, name);
	put(m, &key, value, cfs_snapshot_rec_pack(&rec, value));
}

static void put_place(struct cfs_member *m, const char *name, uint64_t place)
{
	const struct cfs_snapname_rec rec = { .count = 1, .places = { place } };
	const struct cfs_key key = name_key(CFS_VOLUME_FIRST, name);
	uint8_t value[CFS_VALUE_BYTES_MAX];

	put(m, &key, value, cfs_snapname_rec_pack(&rec, value));
}

/* Returns the first of @count that are nobody's. */
static uint64_t raise_stamps(struct cfs_member *m, unsigned int count)
{
	uint64_t first;

	HEAL_OK(cfs_op_begin(m->container, CFS_OP_NORMAL, &err_));
	first = cfs_container_stamp(m->container);
	for (unsigned int i = 0; i < count; i++)
		HEAL_OK(cfs_container_raise_stamp(m->container, &err_));
	cfs_op_end(m->container);
	HEAL_OK(cfs_container_commit(m->container, &err_));
	return first;
}

static uint64_t stamp_of(struct cfs_member *m, const char *name)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;

	HEAL_OK(cfs_snapshot_find(m, CFS_VOLUME_FIRST, name, &stamp, &rec,
				  &err_));
	return stamp;
}

/* As before there was an index: the root says nothing of one. */
static void forget_index(struct heal_pool *h)
{
	cfs_container_lock(h->lun->container);
	cfs_container_set_names_whole(h->lun->container, false);
	cfs_container_unlock(h->lun->container);
	put_place(h->lun, "left over", 99 << 16 | 1);
	heal_reopen(h);
	assert_false(heal_names_are_whole(h->lun));
}

static void crash(struct heal_pool *h)
{
	cfs_pool_drop(h->pool);
	heal_open(h, false);
	heal_members(h);
}

static void end(struct heal_pool *h)
{
	assert_true(heal_names_are_whole(h->lun));
	heal_check_clean(h);
	heal_free(h);
}

/* Take, rename, remove, roll back, and a clone with snapshots of its own. */
static void use(struct heal_pool *h)
{
	static const char *const gone[] = { "b", "a-rather-long-name-2" };
	const struct cfs_snapshot_name clones[] = {
		{ h->lun, 2, "a" },
		{ h->lun, 2, "of the clone" },
	};
	struct cfs_member *m = h->lun;
	uint64_t freed[2];

	heal_snapshot(m, "a");
	heal_snapshot(m, "b");
	heal_snapshot(m, "a-rather-long-name-1");
	heal_snapshot(m, "a-rather-long-name-2");
	HEAL_OK(cfs_snapshot_rename(m, CFS_VOLUME_FIRST, "a", "z", &err_));
	HEAL_OK(cfs_snapshot_hold(m, CFS_VOLUME_FIRST, "z", true, &err_));
	HEAL_OK(cfs_snapshot_remove_many(m, CFS_VOLUME_FIRST, gone, 2, freed,
					 &err_));
	HEAL_OK(cfs_snapshot_rollback(m, CFS_VOLUME_FIRST, "z", "save", &err_));
	HEAL_OK(cfs_snapshot_clone(m, CFS_VOLUME_FIRST, "save", "c", &err_));
	assert_int_equal(cfs_snapshot_take(&clones[1], 1, NULL, NULL), -EINVAL);
	HEAL_OK(cfs_snapshot_take(&clones[0], 1, NULL, &err_));
}

static void assert_used(struct cfs_member *m)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;

	assert_true(heal_has_snapshot(m, "z"));
	assert_true(heal_has_snapshot(m, "save"));
	assert_true(heal_has_snapshot(m, "a-rather-long-name-1"));
	assert_false(heal_has_snapshot(m, "a"));
	assert_false(heal_has_snapshot(m, "b"));
	assert_false(heal_has_snapshot(m, "a-rather-long-name-2"));
	HEAL_OK(cfs_snapshot_find(m, 2, "a", &stamp, &rec, &err_));
	assert_int_equal(cfs_snapshot_find(m, 2, "z", &stamp, &rec, NULL),
			 -ENOENT);
}

static void test_used(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);

	(void)state;
	assert_true(heal_names_are_whole(h.lun));
	use(&h);
	assert_used(h.lun);
	heal_reopen(&h);
	assert_true(heal_names_are_whole(h.lun));
	assert_used(h.lun);
	HEAL_OK(cfs_volume_remove(h.lun, 2, true, &err_));
	heal_check_clean(&h);
	heal_reopen(&h);
	end(&h);
}

/* From the log, which has the snapshots only. */
static void test_replayed(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);

	(void)state;
	HEAL_OK(cfs_container_commit(h.lun->container, &err_));
	use(&h);
	crash(&h);
	assert_true(heal_names_are_whole(h.lun));
	assert_used(h.lun);
	end(&h);
}

/* All or none: what the abort undoes is not in the index either. */
static void test_undone(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);
	const struct cfs_snapshot_name names[] = {
		{ h.lun, CFS_VOLUME_FIRST, "new" },
		{ h.lun, CFS_VOLUME_FIRST, "there" },
	};

	(void)state;
	heal_snapshot(h.lun, "there");
	assert_int_equal(cfs_snapshot_take(names, 2, NULL, NULL), -EEXIST);
	assert_false(heal_has_snapshot(h.lun, "new"));
	assert_true(heal_has_snapshot(h.lun, "there"));
	heal_check_clean(&h);
	heal_snapshot(h.lun, "new");
	assert_int_equal(cfs_snapshot_rename(h.lun, CFS_VOLUME_FIRST, "new",
					     "there", NULL),
			 -EEXIST);
	heal_check_clean(&h);
	heal_reopen(&h);
	end(&h);
}

/* What it does not know is not there: nobody looks through the snapshots. */
static void test_asked(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);
	struct heal_seen *seen;

	(void)state;
	heal_snapshot(h.lun, "a");
	put_unnamed(h.lun, stamp_of(h.lun, "a") - 1, "unnamed");
	assert_false(heal_has_snapshot(h.lun, "unnamed"));
	assert_false(heal_has_snapshot(h.lun, "unnamed"));
	seen = heal_check(&h);
	assert_int_equal(seen->count, 1);
	assert_string_equal(seen->problems[0].kind, "name");
	assert_non_null(strstr(seen->problems[0].text, "is missing"));
	free(seen);
	/* Without it they are looked through. */
	forget_index(&h);
	assert_true(heal_has_snapshot(h.lun, "unnamed"));
	assert_true(heal_has_snapshot(h.lun, "unnamed"));
	heal_check_clean(&h);
	heal_free(&h);
}

/* What it has too much is found by check, and by nobody else. */
static void test_too_much(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);
	struct heal_seen *seen;

	(void)state;
	heal_snapshot(h.lun, "a");
	put_place(h.lun, "none", cfs_snapname_place(1, 1));
	put_place(h.lun, "other", cfs_snapname_place(1, stamp_of(h.lun, "a")));
	put_place(h.lun, "nowhere", cfs_snapname_place(77, 1));
	assert_false(heal_has_snapshot(h.lun, "none"));
	assert_false(heal_has_snapshot(h.lun, "other"));
	assert_false(heal_has_snapshot(h.lun, "nowhere"));
	seen = heal_check(&h);
	assert_int_equal(seen->count, 3);
	assert_non_null(strstr(seen->problems[0].text, "is not there"));
	free(seen);
	heal_snapshot(h.lun, "none");
	assert_true(heal_has_snapshot(h.lun, "none"));
	heal_free(&h);
}

/* Records of it that cannot be read, or are not there, end it; nothing else. */
static void test_damaged(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);
	struct cfs_key key = name_key(CFS_VOLUME_FIRST, "a");

	(void)state;
	heal_snapshot(h.lun, "a");
	heal_snapshot(h.lun, "b");
	put(h.lun, &key, "odd", 3);
	assert_true(heal_has_snapshot(h.lun, "a"));
	assert_false(heal_names_are_whole(h.lun));
	heal_snapshot(h.lun, "c");
	assert_true(heal_names_are_whole(h.lun));
	heal_check_clean(&h);
	key = name_key(CFS_VOLUME_FIRST, "b");
	put(h.lun, &key, NULL, 0);
	HEAL_OK(cfs_volume_remove_whole(h.lun, CFS_VOLUME_FIRST, &err_));
	assert_false(heal_names_are_whole(h.lun));
	heal_free(&h);
}

/* A pool of before it: the next snapshot makes it. */
static void test_made(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);
	uint64_t from;
	char name[32];

	(void)state;
	use(&h);
	forget_index(&h);
	assert_used(h.lun);
	heal_check_clean(&h);
	HEAL_OK(cfs_snapshot_rename(h.lun, CFS_VOLUME_FIRST, "save", "saved",
				    &err_));
	HEAL_OK(cfs_snapshot_rename(h.lun, CFS_VOLUME_FIRST, "saved", "save",
				    &err_));
	assert_false(heal_names_are_whole(h.lun));
	/* In several batches. */
	from = raise_stamps(h.lun, 2200);
	for (unsigned int i = 0; i < 2200; i++) {
		snprintf(name, sizeof(name), "many-%u", i * 7919);
		put_unnamed(h.lun, from + i, name);
	}
	crash(&h);
	assert_false(heal_names_are_whole(h.lun));
	heal_snapshot(h.lun, "next");
	assert_true(heal_names_are_whole(h.lun));
	assert_used(h.lun);
	assert_true(heal_has_snapshot(h.lun, "many-0"));
	assert_true(heal_has_snapshot(h.lun, name));
	assert_false(heal_has_snapshot(h.lun, "left over"));
	heal_check_clean(&h);
	heal_reopen(&h);
	assert_true(heal_has_snapshot(h.lun, name));
	end(&h);
}

/* A crash before the commit behind the making: it is made once more. */
static void test_made_again(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(1) << 20);

	(void)state;
	use(&h);
	forget_index(&h);
	heal_snapshot(h.lun, "next");
	crash(&h);
	assert_false(heal_names_are_whole(h.lun));
	assert_used(h.lun);
	assert_true(heal_has_snapshot(h.lun, "next"));
	heal_check_clean(&h);
	heal_snapshot(h.lun, "another");
	end(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used),
		cmocka_unit_test(test_replayed),
		cmocka_unit_test(test_undone),
		cmocka_unit_test(test_asked),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
