/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A server and its connections: many callers at once, streams, cancelling, an
 * orderly end, links that are handed over.  Run it under the thread sanitizer
 * too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lease_server_fixture.h"

/* ------------------------------------------------------------------- calls */

static void test_calls(void **state)
{
	struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_server_stats stats;
	uint8_t *body = malloc(CFS_MSG_BODY_MAX + 1);
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(NULL);
	memset(body, 7, CFS_MSG_BODY_MAX);
	assert_int_equal(cfs_conn_call(conn, ECHO, body, CFS_MSG_BODY_MAX, NULL,
				       &reply, &err),
			 0);
	assert_int_equal(reply.bytes, CFS_MSG_BODY_MAX);
	assert_memory_equal(reply.data, body, CFS_MSG_BODY_MAX);
	assert_int_equal(cfs_conn_call(conn, ECHO, body, CFS_MSG_BODY_MAX + 1,
				       NULL, &reply, &err),
			 -EMSGSIZE);
	assert_int_equal(cfs_conn_call(conn, FAIL, NULL, 0, NULL, NULL, &err),
			 -EUCLEAN);
	assert_string_equal(err.msg, "vm0: damaged");
	assert_int_equal(cfs_conn_call(conn, 0x0222, NULL, 0, NULL, NULL, &err),
			 -ENOTSUP);
	assert_int_equal(
		cfs_conn_call(conn, CFS_MSG_PING, "ping", 4, NULL, NULL, &err),
		0);
	assert_int_equal(cfs_server_stats_ask(conn, NULL, &stats, &err), 0);
	assert_int_equal(stats.peers, 1);
	assert_in_range(stats.workers, 1, 2);
	assert_int_equal(stats.requests, 2);
	assert_true(stats.received_bytes > CFS_MSG_BODY_MAX);
	cfs_conn_free(conn);
	assert_true(comes(&w.ended, 1));
	cfs_buf_donep(&reply);
	free(body);
	stop();
}

static void *caller(void *arg)
{
	struct cfs_conn *conn = arg;
	struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_err err;
	uint64_t i, body[20] = { (uint64_t)(uintptr_t)&reply };
	bool is_good = true;

	for (i = 0; i < 300 && is_good; i++) {
		uint16_t type = i % 3 ? ECHO : CFS_MSG_PING;

		body[1] = i;
		reply.bytes = 0;
		is_good = cfs_conn_call(conn, type, body, sizeof(body), NULL,
					&reply, &err) == 0 &&
			  reply.bytes == sizeof(body) &&
			  memcmp(reply.data, body, sizeof(body)) == 0;
	}
	cfs_buf_donep(&reply);
	return is_good ? arg : NULL;
}

static void test_many_callers(void **state)
{
	struct cfs_conn *conns[3];
	pthread_t threads[12];
	void *result;
	size_t i;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	for (i = 0; i < 3; i++) {
		const struct cfs_conn_options opt = { .calls_max = 2 };

		conns[i] = connect_conn(i ? NULL : &opt);
	}
	for (i = 0; i < 12; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, caller, conns[i % 3]),
			0);
	for (i = 0; i < 12; i++) {
		pthread_join(threads[i], &result);
		assert_non_null(result);
	}
	for (i = 0; i < 3; i++)
		cfs_conn_free(conns[i]);
	stop();
}

struct parts {
	uint32_t next, break_at;
	unsigned int pause_us;
	struct cfs_conn *conn;
};

static int on_part(void *arg, const uint8_t *body, size_t bytes,
		   struct cfs_err *err)
{
	struct parts *parts = arg;
	uint32_t index;

	assert_true(bytes >= 4);
	memcpy(&index, body, 4);
	assert_int_equal(index, parts->next);
	parts->next++;
	if (parts->pause_us)
		usleep(parts->pause_us);
	/* It may call in between. */
	if (parts->conn && index % 10 == 0)
		assert_int_equal(cfs_conn_call(parts->conn, ECHO, NULL, 0, NULL,
					       NULL, err),
				 0);
	return parts->next == parts->break_at ? 42 : 0;
}

static void test_streams(void **state)
{
	struct parts parts = { .next = 0 };
	struct cfs_buf reply = CFS_BUF_INIT;
	uint32_t ask[2] = { 200, 60000 }; /* 12 MB through 1 MiB */
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(NULL);
	parts.conn = conn;
	parts.pause_us = 200;
	assert_int_equal(cfs_conn_stream(conn, COUNT, ask, 8, NULL, on_part,
					 &parts, &reply, &err),
			 0);
	assert_int_equal(parts.next, 200);
	assert_int_equal(reply.bytes, 4);
	/* The caller has had enough; the worker ends. */
	parts = (struct parts){ .break_at = 5 };
	assert_int_equal(cfs_conn_stream(conn, COUNT, ask, 8, NULL, on_part,
					 &parts, NULL, &err),
			 42);
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_buf_donep(&reply);
	cfs_conn_free(conn);
	stop();
}

