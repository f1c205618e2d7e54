/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Extended attributes, and POSIX ACLs. */
#include "posix.h"

#include <sys/xattr.h>

#define ANN    1001
#define BOB    1002
#define STAFF  2001
#define OTHERS 2002

/* An ACL as the kernel takes it. */
struct acl {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[8];
};

enum {
	USER_OBJ = 1,
	USER = 2,
	GROUP_OBJ = 4,
	GROUP = 8,
	MASK = 16,
	OTHER = 32
};

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static size_t acl_bytes(size_t entries)
{
	return 4 + 8 * entries;
}

/* user::@u user:BOB:@bob group::@g mask::@m other::@o */
static struct acl acl_of(uint16_t u, uint16_t bob, uint16_t g, uint16_t m,
			 uint16_t o)
{
	return (struct acl){
		.version = 2,
		.e = { { USER_OBJ, u, UINT32_MAX },
		       { USER, bob, BOB },
		       { GROUP_OBJ, g, UINT32_MAX },
		       { MASK, m, UINT32_MAX },
		       { OTHER, o, UINT32_MAX } },
	};
}

static void test_set_and_get(void)
{
	char buf[64];

	OK(make("f", 0644));
	FAILS(ENODATA, getxattr("f", "user.a", buf, sizeof(buf)));
	OK(setxattr("f", "user.a", "value", 5, 0));
	IS(getxattr("f", "user.a", buf, sizeof(buf)) == 5);
	IS(memcmp(buf, "value", 5) == 0);
	IS(getxattr("f", "user.a", NULL, 0) == 5);
	FAILS(ERANGE, getxattr("f", "user.a", buf, 4));
	FAILS(EEXIST, setxattr("f", "user.a", "x", 1, XATTR_CREATE));
	FAILS(ENODATA, setxattr("f", "user.b", "x", 1, XATTR_REPLACE));
	OK(setxattr("f", "user.a", "other", 5, XATTR_REPLACE));
	OK(setxattr("f", "user.empty", "", 0, XATTR_CREATE));
	IS(getxattr("f", "user.empty", buf, sizeof(buf)) == 0);
	OK(removexattr("f", "user.a"));
	FAILS(ENODATA, removexattr("f", "user.a"));
	FAILS(EOPNOTSUPP, setxattr("f", "strange.a", "x", 1, 0));
	FAILS(EOPNOTSUPP, getxattr("f", "strange.a", buf, sizeof(buf)));
	FAILS(ENOENT, getxattr("absent", "user.a", buf, sizeof(buf)));
}

static void test_sizes(void)
{
	static char large[65537], back[65536];
	char name[300] = "user.";

	OK(make("f", 0644));
	memset(large, 'v', sizeof(large));
	OK(setxattr("f", "user.large", large, 65536, 0));
	IS(getxattr("f", "user.large", back, sizeof(back)) == 65536);
	IS(memcmp(large, back, 65536) == 0);
	FAILS(E2BIG, setxattr("f", "user.larger", large, 65537, 0));
	memset(name + 5, 'n', 250);
	OK(setxattr("f", name, "x", 1, 0));
	name[255] = 'n';
	FAILS(ERANGE, setxattr("f", name, "x", 1, 0));
}

static void test_list(void)
{
	char buf[4096], name[32];
	ssize_t n, m;
	int count = 0;

	OK(make("f", 0644));
	IS(listxattr("f", NULL, 0) == 0);
	for (int i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "user.n%d", i);
		OK(setxattr("f", name, "x", 1, 0));
	}
	n = listxattr("f", NULL, 0);
	IS(n > 0);
	m = listxattr("f", buf, sizeof(buf));
	IS(n == m);
	for (ssize_t at = 0; at < m; at += (ssize_t)strlen(buf + at) + 1)
		count++;
	IS(count == 50);
	FAILS(ERANGE, listxattr("f", buf, 10));
}

static void test_namespaces(void)
{
	char buf[256];
	ssize_t n;

	OK(make("f", 0644));
	OK(chown("f", ANN, STAFF));
	OK(setxattr("f", "trusted.t", "x", 1, 0));
	OK(setxattr("f", "user.u", "x", 1, 0));
	be(ANN, STAFF, 0);
	FAILS(EPERM, setxattr("f", "trusted.t", "y", 1, 0));
	FAILS(ENODATA, getxattr("f", "trusted.t", buf, sizeof(buf)));
	OK(setxattr("f", "user.u", "y", 1, 0));
	n = listxattr("f", buf, sizeof(buf));
	IS(n == 7 && memcmp(buf, "user.u", 7) == 0);
	be_root();
	be(BOB, OTHERS, 0);
	FAILS(EACCES, setxattr("f", "user.u", "z", 1, 0));
	IS(getxattr("f", "user.u", buf, sizeof(buf)) == 1);
	be_root();
	OK(chmod("f", 0600));
	be(BOB, OTHERS, 0);
	FAILS(EACCES, getxattr("f", "user.u", buf, sizeof(buf)));
	be_root();
	OK(symlink("f", "l"));
	FAILS(EPERM, lsetxattr("l", "user.u", "x", 1, 0));
	OK(lsetxattr("l", "trusted.t", "x", 1, 0));
	OK(mkfifo("p", 0644));
	FAILS(EPERM, setxattr("p", "user.u", "x", 1, 0));
}

