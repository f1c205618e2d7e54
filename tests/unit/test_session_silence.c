/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests to somebody who takes them and says nothing: they wait, look whether
 * another one has come, and end when that is so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lease/conn.h"
#include "session/remote.h"
#include "session/silence.h"

#include <errno.h>
#include <string.h>

struct world {
	struct cfs_link *other; /* which nobody reads */
	struct cfs_remote *remote;
	unsigned int looks, old_at; /* 0: never */
	unsigned int stop_behind;   /* so many looks; 0: never */
};

static bool is_old(void *arg)
{
	struct world *w = arg;

	return ++w->looks == w->old_at;
}

static bool is_stopped(void *arg)
{
	struct world *w = arg;

	return w->stop_behind && w->looks >= w->stop_behind;
}

static void open_world(struct world *w, bool is_referred)
{
	const struct cfs_conn_options conn_opt = { .calls_max = 0 };
	const struct cfs_session_options opt = {
		.stop = is_stopped,
		.arg = w,
	};
	struct cfs_link *links[2];
	struct cfs_conn *conn;

	assert_int_equal(cfs_link_pair(links, NULL), 0);
	assert_int_equal(cfs_conn_new(links[0], &conn_opt, &conn, NULL), 0);
	assert_int_equal(cfs_remote_on(conn, &opt, &w->remote, NULL), 0);
	cfs_remote_watch(w->remote, is_old, w, is_referred);
	w->other = links[1];
}

static void close_world(struct world *w)
{
	cfs_remote_close(w->remote);
	cfs_link_free(w->other);
}

static int find(struct world *w, struct cfs_err *err)
{
	struct cfs_volume_place place;

	return cfs_remote_place_find(w->remote, "v", NULL, &place, err);
}

static void a_question_is_referred_when_another_has_come(void **state)
{
	struct world w = { .old_at = 2 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, true);
	assert_int_equal(find(&w, &err), -EREMOTE);
	assert_int_equal(w.looks, 2);
	/* It stays broken, and nobody looks again. */
	assert_int_equal(find(&w, &err), -EREMOTE);
	assert_true(cfs_remote_is_gone(w.remote));
	assert_int_equal(w.looks, 2);
	close_world(&w);
}

static void a_change_is_not_done_twice(void **state)
{
	struct world w = { .old_at = 1 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, true);
	assert_int_equal(cfs_remote_snap_hold(w.remote, "v", "s", true, &err),
			 -ECONNRESET);
	assert_non_null(strstr(err.msg, "whether it was done is not known"));
	close_world(&w);
}

static void nobody_is_behind_the_manager(void **state)
{
	struct world w = { .old_at = 1 };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	open_world(&w, false);
	assert_int_equal(find(&w, &err), -ECONNRESET);
	close_world(&w);
}

static void one_that_is_slow_is_waited_for(void **state)
{
	struct world w = { .stop_behind = 1, .old_at = 3 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_io_volume *v;

	(void)state;
	open_world(&w, true);
	/* Who only waits for a lease has nothing to be told, and ends at once;
	 * others are given time to answer. */
	assert_int_equal(
		cfs_remote_io_open(w.remote, "v", NULL, false, 0, 0, &v, &err),
		-EINTR);
	assert_int_equal(w.looks, 1);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_referred_when_another_has_come),
		cmocka_unit_test(a_change_is_not_done_twice),
		cmocka_unit_test(nobody_is_behind_the_manager),
		cmocka_unit_test(one_that_is_slow_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
