/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Histories of directories that two clients work in, each in its own, against
 * a model: files are made, written, cut, renamed, linked and removed; clients
 * sync, fold, die and are sealed, owners die.  The seed is printed; CFS_SEED
 * sets it, CFS_LONG takes more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"

#define CLIENTS        2u
#define NAMES          24u
#define FILE_BYTES_MAX (200u << 10)
#define STEPS          250u

/* Once more where an old view was met. */
#define TRY(c, expr)                                                           \
	do {                                                                   \
		struct cfs_err err_ = CFS_ERR_INIT;                            \
		int r_, n_ = 0;                                                \
		do                                                             \
			r_ = (expr);                                           \
		while (r_ == -EAGAIN && n_++ < 8 &&                            \
		       cfs_container_client_again(c, r_, &err_) == 1);         \
		if (r_ < 0)                                                    \
			fail_msg("%s: %d: %s", #expr, r_, err_.msg);           \
	} while (0)

/* A file: content of @seed, of which @bytes are there. */
struct file {
	bool is_there;
	uint32_t seed, bytes;
};

struct dir {
	struct file files[NAMES];
};

struct story {
	struct cfs_rng rng;
	struct heal_pool h;
	struct cfs_fs *owner;
	struct client clients[CLIENTS];
	struct cfs_fs *fs[CLIENTS];
	uint64_t dir_ino[CLIENTS];
	struct dir now[CLIENTS];
	struct dir synced[CLIENTS];
};

static uint8_t content[FILE_BYTES_MAX], got[FILE_BYTES_MAX + 1];

static uint32_t below(struct story *s, uint32_t n)
{
	return (uint32_t)cfs_rng_below(&s->rng, n);
}

static struct cfs_fs *open_fs(struct story *s, struct cfs_container *c)
{
	struct cfs_volume_rec rec = heal_volume(s->h.tree);
	const struct cfs_view view = { c, (uint16_t)rec.head_branch,
				       CFS_STAMP_HEAD };
	struct cfs_fs *fs = NULL;

	TRY(c, cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	return fs;
}

static size_t name_of(char ret[32], unsigned int i)
{
	return (size_t)snprintf(ret, 32, "name-%u", i);
}

static void must_show(struct story *s, struct cfs_container *c,
		      struct cfs_fs *fs, unsigned int who,
		      const struct dir *want)
{
	static struct cfs_fs_entry entries[NAMES + 4];
	size_t n = 0, count = 0;
	char name[32];

	for (unsigned int i = 0; i < NAMES; i++) {
		const struct file *f = &want->files[i];
		struct cfs_inode inode;
		uint64_t ino = 0;

		if (!f->is_there)
			continue;
		count++;
		TRY(c, cfs_fs_lookup(fs, s->dir_ino[who], name,
				     name_of(name, i), &ino, NULL, &err_));
		TRY(c, cfs_fs_getattr(fs, ino, &inode, &err_));
		if (inode.size_bytes != f->bytes)
			fail_msg("%s has %llu bytes, not %u", name,
				 (unsigned long long)inode.size_bytes,
				 f->bytes);
		TRY(c, cfs_fs_read(fs, ino, 0, got, f->bytes + 1, &n, &err_));
		assert_int_equal(n, f->bytes);
		heal_fill(content, sizeof(content), f->seed);
		if (f->bytes)
			assert_memory_equal(got, content, f->bytes);
	}
	TRY(c, cfs_fs_readdir(fs, s->dir_ino[who], 0, entries, NAMES + 4, &n,
			      &err_));
	assert_int_equal(n, count + 2);
}

/* ---- steps ----------------------------------------------------------------
 */

static void make(struct story *s, unsigned int who, unsigned int i)
{
	struct cfs_container *c = s->clients[who].c;
	struct file *f = &s->now[who].files[i];
	uint64_t ino = 0;
	char name[32];
	size_t done;

	f->is_there = true;
	f->seed = (uint32_t)cfs_rng_u64(&s->rng) | 1;
	f->bytes = below(s, 4) ? below(s, 9000) : below(s, FILE_BYTES_MAX);
	heal_fill(content, sizeof(content), f->seed);
	TRY(c, cfs_fs_create(s->fs[who], s->dir_ino[who], name,
			     name_of(name, i), 0600, 0, 0, &ino, &err_));
	if (f->bytes)
		TRY(c, cfs_fs_write(s->fs[who], ino, 0, content, f->bytes,
				    &done, &err_));
}

static void cut(struct story *s, unsigned int who, unsigned int i)
{
	struct cfs_container *c = s->clients[who].c;
	struct file *f = &s->now[who].files[i];
	uint64_t ino = 0;
	char name[32];

	if (f->bytes == 0)
		return;
	f->bytes = below(s, f->bytes);
	TRY(c, cfs_fs_lookup(s->fs[who], s->dir_ino[who], name,
			     name_of(name, i), &ino, NULL, &err_));
	TRY(c, cfs_fs_truncate(s->fs[who], ino, f->bytes, &err_));
}

static void move(struct story *s, unsigned int who, unsigned int i)
{
	unsigned int to = below(s, NAMES);
	struct file *files = s->now[who].files;
	char name[32], other[32];

	if (to == i)
		return;
	TRY(s->clients[who].c,
	    cfs_fs_rename(s->fs[who], s->dir_ino[who], name, name_of(name, i),
			  s->dir_ino[who], other, name_of(other, to), 0,
			  &err_));
	files[to] = files[i];
	files[i].is_there = false;
}

static void drop(struct story *s, unsigned int who, unsigned int i)
{
	char name[32];

	TRY(s->clients[who].c, cfs_fs_unlink(s->fs[who], s->dir_ino[who], name,
					     name_of(name, i), &err_));
	s->now[who].files[i].is_there = false;
}

static void come(struct story *s, unsigned int who)
{
	client_new(&s->clients[who], &s->h, s->h.tree);
	s->fs[who] = open_fs(s, s->clients[who].c);
}

static void die(struct story *s, unsigned int who)
{
	struct client *cl = &s->clients[who];

	if (below(s, 2)) {
		HEAL_OK(cfs_container_sync(cl->c, &err_));
		s->synced[who] = s->now[who];
	} else {
		/* The model cannot tell what a fold of its own has saved. */
		HEAL_OK(cfs_container_fold(cl->c, &err_));
		s->synced[who] = s->now[who];
	}
	cfs_fs_close(s->fs[who]);
	client_kill(cl);
	if (below(s, 2))
		HEAL_OK(cfs_container_client_seal(s->h.tree->container, cl->id,
						  false, NULL, &err_));
	HEAL_OK(cfs_container_client_gone(s->h.tree->container, cl->id, NULL,
					  &err_));
	must_show(s, s->h.tree->container, s->owner, who, &s->synced[who]);
	come(s, who);
}

static void owner_dies(struct story *s)
{
	cfs_fs_close(s->owner);
	cfs_pool_drop(s->h.pool);
	heal_open(&s->h, false);
	heal_members(&s->h);
	for (unsigned int i = 0; i < CLIENTS; i++)
		s->clients[i].owner = s->h.tree->container;
	s->owner = open_fs(s, s->h.tree->container);
}

static void step(struct story *s)
{
	unsigned int who = below(s, CLIENTS), i = below(s, NAMES);
	unsigned int what = below(s, 100);
	struct cfs_container *c = s->clients[who].c;

	if (what < 70 && !s->now[who].files[i].is_there) {
		make(s, who, i);
	} else if (what < 30) {
		cut(s, who, i);
	} else if (what < 50) {
		move(s, who, i);
	} else if (what < 70) {
		drop(s, who, i);
	} else if (what < 82) {
		HEAL_OK(cfs_container_sync(c, &err_));
		s->synced[who] = s->now[who];
	} else if (what < 92) {
		HEAL_OK(cfs_container_fold(c, &err_));
		s->synced[who] = s->now[who];
		must_show(s, s->h.tree->container, s->owner, who, &s->now[who]);
	} else if (what < 95) {
		die(s, who);
	} else if (what < 96) {
		owner_dies(s);
	} else {
		must_show(s, c, s->fs[who], who, &s->now[who]);
	}
}

static void tell_story(uint64_t seed)
{
	struct story *s = calloc(1, sizeof(*s));
	char name[32];

	assert_non_null(s);
	print_message("# seed %llu\n", (unsigned long long)seed);
	cfs_rng_init(&s->rng, seed);
	s->h = heal_new(seed % 4 == 0, 1 << 20);
	s->owner = open_fs(s, s->h.tree->container);
	for (unsigned int i = 0; i < CLIENTS; i++)
		HEAL_OK(cfs_fs_mkdir(s->owner, cfs_fs_root_ino(s->owner), name,
				     name_of(name, i), 0700, 0, 0,
				     &s->dir_ino[i], &err_));
	for (unsigned int i = 0; i < CLIENTS; i++)
		come(s, i);
	for (unsigned int i = 0; i < STEPS; i++) {
		step(s);
		if (i % 80 == 79)
			heal_check_clean(&s->h);
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		cfs_fs_close(s->fs[i]);
		client_close(&s->clients[i]);
		must_show(s, s->h.tree->container, s->owner, i, &s->now[i]);
	}
	heal_check_clean(&s->h);
	heal_scrub_clean(&s->h);
	cfs_fs_close(s->owner);
	heal_reopen(&s->h);
	heal_check_clean(&s->h);
	heal_free(&s->h);
	free(s);
}

static void test_stories(void **state)
{
	const char *from = getenv("CFS_SEED");
	uint64_t seed = from ? strtoull(from, NULL, 10) : 1;
	unsigned int count = from ? 1 : getenv("CFS_LONG") ? 150 : 8;

	(void)state;
	for (unsigned int i = 0; i < count; i++)
		tell_story(seed + i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
