/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tree that its manager and clients use at once, under leases on inodes: what
 * each is asked for, who sees what, open files without a name, deaths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tree_world.h"

#define OK      HEAL_OK
#define N(name) (name), strlen(name)

static struct cfs_tree_lock_counts counts(struct actor *a)
{
	struct cfs_tree_lock_counts c;

	cfs_tree_locks_counts(cfs_direct_fs_locks(a->fs), &c);
	return c;
}

static uint64_t root(struct actor *a)
{
	return cfs_fs_root_ino(a->fs);
}

static uint64_t put(struct actor *a, uint64_t dir, const char *name,
		    size_t bytes, uint64_t seed)
{
	uint8_t *buf = malloc(bytes + 1);
	uint64_t ino = 0;
	size_t done;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	OK(cfs_fs_create(a->fs, dir, N(name), 0644, 0, 0, &ino, &err_));
	OK(cfs_fs_write(a->fs, ino, 0, buf, bytes, &done, &err_));
	free(buf);
	return ino;
}

static uint64_t mkdir_(struct actor *a, uint64_t dir, const char *name)
{
	uint64_t ino = 0;

	OK(cfs_fs_mkdir(a->fs, dir, N(name), 0755, 0, 0, &ino, &err_));
	return ino;
}

static void must_read(struct actor *a, uint64_t ino, size_t bytes,
		      uint64_t seed)
{
	uint8_t *buf = malloc(2 * bytes + 2);
	size_t got = 0;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	OK(cfs_fs_read(a->fs, ino, 0, buf + bytes, bytes + 1, &got, &err_));
	assert_int_equal(got, bytes);
	assert_memory_equal(buf, buf + bytes, bytes);
	free(buf);
}

static void must_have(struct actor *a, uint64_t dir, const char *name,
		      size_t bytes, uint64_t seed)
{
	uint64_t ino = 0;

	OK(cfs_fs_lookup(a->fs, dir, N(name), &ino, NULL, &err_));
	must_read(a, ino, bytes, seed);
}

static void name_of(char ret[32], const char *prefix, unsigned int i)
{
	(void)snprintf(ret, 32, "%s-%u", prefix, i);
}

static size_t orphans(struct tree_world *w)
{
	struct cfs_container *c = w->h.tree->container;
	const uint64_t word = cfs_table_word(CFS_TABLE_ORPHAN,
					     (uint16_t)w->rec.head_branch);
	struct cfs_key key = { .w = { word } };
	struct cfs_cursor cursor;
	size_t n = 0;
	int r;

	cfs_container_lock(c);
	for (;; n++, key.w[1] = cursor.key.w[1] + 1) {
		r = cfs_cursor_ge(&cursor,
				  cfs_container_tree(c, CFS_TREE_TABLE), &key,
				  NULL);
		if (r < 0 || cursor.key.w[0] != word)
			break;
	}
	cfs_container_unlock(c);
	return n;
}

/* ---- messages ------------------------------------------------------------ */

/* Who is alone asks for one lease, whatever it does. */
static void test_alone(void **state)
{
	struct tree_world w;
	struct actor *a = &w.actors[1];
	unsigned int sent;
	char name[32];
	uint64_t dir;

	(void)state;
	world_start(&w, 1);
	actor_stop(&w.actors[0]);
	actor_start(a);
	sent = a->sent;
	dir = mkdir_(a, root(a), "dir");
	for (unsigned int i = 0; i < 3000; i++) {
		name_of(name, "file", i);
		put(a, dir, name, i % 100, i);
		if (i % 4 == 0)
			OK(cfs_fs_unlink(a->fs, dir, N(name), &err_));
	}
	assert_int_equal(counts(a).asked, 1);
	assert_int_equal(a->sent - sent, 1);
	assert_true(counts(a).is_whole);
	print_message("# 3000 files: %u lease messages, %u loans, %u folds, "
		      "%u views\n",
		      a->sent - sent, a->cl.lends, a->cl.folds, a->cl.views);
	assert_true(a->cl.lends + a->cl.folds + a->cl.views < 30);
	world_stop(&w);
}

