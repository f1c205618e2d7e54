/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving a stream: where it begins, how far it is, how it ends.  What
 * records do is in stream_apply.c.
 */
#include "volume/stream_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "volume/volume_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The record is brought up to date behind so much, or so long. */
#define KEEP_BYTES (UINT64_C(256) << 20)
#define KEEP_NS    (5 * CFS_NS_PER_S)

/* ---- identities ---------------------------------------------------------- */

void cfs_snapshot_identity(const struct cfs_member *m, uint64_t stamp,
			   const struct cfs_snapshot_rec *rec,
			   struct cfs_stream_identity *ret)
{
	const bool is_own = !(rec->flags & CFS_SNAPSHOT_RECEIVED);

	memcpy(ret->container,
	       is_own ? cfs_container_uuid(m->container)
		      : rec->origin_container,
	       sizeof(ret->container));
	ret->stamp = is_own ? stamp : rec->origin_stamp;
}

struct identity_search {
	struct cfs_member *m;
	const struct cfs_stream_identity *id;
	uint64_t stamp;
	struct cfs_snapshot_rec rec;
};

static int match_identity(void *arg, uint64_t stamp,
			  const struct cfs_snapshot_rec *rec,
			  struct cfs_err *err)
{
	struct identity_search *s = arg;
	struct cfs_stream_identity id;

	(void)err;
	cfs_snapshot_identity(s->m, stamp, rec, &id);
	if (!cfs_stream_identity_is_same(&id, s->id))
		return 0;
	s->stamp = stamp;
	s->rec = *rec;
	return 1;
}

int cfs_snapshot_find_identity(struct cfs_member *m, uint64_t volume,
			       const struct cfs_stream_identity *id,
			       uint64_t *ret_stamp,
			       struct cfs_snapshot_rec *ret,
			       struct cfs_err *err)
{
	struct identity_search s = { .m = m, .id = id };
	int r = cfs_snapshot_each(m, volume, match_identity, &s, err);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret_stamp = s.stamp;
	*ret = s.rec;
	return 0;
}

/* ---- the record ---------------------------------------------------------- */

struct cfs_key cfs_receive_key(uint64_t volume)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_RECEIVE, volume), 0,
				   0 } };
}

int cfs_receive_get_locked(struct cfs_member *m, uint64_t volume,
			   struct cfs_receive_rec *ret, struct cfs_err *err)
{
	const struct cfs_key key = cfs_receive_key(volume);
	struct cfs_receive_rec_disk disk;
	size_t bytes;
	int r = cfs_container_get(m->container, &key, &disk, sizeof(disk),
				  &bytes, err);

	if (r < 0)
		return r;
	return cfs_receive_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)), ret,
				      err);
}

int cfs_receive_get(struct cfs_member *m, uint64_t volume,
		    struct cfs_receive_rec *ret, struct cfs_err *err)
{
	int r;

	cfs_container_lock(m->container);
	r = cfs_receive_get_locked(m, volume, ret, err);
	cfs_container_unlock(m->container);
	return r;
}

int cfs_receive_give_up_locked(struct cfs_member *m, uint64_t volume,
			       struct cfs_err *err)
{
	const struct cfs_key key = cfs_receive_key(volume);
	int r = cfs_container_del(m->container, &key, err);

	return r == -ENOENT ? 0 : r;
}

int cfs_receive_put(struct cfs_receiver *r, struct cfs_err *err)
{
	const struct cfs_key key = cfs_receive_key(r->volume);
	struct cfs_receive_rec_disk disk;

	cfs_receive_rec_pack(&r->rec, &disk);
	return cfs_container_put(r->m->container, &key, &disk, sizeof(disk),
				 err);
}

/* ---- beginning ----------------------------------------------------------- */

int cfs_volume_differs(struct cfs_member *m, uint64_t volume,
		       const struct cfs_view *base, struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	struct cfs_view head;
	struct cfs_diff_of what = { .from = base, .to = &head };
	CFS_CLEANUP(cfs_diff_freep) struct cfs_diff *d = NULL;
	struct cfs_change change;
	int r = cfs_container_commit(m->container, err);

	if (r == 0)
		r = cfs_volume_get(m, volume, &rec, err);
	if (r != 0)
		return r;
	cfs_volume_view(m, &rec, &head);
	what.kind = rec.kind;
	what.ino = rec.ino;
	r = cfs_diff_new(&what, &d, err);
	if (r < 0)
		return r;
	cfs_container_lock(m->container);
	r = cfs_diff_next(d, &change, err);
	cfs_container_unlock(m->container);
	return r;
}

