/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Leases over real connections: a server with an owner in it, and callers
 * that wait.  Run it under the thread sanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>

#include "lease/conn_lease.h"
#include "lease/owner.h"
#include "lease/period.h"
#include "lease/server.h"
#include "lease_fixture.h"

#define ECHO 0x0100u

struct manager {
	struct cfs_lease_clock clock;
	struct cfs_server *server;
	struct cfs_owner *owner;
	pthread_mutex_t lock;
	struct cfs_address address;
};

static struct manager m;
static const uint8_t pool_uuid[16] = "a pool's number";

static int on_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	(void)arg;
	return cfs_server_send(m.server, peer, msg, bytes);
}

static void on_lease(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	uint64_t client;
	int r;

	(void)arg;
	pthread_mutex_lock(&m.lock);
	r = cfs_owner_receive(m.owner, peer, msg, bytes);
	if (r == 0 && cfs_owner_touch(m.owner, peer, &client) == 0)
		cfs_server_accept_peer(m.server, peer);
	pthread_mutex_unlock(&m.lock);
	if (r < 0)
		cfs_server_drop_peer(m.server, peer, false);
}

static void on_closed(void *arg, uint64_t peer)
{
	(void)arg;
	pthread_mutex_lock(&m.lock);
	cfs_owner_closed(m.owner, peer);
	pthread_mutex_unlock(&m.lock);
}

static int on_admit(void *arg, uint64_t peer, uint64_t *ret_client)
{
	int r;

	(void)arg;
	pthread_mutex_lock(&m.lock);
	r = cfs_owner_touch(m.owner, peer, ret_client);
	pthread_mutex_unlock(&m.lock);
	return r;
}

static uint64_t on_tick(void *arg, uint64_t now_ns)
{
	uint64_t next;

	(void)arg;
	(void)now_ns;
	pthread_mutex_lock(&m.lock);
	next = cfs_owner_tick(m.owner);
	pthread_mutex_unlock(&m.lock);
	return next;
}

static int on_request(void *arg, struct cfs_server_request *q,
		      struct cfs_buf *reply, struct cfs_err *err)
{
	(void)arg;
	(void)err;
	return cfs_buf_append(reply, &q->client, sizeof(q->client));
}

static void start_server(void)
{
	const struct cfs_server_options opt = {
		.closed = on_closed,
		.admit = on_admit,
		.tick = on_tick,
		.clock = &m.clock.clock,
	};
	struct cfs_err err;

	assert_int_equal(cfs_server_new(&opt, &m.server, &err), 0);
	assert_int_equal(
		cfs_server_handle_loop(m.server, 1, 0xff, on_lease, NULL, &err),
		0);
	assert_int_equal(cfs_server_handle_worker(m.server, 0x100, 0x1ff,
						  on_request, NULL, &err),
			 0);
	assert_int_equal(
		cfs_server_listen(m.server, &m.address, NULL, NULL, &err), 0);
	assert_int_equal(cfs_server_start(m.server, &err), 0);
}

static void make_owner(uint64_t epoch, uint64_t period_ms, bool has_grace)
{
	struct cfs_owner_config config = {
		.epoch = epoch,
		.period_ns = period_ms * CFS_NS_PER_MS,
		.grace_ns = has_grace ? cfs_period_owner_ns(
						period_ms * CFS_NS_PER_MS, 2000)
				      : 0,
	};
	const struct cfs_owner_ops ops = { .send = on_send };

	memcpy(config.pool_uuid, pool_uuid, 16);
	assert_int_equal(cfs_owner_new(&config, &ops, NULL, &m.clock.clock,
				       &m.owner, NULL),
			 0);
}

static void start(uint64_t period_ms)
{
	char text[128];

	memset(&m, 0, sizeof(m));
	pthread_mutex_init(&m.lock, NULL);
	cfs_lease_clock_init(&m.clock);
	snprintf(text, sizeof(text), "unix:%s/c.sock", fixture_dir);
	assert_int_equal(cfs_address_parse(text, &m.address, NULL), 0);
	make_owner(1, period_ms, false);
	start_server();
}

