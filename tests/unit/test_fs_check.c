/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The check of a tree: each kind of damage is seen, and named as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>

#include "fs_fixture.h"

#define PROBLEM_MAX 16

struct seen {
	unsigned int count;
	enum cfs_fs_problem kinds[PROBLEM_MAX];
	uint64_t inos[PROBLEM_MAX];
	char texts[PROBLEM_MAX][128];
	int stop;
};

static int problem_keep(void *arg, enum cfs_fs_problem kind, uint64_t ino,
			const char *text)
{
	struct seen *seen = arg;

	assert_true(seen->count < PROBLEM_MAX);
	seen->kinds[seen->count] = kind;
	seen->inos[seen->count] = ino;
	snprintf(seen->texts[seen->count++], sizeof(seen->texts[0]), "%.127s",
		 text);
	return seen->stop;
}

static struct seen check(struct fixture *f)
{
	struct seen seen = { 0 };
	struct cfs_fs_check how = { .problem = problem_keep, .arg = &seen };

	assert_int_equal(cfs_fs_check(f->fs, &how, NULL, &f->err), 0);
	return seen;
}

/* Exactly one problem, with this text. */
static void assert_problem(struct fixture *f, enum cfs_fs_problem kind,
			   uint64_t ino, const char *text)
{
	struct seen seen = check(f);

	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.texts[0], text);
	assert_int_equal(seen.kinds[0], kind);
	assert_int_equal(seen.inos[0], ino);
}

/* The one problem of a kind among others that follow from it. */
static void assert_among(struct fixture *f, enum cfs_fs_problem kind,
			 uint64_t ino)
{
	struct seen seen = check(f);
	unsigned int i, n = 0;

	for (i = 0; i < seen.count; i++)
		n += seen.kinds[i] == kind && seen.inos[i] == ino;
	assert_int_equal(n, 1);
}

static void spoil(struct fixture *f, uint64_t ino, enum cfs_map_class class,
		  uint64_t offset, const void *value, size_t n)
{
	struct cfs_key key = fake_key(FAKE_BRANCH, ino, class, offset);

	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	fake_change(f->c, &key, value, n, NULL);
	cfs_op_end(f->c);
}

static void store(struct fixture *f, uint64_t ino, struct cfs_inode inode)
{
	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_fs_inode_store(f->fs, ino, &inode, NULL);
	cfs_op_end(f->c);
}

static void entry_put(struct fixture *f, uint64_t dir, uint64_t offset,
		      const char *name, uint64_t ino, uint16_t type)
{
	struct cfs_dirent entry = {
		.ino = ino,
		.type = type,
		.name_bytes = (uint16_t)strlen(name),
		.name = name,
	};

	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_fs_entry_put(f->fs, dir, offset, &entry, NULL);
	cfs_op_end(f->c);
}

static void count_add(struct fixture *f, uint64_t dir, int more)
{
	struct cfs_inode inode = attr(f, dir);

	inode.entry_count += (uint32_t)more;
	store(f, dir, inode);
}

static uint64_t offset_of(struct fixture *f, const char *name)
{
	return cfs_fs_name_offset(f->fs, name, strlen(name));
}

/* A tree with one of everything; no check behind it, it is spoilt. */
static int setup_tree(void **state)
{
	struct fixture *f;
	uint64_t d, a;

	setup(state);
	f = *state;
	d = make_dir(f, ROOT, "d");
	a = make(f, ROOT, "a");
	make_dir(f, d, "e");
	assert_int_equal(cfs_fs_link(f->fs, a, d, N("b"), &f->err), 0);
	assert_int_equal(
		cfs_fs_symlink(f->fs, d, N("l"), N("to"), 0, 0, NULL, &f->err),
		0);
	assert_int_equal(cfs_fs_write(f->fs, a, 5000, "x", 1, NULL, &f->err),
			 0);
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, a, "user.x", "1", 1, 0, &f->err), 0);
	assert_int_equal(check(f).count, 0);
	return 0;
}

static int teardown_tree(void **state)
{
	struct fixture *f = *state;

	cfs_fs_close(f->fs);
	env_close(f);
	free(f);
	return 0;
}

static int progress_stop(void *arg, uint64_t inode_count)
{
	(void)arg;
	return inode_count == 2048 ? -EINTR : 0;
}

