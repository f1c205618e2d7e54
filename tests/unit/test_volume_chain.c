/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rollback behind rollback: each is a branch of the one before, and there is no
 * end to them.  What was written at the bottom is seen at the top, names as
 * well as bytes; and what was written behind each snapshot is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "heal_fixture.h"

#define DEPTH 100u
#define LAP   10u

static void name_of(char prefix, unsigned int i, char ret[16])
{
	(void)snprintf(ret, 16, "%c%u", prefix, i);
}

static void go_back(struct cfs_member *m, unsigned int i)
{
	char name[16];

	name_of('s', i, name);
	heal_snapshot(m, name);
	if (m->rec.kind == CFS_VOLUME_LUN) {
		heal_write(m, i, 1, 4711);
	} else {
		name_of('x', i, name);
		(void)heal_file(m, name, 1, 4711);
	}
	name_of('s', i, name);
	HEAL_OK(cfs_snapshot_rollback(m, CFS_VOLUME_FIRST, name, NULL, &err_));
}

static int look_up(struct cfs_member *m, char prefix, unsigned int i)
{
	const struct cfs_volume_rec rec = heal_volume(m);
	struct cfs_inode inode;
	struct cfs_view view;
	struct cfs_fs *fs;
	char name[16];
	uint64_t ino;
	int r;

	name_of(prefix, i, name);
	cfs_volume_view(m, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	r = cfs_fs_lookup(fs, rec.ino, name, strlen(name), &ino, &inode, NULL);
	cfs_fs_close(fs);
	return r;
}

static void test_names(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(8) << 20);
	char name[16];

	(void)state;
	for (unsigned int i = 0; i < DEPTH; i++) {
		if (i % LAP == 0) {
			name_of('f', i, name);
			(void)heal_file(h.tree, name, 1, i);
		}
		go_back(h.tree, i);
	}
	heal_reopen(&h);
	for (unsigned int i = 0; i < DEPTH; i += LAP)
		assert_int_equal(look_up(h.tree, 'f', i), 0);
	for (unsigned int i = 0; i < DEPTH; i++)
		assert_int_equal(look_up(h.tree, 'x', i), -ENOENT);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_bytes(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(8) << 20);

	(void)state;
	for (unsigned int i = 0; i < DEPTH; i += LAP)
		heal_write(h.lun, i, LAP, 1 + i);
	for (unsigned int i = 0; i < DEPTH; i++)
		go_back(h.lun, i);
	heal_reopen(&h);
	for (unsigned int i = 0; i < DEPTH; i += LAP)
		assert_int_equal(heal_read(h.lun, i, LAP, 1 + i), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
