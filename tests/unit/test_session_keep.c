/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a mount asks of a session: whether what it read may be kept, and locks
 * of programs; in the process that holds the pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lease_fixture.h"
#include "session/serve.h"
#include "session/session_priv.h"
#include "volume/fs.h"

static char pool_path[128], run_path[128];
static struct cfs_session *session;
static struct cfs_serve *serve;
static struct cfs_err err;

static int make_pool(void **state)
{
	const char *const device = pool_path;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(64) << 20,
		.is_forced = true,
	};
	const struct cfs_session_options session_opt = {
		.is_writable = true,
		.must_hold = true,
		.wait_seconds = 5,
	};
	const struct cfs_serve_options serve_opt = {
		.run_directory = run_path,
	};
	struct cfs_format_result result;
	int r;

	if (fixture_setup(state) < 0)
		return -1;
	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", fixture_dir);
	snprintf(run_path, sizeof(run_path), "%s/run", fixture_dir);
	r = cfs_pool_format(&opt, &result, &err);
	if (r == 0)
		r = cfs_session_open(pool_path, &session_opt, &session, &err);
	if (r == 0)
		r = cfs_session_create(session, "t", CFS_VOLUME_TREE, 0, 0,
				       false, &err);
	if (r == 0)
		r = cfs_serve_new(session, NULL, &serve, &err);
	if (r == 0)
		r = cfs_serve_start(serve, &serve_opt, &err);
	if (r < 0)
		print_error("%s\n", err.msg);
	return r;
}

static int close_pool(void **state)
{
	int r;

	cfs_serve_free(serve);
	r = cfs_session_close(session, &err);
	return fixture_teardown(state) < 0 ? -1 : r;
}

static struct cfs_io_volume *open_tree(const char *snap)
{
	struct cfs_io_volume *v;

	if (cfs_io_open(session, "t", snap, !snap, &v, &err) < 0)
		fail_msg("%s", err.msg);
	return v;
}

static void count(void *arg)
{
	++*(int *)arg;
}

/* The whole tree is asked for at the first call. */
static void use(struct cfs_io_volume *v)
{
	struct cfs_inode inode;

	assert_int_equal(cfs_fs_getattr(cfs_io_fs(v),
					cfs_fs_root_ino(cfs_io_fs(v)), &inode,
					&err),
			 0);
}

/* ---- keeping --------------------------------------------------------------
 */

static void test_keep(void **state)
{
	struct cfs_io_volume *a = open_tree(NULL), *b;
	uint64_t serial = 0, again = 0, ns = 0;
	int calls = 0;
	const struct cfs_io_watch watch = { .changes = count, .arg = &calls };

	(void)state;
	use(a);
	assert_int_equal(cfs_io_watch(a, &watch, &err), 0);
	assert_true(cfs_io_may_keep(a, &serial, &ns));
	assert_true(ns > 0);
	assert_true(cfs_io_may_keep(a, &again, &ns));
	assert_int_equal(serial, again);
	assert_int_equal(calls, 0);
	/* Somebody else has it open: told, before it begins. */
	b = open_tree(NULL);
	assert_int_equal(calls, 1);
	assert_false(cfs_io_may_keep(a, &again, &ns));
	assert_false(cfs_io_may_keep(b, &again, &ns));
	assert_int_equal(cfs_io_watch(b, &watch, &err), -EBUSY);
	cfs_io_close(b);
	assert_true(cfs_io_may_keep(a, &again, &ns));
	assert_true(again != serial);
	/* Nobody is told any more. */
	assert_int_equal(cfs_io_watch(a, NULL, &err), 0);
	b = open_tree(NULL);
	assert_int_equal(calls, 1);
	cfs_io_close(b);
	cfs_io_close(a);
}

