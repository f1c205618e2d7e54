/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What small files cost in a directory of some mount, in operations a second:
 *
 *   mount-bench DIR COUNT BYTES [PHASE...]
 *
 * PHASE: create (open, write, close), stat, read (open, read, close), delete;
 * all of them if none is named, in this order, with stat a second time.  Files
 * lie in directories of a hundred.  Prints a line "PHASE RATE" for each.
 */
#include "measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PER_DIRECTORY 100u

static const char *top;
static char data[1 << 20];
static size_t data_bytes;

static int die(const char *what, const char *path)
{
	fprintf(stderr, "mount-bench: %s: %s: %s\n", path, what,
		strerror(errno));
	return 1;
}

static void name(char *buf, size_t room, unsigned int i)
{
	(void)snprintf(buf, room, "%s/d%u/f%u", top, i / PER_DIRECTORY, i);
}

static int create(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0 || write(fd, data, data_bytes) != (ssize_t)data_bytes)
		return -1;
	return close(fd);
}

static int read_it(const char *path)
{
	static char buf[1 << 20];
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, buf, sizeof(buf)) != (ssize_t)data_bytes)
		return -1;
	return close(fd);
}

static int look(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	return st.st_size == (off_t)data_bytes ? 0 : -1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int directories(const char *phase, unsigned int count)
{
	const bool makes = strcmp(phase, "create") == 0;
	char path[4096];

	for (unsigned int i = 0; i < count; i += PER_DIRECTORY) {
		(void)snprintf(path, sizeof(path), "%s/d%u", top,
			       i / PER_DIRECTORY);
		if ((makes ? mkdir(path, 0755) : rmdir(path)) < 0)
			return die(phase, path);
	}
	return 0;
}

static int run(const char *phase, unsigned int count)
{
	int (*one)(const char *path) = strcmp(phase, "create") == 0   ? create
				       : strcmp(phase, "read") == 0   ? read_it
				       : strcmp(phase, "delete") == 0 ? unlink
								      : look;
	char path[4096];
	double begin;

	if (one == create && directories(phase, count))
		return 1;
	begin = now();
	for (unsigned int i = 0; i < count; i++) {
		name(path, sizeof(path), i);
		if (one(path) < 0)
			return die(phase, path);
	}
	printf("%s %.0f\n", phase, count / (now() - begin));
	return one == unlink ? directories(phase, count) : 0;
}

int main(int argc, char **argv)
{
	static const char *const all[] = {
		"create", "stat", "stat", "read", "delete",
	};
	unsigned int count;

	if (argc < 4) {
		fprintf(stderr, "usage: mount-bench DIR COUNT BYTES "
				"[PHASE...]\n");
		return 2;
	}
	top = argv[1];
	count = (unsigned int)strtoul(argv[2], NULL, 10);
	data_bytes = strtoul(argv[3], NULL, 10);
	if (data_bytes > sizeof(data))
		data_bytes = sizeof(data);
	memset(data, 'x', data_bytes);
	for (int i = 4; i < argc; i++)
		if (run(argv[i], count))
			return 1;
	for (size_t i = 0; argc == 4 && i < sizeof(all) / sizeof(*all); i++)
		if (run(all[i], count))
			return 1;
	return 0;
}
