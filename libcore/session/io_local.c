/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A volume of a pool that this process holds: its own code on the container.
 *
 * All who have the same tree open share one struct cfs_fs, which alone knows
 * the open inodes; an inode that lost its last name goes when the last of them
 * has closed it.
 */
#include "session/io_local.h"

#include "base/bits.h"
#include "session/direct_fs.h"
#include "session/serve_direct.h"
#include "session/serve_use.h"
#include "tree/space.h"
#include "session/stream_local.h"
#include "volume/data.h"
#include "volume/fs_open.h"

#include <inttypes.h>
#include <stdlib.h>

#define WRITE_BYTES_MAX (UINT64_C(4) << 20) /* in one operation */

struct cfs_open_tree {
	struct cfs_open_tree *next;
	uint64_t container, volume;
	struct cfs_fs *fs;
	struct cfs_beside_tree *beside; /* NULL: nobody is beside us */
	unsigned int users;             /* atomic, for who looks */
	uint64_t serial;                /* of users that came; atomic */
	/* Who keeps what it read, and is told when another one comes. */
	pthread_rwlock_t watch_lock;
	struct local_volume *watcher;
	struct cfs_io_watch watch;
};

struct local_volume {
	struct cfs_io_volume v; /* first: see io_ops.h */
	struct cfs_session *s;
	struct cfs_member *m;
	struct cfs_view view;
	uint64_t id;
	struct cfs_volume_rec rec;
	uint64_t size_bytes; /* atomic: a LUN may be resized */
	bool is_snapshot;
	bool is_writable;
	struct cfs_use *use;
	struct cfs_open_tree *tree; /* NULL: of a snapshot, or a LUN */
};

static struct local_volume *of(struct cfs_io_volume *v)
{
	return (struct local_volume *)v;
}

/* ---- trees --------------------------------------------------------------- */

int cfs_io_tree_space(void *arg, struct cfs_fs_space *ret, struct cfs_err *err)
{
	struct cfs_pool_info info;
	int r = cfs_session_pool_info(arg, &info, err);

	if (r < 0)
		return r;
	*ret = (struct cfs_fs_space){
		.total_bytes = info.capacity_bytes,
		.free_bytes = info.free_bytes,
	};
	return 0;
}

static int open_fs(struct local_volume *v, struct cfs_fs **ret,
		   struct cfs_err *err)
{
	int r = cfs_fs_open(&v->view, v->rec.ino, v->rec.hash_seed, ret, err);

	if (r == 0)
		cfs_fs_set_space(*ret, cfs_io_tree_space, v->s);
	return r;
}

/* The first who opens it; the session's lock is held. */
static int tree_new(struct local_volume *v, struct cfs_err *err)
{
	const struct cfs_lock_resource of_volume = {
		.container = v->m->id,
		.volume = v->id,
	};
	struct cfs_open_tree *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	/* Inodes that a crash left without a name; beside others, by whoever
	 * finds that nobody else has any open. */
	if (v->s->opt.is_writable &&
	    !cfs_serve_direct_has_trees(v->s->beside_us))
		r = cfs_fs_reclaim_orphans(v->view.container, v->view.branch,
					   NULL, err);
	if (r == 0)
		r = open_fs(v, &t->fs, err);
	if (r == 0 && cfs_serve_direct_has_trees(v->s->beside_us))
		r = cfs_serve_direct_tree_open(v->s->beside_us, &of_volume,
					       &v->view, true, t->fs, &t->fs,
					       &t->beside, err);
	else if (r == 0 && v->s->opt.is_writable && !v->s->opt.is_dry_run)
		r = cfs_direct_fs_open(t->fs, &v->view, NULL, &t->fs, err);
	if (r < 0) {
		free(t);
		return r;
	}
	pthread_rwlock_init(&t->watch_lock, NULL);
	t->container = v->m->id;
	t->volume = v->id;
	t->next = v->s->trees;
	v->s->trees = t;
	v->tree = t;
	return 0;
}

/* One user less. */
static void tree_drop(struct cfs_session *s, struct cfs_open_tree *t)
{
	struct cfs_open_tree **at;
	bool is_last;

	pthread_mutex_lock(&s->lock);
	is_last = __atomic_sub_fetch(&t->users, 1, __ATOMIC_SEQ_CST) == 0;
	if (is_last) {
		for (at = &s->trees; *at != t; at = &(*at)->next)
			;
		*at = t->next;
	}
	pthread_mutex_unlock(&s->lock);
	if (!is_last)
		return;
	if (t->beside)
		cfs_serve_direct_tree_close(t->beside);
	else
		cfs_fs_close(t->fs);
	pthread_rwlock_destroy(&t->watch_lock);
	free(t);
}