/* Another client wants a part of the tree: the whole goes back. */
static void test_keep_recalled(void **state)
{
	struct cfs_lease_client_config config = {
		.hello = { .name = "another" },
	};
	struct cfs_io_volume *a = open_tree(NULL);
	struct cfs_volume_place place;
	struct cfs_leaser *leaser;
	struct cfs_held *held;
	uint64_t serial = 0, ns = 0;
	int calls = 0;
	const struct cfs_io_watch watch = { .changes = count, .arg = &calls };
	const struct cfs_conn_wait wait = {
		.timeout_ns = 20 * CFS_NS_PER_S,
	};
	struct cfs_lease_request req = {
		.mode = CFS_LOCK_IX,
		.flags = CFS_MSG_LOCK_WAIT | CFS_MSG_LOCK_RECALLABLE,
	};

	(void)state;
	use(a);
	assert_int_equal(cfs_io_watch(a, &watch, &err), 0);
	assert_true(cfs_io_may_keep(a, &serial, &ns));
	assert_int_equal(
		cfs_session_place_find(session, "t", NULL, &place, &err), 0);
	req.resource = (struct cfs_lock_resource){
		.container = place.container,
		.volume = place.volume,
		.ino = UINT64_MAX,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};
	assert_int_equal(cfs_serve_add_client(serve, &config, NULL, &wait,
					      &leaser, &err),
			 0);
	assert_int_equal(cfs_leaser_acquire(leaser, &req, &wait, &held, &err),
			 0);
	assert_int_equal(calls, 1); /* before it was granted */
	assert_false(cfs_io_may_keep(a, &serial, &ns));
	cfs_leaser_release(held);
	cfs_serve_drop_client(serve, leaser);
	cfs_io_close(a);
}

/* ---- locks ----------------------------------------------------------------
 */

static int lock(struct cfs_io_volume *v, uint64_t key, uint64_t offset,
		uint64_t length, bool is_exclusive, struct cfs_held **ret)
{
	const struct cfs_io_lock_want want = {
		.ino = 7,
		.offset_bytes = offset,
		.length_bytes = length,
		.is_exclusive = is_exclusive,
		.key = key,
	};

	return cfs_io_lock(v, &want, ret, &err);
}

static void test_locks(void **state)
{
	struct cfs_io_volume *v = open_tree(NULL);
	struct cfs_held *a, *b, *c, *d;

	(void)state;
	assert_int_equal(lock(v, 1, 100, 100, true, &a), 0);
	assert_int_equal(lock(v, 2, 150, 1, false, &b), -EBUSY);
	assert_int_equal(lock(v, 2, 0, 100, true, &b), 0);
	assert_int_equal(lock(v, 2, 200, UINT64_MAX - 200, true, &c), 0);
	assert_int_equal(lock(v, 1, 150, 10, true, &d), 0); /* its own */
	cfs_io_unlock(d);
	cfs_io_unlock(a);
	assert_int_equal(lock(v, 3, 120, 10, false, &a), 0);
	assert_int_equal(lock(v, 4, 120, 10, false, &d), 0);
	cfs_io_unlock(a);
	cfs_io_unlock(b);
	cfs_io_unlock(c);
	cfs_io_unlock(d);
	cfs_io_unlock(NULL);
	cfs_io_close(v);
}

/* They do not stand against reading and writing, nor one kind to the other. */
static void test_locks_apart(void **state)
{
	const struct cfs_io_lock_want file = {
		.ino = 7,
		.kind = CFS_IO_LOCK_FILE,
		.length_bytes = UINT64_MAX,
		.is_exclusive = true,
		.key = 9,
	};
	struct cfs_io_volume *v = open_tree(NULL);
	struct cfs_held *a, *b;
	uint64_t ino = 0;

	(void)state;
	assert_int_equal(lock(v, 1, 0, UINT64_MAX, true, &a), 0);
	assert_int_equal(cfs_io_lock(v, &file, &b, &err), 0);
	assert_int_equal(cfs_fs_create(cfs_io_fs(v),
				       cfs_fs_root_ino(cfs_io_fs(v)), "f", 1,
				       0644, 0, 0, &ino, &err),
			 0);
	cfs_io_unlock(a);
	cfs_io_unlock(b);
	cfs_io_close(v);
}

static void test_locks_of_snapshot(void **state)
{
	const struct cfs_snap_name name = { "t", "s" };
	struct cfs_io_volume *v;
	struct cfs_held *a;

	(void)state;
	assert_int_equal(cfs_session_snap_take(session, &name, 1, NULL, &err),
			 0);
	v = open_tree("s");
	assert_int_equal(lock(v, 1, 0, 10, true, &a), -ENOTSUP);
	cfs_io_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_recalled),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_locks_apart),
		cmocka_unit_test(test_locks_of_snapshot),
	};

	return cmocka_run_group_tests(tests, make_pool, close_pool);
}
