/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random histories of a tree against a plain one in memory: every call must
 * return what the plain one says, and now and then the two are compared whole.
 * Some calls meet a fault at a random record they change: then all is as it
 * was before.  Snapshots must show what was there when they were taken, and
 * after a crash everything must be there that was synced.
 */
#pragma once

#include <stdio.h>

#include "fs_fixture.h"

#define NAME_COUNT     8u
#define NODE_COUNT     120u
#define DATA_BYTES     12000u
#define OPEN_MAX       3u
#define SNAPSHOT_COUNT 4u

struct node {
	uint64_t ino; /* 0: unused */
	uint32_t type, mode, uid;
	uint32_t nlink, open_count;
	struct node *parent; /* directory */
	struct node *entries[NAME_COUNT];
	size_t size;
	uint8_t data[DATA_BYTES]; /* of a symlink: its target */
	size_t xattr_bytes[2];    /* value bytes + 1; 0: none */
};

struct world {
	struct fixture *f;
	struct cfs_rng rng;
	struct node nodes[NODE_COUNT]; /* 0 is the root */
};

static char names[NAME_COUNT][256];

static void names_init(void)
{
	unsigned int i;

	for (i = 0; i < NAME_COUNT; i++) {
		/* Lengths from 1 to 255 bytes, some of them no UTF-8. */
		memset(names[i], 0x80 + (int)i, sizeof(names[i]));
		names[i][0] = (char)('a' + i);
		names[i][i == NAME_COUNT - 1 ? 255 : 1 + i * 20] = '\0';
	}
}

static unsigned int pick(struct world *w, unsigned int count)
{
	return (unsigned int)cfs_rng_below(&w->rng, count);
}

static struct node *root_of(struct world *w)
{
	return &w->nodes[0];
}

static bool is_dir(const struct node *n)
{
	return n && n->type == S_IFDIR;
}

static bool is_empty(const struct node *n)
{
	unsigned int i;

	for (i = 0; i < NAME_COUNT; i++) {
		if (n->entries[i])
			return false;
	}
	return true;
}

/* Any node that is in use; of any type, or a directory with a name. */
static struct node *pick_node(struct world *w, bool wants_dir)
{
	unsigned int i = pick(w, NODE_COUNT), tries;

	for (tries = 0; tries < NODE_COUNT; tries++, i++) {
		struct node *n = &w->nodes[i % NODE_COUNT];

		if (n->ino && (!wants_dir || (is_dir(n) && n->nlink)))
			return n;
	}
	return root_of(w);
}

static struct node *unused_node(struct world *w)
{
	unsigned int i;

	for (i = 1; i < NODE_COUNT; i++) {
		if (!w->nodes[i].ino)
			return &w->nodes[i];
	}
	return NULL;
}

static void drop_if_gone(struct node *n)
{
	if (n->nlink == 0 && n->open_count == 0)
		memset(n, 0, sizeof(*n));
}

static void unname(struct node *n)
{
	if (is_dir(n)) {
		n->parent->nlink--;
		n->nlink = 0;
	} else {
		n->nlink--;
	}
	drop_if_gone(n);
}

/* Was the call stopped by the fault that was set?  Then nothing is changed. */
static bool has_failed(struct world *w, int r, int want)
{
	bool is_hit = r == -EIO && want != -EIO;

	env_fault(w->f, 0);
	if (!is_hit)
		assert_int_equal(r, want);
	return is_hit || want < 0;
}

/* ---------------------------------------------------------------- actions */

