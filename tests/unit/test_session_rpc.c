/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A session on a pool that another process holds does what one does that
 * holds it: the same results, the same errors in the same words; and what a
 * connection had open ends with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc_fixture.h"

#include "base/rng.h"
#include "session/io_ops.h"

#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

static void make_lun(const char *name, uint64_t bytes)
{
	OK(cfs_session_create(manager.session, name, CFS_VOLUME_LUN, bytes, 0,
			      false, E));
}

static void make_tree(const char *name)
{
	OK(cfs_session_create(manager.session, name, CFS_VOLUME_TREE, 0, 0,
			      false, E));
}

static void drop(const char *name)
{
	OK(cfs_session_remove_volume(manager.session, name, true, E));
}

/* ---- information --------------------------------------------------------- */

struct seen {
	unsigned int count;
	char text[8192];
	int stop_at;
};

static int see_volume(void *arg, const struct cfs_volume_info *v)
{
	struct seen *s = arg;

	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text),
		 "%s %u %lu %lu %s %s;", v->name, v->kind, v->size_bytes,
		 v->snapshot_count, v->origin, v->state);
	return ++s->count == (unsigned int)s->stop_at ? 42 : 0;
}

static int see_device(void *arg, const struct cfs_device_info *d)
{
	struct seen *s = arg;

	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text),
		 "%s %s %s %lu %lu;", d->path, d->kind, d->state,
		 d->slice_count, d->free_slices);
	s->count++;
	return 0;
}

static int see_slice(void *arg, const struct cfs_slice_info *i)
{
	struct seen *s = arg;

	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text),
		 "%lu %s %s %lu;", i->slice_index, i->use, i->container,
		 i->used_blocks);
	s->count++;
	return 0;
}

static int see_snapshot(void *arg, const struct cfs_snapshot_info *i)
{
	struct seen *s = arg;

	snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text),
		 "%s@%s %s %d %lu %lu %s;", i->volume, i->name, i->note,
		 i->is_held, i->size_bytes, i->exclusive_bytes, i->branch_of);
	s->count++;
	return 0;
}

/* What both sides say, each in its text. */
static void compare_lists(struct cfs_session *c)
{
	struct seen here[4] = { { 0 } }, there[4] = { { 0 } };
	struct cfs_session *s[2] = { manager.session, c };
	struct seen *all[2] = { here, there };

	for (int i = 0; i < 2; i++) {
		OK(cfs_session_volumes(s[i], NULL, see_volume, &all[i][0], E));
		OK(cfs_session_devices(s[i], see_device, &all[i][1], E));
		OK(cfs_session_slices(s[i], NULL, see_slice, &all[i][2], E));
		OK(cfs_session_snapshots(s[i], NULL, true, see_snapshot,
					 &all[i][3], E));
	}
	for (int i = 0; i < 4; i++) {
		assert_true(here[i].count > 0);
		assert_int_equal(here[i].count, there[i].count);
		assert_string_equal(here[i].text, there[i].text);
	}
}

static void says_the_same(void **state)
{
	struct cfs_session *c = client_open(NULL);
	const struct cfs_snap_name names[] = { { "vm0", "a" }, { "t0", "b" } };
	struct cfs_volume_info here, there;
	struct cfs_pool_info a, b;

	(void)state;
	OK(cfs_session_create(c, "vm0", CFS_VOLUME_LUN, 8 * MIB, 0, false, E));
	OK(cfs_session_create(c, "t0", CFS_VOLUME_TREE, 0, 0, false, E));
	OK(cfs_session_snap_take(c, names, 2, "a note", E));
	OK(cfs_session_snap_clone(c, "vm0", "a", "c1", E));
	OK(cfs_session_snap_hold(c, "t0", "b", true, E));
	OK(cfs_session_set(c, NULL, "label", "tank", E));
	compare_lists(c);
	OK(cfs_session_pool_info(manager.session, &a, E));
	OK(cfs_session_pool_info(c, &b, E));
	assert_string_equal(b.name, "tank");
	assert_memory_equal(&a, &b, sizeof(a));
	OK(cfs_session_volume(manager.session, "vm0/c1", &here, E));
	OK(cfs_session_volume(c, "vm0/c1", &there, E));
	assert_string_equal(here.state, there.state);
	there.state = here.state;
	assert_memory_equal(&here, &there, sizeof(here));
	OK(cfs_session_snap_hold(c, "t0", "b", false, E));
	client_close(c);
	drop("vm0");
	drop("t0");
}

