/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a process looks at in a pool that it holds and serves does not go away
 * under it, when others have it removed or take it: its own calls wait for
 * those, and they for it, as requests do for each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"
#include "session/stream.h"

#define A_WHILE_NS (200 * CFS_NS_PER_MS) /* what goes on has come to its end */

/* Is it over, within a while?  That it is not must be so for ever. */
static bool is_over_soon(const bool *is_over)
{
	const uint64_t late = now_ns() + A_WHILE_NS;

	while (!__atomic_load_n(is_over, __ATOMIC_SEQ_CST) && now_ns() < late)
		usleep(1000);
	return __atomic_load_n(is_over, __ATOMIC_SEQ_CST);
}

/* A LUN with a snapshot and a clone: two volumes. */
static void make_two(void)
{
	const struct cfs_snap_name name = { "t", "a" };

	(void)make_volume("t", CFS_VOLUME_LUN);
	OK(cfs_session_snap_take(manager.s, &name, 1, NULL, &err));
	OK(cfs_session_snap_clone(manager.s, "t", "a", "c", &err));
}

/* ---- somebody takes it from a list that is being told -------------------- */

struct thief {
	pthread_t thread;
	int (*take)(struct thief *t);
	struct party secondary;
	bool has_begun, is_over, was_quicker;
	int r;
	unsigned int told;
};

static int take_it(struct thief *t)
{
	return try_delegate("t", 60, &t->secondary);
}

static int remove_it(struct thief *t)
{
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_remote *remote;
	int r;

	(void)t;
	r = cfs_remote_connect(cfs_serve_address(manager.serve),
			       cfs_devset_label(manager.s->set, 0)->pool_uuid,
			       &options, 30000, &remote, &why);
	if (r < 0)
		return r;
	r = cfs_remote_remove_volume(remote, "t", true, &why);
	cfs_remote_close(remote);
	return r;
}

