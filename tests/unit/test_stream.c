/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams: what is received is what was sent, whatever happened between the
 * snapshots, and nothing of it is seen before all has come and is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/xxh.h"
#include "stream_fixture.h"

#define LUN_BLOCKS 512u
#define SNAPS      12u

static const char *snap_name(unsigned int i)
{
	static char names[4][16];
	static unsigned int at;
	char *name = names[at++ % 4];

	snprintf(name, 16, "s%u", i);
	return name;
}

static struct cfs_member *member_of(struct heal_pool *h, const char *name)
{
	struct cfs_member *m;

	HEAL_OK(cfs_pool_member(h->pool, name, &m, &err_));
	return m;
}

/* ---- random histories ---------------------------------------------------- */

static void punch(struct cfs_member *m, uint64_t block, uint32_t count)
{
	struct cfs_volume_rec rec = heal_volume(m);

	HEAL_OK(cfs_op_begin(m->container, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_data_punch(m->container, (uint16_t)rec.head_branch, rec.ino,
			       block * HEAL_BLOCK, (uint64_t)count * HEAL_BLOCK,
			       &err_));
	cfs_op_end(m->container);
}

static void change_lun(struct cfs_member *m, struct cfs_rng *rng)
{
	for (unsigned int n = 1 + (unsigned int)(cfs_rng_u64(rng) % 6); n;
	     n--) {
		uint32_t count = 1 + (uint32_t)(cfs_rng_u64(rng) % 60);
		uint64_t block = cfs_rng_u64(rng) % (LUN_BLOCKS - count);

		if (cfs_rng_u64(rng) % 4 == 0)
			punch(m, block, count);
		else
			heal_write(m, block, count, cfs_rng_u64(rng));
	}
}

static void open_tree(struct cfs_member *m, struct cfs_fs **ret)
{
	struct cfs_volume_rec rec = heal_volume(m);
	struct cfs_view view;

	cfs_volume_view(m, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, ret, &err_));
}

static size_t file_name(struct cfs_rng *rng, char *buf)
{
	return (size_t)sprintf(buf, "f%u",
			       (unsigned int)(cfs_rng_u64(rng) % 24));
}

/* One of the root, or of a directory in it. */
static uint64_t some_dir(struct cfs_fs *fs, struct cfs_rng *rng)
{
	uint64_t ino = cfs_fs_root_ino(fs), found;
	struct cfs_inode inode;
	char name[16];

	if (cfs_fs_lookup(fs, ino, name, file_name(rng, name), &found, &inode,
			  NULL) == 0 &&
	    S_ISDIR(inode.mode))
		return found;
	return ino;
}

static void change_file(struct cfs_fs *fs, uint64_t ino, struct cfs_rng *rng)
{
	uint8_t *buf = malloc(40 * HEAL_BLOCK);
	uint64_t at = cfs_rng_u64(rng) % (60 * HEAL_BLOCK);
	size_t n = 1 + cfs_rng_u64(rng) % (40 * HEAL_BLOCK - 1), done;

	assert_non_null(buf);
	heal_fill(buf, n, cfs_rng_u64(rng));
	switch (cfs_rng_u64(rng) % 5) {
	case 0:
		(void)cfs_fs_truncate(fs, ino, at, NULL);
		break;
	case 1:
		(void)cfs_fs_punch_hole(fs, ino, at, n, NULL);
		break;
	case 2:
		(void)cfs_fs_xattr_set(fs, ino, "user.x", buf, n % 3000, 0,
				       NULL);
		break;
	default:
		(void)cfs_fs_write(fs, ino, at, buf, n, &done, NULL);
		break;
	}
	free(buf);
}