struct newest {
	uint64_t stamp;
	char name[CFS_NAME_BYTES];
};

static int note_newest(void *arg, uint64_t stamp,
		       const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct newest *n = arg;

	(void)err;
	n->stamp = stamp;
	memcpy(n->name, rec->name, sizeof(n->name));
	return 0;
}

/* Back to the base, in a branch of its own; a RECEIVE record goes with it. */
static int go_back(struct cfs_receiver *r, const struct cfs_snapshot_rec *base,
		   struct cfs_err *err)
{
	if (r->is_of_origin)
		return cfs_err_set(err, -EBUSY,
				   "it is a clone of what the "
				   "stream begins at, and cannot go back to "
				   "that: remove it, and it is made anew");
	return cfs_snapshot_rollback(r->m, r->volume, base->name, NULL, err);
}

/* The volume must be as the base is, or become it. */
static int check_head(struct cfs_receiver *r, uint64_t base_stamp,
		      const struct cfs_snapshot_rec *base, bool was_cut,
		      struct cfs_err *err)
{
	const struct cfs_view view = {
		r->m->container,
		(uint16_t)base->branch,
		base_stamp,
	};
	struct newest newest = { .stamp = 0 };
	int changed, ret = cfs_snapshot_each(r->m, r->volume, note_newest,
					     &newest, err);

	if (ret < 0)
		return ret;
	if (was_cut)
		return go_back(r, base, err);
	changed = cfs_volume_differs(r->m, r->volume, &view, err);
	if (changed < 0)
		return changed;
	if (newest.stamp == (r->is_of_origin ? 0 : base_stamp) && !changed)
		return 0;
	if (!r->opt.is_forced && newest.stamp > base_stamp)
		return cfs_err_set(err, -ECANCELED,
				   "@%s is newer than @%s, "
				   "which the stream begins at: -f goes back "
				   "to that",
				   newest.name, base->name);
	if (!r->opt.is_forced)
		return cfs_err_set(err, -ECANCELED,
				   "it was changed since "
				   "@%s, which the stream begins at: -f goes "
				   "back to that",
				   base->name);
	return go_back(r, base, err);
}

static int check_volume(const struct cfs_receiver *r,
			const struct cfs_volume_rec *vol, struct cfs_err *err)
{
	if (vol->kind != r->begin.kind)
		return cfs_err_set(err, -EINVAL, "the stream is of a %s",
				   r->begin.kind == CFS_VOLUME_LUN ? "LUN"
								   : "tree");
	if (vol->ino != r->begin.root_ino ||
	    (vol->kind == CFS_VOLUME_TREE &&
	     vol->hash_seed != r->begin.hash_seed))
		return cfs_err_set(err, -EINVAL,
				   "the stream is of another volume");
	return 0;
}

/* It, or its name, must not be there. */
static int check_target(const struct cfs_receiver *r, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;
	int ret = cfs_snapshot_find_identity(r->m, r->volume, &r->begin.to,
					     &stamp, &rec, err);

	if (ret == 0)
		return cfs_err_set(err, -EEXIST,
				   "the snapshot is there "
				   "already, as @%s",
				   rec.name);
	if (ret != -ENOENT)
		return ret;
	ret = cfs_snapshot_find(r->m, r->volume, r->begin.snap, &stamp, &rec,
				NULL);
	if (ret == 0)
		return cfs_err_set(err, -EEXIST,
				   "@%s exists already, and is "
				   "another one",
				   r->begin.snap);
	return ret == -ENOENT ? 0 : cfs_err_set(err, ret, "no look at it");
}

static int find_base(struct cfs_receiver *r, uint64_t origin,
		     uint64_t *ret_stamp, struct cfs_snapshot_rec *ret,
		     struct cfs_err *err)
{
	int ret2;

	if (cfs_stream_identity_is_none(&r->begin.from))
		return cfs_err_set(err, -EEXIST,
				   "it exists already: a whole "
				   "stream makes a volume of its own");
	ret2 = cfs_snapshot_find_identity(r->m, r->volume, &r->begin.from,
					  ret_stamp, ret, err);
	/* What a clone was made of. */
	if (ret2 == -ENOENT && origin) {
		ret2 = cfs_snapshot_find_identity(r->m, origin, &r->begin.from,
						  ret_stamp, ret, err);
		r->is_of_origin = ret2 == 0;
	}
	if (ret2 == -ENOENT)
		cfs_err_set(err, ret2,
			    "it has no snapshot that the stream "
			    "begins at (@%s there)",
			    r->begin.from_snap);
	return ret2;
}

