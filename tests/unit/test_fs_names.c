/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of a tree: make, find, link, remove, rename, list; every errno. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>

#include "fs_fixture.h"

static void test_create(void **state)
{
	struct fixture *f = *state;
	struct cfs_inode inode, root;
	uint64_t ino;

	ino = make(f, ROOT, "a");
	inode = attr(f, ino);
	assert_int_equal(inode.mode, S_IFREG | 0644);
	assert_int_equal(inode.uid, 1);
	assert_int_equal(inode.gid, 2);
	assert_int_equal(inode.nlink, 1);
	assert_int_equal(inode.mtime_ns, 5000);
	assert_int_equal(inode.btime_ns, 5000);
	assert_int_equal(inode.parent, ROOT);
	root = attr(f, ROOT);
	assert_int_equal(root.entry_count, 1);
	assert_int_equal(root.nlink, 2);
	assert_int_equal(root.mtime_ns, 5000);
	assert_int_equal(root.ctime_ns, 5000);

	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("a"), 0, 0, 0, &ino, &f->err),
		-EEXIST);
	assert_string_equal(f->err.msg, "a: exists");
	assert_int_equal(
		cfs_fs_mkdir(f->fs, ROOT, N("a"), 0, 0, 0, &ino, &f->err),
		-EEXIST);
	assert_int_equal(
		cfs_fs_create(f->fs, ino, N("x"), 0, 0, 0, NULL, &f->err),
		-ENOTDIR);
	assert_int_equal(
		cfs_fs_create(f->fs, 999, N("x"), 0, 0, 0, NULL, &f->err),
		-ENOENT);
	assert_int_equal(cfs_fs_mknod(f->fs, ROOT, N("d"), S_IFDIR, 0, 0, 0,
				      NULL, &f->err),
			 -EINVAL);
	assert_int_equal(
		cfs_fs_mknod(f->fs, ROOT, N("d"), 0644, 0, 0, 0, NULL, &f->err),
		-EINVAL);
	assert_int_equal(attr(f, ROOT).entry_count, 1);

	f->clock.realtime_ns = 6000;
	make_dir(f, ROOT, "d");
	assert_int_equal(attr(f, ROOT).nlink, 3);
	assert_int_equal(attr(f, ROOT).mtime_ns, 6000);
}

static void test_create_types(void **state)
{
	static const uint32_t types[] = {
		S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK,
	};
	struct fixture *f = *state;
	struct cfs_inode inode;
	size_t i;

	for (i = 0; i < CFS_ARRAY_COUNT(types); i++) {
		char name[] = { (char)('a' + i), '\0' };
		uint64_t ino;

		assert_int_equal(cfs_fs_mknod(f->fs, ROOT, name, 1,
					      types[i] | 04751,
					      UINT64_C(8) << 32 | 1, 0, 0, &ino,
					      &f->err),
				 0);
		inode = attr(f, ino);
		assert_int_equal(inode.mode, types[i] | 04751);
		assert_int_equal(inode.rdev,
				 types[i] == S_IFCHR || types[i] == S_IFBLK
					 ? UINT64_C(8) << 32 | 1
					 : 0);
	}
}

