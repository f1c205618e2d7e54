/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The same service over TCP and TLS, where messages come in pieces and the
 * library keeps some of them to itself: large ones, streams, many callers,
 * and handshakes that never end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lease_server_fixture.h"

static struct cfs_tls *server_tls, *client_tls, *stranger_tls;

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

/* The server of the fixture, with another place to come to. */
static struct cfs_address start_tcp(struct cfs_tls *tls, unsigned int hello_ms)
{
	struct cfs_address address, said;
	struct cfs_err err;

	start((struct cfs_server_options){ .hello_ms = hello_ms });
	assert_int_equal(cfs_address_parse("tcp:127.0.0.1:0", &address, &err),
			 0);
	assert_int_equal(
		cfs_server_listen(w.server, &address, tls, &said, &err), 0);
	return said;
}

static struct cfs_conn *connect_tcp(const struct cfs_address *address,
				    struct cfs_tls *tls)
{
	const struct cfs_conn_options opt = { .calls_max = 0 };
	struct cfs_conn *conn;
	struct cfs_link *link;
	struct cfs_err err;

	if (cfs_link_connect(address, tls, 5000, &link, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(cfs_conn_new(link, &opt, &conn, &err), 0);
	assert_int_equal(cfs_conn_call(conn, HELLO, NULL, 0, NULL, NULL, &err),
			 0);
	return conn;
}

static int on_part(void *arg, const uint8_t *body, size_t bytes,
		   struct cfs_err *err)
{
	uint32_t *next = arg, index;

	(void)err;
	assert_int_equal(bytes, 60000);
	memcpy(&index, body, 4);
	assert_int_equal(index, *next);
	(*next)++;
	return 0;
}

static void *caller(void *arg)
{
	struct cfs_buf reply = CFS_BUF_INIT;
	uint8_t *body = calloc(1, CFS_MSG_BODY_MAX);
	bool is_good = true;
	size_t i;

	for (i = 0; i < 40 && is_good; i++) {
		size_t n = i * 1637 % (CFS_MSG_BODY_MAX + 1);

		memset(body, (int)i, n);
		reply.bytes = 0;
		is_good = cfs_conn_call(arg, CFS_MSG_PING, body, n, NULL,
					&reply, NULL) == 0 &&
			  reply.bytes == n &&
			  (n == 0 || memcmp(reply.data, body, n) == 0);
	}
	free(body);
	cfs_buf_donep(&reply);
	return is_good ? arg : NULL;
}

static void all_of_it(struct cfs_tls *server, struct cfs_tls *client)
{
	const struct cfs_address address = start_tcp(server, 0);
	struct cfs_conn *conn = connect_tcp(&address, client);
	const uint32_t ask[2] = { 100, 60000 };
	pthread_t threads[4];
	uint32_t next = 0;
	struct cfs_err err;
	void *result;
	size_t i;

	for (i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, caller, conn), 0);
	assert_int_equal(cfs_conn_stream(conn, COUNT, ask, 8, NULL, on_part,
					 &next, NULL, &err),
			 0);
	assert_int_equal(next, 100);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		assert_non_null(result);
	}
	cfs_conn_free(conn);
	stop();
}

static void test_plain(void **state)
{
	(void)state;
	all_of_it(NULL, NULL);
}

static void need_tls(void)
{
	if (!server_tls && fixture_certificates()) {
		server_tls = load_tls("server");
		client_tls = load_tls("client");
		stranger_tls = load_tls("stranger");
	}
	if (!server_tls)
		skip();
}

static void test_tls(void **state)
{
	(void)state;
	need_tls();
	all_of_it(server_tls, client_tls);
}

static void test_tls_handshakes_that_are_none(void **state)
{
	struct cfs_address address;
	struct cfs_link *plain;
	struct cfs_conn *good;
	struct cfs_err err;
	char noise[300];

	(void)state;
	need_tls();
	address = start_tcp(server_tls, 200);
	good = connect_tcp(&address, client_tls);
	/* Not a word. */
	assert_int_equal(cfs_link_connect(&address, NULL, 1000, &plain, &err),
			 0);
	assert_true(is_closed(plain));
	cfs_link_free(plain);
	/* Something else. */
	assert_int_equal(cfs_link_connect(&address, NULL, 1000, &plain, &err),
			 0);
	memset(noise, 'x', sizeof(noise));
	assert_int_equal(send(cfs_link_fd(plain), noise, sizeof(noise), 0),
			 (ssize_t)sizeof(noise));
	while (recv(cfs_link_fd(plain), noise, sizeof(noise), 0) > 0)
		;
	cfs_link_free(plain);
	assert_int_equal(
		cfs_conn_call(good, ECHO + 0x100, NULL, 0, NULL, NULL, &err),
		-ENOTSUP);
	cfs_conn_free(good);
	stop();
}

/* One who takes our CA, but has a certificate of another: refused at once, or
 * with its first message. */
static void test_tls_judges_clients(void **state)
{
	struct cfs_address address;
	struct cfs_link *link = NULL;
	uint8_t msg[CFS_MSG_HEAD_BYTES];
	struct cfs_err err;
	size_t n = make_msg(msg, HELLO, 1, 0);
	int r;

	(void)state;
	need_tls();
	address = start_tcp(server_tls, 0);
	r = cfs_link_connect(&address, stranger_tls, 5000, &link, &err);
	if (r == 0) {
		uint8_t *got = malloc(CFS_MSG_BYTES_MAX);
		size_t bytes;

		(void)cfs_link_send(link, msg, n, NULL);
		while ((r = cfs_link_recv(link, got, &bytes, NULL)) == -EAGAIN)
			usleep(1000);
		free(got);
	}
	assert_true(r < 0);
	assert_int_equal(w.opened, 0);
	cfs_link_free(link);
	stop();
}

static int teardown(void **state)
{
	cfs_tls_free(server_tls);
	cfs_tls_free(client_tls);
	cfs_tls_free(stranger_tls);
	return fixture_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_tls_handshakes_that_are_none),
		cmocka_unit_test(test_tls_judges_clients),
	};

	return cmocka_run_group_tests(tests, fixture_setup, teardown);
}