static void stop(void)
{
	cfs_server_free(m.server);
	assert_null(cfs_owner_check(m.owner));
	cfs_owner_free(m.owner);
	pthread_mutex_destroy(&m.lock);
}

static struct cfs_link *connect_link(void)
{
	struct cfs_link *link;
	struct cfs_err err;

	if (cfs_link_connect(&m.address, NULL, 5000, &link, &err) < 0)
		fail_msg("%s", err.msg);
	return link;
}

static const struct cfs_conn_wait patient = {
	.timeout_ns = 20 * CFS_NS_PER_S,
};

static struct cfs_lease_client_config client_config(uint32_t flags)
{
	struct cfs_lease_client_config config = {
		.hello = { .host = "host",
			   .name = "test",
			   .pid = 1,
			   .flags = flags },
	};

	memcpy(config.hello.pool_uuid, pool_uuid, 16);
	return config;
}

static struct cfs_leaser *connect_leaser(const struct cfs_leaser_hooks *hooks)
{
	const struct cfs_lease_client_config config = client_config(0);
	struct cfs_leaser *leaser;
	struct cfs_err err;

	if (cfs_leaser_connect(connect_link(), &config, hooks, &patient,
			       &leaser, &err) < 0)
		fail_msg("%s", err.msg);
	return leaser;
}

static struct cfs_lease_request request(uint64_t ino, uint32_t mode,
					uint32_t flags)
{
	return (struct cfs_lease_request){
		.resource = {
			.container = 1, .volume = 1, .ino = ino,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = mode,
		.flags = flags,
	};
}

static bool comes(atomic_uint *value, unsigned int least)
{
	int i;

	for (i = 0; i < 10000 && atomic_load(value) < least; i++)
		usleep(1000);
	return atomic_load(value) >= least;
}

/* ------------------------------------------------------------------- tests */

static void test_get_and_give_back(void **state)
{
	struct cfs_lease_request x = request(5, CFS_LOCK_X, 0);
	struct cfs_leaser *a, *b;
	struct cfs_held *held, *other;
	struct cfs_err err;

	(void)state;
	start(10000);
	a = connect_leaser(NULL);
	b = connect_leaser(NULL);
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, &err), 0);
	assert_true(cfs_leaser_may_start(held, CFS_NS_PER_S));
	assert_true(cfs_leaser_still_holds(held));
	assert_int_equal(cfs_leaser_acquire(b, &x, &patient, &other, &err),
			 -EBUSY);
	cfs_leaser_release(held);
	x.flags = CFS_MSG_LOCK_WAIT;
	assert_int_equal(cfs_leaser_acquire(b, &x, &patient, &other, &err), 0);
	assert_int_equal(
		cfs_leaser_change(other, CFS_LOCK_S, false, &patient, &err), 0);
	x.mode = CFS_LOCK_S;
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, &err), 0);
	assert_int_equal(
		cfs_leaser_change(held, CFS_LOCK_X, false, &patient, &err),
		-EBUSY);
	cfs_leaser_release(other);
	assert_int_equal(
		cfs_leaser_change(held, CFS_LOCK_X, true, &patient, &err), 0);
	cfs_leaser_release(held);
	cfs_leaser_free(a, true);
	cfs_leaser_free(b, true);
	assert_int_equal(cfs_owner_client_count(m.owner), 0);
	stop();
}

static void test_another_pool(void **state)
{
	struct cfs_lease_client_config config = client_config(0);
	struct cfs_leaser *leaser;

	(void)state;
	start(10000);
	config.hello.pool_uuid[3] ^= 1;
	assert_true(cfs_leaser_connect(connect_link(), &config, NULL, &patient,
				       &leaser, NULL) < 0);
	stop();
}

struct worker {
	pthread_t thread;
	struct cfs_leaser *leaser;
	unsigned int *counter; /* guarded by the lease alone */
};

