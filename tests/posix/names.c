/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Making, linking, moving and removing names, errno by errno. */
#include "posix.h"

#include <sys/sysmacros.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif

static char long_name[NAME_MAX + 2]; /* one too long */

static const char *longest(void)
{
	memset(long_name, 'n', NAME_MAX);
	long_name[NAME_MAX] = '\0';
	return long_name;
}

static const char *too_long(void)
{
	memset(long_name, 'n', NAME_MAX + 1);
	long_name[NAME_MAX + 1] = '\0';
	return long_name;
}

static void test_open(void)
{
	int fd;

	FAILS(ENOENT, open("absent", O_RDONLY));
	FAILS(ENOENT, open("absent/x", O_CREAT | O_RDWR, 0644));
	OK(make("f", 0644));
	FAILS(EEXIST, make("f", 0644));
	FAILS(ENOTDIR, open("f/x", O_RDONLY));
	FAILS(ENOTDIR, open("f/x", O_CREAT | O_RDWR, 0644));
	FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	OK(mkdir("d", 0755));
	FAILS(EISDIR, open("d", O_WRONLY));
	FAILS(EISDIR, open("d", O_RDWR));
	FAILS(EISDIR, open("d", O_RDONLY | O_CREAT, 0644));
	FAILS(EEXIST, open("d", O_RDONLY | O_CREAT | O_EXCL, 0644));
	OK(symlink("f", "l"));
	FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
	FAILS(EEXIST, open("l", O_CREAT | O_EXCL | O_RDWR, 0644));
	OK(symlink("loop", "loop"));
	FAILS(ELOOP, open("loop", O_RDONLY));
	OK(symlink("made", "to-made"));
	OK(fd = open("to-made", O_CREAT | O_RDWR, 0600));
	close(fd);
	IS(S_ISREG(stat_of("made").st_mode));
	OK(mkfifo("fifo", 0644));
	FAILS(ENXIO, open("fifo", O_WRONLY | O_NONBLOCK));
	FAILS(ENOENT, open("", O_RDONLY));
}

static void test_truncating_open(void)
{
	int fd;

	OK(make_with("f", "something"));
	OK(fd = open("f", O_WRONLY | O_TRUNC));
	close(fd);
	IS(stat_of("f").st_size == 0);
	OK(make_with("g", "something"));
	OK(fd = open("g", O_RDONLY | O_CREAT, 0644));
	IS(stat_of("g").st_size == 9);
	close(fd);
}

static void test_name_lengths(void)
{
	char path[NAME_MAX + 8];
	struct stat st;

	OK(make(longest(), 0644));
	OK(stat(longest(), &st));
	OK(unlink(longest()));
	OK(mkdir(longest(), 0755));
	OK(rename(longest(), "d"));
	FAILS(ENAMETOOLONG, make(too_long(), 0644));
	FAILS(ENAMETOOLONG, mkdir(too_long(), 0755));
	FAILS(ENAMETOOLONG, symlink("x", too_long()));
	FAILS(ENAMETOOLONG, mkfifo(too_long(), 0644));
	FAILS(ENAMETOOLONG, stat(too_long(), &st));
	FAILS(ENAMETOOLONG, unlink(too_long()));
	FAILS(ENAMETOOLONG, rmdir(too_long()));
	FAILS(ENAMETOOLONG, rename("d", too_long()));
	(void)snprintf(path, sizeof(path), "d/%s", too_long());
	FAILS(ENAMETOOLONG, open(path, O_CREAT | O_RDWR, 0644));
}

/* Every byte but '/' and NUL. */
static void test_any_byte(void)
{
	char name[3] = { 'x', 0, 0 };
	struct stat st;

	for (int c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		name[1] = (char)c;
		OK(make(name, 0644));
		OK(stat(name, &st));
	}
	for (int c = 1; c < 256; c++) {
		name[1] = (char)c;
		if (c != '/')
			OK(unlink(name));
	}
	OK(make("\xff\xfe", 0644));
	OK(make("\n", 0644));
	OK(make(" ", 0644));
	IS(exists("\n") && exists(" ") && exists("\xff\xfe"));
}