static void test_count_and_stop(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { .stop = -EINTR };
	struct cfs_fs_check how = { .problem = problem_keep, .arg = &seen };
	uint64_t n = 0;
	unsigned int i;
	char name[16];

	assert_int_equal(cfs_fs_check(f->fs, &how, &n, &f->err), 0);
	assert_int_equal(n, 5);
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		make(f, ROOT, name);
	}
	how.progress = progress_stop;
	assert_int_equal(cfs_fs_check(f->fs, &how, &n, &f->err), -EINTR);
	how.progress = NULL;
	count_add(f, ROOT, 1);
	assert_int_equal(cfs_fs_check(f->fs, &how, &n, &f->err), -EINTR);
	assert_int_equal(seen.count, 1);
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d");
	struct cfs_inode file = attr(f, a), dir = attr(f, d);
	struct seen seen;

	file.nlink = 3;
	store(f, a, file);
	assert_problem(f, CFS_FS_PROBLEM_LINKS, a,
		       "inode 3: has 2 names, but 3 links");
	file.nlink = 2;
	store(f, a, file);
	dir.nlink = 4;
	store(f, d, dir);
	assert_problem(f, CFS_FS_PROBLEM_LINKS, d,
		       "inode 2: has 1 subdirectories, but 4 links");
	dir.nlink = 3;
	dir.entry_count = 9;
	store(f, d, dir);
	assert_problem(f, CFS_FS_PROBLEM_COUNT, d,
		       "inode 2: has 3 entries, but counts 9");
	dir.entry_count = 3;
	/* Removed, yet it has entries, and a name. */
	dir.nlink = 0;
	store(f, d, dir);
	seen = check(f);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.texts[0],
			    "inode 2: was removed, but has entries");
	assert_string_equal(seen.texts[1],
			    "inode 2: a removed directory with a name");
}

static void test_entries(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d");

	/* It names what is not there: before and behind its own number. */
	entry_put(f, d, offset_of(f, "x"), "x", 900, DT_REG);
	count_add(f, d, 1);
	assert_problem(f, CFS_FS_PROBLEM_ENTRY, 900,
		       "inode 900: named in directory 2, but not there");
	/* Another type than the inode's. */
	entry_put(f, d, offset_of(f, "x"), "x", a, DT_FIFO);
	count_add(f, d, 0);
	assert_among(f, CFS_FS_PROBLEM_ENTRY, a);
	entry_put(f, ROOT, offset_of(f, "a"), "a", a, DT_DIR);
	assert_among(f, CFS_FS_PROBLEM_LINKS, ROOT);
}

static void test_entry_root(void **state)
{
	struct fixture *f = *state;
	uint64_t d = (uint64_t)at(f, "d");

	entry_put(f, d, offset_of(f, "x"), "x", ROOT, DT_DIR);
	assert_among(f, CFS_FS_PROBLEM_ENTRY, ROOT);
}

static void test_hash(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d");
	struct cfs_inode file = attr(f, a);

	file.nlink = 3;
	store(f, a, file);
	count_add(f, d, 1);
	entry_put(f, d, offset_of(f, "x") ^ 0x1000, "x", a, DT_REG);
	assert_problem(f, CFS_FS_PROBLEM_HASH, d,
		       "inode 2: entry x is not where its name leads");
	spoil(f, d, CFS_MAP_DIRENT, offset_of(f, "x") ^ 0x1000, NULL, 0);
	entry_put(f, d, offset_of(f, "b") + 3, "b", a, DT_REG);
	assert_problem(f, CFS_FS_PROBLEM_HASH, d,
		       "inode 2: entry b is there twice");
	/* What a name has in it does nothing to the line. */
	spoil(f, d, CFS_MAP_DIRENT, offset_of(f, "b") + 3, NULL, 0);
	entry_put(f, d, 16, "x\ny\033", a, DT_REG);
	assert_problem(f, CFS_FS_PROBLEM_HASH, d,
		       "inode 2: entry x?y? is not where its name leads");
}

static void test_parent(void **state)
{
	struct fixture *f = *state;
	uint64_t e = (uint64_t)at(f, "d/e");
	struct cfs_inode dir = attr(f, e), root = attr(f, ROOT);

	dir.parent = ROOT;
	store(f, e, dir);
	assert_problem(f, CFS_FS_PROBLEM_PARENT, e,
		       "inode 4: named in directory 2, but says that its "
		       "parent is 1");
	dir.parent = 2;
	store(f, e, dir);
	root.parent = 2;
	store(f, ROOT, root);
	assert_problem(f, CFS_FS_PROBLEM_PARENT, ROOT,
		       "inode 1: the root is not its own parent");
	/* Nor does it lead anywhere. */
	assert_int_equal(at(f, ".."), ROOT);
}

