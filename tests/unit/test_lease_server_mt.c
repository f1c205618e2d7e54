/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A server and its connections: many callers at once, streams, cancelling,
 * an orderly end; and peers that are no good: silent, deaf, flooding, sending
 * garbage, too many.  Run it under the thread sanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>

#include "lease/conn.h"
#include "lease/server.h"
#include "lease_fixture.h"

#define HELLO	0x0001u		/* here: answered, and accepted */
#define ECHO	0x0100u
#define COUNT	0x0101u		/* a stream of as many parts as it says */
#define SLOW	0x0102u		/* until cancelled */
#define FAIL	0x0103u
#define LONG	0x0104u		/* as SLOW, but known to be */
#define NAP	0x0105u		/* 300 ms */

struct world {
	struct cfs_server *server;
	struct cfs_address address;
	atomic_uint	opened, closed, ended, slow_running, slow_ended;
	atomic_uint	ticks, log_lines;
	struct cfs_logger logger;
};

static struct world w;

/* ---------------------------------------------------------------- handlers */

static void on_hello(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	uint8_t answer[CFS_MSG_HEAD_BYTES];
	struct cfs_msg_head head;

	(void)arg;
	if (cfs_msg_head_unpack(msg, bytes, &head, NULL) < 0)
		return;
	make_msg(answer, HELLO | CFS_MSG_TYPE_REPLY, head.id, 0);
	if (cfs_server_send(w.server, peer, answer, sizeof(answer)) == 0)
		cfs_server_accept_peer(w.server, peer);
}

static int stream(struct cfs_server_request *q, struct cfs_buf *reply,
		  struct cfs_err *err)
{
	uint32_t count, size, i;
	uint8_t *part;
	int r = 0;

	memcpy(&count, q->body, 4);
	memcpy(&size, q->body + 4, 4);
	part = calloc(1, size);
	for (i = 0; r == 0 && i < count; i++) {
		memcpy(part, &i, 4);
		r = cfs_server_request_more(q, part, size, err);
	}
	free(part);
	return r < 0 ? r : cfs_buf_append(reply, &count, 4);
}

static int slow(struct cfs_server_request *q, struct cfs_err *err)
{
	int r = q->type == LONG ? cfs_server_request_set_long(q, err) : 0;

	atomic_fetch_add(&w.slow_running, 1);
	while (r == 0 && !cfs_server_request_is_cancelled(q))
		usleep(1000);
	atomic_fetch_add(&w.slow_ended, 1);
	return r < 0 ? r : cfs_err_set(err, -EINTR, "cancelled");
}

static int on_request(void *arg, struct cfs_server_request *q,
		      struct cfs_buf *reply, struct cfs_err *err)
{
	(void)arg;
	switch (q->type) {
	case ECHO:
		assert_true(q->identity->is_local);
		return cfs_buf_append(reply, q->body, q->body_bytes);
	case COUNT:
		return stream(q, reply, err);
	case FAIL:
		return cfs_err_set(err, -EUCLEAN, "vm0: damaged");
	case NAP:
		atomic_fetch_add(&w.slow_running, 1);
		usleep(300000);
		return cfs_buf_append(reply, "done", 4);
	default:
		return slow(q, err);
	}
}

static void on_opened(void *arg, uint64_t peer, const struct cfs_link_peer *p)
{
	(void)arg;
	(void)p;
	assert_true(peer > 0);
	atomic_fetch_add(&w.opened, 1);
}

static void on_closed(void *arg, uint64_t peer)
{
	(void)arg;
	(void)peer;
	atomic_fetch_add(&w.closed, 1);
}

static void on_ended(void *arg, uint64_t peer)
{
	(void)arg;
	(void)peer;
	atomic_fetch_add(&w.ended, 1);
}

static uint64_t on_tick(void *arg, uint64_t now_ns)
{
	(void)arg;
	atomic_fetch_add(&w.ticks, 1);
	return now_ns + CFS_NS_PER_S;
}

static void on_log(void *arg, enum cfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	atomic_fetch_add(&w.log_lines, 1);
}

