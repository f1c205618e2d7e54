/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving a stream by name: a thing that is written to like a volume, so
 * that it is reached in the same ways (io_ops.h).  What is written to it goes
 * through the reader, record by record, to the receiver.
 */
#include "session/stream_local.h"

#include "base/cleanup.h"
#include "ondisk/receive.h"
#include "session/io_ops.h"
#include "session/local.h"
#include "session/serve_direct.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include <stdlib.h>
#include <string.h>

#define HOLD_TRIES 50

struct recv {
	struct cfs_io_volume v; /* first: see io_ops.h */
	struct cfs_session *s;
	struct cfs_member *m;
	uint64_t volume;
	struct cfs_use *use;
	struct cfs_stream_reader *reader;
	struct cfs_receiver *receiver;
	uint64_t offset_bytes; /* of the next byte */
	bool is_finished;
};

static struct recv *of(struct cfs_io_volume *v)
{
	return (struct recv *)v;
}

/* ---- records ------------------------------------------------------------- */

/* Those who write beside us have folded, as for any snapshot. */
static int finish(struct recv *rv, struct cfs_err *err)
{
	int r, tries = 0;

	do {
		r = cfs_serve_direct_hold(rv->s->beside_us, &rv->m, 1, NULL,
					  NULL, err);
		if (r < 0)
			break;
		r = cfs_receiver_finish(rv->receiver, err);
		cfs_serve_direct_go_on(rv->s->beside_us);
	} while (r == -EBUSY &&
		 cfs_serve_direct_has_clients(rv->s->beside_us) &&
		 ++tries < HOLD_TRIES);
	rv->is_finished = r == 0;
	return r;
}

/* BEGIN was looked at before. */
static int take_item(void *arg, const struct cfs_stream_item *item,
		     struct cfs_err *err)
{
	struct recv *rv = arg;

	if (item->type == CFS_STREAM_BEGIN)
		return 0;
	if (item->type == CFS_STREAM_END)
		return finish(rv, err);
	return cfs_receiver_take(rv->receiver, item, err);
}

/* ---- what is written to -------------------------------------------------- */

static int recv_write(struct cfs_io_volume *v, uint64_t offset_bytes,
		      const void *buf, size_t length_bytes, struct cfs_err *err)
{
	struct recv *rv = of(v);
	int r;

	if (offset_bytes != rv->offset_bytes)
		return cfs_err_set(err, -EINVAL, "a stream comes in order");
	r = cfs_stream_feed(rv->reader, buf, length_bytes, err);
	if (r == 0)
		rv->offset_bytes += length_bytes;
	return r;
}

static int recv_sync(struct cfs_io_volume *v, struct cfs_err *err)
{
	struct recv *rv = of(v);
	int r = cfs_stream_feed_end(rv->reader, err), kept = 0;

	if (rv->is_finished)
		return r;
	kept = cfs_receiver_keep(rv->receiver, r < 0 ? NULL : err);
	return r < 0 ? r : kept;
}

static void recv_close(struct cfs_io_volume *v)
{
	struct recv *rv = of(v);

	if (rv->receiver && !rv->is_finished)
		(void)cfs_receiver_keep(rv->receiver, NULL);
	cfs_receiver_free(rv->receiver);
	cfs_stream_reader_free(rv->reader);
	cfs_serve_volume_leave(rv->s, rv->use);
	free(rv);
}

static uint64_t recv_size(const struct cfs_io_volume *v)
{
	const struct recv *rv = (const struct recv *)v;

	return rv->offset_bytes;
}

static int refuse(struct cfs_err *err)
{
	return cfs_err_set(err, -EINVAL, "a stream is only written");
}

static int recv_read(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		     size_t length_bytes, size_t *ret_good_bytes,
		     struct cfs_err *err)
{
	(void)v;
	(void)offset_bytes;
	(void)buf;
	(void)length_bytes;
	(void)ret_good_bytes;
	return refuse(err);
}

static int recv_discard(struct cfs_io_volume *v, uint64_t offset_bytes,
			uint64_t length_bytes, struct cfs_err *err)
{
	(void)v;
	(void)offset_bytes;
	(void)length_bytes;
	return refuse(err);
}

static int recv_seek(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		     uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	(void)v;
	(void)offset_bytes;
	(void)data;
	(void)ret_offset_bytes;
	return refuse(err);
}