static void test_acl_rights(void)
{
	struct acl acl = acl_of(6, 6, 4, 7, 0);
	int fd;

	OK(make("f", 0640));
	OK(chown("f", ANN, STAFF));
	OK(setxattr("f", ACCESS, &acl, acl_bytes(5), 0));
	IS((stat_of("f").st_mode & 07777) == 0670);
	be(BOB, OTHERS, 0);
	OK(fd = open("f", O_RDWR));
	close(fd);
	be_root();
	OK(chmod("f", 0640)); /* the mask */
	IS((stat_of("f").st_mode & 07777) == 0640);
	be(BOB, OTHERS, 0);
	FAILS(EACCES, open("f", O_RDWR));
	OK(fd = open("f", O_RDONLY));
	close(fd);
	be_root();
	IS(getxattr("f", ACCESS, &acl, sizeof(acl)) == (ssize_t)acl_bytes(5));
	IS(acl.e[3].tag == MASK && acl.e[3].perm == 4);
	IS(acl.e[1].perm == 6);
	OK(removexattr("f", ACCESS));
	be(BOB, OTHERS, 0);
	FAILS(EACCES, open("f", O_RDONLY));
	be_root();
}

static void test_acl_default(void)
{
	struct acl acl = acl_of(7, 5, 5, 7, 0);
	struct acl got;

	OK(mkdir("d", 0777));
	OK(make("f", 0644));
	FAILS(EACCES, setxattr("f", DEFAULT, &acl, acl_bytes(5), 0));
	OK(setxattr("d", DEFAULT, &acl, acl_bytes(5), 0));
	umask(077); /* does not count below it */
	OK(make("d/f", 0664));
	OK(mkdir("d/e", 0777));
	IS((stat_of("d/f").st_mode & 07777) == 0660);
	IS(getxattr("d/f", ACCESS, &got, sizeof(got)) == (ssize_t)acl_bytes(5));
	IS(got.e[1].perm == 5 && got.e[1].id == BOB && got.e[3].perm == 6);
	FAILS(ENODATA, getxattr("d/f", DEFAULT, &got, sizeof(got)));
	IS((stat_of("d/e").st_mode & 07777) == 0770);
	IS(getxattr("d/e", DEFAULT, &got, sizeof(got)) ==
	   (ssize_t)acl_bytes(5));
	OK(removexattr("d", DEFAULT));
	OK(make("d/g", 0664));
	IS((stat_of("d/g").st_mode & 07777) == 0600);
}

static void test_acl_minimal(void)
{
	struct acl acl = {
		.version = 2,
		.e = { { USER_OBJ, 7, UINT32_MAX },
		       { GROUP_OBJ, 5, UINT32_MAX },
		       { OTHER, 1, UINT32_MAX } },
	};

	OK(make("f", 0644));
	OK(setxattr("f", ACCESS, &acl, acl_bytes(3), 0));
	IS((stat_of("f").st_mode & 07777) == 0751);
	FAILS(ENODATA, getxattr("f", ACCESS, &acl, sizeof(acl)));
	acl.e[1].tag = 77;
	FAILS(EINVAL, setxattr("f", ACCESS, &acl, acl_bytes(3), 0));
	FAILS(EINVAL, setxattr("f", ACCESS, &acl, acl_bytes(3) - 1, 0));
	acl.e[1].tag = GROUP_OBJ;
	be(BOB, OTHERS, 0);
	FAILS(EPERM, setxattr("f", ACCESS, &acl, acl_bytes(3), 0));
	be_root();
}

/* File capabilities go when the content or the owner changes. */
static void test_capabilities(void)
{
	static const uint8_t caps[20] = {
		0x01, 0, 0, 0x02, 0, 0x04, 0, 0,
	};
	char buf[64];
	int fd;

	OK(make("f", 0755));
	OK(setxattr("f", "security.capability", caps, sizeof(caps), 0));
	IS(getxattr("f", "security.capability", buf, sizeof(buf)) > 0);
	OK(fd = open("f", O_WRONLY));
	IS(write(fd, "x", 1) == 1);
	close(fd);
	FAILS(ENODATA, getxattr("f", "security.capability", buf, sizeof(buf)));
	OK(setxattr("f", "security.capability", caps, sizeof(caps), 0));
	OK(chown("f", ANN, STAFF));
	FAILS(ENODATA, getxattr("f", "security.capability", buf, sizeof(buf)));
}

static const struct posix_test tests[] = {
	{ "set, get, remove", test_set_and_get, false },
	{ "names and values of every size", test_sizes, false },
	{ "list", test_list, false },
	{ "namespaces and their rights", test_namespaces, true },
	{ "an ACL grants and masks", test_acl_rights, true },
	{ "a default ACL is inherited", test_acl_default, true },
	{ "an ACL that says no more than the mode", test_acl_minimal, true },
	{ "file capabilities", test_capabilities, true },
};

int main(int argc, char **argv)
{
	return run_all("xattrs", tests, COUNT_OF(tests), argc, argv);
}
