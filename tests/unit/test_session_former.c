/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may come back to the next manager: only what is sure is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/holder.h"
#include "session/serve_former.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/cfs-former-XXXXXX";
static char path[128];
static const uint8_t pool[16] = { 1, 2, 3 };

static struct cfs_former *open_as(bool has_clients, uint32_t before,
				  uint32_t epoch)
{
	struct cfs_former *f = NULL;

	assert_int_equal(cfs_former_open(dir, pool, has_clients, before, epoch,
					 &f, NULL),
			 0);
	assert_non_null(f);
	return f;
}

/* Who said hello last, to say it again. */
static struct cfs_link_peer last_peer;
static struct cfs_msg_hello last_hello;

/* A child says hello; it lives until *ret_pid is killed. */
static void join(struct cfs_former *f, uint64_t client, uint32_t flags,
		 bool is_local, pid_t *ret_pid)
{
	struct cfs_link_peer peer = { .is_local = is_local };
	struct cfs_msg_hello hello = { .flags = flags };
	struct cfs_identity self;
	char stat[64], line[512], *p;
	pid_t pid = fork();
	ssize_t n;
	int fd;

	if (pid == 0)
		for (;;)
			pause();
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(hello.boot_id, self.boot_id, 16);
	peer.pid = (uint32_t)pid;
	hello.pid = (uint64_t)pid;
	/* Field 22, behind a name in parentheses. */
	snprintf(stat, sizeof(stat), "/proc/%d/stat", (int)pid);
	fd = open(stat, O_RDONLY);
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	assert_true(n > 0);
	line[n] = '\0';
	p = strrchr(line, ')') + 2;
	for (int field = 3; field < 22; field++)
		p = strchr(p, ' ') + 1;
	hello.process_start = strtoull(p, NULL, 10);
	cfs_former_hello(f, &peer, &hello);
	cfs_former_welcome(f, client);
	last_peer = peer;
	last_hello = hello;
	*ret_pid = pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path),
		 "%s/01020300-0000-0000-0000-"
		 "000000000000.clients",
		 dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static void test_the_living_are_waited_for(void **state)
{
	struct cfs_former *f;
	pid_t a, b;

	(void)state;
	f = open_as(false, 0, 1);
	assert_true(cfs_former_are_settled(f, NULL, NULL));
	join(f, 10, 0, true, &a);
	join(f, 11, 0, true, &b);
	cfs_former_close(f);
	end(a);
	f = open_as(true, 1, 2);
	assert_false(cfs_former_are_settled(f, NULL, NULL));
	/* And by the one behind, who comes while it lives. */
	cfs_former_close(f);
	f = open_as(true, 2, 4);
	assert_false(cfs_former_are_settled(f, NULL, NULL));
	end(b);
	assert_true(cfs_former_are_settled(f, NULL, NULL));
	cfs_former_forget(f);
	cfs_former_close(f);
	assert_int_equal(access(path, F_OK), -1);
}

static bool has_all(void *arg, uint64_t client)
{
	const uint64_t *who = arg;

	return client == *who;
}

/* And if he is, he is one of whom the next manager has to know. */
static void test_who_is_back_is_not_waited_for(void **state)
{
	uint64_t one = 10, other = 11;
	struct cfs_former *f;
	pid_t a;

	(void)state;
	f = open_as(false, 0, 1);
	join(f, one, 0, true, &a);
	cfs_former_close(f);
	for (uint32_t epoch = 2; epoch < 5; epoch++) {
		f = open_as(true, epoch - 1, epoch);
		/* Not because somebody says so of one who is not here. */
		assert_false(cfs_former_are_settled(f, has_all, &one));
		cfs_former_hello(f, &last_peer, &last_hello);
		assert_false(cfs_former_are_settled(f, has_all, &one));
		cfs_former_welcome(f, one);
		/* He is back, and may have to reclaim what he had. */
		assert_false(cfs_former_are_settled(f, NULL, NULL));
		assert_false(cfs_former_are_settled(f, has_all, &other));
		assert_true(cfs_former_are_settled(f, has_all, &one));
		cfs_former_forget(f);
		assert_true(cfs_former_are_settled(f, NULL, NULL));
		cfs_former_close(f);
	}
	/* As somebody else he is not who was there. */
	f = open_as(true, 4, 5);
	cfs_former_hello(f, &last_peer, &last_hello);
	cfs_former_welcome(f, other);
	assert_false(cfs_former_are_settled(f, has_all, &other));
	/* Over a second connection he is the same. */
	cfs_former_hello(f, &last_peer, &last_hello);
	cfs_former_welcome(f, one);
	cfs_former_hello(f, &last_peer, &last_hello);
	cfs_former_welcome(f, one);
	assert_false(cfs_former_are_settled(f, has_all, &other));
	assert_true(cfs_former_are_settled(f, has_all, &one));
	cfs_former_close(f);
	end(a);
	(void)unlink(path);
}

