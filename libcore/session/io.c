/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A volume opened for input and output: which way its bytes are reached. */
#include "base/bits.h"
#include "base/clock.h"
#include "session/direct.h"
#include "session/io_local.h"
#include "session/refer.h"
#include "session/remote.h"
#include "session/serve_lease.h"
#include "session/session_priv.h"

#include <stdlib.h>
#include <string.h>

#define POLL_NS (20 * CFS_NS_PER_MS)

struct opening {
	struct cfs_session *s;
	const char *volume, *snap;
	bool is_writable;
	struct cfs_io_volume *v;
};

static int try_local(void *arg, struct cfs_err *err)
{
	struct opening *op = arg;

	return CFS_LOOK(op->s, cfs_local_io_open(op->s, op->volume, op->snap,
						 op->is_writable, &op->v, err));
}

static int open_local(struct cfs_session *s, const char *volume,
		      const char *snap, bool is_writable,
		      struct cfs_io_volume **ret, struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = s->opt.wait_seconds * CFS_NS_PER_S,
		.stop = s->opt.stop,
		.arg = s->opt.arg,
	};
	struct opening op = {
		.s = s,
		.volume = volume,
		.snap = snap,
		.is_writable = is_writable,
	};
	int r = cfs_serve_patiently(s, &wait, try_local, &op, err);

	if (r == 0)
		*ret = op.v;
	return r;
}

static int try_open(struct cfs_session *s, const char *volume, const char *snap,
		    bool is_writable, uint64_t wait_ns,
		    struct cfs_io_volume **ret, struct cfs_err *err)
{
	const bool is_only = s->opt.io_mode == CFS_IO_MODE_DIRECT;
	int r;

	if (is_only ||
	    (s->opt.io_mode != CFS_IO_MODE_FORWARDED && !s->is_forwarded)) {
		r = cfs_direct_io_open(s, volume, snap, is_writable, wait_ns,
				       ret, err);
		/* Somebody's lease is in the way, whichever way it is. */
		if (r == 0 || r == -EBUSY || r == -EINTR || is_only)
			return r;
	}
	return cfs_remote_io_open(s->remote, volume, snap, is_writable, wait_ns,
				  cfs_session_patience(s), ret, err);
}

/*
 * While somebody else has the lease that a volume is opened under, the holder
 * of the pool stands in the queue for us.  What he has no queue for (there are
 * too many who wait, the volume is being rolled back) is asked for again and
 * again.
 */
static int open_remote(struct cfs_session *s, const char *volume,
		       const char *snap, bool is_writable,
		       struct cfs_io_volume **ret, struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t now_ns = cfs_clock_elapsed_ns(clock);
	const uint64_t end_ns = cfs_deadline_add(now_ns, s->opt.wait_seconds *
								 CFS_NS_PER_S);
	int r;

	for (;;) {
		r = try_open(s, volume, snap, is_writable,
			     end_ns > now_ns ? end_ns - now_ns : 0, ret, err);
		now_ns = cfs_clock_elapsed_ns(clock);
		if (r != -EBUSY || now_ns >= end_ns)
			return r;
		if (s->opt.stop && s->opt.stop(s->opt.arg))
			return cfs_err_set(err, -EINTR,
					   "stopped while "
					   "waiting for it");
		cfs_clock_sleep_until(clock, now_ns + POLL_NS);
		now_ns = cfs_clock_elapsed_ns(clock);
	}
}

static int open_either(struct cfs_session *s, const char *volume,
		       const char *snap, bool is_writable,
		       struct cfs_io_volume **ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return open_local(s, volume, snap, is_writable, ret, err);
	r = is_writable ? cfs_session_may_write(s, err) : 0;
	if (r < 0)
		return r;
	return open_remote(s, volume, snap, is_writable, ret, err);
}

int cfs_io_open(struct cfs_session *s, const char *volume, const char *snap,
		bool is_writable, struct cfs_io_volume **ret,
		struct cfs_err *err)
{
	char *name = snap ? NULL : strdup(volume);
	struct cfs_session *where = s;
	struct cfs_io_volume *v;
	int r;

	if (!snap && !name)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = CFS_REFER(s, volume, 0, at, err,
		      (where = at,
		       open_either(at, volume, snap, is_writable, &v, err)));
	if (r < 0) {
		free(name);
		return r;
	}
	v->s = where;
	v->name = name;
	*ret = v;
	return 0;
}

void cfs_io_close(struct cfs_io_volume *v)
{
	char *name = v ? v->name : NULL;

	if (v)
		v->ops->close(v);
	free(name);
}

void cfs_io_closep(struct cfs_io_volume **v)
{
	cfs_io_close(*v);
}

uint32_t cfs_io_kind(const struct cfs_io_volume *v)
{
	return v->kind;
}

uint64_t cfs_io_size_bytes(const struct cfs_io_volume *v)
{
	return v->ops->size_bytes(v);
}

struct cfs_fs *cfs_io_fs(struct cfs_io_volume *v)
{
	return v->fs;
}