static void do_create(struct world *w)
{
	static const uint32_t types[] = {
		S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO,
	};
	struct node *dir = pick_node(w, true), *n = unused_node(w);
	unsigned int name = pick(w, NAME_COUNT);
	struct cfs_fs_spec spec = {
		.mode = types[pick(w, CFS_ARRAY_COUNT(types))] | pick(w, 01000),
		.uid = pick(w, 1000),
	};
	uint64_t ino = 0;
	int r;

	if (!n)
		return;
	n->type = spec.mode & S_IFMT;
	n->size = 0;
	if (n->type == S_IFLNK)
		n->size = 1 + pick(w, 4000);
	if (n->type == S_IFREG && pick(w, 2))
		n->size = pick(w, DATA_BYTES);
	memset(n->data, 1 + (int)pick(w, 255), n->size);
	if (n->type == S_IFLNK) {
		spec.target = n->data;
		spec.target_bytes = n->size;
	} else {
		spec.data = n->data;
		spec.data_bytes = n->size;
	}
	r = cfs_fs_create_with(w->f->fs, dir->ino, names[name],
			       strlen(names[name]), &spec, &ino, NULL,
			       &w->f->err);
	if (has_failed(w, r, dir->entries[name] ? -EEXIST : 0)) {
		memset(n, 0, sizeof(*n));
		return;
	}
	n->ino = ino;
	n->mode = spec.mode & 07777;
	n->uid = spec.uid;
	n->nlink = is_dir(n) ? 2 : 1;
	n->parent = dir;
	dir->entries[name] = n;
	dir->nlink += is_dir(n);
}

static void do_link(struct world *w)
{
	struct node *n = pick_node(w, false), *dir = pick_node(w, true);
	unsigned int name = pick(w, NAME_COUNT);
	int want = is_dir(n)            ? -EPERM
		   : !n->nlink          ? -ENOENT
		   : dir->entries[name] ? -EEXIST
					: 0;
	int r;

	r = cfs_fs_link(w->f->fs, n->ino, dir->ino, names[name],
			strlen(names[name]), &w->f->err);
	if (has_failed(w, r, want))
		return;
	dir->entries[name] = n;
	n->nlink++;
}

static void do_remove(struct world *w)
{
	struct node *dir = pick_node(w, true), *n;
	unsigned int name = pick(w, NAME_COUNT);
	bool is_rmdir = pick(w, 2);
	int want = 0, r;

	n = dir->entries[name];
	if (!n)
		want = -ENOENT;
	else if (is_rmdir && !is_dir(n))
		want = -ENOTDIR;
	else if (!is_rmdir && is_dir(n))
		want = -EISDIR;
	else if (is_rmdir && !is_empty(n))
		want = -ENOTEMPTY;
	r = (is_rmdir ? cfs_fs_rmdir
		      : cfs_fs_unlink)(w->f->fs, dir->ino, names[name],
				       strlen(names[name]), &w->f->err);
	if (has_failed(w, r, want))
		return;
	dir->entries[name] = NULL;
	unname(n);
}

static bool is_above(struct world *w, const struct node *n, struct node *dir)
{
	for (; dir != root_of(w); dir = dir->parent) {
		if (dir == n)
			return true;
	}
	return n == dir;
}

static int rename_want(struct world *w, struct node *from_dir,
		       struct node *from, struct node *to_dir, struct node *to,
		       uint32_t flags)
{
	bool swaps = flags & CFS_FS_RENAME_EXCHANGE;

	if (!from)
		return -ENOENT;
	if (flags & CFS_FS_RENAME_NOREPLACE && to)
		return -EEXIST;
	if (swaps && !to)
		return -ENOENT;
	if (from == to)
		return 0;
	if (is_dir(from) && is_above(w, from, to_dir))
		return -EINVAL;
	if (swaps)
		return is_dir(to) && is_above(w, to, from_dir) ? -EINVAL : 0;
	if (to && is_dir(from) != is_dir(to))
		return is_dir(to) ? -EISDIR : -ENOTDIR;
	return is_dir(to) && !is_empty(to) ? -ENOTEMPTY : 0;
}

static void give(struct node *dir, unsigned int name, struct node *n)
{
	dir->entries[name] = n;
	if (!is_dir(n))
		return;
	n->parent->nlink--;
	n->parent = dir;
	dir->nlink++;
}

