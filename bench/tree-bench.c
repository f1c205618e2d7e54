/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Large directories, by the library, in a process that keeps the pool open:
 *
 *   tree-bench fill POOL TREE COUNT STEP
 *	empty files in the directory /big, which is made if it is missing, until
 *	there are COUNT in it; a line for each STEP of them, durable then:
 *	{"count", "creates_per_s", "memory_mb"}
 *   tree-bench look POOL TREE COUNT LOOKS SEED
 *	LOOKS names out of COUNT, at random, each with its attributes; the first
 *	tenth is not counted: {"looks_per_s"}
 *   tree-bench walk POOL TREE
 *	all names of the directory, in its order: {"entries", "entries_per_s"}
 *   tree-bench remove POOL TREE COUNT LAST
 *	the files from LAST on, up to COUNT, durable: {"removes_per_s"}
 */
#include "measure.h"

#include "base/err.h"
#include "session/session.h"
#include "volume/fs.h"

#include <sys/resource.h>
#include <sys/stat.h>

#define BIG     "big"
#define ENTRIES 512u

struct target {
	struct cfs_session *session;
	struct cfs_io_volume *volume;
	struct cfs_fs *fs;
	uint64_t root, dir;
	struct cfs_err err;
};

static int die(const struct target *t)
{
	fprintf(stderr, "tree-bench: %s\n", t->err.msg);
	return 1;
}

static int target_open(struct target *t, const char *pool, const char *tree)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
	};
	int r = cfs_session_open(pool, &opt, &t->session, &t->err);

	if (r == 0)
		r = cfs_io_open(t->session, tree, NULL, true, &t->volume,
				&t->err);
	if (r != 0)
		return r;
	t->fs = cfs_io_fs(t->volume);
	if (!t->fs)
		return cfs_err_set(&t->err, -EINVAL, "%s: no tree", tree);
	r = cfs_fs_resolve(t->fs, 0, "/", 1, CFS_FS_FOLLOW_ALL, &t->root,
			   &t->err);
	if (r == 0)
		r = cfs_fs_lookup(t->fs, t->root, BIG, strlen(BIG), &t->dir,
				  NULL, &t->err);
	if (r == -ENOENT)
		r = cfs_fs_mkdir(t->fs, t->root, BIG, strlen(BIG), 0755, 0, 0,
				 &t->dir, &t->err);
	return r;
}

static int target_close(struct target *t)
{
	cfs_io_close(t->volume);
	return cfs_session_close(t->session, &t->err);
}

static size_t name_of(uint64_t number, char buf[32])
{
	return (size_t)snprintf(buf, 32, "file-%010llu",
				(unsigned long long)number);
}

static double per_second(uint64_t count, uint64_t begin_ns)
{
	return (double)count * NS_PER_S / (double)(now_ns() - begin_ns);
}

static double memory_mb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_maxrss / 1024;
}

static int has(struct target *t, uint64_t number)
{
	char name[32];
	uint64_t ino;

	return cfs_fs_lookup(t->fs, t->dir, name, name_of(number, name), &ino,
			     NULL, &t->err);
}

/* Files are made from 0 on: the first number that has none. */
static int first_missing(struct target *t, uint64_t count, uint64_t *ret)
{
	uint64_t low = 0, high = count;

	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;
		const int r = has(t, middle);

		if (r == 0)
			low = middle + 1;
		else if (r == -ENOENT)
			high = middle;
		else
			return r;
	}
	*ret = low;
	return 0;
}

static int make(struct target *t, uint64_t from, uint64_t to)
{
	char name[32];

	for (uint64_t i = from; i < to; i++) {
		const int r = cfs_fs_create(t->fs, t->dir, name,
					    name_of(i, name), 0644, 0, 0, NULL,
					    &t->err);

		if (r != 0)
			return r;
	}
	return cfs_io_sync(t->volume, &t->err);
}