static void test_nameless(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d");
	struct cfs_inode file = attr(f, a);

	spoil(f, ROOT, CFS_MAP_DIRENT, offset_of(f, "a"), NULL, 0);
	spoil(f, d, CFS_MAP_DIRENT, offset_of(f, "b"), NULL, 0);
	count_add(f, ROOT, -1);
	count_add(f, d, -1);
	assert_problem(f, CFS_FS_PROBLEM_UNREACHABLE, a,
		       "inode 3: nothing names it");
	file.nlink = 0;
	store(f, a, file);
	assert_problem(f, CFS_FS_PROBLEM_ORPHAN, a,
		       "inode 3: has no name, and nothing would free it");
	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_fs_orphan_put(f->fs, a, NULL);
	cfs_op_end(f->c);
	assert_int_equal(check(f).count, 0);
}

/* d and d/e name each other and nothing else names them. */
static void test_loop(void **state)
{
	struct fixture *f = *state;
	uint64_t d = (uint64_t)at(f, "d"), e = (uint64_t)at(f, "d/e");
	struct cfs_inode dir = attr(f, d), sub = attr(f, e);
	struct cfs_inode root = attr(f, ROOT);
	struct cfs_buf path = CFS_BUF_INIT;
	struct seen seen;

	spoil(f, ROOT, CFS_MAP_DIRENT, offset_of(f, "d"), NULL, 0);
	root.entry_count--;
	root.nlink--;
	store(f, ROOT, root);
	entry_put(f, e, offset_of(f, "d"), "d", d, DT_DIR);
	sub.entry_count = 1;
	sub.nlink = 3;
	store(f, e, sub);
	dir.parent = e;
	store(f, d, dir);
	seen = check(f);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.kinds[0], CFS_FS_PROBLEM_UNREACHABLE);
	assert_true(seen.inos[0] == d || seen.inos[0] == e);
	/* Nobody runs in circles over it. */
	assert_int_equal(cfs_fs_path_of(f->fs, e, &path, &f->err), -ELOOP);
	cfs_buf_donep(&path);
	make_dir(f, ROOT, "m");
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("m"), e, N("m"), 0, &f->err),
		-ELOOP);
}

static void test_two_names(void **state)
{
	struct fixture *f = *state;
	uint64_t d = (uint64_t)at(f, "d"), e = (uint64_t)at(f, "d/e");

	entry_put(f, d, offset_of(f, "x"), "x", e, DT_DIR);
	assert_among(f, CFS_FS_PROBLEM_LINKS, e);
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), l = (uint64_t)at(f, "d/l");
	struct cfs_inode file = attr(f, a), link = attr(f, l);
	struct cfs_inode root = attr(f, ROOT);

	file.size_bytes = 100;
	store(f, a, file);
	assert_problem(f, CFS_FS_PROBLEM_DATA, a,
		       "inode 3: data at 4096, but its size is 100");
	file.flags = CFS_INODE_SHRINKING;
	store(f, a, file);
	assert_int_equal(check(f).count, 0);
	link.size_bytes = 1;
	store(f, l, link);
	assert_problem(f, CFS_FS_PROBLEM_SYMLINK, l,
		       "inode 5: the target is not complete");
	link.size_bytes = 2;
	store(f, l, link);
	spoil(f, l, CFS_MAP_SYMLINK, 1, "x", 1);
	assert_problem(f, CFS_FS_PROBLEM_SYMLINK, l,
		       "inode 5: the target has more parts than its size");
	spoil(f, l, CFS_MAP_SYMLINK, 1, NULL, 0);
	root.size_bytes = 1;
	store(f, ROOT, root);
	assert_problem(f, CFS_FS_PROBLEM_INODE, ROOT,
		       "inode 1: a size of 1 bytes cannot be");
}

static void test_other_types_records(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d");

	spoil(f, a, CFS_MAP_DIRENT, 16, "x", 1);
	assert_problem(f, CFS_FS_PROBLEM_INODE, a,
		       "inode 3: has entries, which its type does not");
	spoil(f, a, CFS_MAP_DIRENT, 16, NULL, 0);
	spoil(f, d, CFS_MAP_SYMLINK, 0, "x", 1);
	assert_problem(f, CFS_FS_PROBLEM_INODE, d,
		       "inode 2: has a target, which its type does not");
}

