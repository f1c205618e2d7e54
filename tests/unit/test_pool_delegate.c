/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A container that another process owns: it goes, is worked on, and comes home
 * by a return, a death, or a silence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "delegate_fixture.h"
#include "tree/container_rest.h"
#include "tree/space.h"

#define BIG 1024u /* blocks of the LUN */

static struct cfs_member *make(struct manager *m)
{
	struct cfs_member *lun;

	HEAL_OK(cfs_pool_container_make(m->pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &lun, &err_));
	HEAL_OK(cfs_volume_make_first(lun, CFS_VOLUME_LUN, UINT64_C(64) << 20,
				      &err_));
	return lun;
}

static void begin(struct shared_pool *p, struct manager *a, bool is_shared,
		  unsigned int devices)
{
	*p = delegate_pool_new(is_shared, devices);
	manager_init(p, a, "a", 1, NO_DEVICE, NULL);
	manager_open(p, a, NULL);
	assert_int_equal(lun_write(make(a), 0, 8, 1), 0);
}

static void sync_lun(struct cfs_member *lun)
{
	HEAL_OK(cfs_container_sync(lun->container, &err_));
}

/* ---- there and back ------------------------------------------------------ */

static void return_all(bool is_shared, unsigned int devices)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_slice_counts before, after;
	struct cfs_member *lun;
	struct cfs_volume_rec rec;
	struct cfs_pool_rec pool_rec;
	struct shared_pool p;
	struct secondary s;
	struct manager a;
	uint64_t slices;

	begin(&p, &a, is_shared, devices);
	secondary_begin(&p, &s, &a, NULL);
	/* Nobody else opens it; a look at the whole pool passes it over. */
	assert_int_equal(cfs_pool_member(a.pool, "lun", &lun, &err), -EREMOTE);
	assert_non_null(strstr(err.msg, "lun is served by process 1 on s"));
	manager_check(&a);
	assert_int_equal(heal_read(s.lun, 0, 8, 1), 0);
	/* More than was lent ahead. */
	for (unsigned int i = 0; i < 24; i++)
		assert_int_equal(lun_write(s.lun, 100 + i * 256, 256, 10 + i),
				 0);
	sync_lun(s.lun);
	assert_true(s.asked > 1);
	for (unsigned int i = 0; i < 24; i++)
		assert_int_equal(heal_read(s.lun, 100 + i * 256, 256, 10 + i),
				 0);
	/* What stands in the tables of the pool is not its to change. */
	HEAL_OK(cfs_pool_rec_get(s.pool, &pool_rec, &err_));
	assert_int_equal(cfs_pool_rec_set(s.pool, &pool_rec, &err), -EBUSY);
	assert_int_equal(cfs_pool_container_make(s.pool, "x", CFS_VOLUME_LUN, 0,
						 CFS_OBJECT_LIVE, &lun, &err),
			 -EBUSY);
	/* Slices go back while it is there. */
	rec = heal_volume(s.lun);
	HEAL_OK(cfs_op_begin(s.lun->container, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_data_punch(s.lun->container, (uint16_t)rec.head_branch,
			       rec.ino, 0, UINT64_C(64) << 20, &err_));
	cfs_op_end(s.lun->container);
	HEAL_OK(cfs_pool_slice_counts(a.pool, UINT32_MAX, &before, &err_));
	HEAL_OK(cfs_pool_reclaim(s.pool, s.lun, &slices, &err_));
	HEAL_OK(cfs_pool_slice_counts(a.pool, UINT32_MAX, &after, &err_));
	assert_true(slices > 10);
	assert_int_equal(after.free, before.free + slices * devices);
	assert_int_equal(lun_write(s.lun, 0, 64, 99), 0);
	secondary_close(&s);
	HEAL_OK(cfs_pool_delegation_end(a.pool, s.container, s.epoch, &err_));
	assert_int_equal(heal_read(manager_lun(&a), 0, 64, 99), 0);
	manager_check(&a);
	/* Again, under another number. */
	secondary_begin(&p, &s, &a, NULL);
	assert_int_equal(heal_read(s.lun, 0, 64, 99), 0);
	secondary_close(&s);
	HEAL_OK(cfs_pool_delegation_end(a.pool, s.container, s.epoch, &err_));
	manager_close(&a);
	shared_free(&p);
}

static void test_return(void **state)
{
	(void)state;
	return_all(false, 1);
	return_all(false, 2);
	return_all(true, 1);
	return_all(true, 2);
}

/* ---- the primary goes, the secondary stays ------------------------------- */

