/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes and times: reading, writing, holes, sizes, memory maps. */
#include "posix.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#define KB 1024

static char block[256 * KB];
static char buf[256 * KB];

static int new_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);

	if (fd < 0)
		abort();
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7 + i / 251);
	return fd;
}

static bool is_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -1 : st.st_size;
}

static void test_read_write(void)
{
	struct iovec iov[2] = { { block, 100 }, { block + 100, 5000 } };
	int fd = new_file("f");

	IS(pwrite(fd, block, 10000, 0) == 10000);
	IS(pread(fd, buf, sizeof(buf), 0) == 10000);
	IS(memcmp(buf, block, 10000) == 0);
	IS(pread(fd, buf, 100, 9990) == 10);
	IS(pread(fd, buf, 100, 10000) == 0);
	IS(pread(fd, buf, 100, 1 << 20) == 0);
	IS(pread(fd, buf, 0, 0) == 0);
	IS(pwrite(fd, block, 0, 1 << 20) == 0);
	IS(size_of(fd) == 10000);
	IS(pwrite(fd, block, 3, 4095) == 3);
	IS(pread(fd, buf, 5, 4094) == 5);
	IS(buf[0] == block[4094] && memcmp(buf + 1, block, 3) == 0);
	IS(lseek(fd, 0, SEEK_END) == 10000);
	IS(writev(fd, iov, 2) == 5100 && size_of(fd) == 15100);
	FAILS(EINVAL, pread(fd, buf, 1, -1));
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	close(fd);
	fd = open("f", O_RDONLY);
	FAILS(EBADF, write(fd, buf, 1));
	FAILS(EINVAL, ftruncate(fd, 0));
	close(fd);
	fd = open("f", O_WRONLY);
	FAILS(EBADF, read(fd, buf, 1));
	close(fd);
	fd = open(".", O_RDONLY);
	FAILS(EISDIR, read(fd, buf, 1));
	close(fd);
}

static void test_append(void)
{
	int a = new_file("f"), b;

	b = open("f", O_WRONLY | O_APPEND);
	IS(write(a, "123", 3) == 3);
	IS(write(b, "456", 3) == 3);
	IS(pwrite(a, "789", 3, 6) == 3);
	IS(write(b, "a", 1) == 1);
	IS(pread(a, buf, 20, 0) == 10 && memcmp(buf, "123456789a", 10) == 0);
	close(a);
	close(b);
}

static void test_truncate(void)
{
	int fd = new_file("f");
	struct stat st;

	IS(pwrite(fd, block, 10000, 0) == 10000);
	OK(ftruncate(fd, 5000));
	IS(size_of(fd) == 5000);
	OK(ftruncate(fd, 20000));
	IS(pread(fd, buf, sizeof(buf), 0) == 20000);
	IS(memcmp(buf, block, 5000) == 0 && is_zero(buf + 5000, 15000));
	OK(truncate("f", 0));
	IS(size_of(fd) == 0);
	OK(ftruncate(fd, (off_t)1 << 40));
	OK(fstat(fd, &st));
	IS(st.st_size == (off_t)1 << 40 && st.st_blocks == 0);
	IS(pread(fd, buf, 4096, (off_t)1 << 39) == 4096 && is_zero(buf, 4096));
	FAILS(EINVAL, ftruncate(fd, -1));
	FAILS(EINVAL, truncate("f", -1));
	FAILS(EISDIR, truncate(".", 0));
	FAILS(ENOENT, truncate("absent", 0));
	FAILS(EFBIG, ftruncate(fd, INT64_MAX));
	close(fd);
}

static void test_holes(void)
{
	int fd = new_file("f");
	struct stat st;

	IS(pwrite(fd, block, 4096, 1 << 20) == 4096);
	IS(lseek(fd, 0, SEEK_DATA) == 1 << 20);
	IS(lseek(fd, 0, SEEK_HOLE) == 0);
	IS(lseek(fd, 1 << 20, SEEK_HOLE) == (1 << 20) + 4096);
	IS(lseek(fd, (1 << 20) + 100, SEEK_DATA) == (1 << 20) + 100);
	FAILS(ENXIO, lseek(fd, (1 << 20) + 4096, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, (1 << 20) + 4096, SEEK_HOLE));
	OK(ftruncate(fd, 4 << 20));
	FAILS(ENXIO, lseek(fd, 2 << 20, SEEK_DATA));
	IS(lseek(fd, 2 << 20, SEEK_HOLE) == 2 << 20);
	OK(fstat(fd, &st));
	IS(st.st_blocks >= 8 && st.st_blocks <= 64);
	IS(pread(fd, buf, 4096, 0) == 4096 && is_zero(buf, 4096));
	close(fd);
}