static void test_create_with(void **state)
{
	struct cfs_fs_xattr xattrs[] = {
		{ "user.a", "1", 1 },
		{ "user.b", "", 0 },
	};
	struct cfs_fs_spec spec = {
		.mode = S_IFREG | 0600,
		.uid = 7,
		.gid = 8,
		.has_times = true,
		.atime_ns = -5,
		.mtime_ns = 17,
		.data = "hello",
		.data_bytes = 5,
		.xattrs = xattrs,
		.xattr_count = 2,
	};
	struct fixture *f = *state;
	struct cfs_inode inode;
	uint64_t ino = 0, before;
	char buf[16];
	size_t n;

	before = f->c->op_count;
	assert_int_equal(cfs_fs_create_with(f->fs, ROOT, N("f"), &spec, &ino,
					    &inode, &f->err),
			 0);
	assert_int_equal(f->c->op_count, before + 1);
	assert_int_equal(inode.atime_ns, -5);
	assert_int_equal(inode.mtime_ns, 17);
	assert_int_equal(inode.ctime_ns, 5000);
	assert_int_equal(inode.size_bytes, 5);
	assert_int_equal(
		cfs_fs_read(f->fs, ino, 0, buf, sizeof(buf), &n, &f->err), 0);
	assert_int_equal(n, 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, ino, "user.a", buf, 16, &n, &f->err),
		0);
	assert_int_equal(n, 1);

	/* One that fails in its last part leaves nothing. */
	xattrs[1].name = "user.a";
	assert_int_equal(cfs_fs_create_with(f->fs, ROOT, N("g"), &spec, NULL,
					    NULL, &f->err),
			 -EEXIST);
	assert_int_equal(at(f, "g"), -ENOENT);
	xattrs[1].value_bytes = 65537;
	assert_int_equal(cfs_fs_create_with(f->fs, ROOT, N("g"), &spec, NULL,
					    NULL, &f->err),
			 -E2BIG);
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	char name[300];
	unsigned int i;
	uint64_t ino;

	for (i = 1; i < 256; i++) {
		name[0] = (char)i;
		if (i == '/' || i == '.')
			continue;
		assert_int_equal(cfs_fs_create(f->fs, ROOT, name, 1, 0, 0, 0,
					       NULL, &f->err),
				 0);
	}
	for (i = 1; i < 256; i++) {
		name[0] = (char)i;
		if (i != '/' && i != '.')
			assert_int_equal(cfs_fs_lookup(f->fs, ROOT, name, 1,
						       &ino, NULL, &f->err),
					 0);
	}
	assert_int_equal(attr(f, ROOT).entry_count, 253);
	memset(name, 'n', sizeof(name));
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, name, 256, 0, 0, 0, NULL, &f->err),
		-ENAMETOOLONG);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, name, 255, 0, 0, 0, NULL, &f->err),
		0);
	assert_int_equal(
		cfs_fs_lookup(f->fs, ROOT, name, 255, &ino, NULL, &f->err), 0);
	assert_int_equal(
		cfs_fs_lookup(f->fs, ROOT, name, 254, &ino, NULL, &f->err),
		-ENOENT);
	assert_int_equal(
		cfs_fs_lookup(f->fs, ROOT, name, 256, &ino, NULL, &f->err),
		-ENAMETOOLONG);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("a/b"), 0, 0, 0, NULL, &f->err),
		-EINVAL);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("a\0b"), 0, 0, 0, NULL, &f->err),
		-EINVAL);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("."), 0, 0, 0, NULL, &f->err),
		-EINVAL);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N(".."), 0, 0, 0, NULL, &f->err),
		-EINVAL);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("..."), 0, 0, 0, NULL, &f->err),
		0);
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N(""), 0, 0, 0, NULL, &f->err),
		-ENOENT);
}

static void test_lookup(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), e = make_dir(f, d, "e"), ino;
	struct cfs_inode inode;

	assert_int_equal(cfs_fs_lookup(f->fs, d, N("e"), &ino, &inode, &f->err),
			 0);
	assert_int_equal(ino, e);
	assert_true(S_ISDIR(inode.mode));
	assert_int_equal(cfs_fs_lookup(f->fs, e, N("."), &ino, NULL, &f->err),
			 0);
	assert_int_equal(ino, e);
	assert_int_equal(cfs_fs_lookup(f->fs, e, N(".."), &ino, NULL, &f->err),
			 0);
	assert_int_equal(ino, d);
	assert_int_equal(
		cfs_fs_lookup(f->fs, ROOT, N(".."), &ino, NULL, &f->err), 0);
	assert_int_equal(ino, ROOT);
	assert_int_equal(
		cfs_fs_lookup(f->fs, ROOT, N("nix"), &ino, NULL, &f->err),
		-ENOENT);
	assert_string_equal(f->err.msg, "nix: no such file or directory");
}