static void test_who_has_left_is_forgotten(void **state)
{
	struct cfs_former *f = open_as(false, 0, 1);
	pid_t a, b;

	(void)state;
	join(f, 10, 0, true, &a);
	join(f, 0, 0, true, &b); /* turned away */
	cfs_former_ended(f, 10);
	cfs_former_close(f);
	assert_int_equal(access(path, F_OK), -1);
	f = open_as(true, 1, 2);
	assert_false(cfs_former_are_settled(f, NULL,
					    NULL)); /* no file: nobody knows */
	cfs_former_close(f);
	end(a);
	end(b);
	(void)unlink(path);
}

/* What a tool believes that answers nobody, and leaves the list as it is. */
static void test_a_tool_looks_at_it(void **state)
{
	char address[160];
	struct cfs_former *f = open_as(false, 0, 1);
	pid_t a, b;

	(void)state;
	snprintf(address, sizeof(address), "unix:%s/x.sock tcp:[::1]:5", dir);
	join(f, 10, 0, true, &a);
	join(f, 11, CFS_HELLO_SECONDARY, true, &b);
	assert_true(cfs_former_may_live(address, pool, 1));
	assert_true(cfs_former_may_live(address, pool, 1));
	end(a);
	/* What a secondary has is no lease. */
	assert_false(cfs_former_may_live(address, pool, 1));
	assert_true(cfs_former_may_live(address, pool, 2));
	assert_true(cfs_former_may_live(address, pool, 0));
	assert_true(cfs_former_may_live("", pool, 1));
	assert_true(cfs_former_may_live("tcp:[::1]:5", pool, 1));
	cfs_former_close(f);
	/* But whoever manages the pool next lets it come back, */
	f = open_as(true, 1, 2);
	assert_false(cfs_former_are_settled(f, NULL, NULL));
	/* and those behind know what it is. */
	assert_false(cfs_former_may_live(address, pool, 2));
	cfs_former_add_unknown(f);
	assert_true(cfs_former_may_live(address, pool, 2));
	end(b);
	cfs_former_close(f);
	(void)unlink(path);
}

static void test_what_is_not_sure_is_not_known(void **state)
{
	static const struct {
		uint32_t flags, before;
		bool is_local, is_torn;
	} cases[] = {
		{ CFS_HELLO_STANDING, 1, true, false },
		{ 0, 1, false, false }, /* of another host */
		{ 0, 3, true, false },  /* another's list */
		{ 0, 0, true, false },
		{ 0, 1, true, true },
	};
	struct cfs_former *f;
	pid_t a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f = open_as(false, 0, 1);
		join(f, 10, cases[i].flags, cases[i].is_local, &a);
		cfs_former_close(f);
		end(a);
		if (cases[i].is_torn)
			assert_int_equal(truncate(path, 40), 0);
		f = open_as(true, cases[i].before, 2);
		assert_false(cfs_former_are_settled(f, NULL, NULL));
		cfs_former_close(f);
		/* Nor by the next one. */
		f = open_as(true, 2, 3);
		assert_false(cfs_former_are_settled(f, NULL, NULL));
		cfs_former_close(f);
		(void)unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_living_are_waited_for),
		cmocka_unit_test(test_who_is_back_is_not_waited_for),
		cmocka_unit_test(test_who_has_left_is_forgotten),
		cmocka_unit_test(test_a_tool_looks_at_it),
		cmocka_unit_test(test_what_is_not_sure_is_not_known),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
