/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Want of memory: a pool is opened, written, synced, committed, pinned by a
 * snapshot and closed, with the 1st, 2nd, ... allocation failing, or all from
 * there on, until none is hit any more.  Each time a call says -ENOMEM or works
 * all the same; nothing leaks (the sanitizers look), and whoever opens the pool
 * then finds all that was synced, and nothing wrong.
 *
 * The linker leads the allocations of the library here: see the Makefile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "heal_fixture.h"

#define SMALL      3u /* blocks */
#define LARGE      40u
#define CHECK_EACH 32u

/* ---- allocations --------------------------------------------------------- */

static uint64_t calls, fails_at;
static bool is_armed, is_sticky, was_hit;

static bool must_fail(void)
{
	if (!is_armed)
		return false;
	calls++;
	if (calls != fails_at && !(is_sticky && was_hit))
		return false;
	was_hit = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__real_reallocarray(void *p, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **ret, size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_reallocarray(void *p, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
	return must_fail() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return must_fail() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return must_fail() ? NULL : __real_realloc(p, bytes);
}

void *__wrap_reallocarray(void *p, size_t count, size_t bytes)
{
	return must_fail() ? NULL : __real_reallocarray(p, count, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return must_fail() ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	return must_fail() ? ENOMEM
			   : __real_posix_memalign(ret, alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
	return must_fail() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
	return must_fail() ? NULL : __real_strndup(text, bytes);
}

/* ---- the story ----------------------------------------------------------- */

struct story {
	struct heal_pool h;
	uint64_t synced, written; /* seeds of the LUN */
	uint8_t buf[LARGE * HEAL_BLOCK];
};

static int write_blocks(struct story *s, uint64_t block, uint32_t count)
{
	struct cfs_member *m = s->h.lun;
	struct cfs_volume_rec rec;
	int r = cfs_volume_get(m, CFS_VOLUME_FIRST, &rec, NULL);

	if (r == 0)
		r = cfs_op_begin(m->container, CFS_OP_NORMAL, NULL);
	if (r < 0)
		return r;
	heal_fill(s->buf, count * (size_t)HEAL_BLOCK, s->written);
	r = cfs_data_write(m->container, (uint16_t)rec.head_branch, rec.ino,
			   block * HEAL_BLOCK, s->buf,
			   count * (size_t)HEAL_BLOCK, NULL);
	if (r < 0)
		cfs_op_abort(m->container);
	else
		cfs_op_end(m->container);
	return r;
}

static int change_tree(struct story *s, uint64_t number)
{
	struct cfs_member *m = s->h.tree;
	struct cfs_volume_rec rec;
	struct cfs_view view;
	struct cfs_fs *fs = NULL;
	char name[24];
	uint64_t ino;
	size_t done;
	int r = cfs_volume_get(m, CFS_VOLUME_FIRST, &rec, NULL);

	(void)snprintf(name, sizeof(name), "f%u", (unsigned int)(number % 8));
	if (r == 0) {
		cfs_volume_view(m, &rec, &view);
		r = cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, NULL);
	}
	if (r == 0)
		r = cfs_fs_unlink(fs, rec.ino, name, strlen(name), NULL);
	if (r == 0 || r == -ENOENT)
		r = cfs_fs_create(fs, rec.ino, name, strlen(name), 0644, 0, 0,
				  &ino, NULL);
	if (r == 0)
		r = cfs_fs_write(fs, ino, 0, s->buf, 5000, &done, NULL);
	cfs_fs_close(fs);
	return r;
}

static int change_snapshot(struct story *s)
{
	const struct cfs_snapshot_name snap = { s->h.lun, CFS_VOLUME_FIRST,
						"snap" };
	int r = cfs_snapshot_remove(s->h.lun, CFS_VOLUME_FIRST, "snap", NULL,
				    NULL);

	return r == 0 || r == -ENOENT ? cfs_snapshot_take(&snap, 1, NULL, NULL)
				      : r;
}

static int open_all(struct story *s)
{
	const struct cfs_pool_options opt = { .was_clean = false };
	int r = cfs_pool_open(s->h.set, ++s->h.epoch, s->h.roots, &opt,
			      &s->h.pool, NULL);

	if (r < 0)
		s->h.pool = NULL;
	if (r == 0)
		r = cfs_pool_member(s->h.pool, "lun", &s->h.lun, NULL);
	if (r == 0)
		r = cfs_pool_member(s->h.pool, "tree", &s->h.tree, NULL);
	return r;
}

static int tell(struct story *s, uint64_t number)
{
	int r = open_all(s);

	if (r == 0)
		r = change_tree(s, number);
	s->written = number;
	if (r == 0)
		r = write_blocks(s, 0, SMALL);
	if (r == 0)
		r = write_blocks(s, 10, LARGE);
	if (r == 0)
		r = cfs_container_sync(s->h.lun->container, NULL);
	if (r == 0)
		s->synced = number;
	if (r == 0)
		r = change_snapshot(s);
	if (r == 0)
		r = cfs_container_commit(s->h.tree->container, NULL);
	return r;
}

/* What was synced, or what was written since. */
static void must_show(struct story *s, uint64_t block, uint32_t count)
{
	if (heal_read(s->h.lun, block, count, s->synced) == 0 ||
	    heal_read(s->h.lun, block, count, s->written) == 0)
		return;
	fail_msg("blocks %u are neither of %u nor of %u", (unsigned int)block,
		 (unsigned int)s->synced, (unsigned int)s->written);
}

/* As it was written, once more, so that there is one seed that counts. */
static void make_known(struct story *s)
{
	s->written++;
	assert_int_equal(write_blocks(s, 0, SMALL), 0);
	assert_int_equal(write_blocks(s, 10, LARGE), 0);
	assert_int_equal(cfs_container_sync(s->h.lun->container, NULL), 0);
	s->synced = s->written;
}

/* The nth allocation fails; false: there were not so many. */
static bool round_of(struct story *s, uint64_t nth)
{
	int r;

	calls = 0;
	fails_at = nth;
	was_hit = false;
	is_armed = true;
	r = tell(s, nth * 10);
	if (r == 0 && !was_hit) {
		r = cfs_pool_close(s->h.pool, NULL);
		s->h.pool = NULL;
	}
	is_armed = false;
	/* Who has failed once closes for writing. */
	if (r < 0 && r != -ENOMEM && r != -EROFS)
		fail_msg("allocation %u fails: %d", (unsigned int)nth, r);
	if (r < 0 && !was_hit)
		fail_msg("nothing fails, but: %d", r);
	if (s->h.pool)
		cfs_pool_drop(s->h.pool);
	s->h.pool = NULL;
	assert_int_equal(open_all(s), 0);
	must_show(s, 0, SMALL);
	must_show(s, 10, LARGE);
	make_known(s);
	if (nth % CHECK_EACH == 0 || !was_hit)
		heal_check_clean(&s->h);
	cfs_pool_drop(s->h.pool);
	s->h.pool = NULL;
	return was_hit;
}

static void each_fails(bool sticky)
{
	struct story *s = calloc(1, sizeof(*s));
	uint64_t nth = 1;

	assert_non_null(s);
	s->h = heal_new(false, UINT64_C(1) << 20);
	make_known(s);
	heal_close(&s->h);
	is_sticky = sticky;
	while (round_of(s, nth))
		nth++;
	/* It was a story worth telling. */
	assert_true(nth > 200);
	print_message("# %u allocations\n", (unsigned int)nth - 1);
	cfs_devset_close(s->h.set);
	free(s);
}

static void test_one_fails(void **state)
{
	(void)state;
	each_fails(false);
}

static void test_all_fail(void **state)
{
	(void)state;
	each_fails(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_fails),
		cmocka_unit_test(test_all_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