static void a_callback_ends_the_list(void **state)
{
	struct cfs_session *c = client_open(NULL);
	struct seen seen = { .stop_at = 2 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_pool_info info;

	(void)state;
	make_lun("a", MIB);
	make_lun("b", MIB);
	make_lun("c", MIB);
	assert_int_equal(cfs_session_volumes(c, NULL, see_volume, &seen, &err),
			 42);
	assert_int_equal(seen.count, 2);
	OK(cfs_session_pool_info(c, &info, E));
	client_close(c);
	drop("a");
	drop("b");
	drop("c");
}

/* ---- errors -------------------------------------------------------------- */

typedef int (*failing_fn)(struct cfs_session *s, struct cfs_err *err);

static int fail_open(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_io_volume *v;

	return cfs_io_open(s, "nothing", NULL, false, &v, err);
}

static int fail_snap(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_io_volume *v;

	return cfs_io_open(s, "vm0", "none", false, &v, err);
}

static int fail_create(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_create(s, "vm0", CFS_VOLUME_LUN, MIB, 0, false, err);
}

static int fail_size(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_create(s, "vm1", CFS_VOLUME_LUN, 4097, 0, false,
				  err);
}

static int fail_remove(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_remove_volume(s, "vm0", false, err);
}

static int fail_key(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_set(s, NULL, "colour", "red", err);
}

static int fail_held(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_snap_remove(s, "vm0", "a", NULL, err);
}

static int fail_trace(struct cfs_session *s, struct cfs_err *err)
{
	return cfs_session_trace_at(s, "/dev/null", 0, NULL, NULL, err);
}

static int fail_check(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_check_result result;

	return cfs_session_check(s, "nothing", NULL, NULL, &result, err);
}

static int fail_range(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_io_volume *v;
	char buf[16];
	int r;

	OK(cfs_io_open(s, "vm0", NULL, false, &v, E));
	r = cfs_io_read(v, 8 * MIB - 8, buf, sizeof(buf), NULL, err);
	cfs_io_close(v);
	return r;
}

static int fail_write(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_io_volume *v;
	int r;

	OK(cfs_io_open(s, "vm0", NULL, false, &v, E));
	r = cfs_io_write(v, 0, "x", 1, err);
	cfs_io_close(v);
	return r;
}

static void fails_in_the_same_words(void **state)
{
	static const failing_fn all[] = {
		fail_open,   fail_snap,  fail_create, fail_size,
		fail_remove, fail_key,   fail_held,   fail_trace,
		fail_check,  fail_range, fail_write,
	};
	const struct cfs_snap_name name = { "vm0", "a" };
	struct cfs_session *c = client_open(NULL);

	(void)state;
	make_lun("vm0", 8 * MIB);
	OK(cfs_session_snap_take(c, &name, 1, NULL, E));
	OK(cfs_session_snap_hold(c, "vm0", "a", true, E));
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct cfs_err here = CFS_ERR_INIT, there = CFS_ERR_INIT;
		int r = all[i](manager.session, &here);

		assert_true(r < 0);
		assert_int_equal(all[i](c, &there), r);
		assert_string_equal(here.msg, there.msg);
		assert_int_equal(here.code, there.code);
	}
	OK(cfs_session_snap_hold(c, "vm0", "a", false, E));
	client_close(c);
	drop("vm0");
}

static void a_reader_changes_nothing(void **state)
{
	const struct cfs_session_options opt = { .is_writable = false };
	struct cfs_session *c = client_open(&opt);
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	assert_int_equal(
		cfs_session_create(c, "x", CFS_VOLUME_TREE, 0, 0, false, &err),
		-EROFS);
	assert_string_equal(err.msg, "opened to read only");
	client_close(c);
}

/* ---- LUNs ---------------------------------------------------------------- */

#define PARTS 70u