static void test_link_unlink(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), a = make(f, ROOT, "a");
	struct cfs_inode inode;

	f->clock.realtime_ns = 7000;
	assert_int_equal(cfs_fs_link(f->fs, a, d, N("b"), &f->err), 0);
	inode = attr(f, a);
	assert_int_equal(inode.nlink, 2);
	assert_int_equal(inode.ctime_ns, 7000);
	assert_int_equal(inode.mtime_ns, 5000);
	assert_int_equal(attr(f, d).mtime_ns, 7000);
	assert_int_equal(at(f, "d/b"), a);
	assert_int_equal(cfs_fs_link(f->fs, a, d, N("b"), &f->err), -EEXIST);
	assert_int_equal(cfs_fs_link(f->fs, d, ROOT, N("x"), &f->err), -EPERM);
	assert_int_equal(cfs_fs_link(f->fs, 999, ROOT, N("x"), &f->err),
			 -ENOENT);
	assert_int_equal(cfs_fs_link(f->fs, a, a, N("x"), &f->err), -ENOTDIR);

	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("d"), &f->err), -EISDIR);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("nix"), &f->err),
			 -ENOENT);
	assert_int_equal(cfs_fs_unlink(f->fs, a, N("nix"), &f->err), -ENOTDIR);
	f->clock.realtime_ns = 8000;
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	inode = attr(f, a);
	assert_int_equal(inode.nlink, 1);
	assert_int_equal(inode.ctime_ns, 8000);
	assert_int_equal(attr(f, ROOT).mtime_ns, 8000);
	assert_int_equal(cfs_fs_unlink(f->fs, d, N("b"), &f->err), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, a, &inode, &f->err), -ENOENT);
	assert_int_equal(attr(f, d).entry_count, 0);
}

static void test_links_max(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), d = make_dir(f, ROOT, "d");
	struct cfs_inode file = attr(f, a), dir = attr(f, d);
	struct cfs_inode full_file = file, full_dir = dir;

	full_file.nlink = full_dir.nlink = CFS_FS_LINKS_MAX;
	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_fs_inode_store(f->fs, a, &full_file, NULL);
	cfs_fs_inode_store(f->fs, d, &full_dir, NULL);
	cfs_op_end(f->c);
	make_dir(f, ROOT, "e");
	assert_int_equal(cfs_fs_link(f->fs, a, ROOT, N("b"), &f->err), -EMLINK);
	assert_int_equal(cfs_fs_mkdir(f->fs, d, N("s"), 0, 0, 0, NULL, &f->err),
			 -EMLINK);
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("e"), d, N("e"), 0, &f->err),
		-EMLINK);
	assert_true(at(f, "e") > 0);
	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_fs_inode_store(f->fs, a, &file, NULL);
	cfs_fs_inode_store(f->fs, d, &dir, NULL);
	cfs_op_end(f->c);
}

static void test_rmdir(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), ino;
	struct cfs_inode inode;

	make(f, ROOT, "a");
	make(f, d, "x");
	assert_int_equal(cfs_fs_rmdir(f->fs, ROOT, N("d"), &f->err),
			 -ENOTEMPTY);
	assert_int_equal(cfs_fs_rmdir(f->fs, ROOT, N("a"), &f->err), -ENOTDIR);
	assert_int_equal(cfs_fs_rmdir(f->fs, ROOT, N("."), &f->err), -EINVAL);
	assert_int_equal(cfs_fs_unlink(f->fs, d, N("x"), &f->err), 0);
	assert_int_equal(attr(f, ROOT).nlink, 3);
	assert_int_equal(cfs_fs_open_ino(f->fs, d, &f->err), 0);
	assert_int_equal(cfs_fs_rmdir(f->fs, ROOT, N("d"), &f->err), 0);
	assert_int_equal(attr(f, ROOT).nlink, 2);
	/* It is still open, but nothing can be made in it. */
	assert_int_equal(attr(f, d).nlink, 0);
	assert_int_equal(
		cfs_fs_create(f->fs, d, N("y"), 0, 0, 0, &ino, &f->err),
		-ENOENT);
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("a"), d, N("a"), 0, &f->err),
		-ENOENT);
	assert_int_equal(cfs_fs_close_ino(f->fs, d, &f->err), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, d, &inode, &f->err), -ENOENT);
}

