/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A clone becomes a container of its own (volume/promote.h).  What it shows,
 * and its snapshots from old to new, go through streams within this process;
 * so all can be broken off anywhere and goes on there.  Meanwhile the clone is
 * used as ever: what is copied last is a snapshot that is taken for that.  To
 * change one for the other nobody may use the clone, and nothing may have
 * changed since; else that is copied too.
 */
#include "session/promote.h"

#include "session/local.h"
#include "session/serve_use.h"
#include "session/session_priv.h"
#include "session/stream_local.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "ondisk/receive.h"
#include "volume/promote.h"
#include "volume/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Snapshots that are taken to be copied; a note tells whoever meets one. */
#define OWN_PREFIX "promote."
#define OWN_NOTE   "taken by snapctl promote, to go on from"

struct promote {
	struct cfs_session *s;
	const struct cfs_session_options *calls;
	const char *clone, *name;
	struct cfs_promote_source of;
	struct cfs_member *to; /* NULL: it is not begun */
	struct cfs_use *use;   /* of that */
	struct cfs_use *stays; /* the clone is not removed meanwhile */
	/* The newest snapshot that both have; "": none. */
	char base[CFS_NAME_BYTES];
	uint64_t base_stamp;
	uint16_t base_branch;
	uint64_t base_size_bytes;
	/* Of the stream that is under way. */
	struct cfs_stream_reader *reader;
	struct cfs_receiver *receiver;
	uint64_t done_bytes, total_bytes;
};

static bool is_own(const struct cfs_snapshot_rec *rec)
{
	return strncmp(rec->name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0 &&
	       strcmp(rec->note, OWN_NOTE) == 0;
}

/* ---- beginning ----------------------------------------------------------- */

static int check_clone(struct promote *p, struct cfs_err *err)
{
	struct cfs_receive_rec receiving;
	uint64_t clones = 0;
	int r;

	if (p->of.volume == CFS_VOLUME_FIRST)
		return cfs_err_set(err, -EINVAL, "it is not a clone");
	r = cfs_snapshot_clone_count(p->of.member, p->of.volume, 0, &clones,
				     err);
	if (r == 0 && clones)
		r = cfs_err_set(err, -EBUSY,
				"it has %" PRIu64 " %s of its own: promote or "
				"remove that first",
				clones, cfs_plural(clones, "clone", "clones"));
	if (r == 0 && cfs_receive_get(p->of.member, p->of.volume, &receiving,
				      NULL) != -ENOENT)
		r = cfs_err_set(err, -EBUSY,
				"a stream is being received into it");
	return r;
}

static int check_name(struct promote *p, struct cfs_err *err)
{
	struct cfs_member *other;
	int r;

	if (!cfs_name_is_valid(p->name))
		return cfs_err_set(err, -EINVAL, "%s: no valid name", p->name);
	r = cfs_pool_member(p->s->pool, p->name, &other, NULL);
	if (r == 0 && other != p->to)
		return cfs_err_set(err, -EEXIST, "it exists already");
	return 0;
}

static int begin(struct promote *p, struct cfs_err *err)
{
	struct cfs_named v = { .id = 0 };
	int r = cfs_session_may_write(p->s, err);

	if (r == 0)
		r = cfs_session_find(p->s, p->clone, &v, err);
	if (r < 0)
		return r;
	p->of = (struct cfs_promote_source){ v.member, v.id, v.rec };
	r = check_clone(p, err);
	if (r < 0)
		return r;
	r = cfs_promote_find(&p->of, &p->to, err);
	if (r < 0 && r != -ENOENT)
		return r;
	return p->name ? check_name(p, err) : 0;
}

/* One at a time works on it. */
static int enter(struct promote *p, struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = p->to->id,
		.volume = CFS_VOLUME_FIRST,
		.stamp = CFS_USE_ANY_STAMP,
		.mode = CFS_USE_ALONE,
	};

	return cfs_serve_volume_enter(p->s, &of, &p->use, err);
}

/* It is not removed meanwhile, but used, and rolled back: as if one of its
 * snapshots were read. */
static int pin_clone(struct promote *p, struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = p->of.member->id,
		.volume = p->of.volume,
		.stamp = CFS_USE_ANY_STAMP - 1,
		.mode = CFS_USE_READ,
	};

	return cfs_serve_volume_enter(p->s, &of, &p->stays, err);
}

static void promote_done(struct promote *p)
{
	if (p->receiver)
		(void)cfs_receiver_keep(p->receiver, NULL);
	cfs_receiver_free(p->receiver);
	cfs_stream_reader_free(p->reader);
	cfs_serve_volume_leave(p->s, p->use);
	cfs_serve_volume_leave(p->s, p->stays);
}