static bool stop_now(void *arg)
{
	return atomic_load((atomic_uint *)arg) > 0;
}

static void test_cancelling(void **state)
{
	struct cfs_conn_wait wait = { .timeout_ns = 50 * CFS_NS_PER_MS };
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(NULL);
	assert_int_equal(cfs_conn_call(conn, SLOW, NULL, 0, &wait, NULL, &err),
			 -ETIMEDOUT);
	assert_true(comes(&w.slow_ended, 1));
	wait = (struct cfs_conn_wait){ .stop = stop_now, .arg = &w.slow_ended };
	assert_int_equal(cfs_conn_call(conn, SLOW, NULL, 0, &wait, NULL, &err),
			 -EINTR);
	/* Nobody is left who waits for it. */
	wait = (struct cfs_conn_wait){ .timeout_ns = 20 * CFS_NS_PER_MS };
	assert_int_equal(cfs_conn_call(conn, SLOW, NULL, 0, &wait, NULL, &err),
			 -ETIMEDOUT);
	cfs_conn_free(conn);
	assert_true(comes(&w.ended, 1));
	assert_int_equal(w.slow_running, w.slow_ended);
	stop();
}

struct slow_call {
	struct cfs_conn *conn;
	uint16_t type;
	int r;
	struct cfs_err err;
	pthread_t thread;
};

static void *slow_caller(void *arg)
{
	struct slow_call *call = arg;

	call->r = cfs_conn_call(call->conn, call->type, NULL, 0, NULL, NULL,
				&call->err);
	return NULL;
}

/* Work that never ends, of one peer, leaves the others their share. */
static void test_shares(void **state)
{
	struct slow_call calls[16];
	struct cfs_conn *greedy, *other;
	struct cfs_err err;
	size_t i;

	(void)state;
	start((struct cfs_server_options){ .workers_max = 4 });
	greedy = connect_conn(NULL);
	other = connect_conn(NULL);
	for (i = 0; i < 16; i++) {
		calls[i] = (struct slow_call){
			.conn = greedy,
			.type = i < 8 ? SLOW : LONG,
		};
		assert_int_equal(pthread_create(&calls[i].thread, NULL,
						slow_caller, &calls[i]),
				 0);
	}
	assert_true(comes(&w.slow_running, 2));
	for (i = 0; i < 20; i++)
		assert_int_equal(
			cfs_conn_call(other, ECHO, NULL, 0, NULL, NULL, &err),
			0);
	/* The server goes away under all of them. */
	cfs_server_stop(w.server, 0);
	for (i = 0; i < 16; i++) {
		pthread_join(calls[i].thread, NULL);
		assert_true(calls[i].r < 0);
	}
	assert_true(comes(&w.closed, 2));
	cfs_conn_free(greedy);
	cfs_conn_free(other);
	stop();
}

/* Two come at once, and one thread is idle: the second waits not for the first.
 */
static void test_one_is_idle(void **state)
{
	struct cfs_conn *conn, *other;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .workers_max = 4 });
	other = connect_conn(NULL);
	for (unsigned int i = 0; i < 50; i++) {
		const struct cfs_conn_wait wait = {
			.timeout_ns = 30 * CFS_NS_PER_S,
		};
		uint8_t slow[CFS_MSG_HEAD_BYTES];

		conn = connect_conn(NULL);
		/* One at least has nothing to do now. */
		assert_int_equal(
			cfs_conn_call(other, ECHO, NULL, 0, NULL, NULL, &err),
			0);
		make_msg(slow, SLOW, cfs_conn_next_id(conn), 0);
		assert_int_equal(cfs_conn_send(conn, slow, sizeof(slow), &err),
				 0);
		assert_int_equal(
			cfs_conn_call(other, ECHO, NULL, 0, &wait, NULL, &err),
			0);
		assert_true(comes(&w.slow_running, i + 1));
		/* It is cancelled by that. */
		cfs_conn_free(conn);
		assert_true(comes(&w.slow_ended, i + 1));
	}
	cfs_conn_free(other);
	stop();
}

static void test_long_work_does_not_count(void **state)
{
	struct slow_call calls[6];
	struct cfs_conn *conn;
	struct cfs_err err;
	size_t i;

	(void)state;
	start((struct cfs_server_options){ .workers_max = 2 });
	conn = connect_conn(NULL);
	for (i = 0; i < 6; i++) {
		calls[i] = (struct slow_call){ .conn = conn, .type = LONG };
		assert_int_equal(pthread_create(&calls[i].thread, NULL,
						slow_caller, &calls[i]),
				 0);
	}
	assert_true(comes(&w.slow_running, 6));
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_server_stop(w.server, 0);
	for (i = 0; i < 6; i++)
		pthread_join(calls[i].thread, NULL);
	cfs_conn_free(conn);
	stop();
}