/* @t was opened when nobody could ask for leases. */
static int tree_begin(struct cfs_session *s, struct cfs_open_tree *t,
		      struct cfs_err *err)
{
	const struct cfs_lock_resource of_volume = {
		.container = t->container,
		.volume = t->volume,
	};
	struct cfs_member *m;
	int r = cfs_pool_member_by_id(s->pool, t->container, &m, err);

	if (r == 0)
		r = cfs_serve_direct_tree_begin(s->beside_us, &of_volume,
						m->container, t->fs, &t->beside,
						err);
	return r;
}

/* One that has none, with one more user. */
static struct cfs_open_tree *next_without(struct cfs_session *s)
{
	struct cfs_open_tree *t;

	pthread_mutex_lock(&s->lock);
	for (t = s->trees; t && t->beside; t = t->next)
		;
	if (t)
		__atomic_add_fetch(&t->users, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&s->lock);
	return t;
}

int cfs_local_begin_leases(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_open_tree *t;
	int r = 0;

	while (r == 0 && (t = next_without(s))) {
		r = tree_begin(s, t, err);
		tree_drop(s, t);
	}
	return r;
}

/* Somebody else has come: what is kept is told to be old before it begins. */
static void tell_watcher(struct cfs_open_tree *t)
{
	pthread_rwlock_rdlock(&t->watch_lock);
	if (t->watch.changes)
		t->watch.changes(t->watch.arg);
	pthread_rwlock_unlock(&t->watch_lock);
}

static int io_watch(struct cfs_io_volume *io, const struct cfs_io_watch *watch,
		    struct cfs_err *err)
{
	struct local_volume *v = of(io);
	struct cfs_open_tree *t = v->tree;

	if (!t)
		return 0;
	pthread_rwlock_wrlock(&t->watch_lock);
	if (watch && t->watcher && t->watcher != v) {
		pthread_rwlock_unlock(&t->watch_lock);
		return cfs_err_set(err, -EBUSY, "somebody watches it already");
	}
	t->watcher = watch ? v : NULL;
	t->watch = watch ? *watch : (struct cfs_io_watch){ .arg = NULL };
	pthread_rwlock_unlock(&t->watch_lock);
	cfs_direct_fs_watch(t->fs, watch);
	return 0;
}

/* Who holds the pool is sure of it while it runs, unless other hosts may take
 * the pool over. */
static bool io_may_keep(struct cfs_io_volume *io, uint64_t *ret_serial,
			uint64_t *ret_ns)
{
	struct cfs_open_tree *t = of(io)->tree;
	uint64_t serial = 0, ns = UINT64_MAX;

	if (!t || __atomic_load_n(&t->users, __ATOMIC_SEQ_CST) != 1)
		return false;
	if (t->beside && !cfs_direct_fs_may_keep(t->fs, &serial, &ns))
		return false;
	*ret_serial = serial + __atomic_load_n(&t->serial, __ATOMIC_SEQ_CST);
	*ret_ns = cfs_holder_is_shared(of(io)->s->holder) ? ns : UINT64_MAX;
	return true;
}

static int tree_get(struct local_volume *v, struct cfs_err *err)
{
	int r = 0;

	pthread_mutex_lock(&v->s->lock);
	for (v->tree = v->s->trees; v->tree; v->tree = v->tree->next)
		if (v->tree->container == v->m->id && v->tree->volume == v->id)
			break;
	if (!v->tree)
		r = tree_new(v, err);
	if (r == 0) {
		__atomic_add_fetch(&v->tree->users, 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&v->tree->serial, 1, __ATOMIC_SEQ_CST);
		v->v.fs = v->tree->fs;
	}
	pthread_mutex_unlock(&v->s->lock);
	if (r == 0)
		tell_watcher(v->tree);
	return r;
}

static void tree_put(struct local_volume *v)
{
	if (v->tree)
		tree_drop(v->s, v->tree);
	else
		cfs_fs_close(v->v.fs);
}

/* ---- LUNs ---------------------------------------------------------------- */

static uint64_t io_size_bytes(const struct cfs_io_volume *v)
{
	const struct local_volume *lv = (const struct local_volume *)v;

	return __atomic_load_n(&lv->size_bytes, __ATOMIC_RELAXED);
}

/* The volume may have been resized since it was opened. */
static uint64_t fresh_size(struct local_volume *v)
{
	struct cfs_volume_rec rec;

	if (!v->is_snapshot && cfs_volume_get(v->m, v->id, &rec, NULL) == 0)
		__atomic_store_n(&v->size_bytes, rec.size_bytes,
				 __ATOMIC_RELAXED);
	return io_size_bytes(&v->v);
}