static const struct cfs_io_ops recv_ops = {
	.close = recv_close,
	.size_bytes = recv_size,
	.read = recv_read,
	.write = recv_write,
	.discard = recv_discard,
	.seek = recv_seek,
	.sync = recv_sync,
};

/* ---- beginning ----------------------------------------------------------- */

static int note_begin(void *arg, const struct cfs_stream_item *item,
		      struct cfs_err *err)
{
	(void)err;
	if (item->type == CFS_STREAM_BEGIN)
		*(struct cfs_stream_begin *)arg = *item->begin;
	return 0;
}

static int read_begin(const void *bytes, size_t n, struct cfs_stream_begin *ret,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_stream_reader_freep)
	struct cfs_stream_reader *reader = NULL;
	int r = cfs_stream_reader_new(note_begin, ret, &reader, err);

	if (r == 0)
		r = cfs_stream_feed(reader, bytes,
				    CFS_MIN(n, CFS_STREAM_BEGIN_BYTES), err);
	if (r == 0 && !cfs_stream_reader_begin(reader))
		r = cfs_stream_feed_end(reader, err);
	return r;
}

static int make_container(struct cfs_session *s, const char *name,
			  const struct cfs_stream_begin *begin,
			  struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct cfs_member *m;
	int r;

	if (!cfs_stream_identity_is_none(&begin->from))
		return cfs_err_set(err, -ENOENT,
				   "no such volume: the stream "
				   "begins at @%s, which it must have",
				   begin->from_snap);
	if (begin->position.ino || begin->position.word)
		return cfs_err_set(err, -ENOENT,
				   "no such volume: the stream "
				   "goes on from where it was broken off");
	r = cfs_pool_container_make(s->pool, name, begin->kind, 0,
				    CFS_OBJECT_MAKING, &m, err);
	if (r < 0)
		return r;
	r = cfs_receive_make_volume(m, begin, err);
	if (r == 0) {
		rec = m->rec;
		rec.state = CFS_OBJECT_LIVE;
		r = cfs_pool_container_update(s->pool, m, &rec, err);
	}
	if (r < 0)
		(void)cfs_pool_container_remove(s->pool, m, NULL);
	return r;
}

struct base_search {
	struct cfs_member *m;
	const struct cfs_stream_identity *id;
	uint64_t volume;
	struct cfs_snapshot_rec rec;
};