static void test_mkdir(void)
{
	struct stat st, up;

	OK(stat(".", &up));
	OK(mkdir("d", 0751));
	OK(stat("d", &st));
	IS(S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0751);
	IS(st.st_nlink == 2);
	IS(stat_of(".").st_nlink == up.st_nlink + 1);
	FAILS(EEXIST, mkdir("d", 0755));
	FAILS(ENOENT, mkdir("absent/d", 0755));
	OK(make("f", 0644));
	FAILS(EEXIST, mkdir("f", 0755));
	FAILS(ENOTDIR, mkdir("f/d", 0755));
	OK(symlink("nowhere", "l"));
	FAILS(EEXIST, mkdir("l", 0755));
	umask(027);
	OK(mkdir("masked", 0777));
	IS((stat_of("masked").st_mode & 07777) == 0750);
	FAILS(EEXIST, mkdir(".", 0755));
}

static void test_rmdir(void)
{
	OK(mkdir("d", 0755));
	OK(make("d/f", 0644));
	FAILS(ENOTEMPTY, rmdir("d"));
	FAILS(ENOTDIR, rmdir("d/f"));
	FAILS(ENOENT, rmdir("absent"));
	FAILS(EINVAL, rmdir("d/."));
	FAILS(ENOTEMPTY, rmdir("d/.."));
	OK(unlink("d/f"));
	OK(symlink("d", "l"));
	FAILS(ENOTDIR, rmdir("l"));
	OK(rmdir("d"));
	IS(!exists("d"));
}

/* Somebody is in it: it is there for them, and nothing can be made in it. */
static void test_removed_directory(void)
{
	struct stat st;
	int fd;

	OK(mkdir("d", 0755));
	OK(fd = open("d", O_RDONLY | O_DIRECTORY));
	OK(chdir("d"));
	OK(rmdir("../d"));
	OK(fstat(fd, &st));
	IS(st.st_nlink == 0);
	OK(stat(".", &st));
	FAILS(ENOENT, make("f", 0644));
	FAILS(ENOENT, mkdir("e", 0755));
	FAILS(ENOENT, openat(fd, "f", O_CREAT | O_RDWR, 0644));
	FAILS(ENOENT, symlink("x", "s"));
	OK(fchdir(fd));
	close(fd);
	OK(chdir(".."));
}

static void test_unlink(void)
{
	char buf[8];
	struct stat st;
	int fd;

	OK(make_with("f", "bytes"));
	OK(link("f", "g"));
	IS(stat_of("f").st_nlink == 2);
	OK(unlink("f"));
	IS(stat_of("g").st_nlink == 1);
	FAILS(ENOENT, unlink("f"));
	OK(mkdir("d", 0755));
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOTDIR, unlink("g/x"));
	OK(fd = open("g", O_RDWR));
	OK(unlink("g"));
	OK(fstat(fd, &st));
	IS(st.st_nlink == 0 && st.st_size == 5);
	IS(pread(fd, buf, 5, 0) == 5 && memcmp(buf, "bytes", 5) == 0);
	IS(pwrite(fd, "BYTES", 5, 0) == 5);
	IS(pread(fd, buf, 5, 0) == 5 && memcmp(buf, "BYTES", 5) == 0);
	OK(ftruncate(fd, 1));
	OK(fchmod(fd, 0600));
	close(fd);
}

static void test_link(void)
{
	struct stat a, b;
	int fd;

	OK(make("f", 0644));
	a = stat_of("f");
	tick();
	OK(link("f", "g"));
	b = stat_of("g");
	IS(a.st_ino == b.st_ino && b.st_nlink == 2);
	IS(ns_of(b.st_ctim) > ns_of(a.st_ctim));
	FAILS(EEXIST, link("f", "g"));
	FAILS(ENOENT, link("absent", "h"));
	FAILS(ENOENT, link("f", "absent/h"));
	FAILS(ENOTDIR, link("f", "g/h"));
	OK(mkdir("d", 0755));
	FAILS(EPERM, link("d", "e"));
	FAILS(EEXIST, link("f", "d"));
	OK(symlink("f", "l"));
	OK(link("l", "l2"));
	IS(S_ISLNK(stat_of("l2").st_mode));
	OK(linkat(AT_FDCWD, "l", AT_FDCWD, "via", AT_SYMLINK_FOLLOW));
	IS(stat_of("via").st_ino == a.st_ino);
	OK(fd = open("f", O_RDONLY));
	OK(unlink("f"));
	OK(unlink("g"));
	OK(unlink("via"));
	{
		char path[64];

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		FAILS(ENOENT, linkat(AT_FDCWD, path, AT_FDCWD, "again",
				     AT_SYMLINK_FOLLOW));
	}
	close(fd);
}