static int check_range(struct local_volume *v, uint64_t offset_bytes,
		       uint64_t length_bytes, struct cfs_err *err)
{
	if (v->rec.kind != CFS_VOLUME_LUN)
		return cfs_err_set(err, -EINVAL, "not a LUN");
	if (!cfs_range_fits(offset_bytes, length_bytes, io_size_bytes(&v->v)) &&
	    !cfs_range_fits(offset_bytes, length_bytes, fresh_size(v)))
		return cfs_err_set(err, -EINVAL,
				   "offset %" PRIu64 " and length %" PRIu64
				   " lie outside the LUN",
				   offset_bytes, length_bytes);
	return 0;
}

/* May @length_bytes be read or written?  As many as *ret_bytes: see
 * serve_direct.h.  A snapshot is nobody's to change. */
static int access_begin(struct local_volume *v, uint64_t offset_bytes,
			uint64_t length_bytes, bool writes,
			struct cfs_direct_access *ret, uint64_t *ret_bytes,
			struct cfs_err *err)
{
	const struct cfs_lock_resource of = {
		.container = v->m->id,
		.volume = v->id,
		.ino = v->rec.ino,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};

	return cfs_serve_direct_begin(v->is_snapshot ? NULL : v->s->beside_us,
				      &of, writes, ret, ret_bytes, err);
}

static int io_read(struct cfs_io_volume *io, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_good_bytes,
		   struct cfs_err *err)
{
	struct local_volume *v = of(io);
	int r = check_range(v, offset_bytes, length_bytes, err);
	struct cfs_direct_access access;
	uint64_t n = 0;
	size_t done = 0, good = 0;

	while (r == 0 && done < length_bytes) {
		r = access_begin(v, offset_bytes + done, length_bytes - done,
				 false, &access, &n, err);
		if (r < 0)
			break;
		r = cfs_data_read_beside(
			&v->view, v->rec.ino, offset_bytes + done,
			(uint8_t *)buf + done, (size_t)n, &good, err);
		cfs_serve_direct_end(&access);
		done += r == 0 ? (size_t)n : good;
	}
	if (ret_good_bytes)
		*ret_good_bytes = done;
	return r;
}

static size_t io_read_many(struct cfs_io_volume *io,
			   const struct cfs_io_span *span)
{
	struct local_volume *v = of(io);
	struct cfs_direct_access access;
	uint64_t bytes;
	size_t n;

	if (access_begin(v, span->from_bytes, span->to_bytes - span->from_bytes,
			 false, &access, &bytes, NULL) < 0)
		return 0;
	n = cfs_io_span_read(span, &v->view, v->rec.ino, bytes);
	cfs_serve_direct_end(&access);
	return n;
}

/* Whole blocks: many at the same time. */
static int write_blocks(struct local_volume *v, uint64_t offset_bytes,
			const void *buf, size_t length_bytes,
			struct cfs_err *err)
{
	struct cfs_container *c = v->view.container;
	uint64_t hashes[WRITE_BYTES_MAX / CFS_BLOCK_BYTES];
	const bool has_hashes = cfs_data_write_hash(buf, length_bytes, hashes);
	struct cfs_data_flight flight;
	const uint64_t blocks = length_bytes / CFS_BLOCK_BYTES * 17 / 16 + 64;
	int r = cfs_data_stays_in_memory(length_bytes)
			? cfs_op_begin_pages(c, blocks, err)
			: cfs_op_begin_beside(c, blocks, err);

	if (r < 0)
		return r;
	r = cfs_data_write_start(c, v->view.branch, v->rec.ino, offset_bytes,
				 buf, length_bytes, has_hashes ? hashes : NULL,
				 &flight, err);
	if (r < 0) {
		cfs_op_abort(c);
		return r;
	}
	cfs_op_end(c);
	r = cfs_data_write_finish(&flight, err);
	if (flight.wants_back)
		cfs_data_write_back(c);
	return r;
}

static int write_piece(struct local_volume *v, uint64_t offset_bytes,
		       const void *buf, size_t length_bytes,
		       struct cfs_err *err)
{
	int r = cfs_op_begin_for(v->view.container, CFS_OP_NORMAL,
				 length_bytes / CFS_BLOCK_BYTES * 17 / 16 + 64,
				 err);

