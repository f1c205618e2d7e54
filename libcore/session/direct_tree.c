/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/direct_tree.h"

#include "session/direct_fs.h"
#include "session/io_local.h"
#include "volume/fs_open.h"
#include "volume/volume.h"

#include <stdlib.h>

#define AGAIN_MAX 8

struct direct_tree {
	struct direct_tree *next;
	struct cfs_direct *d;
	struct direct_container *dc;
	uint64_t volume;
	struct cfs_fs *fs;
	struct cfs_tree_locks *locks; /* NULL: of a snapshot */
	unsigned int users;
	bool is_closing;
};

/* ---- leases -------------------------------------------------------------- */

static int tree_acquire(void *arg, const struct cfs_lease_request *req,
			const struct cfs_conn_wait *wait, struct cfs_held **ret,
			struct cfs_err *err)
{
	struct direct_tree *t = arg;
	int r = direct_is_lost(t->dc, err);

	return r < 0 ? r : direct_acquire(t->d, req, wait, ret, err);
}

static void tree_lost(void *arg)
{
	struct direct_tree *t = arg;

	direct_lost(t->d, t->dc->id);
}

/* What could not be given back is taken from our log, as far as it is there. */
static int tree_settle(void *arg, struct cfs_err *err)
{
	struct direct_tree *t = arg;
	const struct cfs_direct_request q = {
		.container = t->dc->id,
		.client = t->dc->client,
	};

	int r;

	if (__atomic_load_n(&t->d->is_lost, __ATOMIC_SEQ_CST))
		return cfs_err_set(err, -ESTALE, "the lease is lost");
	direct_lose(t->d, t->dc->id,
		    "what was done could not be given to the manager");
	r = direct_call(t->d, CFS_DIRECT_CLOSE, &q, NULL, err);
	/* Its leases do not go, and nobody says goodbye with some. */
	if (r < 0)
		__atomic_store_n(&t->d->keeps_leases, true, __ATOMIC_SEQ_CST);
	return r;
}

static struct direct_tree *find(struct cfs_direct *d,
				const struct cfs_lock_resource *resource)
{
	struct direct_tree *t;

	for (t = d->trees; t; t = t->next)
		if (t->locks && t->dc->id == resource->container &&
		    t->volume == resource->volume)
			break;
	return t;
}

bool direct_tree_recall(struct cfs_direct *d, struct cfs_held *held,
			uint64_t grant_id,
			const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct direct_tree *t;

	if (!held)
		return false;
	pthread_mutex_lock(&d->trees_lock);
	t = find(d, resource);
	/* One that closes gives all back anyway. */
	if (t && !t->is_closing)
		cfs_tree_locks_recall(t->locks, held, grant_id, mode);
	pthread_mutex_unlock(&d->trees_lock);
	return t;
}

bool direct_tree_lost(struct cfs_direct *d, struct cfs_held *held)
{
	struct direct_tree *t = NULL;

	pthread_mutex_lock(&d->trees_lock);
	if (held) {
		t = find(d, cfs_lease_resource_of(held->lease));
		if (t && !t->is_closing)
			cfs_tree_locks_lost(t->locks);
	} else {
		for (t = d->trees; t; t = t->next)
			if (t->locks && !t->is_closing)
				cfs_tree_locks_lost(t->locks);
	}
	pthread_mutex_unlock(&d->trees_lock);
	return t;
}

/* The next of them behind @after, with a user. */
static struct direct_tree *next_of(struct direct_container *dc,
				   struct direct_tree *after)
{
	struct direct_tree *t = after ? after->next : dc->d->trees;

	while (t && (t->dc != dc || !t->locks || t->is_closing))
		t = t->next;
	if (t)
		t->users++;
	return t;
}

bool direct_trees_hold(struct direct_container *dc)
{
	struct cfs_direct *d = dc->d;
	struct direct_tree *t, *done;
	bool holds = true;

	pthread_mutex_lock(&d->trees_lock);
	t = next_of(dc, NULL);
	while (t) {
		pthread_mutex_unlock(&d->trees_lock);
		holds = holds && cfs_tree_locks_hold_all(t->locks);
		pthread_mutex_lock(&d->trees_lock);
		done = t;
		t = next_of(dc, done);
		done->users--;
		pthread_cond_broadcast(&d->trees_changed);
	}
	pthread_mutex_unlock(&d->trees_lock);
	return holds;
}

/* ---- life ---------------------------------------------------------------- */

/* The volume's record and the root, as often as the view is too old. */
static int open_inner(struct direct_volume *v, struct cfs_fs **ret,
		      struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	int r, tries = 0;

	do {
		r = cfs_volume_get(&v->dc->m, v->id, &rec, err);
		if (r == 0)
			r = cfs_fs_open(&v->view, rec.ino, rec.hash_seed, ret,
					err);
	} while (r == -EAGAIN && tries++ < AGAIN_MAX &&
		 cfs_container_client_again(v->dc->c, r, err) == 1);
	if (r == 0)
		cfs_fs_set_space(*ret, cfs_io_tree_space, v->d->s);
	return r;
}

static int open_outer(struct direct_volume *v, struct direct_tree *t,
		      struct cfs_err *err)
{
	const struct cfs_tree_locks_config config = {
		.container = v->dc->id,
		.volume = v->id,
		.writes = v->is_writable,
		.lender = v->d->lender,
		.wait = { .timeout_ns = cfs_session_patience(v->d->s),
			  .stop = v->d->s->opt.stop,
			  .arg = v->d->s->opt.arg },
		.ops = { .acquire = tree_acquire,
			 .settle = tree_settle,
			 .lost = tree_lost,
			 .arg = t },
	};
	struct cfs_fs *inner = NULL;
	int r = open_inner(v, &inner, err);

	if (r == 0)
		r = cfs_direct_fs_open(inner, &v->view,
				       v->stamp ? NULL : &config, &t->fs, err);
	return r;
}

int direct_tree_open(struct direct_volume *v, struct cfs_err *err)
{
	struct direct_tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	t->d = v->d;
	t->dc = v->dc;
	t->volume = v->id;
	r = open_outer(v, t, err);
	if (r < 0) {
		free(t);
		return r;
	}
	t->locks = cfs_direct_fs_locks(t->fs);
	pthread_mutex_lock(&v->d->trees_lock);
	t->next = v->d->trees;
	v->d->trees = t;
	pthread_mutex_unlock(&v->d->trees_lock);
	v->tree = t;
	v->v.fs = t->fs;
	return 0;
}

/* Its leases lead to it until they have gone. */
void direct_tree_close(struct direct_tree *t)
{
	struct direct_tree **at;
	struct cfs_direct *d;

	if (!t)
		return;
	d = t->d;
	pthread_mutex_lock(&d->trees_lock);
	t->is_closing = true;
	while (t->users)
		pthread_cond_wait(&d->trees_changed, &d->trees_lock);
	pthread_mutex_unlock(&d->trees_lock);
	cfs_fs_close(t->fs);
	pthread_mutex_lock(&d->trees_lock);
	for (at = &d->trees; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	pthread_mutex_unlock(&d->trees_lock);
	free(t);
}