static void test_symlink(void)
{
	static char target[PATH_MAX];
	char buf[PATH_MAX + 1];
	struct stat st;

	OK(symlink("some/where", "l"));
	IS(readlink("l", buf, sizeof(buf)) == 10);
	IS(memcmp(buf, "some/where", 10) == 0);
	IS(readlink("l", buf, 4) == 4);
	OK(lstat("l", &st));
	IS(S_ISLNK(st.st_mode) && st.st_size == 10);
	FAILS(EEXIST, symlink("x", "l"));
	FAILS(ENOENT, symlink("", "empty"));
	FAILS(ENOENT, symlink("x", "absent/l"));
	OK(make("f", 0644));
	FAILS(ENOTDIR, symlink("x", "f/l"));
	FAILS(EINVAL, readlink("f", buf, sizeof(buf)));
	FAILS(ENOENT, readlink("absent", buf, sizeof(buf)));
	memset(target, 't', PATH_MAX - 1);
	OK(symlink(target, "long"));
	IS(readlink("long", buf, sizeof(buf)) == PATH_MAX - 1);
	IS(memcmp(buf, target, PATH_MAX - 1) == 0);
	FAILS(ENOENT, stat("l", &st));
}

static void test_rename(void)
{
	struct stat st;

	OK(make_with("a", "a"));
	OK(make_with("b", "bb"));
	OK(rename("a", "b"));
	IS(!exists("a") && stat_of("b").st_size == 1);
	FAILS(ENOENT, rename("a", "c"));
	FAILS(ENOENT, rename("b", "absent/c"));
	FAILS(ENOTDIR, rename("b", "b/c"));
	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	OK(make("e/f", 0644));
	FAILS(ENOTDIR, rename("d", "b"));
	FAILS(EISDIR, rename("b", "d"));
	FAILS(ENOTEMPTY, rename("d", "e"));
	OK(rename("e", "d"));
	IS(exists("d/f") && !exists("e"));
	FAILS(EINVAL, rename("d", "d/in-itself"));
	OK(mkdir("d/sub", 0755));
	FAILS(EINVAL, rename("d", "d/sub/x"));
	FAILS(EBUSY, rename("d/.", "x"));
	OK(link("b", "same"));
	OK(rename("b", "same"));
	IS(exists("b") && exists("same"));
	OK(rename("b", "b"));
	OK(stat("d", &st));
	OK(mkdir("up", 0755));
	IS(stat_of("up").st_nlink == 2);
	OK(rename("d/sub", "up/sub"));
	IS(stat_of("up").st_nlink == 3);
	IS(stat_of("d").st_nlink == st.st_nlink - 1);
	OK(stat("up/sub/..", &st));
	IS(st.st_ino == stat_of("up").st_ino);
}

static void test_rename_flags(void)
{
	struct stat a, b;

	OK(make_with("a", "a"));
	OK(make_with("b", "bb"));
	a = stat_of("a");
	b = stat_of("b");
	FAILS(EEXIST,
	      renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	OK(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_EXCHANGE));
	IS(stat_of("b").st_ino == a.st_ino);
	IS(stat_of("c").st_ino == b.st_ino);
	FAILS(ENOENT,
	      renameat2(AT_FDCWD, "b", AT_FDCWD, "absent", RENAME_EXCHANGE));
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	OK(renameat2(AT_FDCWD, "d/e", AT_FDCWD, "b", RENAME_EXCHANGE));
	IS(S_ISDIR(stat_of("b").st_mode) && S_ISREG(stat_of("d/e").st_mode));
	IS(stat_of("d").st_nlink == 2);
	FAILS(EINVAL, renameat2(AT_FDCWD, "b", AT_FDCWD, "c",
				RENAME_EXCHANGE | RENAME_NOREPLACE));
}