static void *steal(void *arg)
{
	struct thief *t = arg;

	t->r = t->take(t);
	__atomic_store_n(&t->is_over, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* The first of two: behind it the container is looked at again. */
static int on_volume(void *arg, const struct cfs_volume_info *info)
{
	struct thief *t = arg;

	(void)info;
	if (t->told++ > 0)
		return 0;
	t->has_begun = pthread_create(&t->thread, NULL, steal, t) == 0;
	t->was_quicker = is_over_soon(&t->is_over);
	return 0;
}

static void list_meanwhile(struct thief *t)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r = cfs_session_volumes_brief(manager.s, "t", on_volume, t, &why);

	assert_true(t->has_begun);
	pthread_join(t->thread, NULL);
	assert_int_equal(r, 0);
	assert_false(t->was_quicker);
	assert_int_equal(t->told, 2);
	assert_int_equal(t->r, 0);
}

static void test_not_taken_while_it_is_listed(void **state)
{
	struct thief t = { .take = take_it };

	(void)state;
	make_manager("600s");
	make_two();
	list_meanwhile(&t);
	end(&t.secondary);
	end(&manager);
}

static void test_not_removed_while_it_is_listed(void **state)
{
	struct thief t = { .take = remove_it };

	(void)state;
	make_manager("600s");
	make_two();
	list_meanwhile(&t);
	end(&manager);
}

/* ---- each call ----------------------------------------------------------- */

static struct cfs_io_volume *tree; /* open here */

static int no_volume(void *arg, const struct cfs_volume_info *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_snapshot(void *arg, const struct cfs_snapshot_info *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_slice(void *arg, const struct cfs_slice_info *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_device(void *arg, const struct cfs_device_info *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_damage(void *arg, const struct cfs_damage *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_problem(void *arg, const struct cfs_problem *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_diff(void *arg, const struct cfs_diff_item *item)
{
	(void)arg;
	(void)item;
	return 0;
}

static int no_bytes(void *arg, const void *bytes, size_t n, struct cfs_err *e)
{
	(void)arg;
	(void)bytes;
	(void)n;
	(void)e;
	return 0;
}

static const struct cfs_snap_name b_of_t = { "t", "b" };
static const struct cfs_scrub_options fast = { .rate_bytes = 0 };
static const struct cfs_send_options a_of_t = { .volume = "t", .snap = "a" };
static const struct cfs_session_diff since_a = {
	.volume = "t",
	.snap = "a",
	.to_volume = "t",
};
static const struct cfs_volume_place nowhere = { .container = 9999 };

/* What a call fills in. */
static union {
	struct cfs_pool_info pool;
	struct cfs_volume_info volume;
	struct cfs_snapshot_info snapshot;
	struct cfs_trim_result trim;
	struct cfs_check_result check;
	struct cfs_scrub_result scrub;
	struct cfs_volume_place place;
	struct cfs_place_name name;
	struct cfs_fs_space space;
	struct cfs_stream_totals totals;
	uint64_t bytes;
} got;

static int open_it(struct cfs_session *s, struct cfs_err *e)
{
	struct cfs_io_volume *v;
	int r = cfs_io_open(s, "t", NULL, false, &v, e);

	if (r == 0)
		cfs_io_close(v);
	return r;
}

#define CALL(name, expr)                                                       \
	static int call_##name(struct cfs_session *s, struct cfs_err *e)       \
	{                                                                      \
		return expr;                                                   \
	}

CALL(info, cfs_session_pool_info(s, &got.pool, e))
CALL(devices, cfs_session_devices(s, no_device, NULL, e))
CALL(trim, cfs_session_trim(s, NULL, &got.trim, e))
CALL(slices, cfs_session_slices(s, "t", no_slice, NULL, e))
CALL(volumes, cfs_session_volumes(s, NULL, no_volume, NULL, e))
CALL(volume, cfs_session_volume(s, "t", &got.volume, e))
CALL(snapshots, cfs_session_snapshots(s, "t", true, no_snapshot, NULL, e))
CALL(snapshot, cfs_session_snapshot(s, "t", "a", &got.snapshot, e))
CALL(find, cfs_session_place_find(s, "t", NULL, &got.place, e))
CALL(name, cfs_session_place_name(s, &nowhere, &got.name, e) == -ENOENT ? 0 : 1)
CALL(take, cfs_session_snap_take(s, &b_of_t, 1, NULL, e))
CALL(hold, cfs_session_snap_hold(s, "t", "b", true, e))
CALL(let_go, cfs_session_snap_hold(s, "t", "b", false, e))
CALL(rename_snapshot, cfs_session_snap_rename(s, "t", "b", "x", e))
CALL(drop, cfs_session_snap_remove(s, "t", "x", &got.bytes, e))
CALL(clone, cfs_session_snap_clone(s, "t", "a", "d", e))
CALL(open, open_it(s, e))
CALL(space, s ? cfs_fs_statfs(cfs_io_fs(tree), &got.space, e) : 1)
CALL(check, cfs_session_check(s, NULL, no_problem, NULL, &got.check, e))
CALL(scrub, cfs_session_scrub(s, "t", &fast, no_damage, NULL, &got.scrub, e))
CALL(trace, cfs_session_trace_bad(s, no_damage, NULL, e))
CALL(send, cfs_session_send(s, &a_of_t, no_bytes, NULL, &got.totals, e))
CALL(diff, cfs_session_diff(s, &since_a, no_diff, NULL, e))
CALL(set, cfs_session_set(s, "t", "limit", "1G", e))
CALL(create, cfs_session_create(s, "n", CFS_VOLUME_LUN, 1 << 20, 0, true, e))
CALL(finish, cfs_session_finish_volume(s, "n", e))
CALL(rename, cfs_session_rename_volume(s, "n", "m", e))
CALL(resize, cfs_session_resize_volume(s, "m", 2 << 20, e))
CALL(roll_back, cfs_session_snap_rollback(s, "t", "a", "before", e))
CALL(remove, cfs_session_remove_volume(s, "m", false, e))

static const struct call {
	int (*fn)(struct cfs_session *s, struct cfs_err *e);
	const char *name;
	bool is_alone;
} calls[] = {
	{ call_info, "pool info", false },
	{ call_devices, "devices", false },
	{ call_trim, "trim", false },
	{ call_slices, "slices", false },
	{ call_volumes, "volumes", false },
	{ call_volume, "volume", false },
	{ call_snapshots, "snapshots", false },
	{ call_snapshot, "snapshot", false },
	{ call_find, "place", false },
	{ call_name, "name of a place", false },
	{ call_take, "take", false },
	{ call_hold, "hold", false },
	{ call_let_go, "hold --release", false },
	{ call_rename_snapshot, "rename of a snapshot", false },
	{ call_drop, "remove of a snapshot", false },
	{ call_clone, "clone", false },
	{ call_open, "open", false },
	{ call_space, "statfs", false },
	{ call_check, "check", false },
	{ call_scrub, "scrub", false },
	{ call_trace, "trace", false },
	{ call_send, "send", false },
	{ call_diff, "diff", false },
	{ call_set, "set", true },
	{ call_create, "create", true },
	{ call_finish, "finish", true },
	{ call_rename, "rename", true },
	{ call_resize, "resize", true },
	{ call_roll_back, "rollback", true },
	{ call_remove, "remove", true },
};

struct run {
	const struct call *call;
	pthread_t thread;
	bool is_over;
	struct cfs_err err;
	int r;
};

static void *run_call(void *arg)
{
	struct run *run = arg;

	run->r = run->call->fn(manager.s, &run->err);
	__atomic_store_n(&run->is_over, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/*
 * Beside a request that looks (@is_alone: or changes) at what there is: what
 * waits, goes on behind it.
 */
static void call_beside(const struct call *call, bool is_alone)
{
	struct run run = { .call = call };
	const bool waits = is_alone || call->is_alone;
	bool was_quicker;

	if (is_alone)
		pthread_rwlock_wrlock(manager.s->structure);
	else
		pthread_rwlock_rdlock(manager.s->structure);
	assert_int_equal(pthread_create(&run.thread, NULL, run_call, &run), 0);
	if (!waits)
		pthread_join(run.thread, NULL);
	was_quicker = !waits || is_over_soon(&run.is_over);
	pthread_rwlock_unlock(manager.s->structure);
	if (waits)
		pthread_join(run.thread, NULL);
	if (waits == was_quicker)
		fail_msg("%s: %s", call->name,
			 waits ? "it did not wait" : "it waited");
	if (run.r != 0)
		fail_msg("%s: %d: %s", call->name, run.r, run.err.msg);
}

static void all_beside(bool is_alone)
{
	make_manager("600s");
	make_two();
	(void)make_volume("tree", CFS_VOLUME_TREE);
	OK(cfs_io_open(manager.s, "tree", NULL, true, &tree, &err));
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		call_beside(&calls[i], is_alone);
	cfs_io_close(tree);
	end(&manager);
}

static void test_all_wait_for_a_change(void **state)
{
	(void)state;
	all_beside(true);
}

static void test_changes_wait_for_a_look(void **state)
{
	(void)state;
	all_beside(false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_taken_while_it_is_listed),
		cmocka_unit_test(test_not_removed_while_it_is_listed),
		cmocka_unit_test(test_all_wait_for_a_change),
		cmocka_unit_test(test_changes_wait_for_a_look),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
