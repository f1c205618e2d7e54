/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may do what: permissions, set-id bits, the sticky bit, owners. */
#include "posix.h"

#define ANN      1001
#define BOB      1002
#define STAFF    2001
#define OTHERS   2002
#define SAME_UID ((uid_t)-1)
#define SAME_GID ((gid_t)-1)

static uint32_t mode_of(const char *path)
{
	return stat_of(path).st_mode & 07777;
}

static void test_reading(void)
{
	/* Mode, and whether owner, group and the rest may read, write, search.
	 */
	for (unsigned int mode = 0; mode <= 0777; mode += 0111 * 1) {
		OK(make("f", 0644));
		OK(chown("f", ANN, STAFF));
		OK(chmod("f", mode));
		for (int who = 0; who < 3; who++) {
			unsigned int rights = mode >> (6 - 3 * who) & 7;
			int fd;

			be(who == 0 ? ANN : BOB, who == 1 ? STAFF : OTHERS, 0);
			fd = open("f", O_RDONLY);
			IS((fd >= 0) == ((rights & 4) != 0));
			IS(fd >= 0 || access("f", F_OK) == 0);
			if (fd >= 0)
				close(fd);
			fd = open("f", O_WRONLY);
			IS((fd >= 0) == ((rights & 2) != 0));
			if (fd >= 0)
				close(fd);
			be_root();
		}
		OK(unlink("f"));
	}
	OK(make("g", 0640));
	OK(chown("g", ANN, STAFF));
	be(BOB, OTHERS, STAFF); /* a member by its other group */
	{
		int fd;

		OK(fd = open("g", O_RDONLY));
		close(fd);
	}
	FAILS(EACCES, open("g", O_WRONLY));
	be_root();
}

static void test_directories(void)
{
	struct stat st;
	int fd;

	OK(mkdir("d", 0755));
	OK(make("d/f", 0666));
	OK(chown("d", ANN, STAFF));
	OK(chmod("d", 0700));
	be(BOB, OTHERS, 0);
	FAILS(EACCES, stat("d/f", &st));
	FAILS(EACCES, open("d", O_RDONLY));
	FAILS(EACCES, make("d/g", 0644));
	FAILS(EACCES, unlink("d/f"));
	FAILS(EACCES, chdir("d"));
	be_root();
	OK(chmod("d", 0711)); /* search, not read */
	be(BOB, OTHERS, 0);
	OK(stat("d/f", &st));
	FAILS(EACCES, open("d", O_RDONLY));
	FAILS(EACCES, make("d/g", 0644));
	FAILS(EACCES, unlink("d/f"));
	FAILS(EACCES, rename("d/f", "d/h"));
	FAILS(EACCES, mkdir("d/e", 0755));
	FAILS(EACCES, symlink("x", "d/l"));
	FAILS(EACCES, mkfifo("d/p", 0644));
	be_root();
	OK(chmod("d", 0744)); /* read, not search */
	be(BOB, OTHERS, 0);
	OK(fd = open("d", O_RDONLY));
	close(fd);
	FAILS(EACCES, stat("d/f", &st));
	be_root();
	OK(chmod("d", 0777));
	be(BOB, OTHERS, 0);
	OK(make("d/g", 0644));
	OK(unlink("d/f"));
	be_root();
	IS(stat_of("d/g").st_uid == BOB && stat_of("d/g").st_gid == OTHERS);
}

static void test_sticky(void)
{
	OK(mkdir("d", 0755));
	OK(chmod("d", 01777));
	be(ANN, STAFF, 0);
	OK(make("d/ann", 0666));
	OK(mkdir("d/anndir", 0777));
	be_root();
	be(BOB, OTHERS, 0);
	OK(make("d/bob", 0666));
	FAILS(EPERM, unlink("d/ann"));
	FAILS(EPERM, rmdir("d/anndir"));
	FAILS(EPERM, rename("d/ann", "d/x"));
	FAILS(EPERM, rename("d/bob", "d/ann"));
	OK(rename("d/bob", "d/bob2"));
	be_root();
	OK(chown("d", BOB, OTHERS)); /* whose directory it is may */
	be(BOB, OTHERS, 0);
	OK(unlink("d/ann"));
	be_root();
}

static void test_chmod(void)
{
	OK(make("f", 0644));
	OK(chown("f", ANN, STAFF));
	be(BOB, STAFF, 0);
	FAILS(EPERM, chmod("f", 0666));
	be_root();
	be(ANN, OTHERS, 0);
	OK(chmod("f", 04755));
	IS(mode_of("f") == 04755);
	OK(chmod("f", 02755)); /* not in its group: the bit goes */
	IS(mode_of("f") == 0755);
	be_root();
	be(ANN, STAFF, 0);
	OK(chmod("f", 02755));
	IS(mode_of("f") == 02755);
	be_root();
	FAILS(ENOENT, chmod("absent", 0644));
	FAILS(ENOTDIR, chmod("f/x", 0644));
	OK(mkdir("d", 0755));
	OK(chmod("d", 07777));
	IS(mode_of("d") == 07777);
}

