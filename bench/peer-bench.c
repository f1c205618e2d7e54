/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The peers' side of the cases that are measured inside one process, and the
 * raw disk that all is compared with.  cfs-bench has the same verbs for cfs.
 *
 *   peer-bench sync FILE SECONDS SEED     random blocks, each made durable
 *   peer-bench raw FILE ROUNDS SEED       one line a round: three such writes
 *   peer-bench fragment FILE COUNT        scatter COUNT blocks over a file
 *   peer-bench reflink FILE NEW           FICLONE and fsync
 *   peer-bench subvol DIR NEW             btrfs snapshot, on disk
 *
 * FILE is a file or block device whose size is known and that is written in
 * full: the file system has nothing to allocate.  Lines of JSON on standard
 * output.
 */
#include "measure.h"

#include <fcntl.h>
#include <libgen.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int die(const char *what)
{
	fprintf(stderr, "peer-bench: %s: %s\n", what, strerror(errno));
	return 1;
}

/* The file descriptor, or -1; @ret_blocks is what fits. */
static int open_blocks(const char *path, int flags, uint64_t *ret_blocks)
{
	int fd = open(path, flags | O_CLOEXEC);
	off_t end;

	if (fd < 0)
		return -1;
	end = lseek(fd, 0, SEEK_END);
	if (end < (off_t)BLOCK_BYTES) {
		if (end >= 0)
			errno = EINVAL;
		close(fd);
		return -1;
	}
	*ret_blocks = (uint64_t)end / BLOCK_BYTES;
	return fd;
}

static int write_block(int fd, const void *buf, uint64_t block)
{
	ssize_t n = pwrite(fd, buf, BLOCK_BYTES, (off_t)(block * BLOCK_BYTES));

	if (n == (ssize_t)BLOCK_BYTES)
		return 0;
	if (n >= 0)
		errno = EIO;
	return -1;
}

static int write_durable(int fd, const void *buf, uint64_t block)
{
	return write_block(fd, buf, block) < 0 ? -1 : fdatasync(fd);
}

static void *block_new(void)
{
	void *buf = NULL;

	errno = posix_memalign(&buf, BLOCK_BYTES, BLOCK_BYTES);
	return buf;
}

static int verb_sync(char **args)
{
	uint64_t span_ns = parse_count(args[1]) * NS_PER_S;
	uint64_t seed = parse_count(args[2]);
	struct samples s = { 0 };
	uint64_t blocks, begin, t;
	void *buf = block_new();
	int fd = open_blocks(args[0], O_RDWR | O_DIRECT, &blocks);

	if (!buf || fd < 0)
		return die(args[0]);
	begin = t = now_ns();
	while (t - begin < span_ns) {
		uint64_t end;

		fill_random(buf, BLOCK_BYTES, &seed);
		t = now_ns();
		if (write_durable(fd, buf, next_random(&seed) % blocks) < 0)
			return die(args[0]);
		end = now_ns();
		if (!samples_add(&s, end - t))
			return die("memory");
		t = end;
	}
	print_run(&s, t - begin, 0, 0);
	free(s.ns);
	free(buf);
	close(fd);
	return 0;
}

static int verb_raw(char **args)
{
	uint64_t rounds = parse_count(args[1]);
	uint64_t seed = parse_count(args[2]);
	void *buf = block_new();
	uint64_t blocks;
	int fd = open_blocks(args[0], O_RDWR | O_DIRECT, &blocks);

	if (!buf || fd < 0)
		return die(args[0]);
	fill_random(buf, BLOCK_BYTES, &seed);
	if (write_durable(fd, buf, 0) < 0) /* warm */
		return die(args[0]);
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t begin = now_ns();

		for (unsigned int j = 0; j < WRITES_PER_SNAPSHOT; j++) {
			if (write_durable(fd, buf,
					  next_random(&seed) % blocks) < 0)
				return die(args[0]);
		}
		printf("{\"raw_us\": %.2f}\n",
		       (double)(now_ns() - begin) / 1e3);
	}
	free(buf);
	close(fd);
	return 0;
}

/* Through the page cache: how they are written does not matter. */
static int verb_fragment(char **args)
{
	uint64_t count = parse_count(args[1]);
	uint64_t seed = 1;
	uint64_t blocks = 0;
	uint64_t *order;
	void *buf = block_new();
	int fd = open_blocks(args[0], O_RDWR, &blocks);

	if (!buf || fd < 0)
		return die(args[0]);
	errno = EINVAL;
	order = scattered_blocks(blocks, count, seed);
	if (!order)
		return die("COUNT");
	for (uint64_t i = 0; i < count; i++) {
		fill_random(buf, BLOCK_BYTES, &seed);
		if (write_block(fd, buf, order[i]) < 0)
			return die(args[0]);
	}
	if (fsync(fd) < 0)
		return die(args[0]);
	free(order);
	free(buf);
	close(fd);
	return 0;
}

static int verb_reflink(char **args)
{
	int from = open(args[0], O_RDONLY | O_CLOEXEC);
	int to = open(args[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint64_t begin = now_ns();

	if (from < 0 || to < 0)
		return die(from < 0 ? args[0] : args[1]);
	if (ioctl(to, FICLONE, from) < 0 || fsync(to) < 0)
		return die(args[1]);
	printf("{\"snap_us\": %.2f}\n", (double)(now_ns() - begin) / 1e3);
	close(from);
	close(to);
	return 0;
}

/* Without the flag for the background the call returns when it is on disk. */
static int verb_subvol(char **args)
{
	struct btrfs_ioctl_vol_args_v2 vol = { 0 };
	char *path = strdup(args[1]);
	char *base = strdup(args[1]);
	int from = open(args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t begin;
	int dir;

	if (!path || !base || from < 0)
		return die(args[0]);
	dir = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return die(args[1]);
	vol.fd = from;
	snprintf(vol.name, sizeof(vol.name), "%s", basename(base));
	begin = now_ns();
	if (ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &vol) < 0)
		return die(args[1]);
	if (syncfs(dir) < 0)
		return die(args[1]);
	printf("{\"snap_us\": %.2f}\n", (double)(now_ns() - begin) / 1e3);
	close(from);
	close(dir);
	free(path);
	free(base);
	return 0;
}

static const struct {
	const char *name;
	int arg_count;
	int (*run)(char **args);
} verbs[] = {
	{ "sync", 3, verb_sync },         { "raw", 3, verb_raw },
	{ "fragment", 2, verb_fragment }, { "reflink", 2, verb_reflink },
	{ "subvol", 2, verb_subvol },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (argc == verbs[i].arg_count + 2 &&
		    strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argv + 2);
	}
	fprintf(stderr,
		"peer-bench: wrong usage: see the head of its source\n");
	return 2;
}