	if (r < 0)
		return r;
	r = cfs_data_write(v->view.container, v->view.branch, v->rec.ino,
			   offset_bytes, buf, length_bytes, err);
	if (r < 0)
		cfs_op_abort(v->view.container);
	else
		cfs_op_end(v->view.container);
	return r;
}

static int io_write(struct cfs_io_volume *io, uint64_t offset_bytes,
		    const void *buf, size_t length_bytes, struct cfs_err *err)
{
	struct local_volume *v = of(io);
	const uint8_t *from = buf;
	int r = check_range(v, offset_bytes, length_bytes, err);
	struct cfs_direct_access access;
	uint64_t n;

	if (r == 0 && !v->is_writable)
		r = cfs_err_set(err, -EROFS, "opened to read only");
	while (r == 0 && length_bytes > 0) {
		r = access_begin(v, offset_bytes,
				 CFS_MIN(length_bytes, WRITE_BYTES_MAX), true,
				 &access, &n, err);
		if (r < 0)
			break;
		if ((offset_bytes | n) % CFS_BLOCK_BYTES == 0)
			r = write_blocks(v, offset_bytes, from, (size_t)n, err);
		else
			r = write_piece(v, offset_bytes, from, (size_t)n, err);
		cfs_serve_direct_end(&access);
		offset_bytes += n;
		from += n;
		length_bytes -= n;
	}
	return r;
}