static void do_rename(struct world *w)
{
	static const uint32_t all_flags[] = {
		0, 0, 0, CFS_FS_RENAME_NOREPLACE, CFS_FS_RENAME_EXCHANGE,
	};
	uint32_t flags = all_flags[pick(w, CFS_ARRAY_COUNT(all_flags))];
	struct node *from_dir = pick_node(w, true);
	struct node *to_dir = pick(w, 2) ? from_dir : pick_node(w, true);
	unsigned int from_name = pick(w, NAME_COUNT);
	unsigned int to_name = pick(w, NAME_COUNT);
	struct node *from = from_dir->entries[from_name];
	struct node *to = to_dir->entries[to_name];
	int r;

	r = cfs_fs_rename(w->f->fs, from_dir->ino, names[from_name],
			  strlen(names[from_name]), to_dir->ino, names[to_name],
			  strlen(names[to_name]), flags, &w->f->err);
	if (has_failed(w, r, rename_want(w, from_dir, from, to_dir, to, flags)))
		return;
	if (from == to)
		return;
	from_dir->entries[from_name] = NULL;
	if (flags & CFS_FS_RENAME_EXCHANGE)
		give(from_dir, from_name, to);
	else if (to)
		unname(to);
	give(to_dir, to_name, from);
}

static int file_want(const struct node *n)
{
	return is_dir(n) ? -EISDIR : n->type != S_IFREG ? -EINVAL : 0;
}

static void do_write(struct world *w)
{
	struct node *n = pick_node(w, false);
	size_t at_byte = pick(w, DATA_BYTES), got = 0;
	size_t bytes = 1 + pick(w, (unsigned int)(DATA_BYTES - at_byte));
	uint8_t buf[DATA_BYTES];
	int r;

	memset(buf, (int)pick(w, 256), bytes);
	r = cfs_fs_write(w->f->fs, n->ino, at_byte, buf, bytes, &got,
			 &w->f->err);
	if (has_failed(w, r, file_want(n)))
		return;
	assert_int_equal(got, bytes);
	memcpy(n->data + at_byte, buf, bytes);
	n->size = CFS_MAX(n->size, at_byte + bytes);
}

static void do_truncate(struct world *w)
{
	struct node *n = pick_node(w, false);
	size_t size = pick(w, DATA_BYTES);
	int r;

	r = cfs_fs_truncate(w->f->fs, n->ino, size, &w->f->err);
	if (has_failed(w, r, file_want(n)))
		return;
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
}

static void do_punch(struct world *w)
{
	struct node *n = pick_node(w, false);
	size_t at_byte = pick(w, DATA_BYTES);
	size_t bytes = 1 + pick(w, (unsigned int)(DATA_BYTES - at_byte));
	int r;

	r = cfs_fs_zero_range(w->f->fs, n->ino, at_byte, bytes, false,
			      &w->f->err);
	if (has_failed(w, r, file_want(n)))
		return;
	memset(n->data + at_byte, 0, bytes);
	n->size = CFS_MAX(n->size, at_byte + bytes);
}

static void do_setattr(struct world *w)
{
	struct node *n = pick_node(w, false);
	struct cfs_fs_attr set = {
		.mask = CFS_FS_SET_MODE | CFS_FS_SET_UID,
		.mode = pick(w, 010000),
		.uid = pick(w, 1000),
	};
	int r;

	r = cfs_fs_setattr(w->f->fs, n->ino, &set, NULL, &w->f->err);
	if (has_failed(w, r, 0))
		return;
	n->mode = set.mode;
	n->uid = set.uid;
}

static const char *xattr_names[2] = { "user.one", "system.posix_acl_access" };

static void do_xattr(struct world *w)
{
	struct node *n = pick_node(w, false);
	unsigned int which = pick(w, 2);
	uint8_t value[5000];
	size_t bytes = pick(w, sizeof(value));
	int r;

	memset(value, (int)bytes & 0xff, bytes);
	if (pick(w, 3)) {
		r = cfs_fs_xattr_set(w->f->fs, n->ino, xattr_names[which],
				     value, bytes, 0, &w->f->err);
		if (!has_failed(w, r, 0))
			n->xattr_bytes[which] = bytes + 1;
	} else {
		r = cfs_fs_xattr_remove(w->f->fs, n->ino, xattr_names[which],
					&w->f->err);
		if (!has_failed(w, r, n->xattr_bytes[which] ? 0 : -ENODATA))
			n->xattr_bytes[which] = 0;
	}
}

