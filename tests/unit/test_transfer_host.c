/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The host as source and as sink, put together: a copy of a directory that
 * holds what is difficult; and hostile entries, put to the sink by hand, of
 * which none may change anything outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session/export.h"
#include "session/transfer_priv.h"

struct fixture {
	char dir[64];
	int fd, out; /* dir; dir/out */
	struct transfer t;
	struct transfer_host_sink sink;
	struct cfs_transfer_result result;
	char failed[256]; /* path of the last failure */
	int failed_code;
	struct cfs_transfer_options opt;
	struct cfs_err err;
};

static void on_failed(void *arg, const char *path, const struct cfs_err *err)
{
	struct fixture *f = arg;

	(void)snprintf(f->failed, sizeof(f->failed), "%.200s", path);
	f->failed_code = err->code;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/var/tmp/cfs-transfer-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	(void)mkdirat(f->fd, "out", 0755);
	f->out = openat(f->fd, "out", O_RDONLY | O_DIRECTORY);
	f->opt.failed = on_failed;
	f->opt.arg = f;
	transfer_init(&f->t, &f->opt, &f->result, &transfer_host_sink,
		      &f->sink);
	if (transfer_host_sink_init(&f->sink, f->out, false, NULL) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const char *name = strrchr(f->dir, '/') + 1;
	int up = openat(f->fd, "..", O_RDONLY | O_DIRECTORY);

	transfer_host_sink_done(&f->sink);
	transfer_done(&f->t);
	close(f->out);
	close(f->fd);
	if (cfs_export_remove(up, name, NULL) < 0)
		return -1;
	close(up);
	free(f);
	return 0;
}

static void make_file(int dir_fd, const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void has_text(int dir_fd, const char *name, const char *text)
{
	char buf[256];
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, buf, sizeof(buf));
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
	close(fd);
}

static bool exists(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A reader of one piece of text. */
struct text_reader {
	struct transfer_reader rd;
	const char *text;
	int code; /* behind it */
};

static int text_next(struct transfer_reader *rd, const void **ret,
		     size_t *ret_bytes, uint64_t *ret_offset_bytes,
		     struct cfs_err *err)
{
	struct text_reader *t = (struct text_reader *)rd;

	*ret = t->text;
	*ret_bytes = strlen(t->text);
	*ret_offset_bytes = 0;
	if (*ret_bytes == 0 && t->code)
		return cfs_err_set(err, t->code, "bad");
	t->text = "";
	return 0;
}

static struct transfer_entry entry(const char *path, uint32_t mode)
{
	struct transfer_entry e = {
		.path = path,
		.mode = mode,
		.uid = geteuid(),
		.gid = getegid(),
		.nlink = 1,
	};

	return e;
}

static bool put_file(struct fixture *f, const char *path, const char *text)
{
	struct text_reader rd = { .rd.next = text_next, .text = text };
	struct transfer_entry e = entry(path, S_IFREG | 0644);
	bool is_made;

	assert_int_equal(
		transfer_put(&f->t, &e, &rd.rd, 0, 0, &is_made, &f->err), 0);
	return is_made;
}

static bool put_node(struct fixture *f, const char *path, uint32_t mode,
		     const char *target)
{
	struct transfer_entry e = entry(path, mode);
	bool is_made;

	e.target = target;
	e.target_bytes = target ? strlen(target) : 0;
	assert_int_equal(transfer_put(&f->t, &e, NULL, 0, 0, &is_made, &f->err),
			 0);
	return is_made;
}

static void test_links_are_not_followed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdirat(f->fd, "victim", 0755), 0);
	make_file(f->fd, "victim/file", "mine");
	/* What stands there. */
	assert_int_equal(symlinkat("../victim", f->out, "there"), 0);
	assert_int_equal(symlinkat("../victim/file", f->out, "f"), 0);
	assert_false(put_file(f, "there/file", "evil"));
	assert_int_equal(f->failed_code, -EXDEV);
	assert_false(put_file(f, "there/new/file", "evil"));
	assert_false(put_node(f, "there/dir", S_IFDIR | 0755, NULL));
	/* A directory in place of a link to one is not that one. */
	assert_false(put_node(f, "there", S_IFDIR | 0755, NULL));
	/* What comes: first the link, then a path through it. */
	assert_true(put_node(f, "came", S_IFLNK | 0777, "../victim"));
	assert_false(put_file(f, "came/file", "evil"));
	/* A file takes the place of a link, not of what it names. */
	assert_true(put_file(f, "f", "new"));
	has_text(f->out, "f", "new");
	has_text(f->fd, "victim/file", "mine");
	assert_false(exists(f->fd, "victim/new"));
	assert_false(exists(f->fd, "victim/dir"));
}

