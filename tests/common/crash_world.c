// SPDX-License-Identifier: GPL-3.0-or-later
/* Simulated devices, formatted and opened, and calls made on them. */
#include "crash_world.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "pool/devset.h"
#include "pool/holder.h"
#include "session/session_priv.h"
#include "volume/fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct crash_shape crash_shape_one = {
	.name = "one",
	.device_count = 1,
	.device_bytes = CFS_DEVICE_BYTES_MIN,
	.slice_bytes = CFS_SLICE_BYTES_MIN,
};
const struct crash_shape crash_shape_two = {
	.name = "two",
	.device_count = 2,
	.device_bytes = CFS_DEVICE_BYTES_MIN,
	.slice_bytes = CFS_SLICE_BYTES_MIN,
};
const struct crash_shape crash_shape_mirror = {
	.name = "mirror",
	.device_count = 2,
	.is_mirror = true,
	.device_bytes = CFS_DEVICE_BYTES_MIN,
	.slice_bytes = CFS_SLICE_BYTES_MIN,
};

/* ---- format, open, close ---------------------------------------------------
 */

static struct cfs_label make_label(const struct crash_shape *shape,
				   unsigned int index)
{
	struct cfs_label l = {
		.seq = 1,
		.name = "crash",
		.size_bytes = shape->device_bytes,
		.slice_bytes = shape->slice_bytes,
		.slices_offset_bytes = CFS_SLICES_OFFSET_LOCAL,
		.slice_count = cfs_device_slice_count(shape->device_bytes,
						      CFS_SLICES_OFFSET_LOCAL,
						      shape->slice_bytes),
		.created_ns = 1,
		.flags = shape->is_mirror ? CFS_POOL_FLAG_MIRROR : 0,
		.seat_count = CFS_SEAT_COUNT_LOCAL,
		.device_index = index,
		.device_count = shape->device_count,
	};
	unsigned int n = 0;

	memset(l.pool_uuid, 0xf0, sizeof(l.pool_uuid));
	memset(l.device_uuid, 0xd0 + (int)index, sizeof(l.device_uuid));
	for (unsigned int i = 0; i < shape->device_count; i++) {
		if (i == index || n == CFS_LABEL_HINT_COUNT)
			continue;
		memset(l.hints[n].device_uuid, 0xd0 + (int)i, 16);
		n++;
	}
	return l;
}

static int format(struct crash_world *w, struct cfs_err *err)
{
	const struct cfs_devset_options set_opt = { .is_writable = true };
	const struct cfs_pool_options pool_opt = { .name = "crash",
						   .was_clean = true };
	CFS_CLEANUP(cfs_devset_closep) struct cfs_devset *set = NULL;
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	struct cfs_dev *devices[CRASH_DEVICES_MAX];
	unsigned int count = w->shape->device_count;
	int r = 0;

	for (unsigned int i = 0; i < count && r == 0; i++) {
		struct cfs_label label = make_label(w->shape, i);

		r = cfs_sim_dev_new(w->sim, w->shape->device_bytes, &devices[i],
				    err);
		if (r == 0)
			r = cfs_label_write(devices[i], &label, err);
	}
	if (r == 0)
		r = cfs_devset_from_devices(devices, count, &set_opt, &set,
					    err);
	if (r == 0)
		r = cfs_pool_make(set, &pool_opt, roots, err);
	if (r == 0)
		r = cfs_seat_format(set, roots, err);
	return r;
}

int crash_world_init(struct crash_world *w, const struct crash_shape *shape,
		     struct cfs_err *err)
{
	int r;

	*w = (struct crash_world){ .shape = shape };
	assert(shape->device_count <= CRASH_DEVICES_MAX);
	r = cfs_sim_new(&w->sim, err);
	if (r == 0)
		r = format(w, err);
	if (r == 0)
		cfs_sim_checkpoint(w->sim);
	return r;
}

void crash_world_done(struct crash_world *w)
{
	crash_world_drop(w);
	cfs_sim_free(w->sim);
	w->sim = NULL;
}