/* Two in directories of their own ask for these, not for each file. */
static void test_own_dirs(void **state)
{
	struct tree_world w;
	struct actor *a = &w.actors[1], *b = &w.actors[2];
	unsigned int sent_a, sent_b;
	uint64_t dir_a, dir_b;
	char name[32];

	(void)state;
	world_start(&w, 3);
	dir_a = mkdir_(a, root(a), "a");
	dir_b = mkdir_(b, root(b), "b");
	put(a, dir_a, "first", 10, 1);
	put(b, dir_b, "first", 10, 2);
	sent_a = a->sent;
	sent_b = b->sent;
	for (unsigned int i = 0; i < 1000; i++) {
		name_of(name, "file", i);
		put(a, dir_a, name, i % 300, i);
		put(b, dir_b, name, i % 200, 5000 + i);
	}
	print_message("# 1000 files each, beside each other: %u and %u lease "
		      "messages\n",
		      a->sent - sent_a, b->sent - sent_b);
	assert_true(a->sent - sent_a <= 4);
	assert_true(b->sent - sent_b <= 4);
	for (unsigned int i = 0; i < 1000; i += 97) {
		name_of(name, "file", i);
		must_have(b, dir_a, name, i % 300, i);
		must_have(&w.actors[0], dir_b, name, i % 200, 5000 + i);
	}
	world_stop(&w);
}

/* ---- one directory ------------------------------------------------------- */

static struct cfs_inode attr(struct actor *a, uint64_t ino)
{
	struct cfs_inode inode;

	OK(cfs_fs_getattr(a->fs, ino, &inode, &err_));
	return inode;
}

/* All three make entries in one directory by turns; counts, links and times
 * are right for each, and a cookie of one is good while others change it. */
static void test_one_dir(void **state)
{
	struct tree_world w;
	struct cfs_fs_entry e[400];
	unsigned int seen = 0;
	uint64_t dir, cookie = 0;
	int64_t last_ns = 0;
	char name[32];
	size_t n;

	(void)state;
	world_start(&w, 3);
	dir = mkdir_(&w.actors[1], root(&w.actors[1]), "dir");
	for (unsigned int i = 0; i < 60; i++) {
		struct actor *a = &w.actors[i % 3];
		struct cfs_inode inode;

		name_of(name, "name", i);
		if (i % 4 == 0)
			mkdir_(a, dir, name);
		else
			put(a, dir, name, i, i);
		inode = attr(&w.actors[(i + 1) % 3], dir);
		assert_int_equal(inode.entry_count, i + 1);
		assert_int_equal(inode.nlink, 2 + i / 4 + 1);
		assert_true(inode.mtime_ns >= last_ns);
		last_ns = inode.mtime_ns;
	}
	/* Read by 7 while others remove and make what is not counted. */
	for (unsigned int i = 0;; i++) {
		OK(cfs_fs_readdir(w.actors[1].fs, dir, cookie, e, 7, &n,
				  &err_));
		if (n == 0)
			break;
		cookie = e[n - 1].next_cookie;
		for (size_t j = 0; j < n; j++)
			seen += strncmp(e[j].name, "name", 4) == 0;
		name_of(name, "other", i);
		put(&w.actors[2], dir, name, 1, 1);
		if (i % 2)
			OK(cfs_fs_unlink(w.actors[0].fs, dir, N(name), &err_));
	}
	assert_int_equal(seen, 60);
	world_stop(&w);
}

/* ---- open files ---------------------------------------------------------- */

/* Removed by one while another has it open: it is there until that closes it.
 */
static void open_and_removed(unsigned int opener, unsigned int remover)
{
	struct tree_world w;
	struct actor *a = &w.actors[opener], *b = &w.actors[remover];
	uint64_t ino, other;

	world_start(&w, 3);
	ino = put(a, root(a), "file", 50000, 1);
	other = put(b, root(b), "other", 20000, 2);
	OK(cfs_fs_open_ino(a->fs, ino, &err_));
	OK(cfs_fs_unlink(b->fs, root(b), N("file"), &err_));
	must_read(a, ino, 50000, 1);
	/* Replaced by a rename it is just so. */
	OK(cfs_fs_open_ino(a->fs, other, &err_));
	put(b, root(b), "new", 10, 3);
	OK(cfs_fs_rename(b->fs, root(b), N("new"), root(b), N("other"), 0,
			 &err_));
	must_have(a, root(a), "other", 10, 3);
	must_read(a, other, 20000, 2);
	(void)cfs_container_commit(w.h.tree->container, NULL);
	OK(cfs_fs_close_ino(a->fs, ino, &err_));
	OK(cfs_fs_close_ino(a->fs, other, &err_));
	assert_int_equal(cfs_fs_open_ino(b->fs, ino, NULL), -ENOENT);
	assert_int_equal(cfs_fs_open_ino(b->fs, other, NULL), -ENOENT);
	actor_stop(a);
	actor_stop(b);
	assert_int_equal(orphans(&w), 0);
	world_stop(&w);
}

