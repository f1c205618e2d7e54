/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manager that stands still, with connections that stand: who waits for its
 * answer goes on doing so, until another one has the pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"

/* Longer than who waits takes to look twice who has the pool. */
#define LOOKS_US 1300000

static const struct cfs_session_options asks = {
	.is_writable = true,
	.wait_seconds = 60,
};

struct question {
	struct cfs_session *s;
	pthread_t thread;
	bool has_ended; /* atomic */
	int code;
	struct cfs_err err;
};

static void *ask_it(void *arg)
{
	struct question *q = arg;
	struct cfs_pool_info info;

	q->code = cfs_session_pool_info(q->s, &info, &q->err);
	__atomic_store_n(&q->has_ended, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static bool has_ended(struct question *q)
{
	return __atomic_load_n(&q->has_ended, __ATOMIC_SEQ_CST);
}

static void begin(struct question *q, struct cfs_session *s)
{
	*q = (struct question){ .s = s, .err = CFS_ERR_INIT };
	assert_int_equal(pthread_create(&q->thread, NULL, ask_it, q), 0);
}

/* It may take long, and is what was asked for. */
static void test_slow_is_not_old(void **state)
{
	struct child first = child_manager("60s", true);
	struct cfs_session *s;
	struct question q;

	(void)state;
	child_serve(&first);
	OK(cfs_session_open(pool_path, &asks, &s, &err));
	kill(first.pid, SIGSTOP);
	begin(&q, s);
	usleep(LOOKS_US);
	assert_false(has_ended(&q));
	kill(first.pid, SIGCONT);
	pthread_join(q.thread, NULL);
	assert_int_equal(q.code, 0);
	OK(cfs_session_close(s, &err));
	child_kill(&first);
}

static void test_until_another_has_it(void **state)
{
	struct child first = child_manager("3s", true);
	struct cfs_session *s;
	struct question q;

	(void)state;
	child_serve(&first);
	OK(cfs_session_open(pool_path, &asks, &s, &err));
	kill(first.pid, SIGSTOP);
	begin(&q, s);
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	manager.serve = serve_on(manager.s);
	UNTIL(has_ended(&q));
	pthread_join(q.thread, NULL);
	assert_int_equal(q.code, -ECONNRESET);
	OK(cfs_session_close(s, &err));
	/* What is asked now is the other's to say. */
	OK(cfs_session_open(pool_path, &asks, &s, &err));
	begin(&q, s);
	pthread_join(q.thread, NULL);
	assert_int_equal(q.code, 0);
	OK(cfs_session_close(s, &err));
	child_kill(&first);
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_is_not_old),
		cmocka_unit_test(test_until_another_has_it),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