static int verb_fill(char **args)
{
	const uint64_t count = parse_count(args[2]);
	const uint64_t step = parse_count(args[3]);
	struct target t = { 0 };
	uint64_t from;

	if (step == 0) {
		cfs_err_set(&t.err, -EINVAL, "STEP: 0");
		return die(&t);
	}
	if (target_open(&t, args[0], args[1]) ||
	    first_missing(&t, count, &from))
		return die(&t);
	while (from < count) {
		const uint64_t to = from + step < count ? from + step : count;
		const uint64_t begin = now_ns();

		if (make(&t, from, to))
			return die(&t);
		printf("{\"count\": %llu, \"creates_per_s\": %.1f, "
		       "\"memory_mb\": %.1f}\n",
		       (unsigned long long)to, per_second(to - from, begin),
		       memory_mb());
		fflush(stdout);
		from = to;
	}
	return target_close(&t) ? die(&t) : 0;
}

static int look(struct target *t, uint64_t number)
{
	struct cfs_inode inode;
	char name[32];
	uint64_t ino;

	return cfs_fs_lookup(t->fs, t->dir, name, name_of(number, name), &ino,
			     &inode, &t->err);
}

static int verb_look(char **args)
{
	const uint64_t count = parse_count(args[2]);
	const uint64_t looks = parse_count(args[3]);
	uint64_t seed = parse_count(args[4]);
	struct target t = { 0 };
	uint64_t begin = 0;

	if (count == 0 || looks == 0) {
		cfs_err_set(&t.err, -EINVAL, "COUNT or LOOKS: 0");
		return die(&t);
	}
	if (target_open(&t, args[0], args[1]))
		return die(&t);
	for (uint64_t i = 0; i < looks + looks / 10; i++) {
		if (i == looks / 10)
			begin = now_ns();
		if (look(&t, next_random(&seed) % count))
			return die(&t);
	}
	printf("{\"looks_per_s\": %.1f, \"memory_mb\": %.1f}\n",
	       per_second(looks, begin), memory_mb());
	return target_close(&t) ? die(&t) : 0;
}

static int verb_walk(char **args)
{
	static struct cfs_fs_entry entries[ENTRIES];
	struct target t = { 0 };
	uint64_t cookie = 0, total = 0, begin;
	size_t n = 0;

	if (target_open(&t, args[0], args[1]))
		return die(&t);
	begin = now_ns();
	do {
		if (cfs_fs_readdir(t.fs, t.dir, cookie, entries, ENTRIES, &n,
				   &t.err))
			return die(&t);
		total += n;
		if (n)
			cookie = entries[n - 1].next_cookie;
	} while (n);
	printf("{\"entries\": %llu, \"entries_per_s\": %.1f, "
	       "\"memory_mb\": %.1f}\n",
	       (unsigned long long)total, per_second(total, begin),
	       memory_mb());
	return target_close(&t) ? die(&t) : 0;
}

static int verb_remove(char **args)
{
	const uint64_t count = parse_count(args[2]);
	const uint64_t last = parse_count(args[3]);
	struct target t = { 0 };
	uint64_t begin;
	char name[32];

	if (target_open(&t, args[0], args[1]))
		return die(&t);
	begin = now_ns();
	for (uint64_t i = last; i < count; i++) {
		if (cfs_fs_unlink(t.fs, t.dir, name, name_of(i, name), &t.err))
			return die(&t);
	}
	if (cfs_io_sync(t.volume, &t.err))
		return die(&t);
	printf("{\"removes_per_s\": %.1f}\n", per_second(count - last, begin));
	return target_close(&t) ? die(&t) : 0;
}

static const struct {
	const char *name;
	int arg_count;
	int (*run)(char **args);
} verbs[] = {
	{ "fill", 4, verb_fill },
	{ "look", 5, verb_look },
	{ "walk", 2, verb_walk },
	{ "remove", 4, verb_remove },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (argc == verbs[i].arg_count + 2 &&
		    strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argv + 2);
	}
	fprintf(stderr, "usage: tree-bench fill|look|walk|remove POOL TREE "
			"...\n");
	return 2;
}