/* ---- what both have ------------------------------------------------------ */

/* Both have this one: what follows goes on from it. */
static void set_base(struct promote *p, uint64_t stamp,
		     const struct cfs_snapshot_rec *rec)
{
	memcpy(p->base, rec->name, sizeof(p->base));
	p->base_stamp = stamp;
	p->base_branch = (uint16_t)rec->branch;
	p->base_size_bytes = rec->size_bytes;
}

static int note_common(void *arg, uint64_t stamp,
		       const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct promote *p = arg;
	struct cfs_stream_identity id;
	struct cfs_snapshot_rec there;
	uint64_t there_stamp;
	int r;

	cfs_snapshot_identity(p->of.member, stamp, rec, &id);
	r = cfs_snapshot_find_identity(p->to, CFS_VOLUME_FIRST, &id,
				       &there_stamp, &there, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	set_base(p, stamp, rec);
	return 0;
}

static int find_base(struct promote *p, struct cfs_err *err)
{
	p->base[0] = '\0';
	p->base_stamp = 0;
	return p->to ? cfs_snapshot_each(p->of.member, p->of.volume,
					 note_common, p, err)
		     : 0;
}

/* Is the clone, as it is now, anything else than the base? */
static int is_changed(struct promote *p, struct cfs_err *err)
{
	const struct cfs_view base = {
		.container = p->of.member->container,
		.branch = p->base_branch,
		.stamp = p->base_stamp,
	};

	if (!p->base[0] || (p->of.rec.kind == CFS_VOLUME_LUN &&
			    p->of.rec.size_bytes != p->base_size_bytes))
		return 1;
	return cfs_volume_differs(p->of.member, p->of.volume, &base, err);
}

/* ---- copying ------------------------------------------------------------- */

static int make_container(struct promote *p,
			  const struct cfs_stream_begin *begin,
			  struct cfs_err *err)
{
	struct cfs_member *m;
	int r = cfs_pool_container_make(p->s->pool, p->name, begin->kind, 0,
					CFS_OBJECT_MAKING, &m, err);

	if (r < 0)
		return r;
	r = cfs_receive_make_volume(m, begin, err);
	if (r == 0)
		r = cfs_promote_begin(m, &p->of, err);
	if (r < 0) {
		(void)cfs_pool_container_remove(p->s->pool, m, NULL);
		return r;
	}
	p->to = m;
	return enter(p, err);
}

static int take_begin(struct promote *p, const struct cfs_stream_begin *begin,
		      struct cfs_err *err)
{
	const struct cfs_receiver_options opt = { .is_forced = true };
	int r = p->to ? 0 : make_container(p, begin, err);

	return r < 0 ? r
		     : cfs_receiver_new(p->to, CFS_VOLUME_FIRST, begin, &opt,
					&p->receiver, err);
}

static int take_item(void *arg, const struct cfs_stream_item *item,
		     struct cfs_err *err)
{
	struct promote *p = arg;

	switch (item->type) {
	case CFS_STREAM_BEGIN:
		return take_begin(p, item->begin, err);
	case CFS_STREAM_END:
		return cfs_receiver_finish(p->receiver, err);
	case CFS_STREAM_DATA:
		p->done_bytes += item->data.count * CFS_BLOCK_BYTES;
		if (p->calls->progress)
			p->calls->progress(
				p->calls->arg, p->done_bytes,
				CFS_MAX(p->total_bytes, p->done_bytes));
		break;
	default:
		break;
	}
	return cfs_receiver_take(p->receiver, item, err);
}

static int feed(void *arg, const void *bytes, size_t n, struct cfs_err *err)
{
	const struct promote *p = arg;

	return cfs_stream_feed(p->reader, bytes, n, err);
}

/* Where the last one was broken off, if that was of this snapshot. */
static int find_token(struct promote *p, const struct cfs_stream_identity *id,
		      char *ret, bool *ret_has, struct cfs_err *err)
{
	struct cfs_receive_rec rec;
	struct cfs_stream_token token;
	int r = p->to ? cfs_receive_get(p->to, CFS_VOLUME_FIRST, &rec, err)
		      : -ENOENT;

	*ret_has = r == 0 && cfs_stream_identity_is_same(&rec.to, id);
	/* What there is belongs to one that was removed meanwhile. */
	if (r == 0 && !*ret_has && !p->base[0])
		return cfs_err_set(err, -ESTALE,
				   "what was copied is of no use");
	if (*ret_has) {
		token = (struct cfs_stream_token){ rec.to, rec.from,
						   rec.position };
		cfs_stream_token_format(&token, ret);
	}
	return r == -ENOENT ? 0 : r;
}

/* One snapshot, of what both have. */
static int copy_one(struct promote *p, uint64_t stamp,
		    const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct cfs_send_options opt = {
		.volume = p->clone,
		.snap = rec->name,
		.base = p->base[0] ? p->base : NULL,
	};
	char token[CFS_STREAM_TOKEN_BYTES];
	struct cfs_stream_identity id;
	struct cfs_stream_totals totals;
	bool has_token = false;
	int r;

	cfs_snapshot_identity(p->of.member, stamp, rec, &id);
	r = find_token(p, &id, token, &has_token, err);
	if (r == 0)
		r = cfs_stream_reader_new(take_item, p, &p->reader, err);
	if (r < 0)
		return r;
	if (has_token) {
		opt.base = NULL;
		opt.token = token;
	}
	r = cfs_local_send(p->s, p->calls, &opt, feed, p, &totals, err);
	if (r == 0)
		r = cfs_stream_feed_end(p->reader, err);
	if (r < 0 && p->receiver)
		(void)cfs_receiver_keep(p->receiver, NULL);
	cfs_receiver_free(p->receiver);
	cfs_stream_reader_free(p->reader);
	p->receiver = NULL;
	p->reader = NULL;
	return r;
}

static int copy_missing(void *arg, uint64_t stamp,
			const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct promote *p = arg;
	int r;

	if (stamp <= p->base_stamp)
		return 0;
	r = copy_one(p, stamp, rec, err);
	if (r < 0)
		return r;
	set_base(p, stamp, rec);
	return 0;
}

static int take_own(struct promote *p, struct cfs_err *err)
{
	char name[CFS_NAME_BYTES];
	const struct cfs_snap_name snap = { p->clone, name };

	(void)snprintf(name, sizeof(name), OWN_PREFIX "%016" PRIx64,
		       (uint64_t)cfs_clock_realtime_ns(cfs_clock_system()));
	return cfs_local_snap_take(p->s, p->calls, &snap, 1, OWN_NOTE, err);
}

struct drop {
	struct promote *p;
	struct cfs_member *m;
	uint64_t volume;
	uint64_t before; /* this stamp */
};

static int drop_own(void *arg, uint64_t stamp,
		    const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	const struct drop *d = arg;

	if (stamp >= d->before || !is_own(rec))
		return 0;
	return cfs_snapshot_remove(d->m, d->volume, rec->name, NULL, err);
}

static int count_bytes(struct promote *p, struct cfs_err *err)
{
	struct cfs_volume_space space;
	int r = cfs_volume_space(p->of.member, p->of.volume, &space, err);

	if (r < 0)
		return r;
	p->total_bytes = space.used_blocks * CFS_BLOCK_BYTES;
	for (size_t i = 0; i < space.snapshot_count; i++)
		p->total_bytes += space.snapshots[i].exclusive_blocks *
				  CFS_BLOCK_BYTES;
	free(space.snapshots);
	return 0;
}

static int copy(struct promote *p, struct cfs_err *err)
{
	struct drop drop = { p, p->of.member, p->of.volume, 0 };
	int r = pin_clone(p, err);

	if (r == 0 && p->to)
		r = enter(p, err);
	if (r == 0)
		r = find_base(p, err);
	if (r == 0)
		r = cfs_snapshot_each(p->of.member, p->of.volume, copy_missing,
				      p, err);
	if (r == 0)
		r = is_changed(p, err);
	if (r != 1)
		return r;
	r = take_own(p, err);
	if (r == 0)
		r = cfs_snapshot_each(p->of.member, p->of.volume, copy_missing,
				      p, err);
	drop.before = p->base_stamp;
	return r < 0 ? r
		     : cfs_snapshot_each(p->of.member, p->of.volume, drop_own,
					 &drop, err);
}

int cfs_local_promote(struct cfs_session *s,
		      const struct cfs_session_options *calls,
		      const char *clone, const char *name, uint64_t *ret_bytes,
		      struct cfs_err *err)
{
	CFS_CLEANUP(promote_done)
	struct promote p = {
		.s = s,
		.calls = calls,
		.clone = clone,
		.name = name,
	};
	int r = begin(&p, err);

	if (r == 0)
		r = count_bytes(&p, err);
	if (r == 0 && !s->opt.is_dry_run)
		r = copy(&p, err);
	*ret_bytes = s->opt.is_dry_run ? p.total_bytes : p.done_bytes;
	return r;
}

/* ---- the change ---------------------------------------------------------- */

/* A snapshot of the new container: is it still one of the clone's?  Names and
 * holds are what they are there now. */
static int settle_one(void *arg, uint64_t stamp,
		      const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct promote *p = arg;
	struct cfs_stream_identity id;
	struct cfs_snapshot_rec at;
	uint64_t at_stamp;
	const bool is_held = rec->flags & CFS_SNAPSHOT_HELD;
	int r;

	cfs_snapshot_identity(p->to, stamp, rec, &id);
	r = cfs_snapshot_find_identity(p->of.member, p->of.volume, &id,
				       &at_stamp, &at, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || is_own(rec)) {
		r = is_held ? cfs_snapshot_hold(p->to, CFS_VOLUME_FIRST,
						rec->name, false, err)
			    : 0;
		return r < 0 ? r
			     : cfs_snapshot_remove(p->to, CFS_VOLUME_FIRST,
						   rec->name, NULL, err);
	}
	r = strcmp(at.name, rec->name) == 0
		    ? 0
		    : cfs_snapshot_rename(p->to, CFS_VOLUME_FIRST, rec->name,
					  at.name, err);
	if (r == 0 && is_held != !!(at.flags & CFS_SNAPSHOT_HELD))
		r = cfs_snapshot_hold(p->to, CFS_VOLUME_FIRST, at.name,
				      !is_held, err);
	return r;
}

struct newest {
	uint64_t stamp;
};

static int note_newest(void *arg, uint64_t stamp,
		       const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct newest *n = arg;

	(void)rec;
	(void)err;
	n->stamp = stamp;
	return 0;
}

/* -EAGAIN: not all is there yet. */
static int check_whole(struct promote *p, struct cfs_err *err)
{
	struct newest newest = { 0 };
	struct cfs_receive_rec receiving;
	int r = p->to ? find_base(p, err) : -EAGAIN;

	if (r == 0)
		r = cfs_snapshot_each(p->of.member, p->of.volume, note_newest,
				      &newest, err);
	if (r == 0 &&
	    (newest.stamp != p->base_stamp ||
	     cfs_receive_get(p->to, CFS_VOLUME_FIRST, &receiving, NULL) == 0))
		r = -EAGAIN;
	if (r == 0)
		r = is_changed(p, err);
	if (r == 1 || r == -EAGAIN)
		return cfs_err_set(err, -EAGAIN,
				   "it was changed before all was copied");
	return r;
}

static int change(struct promote *p, struct cfs_err *err)
{
	uint64_t slices;
	int r = enter(p, err);

	if (r == 0)
		r = cfs_snapshot_each(p->to, CFS_VOLUME_FIRST, settle_one, p,
				      err);
	if (r == 0)
		r = cfs_promote_commit(p->to, p->name, &p->of, err);
	return r < 0 ? r
		     : cfs_pool_reclaim(p->s->pool, p->of.member, &slices, err);
}

/* Alone with all that there is of the clone. */
static int enter_clone(struct promote *p, struct cfs_use **ret,
		       struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = p->of.member->id,
		.volume = p->of.volume,
		.stamp = CFS_USE_ANY_STAMP,
		.mode = CFS_USE_ALONE,
	};
	struct cfs_err why = CFS_ERR_INIT;
	int r = cfs_serve_volume_enter(p->s, &of, ret, &why);

	if (r == -EBUSY)
		return cfs_err_set(err, r,
				   "%s: what was copied is kept; end that, "
				   "and promote it again",
				   why.msg);
	if (r < 0)
		cfs_err_set(err, r, "%s", why.msg);
	return r;
}

