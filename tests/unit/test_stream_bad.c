/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams on bad days: cut and altered at every byte, onto what is not their
 * base, into pools that are full.  Nothing of one that is not whole is seen,
 * and what has come is of use to the next.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/xxh.h"
#include "stream_fixture.h"

static struct cfs_member *member_of(struct heal_pool *h, const char *name)
{
	struct cfs_member *m;

	HEAL_OK(cfs_pool_member(h->pool, name, &m, &err_));
	return m;
}

static bool is_receiving(struct cfs_member *m)
{
	struct cfs_receive_rec rec;

	return cfs_receive_get(m, CFS_VOLUME_FIRST, &rec, NULL) == 0;
}

static void make(struct cfs_member *m, const char *from, const char *to,
		 const struct cfs_stream_position *at, struct cfs_buf *ret)
{
	stream_make(m, CFS_VOLUME_FIRST, CFS_VOLUME_FIRST, from, to, at, ret);
}

static int take(struct heal_pool *h, const struct cfs_buf *buf, size_t bytes)
{
	return stream_take(h->pool, "copy", false, buf->data, bytes, 65536,
			   NULL);
}

static void open_tree(struct cfs_member *m, struct cfs_fs **ret)
{
	struct cfs_volume_rec rec = heal_volume(m);
	struct cfs_view view;

	cfs_volume_view(m, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, ret, &err_));
}

static uint64_t put_file(struct cfs_fs *fs, uint64_t dir, const char *name,
			 size_t bytes, uint64_t seed)
{
	uint8_t *buf = malloc(bytes + 1);
	uint64_t ino;
	size_t done;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	HEAL_OK(cfs_fs_create(fs, dir, name, strlen(name), 0600, 7, 8, &ino,
			      &err_));
	HEAL_OK(cfs_fs_write(fs, ino, 0, buf, bytes, &done, &err_));
	free(buf);
	return ino;
}

/* Two small snapshots of both: a and b. */
static struct heal_pool make_source(void)
{
	struct heal_pool h = heal_new(false, 64 * HEAL_BLOCK);
	struct cfs_fs *fs;
	uint64_t dir, ino;

	heal_write(h.lun, 3, 2, 1);
	heal_write(h.lun, 40, 1, 2);
	open_tree(h.tree, &fs);
	HEAL_OK(cfs_fs_mkdir(fs, cfs_fs_root_ino(fs), "d", 1, 0755, 0, 0, &dir,
			     &err_));
	ino = put_file(fs, dir, "old", 5000, 3);
	HEAL_OK(cfs_fs_xattr_set(fs, ino, "user.a", "b", 1, 0, &err_));
	heal_snapshot(h.lun, "a");
	heal_snapshot(h.tree, "a");
	heal_write(h.lun, 4, 1, 4);
	HEAL_OK(cfs_fs_unlink(fs, dir, "old", 3, &err_));
	put_file(fs, cfs_fs_root_ino(fs), "new", 100, 5);
	HEAL_OK(cfs_fs_symlink(fs, dir, "s", 1, "t", 1, 0, 0, &ino, &err_));
	cfs_fs_close(fs);
	heal_snapshot(h.lun, "b");
	heal_snapshot(h.tree, "b");
	return h;
}

static void expect_is(struct heal_pool *to, struct cfs_member *from,
		      const char *snap)
{
	struct cfs_member *copy = member_of(to, "copy");

	assert_true(heal_has_snapshot(copy, snap));
	assert_false(is_receiving(copy));
	assert_int_equal(stream_hash_snap(copy, CFS_VOLUME_FIRST, snap),
			 stream_hash_snap(from, CFS_VOLUME_FIRST, snap));
	assert_int_equal(stream_hash_head(copy, CFS_VOLUME_FIRST),
			 stream_hash_snap(from, CFS_VOLUME_FIRST, snap));
}

/* ---- cut ----------------------------------------------------------------- */

static void cut_everywhere(bool is_lun)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf more = CFS_BUF_INIT;
	struct cfs_member *m = is_lun ? a.lun : a.tree, *copy;

	make(m, NULL, "a", NULL, &whole);
	make(m, "a", "b", NULL, &more);
	for (size_t n = 0; n < whole.bytes; n++) {
		int r = take(&b, &whole, n);

		assert_true(r == -ENODATA || (n < 32 && r == -EMEDIUMTYPE));
	}
	copy = member_of(&b, "copy");
	assert_true(is_receiving(copy));
	assert_false(heal_has_snapshot(copy, "a"));
	heal_check_clean(&b);
	HEAL_OK(take(&b, &whole, whole.bytes));
	expect_is(&b, m, "a");
	for (size_t n = 32; n < more.bytes; n += n < 4000 ? 1 : 7) {
		assert_int_equal(take(&b, &more, n), -ENODATA);
		assert_false(heal_has_snapshot(copy, "b"));
	}
	heal_check_clean(&b);
	HEAL_OK(take(&b, &more, more.bytes));
	expect_is(&b, m, "b");
	heal_check_clean(&b);
	heal_free(&a);
	heal_free(&b);
}

