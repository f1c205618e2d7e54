/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A session that answers: where it says so, what it tells the holder after it
 * about its clients, and clients in its own process beside those of others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "lease_fixture.h"
#include "session/serve.h"
#include "session/session_priv.h"

static char pool_path[128], run_path[128];

static const struct cfs_conn_wait patient = {
	.timeout_ns = 20 * CFS_NS_PER_S,
};

static int make_pool(void **state)
{
	const char *const device = pool_path;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(64) << 20,
		.is_forced = true,
	};
	struct cfs_format_result result;

	(void)state;
	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", fixture_dir);
	snprintf(run_path, sizeof(run_path), "%s/run", fixture_dir);
	return cfs_pool_format(&opt, &result, NULL);
}

static struct cfs_session *open_session(void)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.must_hold = true,
		.wait_seconds = 5,
	};
	struct cfs_session *s;
	struct cfs_err err;

	if (cfs_session_open(pool_path, &opt, &s, &err) < 0)
		fail_msg("%s", err.msg);
	return s;
}

static struct cfs_serve *serve_on(struct cfs_session *s)
{
	const struct cfs_serve_options opt = { .run_directory = run_path };
	struct cfs_serve *serve;
	struct cfs_err err;

	if (cfs_serve_new(s, NULL, &serve, &err) < 0 ||
	    cfs_serve_start(serve, &opt, &err) < 0)
		fail_msg("%s", err.msg);
	return serve;
}

static struct cfs_lease_client_config client_config(void)
{
	return (struct cfs_lease_client_config){
		.hello = { .host = "host", .name = "test", .pid = 1 },
	};
}

static struct cfs_leaser *connect_leaser(struct cfs_serve *serve)
{
	struct cfs_lease_client_config config = client_config();
	struct cfs_address address;
	struct cfs_leaser *leaser;
	struct cfs_link *link;
	struct cfs_err err;

	memcpy(config.hello.pool_uuid,
	       cfs_devset_label(cfs_serve_session(serve)->set, 0)->pool_uuid,
	       16);
	assert_int_equal(
		cfs_address_parse(cfs_serve_address(serve), &address, &err), 0);
	assert_int_equal(cfs_link_connect(&address, NULL, 5000, &link, &err),
			 0);
	if (cfs_leaser_connect(link, &config, NULL, &patient, &leaser, &err) <
	    0)
		fail_msg("%s", err.msg);
	return leaser;
}

static struct cfs_seat seat_of(struct cfs_session *s)
{
	struct cfs_seat seat;

	assert_int_equal(cfs_seat_read(s->set, &seat, NULL), 0);
	return seat;
}

static struct cfs_lease_request request(uint32_t mode, uint32_t flags)
{
	return (struct cfs_lease_request){
		.resource = {
			.container = 1, .volume = 1, .ino = 2,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = mode,
		.flags = flags,
	};
}

/* ------------------------------------------------------------------- tests */

static void test_address_in_the_record(void **state)
{
	struct cfs_session *s = open_session();
	struct cfs_serve *serve = serve_on(s);
	struct cfs_address address;
	struct stat st;

	(void)state;
	assert_string_equal(seat_of(s).address, cfs_serve_address(serve));
	assert_int_equal(
		cfs_address_parse(cfs_serve_address(serve), &address, NULL), 0);
	assert_int_equal(stat(run_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(access(address.path, F_OK), 0);
	assert_int_equal(cfs_serve_stop(serve, 1000, NULL), 0);
	assert_string_equal(seat_of(s).address, "");
	assert_int_equal(access(address.path, F_OK), -1);
	cfs_serve_free(serve);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

static bool is_in_grace(struct cfs_serve *serve)
{
	bool is = cfs_owner_is_in_grace(cfs_serve_lock(serve));

	cfs_serve_unlock(serve);
	return is;
}

static void test_clients_are_known_to_the_next_holder(void **state)
{
	struct cfs_session *s = open_session();
	struct cfs_serve *serve = serve_on(s);
	struct cfs_leaser *leaser;

	(void)state;
	assert_false(is_in_grace(serve));
	assert_false(seat_of(s).has_clients);
	leaser = connect_leaser(serve);
	assert_true(seat_of(s).has_clients);
	/* It leaves without a word: its period runs on. */
	cfs_leaser_free(leaser, false);
	cfs_serve_free(serve);
	assert_int_equal(cfs_session_close(s, NULL), 0);

	s = open_session();
	assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), 0);
	assert_true(is_in_grace(serve));
	/* A short one in between does not make it forgotten. */
	cfs_serve_free(serve);
	assert_int_equal(cfs_session_close(s, NULL), 0);
	s = open_session();
	assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), 0);
	assert_true(is_in_grace(serve));
	cfs_owner_end_grace(cfs_serve_lock(serve));
	cfs_serve_unlock(serve);
	cfs_serve_free(serve);
	assert_false(seat_of(s).has_clients);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

static void test_goodbyes_leave_nothing(void **state)
{
	struct cfs_session *s = open_session();
	struct cfs_serve *serve = serve_on(s);

	(void)state;
	assert_false(is_in_grace(serve));
	cfs_leaser_free(connect_leaser(serve), true);
	cfs_serve_free(serve);
	assert_false(seat_of(s).has_clients);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

struct waiter {
	struct cfs_leaser *leaser;
	struct cfs_held *held;
	pthread_t thread;
	int r;
};

static void *wait_for_x(void *arg)
{
	const struct cfs_lease_request x = request(CFS_LOCK_X,
						   CFS_MSG_LOCK_WAIT);
	struct waiter *w = arg;

	w->r = cfs_leaser_acquire(w->leaser, &x, &patient, &w->held, NULL);
	return NULL;
}

/* Clients here and there wait for each other. */
static void test_local_clients(void **state)
{
	const struct cfs_lease_client_config config = client_config();
	const struct cfs_lease_request x = request(CFS_LOCK_X, 0);
	const struct cfs_conn_wait brief = {
		.timeout_ns = 50 * CFS_NS_PER_MS,
	};
	struct cfs_session *s = open_session();
	struct cfs_serve *serve;
	struct cfs_leaser *local, *other;
	struct cfs_held *held, *more;
	struct waiter w;

	(void)state;
	/* Before it answers anybody. */
	assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), 0);
	assert_int_equal(cfs_serve_add_client(serve, &config, NULL, &patient,
					      &local, NULL),
			 0);
	assert_int_equal(cfs_leaser_acquire(local, &x, &patient, &held, NULL),
			 0);
	assert_int_equal(cfs_serve_start(serve,
					 &(struct cfs_serve_options){
						 .run_directory = run_path },
					 NULL),
			 0);
	assert_false(seat_of(s).has_clients);
	other = connect_leaser(serve);
	assert_int_equal(cfs_leaser_acquire(other, &x, &patient, &more, NULL),
			 -EBUSY);
	w = (struct waiter){ .leaser = other };
	assert_int_equal(pthread_create(&w.thread, NULL, wait_for_x, &w), 0);
	usleep(50000);
	cfs_leaser_release(held);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.r, 0);

	assert_int_equal(
		cfs_leaser_acquire(local,
				   &(struct cfs_lease_request){
					   .resource = x.resource,
					   .mode = CFS_LOCK_S,
					   .flags = CFS_MSG_LOCK_WAIT },
				   &brief, &more, NULL),
		-ETIMEDOUT);
	other = w.leaser;
	w = (struct waiter){ .leaser = local, .held = w.held };
	more = w.held;
	assert_int_equal(pthread_create(&w.thread, NULL, wait_for_x, &w), 0);
	usleep(50000);
	cfs_leaser_release(more);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.r, 0);
	cfs_leaser_release(w.held);
	cfs_leaser_free(other, true);
	cfs_serve_drop_client(serve, local);
	cfs_serve_free(serve);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