static void test_open_and_removed(void **state)
{
	(void)state;
	open_and_removed(1, 2);
	open_and_removed(0, 1);
	open_and_removed(1, 0);
}

/* Who has it open dies: the next one who is alone frees it, and nobody before.
 */
static void test_orphan_of_dead(void **state)
{
	struct tree_world w;
	struct actor *a = &w.actors[1], *b = &w.actors[2], *c = &w.actors[3];
	uint64_t ino;

	(void)state;
	world_start(&w, 3);
	ino = put(a, root(a), "file", 50000, 1);
	OK(cfs_fs_open_ino(a->fs, ino, &err_));
	OK(cfs_fs_unlink(b->fs, root(b), N("file"), &err_));
	actor_stop(b);
	assert_int_equal(orphans(&w), 1);
	/* Another comes and is not alone. */
	actor_start(c);
	put(c, root(c), "more", 10, 2);
	assert_int_equal(orphans(&w), 1);
	must_read(a, ino, 50000, 1);
	actor_stop(c);
	actor_kill(a);
	actor_stop(&w.actors[0]);
	assert_int_equal(orphans(&w), 1);
	actor_start(b);
	must_have(b, root(b), "more", 10, 2);
	actor_stop(b);
	assert_int_equal(orphans(&w), 0);
	actor_start(&w.actors[0]);
	world_stop(&w);
}

/* Without a name from the beginning, beside others; named by its maker. */
static void test_nameless(void **state)
{
	struct tree_world w;
	struct actor *a = &w.actors[1], *b = &w.actors[2];
	const struct cfs_fs_spec spec = { .mode = S_IFREG | 0644 };
	struct cfs_fs_spec with_data = spec;
	uint8_t buf[9000], *big;
	uint64_t ino = 0;
	size_t done;

	(void)state;
	world_start(&w, 3);
	put(b, root(b), "file", 10, 1);
	heal_fill(buf, sizeof(buf), 2);
	OK(cfs_fs_create_nameless(a->fs, root(a), &spec, &ino, &err_));
	OK(cfs_fs_write(a->fs, ino, 0, buf, 5000, &done, &err_));
	/* What it did goes back meanwhile. */
	put(b, root(b), "other", 10, 3);
	must_have(a, root(a), "other", 10, 3);
	put(a, root(a), "mine", 10, 4);
	must_have(b, root(b), "mine", 10, 4);
	OK(cfs_fs_write(a->fs, ino, 5000, buf + 5000, 4000, &done, &err_));
	OK(cfs_fs_name(a->fs, ino, root(a), N("file"), &err_));
	OK(cfs_fs_close_ino(a->fs, ino, &err_));
	must_have(b, root(b), "file", sizeof(buf), 2);
	must_have(&w.actors[0], root(b), "file", sizeof(buf), 2);
	/* With its first bytes in the same operation, in whole blocks. */
	big = malloc(1 << 20);
	assert_non_null(big);
	heal_fill(big, 1 << 20, 5);
	with_data.data = big;
	with_data.data_bytes = 1 << 20;
	OK(cfs_fs_create_nameless(a->fs, root(a), &with_data, &ino, &err_));
	OK(cfs_fs_name(a->fs, ino, root(a), N("big"), &err_));
	OK(cfs_fs_close_ino(a->fs, ino, &err_));
	free(big);
	must_have(b, root(b), "big", 1 << 20, 5);
	world_stop(&w);
}

/* ---- deaths -------------------------------------------------------------- */

