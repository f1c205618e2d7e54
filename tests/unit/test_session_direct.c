/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Processes that use one LUN on the devices themselves: what one wrote the
 * others see, whichever way they go; ranges are shared; figures of what passes
 * through the manager.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "direct_fixture.h"

#define MIB_BLOCKS 256u
#define HALF       (BLOCKS / 2)

/* What is written is read at once by others, synced or not. */
static void test_pass_on(void **state)
{
	struct process m, a, b, f;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	f = start_client(CFS_IO_MODE_FORWARDED);
	for (uint32_t i = 0; i < 12; i++) {
		const struct process *by = i % 3 == 0   ? &a
					   : i % 3 == 1 ? &b
							: &f;

		MUST(by, .op = OP_WRITE, .first = 10, .count = 5,
		     .version = i + 1);
		assert_int_equal(MUST(&a, .op = OP_READ, .first = 10,
				      .count = 5, .version = i + 1)
					 .value,
				 1);
		assert_int_equal(MUST(&f, .op = OP_READ, .first = 10,
				      .count = 5, .version = i + 1)
					 .value,
				 1);
		assert_int_equal(MUST(&b, .op = OP_READ, .first = 10,
				      .count = 5, .version = i + 1)
					 .value,
				 1);
	}
	MUST(&b, .op = OP_DISCARD, .first = 11, .count = 2);
	assert_int_equal(
		MUST(&a, .op = OP_READ, .first = 11, .count = 2, .version = 0)
			.value,
		1);
	assert_int_equal(
		MUST(&f, .op = OP_READ, .first = 11, .count = 2, .version = 0)
			.value,
		1);
	assert_int_equal(
		MUST(&f, .op = OP_READ, .first = 13, .count = 2, .version = 12)
			.value,
		1);
	stop_client(&a);
	stop_client(&b);
	stop_client(&f);
	stop_manager(&m);
	/* And whoever opens the pool then. */
	a = start_client(CFS_IO_MODE_ANY);
	assert_int_equal(
		MUST(&a, .op = OP_READ, .first = 13, .count = 2, .version = 12)
			.value,
		1);
	stop_client(&a);
}

/*
 * The manager and a client read many blocks with one call.  They have a lease
 * for the first, which does not reach those that another client writes: nothing
 * makes that one tell what it wrote, nor them look, but a lease for each.
 */
static void test_read_many(void **state)
{
	const uint32_t count = 4; /* a lease reaches one */
	struct process m, a, b;

	(void)state;
	make_pool("10s");
	m = start_manager();
	MUST(&m, .op = OP_OPEN, .name = "lun", .is_writable = true);
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	for (uint32_t i = 1; i <= 12; i++) {
		for (uint32_t k = i > 1; k < count; k++)
			MUST(&a, .op = OP_WRITE,
			     .first = 10 + k * (BLOCKS / count), .count = 1,
			     .version = i);
		assert_int_equal(MUST(i % 2 ? &m : &b, .op = OP_READ_MANY,
				      .first = 10, .count = count, .version = i)
					 .value,
				 1);
	}
	stop_client(&a);
	stop_client(&b);
	stop_manager(&m);
}

static void wait_for_steps(unsigned int load, uint64_t more)
{
	const uint64_t until = shared->steps[load] + more;
	const uint64_t late = now_ns() + 30 * CFS_NS_PER_S;

	while (__atomic_load_n(&shared->steps[load], __ATOMIC_SEQ_CST) <
	       until) {
		if (now_ns() > late || shared->ended[load] < 0)
			fail_msg("load %u: %u steps, %d", load,
				 (unsigned int)shared->steps[load],
				 shared->ended[load]);
		usleep(2000);
	}
}

