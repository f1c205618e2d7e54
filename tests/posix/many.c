/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many open files at once in a directory, every second one without a name, each
 * with bytes of its own:
 *
 *   many DIR COUNT         make, read and close them, and remove them all
 *   many DIR COUNT wait    make and sync them, say so, and wait to be killed
 */
#include "posix.h"

#include <sys/resource.h>

static void name_of(char *buf, size_t room, const char *dir, unsigned int i)
{
	(void)snprintf(buf, room, "%s/f%u", dir, i);
}

static int die(const char *what, unsigned int i)
{
	fprintf(stderr, "not ok %s of %u: %s\n", what, i, strerror(errno));
	return 1;
}

static int add(const char *dir, unsigned int i, int *ret)
{
	char path[4096];

	name_of(path, sizeof(path), dir, i);
	*ret = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (*ret < 0)
		return die("open", i);
	if (write(*ret, &i, sizeof(i)) != (ssize_t)sizeof(i))
		return die("write", i);
	return i % 2 && unlink(path) < 0 ? die("unlink", i) : 0;
}

static int look(int fd, unsigned int i)
{
	unsigned int got = 0;
	struct stat st;

	if (pread(fd, &got, sizeof(got), 0) != (ssize_t)sizeof(got) || got != i)
		return die("read", i);
	if (fstat(fd, &st) < 0 || st.st_nlink != (i % 2 ? 0 : 1))
		return die("fstat", i);
	return close(fd) < 0 ? die("close", i) : 0;
}

int main(int argc, char **argv)
{
	const unsigned int count =
		argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 10) : 0;
	const struct rlimit limit = { count + 100, count + 100 };
	int *fds = calloc(count + 1, sizeof(*fds)), r = 0;
	char path[4096];

	if (!count || !fds || setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return die("room", count);
	for (unsigned int i = 0; i < count && r == 0; i++)
		r = add(argv[1], i, &fds[i]);
	if (r == 0 && argc > 3) {
		if (fsync(open(argv[1], O_RDONLY | O_DIRECTORY)) < 0)
			return die("fsync", count);
		printf("%u are open\n", count);
		(void)fflush(stdout);
		for (;;)
			(void)pause();
	}
	for (unsigned int i = 0; i < count && r == 0; i++)
		r = look(fds[i], i);
	for (unsigned int i = 0; i < count && r == 0; i += 2) {
		name_of(path, sizeof(path), argv[1], i);
		r = unlink(path) < 0 ? die("unlink", i) : 0;
	}
	free(fds);
	return r;
}
