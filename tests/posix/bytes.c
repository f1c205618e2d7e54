/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One file, changed at random in every way that there is, and compared with
 * what it must be, which is kept in memory.
 *
 *   bytes DIR [SEED [STEPS [DIR2]]]
 *
 * DIR2 is the same directory by another mount: then each step goes through one
 * of them, and must see what was done through the other (but for memory maps,
 * which are left out).
 */
#include "posix.h"

#include <linux/falloc.h>
#include <sys/mman.h>

#define SIZE_MAX_BYTES (600u * 1024)
#define STEP_MAX       (70u * 1024)

static unsigned char model[SIZE_MAX_BYTES], buf[SIZE_MAX_BYTES];
static size_t size;
static uint64_t state;
static const char *dirs[2];
static int fds[2], appenders[2];
static unsigned int ways = 1;
static unsigned long step;

static uint64_t next(void)
{
	uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static size_t below(size_t n)
{
	return n ? (size_t)(next() % n) : 0;
}

static void bad(const char *what, size_t at)
{
	printf("# step %lu: %s at %zu, the file has %zu bytes: %s\n", step,
	       what, at, size, strerror(errno));
	failures_here++;
}

static void reopen(unsigned int way)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/bytes", dirs[way]);
	if (fds[way] >= 0)
		close(fds[way]);
	if (appenders[way] >= 0)
		close(appenders[way]);
	fds[way] = open(path, O_RDWR | O_CREAT, 0644);
	appenders[way] = open(path, O_WRONLY | O_APPEND);
	if (fds[way] < 0 || appenders[way] < 0)
		bad("open", 0);
}

static void fill(size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (unsigned char)next();
}

/* Bytes that a change left between the old end and @to. */
static void grow(size_t to)
{
	if (to > size) {
		memset(model + size, 0, to - size);
		size = to;
	}
}

static void step_read(unsigned int way)
{
	size_t at = below(size + 100), n = below(STEP_MAX);
	size_t want = at >= size ? 0 : size - at < n ? size - at : n;
	ssize_t got = pread(fds[way], buf, n, (off_t)at);

	if (got != (ssize_t)want)
		bad("read: another length", at);
	else if (memcmp(buf, model + at, want) != 0)
		for (size_t i = 0; i < want; i++)
			if (buf[i] != model[at + i]) {
				bad("read: another byte", at + i);
				break;
			}
}

static void step_write(unsigned int way)
{
	size_t at = below(size + 20000), n = 1 + below(STEP_MAX);

	if (next() % 2)
		at &= ~(size_t)4095;
	if (at + n > SIZE_MAX_BYTES)
		return;
	fill(n);
	if (pwrite(fds[way], buf, n, (off_t)at) != (ssize_t)n) {
		bad("write", at);
		return;
	}
	grow(at);
	if (at + n > size)
		size = at + n;
	memcpy(model + at, buf, n);
}

static void step_append(unsigned int way)
{
	size_t n = 1 + below(5000);

	if (size + n > SIZE_MAX_BYTES)
		return;
	fill(n);
	if (write(appenders[way], buf, n) != (ssize_t)n)
		bad("append", size);
	memcpy(model + size, buf, n);
	size += n;
}

static void step_truncate(unsigned int way)
{
	size_t to = next() % 3 ? below(SIZE_MAX_BYTES) : below(size + 1);

	if (ftruncate(fds[way], (off_t)to) < 0)
		bad("truncate", to);
	grow(to);
	size = to;
}

static void step_zero(unsigned int way)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	size_t at = below(size + 1), n = 1 + below(2 * STEP_MAX), end;
	bool punches = next() % 2;

	if (at + n > SIZE_MAX_BYTES)
		return;
	if (fallocate(fds[way], punches ? punch : FALLOC_FL_ZERO_RANGE,
		      (off_t)at, (off_t)n) < 0) {
		/* NFS has none; whether we do is asked in files.c. */
		if (!punches && errno == EOPNOTSUPP)
			return;
		bad(punches ? "punch" : "zero", at);
	}
	if (!punches)
		grow(at + n);
	end = at + n < size ? at + n : size;
	if (end > at)
		memset(model + at, 0, end - at);
}

/* What is called a hole has no other bytes than zeroes. */
static void step_seek(unsigned int way)
{
	size_t at = below(size + 1);
	off_t data = lseek(fds[way], (off_t)at, SEEK_DATA);
	size_t end = data < 0 ? size : (size_t)data;

	if (data < 0 && errno != ENXIO)
		bad("SEEK_DATA", at);
	for (; at < end && at < size; at++)
		if (model[at]) {
			bad("data that is called a hole", at);
			return;
		}
}

static void step_map(unsigned int way)
{
	size_t at, n, room = (size + 4095) & ~(size_t)4095;
	unsigned char *p;

	if (!size || ways > 1)
		return;
	p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fds[way], 0);
	if (p == MAP_FAILED) {
		bad("mmap", 0);
		return;
	}
	at = below(size);
	n = below(size - at < STEP_MAX ? size - at : STEP_MAX);
	if (memcmp(p + at, model + at, n) != 0)
		bad("map: another byte", at);
	if (next() % 2) {
		fill(n);
		memcpy(p + at, buf, n);
		memcpy(model + at, buf, n);
	}
	munmap(p, room);
}

static void step_sync(unsigned int way)
{
	struct stat st;

	if (fsync(fds[way]) < 0)
		bad("fsync", 0);
	if (fstat(fds[way], &st) < 0 || st.st_size != (off_t)size)
		bad("fstat: another size", (size_t)st.st_size);
}

static void one_step(void)
{
	unsigned int way = (unsigned int)below(ways);

	switch (next() % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		step_read(way);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		step_write(way);
		break;
	case 8:
		step_append(way);
		break;
	case 9:
	case 10:
		step_truncate(way);
		break;
	case 11:
	case 12:
		step_zero(way);
		break;
	case 13:
		step_seek(way);
		break;
	case 14:
		step_map(way);
		break;
	default:
		if (next() % 4)
			step_sync(way);
		else
			reopen(way);
	}
}

int main(int argc, char **argv)
{
	unsigned long steps = argc > 3 ? strtoul(argv[3], NULL, 10) : 2000;

	if (argc < 2) {
		fprintf(stderr, "usage: bytes DIR [SEED [STEPS [DIR2]]]\n");
		return 2;
	}
	state = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
	printf("# seed %llu\n", (unsigned long long)state);
	dirs[0] = argv[1];
	dirs[1] = argc > 4 ? argv[4] : NULL;
	ways = dirs[1] ? 2 : 1;
	for (unsigned int i = 0; i < ways; i++) {
		fds[i] = appenders[i] = -1;
		reopen(i);
	}
	if (ftruncate(fds[0], 0) < 0)
		bad("truncate", 0);
	for (step = 0; step < steps && failures_here < 5; step++)
		one_step();
	printf("%sok bytes: %lu random changes of a file%s\n",
	       failures_here ? "not " : "", step,
	       ways > 1 ? ", by two mounts" : "");
	return failures_here != 0;
}