static void test_local_clients_renew(void **state)
{
	const struct cfs_lease_client_config config = client_config();
	const struct cfs_lease_request x = request(CFS_LOCK_X, 0);
	struct cfs_session *s = open_session();
	struct cfs_serve *serve;
	struct cfs_leaser *local;
	struct cfs_held *held;

	(void)state;
	assert_int_equal(cfs_session_set(s, NULL, "lease_period", "1s", NULL),
			 0);
	assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), 0);
	assert_int_equal(cfs_serve_add_client(serve, &config, NULL, &patient,
					      &local, NULL),
			 0);
	assert_int_equal(cfs_leaser_acquire(local, &x, &patient, &held, NULL),
			 0);
	usleep(2500000);
	assert_true(cfs_leaser_still_holds(held));
	cfs_leaser_release(held);
	cfs_serve_drop_client(serve, local);
	cfs_serve_free(serve);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

static void test_to_read_is_not_to_serve(void **state)
{
	const struct cfs_session_options opt = { .is_writable = false };
	struct cfs_serve *serve;
	struct cfs_session *s;

	(void)state;
	assert_int_equal(cfs_session_open(pool_path, &opt, &s, NULL), 0);
	assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), -EROFS);
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

static void test_nothing_is_left_of_a_bad_start(void **state)
{
	const struct cfs_tls_config tls = {
		.cert = "/none",
		.key = "/none",
		.ca = "/none",
	};
	struct cfs_address far[2];
	const struct cfs_serve_options bad[] = {
		{ .run_directory = run_path, .tls = &tls },
		{ .run_directory = run_path, .listen = far, .listen_count = 2 },
		{ .run_directory = "/none/of/these" },
	};
	struct cfs_session *s = open_session();
	struct cfs_serve *serve;
	size_t i;

	(void)state;
	assert_int_equal(cfs_address_parse("tcp:127.0.0.1:0", &far[0], NULL),
			 0);
	assert_int_equal(cfs_address_parse("tcp:0.0.0.0:0", &far[1], NULL), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cfs_address own;

		assert_int_equal(cfs_serve_new(s, NULL, &serve, NULL), 0);
		assert_true(cfs_serve_start(serve, &bad[i], NULL) < 0);
		assert_string_equal(seat_of(s).address, "");
		assert_int_equal(
			cfs_serve_socket(run_path,
					 cfs_devset_label(s->set, 0)->pool_uuid,
					 &own, NULL),
			0);
		assert_int_equal(access(own.path, F_OK), -1);
		cfs_serve_free(serve);
	}
	assert_int_equal(cfs_session_close(s, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_address_in_the_record, make_pool),
		cmocka_unit_test_setup(
			test_clients_are_known_to_the_next_holder, make_pool),
		cmocka_unit_test_setup(test_goodbyes_leave_nothing, make_pool),
		cmocka_unit_test_setup(test_local_clients, make_pool),
		cmocka_unit_test_setup(test_local_clients_renew, make_pool),
		cmocka_unit_test_setup(test_to_read_is_not_to_serve, make_pool),
		cmocka_unit_test_setup(test_nothing_is_left_of_a_bad_start,
				       make_pool),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