static void test_rename_file(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), a = make(f, ROOT, "a");
	uint64_t b = make(f, d, "b");
	struct cfs_inode inode;

	f->clock.realtime_ns = 9000;
	assert_int_equal(mv(f, "a", "d/a", 0), 0);
	assert_int_equal(at(f, "a"), -ENOENT);
	assert_int_equal(at(f, "d/a"), a);
	assert_int_equal(attr(f, a).parent, d);
	assert_int_equal(attr(f, a).ctime_ns, 9000);
	assert_int_equal(attr(f, a).mtime_ns, 5000);
	assert_int_equal(attr(f, ROOT).mtime_ns, 9000);
	assert_int_equal(attr(f, d).entry_count, 2);
	/* Over another: that one goes. */
	assert_int_equal(mv(f, "d/a", "d/b", CFS_FS_RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(mv(f, "d/a", "d/b", 0), 0);
	assert_int_equal(at(f, "d/b"), a);
	assert_int_equal(cfs_fs_getattr(f->fs, b, &inode, &f->err), -ENOENT);
	assert_int_equal(attr(f, d).entry_count, 1);
	/* Another name of the same inode: both stay. */
	assert_int_equal(cfs_fs_link(f->fs, a, ROOT, N("a"), &f->err), 0);
	assert_int_equal(mv(f, "a", "d/b", 0), 0);
	assert_int_equal(at(f, "a"), a);
	assert_int_equal(at(f, "d/b"), a);
	assert_int_equal(mv(f, "a", "a", 0), 0);
	/* Into nothing, onto a directory, with flags that are none. */
	assert_int_equal(mv(f, "nix", "a", 0), -ENOENT);
	assert_int_equal(mv(f, "a", "d", 0), -EISDIR);
	assert_int_equal(mv(f, "a", "nix", CFS_FS_RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(mv(f, "a", "b", 3), -EINVAL);
	assert_int_equal(mv(f, "a", "b", 4), -EINVAL);
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("a"), a, N("b"), 0, &f->err),
		-ENOTDIR);
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("a"), ROOT, N("x/y"), 0, &f->err),
		-EINVAL);
}

static void test_rename_replaces_open(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), b = make(f, ROOT, "b");
	struct cfs_inode inode;

	assert_int_equal(cfs_fs_open_ino(f->fs, b, &f->err), 0);
	assert_int_equal(mv(f, "a", "b", 0), 0);
	assert_int_equal(at(f, "b"), a);
	assert_int_equal(attr(f, b).nlink, 0);
	assert_int_equal(cfs_fs_close_ino(f->fs, b, &f->err), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, b, &inode, &f->err), -ENOENT);
}

static void test_nameless(void **state)
{
	struct fixture *f = *state;
	struct cfs_fs_spec spec = {
		.mode = S_IFREG | 0640,
		.uid = 7,
		.data = "abc",
		.data_bytes = 3,
	};
	uint64_t d = make_dir(f, ROOT, "d"), b = make(f, d, "b"), a = 0;
	struct cfs_inode inode;

	/* Closed without a name: gone.  Not closed: an orphan. */
	assert_int_equal(cfs_fs_create_nameless(f->fs, d, &spec, &a, &f->err),
			 0);
	assert_int_equal(attr(f, a).nlink, 0);
	assert_sound(f);
	assert_int_equal(cfs_fs_close_ino(f->fs, a, &f->err), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, a, &inode, &f->err), -ENOENT);
	/* Over another one, which goes; over nothing. */
	assert_int_equal(cfs_fs_create_nameless(f->fs, d, &spec, &a, &f->err),
			 0);
	assert_int_equal(cfs_fs_name(f->fs, a, ROOT, N("d"), &f->err), -EISDIR);
	assert_int_equal(cfs_fs_name(f->fs, a, b, N("x"), &f->err), -ENOTDIR);
	assert_int_equal(cfs_fs_name(f->fs, b, d, N("x"), &f->err), -EINVAL);
	assert_int_equal(cfs_fs_name(f->fs, a, d, N("b"), &f->err), 0);
	assert_int_equal(at(f, "d/b"), a);
	assert_int_equal(attr(f, a).nlink, 1);
	assert_int_equal(attr(f, a).size_bytes, 3);
	assert_int_equal(attr(f, d).entry_count, 1);
	assert_int_equal(cfs_fs_getattr(f->fs, b, &inode, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_name(f->fs, a, d, N("c"), &f->err), -EINVAL);
	assert_int_equal(cfs_fs_close_ino(f->fs, a, &f->err), 0);
	assert_int_equal(at(f, "d/b"), a);
	spec.mode = S_IFDIR | 0755;
	spec.data_bytes = 0;
	assert_int_equal(cfs_fs_create_nameless(f->fs, d, &spec, &a, &f->err),
			 -EINVAL);
}