static void test_death(void **state)
{
	struct tree_world w;
	struct actor *a = &w.actors[1], *b = &w.actors[2];
	char name[32];
	uint64_t dir;

	(void)state;
	world_start(&w, 3);
	dir = mkdir_(a, root(a), "dir");
	put(b, root(b), "b", 10, 1);
	for (unsigned int i = 0; i < 200; i++) {
		name_of(name, "file", i);
		put(a, dir, name, 37 * i, i);
	}
	OK(cfs_fs_sync(a->fs, dir, &err_));
	put(a, dir, "lost", 10, 1);
	actor_kill(a);
	for (unsigned int i = 0; i < 200; i++) {
		name_of(name, "file", i);
		must_have(b, dir, name, 37 * i, i);
	}
	OK(cfs_fs_unlink(b->fs, dir, N("file-7"), &err_));
	actor_start(a);
	must_have(a, dir, "file-8", 37 * 8, 8);
	world_stop(&w);
}

/* ---- all at once --------------------------------------------------------- */

#define ROUNDS 150u

/* Assertions are for the thread of the test: what goes wrong is noted. */
struct runner {
	struct actor *a;
	uint64_t dirs[3];
	unsigned int seed;
	unsigned int kept;
	int bad_line, bad;
	struct cfs_err err;
};

static void must_be(struct runner *r, int line, int e, const int *allowed)
{
	for (; e != 0 && *allowed != e; allowed++) {
		if (*allowed)
			continue;
		if (!r->bad) {
			r->bad_line = line;
			r->bad = e;
		}
		return;
	}
}

/* 0, or one of these. */
#define MAY(r, e, ...)                                                         \
	must_be(r, __LINE__, e, (const int[]){ __VA_ARGS__ __VA_OPT__(, ) 0 })

static void runner_done(const struct runner *r)
{
	if (r->bad)
		fail_msg("line %d: %d: %s", r->bad_line, r->bad, r->err.msg);
}

/* Shared directories and names: what another did first is no failure. */
static void one_round(struct runner *r, struct cfs_rng *rng)
{
	struct cfs_fs *fs = r->a->fs;
	uint64_t from = r->dirs[cfs_rng_below(rng, 3)];
	uint64_t to = r->dirs[cfs_rng_below(rng, 3)];
	char name[32], other[32];
	uint64_t ino = 0;
	uint8_t buf[600];
	size_t done;
	int e;

	name_of(name, "n", (unsigned int)cfs_rng_below(rng, 12));
	name_of(other, "n", (unsigned int)cfs_rng_below(rng, 12));
	switch (cfs_rng_below(rng, 6)) {
	case 0:
	case 1:
		e = cfs_fs_create(fs, from, N(name), 0644, 0, 0, &ino, &r->err);
		MAY(r, e, -EEXIST);
		memset(buf, 1, sizeof(buf));
		if (e == 0)
			e = cfs_fs_write(fs, ino, 0, buf, sizeof(buf), &done,
					 &r->err);
		/* Removed by another meanwhile. */
		MAY(r, e, -EEXIST, -ENOENT);
		break;
	case 2:
		e = cfs_fs_unlink(fs, from, N(name), &r->err);
		MAY(r, e, -ENOENT, -EISDIR);
		break;
	case 3:
		e = cfs_fs_rename(fs, from, N(name), to, N(other), 0, &r->err);
		MAY(r, e, -ENOENT, -EISDIR, -ENOTDIR, -ENOTEMPTY, -EINVAL);
		break;
	case 4:
		e = cfs_fs_lookup(fs, from, N(name), &ino, NULL, &r->err);
		if (e == 0)
			e = cfs_fs_link(fs, ino, to, N(other), &r->err);
		MAY(r, e, -ENOENT, -EEXIST, -EPERM);
		break;
	default:
		e = cfs_fs_mkdir(fs, from, N(name), 0755, 0, 0, &ino, &r->err);
		MAY(r, e, -EEXIST);
		break;
	}
}

static void keep_one(struct runner *r, unsigned int i)
{
	uint8_t buf[ROUNDS];
	uint64_t ino = 0;
	char name[32];
	size_t done;
	int e;

	name_of(name, "kept", r->seed * 1000 + i);
	heal_fill(buf, i, r->seed + i);
	e = cfs_fs_create(r->a->fs, r->dirs[i % 3], N(name), 0644, 0, 0, &ino,
			  &r->err);
	MAY(r, e);
	if (e == 0)
		e = cfs_fs_write(r->a->fs, ino, 0, buf, i, &done, &r->err);
	MAY(r, e);
}

