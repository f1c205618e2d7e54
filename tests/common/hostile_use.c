// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * All that tools do with a pool, one after the other.  What an enemy's pool
 * claims is not believed here either: each walk ends after a number of steps.
 */
#include "hostile.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "session/session_devices.h"
#include "volume/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STEPS_MAX  200u
#define READ_BYTES (64u << 10)
#define NAMES_MAX  16u

struct name {
	char volume[260], snap[128];
};

struct use {
	struct cfs_session *s;
	struct cfs_err err;
	uint8_t *buf;
	CFS_VEC(struct name) names;
};

/* An error says what it is about. */
static int said(struct use *u, int r)
{
	if (r < 0 && r != -ENXIO && r != -EINTR && !u->err.msg[0]) {
		fprintf(stderr, "hostile: %s without a word\n", strerror(-r));
		abort();
	}
	u->err = (struct cfs_err)CFS_ERR_INIT;
	return r;
}

/* ---- looking ------------------------------------------------------------- */

static int note_volume(void *arg, const struct cfs_volume_info *v)
{
	struct use *u = arg;
	struct name name = { .volume = "" };

	memcpy(name.volume, v->name, sizeof(name.volume));
	if (u->names.count < NAMES_MAX)
		(void)cfs_vec_push(&u->names, name);
	return 0;
}

static int note_snapshot(void *arg, const struct cfs_snapshot_info *i)
{
	struct use *u = arg;
	struct name name = { .volume = "" };

	memcpy(name.volume, i->volume, sizeof(name.volume));
	memcpy(name.snap, i->name, sizeof(name.snap));
	if (u->names.count < NAMES_MAX)
		(void)cfs_vec_push(&u->names, name);
	return 0;
}

static int see_problem(void *arg, const struct cfs_problem *p)
{
	unsigned int *left = arg;

	return strlen(p->text) < sizeof(p->text) && (*left)-- ? 0 : -EINTR;
}

static int see_damage(void *arg, const struct cfs_damage *d)
{
	unsigned int *left = arg;

	return d->kind && (*left)-- ? 0 : -EINTR;
}

static void look(struct use *u)
{
	struct cfs_pool_info info;
	struct cfs_check_result check;
	unsigned int left = STEPS_MAX;

	said(u, cfs_session_pool_info(u->s, &info, &u->err));
	u->names.count = 0;
	said(u, cfs_session_volumes(u->s, NULL, note_volume, u, &u->err));
	said(u, cfs_session_snapshots(u->s, NULL, true, note_snapshot, u,
				      &u->err));
	said(u, cfs_session_check(u->s, NULL, see_problem, &left, &check,
				  &u->err));
	left = STEPS_MAX;
	said(u, cfs_session_trace_bad(u->s, see_damage, &left, &u->err));
}

static void scrub(struct use *u, bool heals)
{
	const struct cfs_scrub_options opt = { .heals = heals,
					       .is_full = true };
	struct cfs_scrub_result result;
	unsigned int left = STEPS_MAX;

	said(u, cfs_session_scrub(u->s, NULL, &opt, see_damage, &left, &result,
				  &u->err));
}

/* ---- a LUN --------------------------------------------------------------- */

static void read_lun(struct use *u, struct cfs_io_volume *v)
{
	const uint64_t size = cfs_io_size_bytes(v);
	uint64_t at = 0, length;
	bool is_data;
	size_t good;

	for (unsigned int i = 0; i < STEPS_MAX && at < size; i++) {
		if (said(u, cfs_io_extent(v, at, size - at, &is_data, &length,
					  &u->err)) < 0)
			break;
		if (!length) {
			fputs("hostile: an extent of nothing\n", stderr);
			abort();
		}
		if (is_data)
			said(u, cfs_io_read(v, at, u->buf,
					    length < READ_BYTES ? length
								: READ_BYTES,
					    &good, &u->err));
		at += length;
	}
}

static void write_lun(struct use *u, struct cfs_io_volume *v)
{
	memset(u->buf, 0x5a, READ_BYTES);
	said(u, cfs_io_write(v, 100000, u->buf, 9000, &u->err));
	said(u, cfs_io_write(v, 320 << 10, u->buf, READ_BYTES, &u->err));
	said(u, cfs_io_discard(v, 4096, 200000, &u->err));
	said(u, cfs_io_sync(v, &u->err));
}

/* ---- a tree -------------------------------------------------------------- */

static void read_file(struct use *u, struct cfs_fs *fs, uint64_t ino)
{
	struct cfs_inode inode;
	uint64_t blocks, at = 0;
	size_t got;

	if (said(u, cfs_fs_getattr(fs, ino, &inode, &u->err)) < 0)
		return;
	said(u, cfs_fs_xattr_list(fs, ino, (char *)u->buf, READ_BYTES, &got,
				  &u->err));
	said(u, cfs_fs_xattr_get(fs, ino, "user.x", u->buf, READ_BYTES, &got,
				 &u->err));
	said(u, cfs_fs_block_count(fs, ino, &blocks, &u->err));
	if (S_ISLNK(inode.mode))
		said(u, cfs_fs_readlink(fs, ino, u->buf, READ_BYTES, &got,
					&u->err));
	for (unsigned int i = 0; S_ISREG(inode.mode) && i < 20; i++) {
		if (said(u, cfs_fs_seek(fs, ino, at, true, &at, &u->err)) < 0 ||
		    said(u, cfs_fs_read(fs, ino, at, u->buf, READ_BYTES, &got,
					&u->err)) < 0 ||
		    !got)
			break;
		at += got;
	}
}