/* ----------------------------------------------------------------- the end */

struct notes {
	atomic_uint messages, ending, gone;
};

static void on_message(void *arg, const void *msg, size_t bytes)
{
	struct notes *notes = arg;
	struct cfs_msg_head head;

	if (cfs_msg_head_unpack(msg, bytes, &head, NULL) == 0 &&
	    head.type == CFS_MSG_ENDING)
		atomic_fetch_add(&notes->ending, 1);
	atomic_fetch_add(&notes->messages, 1);
}

static void on_gone(void *arg, const struct cfs_err *why)
{
	struct notes *notes = arg;

	assert_true(why->msg[0] != '\0');
	atomic_fetch_add(&notes->gone, 1);
}

static void test_orderly_end(void **state)
{
	struct notes notes = { .messages = 0 };
	const struct cfs_conn_options opt = {
		.message = on_message,
		.gone = on_gone,
		.arg = &notes,
	};
	struct slow_call nap;
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(&opt);
	nap = (struct slow_call){ .conn = conn, .type = NAP };
	assert_int_equal(pthread_create(&nap.thread, NULL, slow_caller, &nap),
			 0);
	assert_true(comes(&w.slow_running, 1));
	cfs_server_stop(w.server, 5000);
	pthread_join(nap.thread, NULL);
	assert_int_equal(nap.r, 0); /* what ran has ended well */
	assert_true(comes(&notes.gone, 1));
	assert_int_equal(notes.ending, 1);
	assert_true(cfs_conn_is_gone(conn));
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 -ECONNRESET);
	cfs_conn_free(conn);
	assert_int_equal(notes.gone, 1);
	stop();
}

/* One that ends when nobody is there: nobody is let in and then turned out. */
static void test_end_when_idle(void **state)
{
	struct cfs_link *link = NULL;
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(NULL);
	assert_false(cfs_server_close_idle(w.server));
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_conn_free(conn);
	assert_true(comes(&w.closed, 1));
	assert_true(cfs_server_close_idle(w.server));
	/* The socket is still there. */
	assert_int_equal(cfs_link_connect(&w.address, NULL, 1000, &link, &err),
			 0);
	conn = NULL;
	assert_int_equal(
		cfs_conn_new(link, &(struct cfs_conn_options){ .calls_max = 0 },
			     &conn, &err),
		0);
	assert_int_equal(cfs_conn_call(conn, HELLO, NULL, 0, NULL, NULL, &err),
			 -ECONNRESET);
	cfs_conn_free(conn);
	assert_int_equal(w.opened, 1);
	cfs_server_open_again(w.server);
	conn = connect_conn(NULL);
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_conn_free(conn);
	stop();
}

static void test_notices(void **state)
{
	struct notes notes = { .messages = 0 };
	const struct cfs_conn_options opt = {
		.message = on_message,
		.arg = &notes,
	};
	const struct cfs_conn_wait wait = { .timeout_ns = 5 * CFS_NS_PER_S };
	uint8_t notice[64];
	struct cfs_conn *conn;
	struct cfs_err err;
	size_t n;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(&opt);
	n = make_msg(notice, 0x20, 0, 8);
	assert_int_equal(cfs_server_send(w.server, 1, notice, n), 0);
	assert_true(comes(&notes.messages, 1)); /* in the background */
	assert_int_equal(cfs_server_send(w.server, 1, notice, n), 0);
	notes.ending = 0;
	atomic_store(&notes.messages, 0);
	assert_int_equal(cfs_server_send(w.server, 1, notice, n), 0);
	assert_int_equal(
		cfs_conn_wait(conn, stop_now, &notes.messages, &wait, &err), 0);
	assert_int_equal(cfs_server_send(w.server, 99, notice, n), -ENOTCONN);
	cfs_conn_free(conn);
	stop();
}

/* --------------------------------------------------------------- hand-over */

static void test_links_that_are_handed_over(void **state)
{
	struct cfs_conn_options opt = { .calls_max = 0 };
	struct cfs_link *pair[2];
	struct cfs_conn *conn;
	struct cfs_err err;
	uint64_t peer = 0;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	assert_int_equal(cfs_link_pair(pair, &err), 0);
	assert_int_equal(cfs_server_add_link(w.server, pair[0], &peer, &err),
			 0);
	assert_int_equal(cfs_conn_new(pair[1], &opt, &conn, &err), 0);
	assert_int_equal(cfs_conn_call(conn, HELLO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_server_drop_peer(w.server, peer, true);
	assert_true(comes(&w.closed, 1));
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 -ECONNRESET);
	cfs_conn_free(conn);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_many_callers),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_cancelling),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_one_is_idle),
		cmocka_unit_test(test_long_work_does_not_count),
		cmocka_unit_test(test_orderly_end),
		cmocka_unit_test(test_end_when_idle),
		cmocka_unit_test(test_notices),
		cmocka_unit_test(test_links_that_are_handed_over),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
