/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees beside clients: our own uses of a tree take leases like theirs, and
 * what clients give back of one is held against theirs.
 */
#include "session/direct_fs.h"
#include "session/serve_direct_priv.h"
#include "session/serve_lease.h"

#include <stdlib.h>
#include <string.h>

/* A container with a tree that clients may have; with the lock of the serve. */
struct beside_numbered {
	struct beside_numbered *next;
	uint64_t id;
	const struct cfs_container *container;
};

struct cfs_beside_tree {
	struct cfs_serve_direct *sd;
	pthread_mutex_t mutex;     /* making the leaser */
	struct cfs_leaser *leaser; /* atomic */
	struct cfs_fs *fs;
};

/* ---- generations --------------------------------------------------------- */

int beside_trees_init(struct cfs_serve_direct *sd, struct cfs_err *err)
{
	struct cfs_owner *owner = cfs_serve_lock(sd->serve);
	bool knows_all = !cfs_owner_is_in_grace(owner);

	cfs_serve_unlock(sd->serve);
	sd->generation = (uint64_t)sd->s->seat.epoch << 32;
	return cfs_tree_passes_new(knows_all, &sd->passes, err);
}

void beside_trees_done(struct cfs_serve_direct *sd)
{
	struct beside_numbered *n;

	while ((n = sd->numbered)) {
		sd->numbered = n->next;
		free(n);
	}
	cfs_tree_passes_free(sd->passes);
	sd->passes = NULL;
}

static struct beside_numbered *find_numbered(const struct cfs_serve_direct *sd,
					     uint64_t id)
{
	struct beside_numbered *n;

	for (n = sd->numbered; n && n->id != id; n = n->next)
		;
	return n;
}

int beside_tree_number(struct cfs_serve_direct *sd, uint64_t id,
		       const struct cfs_container *container,
		       struct cfs_err *err)
{
	struct beside_numbered *n;
	int r = 0;

	(void)cfs_serve_lock(sd->serve);
	n = find_numbered(sd, id);
	if (!n) {
		n = malloc(sizeof(*n));
		if (n) {
			n->id = id;
			n->container = container;
			n->next = sd->numbered;
			sd->numbered = n;
		} else {
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		}
	}
	cfs_serve_unlock(sd->serve);
	return r;
}

void cfs_serve_direct_forget(struct cfs_serve_direct *sd, uint64_t container)
{
	struct beside_numbered **at, *n;

	if (!sd)
		return;
	(void)cfs_serve_lock(sd->serve);
	for (at = &sd->numbered; *at && (*at)->id != container;
	     at = &(*at)->next)
		;
	n = *at;
	if (n)
		*at = n->next;
	free(n);
	if (sd->passes)
		cfs_tree_passes_forget(sd->passes, container);
	cfs_serve_unlock(sd->serve);
}

uint64_t beside_generation(void *arg, uint64_t client,
			   const struct cfs_lock_resource *resource,
			   uint32_t mode)
{
	struct cfs_serve_direct *sd = arg;
	const struct beside_numbered *n = find_numbered(sd,
							resource->container);

	if (!n || !sd->passes)
		return ++sd->generation;
	return cfs_tree_passes_granted(sd->passes, client, resource, mode,
				       cfs_container_root_seq(n->container));
}

/* ---- what a client gives back -------------------------------------------- */

bool beside_tree_may(const struct beside_rules *rules, struct beside_use *u,
		     uint64_t ino)
{
	bool may;

	u->tree.owner = cfs_serve_lock(rules->sd->serve);
	u->tree.passes = rules->sd->passes;
	u->tree.client = rules->client;
	u->tree.container_id = u->container;
	u->tree.volume = u->volume;
	may = cfs_tree_rules_may(&u->tree, u->branch, ino);
	cfs_serve_unlock_unchanged(rules->sd->serve);
	return may;
}

/* ---- our own uses -------------------------------------------------------- */

static void on_recall(void *arg, struct cfs_held *held, uint64_t grant_id,
		      const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct cfs_beside_tree *t = arg;
	struct cfs_leaser *leaser;

	(void)resource;
	if (held) {
		cfs_tree_locks_recall(cfs_direct_fs_locks(t->fs), held,
				      grant_id, mode);
		return;
	}
	leaser = __atomic_load_n(&t->leaser, __ATOMIC_ACQUIRE);
	if (!leaser)
		return;
	cfs_lease_client_yield(cfs_leaser_lock(leaser), grant_id);
	cfs_leaser_unlock(leaser);
}

static void on_lost(void *arg, struct cfs_held *held)
{
	struct cfs_beside_tree *t = arg;

	(void)held;
	if (t->fs && cfs_direct_fs_locks(t->fs))
		cfs_tree_locks_lost(cfs_direct_fs_locks(t->fs));
}

