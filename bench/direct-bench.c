/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A LUN from its front to its end and again, in pieces of 1 MiB, by the
 * library: in the process that holds the pool if nobody else does, else
 * directly beside the one who holds it.
 *
 *   direct-bench stream POOL VOLUME SECONDS read|write PID
 *	one line: MB/s; and if PID is not 0 what it cost the manager, PID, in
 *	messages that it received for each 64 MB and in processor time
 *   direct-bench die POOL VOLUME COUNT
 *	write so many pieces directly, durably every 8 MiB, and be killed
 *   direct-bench counters POOL
 *	messages and bytes that the manager has received and sent
 *
 * What is written is durable when the clock stops, and every 64 MiB.
 */
#include "measure.h"

#include "device/device.h"
#include "lease/address.h"
#include "lease/conn.h"
#include "lease/server.h"
#include "session/lease.h"
#include "session/remote.h"

#include <signal.h>
#include <unistd.h>

#define PIECE_BYTES (UINT64_C(1) << 20)
#define SYNC_PIECES 64u
#define MB_64       64e6

static struct cfs_err err;

static int die(const char *what)
{
	fprintf(stderr, "direct-bench: %s: %s\n", what,
		err.msg[0] ? err.msg : strerror(errno));
	return 1;
}

/* ---- the manager --------------------------------------------------------- */

struct manager {
	struct cfs_conn *conn;
	const char *pid;
	struct cfs_server_stats before;
	double cpu_before;
};

static int connect_manager(const char *pool, struct cfs_conn **ret)
{
	const struct cfs_session_options opt = { .wait_seconds = 10 };
	const struct cfs_conn_options conn_opt = { .calls_max = 0 };
	uint8_t body[sizeof(struct cfs_msg_hello) + 64];
	struct cfs_manager_info info;
	struct cfs_address address;
	struct cfs_msg_hello hello;
	struct cfs_wire_put put;
	struct cfs_link *link;
	const char *at = info.address;
	int r = cfs_manager_find(pool, &opt, &info, &err);

	if (r == 0)
		r = cfs_address_next(&at, &address, &err);
	if (r == 0)
		r = cfs_link_connect(&address, NULL, 10000, &link, &err);
	if (r == 0)
		r = cfs_conn_new(link, &conn_opt, ret, &err);
	if (r < 0)
		return r;
	cfs_remote_hello_fill(info.pool_uuid, &hello);
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_hello_pack(&hello, &put);
	return cfs_conn_call(*ret, CFS_MSG_HELLO, put.data, put.bytes, NULL,
			     NULL, &err);
}

static int manager_begin(struct manager *m)
{
	if (!m->conn)
		return 0;
	m->cpu_before = cpu_of(m->pid);
	return cfs_server_stats_ask(m->conn, NULL, &m->before, &err);
}

static int manager_end(struct manager *m, double seconds, double bytes)
{
	struct cfs_server_stats after;
	double cpu;
	uint64_t messages;
	int r;

	if (!m->conn)
		return 0;
	cpu = cpu_of(m->pid);
	if (m->cpu_before < 0 || cpu < 0)
		return cfs_err_set(&err, -ESRCH, "no process %s", m->pid);
	r = cfs_server_stats_ask(m->conn, NULL, &after, &err);
	/* But for our own question. */
	messages = after.received_messages - m->before.received_messages - 1;
	printf(", \"messages_per_64mb\": %.3f, \"messages\": %llu, "
	       "\"cpu_percent\": %.3f",
	       (double)messages / (bytes / MB_64), (unsigned long long)messages,
	       (cpu - m->cpu_before) / seconds * 100);
	return r;
}

/* ---- streams ------------------------------------------------------------- */

static int move_piece(struct cfs_io_volume *io, uint64_t index, bool writes,
		      void *buf)
{
	const uint64_t count = cfs_io_size_bytes(io) / PIECE_BYTES;
	const uint64_t at = index % count * PIECE_BYTES;
	int r;

	if (!writes)
		return cfs_io_read(io, at, buf, PIECE_BYTES, NULL, &err);
	memcpy(buf, &index, sizeof(index));
	r = cfs_io_write(io, at, buf, PIECE_BYTES, &err);
	if (r == 0 && (index + 1) % SYNC_PIECES == 0)
		r = cfs_io_sync(io, &err);
	return r;
}