static int discard_piece(struct local_volume *v, uint64_t from_bytes,
			 uint64_t to_bytes, struct cfs_err *err)
{
	const bool has_parts = (from_bytes | to_bytes) % CFS_BLOCK_BYTES != 0;
	int r = cfs_op_begin(v->view.container,
			     has_parts ? CFS_OP_ZEROING : CFS_OP_FREEING, err);

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

static int discard_range(struct local_volume *v, uint64_t from_bytes,
			 uint64_t to_bytes, struct cfs_err *err)
{
	struct cfs_direct_access access;
	uint64_t n;
	int r = 0;

	while (r == 0 && from_bytes < to_bytes) {
		r = access_begin(v, from_bytes, to_bytes - from_bytes, true,
				 &access, &n, err);
		if (r < 0)
			break;
		r = discard_piece(v, from_bytes, from_bytes + n, err);
		cfs_serve_direct_end(&access);
		from_bytes += n;
	}
	return r;
}

/* Where there is no block for the zeroes, whole blocks go first. */
static int io_discard(struct cfs_io_volume *io, uint64_t offset_bytes,
		      uint64_t length_bytes, struct cfs_err *err)
{
	struct local_volume *v = of(io);
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

static int seek_piece(struct local_volume *v, uint64_t offset_bytes, bool data,
		      uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	int r;

	cfs_container_lock_to_read(v->view.container);
	r = cfs_data_seek(&v->view, v->rec.ino, offset_bytes, data,
			  ret_offset_bytes, err);
	cfs_container_unlock(v->view.container);
	return r;
}

/* What is found behind the bytes that may be looked at is looked for again. */
static int io_seek(struct cfs_io_volume *io, uint64_t offset_bytes, bool data,
		   uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	struct local_volume *v = of(io);
	int r = check_range(v, offset_bytes, 0, err);
	const uint64_t end = io_size_bytes(io);
	struct cfs_direct_access access;
	uint64_t n;

	while (r == 0) {
		r = access_begin(v, offset_bytes,
				 CFS_MAX(end - offset_bytes, (uint64_t)1),
				 false, &access, &n, err);
		if (r < 0)
			break;
		r = seek_piece(v, offset_bytes, data, ret_offset_bytes, err);
		cfs_serve_direct_end(&access);
		if (offset_bytes + n >= end)
			break;
		if (r == 0 && *ret_offset_bytes < offset_bytes + n)
			return 0;
		r = r == -ENXIO ? 0 : r;
		offset_bytes += n;
	}
	if (r == 0 && *ret_offset_bytes >= end) {
		if (data)
			return -ENXIO;
		*ret_offset_bytes = end;
	}
	return r;
}

static int io_extent(struct cfs_io_volume *io, uint64_t offset_bytes,
		     uint64_t length_bytes, bool *ret_is_data,
		     uint64_t *ret_length_bytes, struct cfs_err *err)
{
	struct local_volume *v = of(io);
	int r = check_range(v, offset_bytes, length_bytes, err);
	struct cfs_direct_access access;
	uint64_t n;

	if (r == 0)
		r = access_begin(v, offset_bytes, length_bytes, false, &access,
				 &n, err);
	if (r < 0)
		return r;
	cfs_container_lock_to_read(v->view.container);
	r = cfs_data_extent(&v->view, v->rec.ino, offset_bytes, n, ret_is_data,
			    ret_length_bytes, err);
	cfs_container_unlock(v->view.container);
	cfs_serve_direct_end(&access);
	return r;
}

static int io_sync(struct cfs_io_volume *io, struct cfs_err *err)
{
	return cfs_container_sync(of(io)->view.container, err);
}

static void io_close(struct cfs_io_volume *io)
{
	struct local_volume *v = of(io);

	tree_put(v);
	cfs_serve_volume_leave(v->s, v->use);
	free(v);
}

static const struct cfs_io_ops local_ops = {
	.close = io_close,
	.size_bytes = io_size_bytes,
	.read = io_read,
	.read_many = io_read_many,
	.write = io_write,
	.discard = io_discard,
	.seek = io_seek,
	.extent = io_extent,
	.sync = io_sync,
	.watch = io_watch,
	.may_keep = io_may_keep,
};

/* ---- going elsewhere ----------------------------------------------------- */

bool cfs_local_io_is(struct cfs_io_volume *io, struct cfs_use_of *ret)
{
	struct local_volume *v = of(io);

	if (io->ops != &local_ops)
		return false;
	*ret = (struct cfs_use_of){
		.container = v->m->id,
		.volume = v->id,
		.stamp = v->is_snapshot ? v->view.stamp : 0,
		.mode = v->is_writable ? CFS_USE_WRITE : CFS_USE_READ,
	};
	return true;
}

void cfs_local_io_set_moving(struct cfs_io_volume *io, bool is_moving)
{
	cfs_serve_volume_set_moving(of(io)->s, of(io)->use, is_moving);
}

/* ---- opening ------------------------------------------------------------- */

static int see_snapshot(struct local_volume *v, const char *snap,
			struct cfs_err *err)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;
	int r = cfs_snapshot_find(v->m, v->id, snap, &stamp, &rec, err);

	if (r < 0)
		return r;
	v->view.branch = (uint16_t)rec.branch;
	v->view.stamp = stamp;
	v->size_bytes = rec.size_bytes;
	return 0;
}

/* The record and the snapshot are looked at again once we count as users. */
static int open_steps(struct local_volume *v, const char *volume,
		      const char *snap, struct cfs_err *err)
{
	struct cfs_use_of use = {
		.mode = v->is_writable ? CFS_USE_WRITE : CFS_USE_READ,
	};
	struct cfs_named named = { 0 };
	char base[CFS_NAME_BYTES];
	int r = cfs_session_find(v->s, volume, &named, err);

	if (r == 0 && snap && v->is_writable)
		r = cfs_err_set(err, -EROFS, "a snapshot is not written");
	if (r < 0)
		return r;
	v->m = named.member;
	v->id = named.id;
	r = snap ? -ENOENT : cfs_local_receiving(v->m, v->id, base, err);
	if (r == 0 && v->is_writable)
		r = cfs_err_set(err, -EBUSY,
				"a stream is being received into "
				"it");
	if (r < 0 && r != -ENOENT)
		return r;
	/* Until all has come it is what it was. */
	if (r == 0)
		snap = base;
	v->is_snapshot = snap;
	r = 0;
	use.container = named.member->id;
	use.volume = named.id;
	if (snap) {
		r = see_snapshot(v, snap, err);
		use.stamp = v->view.stamp;
	}
	if (r == 0)
		r = cfs_serve_volume_enter(v->s, &use, &v->use, err);
	if (r == 0)
		r = cfs_volume_get(v->m, v->id, &v->rec, err);
	if (r < 0)
		return r;
	v->v.kind = v->rec.kind;
	v->size_bytes = v->rec.size_bytes;
	cfs_volume_view(v->m, &v->rec, &v->view);
	if (snap)
		r = see_snapshot(v, snap, err);
	if (r == 0 && v->rec.kind == CFS_VOLUME_TREE)
		r = snap ? open_fs(v, &v->v.fs, err) : tree_get(v, err);
	return r;
}

int cfs_local_io_open(struct cfs_session *s, const char *volume,
		      const char *snap, bool is_writable,
		      struct cfs_io_volume **ret, struct cfs_err *err)
{
	struct local_volume *v;
	int r = is_writable ? cfs_session_may_write(s, err) : 0;

	if (r < 0)
		return r;
	v = calloc(1, sizeof(*v));
	if (!v)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	v->v.ops = &local_ops;
	v->s = s;
	v->is_writable = is_writable;
	r = open_steps(v, volume, snap, err);
	if (r < 0) {
		cfs_serve_volume_leave(s, v->use);
		free(v);
		return r;
	}
	*ret = &v->v;
	return 0;
}
