/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file that is open by way of the manager, at a secondary, and gets no name
 * in the time that its container waits for that: it is gone with its secondary,
 * and whoever has it open is told.  Time is what the test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"

/* ---- a clock that jumps -------------------------------------------------- */

struct cfs_clock *__real_cfs_clock_system(void);
struct cfs_clock *__wrap_cfs_clock_system(void);

static uint64_t ahead_ns; /* atomic */

static uint64_t elapsed_ns(struct cfs_clock *clock)
{
	(void)clock;
	return cfs_clock_elapsed_ns(__real_cfs_clock_system()) +
	       __atomic_load_n(&ahead_ns, __ATOMIC_SEQ_CST);
}

static uint64_t realtime_ns(struct cfs_clock *clock)
{
	(void)clock;
	return cfs_clock_realtime_ns(__real_cfs_clock_system());
}

/* Or before, as it may be. */
static void sleep_until(struct cfs_clock *clock, uint64_t deadline_ns)
{
	(void)clock;
	cfs_clock_sleep_until(
		__real_cfs_clock_system(),
		deadline_ns - __atomic_load_n(&ahead_ns, __ATOMIC_SEQ_CST));
}

struct cfs_clock *__wrap_cfs_clock_system(void)
{
	static const struct cfs_clock_ops ops = {
		.elapsed_ns = elapsed_ns,
		.realtime_ns = realtime_ns,
		.sleep_until = sleep_until,
	};
	static struct cfs_clock clock = { .ops = &ops };

	return &clock;
}

/* ------------------------------------------------------------------- test */

static void test_no_name_in_time(void **state)
{
	struct party secondary;
	struct cfs_fs *fs;
	pthread_t ending;
	struct peer p;
	uint64_t ino = 0;

	(void)state;
	make_manager("3600s");
	(void)make_volume("t", CFS_VOLUME_TREE);
	p = peer_open("t");
	fs = cfs_io_fs(p.v);
	OK(cfs_fs_create(fs, cfs_fs_root_ino(fs), "f", 1, 0644, 0, 0, &ino,
			 &err));
	OK(cfs_fs_open_ino(fs, ino, &err));
	secondary = delegate("t");
	UNTIL(step_of_it() == SERVE_THERE);
	OK(cfs_fs_unlink(fs, cfs_fs_root_ino(fs), "f", 1, &err));
	assert_int_equal(pthread_create(&ending, NULL, end_party, &secondary),
			 0);
	/* It is waited for. */
	UNTIL(step_of_it() != SERVE_THERE);
	OK(cfs_fs_write(fs, ino, 0, "x", 1, NULL, &err));
	__atomic_add_fetch(&ahead_ns, 25 * CFS_NS_PER_S, __ATOMIC_SEQ_CST);
	/* Again, and no less. */
	UNTIL(step_of_it() == SERVE_THERE);
	UNTIL(step_of_it() != SERVE_THERE);
	OK(cfs_fs_write(fs, ino, 0, "y", 1, NULL, &err));
	__atomic_add_fetch(&ahead_ns, 6 * CFS_NS_PER_S, __ATOMIC_SEQ_CST);
	pthread_join(ending, NULL);
	assert_int_equal(step_of_it(), SERVE_LOST);
	assert_int_equal(cfs_fs_write(fs, ino, 0, "z", 1, NULL, &err),
			 -ECONNRESET);
	peer_close(&p);
	/* Of the file nothing is left, and others go on. */
	p = peer_open("t");
	fs = cfs_io_fs(p.v);
	assert_int_equal(cfs_fs_open_ino(fs, ino, &err), -ENOENT);
	peer_close(&p);
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_name_in_time),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
