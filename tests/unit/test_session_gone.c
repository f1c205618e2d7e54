/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An operator says of a host that it is dead, to a manager that has the pool
 * from it: when that is answered all that it kept is free, and before it none
 * of that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"
#include "pool/shared.h"
#include "session/lease.h"
#include "tree/lend.h"
#include "volume/data.h"
#include "volume/pool.h"

#define LUN_NAME "lun"

static void self_of_z(void *arg, struct cfs_identity *ret)
{
	(void)arg;
	memset(ret, 0, sizeof(*ret));
	memset(ret->boot_id, 9, sizeof(ret->boot_id));
	strcpy(ret->host, "z");
	ret->pid = 1000;
	ret->process_start = 1;
}

static bool lives_at_z(void *arg, uint64_t pid, uint64_t process_start)
{
	(void)arg;
	return pid == 1000 && process_start == 1;
}

static void write_to(struct cfs_member *m)
{
	static uint8_t buf[64 * 4096];
	struct cfs_volume_rec rec;

	memset(buf, 'z', sizeof(buf));
	OK(cfs_volume_get(m, CFS_VOLUME_FIRST, &rec, &err));
	OK(cfs_op_begin(m->container, CFS_OP_NORMAL, &err));
	OK(cfs_data_write(m->container, (uint16_t)rec.head_branch, rec.ino, 0,
			  buf, sizeof(buf), &err));
	cfs_op_end(m->container);
}

/* Host z has the pool, writes to it, and is not heard of again. */
static void had_by_z(void)
{
	const struct cfs_identity_source z = {
		.self = self_of_z,
		.is_alive = lives_at_z,
	};
	const struct cfs_devset_options set_opt = { .is_writable = true };
	const struct cfs_holder_options opt = {
		.identity = &z,
		.beats_by_hand = true,
	};
	struct cfs_pool_options pool_opt = { .was_clean = true };
	struct cfs_devset *set;
	struct cfs_holder *holder;
	struct cfs_pool *pool;
	struct cfs_member *m;
	struct cfs_seat seat;

	OK(cfs_devset_open(pool_path, &set_opt, &set, &err));
	OK(cfs_holder_acquire(set, &opt, &holder, &seat, &err));
	OK(cfs_holder_set_period(holder, CFS_NS_PER_S, 2000, &err));
	pool_opt.holder = holder;
	OK(cfs_pool_open(set, seat.epoch, seat.roots, &pool_opt, &pool, &err));
	OK(cfs_pool_member(pool, LUN_NAME, &m, &err));
	write_to(m);
	OK(cfs_container_commit(m->container, &err));
	cfs_pool_drop(pool);
	OK(cfs_holder_release(holder, false, &err));
	cfs_devset_close(set);
}

static uint64_t frozen_slices(void)
{
	struct cfs_slice_counts counts;

	OK(cfs_pool_slice_counts(manager.s->pool, UINT32_MAX, &counts, &err));
	return counts.frozen;
}

static uint64_t frozen_groups(void)
{
	struct cfs_lent_counts lent;
	struct cfs_member *m;

	OK(cfs_pool_member(manager.s->pool, LUN_NAME, &m, &err));
	cfs_container_lent_counts(m->container, &lent);
	return lent.frozen_groups;
}

static int say_gone(const char *host)
{
	struct cfs_manager_info info;
	struct cfs_manager *m;
	int r;

	OK(cfs_manager_find(pool_path, &options, &info, &err));
	OK(cfs_manager_connect(&info, "test", &options, 30000, &m, &err));
	r = cfs_manager_gone(m, 0, host, &err);
	cfs_manager_close(m);
	return r;
}

static void test_free_when_it_is_answered(void **state)
{
	(void)state;
	make_shared_manager("3s");
	(void)make_volume(LUN_NAME, CFS_VOLUME_LUN);
	end(&manager);
	had_by_z();
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	manager.serve = serve_on(manager.s);
	assert_true(frozen_groups() > 0);
	assert_true(frozen_slices() > 0);
	/* That one never had it. */
	assert_int_equal(say_gone("y"), -ENOENT);
	assert_true(frozen_groups() > 0);
	assert_true(frozen_slices() > 0);
	assert_int_equal(say_gone("z"), 0);
	assert_int_equal(frozen_groups(), 0);
	assert_int_equal(frozen_slices(), 0);
	assert_int_equal(say_gone("z"), 0);
	end(&manager);
	/* And it is known to whoever has the pool next. */
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	manager.serve = serve_on(manager.s);
	assert_int_equal(frozen_slices(), 0);
	assert_int_equal(say_gone("z"), -ENOENT);
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_free_when_it_is_answered),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