/* @model: what stands from byte 1001 on; behind the LUN is nothing. */
static void read_many(struct cfs_session *s, const uint8_t *model, size_t bytes,
		      uint8_t *buf)
{
	struct cfs_io_part parts[PARTS];
	struct cfs_err err = CFS_ERR_INIT;
	const size_t each = bytes / PARTS;
	struct cfs_io_volume *v;

	memset(buf, 0, bytes);
	for (size_t i = 0; i < PARTS; i++)
		parts[i] = (struct cfs_io_part){
			.offset_bytes = 1001 + (i * 11 % PARTS) * each,
			.buf = buf + (i * 11 % PARTS) * each,
			.length_bytes = each,
		};
	OK(cfs_io_open(s, "vm0", NULL, false, &v, E));
	OK(cfs_io_read_many(v, parts, PARTS, E));
	for (size_t i = 0; i < PARTS; i++)
		assert_int_equal(parts[i].result, 0);
	assert_memory_equal(buf, model, each * PARTS);
	memset(buf, 0, bytes);
	parts[5].offset_bytes = 16 * MIB;
	assert_int_equal(cfs_io_read_many(v, parts, PARTS, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "offset 16777216"));
	for (size_t i = 0; i < PARTS; i++) {
		const size_t at = i * 11 % PARTS * each;

		assert_int_equal(parts[i].result, i == 5 ? -EINVAL : 0);
		if (i != 5)
			assert_memory_equal(buf + at, model + at, each);
	}
	cfs_io_close(v);
}

static void lun_bytes_travel(void **state)
{
	const size_t bytes = 5 * MIB + 333;
	struct cfs_session *c = client_open(NULL);
	uint8_t *out = malloc(bytes), *in = malloc(bytes);
	struct cfs_rng rng;
	struct cfs_io_volume *v;
	uint64_t at;
	size_t good;

	(void)state;
	assert_true(out && in);
	cfs_rng_init(&rng, 7);
	for (size_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)cfs_rng_u64(&rng);
	make_lun("vm0", 16 * MIB);
	OK(cfs_io_open(c, "vm0", NULL, true, &v, E));
	assert_int_equal(cfs_io_kind(v), CFS_VOLUME_LUN);
	assert_int_equal(cfs_io_size_bytes(v), 16 * MIB);
	OK(cfs_io_write(v, 1001, out, bytes, E));
	OK(cfs_io_sync(v, E));
	OK(cfs_io_read(v, 1001, in, bytes, &good, E));
	assert_int_equal(good, bytes);
	assert_memory_equal(in, out, bytes);
	read_many(c, out, bytes, in);
	read_many(manager.session, out, bytes, in);
	OK(cfs_io_discard(v, 0, 2 * MIB, E));
	OK(cfs_io_seek(v, 0, true, &at, E));
	assert_int_equal(at, 2 * MIB);
	assert_int_equal(cfs_io_seek(v, 12 * MIB, true, &at, NULL), -ENXIO);
	OK(cfs_io_read(v, 0, in, 4096, NULL, E));
	for (size_t i = 0; i < 4096; i++)
		assert_int_equal(in[i], 0);
	cfs_io_close(v);
	client_close(c);
	drop("vm0");
	free(in);
	free(out);
}

/* ---- trees --------------------------------------------------------------- */

static void tree_names(struct cfs_fs *fs)
{
	const uint64_t root = cfs_fs_root_ino(fs);
	struct cfs_fs_entry entries[300];
	struct cfs_buf path = CFS_BUF_INIT;
	uint64_t dir, ino, link, cookie = 0, count = 0;
	char name[32], target[16];
	size_t n;

	OK(cfs_fs_mkdir(fs, root, "dir", 3, 0755, 0, 0, &dir, E));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		OK(cfs_fs_create(fs, dir, name, strlen(name), 0644, 1, 2, &ino,
				 E));
	}
	do {
		OK(cfs_fs_readdir(fs, dir, cookie, entries, 300, &n, E));
		if (n)
			cookie = entries[n - 1].next_cookie;
		count += n;
	} while (n);
	assert_int_equal(count, 302);
	OK(cfs_fs_symlink(fs, root, "link", 4, "dir/file7", 9, 0, 0, &link, E));
	OK(cfs_fs_readlink(fs, link, target, sizeof(target), &n, E));
	assert_int_equal(n, 9);
	assert_memory_equal(target, "dir/file7", 9);
	OK(cfs_fs_resolve(fs, root, "link", 4, CFS_FS_FOLLOW_ALL, &ino, E));
	OK(cfs_fs_path_of(fs, ino, &path, E));
	assert_string_equal(cfs_buf_text(&path), "/dir/file7");
	cfs_buf_donep(&path);
	OK(cfs_fs_rename(fs, dir, "file7", 5, root, "seven", 5, 0, E));
	OK(cfs_fs_unlink(fs, root, "seven", 5, E));
	assert_int_equal(cfs_fs_rmdir(fs, root, "dir", 3, NULL), -ENOTEMPTY);
}