/* Two write their halves at once; every block is as it was last written. */
static void test_ranges(void **state)
{
	struct process m, a, b, c;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	send_order(&a, &(struct order){
			       .op = OP_LOAD, .count = HALF, .version = 0 });
	send_order(&b, &(struct order){ .op = OP_LOAD,
					.first = HALF,
					.count = HALF,
					.version = 1 });
	wait_for_steps(0, 60);
	wait_for_steps(1, 60);
	shared->stop = 1;
	assert_int_equal(take_answer(&a).code, 0);
	assert_int_equal(take_answer(&b).code, 0);
	/* All of it is synced now. */
	memcpy(shared->synced, shared->begun, sizeof(shared->synced));
	c = start_client(CFS_IO_MODE_DIRECT);
	check_all(&c);
	check_all(&a);
	stop_client(&a);
	stop_client(&b);
	stop_client(&c);
	c = start_client(CFS_IO_MODE_FORWARDED);
	check_all(&c);
	stop_client(&c);
	stop_manager(&m);
}

/* A LUN that grows is as large for who has it open. */
static void test_resize(void **state)
{
	struct process m, a, b;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start();
	MUST(&a, .op = OP_WRITE, .first = 1, .count = 1, .version = 1);
	MUST(&b, .op = OP_RESIZE, .count = BLOCKS + 512);
	MUST(&a, .op = OP_WRITE, .first = BLOCKS + 500, .count = 5,
	     .version = 3);
	assert_int_equal(MUST(&a, .op = OP_READ, .first = BLOCKS + 500,
			      .count = 5, .version = 3)
				 .value,
			 1);
	/* Nobody takes away what somebody writes. */
	assert_int_equal(
		ask(&b, (struct order){ .op = OP_RESIZE, .count = 100 }).code,
		-EBUSY);
	MUST(&b, .op = OP_END);
	end(&b, 0);
	stop_client(&a);
	stop_manager(&m);
}

/* Large writes and reads: next to nothing passes through the manager. */
static void test_messages(void **state)
{
	struct answer before, after;
	struct process m, a;
	uint64_t messages, bytes;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	before = MUST(&a, .op = OP_STATS);
	MUST(&a, .op = OP_RATE, .count = BLOCKS, .version = 1,
	     .is_writable = true);
	MUST(&a, .op = OP_RATE, .count = BLOCKS, .version = 1);
	after = MUST(&a, .op = OP_STATS);
	messages = after.stats.sent_messages - before.stats.sent_messages;
	bytes = after.stats.sent_bytes + after.stats.received_bytes -
		before.stats.sent_bytes - before.stats.received_bytes;
	print_message("512 MiB: %u messages, %u bytes, %u folds, %u loans\n",
		      (unsigned int)messages, (unsigned int)bytes,
		      (unsigned int)after.stats.folds,
		      (unsigned int)after.stats.lends);
	/*
	 * One in 64 MiB, and what begins it: a lease, a view.  A fold counts
	 * as one, though the checksums in it (8 of 4096 bytes) take several.
	 */
	messages -= bytes / 50000;
	assert_true(messages <= 8 + 6);
	assert_true(bytes < LUN_BYTES / 400);
	stop_client(&a);
	stop_manager(&m);
}

/* Who gives back what it has no lease for is refused, and harms nobody. */
static void test_liar(void **state)
{
	struct process m, a, b;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	MUST(&a, .op = OP_WRITE, .first = 7, .count = 1, .version = 1);
	MUST(&a, .op = OP_SYNC);
	assert_int_equal(
		ask(&b,
		    (struct order){ .op = OP_LIE, .first = 7, .version = 2 })
			.code,
		-EPERM);
	assert_int_equal(
		MUST(&a, .op = OP_READ, .first = 7, .count = 1, .version = 1)
			.value,
		1);
	/* Nothing more is taken from it, and the others go on. */
	assert_true(ask(&b, (struct order){ .op = OP_WRITE,
					    .first = 9,
					    .count = 1,
					    .version = 3 })
				    .code < 0 ||
		    ask(&b, (struct order){ .op = OP_SYNC }).code < 0);
	assert_true(ask(&b, (struct order){ .op = OP_END }).code < 0);
	end(&b, 0);
	MUST(&a, .op = OP_WRITE, .first = 7, .count = 1, .version = 4);
	MUST(&a, .op = OP_SYNC);
	stop_client(&a);
	b = start_client(CFS_IO_MODE_FORWARDED);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 7, .count = 1, .version = 4)
			.value,
		1);
	stop_client(&b);
	stop_manager(&m);
}

