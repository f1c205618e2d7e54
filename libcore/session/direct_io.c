/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LUNs of direct access behind io_ops.h. */
#include "session/direct_fs.h"
#include "session/direct_tree.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "session/remote.h"
#include "volume/data.h"
#include "volume/volume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BYTES_MAX (UINT64_C(4) << 20) /* in one operation */
#define AGAIN_MAX       8

static struct direct_volume *of(struct cfs_io_volume *v)
{
	return (struct direct_volume *)v;
}

/* ---- one access ---------------------------------------------------------- */

/* What is done to [offset, offset + n); the container is not locked. */
struct access {
	struct direct_volume *v;
	uint64_t offset;
	uint64_t left;
	bool writes;
	int (*fn)(struct access *a, uint64_t n, struct cfs_err *err);
	uint8_t *buf;
	const uint8_t *from;
	size_t good;                    /* of a read */
	const struct cfs_io_span *span; /* many reads */
	size_t done;                    /* of them */
	bool is_data;                   /* of a seek, or an extent */
	uint64_t found;
};

/* The view may be too old for what is found there: a new one, then. */
static int do_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	int r, tries = 0;

	do {
		r = a->fn(a, n, err);
	} while (r == -EAGAIN && tries++ < AGAIN_MAX &&
		 cfs_container_client_again(a->v->dc->c, r, err) == 1);
	return r;
}

static int under_lease(struct access *a, struct cfs_direct_lock *lock,
		       uint64_t grant, uint64_t n, struct cfs_err *err)
{
	struct direct_container *dc = a->v->dc;
	int r = direct_look(dc, grant, err);

	if (r == 0 && !cfs_direct_lock_may_start(lock)) {
		/* Perhaps the connection is being made anew. */
		r = direct_mend(dc->d, err);
		if (r == 0 && !cfs_direct_lock_may_start(lock))
			r = cfs_err_set(err, -ESTALE,
					"the lease ends too soon: the manager "
					"does not answer");
	}
	if (r == 0)
		r = do_piece(a, n, err);
	if (r == 0 && !cfs_direct_lock_holds(lock))
		r = cfs_err_set(err, -ESTALE, "the lease is lost");
	return r;
}

/*
 * Nothing is left to be lent.  What we have goes back, and the manager writes
 * this piece: it has the last blocks, and knows for sure that there are none.
 */
static int forward_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	struct cfs_remote *remote;
	struct cfs_io_volume *io;
	int r;

	r = cfs_container_give_back(v->dc->c, true, err);
	if (r != 0)
		return r;
	pthread_mutex_lock(&v->forwarded_lock);
	if (!v->forwarded)
		r = direct_remote(v->d, &remote, err);
	if (!v->forwarded && r == 0)
		r = cfs_remote_io_open(remote, v->name, NULL, true, 0,
				       cfs_session_patience(v->d->s),
				       &v->forwarded, err);
	io = v->forwarded;
	pthread_mutex_unlock(&v->forwarded_lock);
	if (r != 0)
		return r;
	return a->from ? io->ops->write(io, a->offset, a->from, (size_t)n, err)
		       : io->ops->discard(io, a->offset, n, err);
}

/* The next piece; a->offset and a->left move on. */
static int next_piece(struct access *a, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	struct cfs_direct *d = v->d;
	const struct cfs_conn_wait wait = {
		.timeout_ns = cfs_session_patience(d->s),
		.stop = d->s->opt.stop,
		.arg = d->s->opt.arg,
	};
	const struct cfs_direct_want want = {
		.wait = &wait,
		.container = v->dc->id,
		.volume = v->id,
		.ino = v->ino,
		.offset_bytes = a->offset,
		.writes = a->writes,
		.lender = d->lender.lease_id ? &d->lender : NULL,
	};
	uint64_t n = a->writes && a->from ? CFS_MIN(a->left, WRITE_BYTES_MAX)
					  : a->left;
	struct cfs_direct_lock *lock = NULL;
	uint64_t end = UINT64_MAX, grant = 0;
	int r = direct_is_lost(v->dc, err);

	if (r == 0 && v->stamp) {
		r = do_piece(a, n, err); /* a snapshot never changes */
	} else if (r == 0) {
		r = cfs_direct_lock_get(d->locks, &want, &lock, &end, &grant,
					err);
		if (r == 0) {
			n = CFS_MIN(n, end - a->offset);
			r = under_lease(a, lock, grant, n, err);
			cfs_direct_lock_put(d->locks, lock, a->writes);
		}
	}
	if (r == -ENOSPC && a->writes)
		r = forward_piece(a, n, err);
	/* Why is what counts, whatever it led to. */
	if (r < 0)
		r = direct_why(v->dc, r, err);
	if (r == 0) {
		a->offset += n;
		a->left -= n;
	}
	return r;
}

