/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Processes that use one LUN on the devices themselves, and die, stop or lose
 * their leases: nothing that was synced is lost, nothing that nobody wrote
 * appears, and who comes late harms nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>

#include "direct_fixture.h"

#define HALF    (BLOCKS / 2)
/* Much less than the period of 60 s, and much more than a busy host needs. */
#define SOON_NS (40 * CFS_NS_PER_S)

static void load(const struct process *p, uint32_t number, uint32_t first,
		 uint32_t count)
{
	send_order(p, &(struct order){ .op = OP_LOAD,
				       .first = first,
				       .count = count,
				       .version = number });
}

/* True: it went on by so many syncs. */
static bool goes_on(unsigned int number, uint64_t more)
{
	const uint64_t until = __atomic_load_n(&shared->steps[number],
					       __ATOMIC_SEQ_CST) +
			       more;
	const uint64_t late = now_ns() + 40 * CFS_NS_PER_S;

	while (__atomic_load_n(&shared->steps[number], __ATOMIC_SEQ_CST) <
	       until) {
		if (now_ns() > late || shared->ended[number] < 0)
			return false;
		usleep(2000);
	}
	return true;
}

static void must_go_on(const struct process *p, unsigned int number)
{
	struct answer a = { .code = 0, .text = "it stands still" };

	if (goes_on(number, 20))
		return;
	if (shared->ended[number] < 0)
		a = take_answer(p);
	fail_msg("load %u: %d: %s", number, a.code, a.text);
}

static void end_load(const struct process *p)
{
	struct answer a;

	shared->stop = 1;
	a = take_answer(p);
	if (a.code < 0)
		fail_msg("%d: %s", a.code, a.text);
}

/* A client is killed: the next who reads has what it synced, at once. */
static void test_client_killed(void **state)
{
	struct process m, a, b;
	uint64_t begin, took;

	(void)state;
	make_pool("60s");
	m = start_manager();
	for (unsigned int i = 0; i < 3; i++) {
		a = start_client(CFS_IO_MODE_DIRECT);
		load(&a, i, 0, BLOCKS);
		assert_true(goes_on(i, 30 + 20 * i));
		end(&a, SIGKILL);
		begin = now_ns();
		b = start_client(i == 1 ? CFS_IO_MODE_FORWARDED
					: CFS_IO_MODE_DIRECT);
		check_all(&b);
		took = now_ns() - begin;
		assert_true(took < SOON_NS);
		/* What was found is what there is from now on. */
		check_all(&b);
		stop_client(&b);
	}
	stop_manager(&m);
	b = start_client(CFS_IO_MODE_ANY);
	check_all(&b);
	stop_client(&b);
}