static void change_once(struct cfs_fs *fs, struct cfs_rng *rng)
{
	const uint64_t dir = some_dir(fs, rng), to = some_dir(fs, rng);
	char name[16], other[16];
	const size_t n = file_name(rng, name), k = file_name(rng, other);
	uint64_t ino;

	switch (cfs_rng_u64(rng) % 10) {
	case 0:
		(void)cfs_fs_mkdir(fs, dir, name, n, 0755, 1, 2, &ino, NULL);
		return;
	case 1:
		(void)cfs_fs_symlink(fs, dir, name, n, "to/some/where", 13, 3,
				     4, &ino, NULL);
		return;
	case 2:
		if (cfs_fs_unlink(fs, dir, name, n, NULL) < 0)
			(void)cfs_fs_rmdir(fs, dir, name, n, NULL);
		return;
	case 3:
		(void)cfs_fs_rename(fs, dir, name, n, to, other, k, 0, NULL);
		return;
	case 4:
		if (cfs_fs_lookup(fs, dir, name, n, &ino, NULL, NULL) == 0)
			(void)cfs_fs_link(fs, ino, to, other, k, NULL);
		return;
	default:
		if (cfs_fs_lookup(fs, dir, name, n, &ino, NULL, NULL) < 0 &&
		    cfs_fs_create(fs, dir, name, n, 0640, 5, 6, &ino, NULL) < 0)
			return;
		change_file(fs, ino, rng);
		return;
	}
}

static void change_tree(struct cfs_member *m, struct cfs_rng *rng)
{
	struct cfs_fs *fs;

	open_tree(m, &fs);
	for (unsigned int i = 0; i < 25; i++)
		change_once(fs, rng);
	cfs_fs_close(fs);
}

static void rollback(struct cfs_member *m, struct cfs_rng *rng, unsigned int i)
{
	if (i > 2 && cfs_rng_u64(rng) % 4 == 0)
		HEAL_OK(cfs_snapshot_rollback(
			m, CFS_VOLUME_FIRST,
			snap_name((unsigned int)(cfs_rng_u64(rng) % i)), NULL,
			&err_));
}

/* A row of snapshots, and what each of them shows. */
static void make_history(struct cfs_member *m, struct cfs_rng *rng,
			 uint64_t hashes[SNAPS])
{
	const bool is_lun = heal_volume(m).kind == CFS_VOLUME_LUN;

	for (unsigned int i = 0; i < SNAPS; i++) {
		if (is_lun)
			change_lun(m, rng);
		else
			change_tree(m, rng);
		heal_snapshot(m, snap_name(i));
		hashes[i] = stream_hash_snap(m, CFS_VOLUME_FIRST, snap_name(i));
		rollback(m, rng, i);
	}
}

static void send_one(struct cfs_member *from, struct heal_pool *to,
		     const char *base, const char *snap, size_t piece)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;

	stream_make(from, CFS_VOLUME_FIRST, CFS_VOLUME_FIRST, base, snap, NULL,
		    &buf);
	HEAL_OK(stream_verify(buf.data, buf.bytes, &err_));
	HEAL_OK(stream_take(to->pool, "copy", false, buf.data, buf.bytes, piece,
			    &err_));
}

/* The first whole, then some of the others as increments. */
static void run_history(uint64_t seed, bool is_lun, bool is_mirror)
{
	struct heal_pool a = heal_new(false, LUN_BLOCKS * HEAL_BLOCK);
	struct heal_pool b = heal_new(is_mirror, HEAL_BLOCK);
	struct cfs_member *m = is_lun ? a.lun : a.tree, *copy;
	uint64_t hashes[SNAPS];
	unsigned int base = 0;
	struct cfs_rng rng;

	cfs_rng_init(&rng, seed);
	make_history(m, &rng, hashes);
	send_one(m, &b, NULL, snap_name(0), 100000);
	for (unsigned int i = 1; i < SNAPS; i++) {
		copy = member_of(&b, "copy");
		if (stream_hash_snap(copy, CFS_VOLUME_FIRST, snap_name(base)) !=
			    hashes[base] ||
		    stream_hash_head(copy, CFS_VOLUME_FIRST) != hashes[base])
			fail_msg("seed %u: snapshot %u is another",
				 (unsigned int)seed, base);
		if (cfs_rng_u64(&rng) % 3 == 0)
			continue;
		send_one(m, &b, snap_name(base), snap_name(i),
			 1 + cfs_rng_u64(&rng) % 70000);
		base = i;
	}
	heal_check_clean(&b);
	heal_check_clean(&a);
	heal_free(&a);
	heal_free(&b);
}

static void test_lun_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		run_history(seed, true, seed % 2);
}

static void test_tree_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		run_history(seed, false, seed % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lun_histories),
		cmocka_unit_test(test_tree_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