static int all_pieces(struct access *a, struct cfs_err *err)
{
	int r = 0;

	while (r == 0 && a->left > 0)
		r = next_piece(a, err);
	return r;
}

/* ---- operations ---------------------------------------------------------- */

static uint64_t io_size_bytes(const struct cfs_io_volume *v)
{
	const struct direct_volume *dv = (const struct direct_volume *)v;

	return __atomic_load_n(&dv->size_bytes, __ATOMIC_RELAXED);
}

/* It may have been resized since. */
static uint64_t fresh_size(struct direct_volume *v)
{
	struct cfs_volume_rec rec;

	if (!v->stamp && direct_look(v->dc, UINT64_MAX, NULL) == 0 &&
	    cfs_volume_get(&v->dc->m, v->id, &rec, NULL) == 0)
		__atomic_store_n(&v->size_bytes, rec.size_bytes,
				 __ATOMIC_RELAXED);
	return io_size_bytes(&v->v);
}

static int check_range(struct direct_volume *v, uint64_t offset_bytes,
		       uint64_t length_bytes, struct cfs_err *err)
{
	if (v->tree)
		return cfs_err_set(err, -EINVAL, "not a LUN");
	if (!cfs_range_fits(offset_bytes, length_bytes, io_size_bytes(&v->v)) &&
	    !cfs_range_fits(offset_bytes, length_bytes, fresh_size(v)))
		return cfs_err_set(err, -EINVAL,
				   "offset %" PRIu64 " and length %" PRIu64
				   " lie outside the LUN",
				   offset_bytes, length_bytes);
	return 0;
}

static int read_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	size_t good = 0;
	int r = cfs_data_read_beside(&v->view, v->ino, a->offset, a->buf,
				     (size_t)n, &good, err);

	a->good = good;
	return r;
}

static int io_read(struct cfs_io_volume *io, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_good_bytes,
		   struct cfs_err *err)
{
	struct access a = {
		.v = of(io),
		.offset = offset_bytes,
		.left = length_bytes,
		.fn = read_piece,
		.buf = buf,
	};
	int r = check_range(of(io), offset_bytes, length_bytes, err);

	while (r == 0 && a.left > 0) {
		a.good = 0;
		r = next_piece(&a, err);
		a.buf = (uint8_t *)buf + (a.offset - offset_bytes);
	}
	if (ret_good_bytes)
		*ret_good_bytes = (size_t)(a.offset - offset_bytes) +
				  (r == -EUCLEAN ? a.good : 0);
	return r;
}

static int read_many_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	(void)err;
	a->done = cfs_io_span_read(a->span, &a->v->view, a->v->ino, n);
	return 0;
}

/* What was found by a view that is too old does not verify, and is read by
 * itself, which looks for a new one. */
static size_t io_read_many(struct cfs_io_volume *io,
			   const struct cfs_io_span *span)
{
	struct access a = {
		.v = of(io),
		.offset = span->from_bytes,
		.left = CFS_MAX(span->to_bytes - span->from_bytes, (uint64_t)1),
		.fn = read_many_piece,
		.span = span,
	};

	return next_piece(&a, NULL) == 0 ? a.done : 0;
}

static int write_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	int r = cfs_op_begin_for(v->dc->c, CFS_OP_NORMAL,
				 n / CFS_BLOCK_BYTES * 17 / 16 + 64, err);

	if (r < 0)
		return r;
	r = cfs_data_write(v->dc->c, v->view.branch, v->ino, a->offset, a->from,
			   (size_t)n, err);
	if (r < 0)
		cfs_op_abort(v->dc->c);
	else
		cfs_op_end(v->dc->c);
	return r;
}

static int may_write(struct direct_volume *v, struct cfs_err *err)
{
	return v->is_writable ? 0
			      : cfs_err_set(err, -EROFS, "opened to read only");
}

static int io_write(struct cfs_io_volume *io, uint64_t offset_bytes,
		    const void *buf, size_t length_bytes, struct cfs_err *err)
{
	struct access a = {
		.v = of(io),
		.offset = offset_bytes,
		.left = length_bytes,
		.writes = true,
		.fn = write_piece,
		.from = buf,
	};
	int r = check_range(of(io), offset_bytes, length_bytes, err);

	if (r == 0)
		r = may_write(of(io), err);
	while (r == 0 && a.left > 0) {
		r = next_piece(&a, err);
		a.from = (const uint8_t *)buf + (a.offset - offset_bytes);
	}
	return r;
}

static int punch_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	const bool has_parts =
		(a->offset | (a->offset + n)) % CFS_BLOCK_BYTES != 0;
	int r = cfs_op_begin(v->dc->c,
			     has_parts ? CFS_OP_ZEROING : CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_data_punch(v->dc->c, v->view.branch, v->ino, a->offset, n, err);
	if (r < 0)
		cfs_op_abort(v->dc->c);
	else
		cfs_op_end(v->dc->c);
	return r;
}