/* For the first call. */
static int make_leaser(struct cfs_beside_tree *t, struct cfs_err *err)
{
	const struct cfs_leaser_hooks hooks = {
		.recall = on_recall,
		.lost = on_lost,
		.arg = t,
	};
	struct cfs_lease_client_config config = { .cached_max = 0 };
	struct cfs_leaser *leaser = NULL;
	static const char name[] = "a tree of the manager";
	int r = 0;

	memcpy(config.hello.name, name, sizeof(name));
	pthread_mutex_lock(&t->mutex);
	if (!t->leaser) {
		r = cfs_serve_add_client(t->sd->serve, &config, &hooks, NULL,
					 &leaser, err);
		if (r == 0)
			__atomic_store_n(&t->leaser, leaser, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&t->mutex);
	return r;
}

static int tree_acquire(void *arg, const struct cfs_lease_request *req,
			const struct cfs_conn_wait *wait, struct cfs_held **ret,
			struct cfs_err *err)
{
	const struct cfs_use_actor *actor = cfs_serve_actor();
	struct cfs_beside_tree *t = arg;
	struct cfs_conn_wait patient = { .stop = NULL };
	struct cfs_lease_request own = *req;
	int r = make_leaser(t, err);

	if (r < 0)
		return r;
	if (actor && actor->lender.lease_id) {
		own.lender_lease = actor->lender.lease_id;
		memcpy(own.lender_secret, actor->lender.secret,
		       sizeof(own.lender_secret));
	}
	cfs_serve_volume_borrow(t->sd->s, &own);
	if (wait)
		patient = *wait;
	if (cfs_serve_patience())
		patient.timeout_ns = cfs_serve_patience();
	return cfs_serve_lease_words(
		cfs_leaser_acquire(t->leaser, &own, &patient, ret, err), err);
}

/* What could not be committed is nobody's to see. */
static int tree_settle(void *arg, struct cfs_err *err)
{
	(void)arg;
	(void)err;
	return 0;
}

static void tree_will_wait(void *arg)
{
	(void)arg;
	(void)cfs_serve_will_wait();
}

static void tree_free(struct cfs_beside_tree *t)
{
	if (t->leaser)
		cfs_serve_drop_client(t->sd->serve, t->leaser);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

bool cfs_serve_direct_has_trees(const struct cfs_serve_direct *sd)
{
	return sd && cfs_serve_address(sd->serve)[0];
}

static struct cfs_beside_tree *tree_make(struct cfs_serve_direct *sd,
					 struct cfs_err *err)
{
	struct cfs_beside_tree *t = calloc(1, sizeof(*t));

	if (!t) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	t->sd = sd;
	pthread_mutex_init(&t->mutex, NULL);
	return t;
}

static struct cfs_tree_locks_config tree_config(
	struct cfs_beside_tree *t, const struct cfs_lock_resource *of,
	bool writes)
{
	return (struct cfs_tree_locks_config){
		.container = of->container,
		.volume = of->volume,
		.writes = writes,
		.ops = { .acquire = tree_acquire,
			 .settle = tree_settle,
			 .will_wait = tree_will_wait,
			 .arg = t },
	};
}

int cfs_serve_direct_tree_open(struct cfs_serve_direct *sd,
			       const struct cfs_lock_resource *of,
			       const struct cfs_view *view, bool writes,
			       struct cfs_fs *inner, struct cfs_fs **ret_fs,
			       struct cfs_beside_tree **ret,
			       struct cfs_err *err)
{
	struct cfs_beside_tree *t = tree_make(sd, err);
	struct cfs_tree_locks_config config;
	int r;

	if (!t) {
		cfs_fs_close(inner);
		return -ENOMEM;
	}
	config = tree_config(t, of, writes);
	r = cfs_direct_fs_open(inner, view, &config, &t->fs, err);
	if (r == 0) {
		r = beside_tree_number(sd, of->container, view->container, err);
		if (r < 0)
			cfs_fs_close(t->fs);
	}
	if (r < 0) {
		tree_free(t);
		return r;
	}
	*ret_fs = t->fs;
	*ret = t;
	return 0;
}

int cfs_serve_direct_tree_begin(struct cfs_serve_direct *sd,
				const struct cfs_lock_resource *of,
				const struct cfs_container *container,
				struct cfs_fs *fs, struct cfs_beside_tree **ret,
				struct cfs_err *err)
{
	struct cfs_beside_tree *t = tree_make(sd, err);
	struct cfs_tree_locks_config config;
	int r = t ? beside_tree_number(sd, of->container, container, err)
		  : -ENOMEM;

	if (r == 0) {
		t->fs = fs;
		config = tree_config(t, of, true);
		r = cfs_direct_fs_begin_leases(fs, &config, err);
	}
	if (r < 0) {
		if (t)
			tree_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void cfs_serve_direct_tree_close(struct cfs_beside_tree *t)
{
	cfs_fs_close(t->fs);
	tree_free(t);
}