static void *count_up(void *arg)
{
	const struct cfs_lease_request x = request(7, CFS_LOCK_X,
						   CFS_MSG_LOCK_WAIT);
	struct worker *w = arg;
	struct cfs_held *held;
	int i;

	for (i = 0; i < 50; i++) {
		struct cfs_lease_request own = x;

		own.key = (uint64_t)(uintptr_t)w;
		if (cfs_leaser_acquire(w->leaser, &own, &patient, &held, NULL) <
		    0)
			return NULL;
		(*w->counter)++;
		cfs_leaser_release(held);
	}
	return w;
}

static void test_they_exclude_each_other(void **state)
{
	struct cfs_leaser *leasers[3];
	struct worker workers[6];
	unsigned int counter = 0, i;
	void *result;

	(void)state;
	start(10000);
	for (i = 0; i < 3; i++)
		leasers[i] = connect_leaser(NULL);
	for (i = 0; i < 6; i++) {
		workers[i] = (struct worker){
			.leaser = leasers[i % 3],
			.counter = &counter,
		};
		assert_int_equal(pthread_create(&workers[i].thread, NULL,
						count_up, &workers[i]),
				 0);
	}
	for (i = 0; i < 6; i++) {
		pthread_join(workers[i].thread, &result);
		assert_non_null(result);
	}
	assert_int_equal(counter, 300);
	for (i = 0; i < 3; i++)
		cfs_leaser_free(leasers[i], true);
	stop();
}

static void test_waiting_ends(void **state)
{
	struct cfs_lease_request x = request(5, CFS_LOCK_X, CFS_MSG_LOCK_WAIT);
	const struct cfs_conn_wait brief = {
		.timeout_ns = 50 * CFS_NS_PER_MS,
	};
	struct cfs_leaser *a, *b;
	struct cfs_held *held, *other;
	struct cfs_err err;

	(void)state;
	start(10000);
	a = connect_leaser(NULL);
	b = connect_leaser(NULL);
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, &err), 0);
	assert_int_equal(cfs_leaser_acquire(b, &x, &brief, &other, &err),
			 -ETIMEDOUT);
	cfs_leaser_release(held);
	/* Nothing of the one that gave up is left in the queue. */
	assert_int_equal(cfs_leaser_acquire(a, &x, &brief, &held, &err), 0);
	cfs_leaser_release(held);
	cfs_leaser_free(b, true);
	cfs_leaser_free(a, true);
	stop();
}

struct seen {
	atomic_uint recalled, lost, gone;
};

static void on_recall(void *arg, struct cfs_held *held, uint64_t grant_id,
		      const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct seen *seen = arg;

	assert_int_equal(resource->ino, 5);
	assert_int_equal(mode, CFS_LOCK_NONE);
	atomic_fetch_add(&seen->recalled, 1);
	/* As one who has nothing unsaved. */
	cfs_lease_client_yield(cfs_leaser_lock(held->leaser), grant_id);
	cfs_leaser_unlock(held->leaser);
}

static void on_lost(void *arg, struct cfs_held *held)
{
	struct seen *seen = arg;

	(void)held;
	atomic_fetch_add(&seen->lost, 1);
}

static void on_gone(void *arg, const struct cfs_err *why)
{
	struct seen *seen = arg;

	(void)why;
	atomic_fetch_add(&seen->gone, 1);
}

static void keep_recalled(void *arg, struct cfs_held *held, uint64_t grant_id,
			  const struct cfs_lock_resource *resource,
			  uint32_t mode)
{
	(void)grant_id;
	(void)resource;
	(void)mode;
	if (held)
		atomic_fetch_add((atomic_uint *)arg + *(int *)held->user, 1);
}

