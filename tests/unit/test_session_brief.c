/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a volume is can be asked for without reading its map: the walk that
 * counts its space is replaced by one that counts how often it is asked for.
 * So a mount can look at a LUN of any size at each stat.
 */
#include "volume/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc_fixture.h"

#define MIB (UINT64_C(1) << 20)

static unsigned int walk_count;

int cfs_volume_space(struct cfs_member *m, uint64_t volume,
		     struct cfs_volume_space *ret, struct cfs_err *err)
{
	(void)m;
	(void)volume;
	(void)err;
	walk_count++;
	*ret = (struct cfs_volume_space){ .used_blocks = 3,
					  .shared_blocks = 2,
					  .inode_count = 1 };
	return 0;
}

static int add_size(void *arg, const struct cfs_volume_info *v)
{
	*(uint64_t *)arg += v->size_bytes + v->used_bytes;
	return 0;
}

static int count_one(void *arg, const struct cfs_snapshot_info *info)
{
	(void)info;
	++*(unsigned int *)arg;
	return 0;
}

/* Differs from what is counted in nothing but the counts. */
static void compare(struct cfs_session *s, const char *name)
{
	struct cfs_volume_info all, brief;
	const unsigned int before = walk_count;

	OK(cfs_session_volume_brief(s, name, &brief, E));
	assert_int_equal(walk_count, before);
	assert_int_equal(brief.used_bytes, 0);
	OK(cfs_session_volume(s, name, &all, E));
	assert_int_equal(walk_count, before + 1);
	assert_int_equal(all.used_bytes, 3 * 4096);
	assert_int_equal(all.shared_bytes, 2 * 4096);
	assert_int_equal(all.inode_count, 1);
	all.used_bytes = all.shared_bytes = all.inode_count = 0;
	if (all.kind == CFS_VOLUME_TREE)
		all.size_bytes = 0;
	assert_string_equal(all.state, brief.state);
	all.state = brief.state;
	assert_memory_equal(&all, &brief, sizeof(all));
}

static void looks(struct cfs_session *s)
{
	struct cfs_snapshot_info snapshot;
	struct cfs_io_volume *io;
	unsigned int before, snapshot_count = 0;
	uint64_t sum = 0;

	compare(s, "vm0");
	compare(s, "vm0/c1");
	compare(s, "t0");
	before = walk_count;
	OK(cfs_io_open(s, "vm0", NULL, false, &io, E));
	assert_int_equal(cfs_io_size_bytes(io), 8 * MIB);
	cfs_io_close(io);
	OK(cfs_session_volumes_brief(s, NULL, add_size, &sum, E));
	OK(cfs_session_snapshots(s, "vm0", false, count_one, &snapshot_count,
				 E));
	assert_int_equal(snapshot_count, 1);
	OK(cfs_session_snapshots(s, NULL, false, count_one, &snapshot_count,
				 E));
	OK(cfs_session_snapshot_brief(s, "vm0", "a", &snapshot, E));
	assert_string_equal(snapshot.name, "a");
	assert_int_equal(walk_count, before);
	assert_int_equal(sum, 2 * 8 * MIB);
	OK(cfs_session_volumes(s, NULL, add_size, &sum, E));
	assert_int_equal(walk_count, before + 3);
	OK(cfs_session_snapshot(s, "vm0", "a", &snapshot, E));
	assert_int_equal(walk_count, before + 4);
}

static void maps_are_not_read(void **state)
{
	const struct cfs_snap_name name = { "vm0", "a" };
	struct cfs_session *c = client_open(NULL);

	(void)state;
	OK(cfs_session_create(c, "vm0", CFS_VOLUME_LUN, 8 * MIB, 0, false, E));
	OK(cfs_session_create(c, "t0", CFS_VOLUME_TREE, 0, 0, false, E));
	OK(cfs_session_snap_take(c, &name, 1, NULL, E));
	OK(cfs_session_snap_clone(c, "vm0", "a", "c1", E));
	looks(manager.session);
	looks(c);
	client_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_are_not_read),
	};

	return cmocka_run_group_tests(tests, manager_setup, manager_teardown);
}
