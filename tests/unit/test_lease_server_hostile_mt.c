/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Peers that are no good: silent, deaf, flooding, sending garbage, too many,
 * half open.  They are dropped, and nobody else notices.  Run it under the
 * thread sanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lease_server_fixture.h"

static void test_silent_peer_is_dropped(void **state)
{
	struct cfs_server_stats stats;
	struct cfs_link *link;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 50 });
	link = connect_link();
	assert_true(is_closed(link));
	cfs_server_stats(w.server, &stats);
	assert_int_equal(stats.dropped, 1);
	cfs_link_free(link);
	stop();
}

static void test_request_before_hello(void **state)
{
	struct cfs_link *link;
	uint8_t msg[64];
	size_t n = make_msg(msg, ECHO, 1, 4);

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	link = connect_link();
	assert_int_equal(cfs_link_send(link, msg, n, NULL), 0);
	assert_true(is_closed(link));
	cfs_link_free(link);
	stop();
}

static void hello(struct cfs_link *link)
{
	uint8_t msg[CFS_MSG_HEAD_BYTES], *got = malloc(CFS_MSG_BYTES_MAX);
	size_t n = make_msg(msg, HELLO, 1, 0), bytes;

	assert_int_equal(cfs_link_send(link, msg, n, NULL), 0);
	while (cfs_link_recv(link, got, &bytes, NULL) == -EAGAIN)
		usleep(100);
	free(got);
}

