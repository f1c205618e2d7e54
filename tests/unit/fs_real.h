/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A real container on memory devices as the surroundings of a tree; see
 * fs_fixture.h.  Slices are handed out in order.  A crash drops the container
 * with all that it has in memory and opens it again from the devices.
 */
#pragma once

#include "pool/metavolume.h"
#include "pool_fixture.h"
#include "tree/container_open.h"
#include "volume/vols.h"

#define FAKE_BRANCH     1u
#define REAL_POOL_BYTES (UINT64_C(256) << 20)
#define REAL_SLICE_MAX  256u

struct real {
	struct cfs_devset *set;
	struct cfs_vols *vols;
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	uint32_t slice_count; /* of the device */
	uint32_t used_count;
};

static int real_map(struct real *real, struct cfs_metavolume *mv,
		    uint64_t lslice)
{
	const struct cfs_piece pieces[CFS_PIECES_MAX] = {
		{ .device_index = 0,
		  .flags = CFS_PIECE_USED,
		  .slice_index = (uint32_t)lslice,
		  .generation = 1 },
	};
	struct cfs_err err = CFS_ERR_INIT;

	(void)real;
	return cfs_metavolume_set(mv, lslice, pieces, &err);
}

static int real_more(void *ctx, struct cfs_container *c, unsigned int count,
		     struct cfs_err *err)
{
	struct real *real = ctx;

	if (real->used_count == real->slice_count)
		return cfs_err_set(err, -ENOSPC, "the pool is full");
	for (; count && real->used_count < real->slice_count; count--) {
		uint64_t lslice = real->used_count++;
		int r = real_map(real, cfs_container_metavolume(c), lslice);

		assert(r == 0);
		(void)r;
		cfs_container_slice_added(c, lslice);
	}
	return 0;
}

static bool real_has_plenty(void *ctx)
{
	struct real *real = ctx;

	return real->slice_count - real->used_count > real->slice_count / 4;
}

static const struct cfs_slice_source real_source = {
	.more = real_more,
	.has_plenty = real_has_plenty,
};

/* Configuration for making or opening it, with the slices there are. */
static struct cfs_container_config real_config(struct real *real,
					       struct cfs_err *err)
{
	struct cfs_container_config config = {
		.uuid = "a container uuid",
		.epoch = 1,
		.copies = 2,
		.cache_bytes = 1 << 20,
		.hooks = &cfs_vols_hooks,
		.source = &real_source,
		.source_ctx = real,
	};
	uint64_t lslice;
	int r;

	memcpy(config.root_vaddr, real->root_vaddr, sizeof(real->root_vaddr));
	r = cfs_vols_new(&real->vols, err);
	assert_int_equal(r, 0);
	config.hooks_ctx = real->vols;
	r = cfs_metavolume_new(real->set, 1, &config.mv, err);
	assert_int_equal(r, 0);
	for (lslice = 0; lslice < real->used_count; lslice++)
		assert_int_equal(real_map(real, config.mv, lslice), 0);
	return config;
}

/* In an operation. */
static void real_branch_put(struct fixture *f, uint16_t branch, uint16_t parent,
			    uint64_t fork_stamp)
{
	struct cfs_key key = { .w = {
				       cfs_table_word(CFS_TABLE_BRANCH, branch),
			       } };
	struct cfs_branch_rec rec = {
		.volume = branch,
		.state = CFS_OBJECT_LIVE,
		.parent = parent,
		.fork_stamp = fork_stamp,
		.created_stamp = cfs_container_stamp(f->c),
	};
	struct cfs_branch_rec_disk disk;

	cfs_branch_rec_pack(&rec, &disk);
	assert_int_equal(
		cfs_container_put(f->c, &key, &disk, sizeof(disk), &f->err), 0);
}