static void test_links_are_made_inside(void **state)
{
	struct fixture *f = *state;
	struct transfer_entry e = entry("hard", S_IFREG | 0644);
	struct stat a, b;
	bool is_made;

	make_file(f->fd, "secret", "mine");
	assert_true(put_node(f, "way", S_IFLNK | 0777, ".."));
	assert_int_equal(
		transfer_put_link(&f->t, &e, "way/secret", &is_made, &f->err),
		0);
	assert_false(is_made);
	assert_false(exists(f->out, "hard"));
	/* Of a link itself it is a name, not of what that leads to. */
	assert_true(put_node(f, "s", S_IFLNK | 0777, "../secret"));
	assert_int_equal(transfer_put_link(&f->t, &e, "s", &is_made, &f->err),
			 0);
	assert_true(is_made);
	assert_int_equal(fstatat(f->out, "hard", &a, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(a.st_mode));
	/* Again, over itself and over another. */
	assert_int_equal(transfer_put_link(&f->t, &e, "s", &is_made, &f->err),
			 0);
	assert_true(is_made);
	assert_true(put_file(f, "file", "x"));
	e.path = "file";
	assert_int_equal(transfer_put_link(&f->t, &e, "s", &is_made, &f->err),
			 0);
	assert_int_equal(fstatat(f->out, "file", &b, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(a.st_ino, b.st_ino);
}

static void test_failed_file_leaves_the_old(void **state)
{
	struct fixture *f = *state;
	struct text_reader rd = { .rd.next = text_next,
				  .text = "half",
				  .code = -EUCLEAN };
	struct transfer_entry e = entry("f", S_IFREG | 0644);
	bool is_made;

	assert_true(put_file(f, "f", "old"));
	assert_int_equal(
		transfer_put(&f->t, &e, &rd.rd, 0, 0, &is_made, &f->err), 0);
	assert_false(is_made);
	assert_int_equal(f->result.worst_code, -EUCLEAN);
	has_text(f->out, "f", "old");
	e.path = "g";
	rd.text = "half";
	assert_int_equal(
		transfer_put(&f->t, &e, &rd.rd, 0, 0, &is_made, &f->err), 0);
	assert_false(exists(f->out, "g"));
	/* No space is no matter of one entry. */
	rd.text = "half";
	rd.code = -ENOSPC;
	assert_int_equal(
		transfer_put(&f->t, &e, &rd.rd, 0, 0, &is_made, &f->err),
		-ENOSPC);
	assert_false(exists(f->out, "g"));
}

static void test_walk_to_sink(void **state)
{
	struct fixture *f = *state;
	struct stat st, st2;
	struct timespec times[2] = {
		{ .tv_sec = 1, .tv_nsec = 2 },
		{ .tv_sec = -3, .tv_nsec = 4 },
	};

	assert_int_equal(mkdirat(f->fd, "in", 0755), 0);
	assert_int_equal(mkdirat(f->fd, "in/d", 0755), 0);
	make_file(f->fd, "in/d/\xff\n", "text");
	assert_int_equal(linkat(f->fd, "in/d/\xff\n", f->fd, "in/link", 0), 0);
	assert_int_equal(utimensat(f->fd, "in/d", times, 0), 0);
	assert_int_equal(
		transfer_walk_host(&f->t, f->fd, "in", "copy", &f->err), 0);
	assert_int_equal(f->result.skipped, 0);
	assert_int_equal(f->result.entries, 4);
	assert_int_equal(f->result.links, 1);
	has_text(f->out, "copy/d/\xff\n", "text");
	assert_int_equal(fstatat(f->out, "copy/link", &st, 0), 0);
	assert_int_equal(fstatat(f->out, "copy/d/\xff\n", &st2, 0), 0);
	assert_int_equal(st.st_ino, st2.st_ino);
	assert_int_equal(fstatat(f->out, "copy/d", &st, 0), 0);
	assert_int_equal(st.st_mtim.tv_sec, -3);
	assert_int_equal(st.st_mtim.tv_nsec, 4);
}

/* Deeper than descriptors and PATH_MAX reach. */
static void test_deep(void **state)
{
	struct fixture *f = *state;
	char name[101];
	int fd = dup(f->fd), next, i;

	memset(name, 'd', 100);
	name[100] = '\0';
	for (i = 0; i < 120; i++) {
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	make_file(fd, "leaf", "deep");
	close(fd);
	assert_int_equal(
		transfer_walk_host(&f->t, f->fd, name, "deep", &f->err), 0);
	assert_int_equal(f->result.skipped, 0);
	assert_int_equal(f->result.directories, 120);
	assert_int_equal(f->result.files, 1);
}

static bool stop_now(void *arg)
{
	(void)arg;
	return true;
}

static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct cfs_err err = CFS_ERR_INIT;

	f->opt.stop = stop_now;
	make_file(f->fd, "x", "x");
	assert_int_equal(transfer_walk_host(&f->t, f->fd, "x", "x", &err),
			 -EINTR);
	assert_false(exists(f->out, "x"));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_links_are_not_followed),
		CASE(test_links_are_made_inside),
		CASE(test_failed_file_leaves_the_old),
		CASE(test_walk_to_sink),
		CASE(test_deep),
		CASE(test_stop),
	};

	return cmocka_run_group_tests_name("transfer_host", tests, NULL, NULL);
}
