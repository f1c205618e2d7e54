/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A volume opened for input and output. */
#include "session/session_priv.h"

#include "base/bits.h"
#include "tree/space.h"
#include "volume/data.h"
#include "volume/fs.h"

#include <inttypes.h>
#include <stdlib.h>

#define WRITE_BYTES_MAX	(UINT64_C(4) << 20)	/* in one operation */

struct cfs_io_volume {
	struct cfs_session *s;
	struct cfs_member *m;
	struct cfs_view	view;
	uint64_t	id;
	struct cfs_volume_rec rec;
	uint64_t	size_bytes;	/* atomic: a LUN may be resized */
	bool		is_snapshot;
	bool		is_writable;
	struct cfs_fs	*fs;
};

/* What a tree could still hold, for statfs. */
static int tree_space(void *arg, struct cfs_fs_space *ret, struct cfs_err *err)
{
	struct cfs_io_volume *v = arg;
	struct cfs_pool_info info;
	int r = cfs_session_pool_info(v->s, &info, err);

	if (r < 0)
		return r;
	*ret = (struct cfs_fs_space){
		.total_bytes = info.capacity_bytes,
		.free_bytes = info.free_bytes,
	};
	return 0;
}

static int open_tree(struct cfs_io_volume *v, struct cfs_err *err)
{
	int r = 0;

	/* Inodes that a crash left without a name. */
	if (v->is_writable)
		r = cfs_fs_reclaim_orphans(v->view.container, v->view.branch,
					   NULL, err);
	if (r == 0)
		r = cfs_fs_open(&v->view, v->rec.ino, v->rec.hash_seed, &v->fs,
				err);
	if (r == 0)
		cfs_fs_set_space(v->fs, tree_space, v);
	return r;
}

int cfs_io_open(struct cfs_session *s, const char *volume, const char *snap,
		bool is_writable, struct cfs_io_volume **ret,
		struct cfs_err *err)
{
	struct cfs_io_volume *v;
	struct cfs_named named;
	int r = is_writable ? cfs_session_may_write(s, err) : 0;

	if (r == 0)
		r = cfs_session_find(s, volume, &named, err);
	if (r != 0)
		return r;
	if (snap && is_writable)
		return cfs_err_set(err, -EROFS, "a snapshot is not written");
	v = calloc(1, sizeof(*v));
	if (!v)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	v->s = s;
	v->m = named.member;
	v->id = named.id;
	v->rec = named.rec;
	v->is_snapshot = snap != NULL;
	v->is_writable = is_writable;
	v->size_bytes = named.rec.size_bytes;
	cfs_volume_view(named.member, &named.rec, &v->view);
	if (snap) {
		struct cfs_snapshot_rec rec;
		uint64_t stamp;

		r = cfs_snapshot_find(named.member, named.id, snap, &stamp,
				      &rec, err);
		v->view.branch = (uint16_t)rec.branch;
		v->view.stamp = stamp;
		v->size_bytes = rec.size_bytes;
	}
	if (r == 0 && named.rec.kind == CFS_VOLUME_TREE)
		r = open_tree(v, err);
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = v;
	return 0;
}

void cfs_io_close(struct cfs_io_volume *v)
{
	if (!v)
		return;
	cfs_fs_close(v->fs);
	free(v);
}

void cfs_io_closep(struct cfs_io_volume **v)
{
	cfs_io_close(*v);
}

uint32_t cfs_io_kind(const struct cfs_io_volume *v)
{
	return v->rec.kind;
}

uint64_t cfs_io_size_bytes(const struct cfs_io_volume *v)
{
	return __atomic_load_n(&v->size_bytes, __ATOMIC_RELAXED);
}

struct cfs_fs *cfs_io_fs(struct cfs_io_volume *v)
{
	return v->fs;
}

/* The volume may have been resized since it was opened. */
static uint64_t fresh_size(struct cfs_io_volume *v)
{
	struct cfs_volume_rec rec;

	if (!v->is_snapshot && cfs_volume_get(v->m, v->id, &rec, NULL) == 0)
		__atomic_store_n(&v->size_bytes, rec.size_bytes,
				 __ATOMIC_RELAXED);
	return cfs_io_size_bytes(v);
}