static void walk(struct use *u, struct cfs_fs *fs, uint64_t dir,
		 unsigned int *left, unsigned int depth)
{
	struct cfs_fs_entry *list = calloc(8, sizeof(*list));
	uint64_t cookie = 0;
	size_t count = 1;

	assert(list);
	while (count && *left &&
	       said(u, cfs_fs_readdir(fs, dir, cookie, list, 8, &count,
				      &u->err)) == 0) {
		for (size_t i = 0; i < count && *left; i++) {
			const struct cfs_fs_entry *e = &list[i];

			--*left;
			cookie = e->next_cookie;
			if (!strcmp(e->name, ".") || !strcmp(e->name, ".."))
				continue;
			read_file(u, fs, e->ino);
			if (depth < 6)
				walk(u, fs, e->ino, left, depth + 1);
		}
	}
	free(list);
}

static void write_tree(struct use *u, struct cfs_fs *fs)
{
	const uint64_t root = cfs_fs_root_ino(fs);
	uint64_t ino, dir = root;

	(void)said(u, cfs_fs_lookup(fs, root, "d", 1, &dir, NULL, &u->err));
	if (said(u, cfs_fs_create(fs, dir, "new", 3, 0644, 1, 1, &ino,
				  &u->err)) == 0) {
		said(u,
		     cfs_fs_write(fs, ino, 5000, u->buf, 20000, NULL, &u->err));
		said(u, cfs_fs_truncate(fs, ino, 7000, &u->err));
		said(u,
		     cfs_fs_xattr_set(fs, ino, "user.y", "z", 1, 0, &u->err));
	}
	said(u, cfs_fs_rename(fs, dir, "new", 3, root, "f", 1, 0, &u->err));
	said(u, cfs_fs_rename(fs, root, "d", 1, root, "d2", 2, 0, &u->err));
	said(u, cfs_fs_unlink(fs, root, "l", 1, &u->err));
	said(u, cfs_fs_unlink(fs, dir, "g", 1, &u->err));
	said(u, cfs_fs_sync(fs, root, &u->err));
}

/* ---- everything ---------------------------------------------------------- */

static void use_volume(struct use *u, const struct name *name, bool writes)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *v = NULL;
	unsigned int left = STEPS_MAX;

	writes = writes && !name->snap[0];
	if (said(u, cfs_io_open(u->s, name->volume,
				name->snap[0] ? name->snap : NULL, writes, &v,
				&u->err)) < 0)
		return;
	if (cfs_io_kind(v) == CFS_VOLUME_LUN) {
		read_lun(u, v);
		if (writes)
			write_lun(u, v);
		return;
	}
	walk(u, cfs_io_fs(v), cfs_fs_root_ino(cfs_io_fs(v)), &left, 0);
	if (writes)
		write_tree(u, cfs_io_fs(v));
}

static void change_versions(struct use *u)
{
	const struct cfs_snap_name both[] = { { "a", "n" }, { "t", "n" } };
	uint64_t freed;

	said(u, cfs_session_snap_take(u->s, both, 2, "note", &u->err));
	said(u, cfs_session_snap_clone(u->s, "a", "s1", "k", &u->err));
	said(u, cfs_session_snap_rollback(u->s, "a", "s1", NULL, &u->err));
	said(u, cfs_session_snap_remove(u->s, "t", "s0", &freed, &u->err));
	said(u, cfs_session_remove_volume(u->s, "a/c", true, &u->err));
	said(u, cfs_session_create(u->s, "b", CFS_VOLUME_LUN, UINT64_C(1) << 20,
				   0, false, &u->err));
	said(u, cfs_session_remove_volume(u->s, "t", true, &u->err));
}

/* The session has the device from now on, whatever comes of it. */
static bool open_it(struct use *u, struct hostile *h, const uint8_t *edits,
		    size_t bytes, bool is_writable)
{
	const struct cfs_session_options opt = {
		.is_writable = is_writable,
		.ignores_damage = !is_writable,
	};
	struct cfs_dev *dev;

	if (hostile_device(h, edits, bytes, &dev, &u->err) < 0)
		abort();
	return said(u, cfs_session_open_devices(&dev, 1, &opt, &u->s,
						&u->err)) == 0;
}

static void use_to_read(struct use *u)
{
	look(u);
	scrub(u, false);
	for (size_t i = 0; i < u->names.count; i++)
		use_volume(u, &u->names.items[i], false);
	said(u, cfs_session_close(u->s, &u->err));
}

static void use_to_write(struct use *u)
{
	u->names.count = 0;
	said(u, cfs_session_volumes(u->s, NULL, note_volume, u, &u->err));
	for (size_t i = 0; i < u->names.count; i++)
		use_volume(u, &u->names.items[i], true);
	change_versions(u);
	scrub(u, true);
	look(u);
	said(u, cfs_session_close(u->s, &u->err));
}

int hostile_use(struct hostile *h, const uint8_t *edits, size_t bytes)
{
	struct use u = { .err = CFS_ERR_INIT, .buf = malloc(READ_BYTES) };
	int far = 0;

	assert(u.buf);
	if (open_it(&u, h, edits, bytes, false)) {
		use_to_read(&u);
		far = 1;
	}
	if (open_it(&u, h, edits, bytes, true)) {
		use_to_write(&u);
		far = 2;
	}
	cfs_vec_done(&u.names);
	free(u.buf);
	return far;
}