int cfs_io_read(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		size_t length_bytes, size_t *ret_good_bytes,
		struct cfs_err *err)
{
	return v->ops->read(v, offset_bytes, buf, length_bytes, ret_good_bytes,
			    err);
}

bool cfs_io_reads_many(const struct cfs_io_volume *v)
{
	return v->ops->read_many;
}

size_t cfs_io_span_read(const struct cfs_io_span *span,
			const struct cfs_view *view, uint64_t ino,
			uint64_t reach_bytes)
{
	struct cfs_data_part list[CFS_IO_PARTS_MAX];
	size_t n;

	for (n = 0; n < span->count; n++) {
		const struct cfs_io_part *p = &span->parts[n];

		if (p->offset_bytes + p->length_bytes - span->from_bytes >
		    reach_bytes)
			break;
		list[n] = (struct cfs_data_part){
			.offset_bytes = p->offset_bytes,
			.buf = p->buf,
			.length_bytes = p->length_bytes,
		};
	}
	return n ? cfs_data_read_many(view, ino, list, n) : 0;
}

/* Those in front that lie inside; of others a read by itself tells. */
static size_t try_many(struct cfs_io_volume *v, const struct cfs_io_part *parts,
		       size_t count)
{
	const uint64_t size = cfs_io_size_bytes(v);
	struct cfs_io_span span = { .parts = parts, .from_bytes = UINT64_MAX };

	if (!v->ops->read_many || v->kind != CFS_VOLUME_LUN)
		return 0;
	for (; span.count < CFS_MIN(count, (size_t)CFS_IO_PARTS_MAX);
	     span.count++) {
		const struct cfs_io_part *p = &parts[span.count];

		if (!cfs_range_fits(p->offset_bytes, p->length_bytes, size))
			break;
		span.from_bytes = CFS_MIN(span.from_bytes, p->offset_bytes);
		span.to_bytes = CFS_MAX(span.to_bytes,
					p->offset_bytes + p->length_bytes);
	}
	return span.count > 1 ? v->ops->read_many(v, &span) : 0;
}

static int read_part(struct cfs_io_volume *v, struct cfs_io_part *part,
		     struct cfs_err *err)
{
	part->result = v->ops->read(v, part->offset_bytes, part->buf,
				    part->length_bytes, NULL, err);
	return part->result;
}

int cfs_io_read_many(struct cfs_io_volume *v, struct cfs_io_part *parts,
		     size_t count, struct cfs_err *err)
{
	int first = 0;

	for (size_t at = 0, n; at < count; at += n) {
		n = try_many(v, parts + at, count - at);
		for (size_t i = 0; i < n; i++)
			parts[at + i].result = 0;
		if (n > 0)
			continue;
		n = 1;
		(void)read_part(v, &parts[at], first == 0 ? err : NULL);
		first = first == 0 ? parts[at].result : first;
	}
	return first;
}

int cfs_io_write(struct cfs_io_volume *v, uint64_t offset_bytes,
		 const void *buf, size_t length_bytes, struct cfs_err *err)
{
	return v->ops->write(v, offset_bytes, buf, length_bytes, err);
}

int cfs_io_discard(struct cfs_io_volume *v, uint64_t offset_bytes,
		   uint64_t length_bytes, struct cfs_err *err)
{
	return v->ops->discard(v, offset_bytes, length_bytes, err);
}

int cfs_io_seek(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	return v->ops->seek(v, offset_bytes, data, ret_offset_bytes, err);
}

/* Where the next of the other kind begins. */
static int extent_by_seek(struct cfs_io_volume *v, uint64_t offset_bytes,
			  uint64_t length_bytes, bool *ret_is_data,
			  uint64_t *ret_length_bytes, struct cfs_err *err)
{
	uint64_t next = 0;
	int r = v->ops->seek(v, offset_bytes, true, &next, err);
	const bool is_data = r == 0 && next == offset_bytes;

	if (is_data)
		r = v->ops->seek(v, offset_bytes, false, &next, err);
	else if (r == -ENXIO)
		next = UINT64_MAX;
	if (r < 0 && r != -ENXIO)
		return r;
	*ret_is_data = is_data;
	*ret_length_bytes = CFS_MIN(length_bytes, next - offset_bytes);
	return 0;
}

int cfs_io_extent(struct cfs_io_volume *v, uint64_t offset_bytes,
		  uint64_t length_bytes, bool *ret_is_data,
		  uint64_t *ret_length_bytes, struct cfs_err *err)
{
	return (v->ops->extent ? v->ops->extent : extent_by_seek)(
		v, offset_bytes, length_bytes, ret_is_data, ret_length_bytes,
		err);
}

int cfs_io_sync(struct cfs_io_volume *v, struct cfs_err *err)
{
	return v->ops->sync(v, err);
}

int cfs_io_watch(struct cfs_io_volume *v, const struct cfs_io_watch *watch,
		 struct cfs_err *err)
{
	return v->ops->watch ? v->ops->watch(v, watch, err) : 0;
}

bool cfs_io_may_keep(struct cfs_io_volume *v, uint64_t *ret_serial,
		     uint64_t *ret_ns)
{
	return v->ops->may_keep && v->ops->may_keep(v, ret_serial, ret_ns);
}