static void test_garbage(void **state)
{
	struct cfs_conn *good;
	struct cfs_err err;
	char bytes[500];
	size_t i;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	good = connect_conn(NULL);
	memset(bytes, 'x', sizeof(bytes));
	for (i = 0; i < 50; i++) {
		struct cfs_link *link = connect_link();

		if (i % 2)
			hello(link);
		(void)send(cfs_link_fd(link), bytes, i * 10 + 1, 0);
		assert_true(is_closed(link));
		cfs_link_free(link);
	}
	/* One line, and one more if it took over a second. */
	assert_in_range(w.log_lines, 1, 10);
	assert_int_equal(cfs_conn_call(good, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_conn_free(good);
	stop();
}

/* Sends requests and reads no answer: out, and nobody else notices. */
static void test_deaf_peer_is_dropped(void **state)
{
	uint8_t *msg = malloc(CFS_MSG_BYTES_MAX);
	size_t n = make_msg(msg, CFS_MSG_PING, 5, CFS_MSG_BODY_MAX), i;
	struct cfs_server_stats stats;
	struct cfs_conn *good;
	struct cfs_link *deaf;
	struct cfs_err err;
	int r = 0;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	good = connect_conn(NULL);
	deaf = connect_link();
	hello(deaf);
	for (i = 0; i < 200000 && (r == 0 || r == -EAGAIN); i++) {
		r = cfs_link_send(deaf, msg, n, NULL);
		if (r == -EAGAIN)
			usleep(100);
	}
	if (r != -EPIPE && r != -ECONNRESET)
		fail_msg("sent %zu times, then %d", i, r);
	assert_int_equal(cfs_conn_call(good, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	/* It is counted a moment after its link is closed. */
	for (i = 0; i < 10000; i++) {
		cfs_server_stats(w.server, &stats);
		if (stats.dropped)
			break;
		usleep(1000);
	}
	assert_int_equal(stats.dropped, 1);
	cfs_link_free(deaf);
	cfs_conn_free(good);
	free(msg);
	stop();
}

/* A stream to one who does not read waits, and ends when that one goes. */
static void test_deaf_stream(void **state)
{
	uint32_t ask[2] = { 1000, 60000 };
	uint8_t msg[CFS_MSG_HEAD_BYTES + 8];
	struct cfs_server_stats stats;
	struct cfs_link *deaf;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	deaf = connect_link();
	hello(deaf);
	make_msg(msg, COUNT, 9, 8);
	memcpy(msg + CFS_MSG_HEAD_BYTES, ask, 8);
	assert_int_equal(cfs_link_send(deaf, msg, sizeof(msg), NULL), 0);
	usleep(200000);
	cfs_server_stats(w.server, &stats);
	assert_int_equal(stats.peers, 1); /* slow is not bad */
	assert_int_equal(stats.requests_running, 1);
	assert_true(stats.sent_bytes < (uint64_t)2 << 20);
	cfs_link_free(deaf);
	assert_true(comes(&w.ended, 1));
	stop();
}

/*
 * But not for ever: who takes nothing at all for so long is dropped, the worker
 * is free, and what waited for him is; one who reads slowly is served.
 */
static void test_deaf_for_too_long(void **state)
{
	uint32_t ask[2] = { 1000, 60000 };
	uint8_t msg[CFS_MSG_HEAD_BYTES + 8];
	uint8_t *in = malloc(CFS_MSG_BYTES_MAX);
	struct cfs_server_stats stats;
	struct cfs_link *deaf, *slow_one;
	size_t bytes;
	int r;

	(void)state;
	start((struct cfs_server_options){ .deaf_ms = 400 });
	deaf = connect_link();
	slow_one = connect_link();
	hello(deaf);
	hello(slow_one);
	make_msg(msg, COUNT, 9, 8);
	memcpy(msg + CFS_MSG_HEAD_BYTES, ask, 8);
	assert_int_equal(cfs_link_send(deaf, msg, sizeof(msg), NULL), 0);
	assert_int_equal(cfs_link_send(slow_one, msg, sizeof(msg), NULL), 0);
	for (unsigned int i = 0; i < 30; i++) {
		usleep(50000);
		r = cfs_link_recv(slow_one, in, &bytes, NULL);
		if (r < 0)
			fail_msg("after %u messages: %d", i, r);
	}
	assert_true(comes(&w.ended, 1));
	cfs_server_stats(w.server, &stats);
	assert_int_equal(stats.peers, 1);
	assert_int_equal(stats.dropped, 1);
	assert_int_equal(stats.requests_running, 1);
	assert_true(stats.sent_bytes < (uint64_t)8 << 20);
	do {
		r = cfs_link_recv(deaf, in, &bytes, NULL);
	} while (r == 0);
	assert_true(r == -EPIPE || r == -ECONNRESET);
	cfs_link_free(deaf);
	cfs_link_free(slow_one);
	assert_true(comes(&w.ended, 2));
	free(in);
	stop();
}

/* More requests than one may have: told so, not served. */
static void test_flood(void **state)
{
	uint8_t msg[CFS_MSG_HEAD_BYTES], *got = malloc(CFS_MSG_BYTES_MAX);
	size_t bytes, refused = 0, i;
	struct cfs_msg_head head;
	struct cfs_link *link;

	(void)state;
	start((struct cfs_server_options){ .requests_max = 8 });
	link = connect_link();
	hello(link);
	for (i = 0; i < 100; i++) {
		make_msg(msg, SLOW, i + 2, 0);
		while (cfs_link_send(link, msg, sizeof(msg), NULL) == -EAGAIN)
			usleep(100);
	}
	while (refused < 92) {
		int r = cfs_link_recv(link, got, &bytes, NULL);

		if (r == -EAGAIN) {
			usleep(100);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(cfs_msg_head_unpack(got, bytes, &head, NULL),
				 0);
		assert_int_equal(head.status, EAGAIN);
		refused++;
	}
	cfs_link_free(link);
	free(got);
	assert_true(comes(&w.ended, 1));
	assert_int_equal(w.slow_running, w.slow_ended);
	stop();
}

static void test_too_many(void **state)
{
	struct cfs_link *links[4], *more;
	size_t i;

	(void)state;
	start((struct cfs_server_options){ .peers_max = 4 });
	for (i = 0; i < 4; i++) {
		links[i] = connect_link();
		hello(links[i]);
	}
	more = connect_link();
	assert_true(is_closed(more));
	cfs_link_free(more);
	cfs_link_free(links[0]);
	assert_true(comes(&w.closed, 1));
	links[0] = connect_link();
	hello(links[0]);
	for (i = 0; i < 4; i++)
		cfs_link_free(links[i]);
	stop();
}

static void test_tcp_half_open_and_slow(void **state)
{
	struct cfs_address address, said;
	struct cfs_link *link;
	struct cfs_err err;
	struct cfs_server_options opt = { .hello_ms = 100 };
	struct cfs_server *server;

	(void)state;
	memset(&w, 0, sizeof(w));
	assert_int_equal(cfs_server_new(&opt, &server, &err), 0);
	w.server = server;
	assert_int_equal(
		cfs_server_handle_loop(server, 1, 0xff, on_hello, NULL, &err),
		0);
	assert_int_equal(cfs_address_parse("tcp:127.0.0.1:0", &address, &err),
			 0);
	assert_int_equal(cfs_server_listen(server, &address, NULL, &said, &err),
			 0);
	assert_int_equal(cfs_server_start(server, &err), 0);
	assert_int_equal(cfs_link_connect(&said, NULL, 1000, &link, &err), 0);
	/* Half a header, and nothing more. */
	assert_int_equal(send(cfs_link_fd(link), "CFLM\1\0", 6, 0), 6);
	assert_true(is_closed(link));
	cfs_link_free(link);
	assert_int_equal(cfs_link_connect(&said, NULL, 1000, &link, &err), 0);
	hello(link);
	cfs_link_free(link);
	cfs_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_peer_is_dropped),
		cmocka_unit_test(test_request_before_hello),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_deaf_peer_is_dropped),
		cmocka_unit_test(test_deaf_stream),
		cmocka_unit_test(test_deaf_for_too_long),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_tcp_half_open_and_slow),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
