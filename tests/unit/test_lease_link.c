/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Addresses as text, and links: whole messages through packets, streams and
 * TLS, who is on the other side, and bytes that are no messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lease/link.h"
#include "lease/msg.h"
#include "lease_fixture.h"

/* -------------------------------------------------------------- addresses */

static void test_addresses_that_are_good(void **state)
{
	static const char *const good[] = {
		"unix:/run/cfs/x.sock", "tcp:127.0.0.1:7000",
		"tcp:[::1]:1",          "tcp:host-1.example.org:65535",
		"tcp:localhost:0",      "tcp:[2001:db8::7]:80",
	};
	char text[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_address a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(cfs_address_parse(good[i], &a, NULL), 0);
		assert_string_equal(cfs_address_format(&a, text), good[i]);
	}
}

static void test_addresses_that_are_not(void **state)
{
	static const char *const bad[] = {
		"",
		"unix:",
		"unix:x.sock",
		"unix:/",
		"unix:/a b",
		"unix:/a\n",
		"unix:@abstract",
		"/run/x.sock",
		"tcp:",
		"tcp:host",
		"tcp:host:",
		"tcp::7000",
		"tcp:host:70000",
		"tcp:host:-1",
		"tcp:host:07",
		"tcp:host:1x",
		"tcp:::1:7000",
		"tcp:[::1]7000",
		"tcp:[::1:7000",
		"tcp:[127.0.0.1]:7",
		"tcp:127.1:7000",
		"tcp:2130706433:7000",
		"tcp:1.2.3.256:7",
		"tcp:a_b:7",
		"tcp:-a:7",
		"tcp:a b:7",
		"udp:host:1",
		"tcp:h:1:2",
		"tcp:[fe80::1%eth0]:7",
		"UNIX:/x",
	};
	char longest[200] = "unix:/";
	struct cfs_address a = { .port = 99 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (cfs_address_parse(bad[i], &a, NULL) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_int_equal(a.port, 99);
	}
	memset(longest + 6, 'x', 107);
	assert_int_equal(cfs_address_parse(longest, &a, NULL), -EINVAL);
	longest[5 + 107] = '\0';
	assert_int_equal(cfs_address_parse(longest, &a, NULL), 0);
}

static void test_address_list(void **state)
{
	const char *at = "unix:/a tcp:127.0.0.1:7";
	struct cfs_address a;

	(void)state;
	assert_int_equal(cfs_address_next(&at, &a, NULL), 0);
	assert_string_equal(a.path, "/a");
	assert_int_equal(cfs_address_next(&at, &a, NULL), 0);
	assert_int_equal(a.port, 7);
	assert_int_equal(cfs_address_next(&at, &a, NULL), -ENOENT);
}

/* ------------------------------------------------------------------ links */

/* Send through @from as often as it takes, receive from @to meanwhile. */
static void send_all(struct cfs_link *from, struct cfs_link *to,
		     const uint8_t *msg, size_t bytes, uint8_t *ret,
		     size_t *ret_bytes)
{
	bool is_sent = false;

	for (;;) {
		struct pollfd p = { .fd = cfs_link_fd(to), .events = POLLIN };
		int r = 0;

		if (!is_sent)
			r = cfs_link_send(from, msg, bytes, NULL);
		else if (cfs_link_events(from) & POLLOUT)
			r = cfs_link_flush(from, NULL);
		assert_true(r == 0 || r == -EAGAIN);
		is_sent |= r == 0;
		if (!cfs_link_has_pending(to))
			(void)poll(&p, 1, 10);
		r = cfs_link_recv(to, ret, ret_bytes, NULL);
		if (r == 0)
			return;
		assert_int_equal(r, -EAGAIN);
	}
}

static void exchange(struct cfs_link *a, struct cfs_link *b)
{
	static const size_t sizes[] = { 0, 1, 100, 4096, CFS_MSG_BODY_MAX };
	uint8_t *msg = malloc(CFS_MSG_BYTES_MAX);
	uint8_t *got = malloc(CFS_MSG_BYTES_MAX);
	size_t i, n, got_bytes;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		n = make_msg(msg, 0x0101, i + 1, sizes[i]);
		send_all(a, b, msg, n, got, &got_bytes);
		assert_int_equal(got_bytes, n);
		assert_memory_equal(got, msg, n);
		send_all(b, a, msg, n, got, &got_bytes);
		assert_int_equal(got_bytes, n);
		assert_memory_equal(got, msg, n);
	}
	/* Two at once stay two. */
	n = make_msg(msg, 0x0101, 77, 10);
	assert_int_equal(cfs_link_send(a, msg, n, NULL), 0);
	send_all(a, b, msg, n, got, &got_bytes);
	assert_int_equal(got_bytes, n);
	n = 0;
	while (cfs_link_recv(b, got, &got_bytes, NULL) == -EAGAIN && n++ < 1000)
		usleep(1000);
	assert_int_equal(got_bytes, CFS_MSG_HEAD_BYTES + 10);
	free(msg);
	free(got);
}