static int look_for_base(void *arg, uint64_t id,
			 const struct cfs_volume_rec *rec, struct cfs_err *err)
{
	struct base_search *b = arg;
	uint64_t stamp;
	int r = cfs_snapshot_find_identity(b->m, id, b->id, &stamp, &b->rec,
					   err);

	(void)rec;
	b->volume = id;
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

/* A clone of what the stream begins at. */
static int make_clone(struct cfs_session *s, const char *volume,
		      const struct cfs_stream_begin *begin, struct cfs_err *err)
{
	struct base_search b = { .id = &begin->from };
	const char *slash = strchr(volume, '/');
	char name[CFS_NAME_BYTES];
	struct cfs_named named = { .id = 0 };
	const size_t n = (size_t)(slash - volume);
	int r;

	if (n >= sizeof(name))
		return cfs_err_set(err, -ENOENT, "no such volume");
	memcpy(name, volume, n);
	name[n] = '\0';
	r = cfs_session_find(s, name, &named, err);
	if (r < 0)
		return r;
	b.m = named.member;
	r = cfs_stream_identity_is_none(&begin->from)
		    ? 0
		    : cfs_volume_each(b.m, look_for_base, &b, err);
	if (r == 0)
		return cfs_err_set(err, -ENOENT,
				   "no such volume, and %s has "
				   "nothing that a clone for this stream "
				   "would begin at",
				   name);
	return r < 0 ? r
		     : cfs_snapshot_clone(b.m, b.volume, b.rec.name, slash + 1,
					  err);
}

static int find_or_make(struct recv *rv, const char *volume,
			const struct cfs_stream_begin *begin, bool *ret_made,
			struct cfs_err *err)
{
	struct cfs_named named = { .id = 0 };
	int r = cfs_session_find(rv->s, volume, &named, NULL);

	*ret_made = r == -ENOENT;
	if (r == -ENOENT) {
		r = strchr(volume, '/')
			    ? make_clone(rv->s, volume, begin, err)
			    : make_container(rv->s, volume, begin, err);
		if (r < 0) {
			*ret_made = false;
			return r;
		}
	}
	r = cfs_session_find(rv->s, volume, &named, err);
	rv->m = named.member;
	rv->volume = named.id;
	return r;
}

static void warn_line(void *arg, const char *line)
{
	const struct recv *rv = arg;

	if (rv->s->opt.warn)
		rv->s->opt.warn(rv->s->opt.arg, line);
}

static int begin_steps(struct recv *rv, const char *volume, bool is_forced,
		       const void *bytes, size_t n, struct cfs_err *err)
{
	const struct cfs_receiver_options opt = {
		.is_forced = is_forced,
		.warn = warn_line,
		.arg = rv,
	};
	struct cfs_use_of use = { .mode = CFS_USE_ALONE };
	struct cfs_stream_begin begin;
	bool is_made = false;
	int r = read_begin(bytes, n, &begin, err);

	if (r == 0)
		r = cfs_stream_reader_new(take_item, rv, &rv->reader, err);
	if (r == 0)
		r = find_or_make(rv, volume, &begin, &is_made, err);
	if (r == 0) {
		use.container = rv->m->id;
		use.volume = rv->volume;
		r = cfs_serve_volume_enter(rv->s, &use, &rv->use, err);
	}
	if (r == 0)
		r = cfs_receiver_new(rv->m, rv->volume, &begin, &opt,
				     &rv->receiver, err);
	if (r < 0 && is_made) {
		cfs_serve_volume_leave(rv->s, rv->use);
		rv->use = NULL;
		(void)cfs_local_remove_volume(rv->s, volume, false, NULL);
	}
	return r;
}

int cfs_local_recv(struct cfs_session *s, const char *volume, bool is_forced,
		   const void *begin, size_t begin_bytes,
		   struct cfs_io_volume **ret, struct cfs_err *err)
{
	struct recv *rv;
	int r = cfs_session_may_write(s, err);

	if (r < 0)
		return r;
	rv = calloc(1, sizeof(*rv));
	if (!rv)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	rv->v.ops = &recv_ops;
	rv->v.kind = CFS_VOLUME_LUN;
	rv->s = s;
	r = begin_steps(rv, volume, is_forced, begin, begin_bytes, err);
	if (r < 0)
		recv_close(&rv->v);
	else
		*ret = &rv->v;
	return r;
}

/* ---- one that was broken off --------------------------------------------- */

int cfs_local_recv_token(struct cfs_session *s, const char *volume,
			 char ret[CFS_STREAM_TOKEN_BYTES], struct cfs_err *err)
{
	struct cfs_named named = { .id = 0 };
	struct cfs_receive_rec rec;
	struct cfs_stream_token token;
	int r = cfs_session_find(s, volume, &named, err);

	if (r < 0)
		return r;
	r = cfs_receive_get(named.member, named.id, &rec, err);
	if (r == -ENOENT)
		return cfs_err_set(err, r, "no stream into it was broken off");
	if (r < 0)
		return r;
	token = (struct cfs_stream_token){ rec.to, rec.from, rec.position };
	cfs_stream_token_format(&token, ret);
	return 0;
}

struct base_name {
	uint64_t stamp;
	uint16_t branch;
	char *ret;
};

static int match_base(void *arg, uint64_t stamp,
		      const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	const struct base_name *b = arg;

	(void)err;
	if (stamp != b->stamp || rec->branch != b->branch)
		return 0;
	memcpy(b->ret, rec->name, CFS_NAME_BYTES);
	return 1;
}

int cfs_local_receiving(struct cfs_member *m, uint64_t volume, char *ret_snap,
			struct cfs_err *err)
{
	struct base_name b = { .ret = ret_snap };
	struct cfs_receive_rec rec;
	int r = cfs_receive_get(m, volume, &rec, err);

	if (r < 0)
		return r;
	b.stamp = rec.base_stamp;
	b.branch = rec.base_branch;
	r = b.stamp ? cfs_snapshot_each(m, volume, match_base, &b, err) : 0;
	if (r == 0)
		return cfs_err_set(err, -EBUSY,
				   "a stream is being received "
				   "into it");
	return r < 0 ? r : 0;
}