static int io_discard(struct cfs_io_volume *io, uint64_t offset_bytes,
		      uint64_t length_bytes, struct cfs_err *err)
{
	struct access a = {
		.v = of(io),
		.offset = offset_bytes,
		.left = length_bytes,
		.writes = true,
		.fn = punch_piece,
	};
	int r = check_range(of(io), offset_bytes, length_bytes, err);

	if (r == 0)
		r = may_write(of(io), err);
	return r < 0 ? r : all_pieces(&a, err);
}

static int seek_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	uint64_t found = UINT64_MAX;
	int r;

	cfs_container_lock(v->dc->c);
	r = cfs_data_seek(&v->view, v->ino, a->offset, a->is_data, &found, err);
	cfs_container_unlock(v->dc->c);
	/* What is behind the piece is another lease's to tell. */
	if (r == 0 && found < a->offset + n)
		a->found = found;
	return r == -ENXIO ? 0 : r;
}

static int io_seek(struct cfs_io_volume *io, uint64_t offset_bytes, bool data,
		   uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	const uint64_t end = io_size_bytes(io);
	struct access a = {
		.v = of(io),
		.offset = offset_bytes,
		.left = end > offset_bytes ? end - offset_bytes : 0,
		.fn = seek_piece,
		.is_data = data,
		.found = UINT64_MAX,
	};
	int r = check_range(of(io), offset_bytes, 0, err);

	while (r == 0 && a.left > 0 && a.found == UINT64_MAX)
		r = next_piece(&a, err);
	if (r < 0)
		return r;
	if (a.found == UINT64_MAX && data)
		return -ENXIO;
	*ret_offset_bytes = a.found == UINT64_MAX ? end : a.found;
	return 0;
}

static int extent_piece(struct access *a, uint64_t n, struct cfs_err *err)
{
	struct direct_volume *v = a->v;
	int r;

	cfs_container_lock(v->dc->c);
	r = cfs_data_extent(&v->view, v->ino, a->offset, n, &a->is_data,
			    &a->found, err);
	cfs_container_unlock(v->dc->c);
	return r;
}

/* What is behind the first piece is another lease's to tell. */
static int io_extent(struct cfs_io_volume *io, uint64_t offset_bytes,
		     uint64_t length_bytes, bool *ret_is_data,
		     uint64_t *ret_length_bytes, struct cfs_err *err)
{
	struct access a = {
		.v = of(io),
		.offset = offset_bytes,
		.left = length_bytes,
		.fn = extent_piece,
	};
	int r = check_range(of(io), offset_bytes, length_bytes, err);

	if (r == 0)
		r = next_piece(&a, err);
	if (r < 0)
		return r;
	*ret_is_data = a.is_data;
	*ret_length_bytes = a.found;
	return 0;
}

static int sync_forwarded(struct direct_volume *v, struct cfs_err *err)
{
	struct cfs_io_volume *io;

	pthread_mutex_lock(&v->forwarded_lock);
	io = v->forwarded;
	pthread_mutex_unlock(&v->forwarded_lock);
	return io ? io->ops->sync(io, err) : 0;
}

static void volume_free(struct direct_volume *v)
{
	cfs_io_close(v->forwarded);
	pthread_mutex_destroy(&v->forwarded_lock);
	free(v->name);
	free(v);
}

/* It is acknowledged only if all that was written under is held still. */
static int io_sync(struct cfs_io_volume *io, struct cfs_err *err)
{
	struct direct_container *dc = of(io)->dc;
	int r = direct_is_lost(dc, err);

	if (r == 0 && of(io)->is_writable) {
		r = cfs_container_sync(dc->c, err);
		if (r < 0)
			r = direct_why(dc, r, err);
	}
	if (r == 0)
		r = sync_forwarded(of(io), err);
	return r;
}

static void unlink_volume(struct direct_volume *v)
{
	struct direct_volume **at;

	pthread_mutex_lock(&v->d->mutex);
	for (at = &v->d->volumes; *at != v; at = &(*at)->next)
		;
	*at = v->next;
	pthread_mutex_unlock(&v->d->mutex);
}

/* What it wrote is folded while the volume is sure to be there. */
static void io_close(struct cfs_io_volume *io)
{
	struct direct_volume *v = of(io);
	const struct cfs_direct_request leave = { .use = v->use };
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	direct_tree_close(v->tree);
	r = direct_is_lost(v->dc, &err);
	if (r == 0 && v->is_writable)
		r = cfs_container_fold(v->dc->c, &err);
	if (r < 0 && v->is_writable)
		direct_failed(v->d, &err);
	cfs_direct_locks_drop(v->d->locks, v->dc->id, v->id);
	unlink_volume(v);
	if (!__atomic_load_n(&v->d->is_lost, __ATOMIC_SEQ_CST))
		(void)direct_call(v->d, CFS_DIRECT_LEAVE, &leave, NULL, NULL);
	direct_container_put(v->dc);
	volume_free(v);
}