static void test_pair(void **state)
{
	struct cfs_link *pair[2] = { NULL, NULL };
	uint8_t got[CFS_MSG_HEAD_BYTES];
	struct cfs_link_stats stats;
	size_t bytes;

	(void)state;
	assert_int_equal(cfs_link_pair(pair, NULL), 0);
	exchange(pair[0], pair[1]);
	cfs_link_stats(pair[0], &stats);
	assert_int_equal(stats.sent_messages, 7);
	assert_int_equal(stats.received_messages, 5);
	assert_true(cfs_link_peer(pair[0])->is_local);
	assert_int_equal(cfs_link_peer(pair[0])->uid, getuid());
	assert_int_equal(cfs_link_peer(pair[0])->pid, (uint32_t)getpid());
	cfs_link_free(pair[0]);
	assert_int_equal(cfs_link_recv(pair[1], got, &bytes, NULL), -EPIPE);
	assert_int_equal(cfs_link_send(pair[1], got, sizeof(got), NULL),
			 -EPIPE);
	cfs_link_free(pair[1]);
}

/* A listener, and both ends of a link to it. */
static int connect_ends(const char *text, struct cfs_tls *client,
			struct cfs_tls *server, struct cfs_link *ret[2])
{
	struct cfs_address address, said;
	struct cfs_err err;
	int fd, r;

	assert_int_equal(cfs_address_parse(text, &address, NULL), 0);
	r = cfs_link_listen(&address, server != NULL, &fd, &said, &err);
	if (r < 0)
		return r;
	r = open_ends(fd, &said, client, server, ret);
	close(fd);
	return r;
}