/* A lease that stands on what was asked back before is told of that too. */
static void test_recalled_before_it_is_got(void **state)
{
	atomic_uint told[2] = { 0, 0 };
	const struct cfs_leaser_hooks hooks = {
		.recall = keep_recalled,
		.arg = told,
	};
	const struct cfs_conn_wait brief = { .timeout_ns = CFS_NS_PER_S / 10 };
	struct cfs_lease_request x = request(
		5, CFS_LOCK_X, CFS_MSG_LOCK_RECALLABLE | CFS_MSG_LOCK_WAIT);
	struct cfs_leaser *a, *b;
	struct cfs_held *first, *second, *other;
	int users[2] = { 0, 1 };
	struct cfs_err err;

	(void)state;
	start(60000);
	a = connect_leaser(&hooks);
	b = connect_leaser(NULL);
	x.user = &users[0];
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &first, &err), 0);
	assert_int_equal(cfs_leaser_acquire(b, &x, &brief, &other, &err),
			 -ETIMEDOUT);
	assert_true(comes(&told[0], 1));
	x.user = &users[1];
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &second, &err), 0);
	assert_int_equal(atomic_load(&told[1]), 1);
	cfs_leaser_release(second);
	cfs_leaser_release(first);
	cfs_leaser_free(a, true);
	cfs_leaser_free(b, true);
	stop();
}

static void *get_x(void *arg)
{
	const struct cfs_lease_request x = request(5, CFS_LOCK_X,
						   CFS_MSG_LOCK_WAIT);
	struct cfs_held *held = NULL;

	if (cfs_leaser_acquire(arg, &x, &patient, &held, NULL) < 0)
		return NULL;
	cfs_leaser_release(held);
	return arg;
}

static void test_recall_in_the_background(void **state)
{
	const struct cfs_lease_request s = request(5, CFS_LOCK_S,
						   CFS_MSG_LOCK_RECALLABLE);
	struct seen seen = { .recalled = 0 };
	const struct cfs_leaser_hooks hooks = {
		.recall = on_recall,
		.lost = on_lost,
		.arg = &seen,
	};
	struct cfs_leaser *a, *b;
	struct cfs_held *held;
	pthread_t thread;
	void *result;

	(void)state;
	start(10000);
	a = connect_leaser(&hooks);
	b = connect_leaser(NULL);
	assert_int_equal(cfs_leaser_acquire(a, &s, &patient, &held, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, get_x, b), 0);
	assert_true(comes(&seen.recalled, 1));
	cfs_leaser_release(held);
	pthread_join(thread, &result);
	assert_non_null(result);
	assert_int_equal(seen.lost, 0);
	cfs_leaser_free(a, true);
	cfs_leaser_free(b, true);
	stop();
}

/* Longer than the period, alone and over requests. */
static void test_renewal(void **state)
{
	const struct cfs_lease_request x = request(5, CFS_LOCK_X, 0);
	struct seen seen = { .recalled = 0 };
	const struct cfs_leaser_hooks hooks = { .lost = on_lost, .arg = &seen };
	struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_leaser *a;
	struct cfs_held *held;
	int i;

	(void)state;
	start(600);
	a = connect_leaser(&hooks);
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, NULL), 0);
	usleep(1500000);
	assert_true(cfs_leaser_still_holds(held));
	for (i = 0; i < 100; i++) {
		assert_int_equal(cfs_conn_call(cfs_leaser_conn(a), ECHO, NULL,
					       0, NULL, &reply, NULL),
				 0);
		usleep(10000);
	}
	assert_true(cfs_leaser_still_holds(held));
	assert_int_equal(seen.lost, 0);
	/* The request carried who asked. */
	assert_memory_equal(
		reply.data,
		&(uint64_t){ cfs_lease_client_id(cfs_leaser_lock(a)) }, 8);
	cfs_leaser_unlock(a);
	cfs_leaser_release(held);
	cfs_leaser_free(a, true);
	cfs_buf_donep(&reply);
	stop();
}

static void test_the_manager_dies(void **state)
{
	const struct cfs_lease_request x = request(5, CFS_LOCK_X, 0);
	struct seen seen = { .recalled = 0 };
	const struct cfs_leaser_hooks hooks = {
		.lost = on_lost,
		.gone = on_gone,
		.arg = &seen,
	};
	struct cfs_leaser *a;
	struct cfs_held *held, *more;

	(void)state;
	start(500);
	a = connect_leaser(&hooks);
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, NULL), 0);
	cfs_server_free(m.server);
	m.server = NULL;
	assert_true(comes(&seen.gone, 1));
	assert_int_equal(cfs_leaser_acquire(a,
					    &(struct cfs_lease_request){
						    .resource = x.resource,
						    .mode = CFS_LOCK_X,
						    .key = 3,
					    },
					    &patient, &more, NULL),
			 -ECONNRESET);
	/* Held still, and then no longer. */
	assert_true(comes(&seen.lost, 1));
	assert_false(cfs_leaser_still_holds(held));
	assert_false(cfs_leaser_may_start(held, 0));
	cfs_leaser_release(held);
	cfs_leaser_free(a, true);
	start_server();
	stop();
}