static void do_open_close(struct world *w)
{
	struct node *n = pick_node(w, false);

	env_fault(w->f, 0);
	if (n->open_count < OPEN_MAX && pick(w, 2)) {
		assert_int_equal(cfs_fs_open_ino(w->f->fs, n->ino, &w->f->err),
				 0);
		n->open_count++;
	} else if (n->open_count) {
		assert_int_equal(cfs_fs_close_ino(w->f->fs, n->ino, &w->f->err),
				 0);
		n->open_count--;
		drop_if_gone(n);
	}
}

/* As after a crash: what was open is not any more. */
static void reopen_as(struct world *w, uint64_t mask)
{
	struct cfs_view view = { w->f->c, w->f->branch, CFS_STAMP_HEAD };
	uint64_t root = root_of(w)->ino;
	unsigned int i;

	assert_int_equal(
		cfs_fs_reclaim_orphans(w->f->c, w->f->branch, NULL, &w->f->err),
		0);
	assert_int_equal(cfs_fs_open(&view, root, 42, &w->f->fs, &w->f->err),
			 0);
	w->f->fs->hash_mask = mask;
	cfs_fs_set_clock(w->f->fs, &w->f->clock.clock);
	for (i = 0; i < NODE_COUNT; i++) {
		w->nodes[i].open_count = 0;
		drop_if_gone(&w->nodes[i]);
	}
}

static void reopen(struct world *w)
{
	uint64_t mask = w->f->fs->hash_mask;

	cfs_fs_close(w->f->fs);
	w->f->fs = NULL;
	reopen_as(w, mask);
}

/* ---------------------------------------------------------------- compare */

static void assert_data(struct world *w, const struct node *n)
{
	static uint8_t buf[DATA_BYTES + 1];
	size_t bytes = 0;

	if (n->type == S_IFREG)
		assert_int_equal(cfs_fs_read(w->f->fs, n->ino, 0, buf,
					     sizeof(buf), &bytes, &w->f->err),
				 0);
	else
		assert_int_equal(cfs_fs_readlink(w->f->fs, n->ino, buf,
						 sizeof(buf), &bytes,
						 &w->f->err),
				 0);
	assert_int_equal(bytes, n->size);
	assert_memory_equal(buf, n->data, bytes);
}

static void assert_xattrs(struct world *w, const struct node *n)
{
	static uint8_t buf[5000];
	unsigned int i;
	size_t bytes = 0, j;

	for (i = 0; i < 2; i++) {
		int r = cfs_fs_xattr_get(w->f->fs, n->ino, xattr_names[i], buf,
					 sizeof(buf), &bytes, &w->f->err);

		assert_int_equal(r, n->xattr_bytes[i] ? 0 : -ENODATA);
		if (r < 0)
			continue;
		assert_int_equal(bytes, n->xattr_bytes[i] - 1);
		for (j = 0; j < bytes; j++)
			assert_int_equal(buf[j], bytes & 0xff);
	}
}

static void assert_entries(struct world *w, const struct node *n)
{
	struct cfs_fs_entry e[NAME_COUNT + 3];
	unsigned int i, want = 2;
	size_t count = 0, j;

	assert_int_equal(cfs_fs_readdir(w->f->fs, n->ino, 0, e,
					CFS_ARRAY_COUNT(e), &count, &w->f->err),
			 0);
	for (i = 0; i < NAME_COUNT; i++) {
		if (!n->entries[i])
			continue;
		want++;
		for (j = 2; j < count; j++) {
			if (strcmp(e[j].name, names[i]) == 0)
				break;
		}
		assert_true(j < count);
		assert_int_equal(e[j].ino, n->entries[i]->ino);
		assert_int_equal(e[j].type, n->entries[i]->type >> 12);
	}
	assert_int_equal(count, want);
}