static void real_make_tree(struct fixture *f)
{
	struct cfs_view view = { f->c, f->branch, CFS_STAMP_HEAD };
	uint64_t ino = 0;

	assert_int_equal(cfs_op_begin(f->c, CFS_OP_NORMAL, &f->err), 0);
	real_branch_put(f, f->branch, 0, 0);
	assert_int_equal(cfs_fs_make_root(f->c, f->branch, 0755, 0, 0, 1000,
					  &ino, &f->err),
			 0);
	cfs_op_end(f->c);
	assert_int_equal(cfs_fs_open(&view, ino, 42, &f->fs, &f->err), 0);
}

static void env_open(struct fixture *f)
{
	struct cfs_container_config config;
	struct real *real = calloc(1, sizeof(*real));

	assert_non_null(real);
	f->real = real;
	real->set = pool_fixture_mem(1, REAL_POOL_BYTES, 0, &f->err);
	assert_non_null(real->set);
	real->slice_count =
		(uint32_t)cfs_devset_label(real->set, 0)->slice_count;
	assert_true(real->slice_count <= REAL_SLICE_MAX);
	real->used_count = 2;
	config = real_config(real, &f->err);
	assert_int_equal(
		cfs_container_create(&config, real->root_vaddr, &f->c, &f->err),
		0);
	cfs_vols_attach(real->vols, f->c);
	real_make_tree(f);
}

static void env_close(struct fixture *f)
{
	assert_int_equal(cfs_container_close(f->c, &f->err), 0);
	cfs_vols_free(f->real->vols);
	cfs_devset_close(f->real->set);
	free(f->real);
}

/* Faults of single records are the fake's business. */
FAKE_UNUSED static void env_fault(struct fixture *f, unsigned int nth)
{
	(void)f;
	(void)nth;
}

/* Of the newest versions: what is kept for snapshots does not count. */
FAKE_UNUSED static uint64_t env_record_count(struct fixture *f)
{
	uint64_t n;

	cfs_container_lock(f->c);
	n = cfs_tree_record_count(cfs_container_tree(f->c, CFS_TREE_LIVE));
	cfs_container_unlock(f->c);
	return n;
}

FAKE_UNUSED static void env_crash(struct fixture *f)
{
	struct cfs_container_config config;
	int r;

	cfs_container_drop(f->c);
	cfs_vols_free(f->real->vols);
	config = real_config(f->real, &f->err);
	r = cfs_container_open(&config, &f->c, &f->err);
	if (r < 0)
		print_message("open: %s\n", f->err.msg);
	assert_int_equal(r, 0);
}

FAKE_UNUSED static bool env_snapshot(struct fixture *f, struct cfs_view *ret)
{
	struct cfs_snapshot_rec rec = { .name = "s", .branch = f->branch };
	uint8_t buf[CFS_SNAPSHOT_REC_BYTES_MAX];
	struct cfs_key key = { .w = {
				       cfs_table_word(CFS_TABLE_SNAPSHOT,
						      f->branch),
			       } };

	assert_int_equal(cfs_op_begin(f->c, CFS_OP_NORMAL, &f->err), 0);
	key.w[1] = cfs_container_stamp(f->c);
	assert_int_equal(cfs_container_put(f->c, &key, buf,
					   cfs_snapshot_rec_pack(&rec, buf),
					   &f->err),
			 0);
	assert_int_equal(cfs_container_raise_stamp(f->c, &f->err), 0);
	cfs_op_end(f->c);
	*ret = (struct cfs_view){ f->c, f->branch, key.w[1] };
	return true;
}

/* From now on the fixture's branch is a new one that begins as @origin. */
FAKE_UNUSED static bool env_clone(struct fixture *f,
				  const struct cfs_view *origin)
{
	/* Dirty pages that the clone sees must be home before it hides them. */
	assert_int_equal(cfs_container_commit(f->c, &f->err), 0);
	assert_int_equal(cfs_op_begin(f->c, CFS_OP_NORMAL, &f->err), 0);
	f->branch++;
	real_branch_put(f, f->branch, origin->branch, origin->stamp);
	cfs_op_end(f->c);
	return true;
}
