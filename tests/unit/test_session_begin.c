/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What was open before a session begins to answer others is under leases from
 * then on, like what is opened later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ondisk/table.h"
#include "session/io_ops.h"
#include "session/serve.h"
#include "session/session.h"
#include "volume/fs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/cfs-begin-XXXXXX";
static char pool[64], run_path[64];
static struct cfs_err err;

#define OK(call)                                                               \
	do {                                                                   \
		if ((call) < 0)                                                \
			fail_msg("%s: %s", #call, err.msg);                    \
	} while (0)

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(pool, sizeof(pool), "%s/pool", dir);
	snprintf(run_path, sizeof(run_path), "%s/run", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct cfs_session *open_session(enum cfs_io_mode mode)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
		.io_mode = mode,
	};
	struct cfs_session *s;

	OK(cfs_session_open(pool, &opt, &s, &err));
	return s;
}

static struct cfs_session *make(void)
{
	const char *const device = pool;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(128) << 20,
		.is_forced = true,
	};
	struct cfs_format_result result;
	struct cfs_session *s;

	(void)unlink(pool);
	OK(cfs_pool_format(&opt, &result, &err));
	s = open_session(CFS_IO_MODE_ANY);
	OK(cfs_session_create(s, "t", CFS_VOLUME_TREE, 0, 0, false, &err));
	return s;
}

static uint64_t create(struct cfs_fs *fs, const char *name)
{
	const struct cfs_fs_spec spec = { .mode = S_IFREG | 0644 };
	uint64_t ino;

	OK(cfs_fs_create_with(fs, cfs_fs_root_ino(fs), name, strlen(name),
			      &spec, &ino, NULL, &err));
	return ino;
}

static struct cfs_serve *serve(struct cfs_session *s)
{
	const struct cfs_serve_options opt = { .run_directory = run_path };
	struct cfs_serve *serve = NULL;

	OK(cfs_serve_new(s, NULL, &serve, &err));
	OK(cfs_serve_start(serve, &opt, &err));
	return serve;
}

static void text_is(struct cfs_fs *fs, uint64_t ino, const char *want)
{
	char buf[32] = "";
	size_t n = 0;

	OK(cfs_fs_read(fs, ino, 0, buf, sizeof(buf), &n, &err));
	assert_int_equal(n, strlen(want));
	assert_memory_equal(buf, want, n);
}

static void put_text(struct cfs_fs *fs, uint64_t ino, const char *text)
{
	size_t n = 0;

	OK(cfs_fs_write(fs, ino, 0, text, strlen(text), &n, &err));
	assert_int_equal(n, strlen(text));
}

/* Both see at once what the other one has done, though neither syncs. */
static void test_a_tree_that_was_open(void **state)
{
	struct cfs_session *s = make(), *client;
	struct cfs_io_volume *mine, *theirs;
	struct cfs_serve *service;
	uint64_t a, b, found;
	char name[16];

	(void)state;
	OK(cfs_io_open(s, "t", NULL, true, &mine, &err));
	a = create(cfs_io_fs(mine), "a");
	put_text(cfs_io_fs(mine), a, "before");
	service = serve(s);
	client = open_session(CFS_IO_MODE_DIRECT);
	OK(cfs_io_open(client, "t", NULL, true, &theirs, &err));
	for (unsigned int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "mine %02u", i);
		put_text(cfs_io_fs(mine), a, name);
		text_is(cfs_io_fs(theirs), a, name);
		snprintf(name, sizeof(name), "their %02u", i);
		b = create(cfs_io_fs(theirs), name);
		put_text(cfs_io_fs(theirs), b, name);
		OK(cfs_fs_lookup(cfs_io_fs(mine),
				 cfs_fs_root_ino(cfs_io_fs(mine)), name,
				 strlen(name), &found, NULL, &err));
		assert_int_equal(found, b);
		text_is(cfs_io_fs(mine), b, name);
	}
	cfs_io_close(theirs);
	OK(cfs_session_close(client, &err));
	cfs_io_close(mine);
	cfs_serve_free(service);
	OK(cfs_session_close(s, &err));
}

/* A file that was open then is open to those who come: removed by one of them,
 * it is there until it is closed. */
static void test_a_file_that_was_open(void **state)
{
	struct cfs_session *s = make(), *client;
	struct cfs_io_volume *mine, *theirs;
	struct cfs_serve *service;
	struct cfs_inode inode;
	uint64_t a;
	struct cfs_fs *fs;

	(void)state;
	OK(cfs_io_open(s, "t", NULL, true, &mine, &err));
	fs = cfs_io_fs(mine);
	a = create(fs, "a");
	put_text(fs, a, "open");
	OK(cfs_fs_open_ino(fs, a, &err));
	OK(cfs_fs_open_ino(fs, a, &err));
	service = serve(s);
	client = open_session(CFS_IO_MODE_DIRECT);
	OK(cfs_io_open(client, "t", NULL, true, &theirs, &err));
	OK(cfs_fs_unlink(cfs_io_fs(theirs), cfs_fs_root_ino(fs), "a", 1, &err));
	OK(cfs_io_sync(theirs, &err));
	text_is(fs, a, "open");
	OK(cfs_fs_close_ino(fs, a, &err));
	text_is(fs, a, "open");
	OK(cfs_fs_getattr(fs, a, &inode, &err));
	assert_int_equal(inode.nlink, 0);
	OK(cfs_fs_close_ino(fs, a, &err));
	assert_int_equal(cfs_fs_getattr(fs, a, &inode, &err), -ENOENT);
	cfs_io_close(theirs);
	OK(cfs_session_close(client, &err));
	cfs_io_close(mine);
	cfs_serve_free(service);
	OK(cfs_session_close(s, &err));
}

struct writer {
	struct cfs_fs *fs;
	uint64_t ino;
	bool stop; /* atomic */
	unsigned int count;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		size_t n = 0;

		assert_int_equal(
			cfs_fs_write(w->fs, w->ino, 0, "busy", 4, &n, NULL), 0);
		w->count++;
	}
	return NULL;
}

/* It begins in the middle of calls. */
static void test_in_the_middle(void **state)
{
	struct cfs_session *s = make(), *client;
	struct cfs_io_volume *mine, *theirs;
	struct cfs_serve *service;
	struct writer w = { .stop = false };
	pthread_t thread;

	(void)state;
	OK(cfs_io_open(s, "t", NULL, true, &mine, &err));
	w.fs = cfs_io_fs(mine);
	w.ino = create(w.fs, "a");
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	usleep(50000);
	service = serve(s);
	client = open_session(CFS_IO_MODE_DIRECT);
	OK(cfs_io_open(client, "t", NULL, true, &theirs, &err));
	for (unsigned int i = 0; i < 10; i++)
		text_is(cfs_io_fs(theirs), w.ino, "busy");
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(w.count > 0);
	cfs_io_close(theirs);
	OK(cfs_session_close(client, &err));
	cfs_io_close(mine);
	cfs_serve_free(service);
	OK(cfs_session_close(s, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tree_that_was_open),
		cmocka_unit_test(test_a_file_that_was_open),
		cmocka_unit_test(test_in_the_middle),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