int cfs_local_promote_end(struct cfs_session *s, const char *clone,
			  const char *name, struct cfs_err *err)
{
	CFS_CLEANUP(promote_done)
	struct promote p = { .s = s, .clone = clone, .name = name };
	struct cfs_use *use = NULL;
	int r = begin(&p, err);

	if (r == 0)
		r = enter_clone(&p, &use, err);
	/* As it is, now that nobody changes it. */
	if (r == 0)
		r = cfs_volume_get(p.of.member, p.of.volume, &p.of.rec, err);
	if (r == 0)
		r = check_whole(&p, err);
	if (r == 0)
		r = change(&p, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

int cfs_local_promote_undo(struct cfs_session *s, const char *clone,
			   struct cfs_err *err)
{
	struct promote p = { .s = s, .clone = clone };
	struct drop drop = { .before = UINT64_MAX };
	int r = begin(&p, err);

	if (r == 0 && p.to)
		r = enter(&p, err);
	if (r == 0 && p.to)
		r = cfs_pool_container_remove(s->pool, p.to, err);
	cfs_serve_volume_leave(s, p.use);
	drop.m = p.of.member;
	drop.volume = p.of.volume;
	return r < 0 ? r
		     : cfs_snapshot_each(drop.m, drop.volume, drop_own, &drop,
					 err);
}