static void test_fallocate(void)
{
	int fd = new_file("f");
	struct stat st;

	IS(pwrite(fd, block, 64 * KB, 0) == 64 * KB);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * KB,
		     16 * KB));
	IS(pread(fd, buf, 64 * KB, 0) == 64 * KB);
	IS(memcmp(buf, block, 8 * KB) == 0 && is_zero(buf + 8 * KB, 16 * KB));
	IS(memcmp(buf + 24 * KB, block + 24 * KB, 40 * KB) == 0);
	IS(lseek(fd, 0, SEEK_HOLE) == 8 * KB);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 30001, 3));
	IS(pread(fd, buf, 5, 30000) == 5);
	IS(buf[0] == block[30000] && is_zero(buf + 1, 3) &&
	   buf[4] == block[30004]);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 60 * KB, 8 * KB));
	IS(size_of(fd) == 68 * KB);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 60 * KB,
		     80 * KB));
	IS(size_of(fd) == 68 * KB);
	OK(fallocate(fd, 0, 0, 100 * KB));
	IS(size_of(fd) == 100 * KB);
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200 * KB));
	IS(size_of(fd) == 100 * KB);
	IS(posix_fallocate(fd, 0, 120 * KB) == 0);
	IS(size_of(fd) == 120 * KB);
	FAILS(EINVAL, fallocate(fd, 0, 0, 0));
	FAILS(EINVAL, fallocate(fd, 0, -1, 10));
	FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	OK(fstat(fd, &st));
	close(fd);
	fd = open("f", O_RDONLY);
	FAILS(EBADF, fallocate(fd, 0, 0, 10));
	close(fd);
}

static void test_times(void)
{
	const struct timespec set[2] = {
		{ -5, 123456789 },
		{ 4000000000, 987654321 },
	};
	const struct timespec omit[2] = {
		{ 7, 8 },
		{ 0, UTIME_OMIT },
	};
	struct stat a, b, d;
	struct statx sx;
	int fd = new_file("f");

	a = stat_of("f");
	tick();
	IS(pwrite(fd, "x", 1, 0) == 1);
	b = stat_of("f");
	IS(ns_of(b.st_mtim) > ns_of(a.st_mtim));
	IS(ns_of(b.st_ctim) > ns_of(a.st_ctim));
	tick();
	OK(chmod("f", 0600));
	a = stat_of("f");
	IS(ns_of(a.st_mtim) == ns_of(b.st_mtim));
	IS(ns_of(a.st_ctim) > ns_of(b.st_ctim));
	tick();
	d = stat_of(".");
	OK(rename("f", "g"));
	IS(ns_of(stat_of(".").st_mtim) > ns_of(d.st_mtim));
	IS(ns_of(stat_of("g").st_ctim) > ns_of(a.st_ctim));
	d = stat_of(".");
	tick();
	OK(make("new", 0644));
	IS(ns_of(stat_of(".").st_mtim) > ns_of(d.st_mtim));
	IS(ns_of(stat_of(".").st_ctim) > ns_of(d.st_ctim));
	OK(futimens(fd, set));
	a = stat_of("g");
	IS(ns_of(a.st_atim) == ns_of(set[0]));
	IS(ns_of(a.st_mtim) == ns_of(set[1]));
	OK(futimens(fd, omit));
	a = stat_of("g");
	IS(ns_of(a.st_atim) == ns_of(omit[0]));
	IS(ns_of(a.st_mtim) == ns_of(set[1]));
	OK(statx(AT_FDCWD, "g", AT_STATX_FORCE_SYNC,
		 STATX_BTIME | STATX_BASIC_STATS, &sx));
	IS(sx.stx_mask & STATX_BTIME);
	IS(sx.stx_btime.tv_sec <= time(NULL) &&
	   sx.stx_btime.tv_sec > time(NULL) - 3600);
	b = stat_of("g");
	tick();
	OK(ftruncate(fd, 1));
	IS(ns_of(stat_of("g").st_mtim) > ns_of(set[0]));
	IS(ns_of(stat_of("g").st_ctim) > ns_of(b.st_ctim));
	close(fd);
}

static void test_atime(void)
{
	struct timespec old[2] = { { 1000, 0 }, { 2000, 0 } };
	int fd = new_file("f");

	IS(pwrite(fd, "x", 1, 0) == 1);
	OK(futimens(fd, old));
	close(fd);
	fd = open("f", O_RDONLY);
	IS(read(fd, buf, 1) == 1);
	close(fd);
	IS(stat_of("f").st_atim.tv_sec > 2000);
	IS(stat_of("f").st_mtim.tv_sec == 2000);
}