static void test_cut_lun(void **state)
{
	(void)state;
	cut_everywhere(true);
}

static void test_cut_tree(void **state)
{
	(void)state;
	cut_everywhere(false);
}

/* From where the token says, and cut again, until it is there. */
static void resume_rounds(bool is_lun, uint64_t seed)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	struct cfs_member *m = is_lun ? a.lun : a.tree;
	struct cfs_stream_token token = { .position = { 0, 0 } }, parsed;
	char text[CFS_STREAM_TOKEN_BYTES];
	struct cfs_receive_rec rec;
	struct cfs_rng rng;
	int r = -ENODATA;

	cfs_rng_init(&rng, seed);
	for (unsigned int i = 0; r == -ENODATA && i < 1000; i++) {
		CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;

		make(m, NULL, "b", &token.position, &buf);
		r = take(&b, &buf,
			 cfs_rng_u64(&rng) % 8 == 0
				 ? buf.bytes
				 : 1001 + cfs_rng_u64(&rng) %
						   (buf.bytes - 1001));
		if (r == 0)
			break;
		HEAL_OK(cfs_receive_get(member_of(&b, "copy"), CFS_VOLUME_FIRST,
					&rec, &err_));
		token = (struct cfs_stream_token){ rec.to, rec.from,
						   rec.position };
		cfs_stream_token_format(&token, text);
		HEAL_OK(cfs_stream_token_parse(text, &parsed, &err_));
		assert_memory_equal(&parsed, &token, sizeof(token));
	}
	assert_int_equal(r, 0);
	expect_is(&b, m, "b");
	heal_free(&a);
	heal_free(&b);
}

static void test_resume(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		resume_rounds(seed % 2, seed);
}

/* One that begins behind what has come leaves a gap. */
static void test_gap(void **state)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf late = CFS_BUF_INIT;
	const struct cfs_stream_position at = { CFS_STREAM_INO_END - 1, 0 };

	(void)state;
	make(a.tree, NULL, "a", NULL, &whole);
	make(a.tree, NULL, "a", &at, &late);
	assert_int_equal(take(&b, &whole, 2000), -ENODATA);
	assert_int_equal(take(&b, &late, late.bytes), -ESTALE);
	HEAL_OK(take(&b, &whole, whole.bytes));
	expect_is(&b, a.tree, "a");
	assert_int_equal(cfs_stream_token_parse("00", NULL, NULL), -EINVAL);
	heal_free(&a);
	heal_free(&b);
}

/* ---- altered ------------------------------------------------------------- */

static void alter_everywhere(bool is_lun)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_member *m = is_lun ? a.lun : a.tree;
	struct cfs_rng rng;

	cfs_rng_init(&rng, 1);
	make(m, NULL, "a", NULL, &buf);
	for (size_t i = 0; i < buf.bytes; i++) {
		const uint8_t was = buf.data[i];

		buf.data[i] ^= (uint8_t)(1 + cfs_rng_u64(&rng) % 255);
		assert_true(stream_verify(buf.data, buf.bytes, NULL) < 0);
		if (i < 1200 || i % 61 == 0 || i > buf.bytes - 100)
			assert_true(take(&b, &buf, buf.bytes) < 0);
		buf.data[i] = was;
	}
	assert_false(heal_has_snapshot(member_of(&b, "copy"), "a"));
	heal_check_clean(&b);
	HEAL_OK(take(&b, &buf, buf.bytes));
	expect_is(&b, m, "a");
	heal_free(&a);
	heal_free(&b);
}

static void test_altered(void **state)
{
	(void)state;
	alter_everywhere(true);
	alter_everywhere(false);
}

/* Something behind the end, a part that is missing, or comes twice. */
static void test_moved(void **state)
{
	struct heal_pool a = make_source();
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	const size_t begin = 1000, meta = 32 + 24 + 96;

	(void)state;
	make(a.tree, NULL, "a", NULL, &buf);
	HEAL_OK(cfs_buf_append(&buf, "x", 1));
	assert_int_equal(stream_verify(buf.data, buf.bytes, NULL), -EUCLEAN);
	buf.bytes--;
	HEAL_OK(stream_verify(buf.data, buf.bytes, &err_));
	/* The first inode is the root's. */
	memmove(buf.data + begin, buf.data + begin + meta,
		buf.bytes - begin - meta);
	assert_int_equal(stream_verify(buf.data, buf.bytes - meta, NULL),
			 -EUCLEAN);
	heal_free(&a);
}