/* Requests that make no sense: each has its answer, and the manager lives. */
static void test_nonsense(void **state)
{
	static const struct {
		uint32_t type, client, value, bytes;
		int code;
	} q[] = {
		{ CFS_DIRECT_VIEW, 1, 0, 0, -ESTALE }, /* another's */
		{ CFS_DIRECT_LEND, 1, 4, 0, -ESTALE },
		{ CFS_DIRECT_FOLD, 1, 1, 0, -ESTALE },
		{ CFS_DIRECT_CLOSE, 1, 1, 0, 0 }, /* closes nothing */
		{ CFS_DIRECT_LEND, 0, 0, 0, -EINVAL },
		{ CFS_DIRECT_LEND, 0, 100000, 0, -EINVAL },
		{ CFS_DIRECT_LEND_INOS, 0, 1 << 20, 0, -EINVAL },
		{ CFS_DIRECT_STAGE, 0, 0, 100, -E2BIG },
		{ CFS_DIRECT_STAGE, 0, 1000, 100, -E2BIG },
		{ CFS_DIRECT_STAGE, 0, 1, 100, 0 },
		{ CFS_DIRECT_FOLD, 0, 1, 0, -ENODATA }, /* not whole */
		{ CFS_DIRECT_FOLD, 0, 1, 0, -ENODATA },
		{ CFS_DIRECT_FOLD, 0, 1, 60000, -EPROTO },
		{ CFS_DIRECT_OPEN, 0, 0, 0, -EPROTO }, /* by nobody */
		{ 0x02fe, 0, 0, 0, -ENOTSUP },
	};
	struct process m, a, b;

	(void)state;
	make_pool("10s");
	m = start_manager();
	a = start_client(CFS_IO_MODE_DIRECT);
	b = start_client(CFS_IO_MODE_DIRECT);
	MUST(&b, .op = OP_WRITE, .first = 7, .count = 1, .version = 1);
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		struct answer r = ask(&a,
				      (struct order){ .op = OP_RAW,
						      .first = q[i].type,
						      .version = q[i].client,
						      .count = q[i].value,
						      .mode = q[i].bytes });

		if (r.code != q[i].code)
			fail_msg("%zu: %d: %s", i, r.code, r.text);
	}
	/* It has done itself no harm, either. */
	MUST(&a, .op = OP_WRITE, .first = 8, .count = 1, .version = 2);
	assert_int_equal(
		MUST(&b, .op = OP_READ, .first = 8, .count = 1, .version = 2)
			.value,
		1);
	stop_client(&a);
	stop_client(&b);
	stop_manager(&m);
}

/* It is not given up for a manager that stands still for longer than an answer
 * takes, in whichever mode. */
static void test_patience(void **state)
{
	static const uint32_t modes[] = { CFS_IO_MODE_DIRECT, CFS_IO_MODE_ANY };
	struct process m, a;
	struct answer r;

	(void)state;
	make_pool("10s");
	m = start_manager();
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		a = start();
		/* It has its session. */
		MUST(&a, .op = OP_RESIZE, .count = BLOCKS, .mode = modes[i]);
		kill(m.pid, SIGSTOP);
		send_order(&a, &(struct order){ .op = OP_OPEN,
						.name = "lun",
						.is_writable = true });
		usleep(2500000);
		kill(m.pid, SIGCONT);
		r = take_answer(&a);
		if (r.code < 0)
			fail_msg("%d: %s", r.code, r.text);
		MUST(&a, .op = OP_STATS);
		MUST(&a, .op = OP_WRITE, .first = 3, .count = 1, .version = 1);
		stop_client(&a);
	}
	stop_manager(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass_on),
		cmocka_unit_test(test_read_many),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_liar),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_patience),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