static void assert_same(struct world *w)
{
	unsigned int i;

	for (i = 0; i < NODE_COUNT; i++) {
		struct node *n = &w->nodes[i];
		struct cfs_inode inode;

		if (!n->ino)
			continue;
		inode = attr(w->f, n->ino);
		assert_int_equal(inode.mode, n->type | n->mode);
		assert_int_equal(inode.uid, n->uid);
		assert_int_equal(inode.nlink, n->nlink);
		assert_int_equal(inode.size_bytes, n->size);
		if (is_dir(n))
			assert_int_equal(inode.parent, n->parent->ino);
		if (is_dir(n))
			assert_entries(w, n);
		if (n->type == S_IFREG || n->type == S_IFLNK)
			assert_data(w, n);
		assert_xattrs(w, n);
	}
	assert_sound(w->f);
}

static void assert_paths(struct world *w)
{
	unsigned int i;

	for (i = 0; i < NODE_COUNT; i++) {
		struct node *n = &w->nodes[i];
		struct cfs_buf path = CFS_BUF_INIT;
		uint64_t ino = 0;

		if (!n->ino || !n->nlink)
			continue;
		assert_int_equal(
			cfs_fs_path_of(w->f->fs, n->ino, &path, &w->f->err), 0);
		assert_int_equal(cfs_fs_resolve(w->f->fs, root_of(w)->ino,
						path.data, path.bytes,
						CFS_FS_FOLLOW_NONE, &ino,
						&w->f->err),
				 0);
		assert_int_equal(ino, n->ino);
		cfs_buf_donep(&path);
	}
}

/* The tree as it was: a copy of the plain one, and the view that shows it. */
struct snapshot {
	struct cfs_view view;
	struct world was;
};

static struct node *moved(const struct world *from, struct world *to,
			  const struct node *n)
{
	return n ? to->nodes + (n - from->nodes) : NULL;
}

/* @to's nodes become @from's, as they are now. */
static void world_copy(struct world *to, const struct world *from)
{
	unsigned int i, j;

	memcpy(to->nodes, from->nodes, sizeof(to->nodes));
	for (i = 0; i < NODE_COUNT; i++) {
		struct node *n = &to->nodes[i];

		n->parent = moved(from, to, n->parent);
		for (j = 0; j < NAME_COUNT; j++)
			n->entries[j] = moved(from, to, n->entries[j]);
	}
}

static struct snapshot *snapshot_take(struct world *w)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	if (!env_snapshot(w->f, &s->view)) {
		free(s);
		return NULL;
	}
	world_copy(&s->was, w);
	return s;
}

static void assert_snapshot(struct world *w, struct snapshot *s)
{
	struct fixture f = *w->f;

	s->view.container = f.c;
	assert_int_equal(
		cfs_fs_open(&s->view, root_of(w)->ino, 42, &f.fs, &f.err), 0);
	f.fs->hash_mask = w->f->fs->hash_mask;
	s->was.f = &f;
	assert_same(&s->was);
	cfs_fs_close(f.fs);
}

/*
 * Go on in a branch that begins as @s was.  Then what it forked off from does
 * not change any more, so @s is made to stand for its head.
 */
static void clone_enter(struct world *w, struct snapshot *s)
{
	struct cfs_view head = { w->f->c, w->f->branch, CFS_STAMP_HEAD };
	uint64_t mask = w->f->fs->hash_mask;
	struct world *was;

	reopen(w);
	s->view.container = w->f->c;
	if (!env_clone(w->f, &s->view))
		return;
	cfs_fs_close(w->f->fs);
	was = calloc(1, sizeof(*was));
	assert_non_null(was);
	world_copy(was, w);
	world_copy(w, &s->was);
	world_copy(&s->was, was);
	free(was);
	s->view = head;
	reopen_as(w, mask);
	assert_same(w);
	assert_snapshot(w, s);
}

/* What was synced is there again when it is opened anew. */
static void crash(struct world *w)
{
	uint64_t mask = w->f->fs->hash_mask;

	assert_int_equal(cfs_fs_sync(w->f->fs, root_of(w)->ino, &w->f->err), 0);
	cfs_fs_close(w->f->fs);
	w->f->fs = NULL;
	env_crash(w->f);
	reopen_as(w, mask);
	assert_same(w);
}