static void start(struct cfs_server_options opt)
{
	struct cfs_err err;
	char text[128];

	memset(&w, 0, sizeof(w));
	w.logger = (struct cfs_logger){
		.write = on_log, .max_level = CFS_LOG_DEBUG,
	};
	opt.opened = on_opened;
	opt.closed = on_closed;
	opt.ended = on_ended;
	opt.tick = on_tick;
	opt.logger = &w.logger;
	assert_int_equal(cfs_server_new(&opt, &w.server, &err), 0);
	assert_int_equal(cfs_server_handle_loop(w.server, 1, 0xff, on_hello,
						NULL, &err), 0);
	assert_int_equal(cfs_server_handle_worker(w.server, 0x100, 0x1ff,
						  on_request, NULL, &err), 0);
	snprintf(text, sizeof(text), "unix:%s/s.sock", fixture_dir);
	assert_int_equal(cfs_address_parse(text, &w.address, &err), 0);
	assert_int_equal(cfs_server_listen(w.server, &w.address, NULL, NULL,
					   &err), 0);
	assert_int_equal(cfs_server_start(w.server, &err), 0);
}

static void stop(void)
{
	cfs_server_free(w.server);
	assert_int_equal(w.opened, w.closed);
	assert_int_equal(w.opened, w.ended);
	assert_int_equal(access(w.address.path, F_OK), -1);
}

/* At most five seconds. */
static bool comes(atomic_uint *value, unsigned int least)
{
	int i;

	for (i = 0; i < 5000 && atomic_load(value) < least; i++)
		usleep(1000);
	return atomic_load(value) >= least;
}

static struct cfs_link *connect_link(void)
{
	struct cfs_link *link;
	struct cfs_err err;

	if (cfs_link_connect(&w.address, NULL, 5000, &link, &err) < 0)
		fail_msg("%s", err.msg);
	return link;
}

static struct cfs_conn *connect_conn(const struct cfs_conn_options *opt)
{
	const struct cfs_conn_options none = { .calls_max = 0 };
	struct cfs_conn *conn;
	struct cfs_err err;

	assert_int_equal(cfs_conn_new(connect_link(), opt ? opt : &none, &conn,
				      &err), 0);
	assert_int_equal(cfs_conn_call(conn, HELLO, NULL, 0, NULL, NULL, &err),
			 0);
	return conn;
}

/* Has the server closed it?  At most five seconds. */
static bool is_closed(struct cfs_link *link)
{
	uint8_t *msg = malloc(CFS_MSG_BYTES_MAX);
	size_t bytes;
	int i, r = 0;

	for (i = 0; i < 5000; i++) {
		r = cfs_link_recv(link, msg, &bytes, NULL);
		if (r == -EPIPE || r == -ECONNRESET)
			break;
		if (r == -EAGAIN)
			usleep(1000);
	}
	free(msg);
	return r == -EPIPE || r == -ECONNRESET;
}

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
	assert_int_equal(cfs_conn_call(conn, ECHO, body, CFS_MSG_BODY_MAX,
				       NULL, &reply, &err), 0);
	assert_int_equal(reply.bytes, CFS_MSG_BODY_MAX);
	assert_memory_equal(reply.data, body, CFS_MSG_BODY_MAX);
	assert_int_equal(cfs_conn_call(conn, ECHO, body, CFS_MSG_BODY_MAX + 1,
				       NULL, &reply, &err), -EMSGSIZE);
	assert_int_equal(cfs_conn_call(conn, FAIL, NULL, 0, NULL, NULL, &err),
			 -EUCLEAN);
	assert_string_equal(err.msg, "vm0: damaged");
	assert_int_equal(cfs_conn_call(conn, 0x0222, NULL, 0, NULL, NULL,
				       &err), -ENOTSUP);
	assert_int_equal(cfs_conn_call(conn, CFS_MSG_PING, "ping", 4, NULL,
				       NULL, &err), 0);
	cfs_server_stats(w.server, &stats);
	assert_int_equal(stats.peers, 1);
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
		assert_int_equal(pthread_create(&threads[i], NULL, caller,
						conns[i % 3]), 0);
	for (i = 0; i < 12; i++) {
		pthread_join(threads[i], &result);
		assert_non_null(result);
	}
	for (i = 0; i < 3; i++)
		cfs_conn_free(conns[i]);
	stop();
}

struct parts {
	uint32_t	next, break_at;
	unsigned int	pause_us;
	struct cfs_conn	*conn;
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
		assert_int_equal(cfs_conn_call(parts->conn, ECHO, NULL, 0,
					       NULL, NULL, err), 0);
	return parts->next == parts->break_at ? 42 : 0;
}