/* ---- onto what it does not fit ------------------------------------------- */

static int take_forced(struct heal_pool *h, const struct cfs_buf *buf,
		       bool is_forced)
{
	return stream_take(h->pool, "copy", is_forced, buf->data, buf->bytes,
			   4096, NULL);
}

static void test_base(void **state)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf more = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf tree = CFS_BUF_INIT;
	struct cfs_member *copy;

	(void)state;
	make(a.lun, NULL, "a", NULL, &whole);
	make(a.lun, "a", "b", NULL, &more);
	make(a.tree, NULL, "a", NULL, &tree);
	HEAL_OK(take_forced(&b, &whole, false));
	copy = member_of(&b, "copy");
	/* It is there; another kind; and its base under another name. */
	assert_int_equal(take_forced(&b, &whole, true), -EEXIST);
	assert_int_equal(take_forced(&b, &tree, true), -EINVAL);
	HEAL_OK(cfs_snapshot_rename(copy, CFS_VOLUME_FIRST, "a", "z", &err_));
	/* The volume goes on: not without force. */
	heal_write(copy, 10, 1, 9);
	assert_int_equal(take_forced(&b, &more, false), -ECANCELED);
	heal_snapshot(copy, "mine");
	assert_int_equal(take_forced(&b, &more, false), -ECANCELED);
	assert_false(is_receiving(copy));
	HEAL_OK(take_forced(&b, &more, true));
	expect_is(&b, a.lun, "b");
	assert_true(heal_has_snapshot(copy, "mine"));
	/* Without its base there is no place for it. */
	HEAL_OK(cfs_snapshot_remove(copy, CFS_VOLUME_FIRST, "b", NULL, &err_));
	HEAL_OK(cfs_snapshot_remove(copy, CFS_VOLUME_FIRST, "z", NULL, &err_));
	assert_int_equal(take_forced(&b, &more, true), -ENOENT);
	heal_check_clean(&b);
	heal_free(&a);
	heal_free(&b);
}

/* What of a stream has come stands in nobody's way, and nobody in its. */
static void test_hidden(void **state)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf more = CFS_BUF_INIT;
	struct cfs_snapshot_name snap = { .name = "x" };
	struct cfs_member *copy;

	(void)state;
	make(a.lun, NULL, "a", NULL, &whole);
	make(a.lun, "a", "b", NULL, &more);
	HEAL_OK(take(&b, &whole, whole.bytes));
	assert_int_equal(take(&b, &more, more.bytes - 1), -ENODATA);
	copy = snap.member = member_of(&b, "copy");
	snap.volume = CFS_VOLUME_FIRST;
	assert_int_equal(cfs_snapshot_take(&snap, 1, NULL, NULL), -EBUSY);
	assert_int_equal(
		cfs_volume_resize(copy, CFS_VOLUME_FIRST, HEAL_BLOCK, NULL),
		-EBUSY);
	assert_int_equal(
		cfs_snapshot_remove(copy, CFS_VOLUME_FIRST, "a", NULL, NULL),
		-EBUSY);
	/* It survives that the pool is closed and opened. */
	heal_reopen(&b);
	copy = snap.member = member_of(&b, "copy");
	assert_true(is_receiving(copy));
	HEAL_OK(cfs_snapshot_rollback(copy, CFS_VOLUME_FIRST, "a", NULL,
				      &err_));
	assert_false(is_receiving(copy));
	assert_int_equal(stream_hash_head(copy, CFS_VOLUME_FIRST),
			 stream_hash_snap(a.lun, CFS_VOLUME_FIRST, "a"));
	HEAL_OK(take(&b, &more, more.bytes));
	expect_is(&b, a.lun, "b");
	heal_check_clean(&b);
	heal_free(&a);
	heal_free(&b);
}

/* Another stream than the one that was cut: that is given up. */
static void test_other(void **state)
{
	struct heal_pool a = make_source(), b = heal_new(false, HEAL_BLOCK);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf whole = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf more = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf other = CFS_BUF_INIT;

	(void)state;
	heal_write(a.lun, 20, 3, 11);
	heal_snapshot(a.lun, "c");
	make(a.lun, NULL, "a", NULL, &whole);
	make(a.lun, "a", "c", NULL, &more);
	make(a.lun, "a", "b", NULL, &other);
	HEAL_OK(take(&b, &whole, whole.bytes));
	assert_int_equal(take(&b, &more, more.bytes - 1), -ENODATA);
	HEAL_OK(take(&b, &other, other.bytes));
	expect_is(&b, a.lun, "b");
	heal_check_clean(&b);
	heal_free(&a);
	heal_free(&b);
}