/* Manager and client are killed; whoever opens the pool then finds it all. */
static void test_both_killed(void **state)
{
	struct process m, a, b;
	uint64_t begin;

	(void)state;
	make_pool("60s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	load(&a, 0, 0, BLOCKS);
	assert_true(goes_on(0, 40));
	end(&m, SIGKILL);
	end(&a, SIGKILL);
	begin = now_ns();
	b = start_client(CFS_IO_MODE_ANY);
	check_all(&b);
	assert_true(now_ns() - begin < SOON_NS);
	stop_client(&b);
}

/*
 * Manager and clients are killed, and another manager comes: nobody is left to
 * be waited for.  While one of them lives, he is.
 */
static void test_both_killed_and_served(void **state)
{
	struct process m, a, b, c;
	uint64_t begin;

	(void)state;
	make_pool("60s");
	for (unsigned int i = 0; i < 3; i++) {
		m = start_manager();
		a = start_client(CFS_IO_MODE_DIRECT);
		c = start_client(CFS_IO_MODE_DIRECT);
		load(&a, 0, 0, BLOCKS);
		assert_true(goes_on(0, 20));
		end(&m, SIGKILL);
		end(&a, SIGKILL);
		if (i != 1)
			end(&c, SIGKILL);
		begin = now_ns();
		m = start_manager();
		b = start();
		if (i == 1) {
			/* It stands still, and is waited for. */
			kill(c.pid, SIGSTOP);
			send_order(&b, &(struct order){
					       .op = OP_OPEN,
					       .name = "lun",
					       .is_writable = true,
				       });
			usleep(2000000);
			end(&c, SIGKILL);
			assert_int_equal(take_answer(&b).code, 0);
			assert_true(now_ns() - begin > 2 * CFS_NS_PER_S);
		} else {
			MUST(&b, .op = OP_OPEN, .name = "lun",
			     .is_writable = true);
		}
		check_all(&b);
		assert_true(now_ns() - begin < SOON_NS);
		stop_client(&b);
		stop_manager(&m);
	}
}

/* The manager is killed under load, and another one comes: they go on. */
static void test_manager_killed(void **state)
{
	struct process m, a, b;
	struct answer after;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	load(&a, 0, 0, HALF);
	load(&b, 1, HALF, HALF);
	for (unsigned int i = 0; i < 2; i++) {
		must_go_on(&a, 0);
		must_go_on(&b, 1);
		end(&m, SIGKILL);
		m = start_manager();
	}
	must_go_on(&a, 0);
	must_go_on(&b, 1);
	end_load(&a);
	end_load(&b);
	memcpy(shared->synced, shared->begun, sizeof(shared->synced));
	after = MUST(&a, .op = OP_STATS);
	assert_int_equal(after.stats.reconnects, 2);
	check_all(&a);
	check_all(&b);
	stop_client(&a);
	stop_client(&b);
	stop_manager(&m);
	b = start_client(CFS_IO_MODE_ANY);
	check_all(&b);
	stop_client(&b);
}

/* No other manager comes in time: they learn that it is lost, and say so. */
static void test_manager_stays_away(void **state)
{
	struct process m, a, b;
	struct answer r;

	(void)state;
	make_pool("1s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 5, .version = 1);
	MUST(&a, .op = OP_SYNC);
	MUST(&a, .op = OP_WRITE, .first = 2, .count = 1, .version = 2);
	end(&m, SIGKILL);
	usleep(1500000);
	r = ask(&a, (struct order){ .op = OP_SYNC });
	assert_int_equal(r.code, -ESTALE);
	assert_non_null(strstr(r.text, "the lease is lost, and what was not"));
	assert_non_null(strstr(r.text, "(its period ended before "));
	r = ask(&a, (struct order){ .op = OP_READ, .first = 1, .count = 1 });
	assert_int_equal(r.code, -ESTALE);
	r = ask(&a, (struct order){ .op = OP_END });
	assert_int_equal(r.code, -ESTALE);
	end(&a, 0);
	b = start_client(CFS_IO_MODE_ANY);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 1, .count = 1, .version = 1)
			.value,
		1);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 3, .count = 3, .version = 1)
			.value,
		1);
	stop_client(&b);
}

/*
 * A client stands still for three periods, and so did all its clocks: by these
 * its lease runs.  What it syncs then is read by nobody, and with `checked` it
 * knows.
 */
static void test_client_stopped_with_clocks(void **state)
{
	struct process m, a, b;
	struct answer r;

	(void)state;
	make_pool("1s");
	m = start_manager();
	for (unsigned int of_volume = 0; of_volume < 2; of_volume++) {
		MUST(&m, .op = OP_SET, .count = of_volume, .name = "yes");
		a = start_client(CFS_IO_MODE_DIRECT);
		MUST(&a, .op = OP_WRITE, .first = 0, .count = 5, .version = 1);
		MUST(&a, .op = OP_SYNC);
		MUST(&a, .op = OP_WRITE, .first = 0, .count = 5, .version = 2);
		MUST(&a, .op = OP_CLOCK);
		kill(a.pid, SIGSTOP);
		usleep(3000000);
		b = start_client(CFS_IO_MODE_DIRECT);
		assert_int_equal(MUST(&b, .op = OP_READ, .first = 0, .count = 5,
				      .version = 1)
					 .value,
				 1);
		send_order(&a, &(struct order){ .op = OP_SYNC });
		kill(a.pid, SIGCONT);
		r = take_answer(&a);
		assert_int_equal(r.code, -ESTALE);
		assert_int_equal(MUST(&b, .op = OP_READ, .first = 0, .count = 5,
				      .version = 1)
					 .value,
				 1);
		stop_client(&b);
		end(&a, SIGKILL);
		MUST(&m, .op = OP_SET, .count = of_volume, .name = "no");
	}
	stop_manager(&m);
}