static void test_mknod(void)
{
	OK(mknod("reg", S_IFREG | 0640, 0));
	IS(S_ISREG(stat_of("reg").st_mode));
	OK(mknod("fifo", S_IFIFO | 0640, 0));
	IS(S_ISFIFO(stat_of("fifo").st_mode));
	OK(mknod("sock", S_IFSOCK | 0640, 0));
	IS(S_ISSOCK(stat_of("sock").st_mode));
	OK(mknod("chr", S_IFCHR | 0600, makedev(1, 3)));
	IS(S_ISCHR(stat_of("chr").st_mode));
	IS(stat_of("chr").st_rdev == makedev(1, 3));
	OK(mknod("blk", S_IFBLK | 0600, makedev(259, 70000)));
	IS(stat_of("blk").st_rdev == makedev(259, 70000));
	FAILS(EEXIST, mknod("chr", S_IFCHR | 0600, makedev(1, 3)));
	FAILS(ENOENT, mknod("absent/x", S_IFIFO | 0600, 0));
}

static void test_tmpfile(void)
{
	char path[64], buf[8];
	struct stat st;
	int fd;

	OK(fd = open(".", O_TMPFILE | O_RDWR, 0640));
	IS(write(fd, "bytes", 5) == 5);
	OK(fstat(fd, &st));
	IS(st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(make("taken", 0644));
	FAILS(EEXIST,
	      linkat(AT_FDCWD, path, AT_FDCWD, "taken", AT_SYMLINK_FOLLOW));
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	OK(fstat(fd, &st));
	IS(st.st_nlink == 1 && stat_of("named").st_ino == st.st_ino);
	close(fd);
	OK(fd = open("named", O_RDONLY));
	IS(read(fd, buf, 8) == 5 && memcmp(buf, "bytes", 5) == 0);
	close(fd);
	OK(fd = open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	FAILS(ENOENT,
	      linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
	close(fd);
	FAILS(ENOENT, open("absent", O_TMPFILE | O_RDWR, 0600));
	FAILS(EINVAL, open(".", O_TMPFILE | O_RDONLY, 0600));
}

static void test_paths(void)
{
	struct stat st;

	OK(mkdir("d", 0755));
	OK(make("d/f", 0644));
	OK(stat("d//f", &st));
	OK(stat("./d/./f", &st));
	OK(stat("d/../d/f", &st));
	OK(stat("d/", &st));
	FAILS(ENOTDIR, stat("d/f/", &st));
	FAILS(ENOTDIR, stat("d/f/.", &st));
	OK(symlink("d", "l"));
	OK(lstat("l/", &st));
	IS(S_ISDIR(st.st_mode));
	OK(stat("l/f", &st));
	IS(stat_of("d/..").st_ino == stat_of(".").st_ino);
}

static const struct posix_test tests[] = {
	{ "open says why not", test_open, false },
	{ "O_TRUNC cuts, O_CREAT does not", test_truncating_open, false },
	{ "names of 255 bytes and no more", test_name_lengths, false },
	{ "names of any byte", test_any_byte, false },
	{ "mkdir", test_mkdir, false },
	{ "rmdir", test_rmdir, false },
	{ "a directory that was removed", test_removed_directory, false },
	{ "unlink, also of what is open", test_unlink, false },
	{ "link", test_link, false },
	{ "symlink and readlink", test_symlink, false },
	{ "rename", test_rename, false },
	{ "rename with flags", test_rename_flags, false },
	{ "mknod of every type", test_mknod, true },
	{ "O_TMPFILE", test_tmpfile, false },
	{ "paths with dots and slashes", test_paths, false },
};

int main(int argc, char **argv)
{
	return run_all("names", tests, COUNT_OF(tests), argc, argv);
}