static int io_watch(struct cfs_io_volume *io, const struct cfs_io_watch *watch,
		    struct cfs_err *err)
{
	(void)err;
	if (io->fs)
		cfs_direct_fs_watch(io->fs, watch);
	return 0;
}

static bool io_may_keep(struct cfs_io_volume *io, uint64_t *ret_serial,
			uint64_t *ret_ns)
{
	return io->fs && cfs_direct_fs_may_keep(io->fs, ret_serial, ret_ns);
}

static int io_acquire(struct cfs_io_volume *io,
		      const struct cfs_lease_request *req,
		      const struct cfs_conn_wait *wait, struct cfs_held **ret,
		      struct cfs_err *err)
{
	return direct_acquire(of(io)->d, req, wait, ret, err);
}

static const struct cfs_io_ops direct_ops = {
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
	.acquire = io_acquire,
};

/* ---- opening ------------------------------------------------------------- */

static int ask_open(struct cfs_direct *d, struct direct_volume *v,
		    const char *volume, const char *snap, uint64_t wait_ns,
		    struct cfs_direct_opened *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf who = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_direct_request q = {
		.use = v->use,
		.value = wait_ns / CFS_NS_PER_MS,
		.flags = v->is_writable          ? CFS_DIRECT_WRITES
			 : d->s->opt.is_writable ? 0
						 : CFS_DIRECT_READS_ONLY,
	};
	int r = direct_identity(d, &who);

	if (strlen(volume) >= sizeof(q.volume) ||
	    (snap && strlen(snap) >= sizeof(q.snap)))
		return cfs_err_set(err, -ENOENT, "no such volume");
	strcpy(q.volume, volume);
	strcpy(q.snap, snap ? snap : "");
	q.data = who.data;
	q.data_bytes = who.bytes;
	if (r == 0)
		r = direct_call(d, CFS_DIRECT_OPEN, &q, &reply, err);
	return r < 0 ? r
		     : cfs_direct_opened_unpack(reply.data, reply.bytes, ret,
						err);
}

static int open_steps(struct cfs_direct *d, struct direct_volume *v,
		      const struct cfs_direct_opened *opened,
		      struct cfs_err *err)
{
	const struct cfs_direct_opened o = *opened;
	int r;

	v->v.kind = o.kind;
	v->id = o.volume_id;
	v->ino = o.ino;
	v->stamp = o.stamp;
	v->size_bytes = o.size_bytes;
	r = direct_container_get(d, &o, &v->dc, err);
	/* Its view may be of before the snapshot, or the volume, was there. */
	if (r == 0)
		r = direct_look(v->dc, UINT64_MAX, err);
	if (r == 0)
		v->view = (struct cfs_view){
			v->dc->c,
			o.branch,
			o.stamp ? o.stamp : CFS_STAMP_HEAD,
		};
	if (r == 0 && o.kind == CFS_VOLUME_TREE)
		r = direct_tree_open(v, err);
	return r;
}

int direct_volume_open(struct cfs_direct *d, const char *volume,
		       const char *snap, bool is_writable, uint64_t use,
		       uint64_t wait_ns, struct cfs_io_volume **ret,
		       struct cfs_err *err)
{
	struct direct_volume *v = calloc(1, sizeof(*v));
	struct cfs_direct_opened o;
	int r;

	if (!v)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	v->name = strdup(volume);
	if (!v->name) {
		free(v);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	pthread_mutex_init(&v->forwarded_lock, NULL);
	v->v.ops = &direct_ops;
	v->d = d;
	v->is_writable = is_writable;
	v->use = use;
	/* It may wait there; what follows is done by one at a time. */
	r = ask_open(d, v, volume, snap, wait_ns, &o, err);
	if (r == 0) {
		pthread_mutex_lock(&d->s->users_lock);
		r = open_steps(d, v, &o, err);
		pthread_mutex_unlock(&d->s->users_lock);
	}
	if (r < 0) {
		const struct cfs_direct_request leave = { .use = v->use };

		(void)direct_call(d, CFS_DIRECT_LEAVE, &leave, NULL, NULL);
		if (v->dc)
			direct_container_put(v->dc);
		volume_free(v);
		return r;
	}
	pthread_mutex_lock(&d->mutex);
	v->next = d->volumes;
	d->volumes = v;
	pthread_mutex_unlock(&d->mutex);
	*ret = &v->v;
	return 0;
}
