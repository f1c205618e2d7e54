/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending a snapshot, and what changed between two, by name. */
#include "session/stream_local.h"

#include "base/cleanup.h"
#include "session/serve_direct.h"
#include "session/serve_use.h"
#include "session/session_priv.h"
#include "tree/hooks.h"

#include <string.h>

/* A moment of a volume, which stays as long as it is used. */
struct moment {
	struct cfs_session *s;
	struct cfs_member *m;
	uint64_t volume;
	struct cfs_volume_rec rec;
	struct cfs_snapshot_rec snap; /* not of a volume as it is */
	struct cfs_view view;
	struct cfs_use *use;
};

static void moment_done(struct moment *at)
{
	cfs_serve_volume_leave(at->s, at->use);
}

/* It must not go while it is looked at. */
static int pin(struct moment *at, struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = at->m->id,
		.volume = at->volume,
		.stamp = at->view.stamp == CFS_STAMP_HEAD ? 0 : at->view.stamp,
		.mode = CFS_USE_READ,
	};

	return cfs_serve_volume_enter(at->s, &of, &at->use, err);
}

static void see_snapshot(struct moment *at, uint64_t stamp)
{
	at->view = (struct cfs_view){
		at->m->container,
		(uint16_t)at->snap.branch,
		stamp,
	};
}

/* @snap NULL: as it is now. */
static int find_moment(struct cfs_session *s, const char *volume,
		       const char *snap, struct moment *ret,
		       struct cfs_err *err)
{
	struct cfs_named named = { .id = 0 };
	uint64_t stamp = 0;
	int r = cfs_session_find(s, volume, &named, err);

	if (r < 0)
		return r;
	ret->s = s;
	ret->m = named.member;
	ret->volume = named.id;
	ret->rec = named.rec;
	if (!snap) {
		cfs_volume_view(ret->m, &ret->rec, &ret->view);
		return pin(ret, err);
	}
	r = cfs_snapshot_find(ret->m, ret->volume, snap, &stamp, &ret->snap,
			      err);
	if (r < 0)
		return cfs_err_wrap(err, r, "%s@%s", volume, snap);
	see_snapshot(ret, stamp);
	return pin(ret, err);
}

/*
 * What the receiver has: by name or by identity, of the volume, or of one that
 * it comes from.
 */
static int find_base(const struct moment *to, const char *name,
		     const struct cfs_stream_identity *id, struct moment *ret,
		     struct cfs_err *err)
{
	uint64_t stamp = 0;
	int r;

	*ret = *to;
	ret->use = NULL;
	for (;;) {
		if (name)
			r = cfs_snapshot_find(ret->m, ret->volume, name, &stamp,
					      &ret->snap, NULL);
		else
			r = cfs_snapshot_find_identity(ret->m, ret->volume, id,
						       &stamp, &ret->snap, err);
		if (r != -ENOENT || !ret->rec.origin_volume)
			break;
		ret->volume = ret->rec.origin_volume;
		r = cfs_volume_get(ret->m, ret->volume, &ret->rec, err);
		if (r < 0)
			break;
	}
	if (r == -ENOENT)
		return cfs_err_set(err, r,
				   "@%s: no such snapshot of it, or of "
				   "what it is a clone of",
				   name ? name : "(of the token)");
	if (r < 0)
		return name ? cfs_err_set(err, r, "@%s: cannot be looked for",
					  name)
			    : r;
	see_snapshot(ret, stamp);
	return pin(ret, err);
}

/*
 * All that waits in memory goes home, of those who write beside us too.
 */
static int settle(struct cfs_session *s, struct cfs_member *m, bool is_now,
		  struct cfs_err *err)
{
	int r = 0;

	if (!cfs_container_is_writable(m->container))
		return 0;
	if (is_now) {
		r = cfs_serve_direct_hold(s->beside_us, &m, 1, NULL, NULL, err);
		if (r == 0)
			cfs_serve_direct_go_on(s->beside_us);
	}
	return r < 0 ? r : cfs_container_commit(m->container, err);
}

/* ---- sending ------------------------------------------------------------- */

static int parse_token(const struct cfs_send_options *opt,
		       const struct cfs_stream_begin *begin,
		       struct cfs_stream_token *ret, struct cfs_err *err)
{
	int r = cfs_stream_token_parse(opt->token, ret, err);

	if (r == 0 && !cfs_stream_identity_is_same(&ret->to, &begin->to))
		r = cfs_err_set(err, -EINVAL,
				"the token is of another "
				"snapshot");
	return r;
}