/* Remove everything: nothing is left behind. */
static void clear(struct world *w, uint64_t empty_count)
{
	unsigned int i, name;
	bool is_done;

	reopen(w);
	do {
		is_done = true;
		for (i = 0; i < NODE_COUNT; i++) {
			struct node *dir = &w->nodes[i];

			for (name = 0; name < NAME_COUNT && dir->ino; name++) {
				struct node *n = dir->entries[name];

				if (!n || (is_dir(n) && !is_empty(n)))
					continue;
				assert_int_equal((is_dir(n) ? cfs_fs_rmdir
							    : cfs_fs_unlink)(
							 w->f->fs, dir->ino,
							 names[name],
							 strlen(names[name]),
							 &w->f->err),
						 0);
				dir->entries[name] = NULL;
				unname(n);
				is_done = false;
			}
		}
	} while (!is_done);
	root_of(w)->xattr_bytes[0] = root_of(w)->xattr_bytes[1] = 0;
	cfs_fs_xattr_remove(w->f->fs, root_of(w)->ino, xattr_names[0], NULL);
	cfs_fs_xattr_remove(w->f->fs, root_of(w)->ino, xattr_names[1], NULL);
	assert_same(w);
	/* A clone has to hide what its origin shows. */
	if (w->f->branch == FAKE_BRANCH)
		assert_int_equal(env_record_count(w->f), empty_count);
}

static void run(struct world *w, unsigned int seed, unsigned int steps)
{
	static void (*const actions[])(struct world *) = {
		do_create, do_create,  do_create, do_link,       do_remove,
		do_rename, do_rename,  do_rename, do_write,      do_truncate,
		do_punch,  do_setattr, do_xattr,  do_open_close, do_open_close,
	};
	struct snapshot *snapshots[SNAPSHOT_COUNT] = { NULL };
	uint64_t empty_count = env_record_count(w->f);
	unsigned int i, which;

	cfs_rng_init(&w->rng, seed);
	for (i = 0; i < steps; i++) {
		w->f->clock.realtime_ns += 10;
		if (pick(w, 10) == 0)
			env_fault(w->f, 1 + pick(w, 8));
		actions[pick(w, CFS_ARRAY_COUNT(actions))](w);
		env_fault(w->f, 0);
		if (i % 100 == 99)
			assert_same(w);
		if (i % 500 == 499)
			assert_paths(w);
		if (pick(w, 400) == 0)
			reopen(w);
		if (pick(w, 300) == 0)
			crash(w);
		which = pick(w, steps / 2);
		if (which < SNAPSHOT_COUNT && !snapshots[which])
			snapshots[which] = snapshot_take(w);
		which = pick(w, 200);
		if (which < SNAPSHOT_COUNT && snapshots[which])
			assert_snapshot(w, snapshots[which]);
		which = pick(w, steps);
		if (which < SNAPSHOT_COUNT && snapshots[which] &&
		    snapshots[which]->view.stamp != CFS_STAMP_HEAD)
			clone_enter(w, snapshots[which]);
	}
	clear(w, empty_count);
	for (i = 0; i < SNAPSHOT_COUNT; i++) {
		if (snapshots[i])
			assert_snapshot(w, snapshots[i]);
		free(snapshots[i]);
	}
}

/* One history of @steps calls; a seed that fails is printed. */
static void history(unsigned int seed, unsigned int steps)
{
	struct world *w = calloc(1, sizeof(*w));
	void *fixture = NULL;

	assert_non_null(w);
	names_init();
	setup(&fixture);
	w->f = fixture;
	/* In half of them all names of a directory collide. */
	if (seed % 2)
		w->f->fs->hash_mask = seed % 4;
	*root_of(w) = (struct node){
		.ino = cfs_fs_root_ino(w->f->fs),
		.type = S_IFDIR,
		.mode = 0755,
		.nlink = 2,
	};
	root_of(w)->parent = root_of(w);
	print_message("seed %u\n", seed);
	run(w, seed, steps);
	teardown(&fixture);
	free(w);
}