/* A client stands still for three periods, and wakes. */
static void test_client_stopped(void **state)
{
	struct process m, a, b;
	struct answer r;

	(void)state;
	make_pool("1s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	MUST(&a, .op = OP_WRITE, .first = 0, .count = 100, .version = 1);
	MUST(&a, .op = OP_SYNC);
	MUST(&a, .op = OP_WRITE, .first = 0, .count = 10, .version = 2);
	kill(a.pid, SIGSTOP);
	usleep(3200000);
	/* What it synced is there, and can be written over. */
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 0, .count = 100, .version = 1)
			.value,
		1);
	MUST(&b, .op = OP_WRITE, .first = 5, .count = 10, .version = 3);
	MUST(&b, .op = OP_SYNC);
	kill(a.pid, SIGCONT);
	/* It learns of it, whatever it does first. */
	r = ask(&a, (struct order){ .op = OP_SYNC });
	assert_int_equal(r.code, -ESTALE);
	r = ask(&a, (struct order){ .op = OP_WRITE,
				    .first = 5,
				    .count = 10,
				    .version = 4 });
	assert_int_equal(r.code, -ESTALE);
	r = ask(&a, (struct order){ .op = OP_READ, .first = 5, .count = 1 });
	assert_int_equal(r.code, -ESTALE);
	assert_non_null(strstr(r.text, "(its period ended before "));
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 5, .count = 10, .version = 3)
			.value,
		1);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 15, .count = 85, .version = 1)
			.value,
		1);
	r = ask(&a, (struct order){ .op = OP_END });
	assert_int_equal(r.code, -ESTALE);
	end(&a, 0);
	stop_client(&b);
	stop_manager(&m);
	b = start_client(CFS_IO_MODE_ANY);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 5, .count = 10, .version = 3)
			.value,
		1);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 15, .count = 85, .version = 1)
			.value,
		1);
	stop_client(&b);
}

/* One that is stopped under load wakes in the middle of anything. */
static void test_load_stopped(void **state)
{
	struct process m, a, b;

	(void)state;
	make_pool("1s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	load(&a, 0, 0, BLOCKS);
	assert_true(goes_on(0, 20));
	kill(a.pid, SIGSTOP);
	b = start_client(CFS_IO_MODE_DIRECT);
	check_all(&b);
	kill(a.pid, SIGCONT);
	assert_int_equal(take_answer(&a).code, -ESTALE);
	check_all(&b);
	end(&a, 0);
	check_all(&b);
	stop_client(&b);
	stop_manager(&m);
}

/* An operator takes a client's leases away. */
static void test_revoked(void **state)
{
	struct process m, a, b;

	(void)state;
	make_pool("1s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start();
	load(&a, 0, 0, BLOCKS);
	assert_true(goes_on(0, 20));
	MUST(&b, .op = OP_REVOKE, .first = (uint32_t)a.pid);
	assert_int_equal(take_answer(&a).code, -ESTALE);
	MUST(&b, .op = OP_OPEN, .name = "lun", .is_writable = true,
	     .mode = CFS_IO_MODE_DIRECT);
	check_all(&b);
	end(&a, SIGKILL);
	stop_client(&b);
	stop_manager(&m);
}

/*
 * Snapshots under load: in each is all that was synced before it was asked for,
 * and nothing that was begun behind it; and if what one wrote is in it, then
 * what another one had synced before is in it, too.
 */
static void test_snapshots(void **state)
{
	static uint32_t synced[BLOCKS], begun[BLOCKS];
	struct process m, a, b, c;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	c = start();
	load(&a, 0, 0, HALF);
	load(&b, 1, HALF, HALF);
	for (unsigned int i = 0; i < 6; i++) {
		struct order o = { .op = OP_SNAPSHOT };
		struct process r;

		assert_true(goes_on(0, 10) && goes_on(1, 10));
		snprintf(o.name, sizeof(o.name), "s%u", i);
		memcpy(synced, shared->synced, sizeof(synced));
		if (ask(&c, o).code < 0)
			fail_msg("no snapshot %u", i);
		memcpy(begun, shared->begun, sizeof(begun));
		r = start();
		o.op = OP_SNAP_OPEN;
		assert_int_equal(ask(&r, o).code, 0);
		for (uint32_t at = 0; at < BLOCKS; at += 7) {
			struct answer v = MUST(&r, .op = OP_READ, .first = at,
					       .count = 1);

			if (v.version < synced[at] || v.version > begun[at])
				fail_msg("snapshot %u: block %u has version "
					 "%u, not %u to %u",
					 i, at, v.version, synced[at],
					 begun[at]);
		}
		MUST(&r, .op = OP_END);
		end(&r, 0);
	}
	end_load(&a);
	end_load(&b);
	memcpy(shared->synced, shared->begun, sizeof(shared->synced));
	check_all(&a);
	MUST(&c, .op = OP_END);
	end(&c, 0);
	stop_client(&a);
	stop_client(&b);
	stop_manager(&m);
}

/* B writes what A has synced; a snapshot with B's has A's. */
static void test_snapshot_order(void **state)
{
	struct process m, a, b, c;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	c = start();
	/* Their ranges are apart from now on. */
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 1, .version = 1);
	MUST(&b, .op = OP_WRITE, .first = HALF, .count = 1, .version = 1);
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 1, .version = 2);
	for (unsigned int i = 0; i < 10; i++) {
		struct order snap = { .op = OP_SNAPSHOT };
		uint32_t version = 10 * i + 10, in_a, in_b;

		snprintf(snap.name, sizeof(snap.name), "s%u", i);
		send_order(&c, &snap);
		for (unsigned int k = 0; k < 6; k++) {
			version++;
			MUST(&a, .op = OP_WRITE, .first = 1, .count = 1,
			     .version = version);
			MUST(&a, .op = OP_SYNC);
			MUST(&b, .op = OP_WRITE, .first = HALF, .count = 1,
			     .version = version);
			MUST(&b, .op = OP_SYNC);
		}
		assert_int_equal(take_answer(&c).code, 0);
		snap.op = OP_SNAP_OPEN;
		assert_int_equal(ask(&c, snap).code, 0);
		in_a = MUST(&c, .op = OP_READ, .first = 1, .count = 1).version;
		in_b = MUST(&c, .op = OP_READ, .first = HALF, .count = 1)
			       .version;
		MUST(&c, .op = OP_CLOSE);
		if (in_a < in_b)
			fail_msg("snapshot %u: %u without %u", i, in_b, in_a);
	}
	MUST(&c, .op = OP_END);
	end(&c, 0);
	stop_client(&a);
	stop_client(&b);
	stop_manager(&m);
}