/* A file whose first megabyte and attributes are longer than a message. */
static void tree_big_file(struct cfs_fs *fs)
{
	const size_t bytes = MIB;
	uint8_t *data = malloc(3 * bytes), *back = malloc(3 * bytes);
	const struct cfs_fs_xattr xattr = { "user.big", data, 60000 };
	struct cfs_fs_spec spec = {
		.mode = S_IFREG | 0600,
		.data = data,
		.data_bytes = bytes,
		.xattrs = &xattr,
		.xattr_count = 1,
	};
	struct cfs_inode inode;
	uint64_t ino, at;
	size_t n;

	assert_true(data && back);
	for (size_t i = 0; i < 3 * bytes; i++)
		data[i] = (uint8_t)(i * 7 + i / 4096 + 1);
	OK(cfs_fs_create_with(fs, cfs_fs_root_ino(fs), "big", 3, &spec, &ino,
			      &inode, E));
	assert_int_equal(inode.size_bytes, bytes);
	OK(cfs_fs_write(fs, ino, bytes, data + bytes, 2 * bytes, &n, E));
	assert_int_equal(n, 2 * bytes);
	OK(cfs_fs_read(fs, ino, 0, back, 3 * bytes, &n, E));
	assert_int_equal(n, 3 * bytes);
	assert_memory_equal(data, back, n);
	OK(cfs_fs_read(fs, ino, 3 * bytes - 10, back, 100, &n, E));
	assert_int_equal(n, 10);
	OK(cfs_fs_xattr_get(fs, ino, "user.big", NULL, 0, &n, E));
	assert_int_equal(n, 60000);
	OK(cfs_fs_xattr_get(fs, ino, "user.big", back, n, &n, E));
	assert_memory_equal(data, back, n);
	OK(cfs_fs_xattr_list(fs, ino, (char *)back, 100, &n, E));
	assert_int_equal(n, 9);
	OK(cfs_fs_punch_hole(fs, ino, 0, bytes, E));
	OK(cfs_fs_seek(fs, ino, 0, true, &at, E));
	assert_int_equal(at, bytes);
	OK(cfs_fs_truncate(fs, ino, 5, E));
	OK(cfs_fs_getattr(fs, ino, &inode, E));
	assert_int_equal(inode.size_bytes, 5);
	assert_int_equal(inode.mode, S_IFREG | 0600);
	free(data);
	free(back);
}

static void trees_work(void **state)
{
	struct cfs_session *c = client_open(NULL);
	const struct cfs_fs_attr attr = {
		.mask = CFS_FS_SET_MODE | CFS_FS_SET_MTIME,
		.mode = 0700,
		.mtime_ns = -5,
	};
	struct cfs_fs_space space;
	struct cfs_io_volume *v;
	struct cfs_inode inode;
	struct cfs_fs *fs;

	(void)state;
	make_tree("t0");
	OK(cfs_io_open(c, "t0", NULL, true, &v, E));
	fs = cfs_io_fs(v);
	assert_non_null(fs);
	assert_true(cfs_fs_is_writable(fs));
	tree_names(fs);
	tree_big_file(fs);
	OK(cfs_fs_setattr(fs, cfs_fs_root_ino(fs), &attr, &inode, E));
	assert_int_equal(inode.mode, S_IFDIR | 0700);
	assert_int_equal(inode.mtime_ns, -5);
	OK(cfs_fs_statfs(fs, &space, E));
	assert_true(space.free_bytes > 0);
	OK(cfs_fs_sync(fs, cfs_fs_root_ino(fs), E));
	cfs_io_close(v);
	client_close(c);
	drop("t0");
}