static void test_xattrs(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a");
	uint64_t offset = cfs_fs_xattr_offset(f->fs, "user.y", 6);
	static uint8_t value[4000];

	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "user.y", value,
					  sizeof(value), 0, &f->err),
			 0);
	assert_int_equal(check(f).count, 0);
	spoil(f, a, CFS_MAP_XATTR, offset + 4, value, 1);
	assert_problem(f, CFS_FS_PROBLEM_XATTR, a,
		       "inode 3: an attribute has a part too many");
	spoil(f, a, CFS_MAP_XATTR, offset + 4, NULL, 0);
	spoil(f, a, CFS_MAP_XATTR, offset + 3, NULL, 0);
	assert_problem(f, CFS_FS_PROBLEM_XATTR, a,
		       "inode 3: an attribute is not complete");
	spoil(f, a, CFS_MAP_XATTR, offset + 2, NULL, 0);
	spoil(f, a, CFS_MAP_XATTR, offset + 1, NULL, 0);
	spoil(f, a, CFS_MAP_XATTR, offset, "\0\0", 2);
	assert_problem(f, CFS_FS_PROBLEM_XATTR, a,
		       "inode 3: an attribute does not verify");
	/* Whole, but under another name's hash. */
	spoil(f, a, CFS_MAP_XATTR, offset, "\1\0\0\0\6\0user.z1", 13);
	assert_problem(f, CFS_FS_PROBLEM_XATTR, a,
		       "inode 3: attribute user.z is not found by its name");
}

static void test_damaged_records(void **state)
{
	struct fixture *f = *state;
	uint64_t a = (uint64_t)at(f, "a"), d = (uint64_t)at(f, "d"), ino;

	spoil(f, d, CFS_MAP_DIRENT, offset_of(f, "l"), "x", 1);
	assert_among(f, CFS_FS_PROBLEM_DAMAGED, d);
	assert_int_equal(cfs_fs_lookup(f->fs, d, N("l"), &ino, NULL, &f->err),
			 -EUCLEAN);
	assert_int_equal(cfs_fs_lookup(f->fs, d, N("b"), &ino, NULL, &f->err),
			 0);
	spoil(f, a, CFS_MAP_INODE, 0, "x", 1);
	assert_among(f, CFS_FS_PROBLEM_DAMAGED, a);
	assert_int_equal(cfs_fs_unlink(f->fs, d, N("b"), &f->err), -EUCLEAN);
	spoil(f, a, CFS_MAP_INODE, 0, NULL, 0);
	assert_int_equal(cfs_fs_unlink(f->fs, d, N("b"), &f->err), -EUCLEAN);
	spoil(f, ROOT, CFS_MAP_INODE, 0, NULL, 0);
	assert_among(f, CFS_FS_PROBLEM_UNREACHABLE, ROOT);
}

static void test_inomap(void **state)
{
	struct cfs_inomap map = { 0 };
	uint8_t there[4096] = { 0 };
	struct cfs_rng rng;
	size_t index = 0, n = 0;
	unsigned int i;

	(void)state;
	cfs_rng_init(&rng, 11);
	for (i = 0; i < 100000; i++) {
		uint64_t ino = 1 + cfs_rng_below(&rng, 4095);
		struct cfs_inomap_entry *e = cfs_inomap_get(&map, ino);

		assert_int_equal(e != NULL, there[ino]);
		if (e) {
			assert_int_equal(e->word, ino * 3);
			cfs_inomap_del(&map, ino);
		} else {
			e = cfs_inomap_add(&map, ino);
			assert_non_null(e);
			assert_int_equal(e->word, 0);
			e->word = ino * 3;
		}
		there[ino] = !there[ino];
	}
	while (cfs_inomap_next(&map, &index))
		n++;
	assert_int_equal(n, map.count);
	cfs_inomap_done(&map);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, setup_tree, teardown_tree)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_count_and_stop),
		TEST(test_links),
		TEST(test_entries),
		TEST(test_entry_root),
		TEST(test_hash),
		TEST(test_parent),
		TEST(test_nameless),
		TEST(test_loop),
		TEST(test_two_names),
		TEST(test_sizes),
		TEST(test_other_types_records),
		TEST(test_xattrs),
		TEST(test_damaged_records),
		cmocka_unit_test(test_inomap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