/* ---- no room ------------------------------------------------------------- */

/* Files of all lengths, 36 MiB. */
static void fill_tree(struct cfs_member *m)
{
	struct cfs_fs *fs;

	open_tree(m, &fs);
	for (unsigned int i = 0; i < 90; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%u", i);
		put_file(fs, cfs_fs_root_ino(fs), name,
			 i % 3 ? 9000 : (i % 5 + 1) * 400000, i);
	}
	cfs_fs_close(fs);
}

static void full(bool is_lun)
{
	struct heal_pool a = heal_new(false, UINT64_C(64) << 20);
	struct heal_pool b = heal_new(false, UINT64_C(64) << 20);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_member *m = is_lun ? a.lun : a.tree;
	struct cfs_err err = CFS_ERR_INIT;

	for (uint64_t i = 0; i < 9; i++) {
		if (is_lun)
			heal_write(a.lun, i * 1024, 1024, i);
		heal_write(b.lun, i * 1024, 1024, i);
	}
	if (!is_lun)
		fill_tree(a.tree);
	heal_snapshot(m, "a");
	make(m, NULL, "a", NULL, &buf);
	/* As often as one likes: it is not there, and all else works. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(stream_take(b.pool, "copy", false, buf.data,
					     buf.bytes, 65536, &err),
				 -ENOSPC);
	assert_false(heal_has_snapshot(member_of(&b, "copy"), "a"));
	assert_int_equal(heal_read(b.lun, 1024, 1024, 1), 0);
	heal_check_clean(&b);
	HEAL_OK(cfs_pool_container_remove(b.pool, b.lun, &err_));
	HEAL_OK(take(&b, &buf, buf.bytes));
	expect_is(&b, m, "a");
	heal_check_clean(&b);
	heal_free(&a);
	heal_free(&b);
}

static void test_full(void **state)
{
	(void)state;
	full(true);
	full(false);
}

/* ---- the cost ------------------------------------------------------------ */

/* One file of many was changed: few records are looked at for that. */
static void test_cost(void **state)
{
	struct heal_pool a = heal_new(false, HEAL_BLOCK);
	const struct cfs_key first = { { 0, 0, 0 } };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_snapshot_rec rec;
	struct cfs_cursor cur;
	struct cfs_tree *tree;
	struct cfs_fs *fs;
	uint64_t ino = 0, stamp, seen = 0;
	size_t done;
	int r;

	(void)state;
	open_tree(a.tree, &fs);
	for (unsigned int i = 0; i < 5000; i++) {
		char name[16];
		int n = snprintf(name, sizeof(name), "file%u", i);

		HEAL_OK(cfs_fs_create(fs, cfs_fs_root_ino(fs), name, (size_t)n,
				      0644, 0, 0, &ino, &err_));
	}
	/* What a snapshot finds in the log alone is written behind it. */
	HEAL_OK(cfs_container_commit(a.tree->container, &err_));
	heal_snapshot(a.tree, "a");
	HEAL_OK(cfs_fs_write(fs, ino - 2000, 0, "x", 1, &done, &err_));
	heal_snapshot(a.tree, "b");
	HEAL_OK(cfs_container_commit(a.tree->container, &err_));
	HEAL_OK(cfs_snapshot_find(a.tree, CFS_VOLUME_FIRST, "a", &stamp, &rec,
				  &err_));
	cfs_container_lock(a.tree->container);
	tree = cfs_container_tree(a.tree->container, CFS_TREE_LIVE);
	assert_true(cfs_tree_record_count(tree) > 10000);
	r = cfs_cursor_ge_newer(&cur, tree, &first, stamp, NULL);
	for (; r == 0; seen++)
		r = cfs_cursor_next_newer(&cur, stamp, NULL);
	cfs_container_unlock(a.tree->container);
	assert_int_equal(r, -ENOENT);
	assert_true(seen > 0 && seen < 200);
	make(a.tree, "a", "b", NULL, &buf);
	assert_true(buf.bytes < 3 * HEAL_BLOCK);
	cfs_fs_close(fs);
	heal_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_lun), cmocka_unit_test(test_cut_tree),
		cmocka_unit_test(test_resume),  cmocka_unit_test(test_gap),
		cmocka_unit_test(test_altered), cmocka_unit_test(test_moved),
		cmocka_unit_test(test_base),    cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_other),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