static void a_reader_of_a_tree_writes_nothing(void **state)
{
	struct cfs_session *c = client_open(NULL);
	struct cfs_io_volume *v;
	uint64_t ino;

	(void)state;
	make_tree("t0");
	OK(cfs_io_open(c, "t0", NULL, false, &v, E));
	assert_int_equal(cfs_fs_create(cfs_io_fs(v),
				       cfs_fs_root_ino(cfs_io_fs(v)), "x", 1,
				       0644, 0, 0, &ino, NULL),
			 -EROFS);
	cfs_io_close(v);
	client_close(c);
	drop("t0");
}

/* ---- the end of a connection --------------------------------------------- */

/* The service sees the end a moment later. */
static int retry_busy(int (*fn)(void))
{
	int r = -EBUSY;

	for (int i = 0; i < 200 && r == -EBUSY; i++) {
		r = fn();
		if (r == -EBUSY)
			usleep(10000);
	}
	return r;
}

static int rollback_vm0(void)
{
	return cfs_session_snap_rollback(manager.session, "vm0", "a", NULL,
					 NULL);
}

static void what_is_open_stays(void **state)
{
	const struct cfs_snap_name name = { "vm0", "a" };
	struct cfs_session *c = client_open(NULL), *d = client_open(NULL);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_io_volume *v, *s;

	(void)state;
	make_lun("vm0", 8 * MIB);
	OK(cfs_session_snap_take(c, &name, 1, NULL, E));
	OK(cfs_io_open(c, "vm0", NULL, true, &v, E));
	OK(cfs_io_open(c, "vm0", "a", false, &s, E));
	assert_int_equal(cfs_session_snap_rollback(d, "vm0", "a", NULL, &err),
			 -EBUSY);
	assert_non_null(strstr(err.msg, "in use by process "));
	assert_int_equal(cfs_session_remove_volume(d, "vm0", true, &err),
			 -EBUSY);
	assert_int_equal(cfs_session_resize_volume(d, "vm0", MIB, &err),
			 -EBUSY);
	assert_int_equal(cfs_session_snap_remove(d, "vm0", "a", NULL, &err),
			 -EBUSY);
	OK(cfs_session_resize_volume(d, "vm0", 9 * MIB, E));
	OK(cfs_io_write(v, 8 * MIB, "x", 1, E));
	/* Who has it open may cut it. */
	cfs_io_close(s);
	OK(cfs_session_resize_volume(c, "vm0", 4 * MIB, E));
	OK(cfs_session_snap_remove(d, "vm0", "a", NULL, E));
	OK(cfs_session_snap_take(c, &name, 1, NULL, E));
	/* And when its connection is gone so is all of that. */
	cfs_remote_close(c->remote);
	c->remote = NULL;
	free(v->name);
	free(v);
	free(c);
	OK(retry_busy(rollback_vm0));
	client_close(d);
	drop("vm0");
}

static uint64_t inodes_of(const char *name)
{
	struct cfs_volume_info info;

	OK(cfs_session_volume(manager.session, name, &info, E));
	return info.inode_count;
}

static void open_inodes_end_with_it(void **state)
{
	struct cfs_session *c = client_open(NULL);
	const struct cfs_fs_spec spec = { .mode = S_IFREG | 0600 };
	struct cfs_io_volume *v;
	struct cfs_inode inode;
	struct cfs_fs *fs;
	uint64_t ino, nameless, root, before;

	(void)state;
	make_tree("t0");
	before = inodes_of("t0");
	OK(cfs_io_open(c, "t0", NULL, true, &v, E));
	fs = cfs_io_fs(v);
	root = cfs_fs_root_ino(fs);
	OK(cfs_fs_create(fs, root, "f", 1, 0600, 0, 0, &ino, E));
	assert_int_equal(cfs_fs_close_ino(fs, ino, NULL), -EBADF);
	OK(cfs_fs_open_ino(fs, ino, E));
	OK(cfs_fs_unlink(fs, root, "f", 1, E));
	OK(cfs_fs_getattr(fs, ino, &inode, E));
	assert_int_equal(inode.nlink, 0);
	OK(cfs_fs_create_nameless(fs, root, &spec, &nameless, E));
	cfs_remote_close(c->remote);
	cfs_fs_close(fs);
	free(v->name);
	free(v);
	free(c);
	for (int i = 0; i < 200 && inodes_of("t0") != before; i++)
		usleep(10000);
	assert_int_equal(inodes_of("t0"), before);
	drop("t0");
}