static int check_range(struct cfs_io_volume *v, uint64_t offset_bytes,
		       uint64_t length_bytes, struct cfs_err *err)
{
	if (v->rec.kind != CFS_VOLUME_LUN)
		return cfs_err_set(err, -EINVAL, "not a LUN");
	if (!cfs_range_fits(offset_bytes, length_bytes,
			    cfs_io_size_bytes(v)) &&
	    !cfs_range_fits(offset_bytes, length_bytes, fresh_size(v)))
		return cfs_err_set(err, -EINVAL, "offset %" PRIu64
				   " and length %" PRIu64
				   " lie outside the LUN", offset_bytes,
				   length_bytes);
	return 0;
}

int cfs_io_read(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		size_t length_bytes, size_t *ret_good_bytes,
		struct cfs_err *err)
{
	int r = check_range(v, offset_bytes, length_bytes, err);

	if (ret_good_bytes)
		*ret_good_bytes = 0;
	if (r < 0)
		return r;
	cfs_container_lock(v->view.container);
	r = cfs_data_read(&v->view, v->rec.ino, offset_bytes, buf,
			  length_bytes, ret_good_bytes, err);
	cfs_container_unlock(v->view.container);
	return r;
}

int cfs_io_write(struct cfs_io_volume *v, uint64_t offset_bytes,
		 const void *buf, size_t length_bytes, struct cfs_err *err)
{
	const uint8_t *from = buf;
	int r = check_range(v, offset_bytes, length_bytes, err);

	if (r == 0 && !v->is_writable)
		r = cfs_err_set(err, -EROFS, "opened to read only");
	while (r == 0 && length_bytes > 0) {
		size_t n = CFS_MIN(length_bytes, WRITE_BYTES_MAX);

		r = cfs_op_begin_for(v->view.container, CFS_OP_NORMAL,
				     n / CFS_BLOCK_BYTES * 17 / 16 + 64, err);
		if (r < 0)
			break;
		r = cfs_data_write(v->view.container, v->view.branch,
				   v->rec.ino, offset_bytes, from, n, err);
		if (r < 0)
			cfs_op_abort(v->view.container);
		else
			cfs_op_end(v->view.container);
		offset_bytes += n;
		from += n;
		length_bytes -= n;
	}
	return r;
}

static int discard_range(struct cfs_io_volume *v, uint64_t from_bytes,
			 uint64_t to_bytes, struct cfs_err *err)
{
	const bool has_parts = (from_bytes | to_bytes) % CFS_BLOCK_BYTES != 0;
	int r = cfs_op_begin(v->view.container, has_parts ? CFS_OP_ZEROING :
			     CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_data_punch(v->view.container, v->view.branch, v->rec.ino,
			   from_bytes, to_bytes - from_bytes, err);
	if (r < 0)
		cfs_op_abort(v->view.container);
	else
		cfs_op_end(v->view.container);
	return r;
}

/* Where there is no block for the zeroes, whole blocks go first. */
int cfs_io_discard(struct cfs_io_volume *v, uint64_t offset_bytes,
		   uint64_t length_bytes, struct cfs_err *err)
{
	const uint64_t to = offset_bytes + length_bytes;
	const uint64_t first = cfs_align_up(offset_bytes, CFS_BLOCK_BYTES);
	const uint64_t last = cfs_align_down(to, CFS_BLOCK_BYTES);
	int r = check_range(v, offset_bytes, length_bytes, err);

	if (r == 0 && !v->is_writable)
		r = cfs_err_set(err, -EROFS, "opened to read only");
	if (r == 0)
		r = discard_range(v, offset_bytes, to, err);
	if (r != -ENOSPC || first >= last ||
	    (offset_bytes == first && to == last))
		return r;
	r = discard_range(v, first, last, err);
	if (r == 0 && offset_bytes < first)
		r = discard_range(v, offset_bytes, first, err);
	if (r == 0 && last < to)
		r = discard_range(v, last, to, err);
	return r;
}

int cfs_io_seek(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	int r = check_range(v, offset_bytes, 0, err);

	if (r < 0)
		return r;
	cfs_container_lock(v->view.container);
	r = cfs_data_seek(&v->view, v->rec.ino, offset_bytes, data,
			  ret_offset_bytes, err);
	cfs_container_unlock(v->view.container);
	if (r == 0 && *ret_offset_bytes >= cfs_io_size_bytes(v)) {
		if (data)
			return -ENXIO;
		*ret_offset_bytes = cfs_io_size_bytes(v);
	}
	return r;
}

int cfs_io_sync(struct cfs_io_volume *v, struct cfs_err *err)
{
	return cfs_container_sync(v->view.container, err);
}