static int stream(struct cfs_io_volume *io, uint64_t span_ns, bool writes,
		  struct manager *m)
{
	uint64_t begin, index = 0, seed = 1, done_ns = 0;
	/* Scattered or not by luck, it would tell one run from the other. */
	void *buf = cfs_dev_buf_alloc_huge(PIECE_BYTES);
	double bytes;
	int r = 0;

	if (!buf)
		return cfs_err_set(&err, -ENOMEM, "no memory");
	fill_random(buf, PIECE_BYTES, &seed);
	/* Twice to its end: what is lent ahead is lent then, and has been given
	 * back once. */
	while (r == 0 && index < 2 * cfs_io_size_bytes(io) / PIECE_BYTES)
		r = move_piece(io, index++, writes, buf);
	if (r == 0 && writes)
		r = cfs_io_sync(io, &err);
	if (r == 0)
		r = manager_begin(m);
	index = 0;
	begin = now_ns();
	while (r == 0 && done_ns < span_ns) {
		r = move_piece(io, index++, writes, buf);
		done_ns = now_ns() - begin;
	}
	if (r == 0 && writes)
		r = cfs_io_sync(io, &err);
	done_ns = now_ns() - begin;
	free(buf);
	if (r < 0)
		return r;
	bytes = (double)(index * PIECE_BYTES);
	printf("{\"mb_per_s\": %.2f", bytes / 1e6 / ((double)done_ns / 1e9));
	r = manager_end(m, (double)done_ns / 1e9, bytes);
	printf("}\n");
	return r;
}

static int verb_stream(char **args)
{
	const bool writes = strcmp(args[3], "write") == 0;
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
		.io_mode = strcmp(args[4], "0") ? CFS_IO_MODE_DIRECT
						: CFS_IO_MODE_ANY,
	};
	struct manager m = { .pid = args[4] };
	struct cfs_io_volume *io = NULL;
	struct cfs_session *s = NULL;

	if (strcmp(args[4], "0") && connect_manager(args[0], &m.conn) < 0)
		return die(args[0]);
	if (cfs_session_open(args[0], &opt, &s, &err) < 0 ||
	    cfs_io_open(s, args[1], NULL, writes, &io, &err) < 0 ||
	    stream(io, parse_count(args[2]) * NS_PER_S, writes, &m) < 0)
		return die(args[0]);
	cfs_io_close(io);
	if (cfs_session_close(s, &err) < 0)
		return die(args[0]);
	cfs_conn_free(m.conn);
	return 0;
}

static int verb_die(char **args)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
		.io_mode = CFS_IO_MODE_DIRECT,
	};
	uint64_t count = parse_count(args[2]), seed = 1;
	struct cfs_io_volume *io = NULL;
	struct cfs_session *s = NULL;
	void *buf = cfs_dev_buf_alloc_huge(PIECE_BYTES);
	int r = 0;

	if (!buf)
		return die("memory");
	fill_random(buf, PIECE_BYTES, &seed);
	if (cfs_session_open(args[0], &opt, &s, &err) < 0 ||
	    cfs_io_open(s, args[1], NULL, true, &io, &err) < 0)
		return die(args[0]);
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		r = cfs_io_write(io, i * PIECE_BYTES, buf, PIECE_BYTES, &err);
		if (r == 0 && i % 8 == 7)
			r = cfs_io_sync(io, &err);
	}
	if (r < 0)
		return die(args[1]);
	raise(SIGKILL);
	return 1;
}

static int verb_counters(char **args)
{
	struct cfs_server_stats stats;
	struct cfs_conn *conn = NULL;

	if (connect_manager(args[0], &conn) < 0 ||
	    cfs_server_stats_ask(conn, NULL, &stats, &err) < 0)
		return die(args[0]);
	printf("{\"received_messages\": %llu, \"sent_messages\": %llu, "
	       "\"received_bytes\": %llu, \"sent_bytes\": %llu}\n",
	       (unsigned long long)stats.received_messages,
	       (unsigned long long)stats.sent_messages,
	       (unsigned long long)stats.received_bytes,
	       (unsigned long long)stats.sent_bytes);
	cfs_conn_free(conn);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 7 && strcmp(argv[1], "stream") == 0)
		return verb_stream(argv + 2);
	if (argc == 5 && strcmp(argv[1], "die") == 0)
		return verb_die(argv + 2);
	if (argc == 3 && strcmp(argv[1], "counters") == 0)
		return verb_counters(argv + 2);
	fprintf(stderr,
		"direct-bench: wrong usage: see the head of its source\n");
	return 2;
}
