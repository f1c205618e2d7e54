/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the programs of this folder share.  Each is given a directory of the
 * file system that is tried (and perhaps a seed), and prints a line "ok NAME"
 * or "not ok NAME" for each thing that POSIX, or Linux's manual pages where
 * they say more, demand.  A test runs in a directory of its own, as the working
 * directory, which all may write.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures_here, failures;

static inline void fail_at(const char *file, int line, const char *what,
			   const char *wanted)
{
	printf("# %s:%d: %s: %s, not %s\n", file, line, what, strerror(errno),
	       wanted);
	failures_here++;
}

/* The call succeeds; or fails with the errno @code. */
#define OK(call)                                                               \
	do {                                                                   \
		errno = 0;                                                     \
		if ((call) < 0)                                                \
			fail_at(__FILE__, __LINE__, #call, "success");         \
	} while (0)
#define FAILS(code, call)                                                      \
	do {                                                                   \
		errno = 0;                                                     \
		if ((call) >= 0)                                               \
			errno = 0;                                             \
		if (errno != (code))                                           \
			fail_at(__FILE__, __LINE__, #call, strerror(code));    \
	} while (0)
#define IS(condition)                                                          \
	do {                                                                   \
		errno = 0;                                                     \
		if (!(condition))                                              \
			fail_at(__FILE__, __LINE__, #condition, "so");         \
	} while (0)

static inline int make(const char *path, mode_t mode)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, mode);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static inline int make_with(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
	size_t n = strlen(text);
	int r = fd >= 0 && write(fd, text, n) == (ssize_t)n ? 0 : -1;

	if (fd >= 0)
		close(fd);
	return r;
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	if (lstat(path, &st) < 0)
		memset(&st, 0, sizeof(st));
	return st;
}

static inline bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Be somebody; @other_group 0: in no other group.  And root again. */
static inline void be(uid_t uid, gid_t gid, gid_t other_group)
{
	int r = setgroups(other_group ? 1 : 0, &other_group);

	r |= setegid(gid);
	r |= seteuid(uid);
	if (r)
		abort();
}

static inline void be_root(void)
{
	if (seteuid(0) || setegid(0) || setgroups(0, NULL))
		abort();
}

static inline int64_t ns_of(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* So that a time that is taken now is another one. */
static inline void tick(void)
{
	const struct timespec t = { .tv_nsec = 15000000 };

	nanosleep(&t, NULL);
}

struct posix_test {
	const char *name;
	void (*run)(void);
	bool needs_root;
};

static inline void run_one(const char *program, const struct posix_test *t,
			   int index)
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "%s-%d", program, index);
	failures_here = 0;
	umask(0);
	if (t->needs_root && getuid() != 0) {
		printf("ok %s: %s # skip not root\n", program, t->name);
		return;
	}
	if (mkdir(dir, 0777) < 0 || chdir(dir) < 0) {
		printf("not ok %s: %s # %s: %s\n", program, t->name, dir,
		       strerror(errno));
		failures++;
		return;
	}
	t->run();
	umask(0);
	if (getuid() == 0)
		be_root();
	if (chdir("..") < 0)
		abort();
	printf("%sok %s: %s\n", failures_here ? "not " : "", program, t->name);
	failures += failures_here != 0;
	fflush(stdout);
}

static inline int run_all(const char *program, const struct posix_test *tests,
			  size_t count, int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: %s DIR\n", program);
		return 2;
	}
	for (size_t i = 0; i < count; i++)
		run_one(program, &tests[i], (int)i);
	return failures != 0;
}

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