static void test_rename_dir(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_dir(f, ROOT, "a"), b = make_dir(f, a, "b");
	uint64_t c = make_dir(f, b, "c"), e = make_dir(f, ROOT, "e");
	struct cfs_inode inode;

	make(f, ROOT, "file");
	/* Into itself, at any depth; onto what holds it. */
	assert_int_equal(mv(f, "a", "a/x", 0), -EINVAL);
	assert_int_equal(mv(f, "a", "a/b/c/x", 0), -EINVAL);
	assert_int_equal(mv(f, "a/b/c", "a", 0), -ENOTEMPTY);
	assert_int_equal(mv(f, "a", "a/b/c", CFS_FS_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(f, "a/b/c", "a", CFS_FS_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(mv(f, "a", "file", 0), -ENOTDIR);
	assert_int_equal(mv(f, "e", "a", 0), -ENOTEMPTY);
	/* Over an empty one. */
	assert_int_equal(mv(f, "a/b", "e", 0), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, e, &inode, &f->err), -ENOENT);
	assert_int_equal(at(f, "e/c"), c);
	assert_int_equal(attr(f, b).parent, ROOT);
	assert_int_equal(attr(f, a).nlink, 2);
	assert_int_equal(attr(f, ROOT).nlink, 4);
	/* To another place, and within one directory. */
	assert_int_equal(mv(f, "e/c", "a/c", 0), 0);
	assert_int_equal(attr(f, a).nlink, 3);
	assert_int_equal(attr(f, b).nlink, 2);
	assert_int_equal(mv(f, "a/c", "a/z", 0), 0);
	assert_int_equal(attr(f, a).nlink, 3);
	assert_int_equal(mv(f, "e", "a/z", 0), 0);
	assert_int_equal(attr(f, ROOT).nlink, 3);
	assert_int_equal(attr(f, a).nlink, 3);
}

static void test_exchange(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), s = make_dir(f, d, "s");
	uint64_t a = make(f, ROOT, "a"), b = make(f, d, "b");

	make(f, s, "in");
	assert_int_equal(mv(f, "a", "d/b", CFS_FS_RENAME_EXCHANGE), 0);
	assert_int_equal(at(f, "a"), b);
	assert_int_equal(at(f, "d/b"), a);
	assert_int_equal(attr(f, a).parent, d);
	/* A file against a directory that is not empty. */
	assert_int_equal(mv(f, "a", "d/s", CFS_FS_RENAME_EXCHANGE), 0);
	assert_true(at(f, "a/in") > 0);
	assert_int_equal(at(f, "d/s"), b);
	assert_int_equal(attr(f, ROOT).nlink, 4);
	assert_int_equal(attr(f, d).nlink, 2);
	assert_int_equal(attr(f, s).parent, ROOT);
	/* Within one directory. */
	assert_int_equal(mv(f, "d", "a", CFS_FS_RENAME_EXCHANGE), 0);
	assert_int_equal(at(f, "a"), d);
	assert_int_equal(at(f, "d"), s);
}

/* All names have one hash: sixteen fit, and stay apart. */
static void test_collisions(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[16];
	unsigned int i;
	char name[8];

	f->fs->hash_mask = 0;
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		inos[i] = make(f, ROOT, name);
	}
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("n16"), 0, 0, 0, NULL, &f->err),
		-ENOSPC);
	assert_string_equal(f->err.msg,
			    "n16: the directory has 16 names of the same hash");
	assert_int_equal(attr(f, ROOT).entry_count, 16);
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(at(f, name), inos[i]);
	}
}

static void test_collision_gaps(void **state)
{
	struct fixture *f = *state;
	unsigned int i;
	uint64_t inos[16], ino;
	char name[8];

	f->fs->hash_mask = 0;
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		inos[i] = make(f, ROOT, name);
	}
	/* Those behind a gap are still found, the full chain has room. */
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("n0"), &f->err), 0);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("n7"), &f->err), 0);
	for (i = 1; i < 16; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(cfs_fs_lookup(f->fs, ROOT, name, strlen(name),
					       &ino, NULL, &f->err),
				 i == 7 ? -ENOENT : 0);
		if (i != 7)
			assert_int_equal(ino, inos[i]);
	}
	/* Gaps are found as such; a name that exists behind one is seen. */
	assert_int_equal(
		cfs_fs_create(f->fs, ROOT, N("n15"), 0, 0, 0, NULL, &f->err),
		-EEXIST);
	make(f, ROOT, "x");
	assert_int_equal(mv(f, "n15", "y", 0), 0);
	assert_int_equal(at(f, "y"), inos[15]);
	assert_int_equal(at(f, "n15"), -ENOENT);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("x"), &f->err), 0);
	assert_int_equal(mv(f, "n1", "n2", 0), 0);
	assert_int_equal(at(f, "n2"), inos[1]);
}