static void announce(const struct moment *to, const struct moment *from,
		     struct cfs_stream_begin *begin)
{
	begin->kind = to->rec.kind;
	begin->root_ino = to->rec.ino;
	begin->hash_seed = to->rec.hash_seed;
	begin->size_bytes = to->rec.kind == CFS_VOLUME_LUN ? to->snap.size_bytes
							   : 0;
	begin->created_ns = to->snap.created_ns;
	memcpy(begin->pool_uuid, cfs_devset_label(to->s->set, 0)->pool_uuid,
	       16);
	memcpy(begin->container_uuid, cfs_container_uuid(to->m->container), 16);
	cfs_session_name(to->m, &to->rec, begin->volume);
	memcpy(begin->snap, to->snap.name, sizeof(begin->snap));
	memcpy(begin->note, to->snap.note, sizeof(begin->note));
	if (!from)
		return;
	cfs_snapshot_identity(from->m, from->view.stamp, &from->snap,
			      &begin->from);
	memcpy(begin->from_snap, from->snap.name, sizeof(begin->from_snap));
}

static int send_moments(const struct moment *to, const struct moment *from,
			const struct cfs_stream_begin *begin,
			const struct cfs_stream_calls *calls,
			struct cfs_stream_totals *ret, struct cfs_err *err)
{
	const struct cfs_diff_of of = {
		.to = &to->view,
		.from = from ? &from->view : NULL,
		.kind = to->rec.kind,
		.ino = to->rec.ino,
	};
	int r = settle(to->s, to->m, false, err);

	return r < 0 ? r : cfs_stream_send(&of, begin, calls, ret, err);
}

/* Stop and write have arguments of their own. */
struct both {
	const struct cfs_session_options *calls;
	cfs_stream_write_fn write;
	void *arg;
};

static int both_write(void *arg, const void *bytes, size_t n,
		      struct cfs_err *err)
{
	const struct both *b = arg;

	return b->write(b->arg, bytes, n, err);
}

static bool both_stop(void *arg)
{
	const struct both *b = arg;

	return b->calls->stop && b->calls->stop(b->calls->arg);
}

int cfs_local_send(struct cfs_session *s,
		   const struct cfs_session_options *calls,
		   const struct cfs_send_options *opt,
		   cfs_stream_write_fn write, void *arg,
		   struct cfs_stream_totals *ret, struct cfs_err *err)
{
	CFS_CLEANUP(moment_done) struct moment to = { .s = s };
	CFS_CLEANUP(moment_done) struct moment from = { .s = s };
	struct cfs_stream_begin begin = { .kind = 0 };
	struct cfs_stream_token token;
	struct both both = { calls, write, arg };
	const struct cfs_stream_calls to_write = {
		.write = both_write,
		.stop = both_stop,
		.arg = &both,
	};
	bool has_base = opt->base;
	int r = find_moment(s, opt->volume, opt->snap, &to, err);

	if (r < 0)
		return r;
	cfs_snapshot_identity(to.m, to.view.stamp, &to.snap, &begin.to);
	if (opt->token) {
		r = parse_token(opt, &begin, &token, err);
		if (r < 0)
			return r;
		begin.position = token.position;
		has_base = !cfs_stream_identity_is_none(&token.from);
		if (has_base)
			r = find_base(&to, NULL, &token.from, &from, err);
	} else if (has_base) {
		r = find_base(&to, opt->base, NULL, &from, err);
	}
	if (r < 0)
		return r;
	announce(&to, has_base ? &from : NULL, &begin);
	return send_moments(&to, has_base ? &from : NULL, &begin, &to_write,
			    ret, err);
}

/* ---- what changed -------------------------------------------------------- */

int cfs_local_diff(struct cfs_session *s,
		   const struct cfs_session_options *calls,
		   const struct cfs_session_diff *of, cfs_diff_item_fn each,
		   void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(moment_done) struct moment from = { .s = s };
	CFS_CLEANUP(moment_done) struct moment to = { .s = s };
	struct cfs_diff_of what = { .from = &from.view, .to = &to.view };
	int r = find_moment(s, of->volume, of->snap, &from, err);

	if (r == 0)
		r = find_moment(s, of->to_volume, of->to_snap, &to, err);
	if (r == 0 && from.m != to.m)
		r = cfs_err_set(err, -EINVAL,
				"the two are of different "
				"containers");
	if (r == 0)
		r = settle(s, to.m, !of->to_snap, err);
	if (r < 0)
		return r;
	what.kind = to.rec.kind;
	what.ino = to.rec.ino;
	if (to.rec.kind == CFS_VOLUME_LUN)
		return cfs_diff_ranges(&what, each, arg, calls->stop,
				       calls->arg, err);
	return cfs_diff_paths(&what, to.rec.hash_seed, each, arg, calls->stop,
			      calls->arg, err);
}
