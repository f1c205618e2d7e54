/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams in memory, from one pool of heal_fixture.h into another.  Include
 * after <cmocka.h>.
 */
#pragma once

#include <sys/stat.h>

#include "base/buf.h"
#include "heal_fixture.h"
#include "ondisk/receive.h"
#include "volume/stream.h"

static inline int stream_to_buf(void *arg, const void *bytes, size_t n,
				struct cfs_err *err)
{
	(void)err;
	return cfs_buf_append(arg, bytes, n);
}

static inline struct cfs_view stream_view(struct cfs_member *m, uint64_t volume,
					  const char *snap,
					  struct cfs_snapshot_rec *ret)
{
	struct cfs_view view = { .container = m->container };

	HEAL_OK(cfs_snapshot_find(m, volume, snap, &view.stamp, ret, &err_));
	view.branch = (uint16_t)ret->branch;
	return view;
}

/*
 * The stream of a snapshot into @ret, from another one of the volume
 * @from_volume or NULL, from @position on or NULL.
 */
static inline void stream_make(struct cfs_member *m, uint64_t volume,
			       uint64_t from_volume, const char *from,
			       const char *to,
			       const struct cfs_stream_position *position,
			       struct cfs_buf *ret)
{
	const struct cfs_stream_calls calls = {
		.write = stream_to_buf,
		.arg = ret,
	};
	struct cfs_stream_begin begin = { .data_bytes = 0 };
	struct cfs_snapshot_rec rec, from_rec;
	struct cfs_stream_totals totals;
	struct cfs_volume_rec vol;
	struct cfs_view views[2];
	struct cfs_diff_of of = { .to = &views[1] };

	HEAL_OK(cfs_container_commit(m->container, &err_));
	HEAL_OK(cfs_volume_get(m, volume, &vol, &err_));
	views[1] = stream_view(m, volume, to, &rec);
	cfs_snapshot_identity(m, views[1].stamp, &rec, &begin.to);
	if (from) {
		views[0] = stream_view(m, from_volume, from, &from_rec);
		cfs_snapshot_identity(m, views[0].stamp, &from_rec,
				      &begin.from);
		strcpy(begin.from_snap, from);
		of.from = &views[0];
	}
	of.kind = begin.kind = vol.kind;
	of.ino = begin.root_ino = vol.ino;
	begin.hash_seed = vol.hash_seed;
	begin.size_bytes = rec.size_bytes;
	begin.created_ns = rec.created_ns;
	memcpy(begin.container_uuid, cfs_container_uuid(m->container), 16);
	strcpy(begin.volume, m->rec.name);
	strcpy(begin.snap, to);
	strcpy(begin.note, rec.note);
	if (position)
		begin.position = *position;
	HEAL_OK(cfs_stream_send(&of, &begin, &calls, &totals, &err_));
	assert_int_equal(totals.bytes, ret->bytes);
}

/* Receiving, as the session does it. */
struct stream_taker {
	struct cfs_pool *pool;
	const char *name;
	bool is_forced;
	struct cfs_receiver *r;
};

static inline int stream_begin(struct stream_taker *t,
			       const struct cfs_stream_begin *begin,
			       struct cfs_err *err)
{
	const struct cfs_receiver_options opt = { .is_forced = t->is_forced };
	struct cfs_container_rec rec;
	struct cfs_member *m;
	int r = cfs_pool_member(t->pool, t->name, &m, err);

	if (r == -ENOENT) {
		r = cfs_pool_container_make(t->pool, t->name, begin->kind, 0,
					    CFS_OBJECT_MAKING, &m, err);
		if (r == 0)
			r = cfs_receive_make_volume(m, begin, err);
		if (r == 0) {
			rec = m->rec;
			rec.state = CFS_OBJECT_LIVE;
			r = cfs_pool_container_update(t->pool, m, &rec, err);
		}
	}
	return r < 0 ? r
		     : cfs_receiver_new(m, CFS_VOLUME_FIRST, begin, &opt, &t->r,
					err);
}

static inline int stream_item(void *arg, const struct cfs_stream_item *item,
			      struct cfs_err *err)
{
	struct stream_taker *t = arg;

