/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directory trees of a container: each volume's head, and its newest
 * snapshots.  A hundred thousand snapshots would take a hundred thousand
 * walks, and what they show is in the same records.
 */
#include "heal/check_priv.h"

#include "base/cleanup.h"
#include "heal/names_priv.h"
#include "ondisk/receive.h"
#include "volume/stream.h"
#include "volume/fs_open.h"

#include <stdio.h>
#include <string.h>

#define SNAPSHOTS_MAX 16u

struct tree_check {
	struct check *k;
	struct cfs_fs *fs;
	const struct cfs_view *view;
	const struct cfs_volume_rec *rec;
	const char *snapshot; /* NULL: the head */
};

static const char *kind_of(enum cfs_fs_problem kind)
{
	switch (kind) {
	case CFS_FS_PROBLEM_DAMAGED:
		return "record";
	case CFS_FS_PROBLEM_INODE:
		return "inode";
	case CFS_FS_PROBLEM_ENTRY:
	case CFS_FS_PROBLEM_HASH:
		return "entry";
	case CFS_FS_PROBLEM_LINKS:
	case CFS_FS_PROBLEM_COUNT:
	case CFS_FS_PROBLEM_PARENT:
	case CFS_FS_PROBLEM_UNREACHABLE:
		return "link";
	case CFS_FS_PROBLEM_ORPHAN:
		return "orphan";
	case CFS_FS_PROBLEM_SYMLINK:
		return "symlink";
	case CFS_FS_PROBLEM_XATTR:
		return "xattr";
	case CFS_FS_PROBLEM_DATA:
		return "data";
	}
	return "tree";
}

static int tell(struct tree_check *t, const char *kind, uint64_t ino,
		const char *text)
{
	struct cfs_problem p = { .kind = kind };

	(void)snprintf(p.container, sizeof(p.container), "%s",
		       t->k->m->rec.name);
	cfs_heal_volume_name(t->k->m, t->rec, p.volume);
	if (ino)
		(void)cfs_heal_path(t->view, t->rec, ino, p.path,
				    sizeof(p.path));
	if (t->snapshot)
		(void)snprintf(p.text, sizeof(p.text), "snapshot %s: %s",
			       t->snapshot, text);
	else
		(void)snprintf(p.text, sizeof(p.text), "%s", text);
	return cfs_check_tell(t->k, &p);
}

static int problem(void *arg, enum cfs_fs_problem kind, uint64_t ino,
		   const char *text)
{
	return tell(arg, kind_of(kind), ino, text);
}

static int progress(void *arg, uint64_t inode_count)
{
	struct tree_check *t = arg;
	const struct cfs_check_options *opt = t->k->opt;

	(void)inode_count;
	return opt->stop && opt->stop(opt->stop_arg) ? -EINTR : 0;
}

static int check_view(struct check *k, const struct cfs_view *view,
		      const struct cfs_volume_rec *rec, const char *snapshot)
{
	CFS_CLEANUP(cfs_fs_closep) struct cfs_fs *fs = NULL;
	struct tree_check t = {
		.k = k,
		.view = view,
		.rec = rec,
		.snapshot = snapshot,
	};
	const struct cfs_fs_check how = {
		.problem = problem,
		.progress = progress,
		.arg = &t,
	};
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t inodes = 0;
	int r = cfs_fs_open(view, rec->ino, rec->hash_seed, &fs, &why);

	if (r < 0)
		return tell(&t, "tree", 0, why.msg);
	r = cfs_fs_check(fs, &how, &inodes, &why);
	k->result->inodes += inodes;
	if (r == -EUCLEAN)
		return tell(&t, "tree", 0, why.msg);
	return r < 0 ? cfs_err_set(k->err, r, "%s", why.msg) : r;
}

/* The last ones of a list that comes old to new. */
struct newest {
	struct {
		uint64_t stamp;
		struct cfs_snapshot_rec rec;
	} ring[SNAPSHOTS_MAX];
	size_t count;
};

static int note_snapshot(void *arg, uint64_t stamp,
			 const struct cfs_snapshot_rec *rec,
			 struct cfs_err *err)
{
	struct newest *n = arg;
	size_t at = n->count++ % SNAPSHOTS_MAX;

	(void)err;
	n->ring[at].stamp = stamp;
	n->ring[at].rec = *rec;
	return 0;
}

static int check_snapshots(struct check *k, uint64_t volume,
			   const struct cfs_volume_rec *rec)
{
	CFS_CLEANUP(cfs_freep) struct newest *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	r = cfs_snapshot_each(k->m, volume, note_snapshot, n, k->err);
	for (size_t i = 0; i < CFS_MIN(n->count, SNAPSHOTS_MAX) && r == 0;
	     i++) {
		size_t at = (n->count - 1 - i) % SNAPSHOTS_MAX;
		const struct cfs_view view = {
			.container = k->c,
			.branch = (uint16_t)n->ring[at].rec.branch,
			.stamp = n->ring[at].stamp,
		};

		r = check_view(k, &view, rec, n->ring[at].rec.name);
	}
	return r;
}

static int check_volume(void *arg, uint64_t id,
			const struct cfs_volume_rec *rec, struct cfs_err *err)
{
	struct check *k = arg;
	struct cfs_receive_rec receiving;
	struct cfs_view view;
	int r;

	(void)err;
	if (rec->kind != CFS_VOLUME_TREE || rec->state != CFS_OBJECT_LIVE)
		return 0;
	cfs_volume_view(k->m, rec, &view);
	/* What a stream has brought so far is no whole tree. */
	r = cfs_receive_get(k->m, id, &receiving, k->err) == 0
		    ? 0
		    : check_view(k, &view, rec, NULL);
	return r == 0 ? check_snapshots(k, id, rec) : r;
}

int cfs_check_trees(struct check *k)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r = cfs_volume_each(k->m, check_volume, k, &why);

	if (r == -EUCLEAN) { /* told with the tables */
		cfs_check_say(k, "volume", "%s", why.msg);
		return cfs_check_flush(k);
	}
	if (r < 0 && why.code && k->err && !k->err->code)
		*k->err = why;
	return r;
}
