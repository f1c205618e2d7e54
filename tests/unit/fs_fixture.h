/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tests of tree volumes begin and end with: an empty tree, whose clock
 * stands, and a check of it when the test is over.  It is on the fake
 * container, or with FS_REAL defined on a real one on memory devices.
 */
#pragma once

#include "volume/fs_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/rng.h"
#include "base/vec.h"

#define FAKE_UNUSED __attribute__((unused))
#define N(name)     (name), (sizeof(name) - 1)
#define ROOT        cfs_fs_root_ino(f->fs)

struct fixture {
	struct cfs_container *c;
	struct cfs_fs *fs;
	struct cfs_clock_manual clock;
	struct cfs_err err;
	uint16_t branch;
	struct real *real;
};

#ifdef FS_REAL
#include "fs_real.h"
#else
#include "fake_map.h"
#include "fs_fake.h"
#endif

FAKE_UNUSED static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert(f);
	f->branch = FAKE_BRANCH;
	env_open(f);
	cfs_clock_manual_init(&f->clock, 0, 5000);
	cfs_fs_set_clock(f->fs, &f->clock.clock);
	*state = f;
	return 0;
}

static int problem_print(void *arg, enum cfs_fs_problem kind, uint64_t ino,
			 const char *text)
{
	(void)kind;
	(void)ino;
	print_message("%s\n", text);
	++*(unsigned int *)arg;
	return 0;
}

static void assert_sound(struct fixture *f)
{
	unsigned int problem_count = 0;
	struct cfs_fs_check check = {
		.problem = problem_print,
		.arg = &problem_count,
	};

	assert_int_equal(cfs_fs_check(f->fs, &check, NULL, &f->err), 0);
	assert_int_equal(problem_count, 0);
}

FAKE_UNUSED static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_sound(f);
	cfs_fs_close(f->fs);
	env_close(f);
	free(f);
	return 0;
}

FAKE_UNUSED static uint64_t make(struct fixture *f, uint64_t dir,
				 const char *name)
{
	uint64_t ino = 0;

	assert_int_equal(cfs_fs_create(f->fs, dir, name, strlen(name), 0644, 1,
				       2, &ino, &f->err),
			 0);
	return ino;
}

FAKE_UNUSED static uint64_t make_dir(struct fixture *f, uint64_t dir,
				     const char *name)
{
	uint64_t ino = 0;

	assert_int_equal(cfs_fs_mkdir(f->fs, dir, name, strlen(name), 0755, 1,
				      2, &ino, &f->err),
			 0);
	return ino;
}

FAKE_UNUSED static struct cfs_inode attr(struct fixture *f, uint64_t ino)
{
	struct cfs_inode inode;

	assert_int_equal(cfs_fs_getattr(f->fs, ino, &inode, &f->err), 0);
	return inode;
}

/* The inode that a path stands for, or a negative errno. */
FAKE_UNUSED static int64_t at(struct fixture *f, const char *path)
{
	uint64_t ino = 0;
	int r = cfs_fs_resolve(f->fs, ROOT, path, strlen(path),
			       CFS_FS_FOLLOW_NONE, &ino, &f->err);

	return r < 0 ? r : (int64_t)ino;
}

FAKE_UNUSED static int mv(struct fixture *f, const char *from, const char *to,
			  uint32_t flags)
{
	const char *from_name, *to_name;
	uint64_t from_dir, to_dir;
	size_t from_bytes, to_bytes;
	int r;

	r = cfs_fs_resolve_parent(f->fs, ROOT, from, strlen(from),
				  CFS_FS_FOLLOW_NONE, &from_dir, &from_name,
				  &from_bytes, &f->err);
	assert_int_equal(r, 0);
	r = cfs_fs_resolve_parent(f->fs, ROOT, to, strlen(to),
				  CFS_FS_FOLLOW_NONE, &to_dir, &to_name,
				  &to_bytes, &f->err);
	assert_int_equal(r, 0);
	return cfs_fs_rename(f->fs, from_dir, from_name, from_bytes, to_dir,
			     to_name, to_bytes, flags, &f->err);
}