static void test_unix(void **state)
{
	struct cfs_link *ends[2] = { NULL, NULL };
	char text[128];
	struct stat st;

	(void)state;
	snprintf(text, sizeof(text), "unix:%s/l.sock", fixture_dir);
	assert_int_equal(connect_ends(text, NULL, NULL, ends), 0);
	assert_int_equal(stat(text + 5, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	exchange(ends[0], ends[1]);
	cfs_link_free(ends[0]);
	cfs_link_free(ends[1]);
	/* The socket that was left behind is replaced, a file is not. */
	assert_int_equal(connect_ends(text, NULL, NULL, ends), 0);
	cfs_link_free(ends[0]);
	cfs_link_free(ends[1]);
	assert_int_equal(unlink(text + 5), 0);
	fclose(fopen(text + 5, "w"));
	assert_int_equal(connect_ends(text, NULL, NULL, ends), -EEXIST);
	assert_int_equal(unlink(text + 5), 0);
}

static void test_tcp(void **state)
{
	struct cfs_link *ends[2] = { NULL, NULL };

	(void)state;
	assert_int_equal(connect_ends("tcp:127.0.0.1:0", NULL, NULL, ends), 0);
	exchange(ends[0], ends[1]);
	assert_false(cfs_link_peer(ends[0])->is_local);
	cfs_link_free(ends[0]);
	cfs_link_free(ends[1]);
}

static void test_plain_tcp_stays_here(void **state)
{
	struct cfs_link *ends[2] = { NULL, NULL }, *link = NULL;
	struct cfs_address far;

	(void)state;
	assert_int_equal(connect_ends("tcp:0.0.0.0:0", NULL, NULL, ends),
			 -EPERM);
	assert_int_equal(cfs_address_parse("tcp:192.0.2.1:7", &far, NULL), 0);
	assert_int_equal(cfs_link_connect(&far, NULL, 50, &link, NULL), -EPERM);
}

static void test_nobody_listens(void **state)
{
	struct cfs_address address;
	struct cfs_link *link;
	char text[128];

	(void)state;
	snprintf(text, sizeof(text), "unix:%s/none.sock", fixture_dir);
	assert_int_equal(cfs_address_parse(text, &address, NULL), 0);
	assert_int_equal(cfs_link_connect(&address, NULL, 100, &link, NULL),
			 -ENOENT);
}

/* ---------------------------------------------------------------- garbage */

static void refuses(const void *bytes, size_t n)
{
	uint8_t *got = malloc(CFS_MSG_BYTES_MAX);
	struct cfs_link *link;
	size_t got_bytes;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(cfs_link_accept(fds[1], NULL, &link, NULL), 0);
	assert_int_equal(write(fds[0], bytes, n), (ssize_t)n);
	assert_int_equal(cfs_link_recv(link, got, &got_bytes, NULL), -EPROTO);
	close(fds[0]);
	cfs_link_free(link);
	free(got);
}

static void test_garbage_in_packets(void **state)
{
	uint8_t *msg = calloc(1, 80000);
	size_t n = make_msg(msg, 0x0101, 5, 50);

	(void)state;
	refuses("x", 1);
	refuses(msg, n - 1); /* shorter than it says */
	refuses(msg, n + 1);
	msg[0] ^= 1;
	refuses(msg, n); /* magic */
	msg[0] ^= 1;
	msg[8] = 23; /* less than a header */
	refuses(msg, 23);
	refuses(msg, 80000); /* more than there may be */
	free(msg);
}

static void test_garbage_in_a_stream(void **state)
{
	uint8_t *msg = calloc(1, CFS_MSG_BYTES_MAX);
	struct cfs_link *ends[2] = { NULL, NULL };
	size_t n = make_msg(msg, 0x0101, 5, 50), bytes, i;
	int r = -EAGAIN;

	(void)state;
	assert_int_equal(connect_ends("tcp:127.0.0.1:0", NULL, NULL, ends), 0);
	/* A good one byte by byte, then a length that cannot be. */
	for (i = 0; i < n; i++) {
		assert_int_equal(send(cfs_link_fd(ends[0]), msg + i, 1, 0), 1);
		usleep(100);
		if (i + 1 < n)
			assert_int_equal(cfs_link_recv(ends[1], msg + 1000,
						       &bytes, NULL),
					 -EAGAIN);
	}
	for (i = 0; i < 1000 && r == -EAGAIN; i++, usleep(1000))
		r = cfs_link_recv(ends[1], msg + 1000, &bytes, NULL);
	assert_int_equal(r, 0);
	assert_memory_equal(msg, msg + 1000, n);
	memset(msg + 8, 0xff, 4);
	assert_int_equal(send(cfs_link_fd(ends[0]), msg, n, 0), (ssize_t)n);
	for (i = 0, r = -EAGAIN; i < 1000 && r == -EAGAIN; i++, usleep(1000))
		r = cfs_link_recv(ends[1], msg + 1000, &bytes, NULL);
	assert_int_equal(r, -EPROTO);
	cfs_link_free(ends[0]);
	cfs_link_free(ends[1]);
	free(msg);
}

/* -------------------------------------------------------------------- TLS */

static bool made_certificates;

static void need_certificates(void)
{
	if (!made_certificates)
		made_certificates = fixture_certificates();
	if (!made_certificates)
		skip();
}

static struct cfs_tls *load_tls(const char *who)
{
	char cert[160], key[160], ca[160];
	const struct cfs_tls_config config = {
		.cert = cert,
		.key = key,
		.ca = ca,
	};
	struct cfs_tls *tls = NULL;
	struct cfs_err err;

	snprintf(cert, sizeof(cert), "%s/%s.crt", fixture_dir, who);
	snprintf(key, sizeof(key), "%s/%s.key", fixture_dir, who);
	snprintf(ca, sizeof(ca), "%s/ca.crt", fixture_dir);
	if (cfs_tls_new(&config, &tls, &err) < 0)
		fail_msg("%s", err.msg);
	return tls;
}

static void test_tls(void **state)
{
	struct cfs_tls *server, *client;
	const struct cfs_link_peer *peer;
	struct cfs_link *ends[2] = { NULL, NULL };

	(void)state;
	need_certificates();
	server = load_tls("server");
	client = load_tls("client");
	assert_int_equal(connect_ends("tcp:127.0.0.1:0", client, server, ends),
			 0);
	exchange(ends[0], ends[1]);
	peer = cfs_link_peer(ends[1]);
	assert_true(peer->has_certificate);
	assert_string_equal(peer->name, "CN=client");
	assert_string_equal(cfs_link_peer(ends[0])->name, "CN=server");
	assert_true(memcmp(peer->fingerprint,
			   cfs_link_peer(ends[0])->fingerprint, 32) != 0);
	cfs_link_free(ends[0]);
	cfs_link_free(ends[1]);
	/* By this name it is not the server that was called. */
	assert_int_equal(connect_ends("tcp:127.0.0.2:0", client, server, ends),
			 -EACCES);
	cfs_tls_free(server);
	cfs_tls_free(client);
}

static void test_tls_refuses_strangers(void **state)
{
	struct cfs_tls *server, *client, *stranger;
	struct cfs_link *ends[2] = { NULL, NULL };

	(void)state;
	need_certificates();
	server = load_tls("server");
	client = load_tls("client");
	stranger = load_tls("stranger");
	assert_int_equal(
		connect_ends("tcp:127.0.0.1:0", stranger, server, ends),
		-EACCES);
	assert_int_equal(
		connect_ends("tcp:127.0.0.1:0", client, stranger, ends),
		-EACCES);
	/* A client's certificate is not one of a server. */
	assert_int_equal(connect_ends("tcp:127.0.0.1:0", client, client, ends),
			 -EACCES);
	cfs_tls_free(server);
	cfs_tls_free(client);
	cfs_tls_free(stranger);
}

static void test_tls_needs_its_files(void **state)
{
	struct cfs_tls_config config = { .cert = "/none",
					 .key = "/none",
					 .ca = "/none" };
	struct cfs_tls *tls;

	(void)state;
	assert_int_equal(cfs_tls_new(&config, &tls, NULL), -ENOENT);
	config.cert = config.key = config.ca = "/dev/null";
	assert_int_equal(cfs_tls_new(&config, &tls, NULL), -EINVAL);
	config.ca = NULL;
	assert_int_equal(cfs_tls_new(&config, &tls, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_that_are_good),
		cmocka_unit_test(test_addresses_that_are_not),
		cmocka_unit_test(test_address_list),
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_plain_tcp_stays_here),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_garbage_in_packets),
		cmocka_unit_test(test_garbage_in_a_stream),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_tls_refuses_strangers),
		cmocka_unit_test(test_tls_needs_its_files),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