int crash_world_open(struct crash_world *w, struct cfs_err *err)
{
	const struct cfs_session_options opt = {
		.is_writable = !w->is_readonly,
	};
	struct cfs_dev *devices[CRASH_DEVICES_MAX];
	unsigned int n = 0;
	int r;

	assert(!w->s);
	for (unsigned int i = 0; i < w->shape->device_count; i++) {
		if (w->absent >> i & 1)
			continue;
		r = cfs_sim_dev_open(w->sim, i, &devices[n++], err);
		assert(r == 0);
	}
	return cfs_session_open_devices(devices, n, &opt, &w->s, err);
}

int crash_world_close(struct crash_world *w, struct cfs_err *err)
{
	struct cfs_session *s = CFS_STEAL(w->s);

	return cfs_session_close(s, err);
}

void crash_world_drop(struct crash_world *w)
{
	cfs_session_drop(CFS_STEAL(w->s));
}

int crash_world_fork(const struct crash_world *w,
		     const struct cfs_sim_crash *crash, struct crash_world *ret,
		     struct cfs_err *err)
{
	*ret = (struct crash_world){ .shape = w->shape };
	return cfs_sim_fork(w->sim, crash, &ret->sim, err);
}

/* ---- calls
 * ------------------------------------------------------------------- */

static int lun_call(struct cfs_session *s, const struct crash_op *op,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *v = NULL;
	CFS_CLEANUP(cfs_freep) uint8_t *bytes = NULL;
	int r = cfs_io_open(s, op->volume, NULL, true, &v, err);

	if (r < 0)
		return r;
	if (op->kind == OP_SYNC)
		return cfs_io_sync(v, err);
	if (op->kind == OP_PUNCH)
		return cfs_io_discard(v, op->offset, op->length, err);
	bytes = malloc(op->length + 1);
	assert(bytes);
	crash_bytes(op->seed, op->offset, bytes, op->length);
	return cfs_io_write(v, op->offset, bytes, op->length, err);
}

struct place {
	uint64_t dir;
	const char *name;
	size_t bytes;
};

static int resolve_parent(struct cfs_fs *fs, const char *path,
			  struct place *ret, struct cfs_err *err)
{
	return cfs_fs_resolve_parent(fs, cfs_fs_root_ino(fs), path,
				     strlen(path), CFS_FS_FOLLOW_MIDDLE,
				     &ret->dir, &ret->name, &ret->bytes, err);
}

static int name_call(struct cfs_fs *fs, const struct crash_op *op,
		     const struct place *at, struct cfs_err *err)
{
	struct place to;
	uint64_t ino;
	int r;

	switch (op->kind) {
	case OP_TCREATE:
		return cfs_fs_create(fs, at->dir, at->name, at->bytes, 0644, 1,
				     1, &ino, err);
	case OP_TMKDIR:
		return cfs_fs_mkdir(fs, at->dir, at->name, at->bytes, 0755, 1,
				    1, &ino, err);
	case OP_TSYMLINK:
		return cfs_fs_symlink(fs, at->dir, at->name, at->bytes,
				      op->name2, strlen(op->name2), 1, 1, &ino,
				      err);
	case OP_TUNLINK:
		return cfs_fs_unlink(fs, at->dir, at->name, at->bytes, err);
	case OP_TRMDIR:
		return cfs_fs_rmdir(fs, at->dir, at->name, at->bytes, err);
	case OP_TLINK:
		r = cfs_fs_lookup(fs, at->dir, at->name, at->bytes, &ino, NULL,
				  err);
		if (r == 0)
			r = resolve_parent(fs, op->name2, &to, err);
		return r != 0 ? r
			      : cfs_fs_link(fs, ino, to.dir, to.name, to.bytes,
					    err);
	default:
		r = resolve_parent(fs, op->name2, &to, err);
		return r < 0 ? r
			     : cfs_fs_rename(fs, at->dir, at->name, at->bytes,
					     to.dir, to.name, to.bytes, 0, err);
	}
}

static int file_call(struct cfs_fs *fs, const struct crash_op *op,
		     const struct place *at, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint8_t *bytes = malloc(op->length + 1);
	uint64_t ino;
	int r = cfs_fs_lookup(fs, at->dir, at->name, at->bytes, &ino, NULL,
			      err);

	assert(bytes);
	if (r < 0)
		return r;
	switch (op->kind) {
	case OP_TTRUNCATE:
		return cfs_fs_truncate(fs, ino, op->length, err);
	case OP_TPUNCH:
		return cfs_fs_punch_hole(fs, ino, op->offset, op->length, err);
	case OP_TXATTR:
		crash_bytes(op->seed, 0, bytes, op->length);
		return cfs_fs_xattr_set(fs, ino, "user.x", bytes, op->length, 0,
					err);
	default:
		crash_bytes(op->seed, op->offset, bytes, op->length);
		return cfs_fs_write(fs, ino, op->offset, bytes, op->length,
				    NULL, err);
	}
}