static void test_streams(void **state)
{
	struct parts parts = { .next = 0 };
	struct cfs_buf reply = CFS_BUF_INIT;
	uint32_t ask[2] = { 200, 60000 };	/* 12 MB through 1 MiB */
	struct cfs_conn *conn;
	struct cfs_err err;

	(void)state;
	start((struct cfs_server_options){ .hello_ms = 0 });
	conn = connect_conn(NULL);
	parts.conn = conn;
	parts.pause_us = 200;
	assert_int_equal(cfs_conn_stream(conn, COUNT, ask, 8, NULL, on_part,
					 &parts, &reply, &err), 0);
	assert_int_equal(parts.next, 200);
	assert_int_equal(reply.bytes, 4);
	/* The caller has had enough; the worker ends. */
	parts = (struct parts){ .break_at = 5 };
	assert_int_equal(cfs_conn_stream(conn, COUNT, ask, 8, NULL, on_part,
					 &parts, NULL, &err), 42);
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
	struct cfs_conn	*conn;
	uint16_t	type;
	int		r;
	struct cfs_err	err;
	pthread_t	thread;
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
			.conn = greedy, .type = i < 8 ? SLOW : LONG,
		};
		assert_int_equal(pthread_create(&calls[i].thread, NULL,
						slow_caller, &calls[i]), 0);
	}
	assert_true(comes(&w.slow_running, 2));
	for (i = 0; i < 20; i++)
		assert_int_equal(cfs_conn_call(other, ECHO, NULL, 0, NULL,
					       NULL, &err), 0);
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
						slow_caller, &calls[i]), 0);
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
	atomic_uint	messages, ending, gone;
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
		.message = on_message, .gone = on_gone, .arg = &notes,
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
	assert_int_equal(nap.r, 0);		/* what ran has ended well */
	assert_true(comes(&notes.gone, 1));
	assert_int_equal(notes.ending, 1);
	assert_true(cfs_conn_is_gone(conn));
	assert_int_equal(cfs_conn_call(conn, ECHO, NULL, 0, NULL, NULL, &err),
			 -ECONNRESET);
	cfs_conn_free(conn);
	assert_int_equal(notes.gone, 1);
	stop();
}

static void test_notices(void **state)
{
	struct notes notes = { .messages = 0 };
	const struct cfs_conn_options opt = {
		.message = on_message, .arg = &notes,
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
	assert_true(comes(&notes.messages, 1));	/* in the background */
	assert_int_equal(cfs_server_send(w.server, 1, notice, n), 0);
	notes.ending = 0;
	atomic_store(&notes.messages, 0);
	assert_int_equal(cfs_server_send(w.server, 1, notice, n), 0);
	assert_int_equal(cfs_conn_wait(conn, stop_now, &notes.messages, &wait,
				       &err), 0);
	assert_int_equal(cfs_server_send(w.server, 99, notice, n), -ENOTCONN);
	cfs_conn_free(conn);
	stop();
}

/* ------------------------------------------------------------ bad company */

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
	for (i = 0; i < 20000 && (r == 0 || r == -EAGAIN); i++) {
		r = cfs_link_send(deaf, msg, n, NULL);
		if (r == -EAGAIN)
			usleep(100);
	}
	assert_true(r == -EPIPE || r == -ECONNRESET);
	assert_int_equal(cfs_conn_call(good, ECHO, NULL, 0, NULL, NULL, &err),
			 0);
	cfs_server_stats(w.server, &stats);
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
	assert_int_equal(stats.peers, 1);	/* slow is not bad */
	assert_int_equal(stats.requests_running, 1);
	assert_true(stats.sent_bytes < (uint64_t)2 << 20);
	cfs_link_free(deaf);
	assert_true(comes(&w.ended, 1));
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
	assert_int_equal(cfs_server_handle_loop(server, 1, 0xff, on_hello,
						NULL, &err), 0);
	assert_int_equal(cfs_address_parse("tcp:127.0.0.1:0", &address, &err),
			 0);
	assert_int_equal(cfs_server_listen(server, &address, NULL, &said,
					   &err), 0);
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
		cmocka_unit_test(test_long_work_does_not_count),
		cmocka_unit_test(test_orderly_end),
		cmocka_unit_test(test_notices),
		cmocka_unit_test(test_silent_peer_is_dropped),
		cmocka_unit_test(test_request_before_hello),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_deaf_peer_is_dropped),
		cmocka_unit_test(test_deaf_stream),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_tcp_half_open_and_slow),
		cmocka_unit_test(test_links_that_are_handed_over),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