static void survive(bool is_shared, bool is_clean)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_delegation d;
	struct cfs_member *lun;
	struct shared_pool p;
	struct secondary s;
	struct manager a, b;

	begin(&p, &a, is_shared, 1);
	secondary_begin(&p, &s, &a, NULL);
	assert_int_equal(lun_write(s.lun, 0, 8, 2), 0);
	sync_lun(s.lun);
	s.primary = NULL;
	if (is_clean)
		manager_close(&a);
	else
		manager_drop(&a);
	/* With nobody there it goes on, with a look at its gravestone. */
	s.has_lease = false;
	assert_int_equal(lun_write(s.lun, 8, 8, 3), 0);
	sync_lun(s.lun);
	manager_init(&p, &b, "a", 1, NO_DEVICE, NULL);
	b.host.self.pid = b.host.alive_pid = 2000;
	manager_open(&p, &b, NULL);
	assert_int_equal(cfs_pool_member(b.pool, "lun", &lun, &err), -EREMOTE);
	HEAL_OK(cfs_pool_delegation_find(b.pool, s.container, &d, &err_));
	assert_int_equal(d.epoch, s.epoch);
	assert_string_equal(d.rec.address, "unix:/nowhere");
	s.primary = &b;
	s.has_lease = true;
	for (unsigned int i = 0; i < 24; i++)
		assert_int_equal(lun_write(s.lun, 16 + i * 256, 256, 10 + i),
				 0);
	HEAL_OK(cfs_container_commit(s.lun->container, &err_));
	secondary_close(&s);
	HEAL_OK(cfs_pool_delegation_end(b.pool, s.container, s.epoch, &err_));
	assert_int_equal(heal_read(manager_lun(&b), 0, 8, 2), 0);
	assert_int_equal(heal_read(manager_lun(&b), 8, 8, 3), 0);
	assert_int_equal(heal_read(manager_lun(&b), 16, 256, 10), 0);
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

static void test_primary_dies(void **state)
{
	(void)state;
	survive(false, false);
	survive(false, true);
	survive(true, false);
	survive(true, true);
}

/* ---- the secondary dies -------------------------------------------------- */

static uint64_t frozen_slices(struct manager *m)
{
	struct cfs_slice_counts counts;

	HEAL_OK(cfs_pool_slice_counts(m->pool, UINT32_MAX, &counts, &err_));
	return counts.frozen;
}

/* Killed, and known to be: in place, from its log, and nothing is frozen. */
static void test_gone(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct shared_pool p;
		struct secondary s;
		struct manager a;

		begin(&p, &a, i == 1, 1);
		secondary_begin(&p, &s, &a, NULL);
		assert_int_equal(lun_write(s.lun, 0, 200, 2), 0);
		sync_lun(s.lun);
		secondary_drop(&s);
		HEAL_OK(cfs_pool_delegation_end(a.pool, s.container, s.epoch,
						&err_));
		assert_int_equal(heal_read(manager_lun(&a), 0, 200, 2), 0);
		assert_int_equal(frozen_slices(&a), 0);
		manager_check(&a);
		manager_close(&a);
		shared_free(&p);
	}
}

/*
 * Silent: the primary takes over, in new places; the secondary wakes up and
 * learns of it at its next sync, and by a look; when it is gone what it had
 * comes back.
 */
static void silence(bool is_shared, unsigned int devices)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_delegation d;
	struct shared_pool p;
	struct secondary s;
	struct manager a, b;

	begin(&p, &a, is_shared, devices);
	secondary_begin(&p, &s, &a, NULL);
	assert_int_equal(lun_write(s.lun, 0, 200, 2), 0);
	HEAL_OK(cfs_container_commit(s.lun->container, &err_));
	assert_int_equal(lun_write(s.lun, 200, 16, 3), 0);
	sync_lun(s.lun);
	assert_int_equal(lun_write(s.lun, 216, 16, 4), 0);
	s.has_lease = false;
	HEAL_OK(cfs_container_look(s.lun->container, &err_));
	HEAL_OK(cfs_pool_delegation_seal(a.pool, s.container, s.epoch, &err_));
	assert_int_equal(heal_read(manager_lun(&a), 0, 200, 2), 0);
	assert_int_equal(heal_read(manager_lun(&a), 200, 16, 3), 0);
	assert_int_equal(lun_write(manager_lun(&a), 0, 16, 5), 0);
	HEAL_OK(cfs_container_commit(manager_lun(&a)->container, &err_));
	assert_true(frozen_slices(&a) > 0);
	manager_check(&a);
	/* The sleeper. */
	assert_int_equal(cfs_container_sync(s.lun->container, &err), -ESTALE);
	assert_int_equal(cfs_container_look(s.lun->container, &err), -ESTALE);
	assert_int_equal(cfs_pool_delegation_lend(
				 a.pool, s.container, s.epoch, 1,
				 &(struct cfs_lent_slices){ .free_slices = 0 },
				 &err),
			 -ESTALE);
	secondary_drop(&s);
	assert_int_equal(
		cfs_pool_delegation_find(a.pool, s.container, &d, NULL),
		-ENOENT);
	/* The next primary still knows, and takes nothing of it in use. */
	manager_close(&a);
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	assert_int_equal(heal_read(manager_lun(&b), 0, 16, 5), 0);
	assert_true(frozen_slices(&b) > 0);
	HEAL_OK(cfs_pool_delegation_end(b.pool, s.container, s.epoch, &err_));
	HEAL_OK(cfs_pool_member_close(b.pool, manager_lun(&b), &err_));
	assert_int_equal(heal_read(manager_lun(&b), 200, 16, 3), 0);
	assert_int_equal(frozen_slices(&b), 0);
	manager_check(&b);
	/* And may go again. */
	secondary_begin(&p, &s, &b, NULL);
	assert_int_equal(heal_read(s.lun, 0, 16, 5), 0);
	secondary_close(&s);
	HEAL_OK(cfs_pool_delegation_end(b.pool, s.container, s.epoch, &err_));
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

static void test_silent(void **state)
{
	(void)state;
	silence(false, 1);
	silence(false, 2);
	silence(true, 1);
	silence(true, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_primary_dies),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