static int store_rec(struct cfs_receiver *r, struct cfs_err *err)
{
	int ret = cfs_op_begin(r->m->container, CFS_OP_FREEING, err);

	if (ret < 0)
		return ret;
	ret = cfs_receive_put(r, err);
	return cfs_volume_op_done(r->m, ret, err);
}

static int begin_anew(struct cfs_receiver *r, uint64_t origin, bool was_cut,
		      struct cfs_err *err)
{
	struct cfs_snapshot_rec base;
	uint64_t stamp = 0;
	int ret = find_base(r, origin, &stamp, &base, err);

	if (ret == 0 && (r->begin.position.ino || r->begin.position.word))
		ret = cfs_err_set(err, -ESTALE,
				  "the stream goes on from "
				  "where none was broken off");
	if (ret == 0)
		ret = check_head(r, stamp, &base, was_cut, err);
	if (ret < 0)
		return ret;
	r->rec = (struct cfs_receive_rec){
		.to = r->begin.to,
		.from = r->begin.from,
		.base_stamp = stamp,
		.base_branch = (uint16_t)base.branch,
		.began_ns = cfs_clock_realtime_ns(cfs_clock_system()),
	};
	memcpy(r->rec.snap, r->begin.snap, sizeof(r->rec.snap));
	return store_rec(r, err);
}

static int go_on(struct cfs_receiver *r, struct cfs_err *err)
{
	if (cfs_stream_position_cmp(&r->begin.position, &r->rec.position) > 0)
		return cfs_err_set(err, -ESTALE,
				   "the stream begins behind "
				   "where the last one was broken off: ask "
				   "snapctl recv --token again");
	return 0;
}

static bool is_same_stream(const struct cfs_receiver *r)
{
	return cfs_stream_identity_is_same(&r->rec.to, &r->begin.to) &&
	       cfs_stream_identity_is_same(&r->rec.from, &r->begin.from);
}

static int begin(struct cfs_receiver *r, struct cfs_err *err)
{
	struct cfs_volume_rec vol;
	int ret = cfs_volume_get(r->m, r->volume, &vol, err), cut;

	if (ret == 0)
		ret = check_volume(r, &vol, err);
	if (ret == 0)
		ret = check_target(r, err);
	if (ret < 0)
		return ret;
	r->branch = (uint16_t)vol.head_branch;
	cut = cfs_receive_get(r->m, r->volume, &r->rec, err);
	if (cut < 0 && cut != -ENOENT)
		return cut;
	if (cut == 0 && is_same_stream(r))
		return go_on(r, err);
	if (cut == 0 && r->opt.warn)
		r->opt.warn(r->opt.arg, "what has come of another stream is "
					"given up");
	ret = begin_anew(r, vol.origin_volume, cut == 0, err);
	if (ret == 0)
		ret = cfs_volume_get(r->m, r->volume, &vol, err);
	if (ret == 0)
		r->branch = (uint16_t)vol.head_branch;
	return ret;
}

int cfs_receiver_new(struct cfs_member *m, uint64_t volume,
		     const struct cfs_stream_begin *begin_rec,
		     const struct cfs_receiver_options *opt,
		     struct cfs_receiver **ret, struct cfs_err *err)
{
	struct cfs_receiver *r = calloc(1, sizeof(*r));
	int r2;

	if (!r)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r->m = m;
	r->volume = volume;
	r->begin = *begin_rec;
	r->opt = *opt;
	r->kept_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	cfs_receive_group_init(r);
	r2 = begin(r, err);
	if (r2 < 0)
		cfs_receiver_free(r);
	else
		*ret = r;
	return r2;
}

int cfs_receive_make_volume(struct cfs_member *m,
			    const struct cfs_stream_begin *begin_rec,
			    struct cfs_err *err)
{
	struct cfs_receiver r = { .m = m, .volume = CFS_VOLUME_FIRST };
	struct cfs_volume_rec rec = {
		.kind = begin_rec->kind,
		.state = CFS_OBJECT_LIVE,
		.head_branch = 1,
		.ino = begin_rec->root_ino,
		.size_bytes = begin_rec->kind == CFS_VOLUME_LUN
				      ? begin_rec->size_bytes
				      : 0,
		.created_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.hash_seed = begin_rec->hash_seed,
	};
	struct cfs_branch_rec branch = {
		.volume = CFS_VOLUME_FIRST,
		.state = CFS_OBJECT_LIVE,
	};
	int ret = cfs_op_begin(m->container, CFS_OP_NORMAL, err);