static void test_a_new_manager(void **state)
{
	const struct cfs_lease_request x = request(5, CFS_LOCK_X, 0);
	struct seen seen = { .recalled = 0 };
	const struct cfs_leaser_hooks hooks = {
		.lost = on_lost,
		.gone = on_gone,
		.arg = &seen,
	};
	struct cfs_leaser *a, *b;
	struct cfs_held *held, *other;

	(void)state;
	start(3000);
	a = connect_leaser(&hooks);
	assert_int_equal(cfs_leaser_acquire(a, &x, &patient, &held, NULL), 0);
	cfs_server_free(m.server);
	cfs_owner_free(m.owner);
	assert_true(comes(&seen.gone, 1));
	make_owner(2, 3000, true);
	start_server();
	assert_int_equal(
		cfs_leaser_reconnect(a, connect_link(), &patient, NULL), 0);
	b = connect_leaser(NULL);
	/* Reclaimed: another one does not get it, in grace or after. */
	assert_true(cfs_leaser_acquire(b, &x, &patient, &other, NULL) < 0);
	assert_true(cfs_leaser_still_holds(held));
	assert_int_equal(seen.lost, 0);
	cfs_leaser_release(held);
	cfs_leaser_free(a, true);
	cfs_leaser_free(b, true);
	stop();
}

/* ------------------------------------------------------------------- speed */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * CFS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void *bare_echo(void *arg)
{
	char buf[256];
	int fd = *(int *)arg;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (send(fd, buf, (size_t)n, 0) < 0)
			break;
	return NULL;
}

static uint64_t bare_round_trip_ns(unsigned int rounds)
{
	char buf[100] = "";
	pthread_t thread;
	uint64_t begin;
	int fds[2];
	unsigned int i;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, bare_echo, &fds[1]), 0);
	begin = now_ns();
	for (i = 0; i < rounds; i++) {
		assert_int_equal(send(fds[0], buf, sizeof(buf), 0), 100);
		assert_int_equal(recv(fds[0], buf, sizeof(buf), 0), 100);
	}
	begin = now_ns() - begin;
	close(fds[0]);
	pthread_join(thread, NULL);
	close(fds[1]);
	return begin / rounds;
}

/* For people to read; what is asserted leaves room for a busy machine. */
static void test_round_trips(void **state)
{
	const struct cfs_lease_request x = request(5, CFS_LOCK_X, 0);
	const unsigned int rounds = 3000;
	uint64_t bare, pair, begin;
	struct cfs_leaser *a;
	struct cfs_held *held;
	unsigned int i;

	(void)state;
	start(10000);
	a = connect_leaser(NULL);
	bare = bare_round_trip_ns(rounds);
	begin = now_ns();
	for (i = 0; i < rounds; i++) {
		assert_int_equal(cfs_leaser_acquire(a, &x, NULL, &held, NULL),
				 0);
		cfs_leaser_release(held);
	}
	pair = (now_ns() - begin) / rounds;
	print_message("bare round trip %llu ns, grant and release %llu ns\n",
		      (unsigned long long)bare, (unsigned long long)pair);
	assert_true(pair < 20 * bare + CFS_NS_PER_MS);
	cfs_leaser_free(a, true);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_and_give_back),
		cmocka_unit_test(test_another_pool),
		cmocka_unit_test(test_they_exclude_each_other),
		cmocka_unit_test(test_waiting_ends),
		cmocka_unit_test(test_recall_in_the_background),
		cmocka_unit_test(test_recalled_before_it_is_got),
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_the_manager_dies),
		cmocka_unit_test(test_a_new_manager),
		cmocka_unit_test(test_round_trips),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