static void an_unfinished_volume_goes(void **state)
{
	struct cfs_session *c = client_open(NULL);
	struct cfs_volume_info info;
	int r = 0;

	(void)state;
	OK(cfs_session_create(c, "half", CFS_VOLUME_LUN, MIB, 0, true, E));
	OK(cfs_session_create(c, "whole", CFS_VOLUME_LUN, MIB, 0, true, E));
	OK(cfs_session_finish_volume(c, "whole", E));
	client_close(c);
	for (int i = 0; i < 200 && r == 0; i++) {
		r = cfs_session_volume(manager.session, "half", &info, NULL);
		usleep(10000);
	}
	assert_int_equal(r, -ENOENT);
	OK(cfs_session_volume(manager.session, "whole", &info, E));
	drop("whole");
}

static void a_lost_manager_is_told(void **state)
{
	struct cfs_session *c = client_open(NULL);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_volume_info info;

	(void)state;
	manager_stop();
	assert_int_equal(cfs_session_volume(c, "x", &info, &err), -ECONNRESET);
	assert_string_equal(err.msg, "the process that held the pool is gone");
	assert_int_equal(cfs_session_remove_volume(c, "x", false, &err),
			 -ECONNRESET);
	assert_string_equal(err.msg, "the process that held the pool is gone: "
				     "whether it was done is not known");
	client_close(c);
	manager_start();
}

/* ---- long work ----------------------------------------------------------- */

struct long_work {
	bool stops;
	unsigned int progress;
	uint64_t done;
};

static bool want_stop(void *arg)
{
	return ((struct long_work *)arg)->stops;
}

static void note_progress(void *arg, uint64_t done, uint64_t total)
{
	struct long_work *w = arg;

	(void)total;
	w->progress++;
	w->done = done;
	w->stops = true;
}

static int no_damage(void *arg, const struct cfs_damage *d)
{
	(void)arg;
	fail_msg("damage of kind %s", d->kind);
	return 0;
}

static int no_problem(void *arg, const struct cfs_problem *p)
{
	(void)arg;
	fail_msg("problem: %s", p->text);
	return 0;
}

static void scrub_and_check_work(void **state)
{
	struct long_work work = { .stops = false };
	const struct cfs_session_options opt = {
		.is_writable = true,
		.stop = want_stop,
		.progress = note_progress,
		.arg = &work,
	};
	struct cfs_session *c = client_open(&opt);
	struct cfs_scrub_options slow = { .rate_bytes = MIB, .heals = true };
	struct cfs_scrub_options fast = { .heals = true };
	struct cfs_scrub_result result;
	struct cfs_check_result checked;
	uint8_t *data = calloc(1, 4 * MIB);
	struct cfs_io_volume *v;

	(void)state;
	make_lun("vm0", 8 * MIB);
	OK(cfs_io_open(c, "vm0", NULL, true, &v, E));
	memset(data, 3, 4 * MIB);
	OK(cfs_io_write(v, 0, data, 4 * MIB, E));
	OK(cfs_session_check(c, NULL, no_problem, NULL, &checked, E));
	assert_true(checked.blocks >= 1024);
	assert_int_equal(cfs_session_scrub(c, "vm0", &slow, no_damage, NULL,
					   &result, NULL),
			 -EINTR);
	assert_true(work.progress > 0);
	/* What it had done by then is told. */
	assert_true(result.read_bytes > 0 && result.started_ns > 0);
	work.stops = false;
	OK(cfs_session_scrub(c, "vm0", &fast, no_damage, NULL, &result, E));
	assert_true(result.verified_blocks >= 1024);
	cfs_io_close(v);
	client_close(c);
	drop("vm0");
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_the_same),
		cmocka_unit_test(a_callback_ends_the_list),
		cmocka_unit_test(fails_in_the_same_words),
		cmocka_unit_test(a_reader_changes_nothing),
		cmocka_unit_test(lun_bytes_travel),
		cmocka_unit_test(trees_work),
		cmocka_unit_test(a_reader_of_a_tree_writes_nothing),
		cmocka_unit_test(what_is_open_stays),
		cmocka_unit_test(open_inodes_end_with_it),
		cmocka_unit_test(an_unfinished_volume_goes),
		cmocka_unit_test(a_lost_manager_is_told),
		cmocka_unit_test(scrub_and_check_work),
	};

	return cmocka_run_group_tests(tests, manager_setup, manager_teardown);
}