	if (ret < 0)
		return ret;
	r.rec.to = begin_rec->to;
	r.rec.began_ns = rec.created_ns;
	memcpy(r.rec.snap, begin_rec->snap, sizeof(r.rec.snap));
	branch.created_stamp = cfs_container_stamp(m->container);
	ret = cfs_container_raise_stamp(m->container, err);
	if (ret == 0)
		ret = cfs_container_raise_ino(m->container, rec.ino, err);
	if (ret == 0)
		ret = cfs_branch_put(m, 1, &branch, err);
	if (ret == 0)
		ret = cfs_volume_put(m, CFS_VOLUME_FIRST, &rec, err);
	if (ret == 0)
		ret = cfs_receive_put(&r, err);
	return cfs_volume_op_done(m, ret, err);
}

/* ---- going on ------------------------------------------------------------ */

static bool is_due(const struct cfs_receiver *r)
{
	return r->unkept_bytes > KEEP_BYTES ||
	       cfs_clock_elapsed_ns(cfs_clock_system()) - r->kept_ns > KEEP_NS;
}

static int keep(struct cfs_receiver *r, struct cfs_err *err)
{
	int ret = store_rec(r, err);

	r->unkept_bytes = 0;
	r->kept_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	return ret;
}

int cfs_receiver_take(struct cfs_receiver *r,
		      const struct cfs_stream_item *item, struct cfs_err *err)
{
	int ret = 0;

	/* It is here, from the last time. */
	if (cfs_stream_position_cmp(&item->end, &r->rec.position) <= 0)
		return 0;
	ret = cfs_receive_apply(r, item, err);
	if (ret == 0 && r->group.count == 0 && is_due(r))
		ret = keep(r, err);
	return ret;
}

int cfs_receiver_keep(struct cfs_receiver *r, struct cfs_err *err)
{
	int ret = 0, kept;

	if (r->is_finished)
		return 0;
	/* Up to what could not be written, if there is such a thing. */
	if (!r->is_broken)
		ret = cfs_receive_flush(r, err);
	kept = keep(r, ret < 0 ? NULL : err);
	return ret < 0 ? ret : kept;
}

/* ---- ending -------------------------------------------------------------- */

static int finish_locked(struct cfs_receiver *r, struct cfs_err *err)
{
	const struct cfs_key key = cfs_receive_key(r->volume);
	struct cfs_snapshot_rec snap = {
		.flags = CFS_SNAPSHOT_RECEIVED,
		.created_ns = r->begin.created_ns,
		.size_bytes = r->begin.size_bytes,
		.origin_stamp = r->begin.to.stamp,
	};
	struct cfs_volume_rec vol;
	int ret = cfs_volume_get_locked(r->m, r->volume, &vol, err);

	memcpy(snap.name, r->begin.snap, sizeof(snap.name));
	memcpy(snap.note, r->begin.note, sizeof(snap.note));
	memcpy(snap.origin_container, r->begin.to.container,
	       sizeof(snap.origin_container));
	if (ret == 0)
		ret = cfs_container_del(r->m->container, &key, err);
	if (ret == -ENOENT)
		ret = cfs_err_set(err, -ESTALE, "somebody gave the stream up");
	if (ret == 0 && vol.kind == CFS_VOLUME_LUN) {
		vol.size_bytes = r->begin.size_bytes;
		ret = cfs_volume_put(r->m, r->volume, &vol, err);
	}
	if (ret == 0)
		ret = cfs_snapshot_add_locked(r->m, r->volume, &snap, err);
	return ret;
}

int cfs_receiver_finish(struct cfs_receiver *r, struct cfs_err *err)
{
	int ret = cfs_receive_flush(r, err);

	if (ret == 0)
		ret = cfs_op_begin_for(
			r->m->container, CFS_OP_FREEING,
			32 + cfs_name_index_blocks(r->m->vols, 1), err);
	if (ret < 0)
		return ret;
	ret = finish_locked(r, err);
	ret = cfs_volume_op_done(r->m, ret, err);
	r->is_finished = ret == 0;
	return ret;
}

void cfs_receiver_free(struct cfs_receiver *r)
{
	if (!r)
		return;
	cfs_receive_group_done(r);
	free(r);
}