	if (item->type == CFS_STREAM_BEGIN)
		return stream_begin(t, item->begin, err);
	if (item->type == CFS_STREAM_END)
		return cfs_receiver_finish(t->r, err);
	return cfs_receiver_take(t->r, item, err);
}

/* Feed @n bytes in pieces of @piece, and let go.  What the first failure
 * returned, or what the end of the stream says. */
static inline int stream_take(struct cfs_pool *pool, const char *name,
			      bool is_forced, const void *bytes, size_t n,
			      size_t piece, struct cfs_err *err)
{
	struct stream_taker t = {
		.pool = pool,
		.name = name,
		.is_forced = is_forced,
	};
	struct cfs_stream_reader *reader;
	int r = cfs_stream_reader_new(stream_item, &t, &reader, err);

	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = cfs_stream_feed(reader, (const uint8_t *)bytes + at,
				    piece < n - at ? piece : n - at, err);
	if (r == 0)
		r = cfs_stream_feed_end(reader, err);
	if (t.r)
		HEAL_OK(cfs_receiver_keep(t.r, &err_));
	cfs_receiver_free(t.r);
	cfs_stream_reader_free(reader);
	return r;
}

static inline int stream_verify(const void *bytes, size_t n,
				struct cfs_err *err)
{
	struct cfs_stream_reader *reader;
	int r = cfs_stream_reader_new(NULL, NULL, &reader, err);

	if (r == 0)
		r = cfs_stream_feed(reader, bytes, n, err);
	if (r == 0)
		r = cfs_stream_feed_end(reader, err);
	cfs_stream_reader_free(reader);
	return r;
}

/* Everything that a view shows, as one hash: records but for what is the
 * place's own business, and the bytes of all data. */
static inline uint64_t stream_hash(const struct cfs_view *view, uint32_t kind,
				   uint64_t ino)
{
	const struct cfs_diff_of of = {
		.to = view,
		.kind = kind,
		.ino = ino,
	};
	struct cfs_diff *d;
	struct cfs_change c;
	uint8_t *buf = malloc(HEAL_BLOCK);
	uint64_t hash = 1;
	int r;

	assert_non_null(buf);
	HEAL_OK(cfs_container_commit(view->container, &err_));
	HEAL_OK(cfs_diff_new(&of, &d, &err_));
	cfs_container_lock(view->container);
	while ((r = cfs_diff_next(d, &c, NULL)) == 1) {
		const uint64_t key[2] = { c.ino, c.word };

		if (c.kind == CFS_CHANGE_PUT) {
			hash = cfs_xxh3_seed(key, sizeof(key), hash);
			hash = cfs_xxh3_seed(c.value, c.value_bytes, hash);
			continue;
		}
		assert_int_equal(c.kind, CFS_CHANGE_DATA);
		for (uint64_t i = 0; i < c.count; i++) {
			const uint64_t at[2] = { c.ino, c.offset + i };

			HEAL_OK(cfs_data_read(view, c.ino,
					      (c.offset + i) * HEAL_BLOCK, buf,
					      HEAL_BLOCK, NULL, &err_));
			hash = cfs_xxh3_seed(at, sizeof(at), hash);
			hash = cfs_xxh3_seed(buf, HEAL_BLOCK, hash);
		}
	}
	cfs_container_unlock(view->container);
	assert_int_equal(r, 0);
	cfs_diff_free(d);
	free(buf);
	return hash;
}

static inline uint64_t stream_hash_snap(struct cfs_member *m, uint64_t volume,
					const char *snap)
{
	struct cfs_snapshot_rec rec;
	struct cfs_view view = stream_view(m, volume, snap, &rec);
	struct cfs_volume_rec vol;

	HEAL_OK(cfs_volume_get(m, volume, &vol, &err_));
	return stream_hash(&view, vol.kind, vol.ino);
}

static inline uint64_t stream_hash_head(struct cfs_member *m, uint64_t volume)
{
	struct cfs_volume_rec vol;
	struct cfs_view view;

	HEAL_OK(cfs_volume_get(m, volume, &vol, &err_));
	cfs_volume_view(m, &vol, &view);
	return stream_hash(&view, vol.kind, vol.ino);
}