static int tree_call(struct cfs_session *s, const struct crash_op *op,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *v = NULL;
	struct place at;
	struct cfs_fs *fs;
	int r = cfs_io_open(s, op->volume, NULL, true, &v, err);

	if (r < 0)
		return r;
	fs = cfs_io_fs(v);
	if (!fs)
		return cfs_err_set(err, -EINVAL, "no tree");
	r = resolve_parent(fs, op->name, &at, err);
	if (r < 0)
		return r;
	switch (op->kind) {
	case OP_TWRITE:
	case OP_TTRUNCATE:
	case OP_TPUNCH:
	case OP_TXATTR:
		return file_call(fs, op, &at, err);
	default:
		return name_call(fs, op, &at, err);
	}
}

static int commit(struct cfs_session *s, const char *volume,
		  struct cfs_err *err)
{
	struct cfs_named v;
	int r = cfs_session_find(s, volume, &v, err);

	return r < 0 ? r : cfs_container_commit(v.member->container, err);
}

static int trim(struct cfs_session *s, const char *volume, struct cfs_err *err)
{
	struct cfs_trim_result result;
	char name[MODEL_PATH_BYTES];

	strcpy(name, volume);
	name[strcspn(name, "/")] = '\0';
	return cfs_session_trim(s, name, &result, err);
}

/*
 * A container's name is a record of the pool, and makes no data of the
 * container durable: that comes first, so that the states stay in one line.
 */
static int rename_volume(struct cfs_session *s, const struct crash_op *op,
			 struct cfs_err *err)
{
	struct cfs_named v;
	int r = cfs_session_find(s, op->volume, &v, err);

	if (r == 0)
		r = cfs_container_sync(v.member->container, err);
	return r < 0 ? r
		     : cfs_session_rename_volume(s, op->volume, op->name, err);
}

static int take(struct cfs_session *s, const struct crash_op *op,
		struct cfs_err *err)
{
	const struct cfs_snap_name name = { op->volume, op->name };

	return cfs_session_snap_take(s, &name, 1, NULL, err);
}

int crash_session_apply(struct cfs_session *s, const struct crash_op *op,
			struct cfs_err *err)
{
	switch (op->kind) {
	case OP_COMMIT:
		return commit(s, op->volume, err);
	case OP_TRIM:
		return trim(s, op->volume, err);
	case OP_SNAP:
		return take(s, op, err);
	case OP_SNAP_RM:
		return cfs_session_snap_remove(s, op->volume, op->name, NULL,
					       err);
	case OP_SNAP_RENAME:
		return cfs_session_snap_rename(s, op->volume, op->name,
					       op->name2, err);
	case OP_CLONE:
		return cfs_session_snap_clone(s, op->volume, op->name,
					      op->name2, err);
	case OP_ROLLBACK:
		return cfs_session_snap_rollback(
			s, op->volume, op->name,
			op->name2[0] ? op->name2 : NULL, err);
	case OP_CREATE:
		return cfs_session_create(s, op->volume,
					  op->is_tree ? CFS_VOLUME_TREE
						      : CFS_VOLUME_LUN,
					  op->length, 0, false, err);
	case OP_RM:
		return cfs_session_remove_volume(s, op->volume,
						 !strchr(op->volume, '/'), err);
	case OP_RENAME:
		return rename_volume(s, op, err);
	case OP_RESIZE:
		return cfs_session_resize_volume(s, op->volume, op->length,
						 err);
	case OP_SYNC:
	case OP_WRITE:
	case OP_PUNCH:
		return lun_call(s, op, err);
	default:
		return tree_call(s, op, err);
	}
}

int crash_world_apply(struct crash_world *w, const struct crash_op *op,
		      struct cfs_err *err)
{
	int r;

	if (op->kind != OP_REOPEN)
		return crash_session_apply(w->s, op, err);
	r = crash_world_close(w, err);
	return r < 0 ? r : crash_world_open(w, err);
}