static void test_readdir(void **state)
{
	struct fixture *f = *state;
	struct cfs_fs_entry e[8];
	uint64_t d = make_dir(f, ROOT, "d");
	size_t n;

	assert_int_equal(cfs_fs_readdir(f->fs, d, 0, e, 8, &n, &f->err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(e[0].name, ".");
	assert_int_equal(e[0].ino, d);
	assert_int_equal(e[0].type, DT_DIR);
	assert_int_equal(e[0].next_cookie, 1);
	assert_string_equal(e[1].name, "..");
	assert_int_equal(e[1].ino, ROOT);
	assert_int_equal(e[1].next_cookie, 2);
	assert_int_equal(cfs_fs_readdir(f->fs, d, 2, e, 8, &n, &f->err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(
		cfs_fs_symlink(f->fs, d, N("l"), N("x"), 0, 0, NULL, &f->err),
		0);
	assert_int_equal(cfs_fs_readdir(f->fs, d, 1, e, 8, &n, &f->err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(e[1].name, "l");
	assert_int_equal(e[1].name_bytes, 1);
	assert_int_equal(e[1].type, DT_LNK);
	assert_int_equal(
		cfs_fs_readdir(f->fs, d, UINT64_MAX, e, 8, &n, &f->err),
		-EINVAL);
	assert_int_equal(cfs_fs_readdir(f->fs, e[1].ino, 0, e, 8, &n, &f->err),
			 -ENOTDIR);
	assert_int_equal(cfs_fs_readdir(f->fs, ROOT, 0, e, 8, &n, &f->err), 0);
	assert_int_equal(e[1].ino, ROOT);
}

/*
 * Entries come and go while a directory is read a few at a time: the even
 * ones, which stay, are seen once each.
 */
static void test_readdir_changes(void **state)
{
	struct fixture *f = *state;
	unsigned int seen[400] = { 0 }, i, number;
	struct cfs_fs_entry e[7];
	uint64_t cookie = 0;
	struct cfs_rng rng;
	char name[16];
	size_t n, j;

	cfs_rng_init(&rng, 3);
	f->fs->hash_mask = 0x7f; /* many collisions */
	for (i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		make(f, ROOT, name);
	}
	for (;;) {
		assert_int_equal(
			cfs_fs_readdir(f->fs, ROOT, cookie, e, 7, &n, &f->err),
			0);
		if (n == 0)
			break;
		for (j = 0; j < n; j++) {
			assert_true(e[j].next_cookie > cookie);
			cookie = e[j].next_cookie;
			if (sscanf(e[j].name, "n%u", &number) == 1)
				seen[number]++;
		}
		for (j = 0; j < 20; j++) {
			i = (unsigned int)cfs_rng_below(&rng, 200) * 2 + 1;
			snprintf(name, sizeof(name), "n%u", i);
			if (cfs_fs_unlink(f->fs, ROOT, name, strlen(name),
					  &f->err) < 0)
				cfs_fs_create(f->fs, ROOT, name, strlen(name),
					      0, 0, 0, NULL, &f->err);
			snprintf(name, sizeof(name), "m%u", i);
			if (cfs_fs_unlink(f->fs, ROOT, name, strlen(name),
					  &f->err) < 0)
				cfs_fs_create(f->fs, ROOT, name, strlen(name),
					      0, 0, 0, NULL, &f->err);
		}
	}
	for (i = 0; i < 400; i += 2)
		assert_int_equal(seen[i], 1);
}

static void test_setattr(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	struct cfs_fs_attr set = {
		.mask = CFS_FS_SET_MODE | CFS_FS_SET_UID,
		.mode = S_IFDIR | 04711,
		.uid = 77,
		.gid = 88,
	};
	struct cfs_inode inode;
	uint64_t change = attr(f, a).change;

	f->clock.realtime_ns = 6000;
	assert_int_equal(cfs_fs_setattr(f->fs, a, &set, &inode, &f->err), 0);
	assert_int_equal(inode.mode, S_IFREG | 04711);
	assert_int_equal(inode.uid, 77);
	assert_int_equal(inode.gid, 2);
	assert_int_equal(inode.ctime_ns, 6000);
	assert_int_equal(inode.mtime_ns, 5000);
	assert_true(inode.change > change);
	set.mask = CFS_FS_SET_GID | CFS_FS_SET_ATIME | CFS_FS_SET_MTIME |
		   CFS_FS_SET_BTIME;
	set.atime_ns = -1;
	set.mtime_ns = CFS_FS_TIME_NOW;
	set.btime_ns = 3;
	assert_int_equal(cfs_fs_setattr(f->fs, a, &set, NULL, &f->err), 0);
	inode = attr(f, a);
	assert_int_equal(inode.gid, 88);
	assert_int_equal(inode.atime_ns, -1);
	assert_int_equal(inode.mtime_ns, 6000);
	assert_int_equal(inode.btime_ns, 3);
	set.mask = CFS_FS_SET_CTIME;
	set.ctime_ns = 4;
	assert_int_equal(cfs_fs_setattr(f->fs, a, &set, NULL, &f->err), 0);
	assert_int_equal(attr(f, a).ctime_ns, 4);
	set.mask = 0x80;
	assert_int_equal(cfs_fs_setattr(f->fs, a, &set, NULL, &f->err),
			 -EINVAL);
	set.mask = 0;
	assert_int_equal(cfs_fs_setattr(f->fs, 999, &set, NULL, &f->err),
			 -ENOENT);
}

static void test_snapshot(void **state)
{
	struct fixture *f = *state;
	struct cfs_view view = { f->c, FAKE_BRANCH, FAKE_STAMP };
	uint64_t a = make(f, ROOT, "a"), ino;
	struct cfs_fs_attr set = { .mask = CFS_FS_SET_UID };
	struct cfs_fs *snap = NULL;
	size_t n;

	fake_snapshot(f->c, FAKE_BRANCH);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(cfs_fs_open(&view, ROOT, 42, &snap, &f->err), 0);
	assert_false(cfs_fs_is_writable(snap));
	assert_int_equal(cfs_fs_lookup(snap, ROOT, N("a"), &ino, NULL, &f->err),
			 0);
	assert_int_equal(ino, a);
	assert_int_equal(cfs_fs_open_ino(snap, a, &f->err), 0);
	assert_int_equal(cfs_fs_close_ino(snap, a, &f->err), 0);
	assert_int_equal(
		cfs_fs_create(snap, ROOT, N("b"), 0, 0, 0, NULL, &f->err),
		-EROFS);
	assert_string_equal(f->err.msg, "the tree is a snapshot");
	assert_int_equal(cfs_fs_unlink(snap, ROOT, N("a"), &f->err), -EROFS);
	assert_int_equal(cfs_fs_setattr(snap, a, &set, NULL, &f->err), -EROFS);
	assert_int_equal(cfs_fs_write(snap, a, 0, "x", 1, &n, &f->err), -EROFS);
	assert_int_equal(cfs_fs_truncate(snap, a, 0, &f->err), -EROFS);
	assert_int_equal(cfs_fs_xattr_set(snap, a, "user.x", "", 0, 0, &f->err),
			 -EROFS);
	assert_int_equal(cfs_fs_sync(snap, a, &f->err), 0);
	assert_int_equal(f->c->sync_count, 0);
	cfs_fs_close(snap);
	assert_int_equal(cfs_fs_sync(f->fs, ROOT, &f->err), 0);
	assert_int_equal(f->c->sync_count, 1);
}

static void test_open_root(void **state)
{
	struct fixture *f = *state;
	struct cfs_view view = { f->c, FAKE_BRANCH, CFS_STAMP_HEAD };
	uint64_t a = make(f, ROOT, "a");
	struct cfs_fs *fs = NULL;

	assert_int_equal(cfs_fs_open(&view, 999, 42, &fs, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_open(&view, 0, 42, &fs, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_open(&view, a, 42, &fs, &f->err), -ENOTDIR);
	assert_null(fs);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create),          TEST(test_create_types),
		TEST(test_create_with),     TEST(test_names),
		TEST(test_lookup),          TEST(test_link_unlink),
		TEST(test_links_max),       TEST(test_rmdir),
		TEST(test_rename_file),     TEST(test_rename_replaces_open),
		TEST(test_nameless),        TEST(test_rename_dir),
		TEST(test_exchange),        TEST(test_collisions),
		TEST(test_collision_gaps),  TEST(test_readdir),
		TEST(test_readdir_changes), TEST(test_setattr),
		TEST(test_snapshot),        TEST(test_open_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