static void test_chown(void)
{
	OK(make("f", 0644));
	OK(chown("f", ANN, STAFF));
	be(ANN, STAFF, OTHERS);
	FAILS(EPERM, chown("f", BOB, SAME_GID));
	OK(chown("f", SAME_UID, OTHERS)); /* to a group of ours */
	OK(chown("f", ANN, STAFF));
	FAILS(EPERM, chown("f", SAME_UID, 4711));
	be_root();
	be(BOB, OTHERS, 0);
	FAILS(EPERM, chown("f", BOB, SAME_GID));
	FAILS(EPERM, chown("f", SAME_UID, OTHERS));
	be_root();
	OK(chmod("f", 06755));
	OK(chown("f", BOB, STAFF));
	IS(mode_of("f") == 0755);
	OK(chmod("f", 02745)); /* no program of the group's: stays */
	OK(chown("f", ANN, STAFF));
	IS(mode_of("f") == 02745 || mode_of("f") == 0745);
	OK(mkdir("d", 0755));
	OK(chmod("d", 06755));
	OK(chown("d", BOB, STAFF));
	IS(mode_of("d") == 06755);
	OK(symlink("f", "l"));
	OK(lchown("l", BOB, OTHERS));
	IS(stat_of("l").st_uid == BOB && stat_of("f").st_uid == ANN);
	FAILS(ENOENT, chown("absent", 1, 1));
}

/* What gave rights goes when somebody else changes the content. */
static void test_set_id_and_writes(void)
{
	int fd;

	OK(make_with("f", "program"));
	OK(chown("f", ANN, STAFF));
	OK(chmod("f", 06777));
	be(BOB, OTHERS, 0);
	OK(fd = open("f", O_WRONLY));
	IS(write(fd, "x", 1) == 1);
	close(fd);
	be_root();
	IS(mode_of("f") == 0777);
	OK(chmod("f", 06777));
	be(BOB, OTHERS, 0);
	OK(truncate("f", 1));
	be_root();
	IS(mode_of("f") == 0777);
	OK(chmod("f", 06777));
	be(BOB, OTHERS, 0);
	OK(fd = open("f", O_WRONLY | O_TRUNC));
	close(fd);
	be_root();
	IS(mode_of("f") == 0777);
	OK(chmod("f", 06777));
	OK(fd = open("f", O_WRONLY)); /* root may */
	IS(write(fd, "x", 1) == 1);
	close(fd);
	IS(mode_of("f") == 06777);
}

static void test_setgid_directory(void)
{
	OK(mkdir("d", 0777));
	OK(chown("d", ANN, STAFF));
	OK(chmod("d", 02777));
	be(BOB, OTHERS, 0);
	OK(make("d/f", 0644));
	OK(mkdir("d/e", 0755));
	OK(symlink("x", "d/l"));
	be_root();
	IS(stat_of("d/f").st_gid == STAFF && stat_of("d/f").st_uid == BOB);
	IS(stat_of("d/e").st_gid == STAFF && mode_of("d/e") == 02755);
	IS(stat_of("d/l").st_gid == STAFF);
	be(BOB, OTHERS, 0);
	OK(make("d/g", 02755)); /* not of that group: no bit */
	be_root();
	IS((mode_of("d/g") & S_ISGID) == 0);
}

static void test_times_and_rights(void)
{
	const struct timespec set[2] = { { 1, 2 }, { 3, 4 } };
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };

	OK(make("f", 0666));
	OK(chown("f", ANN, STAFF));
	be(BOB, OTHERS, 0);
	FAILS(EPERM, utimensat(AT_FDCWD, "f", set, 0));
	OK(utimensat(AT_FDCWD, "f", now, 0)); /* who may write */
	be_root();
	OK(chmod("f", 0644));
	be(BOB, OTHERS, 0);
	FAILS(EACCES, utimensat(AT_FDCWD, "f", now, 0));
	be_root();
	be(ANN, STAFF, 0);
	OK(utimensat(AT_FDCWD, "f", set, 0));
	be_root();
	IS(ns_of(stat_of("f").st_mtim) == 3000000004);
}

static void test_umask(void)
{
	umask(0077);
	OK(make("f", 0666));
	IS(mode_of("f") == 0600);
	OK(mkfifo("p", 0666));
	IS(mode_of("p") == 0600);
	umask(0);
	OK(make("g", 04766));
	IS(mode_of("g") == 04766);
}

static void test_access(void)
{
	OK(make("f", 0640));
	OK(chown("f", ANN, STAFF));
	IS(access("f", R_OK | W_OK) == 0);
	FAILS(EACCES, access("f", X_OK));
	be(BOB, OTHERS, 0);
	FAILS(EACCES, faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
	OK(faccessat(AT_FDCWD, "f", F_OK, AT_EACCESS));
	be_root();
	be(ANN, OTHERS, 0);
	OK(faccessat(AT_FDCWD, "f", R_OK | W_OK, AT_EACCESS));
	be_root();
}

static const struct posix_test tests[] = {
	{ "each class has its own rights", test_reading, true },
	{ "rights on directories", test_directories, true },
	{ "the sticky bit", test_sticky, true },
	{ "chmod", test_chmod, true },
	{ "chown", test_chown, true },
	{ "set-id bits go with the content", test_set_id_and_writes, true },
	{ "a set-group-ID directory", test_setgid_directory, true },
	{ "who may set times", test_times_and_rights, true },
	{ "umask", test_umask, false },
	{ "access", test_access, true },
};

int main(int argc, char **argv)
{
	return run_all("perms", tests, COUNT_OF(tests), argc, argv);
}