static void test_mmap(void)
{
	int fd = new_file("f");
	char *p;

	IS(pwrite(fd, block, 16 * KB, 0) == 16 * KB);
	p = mmap(NULL, 16 * KB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	IS(p != MAP_FAILED);
	if (p == MAP_FAILED)
		return;
	IS(memcmp(p, block, 16 * KB) == 0);
	memcpy(p + 5000, "mapped", 6);
	OK(msync(p, 16 * KB, MS_SYNC));
	IS(pread(fd, buf, 6, 5000) == 6 && memcmp(buf, "mapped", 6) == 0);
	IS(pwrite(fd, "written", 7, 9000) == 7);
	IS(memcmp(p + 9000, "written", 7) == 0);
	memcpy(p, "end", 3);
	OK(munmap(p, 16 * KB));
	OK(fsync(fd));
	close(fd);
	fd = open("f", O_RDONLY);
	IS(pread(fd, buf, 3, 0) == 3 && memcmp(buf, "end", 3) == 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	IS(p != MAP_FAILED);
	if (p != MAP_FAILED) {
		p[0] = 'X';
		munmap(p, 4096);
	}
	IS(pread(fd, buf, 1, 0) == 1 && buf[0] == 'e');
	close(fd);
}

static void test_direct(void)
{
	void *p = NULL;
	int fd = new_file("f");

	close(fd);
	OK(fd = open("f", O_RDWR | O_DIRECT));
	if (fd < 0 || posix_memalign(&p, 4096, 64 * KB) != 0)
		return;
	memcpy(p, block, 64 * KB);
	IS(pwrite(fd, p, 64 * KB, 0) == 64 * KB);
	memset(p, 0, 64 * KB);
	IS(pread(fd, p, 64 * KB, 0) == 64 * KB);
	IS(memcmp(p, block, 64 * KB) == 0);
	IS(pread(fd, p, 8 * KB, 60 * KB) == 4 * KB);
	close(fd);
	fd = open("f", O_RDONLY);
	IS(pread(fd, buf, 64 * KB, 0) == 64 * KB);
	IS(memcmp(buf, block, 64 * KB) == 0);
	close(fd);
	free(p);
}

static void test_sync(void)
{
	int fd = new_file("f"), dir;

	IS(write(fd, block, 100) == 100);
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(dir = open(".", O_RDONLY));
	OK(fsync(dir));
	OK(syncfs(dir));
	close(dir);
	close(fd);
	OK(fd = open("f", O_WRONLY | O_SYNC));
	IS(write(fd, block, 100) == 100);
	close(fd);
}

static void test_statvfs(void)
{
	struct statvfs a, b;
	int fd = new_file("f");

	OK(statvfs(".", &a));
	IS(a.f_namemax == 255 && a.f_blocks > 0 && a.f_bavail <= a.f_blocks);
	for (int i = 0; i < 32; i++)
		IS(pwrite(fd, block, sizeof(block),
			  (off_t)i * (off_t)sizeof(block)) ==
		   (ssize_t)sizeof(block));
	OK(fsync(fd));
	OK(statvfs(".", &b));
	IS(a.f_bfree * a.f_frsize >= b.f_bfree * b.f_frsize + (7 << 20));
	OK(fstatvfs(fd, &b));
	close(fd);
}

static void test_copy_range(void)
{
	int a = new_file("a"), b = new_file("b");
	off_t from = 100, to = 0;

	IS(pwrite(a, block, 20000, 0) == 20000);
	IS(copy_file_range(a, &from, b, &to, 10000, 0) == 10000);
	IS(pread(b, buf, 20000, 0) == 10000);
	IS(memcmp(buf, block + 100, 10000) == 0);
	close(a);
	close(b);
}

static void test_far_away(void)
{
	const off_t far = (off_t)7 << 40;
	int fd = new_file("f");

	IS(pwrite(fd, "far", 3, far) == 3);
	IS(size_of(fd) == far + 3);
	IS(pread(fd, buf, 3, far) == 3 && memcmp(buf, "far", 3) == 0);
	IS(lseek(fd, 0, SEEK_DATA) == far);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		     far + 4096));
	FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
	close(fd);
}

static const struct posix_test tests[] = {
	{ "read and write", test_read_write, false },
	{ "O_APPEND", test_append, false },
	{ "truncate", test_truncate, false },
	{ "holes are found", test_holes, false },
	{ "fallocate", test_fallocate, false },
	{ "times, to the nanosecond", test_times, false },
	{ "reading is noted", test_atime, false },
	{ "memory maps", test_mmap, false },
	{ "O_DIRECT", test_direct, false },
	{ "fsync and its like", test_sync, false },
	{ "statvfs counts what is written", test_statvfs, false },
	{ "copy_file_range", test_copy_range, false },
	{ "offsets of terabytes", test_far_away, false },
};

int main(int argc, char **argv)
{
	return run_all("files", tests, COUNT_OF(tests), argc, argv);
}