/* One that stands still holds up the snapshot, and nobody else. */
static void test_snapshot_beside_silent(void **state)
{
	struct order snap = { .op = OP_SNAPSHOT, .name = "s" };
	struct process m, a, b, c;
	struct pollfd answer = { .events = POLLIN };
	uint64_t begin;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	c = start();
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 1, .version = 1);
	MUST(&b, .op = OP_WRITE, .first = HALF, .count = 1, .version = 1);
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 5, .version = 2);
	MUST(&a, .op = OP_SYNC);
	memset(shared, 0, sizeof(*shared));
	load(&b, 1, HALF + 10, HALF - 10);
	must_go_on(&b, 1);
	kill(a.pid, SIGSTOP);
	begin = now_ns();
	send_order(&c, &snap);
	usleep(500000);
	/* The others go on long before. */
	must_go_on(&b, 1);
	must_go_on(&b, 1);
	answer.fd = c.fd;
	assert_int_equal(poll(&answer, 1, 0), 0);
	assert_int_equal(take_answer(&c).code, 0);
	assert_true(now_ns() - begin > CFS_NS_PER_S);
	kill(a.pid, SIGCONT);
	end_load(&b);
	snap.op = OP_SNAP_OPEN;
	assert_int_equal(ask(&c, snap).code, 0);
	assert_int_equal(
		MUST(&c, .op = OP_READ, .first = 1, .count = 5, .version = 2)
			.value,
		1);
	MUST(&c, .op = OP_END);
	end(&c, 0);
	end(&a, SIGKILL);
	stop_client(&b);
	stop_manager(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_killed),
		cmocka_unit_test(test_both_killed),
		cmocka_unit_test(test_both_killed_and_served),
		cmocka_unit_test(test_manager_killed),
		cmocka_unit_test(test_manager_stays_away),
		cmocka_unit_test(test_client_stopped_with_clocks),
		cmocka_unit_test(test_client_stopped),
		cmocka_unit_test(test_load_stopped),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_snapshot_order),
		cmocka_unit_test(test_snapshot_beside_silent),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