static void *run_storm(void *arg)
{
	struct runner *r = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, r->seed);
	for (unsigned int i = 0; i < ROUNDS && !r->bad; i++) {
		one_round(r, &rng);
		if (i % 10 == 0)
			keep_one(r, i);
	}
	return NULL;
}

static void storm(unsigned int seed)
{
	struct tree_world w;
	struct runner runners[4];
	pthread_t threads[4];
	uint64_t dirs[3];
	char name[32];

	print_message("# seed %u\n", seed);
	world_start(&w, 3);
	for (unsigned int i = 0; i < 3; i++) {
		name_of(name, "dir", i);
		dirs[i] = mkdir_(&w.actors[1], root(&w.actors[1]), name);
	}
	/* Two threads in one of them. */
	for (unsigned int i = 0; i < 4; i++) {
		runners[i] = (struct runner){
			.a = &w.actors[i % 3],
			.seed = 4 * seed + i,
			.dirs = { dirs[0], dirs[1], dirs[2] },
		};
		pthread_create(&threads[i], NULL, run_storm, &runners[i]);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < 4; i++)
		runner_done(&runners[i]);
	for (unsigned int i = 0; i < 4; i++) {
		const struct runner *r = &runners[i];

		for (unsigned int at = 0; at < ROUNDS; at += 10) {
			name_of(name, "kept", r->seed * 1000 + at);
			must_have(&w.actors[(i + 1) % 3], dirs[at % 3], name,
				  at, r->seed + at);
		}
	}
	print_message("# settled %u, %u, %u times\n",
		      (unsigned int)counts(&w.actors[0]).settled,
		      (unsigned int)counts(&w.actors[1]).settled,
		      (unsigned int)counts(&w.actors[2]).settled);
	world_stop(&w);
}

static void test_storm(void **state)
{
	const char *from = getenv("CFS_SEED");
	unsigned int seed = from ? (unsigned int)strtoul(from, NULL, 10) : 1;
	unsigned int count = from ? 1 : getenv("CFS_LONG") ? 60 : 4;

	(void)state;
	for (unsigned int i = 0; i < count; i++)
		storm(seed + i);
}

/* Two move directories into each other's: no loop may come of it. */
static void *run_moves(void *arg)
{
	struct runner *r = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, r->seed);
	for (unsigned int i = 0; i < 60; i++) {
		static const char *const names[] = { "a", "b", "c" };
		uint64_t dirs[4] = { root(r->a), r->dirs[0], r->dirs[1],
				     r->dirs[2] };
		unsigned int which = (unsigned int)cfs_rng_below(&rng, 3);
		int e = cfs_fs_rename(r->a->fs, dirs[cfs_rng_below(&rng, 4)],
				      N(names[which]),
				      dirs[cfs_rng_below(&rng, 4)],
				      N(names[which]), 0, &r->err);

		MAY(r, e, -ENOENT, -EINVAL);
		r->kept += e == 0;
	}
	return NULL;
}

static void test_no_loops(void **state)
{
	struct tree_world w;
	struct runner runners[3];
	pthread_t threads[3];
	uint64_t dirs[3];

	(void)state;
	world_start(&w, 3);
	dirs[0] = mkdir_(&w.actors[1], root(&w.actors[1]), "a");
	dirs[1] = mkdir_(&w.actors[1], root(&w.actors[1]), "b");
	dirs[2] = mkdir_(&w.actors[2], root(&w.actors[2]), "c");
	for (unsigned int i = 0; i < 3; i++) {
		runners[i] = (struct runner){
			.a = &w.actors[i],
			.seed = 77 + i,
			.dirs = { dirs[0], dirs[1], dirs[2] },
		};
		pthread_create(&threads[i], NULL, run_moves, &runners[i]);
	}
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < 3; i++)
		runner_done(&runners[i]);
	print_message("# %u, %u, %u moves\n", runners[0].kept, runners[1].kept,
		      runners[2].kept);
	assert_true(runners[0].kept + runners[1].kept + runners[2].kept > 5);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_own_dirs),
		cmocka_unit_test(test_one_dir),
		cmocka_unit_test(test_open_and_removed),
		cmocka_unit_test(test_orphan_of_dead),
		cmocka_unit_test(test_nameless),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_no_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
