/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A server with handlers of every kind, and connections to it.  Include it
 * behind cmocka.h.
 */
#pragma once

#include <stdatomic.h>
#include <time.h>

#include "lease/conn.h"
#include "lease/server.h"
#include "lease_fixture.h"

#define HELLO 0x0001u /* here: answered, and accepted */
#define ECHO  0x0100u
#define COUNT 0x0101u /* a stream of as many parts as it says */
#define SLOW  0x0102u /* until cancelled */
#define FAIL  0x0103u
#define LONG  0x0104u /* as SLOW, but known to be */
#define NAP   0x0105u /* 300 ms */

struct world {
	struct cfs_server *server;
	struct cfs_address address;
	atomic_uint opened, closed, ended, slow_running, slow_ended;
	atomic_uint ticks, log_lines;
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

static inline void start(struct cfs_server_options opt)
{
	struct cfs_err err;
	char text[128];

	memset(&w, 0, sizeof(w));
	w.logger = (struct cfs_logger){
		.write = on_log,
		.max_level = CFS_LOG_DEBUG,
	};
	opt.opened = on_opened;
	opt.closed = on_closed;
	opt.ended = on_ended;
	opt.tick = on_tick;
	opt.logger = &w.logger;
	assert_int_equal(cfs_server_new(&opt, &w.server, &err), 0);
	assert_int_equal(
		cfs_server_handle_loop(w.server, 1, 0xff, on_hello, NULL, &err),
		0);
	assert_int_equal(cfs_server_handle_worker(w.server, 0x100, 0x1ff,
						  on_request, NULL, &err),
			 0);
	snprintf(text, sizeof(text), "unix:%s/s.sock", fixture_dir);
	assert_int_equal(cfs_address_parse(text, &w.address, &err), 0);
	assert_int_equal(
		cfs_server_listen(w.server, &w.address, NULL, NULL, &err), 0);
	assert_int_equal(cfs_server_start(w.server, &err), 0);
}

static inline void stop(void)
{
	cfs_server_free(w.server);
	assert_int_equal(w.opened, w.closed);
	assert_int_equal(w.opened, w.ended);
	assert_int_equal(access(w.address.path, F_OK), -1);
}

/* At most five seconds. */
static inline bool comes(atomic_uint *value, unsigned int least)
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

static inline struct cfs_conn *connect_conn(const struct cfs_conn_options *opt)
{
	const struct cfs_conn_options none = { .calls_max = 0 };
	struct cfs_conn *conn;
	struct cfs_err err;

	assert_int_equal(
		cfs_conn_new(connect_link(), opt ? opt : &none, &conn, &err),
		0);
	assert_int_equal(cfs_conn_call(conn, HELLO, NULL, 0, NULL, NULL, &err),
			 0);
	return conn;
}

/* Has the server closed it?  At most five seconds. */
static inline bool is_closed(struct cfs_link *link)
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
