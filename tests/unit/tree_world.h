/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One tree, its manager and clients in one process: the lock table is the real
 * one, behind a lock; each actor has a leaser of its own whose messages are
 * calls, and the ordinary tree under leases (session/direct_fs.h) on its own
 * container.  Include after <cmocka.h>.
 */
#pragma once

#include "client_fixture.h"

#include "base/bits.h"
#include "session/direct_fs.h"
#include "session/tree_passes.h"

#include <pthread.h>
#include <sys/stat.h>

#define WORLD_ACTORS    4u /* 0: the manager */
#define WORLD_PERIOD_NS (300 * CFS_NS_PER_S)

struct tree_world;

struct actor {
	struct tree_world *w;
	uint64_t peer;
	uint64_t next_id;
	struct cfs_leaser *leaser;
	struct client cl; /* not of the manager */
	struct cfs_fold_rules rules;
	struct cfs_tree_rules tree_rules;
	struct cfs_container *c;
	struct cfs_fs *fs; /* NULL: it is not there */
	unsigned int sent; /* messages of the lease protocol */
};

struct tree_world {
	struct heal_pool h;
	struct cfs_volume_rec rec;
	pthread_mutex_t mutex; /* recursive: the lock table */
	pthread_cond_t news;
	struct cfs_owner *owner;
	struct cfs_tree_passes *passes;
	struct actor actors[WORLD_ACTORS];
	uint64_t next_peer;
};

/* ---- the lock table ------------------------------------------------------ */

static inline int world_to_client(void *arg, uint64_t peer, const void *msg,
				  size_t bytes)
{
	struct tree_world *w = arg;

	for (unsigned int i = 0; i < WORLD_ACTORS; i++)
		if (w->actors[i].peer == peer && w->actors[i].leaser)
			cfs_leaser_receive(w->actors[i].leaser, msg, bytes);
	pthread_cond_broadcast(&w->news);
	return 0;
}

static inline uint64_t world_generation(void *arg, uint64_t client,
					const struct cfs_lock_resource *res,
					uint32_t mode)
{
	struct tree_world *w = arg;

	return cfs_tree_passes_granted(
		w->passes, client, res, mode,
		cfs_container_root_seq(w->h.tree->container));
}

static inline int world_send(void *arg, const void *msg, size_t bytes)
{
	struct actor *a = arg;

	a->sent++;
	if (!a->peer)
		return -ENOTCONN;
	return cfs_owner_receive(a->w->owner, a->peer, msg, bytes);
}

static inline uint64_t world_next_id(void *arg)
{
	return ++((struct actor *)arg)->next_id;
}

static inline int world_wait(void *arg, bool (*is_done)(void *done_arg),
			     void *done_arg, const struct cfs_conn_wait *wait,
			     struct cfs_err *err)
{
	struct tree_world *w = ((struct actor *)arg)->w;
	unsigned int looks = 0;
	int r = 0;

	(void)wait;
	pthread_mutex_lock(&w->mutex);
	while (!is_done(done_arg)) {
		struct timespec at;

		if (looks++ == 200) {
			r = cfs_err_set(err, -ETIMEDOUT,
					"a lease did not come");
			break;
		}
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_nsec += 50000000;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		(void)pthread_cond_timedwait(&w->news, &w->mutex, &at);
	}
	pthread_mutex_unlock(&w->mutex);
	return r;
}

static inline void world_kick(void *arg)
{
	(void)arg;
}

/* ---- an actor's leases --------------------------------------------------- */

static inline void actor_recall(void *arg, struct cfs_held *held,
				uint64_t grant_id,
				const struct cfs_lock_resource *res,
				uint32_t mode)
{
	struct actor *a = arg;

	(void)res;
	if (held)
		cfs_tree_locks_recall(cfs_direct_fs_locks(a->fs), held,
				      grant_id, mode);
	else
		cfs_lease_client_yield(cfs_leaser_lock(a->leaser), grant_id);
	if (!held)
		cfs_leaser_unlock(a->leaser);
}

static inline void actor_lost(void *arg, struct cfs_held *held)
{
	struct actor *a = arg;

	(void)held;
	if (a->fs)
		cfs_tree_locks_lost(cfs_direct_fs_locks(a->fs));
}

static inline int actor_acquire(void *arg, const struct cfs_lease_request *req,
				const struct cfs_conn_wait *wait,
				struct cfs_held **ret, struct cfs_err *err)
{
	return cfs_leaser_acquire(((struct actor *)arg)->leaser, req, wait, ret,
				  err);
}

/* For one that was killed: its log has been read. */
static inline int actor_settle(void *arg, struct cfs_err *err)
{
	(void)err;
	return ((struct actor *)arg)->peer ? -EIO : 0;
}

static inline void actor_say_hello(struct actor *a, const char *name)
{
	struct cfs_lease_client_config config = { .cached_max = 0 };
	const struct cfs_leaser_hooks hooks = {
		.recall = actor_recall,
		.lost = actor_lost,
		.arg = a,
	};
	const struct cfs_leaser_via via = {
		.send = world_send,
		.next_id = world_next_id,
		.wait = world_wait,
		.kick = world_kick,
		.lock = &a->w->mutex,
		.clock = cfs_clock_system(),
		.arg = a,
	};

	a->peer = ++a->w->next_peer;
	memset(config.hello.pool_uuid, 7, 16);
	memset(config.hello.boot_id, 8, 16);
	strcpy(config.hello.host, "test");
	strcpy(config.hello.name, name);
	config.hello.pid = 100 + a->peer;
	config.hello.process_start = 1;
	HEAL_OK(cfs_leaser_new(&via, &config, &hooks, &a->leaser, &err_));
	HEAL_OK(cfs_leaser_hello(a->leaser, NULL, &err_));
}

static inline uint64_t actor_lease_client(struct actor *a)
{
	uint64_t id = cfs_lease_client_id(cfs_leaser_lock(a->leaser));

	cfs_leaser_unlock(a->leaser);
	return id;
}

/* ---- trees --------------------------------------------------------------- */

static inline bool actor_may(void *ctx, uint16_t branch, uint64_t ino,
			     uint64_t first, uint64_t count)
{
	struct actor *a = ctx;
	struct tree_world *w = a->w;
	bool may;

	(void)first;
	(void)count;
	pthread_mutex_lock(&w->mutex);
	may = cfs_tree_rules_may(&a->tree_rules, branch, ino);
	pthread_mutex_unlock(&w->mutex);
	return may;
}

/* Each fold is judged by itself. */
static inline void actor_fold_begins(struct client *cl, struct cfs_fold *fold,
				     uint8_t *records)
{
	struct actor *a = (struct actor *)(void *)((char *)cl -
						   offsetof(struct actor, cl));

	(void)fold;
	(void)records;
	cfs_tree_rules_donep(&a->tree_rules);
	a->tree_rules = (struct cfs_tree_rules){
		.owner = a->w->owner,
		.passes = a->w->passes,
		.container = a->w->h.tree->container,
		.client = actor_lease_client(a),
		.container_id = a->w->h.tree->id,
		.volume = CFS_VOLUME_FIRST,
	};
}

static inline void actor_open_tree(struct actor *a)
{
	const struct cfs_view view = {
		.container = a->c,
		.branch = (uint16_t)a->w->rec.head_branch,
		.stamp = CFS_STAMP_HEAD,
	};
	const struct cfs_tree_locks_config config = {
		.container = a->w->h.tree->id,
		.volume = CFS_VOLUME_FIRST,
		.writes = true,
		.ops = { .acquire = actor_acquire,
			 .settle = actor_settle,
			 .arg = a },
	};
	struct cfs_fs *inner = NULL;

	HEAL_OK(cfs_fs_open(&view, a->w->rec.ino, a->w->rec.hash_seed, &inner,
			    &err_));
	HEAL_OK(cfs_direct_fs_open(inner, &view, &config, &a->fs, &err_));
}

static inline void actor_start(struct actor *a)
{
	const bool is_manager = a == &a->w->actors[0];

	actor_say_hello(a, is_manager ? "manager" : "client");
	a->c = a->w->h.tree->container;
	if (!is_manager) {
		client_new(&a->cl, &a->w->h, a->w->h.tree);
		a->rules = (struct cfs_fold_rules){ actor_may, a };
		a->cl.rules = &a->rules;
		a->cl.forge = actor_fold_begins;
		a->c = a->cl.c;
	}
	actor_open_tree(a);
}

static inline void actor_stop(struct actor *a)
{
	cfs_tree_rules_donep(&a->tree_rules);
	if (!a->fs)
		return;
	cfs_fs_close(a->fs);
	a->fs = NULL;
	if (a->cl.c)
		client_close(&a->cl);
	cfs_leaser_goodbye(a->leaser);
	cfs_leaser_free(a->leaser, false);
	a->leaser = NULL;
	pthread_mutex_lock(&a->w->mutex);
	cfs_owner_closed(a->w->owner, a->peer);
	pthread_mutex_unlock(&a->w->mutex);
	a->peer = 0;
}

/* Its process is killed: what it synced is read from its log, and only then its
 * leases go. */
static inline void actor_kill(struct actor *a)
{
	struct cfs_fs *fs = a->fs;
	uint64_t client = actor_lease_client(a);

	/* No call leads to it any more, and nothing it does now arrives. */
	cfs_tree_locks_lost(cfs_direct_fs_locks(fs));
	a->cl.fold_fails = -ENOTCONN;
	HEAL_OK(cfs_container_client_gone(a->w->h.tree->container, a->cl.id,
					  NULL, &err_));
	pthread_mutex_lock(&a->w->mutex);
	a->fs = NULL;
	cfs_owner_gone(a->w->owner, client);
	cfs_owner_closed(a->w->owner, a->peer);
	pthread_mutex_unlock(&a->w->mutex);
	a->peer = 0;
	cfs_fs_close(fs);
	client_kill(&a->cl);
	cfs_leaser_free(a->leaser, false);
	a->leaser = NULL;
}

static inline void world_start(struct tree_world *w, unsigned int actors)
{
	const struct cfs_owner_ops ops = {
		.send = world_to_client,
		.generation = world_generation,
	};
	struct cfs_owner_config config = {
		.epoch = 1,
		.period_ns = WORLD_PERIOD_NS,
	};
	pthread_mutexattr_t attr;

	memset(w, 0, sizeof(*w));
	w->h = heal_new(false, 1 << 20);
	w->rec = heal_volume(w->h.tree);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&w->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_cond_init(&w->news, NULL);
	memset(config.pool_uuid, 7, 16);
	HEAL_OK(cfs_tree_passes_new(true, &w->passes, &err_));
	HEAL_OK(cfs_owner_new(&config, &ops, w, cfs_clock_system(), &w->owner,
			      &err_));
	for (unsigned int i = 0; i < WORLD_ACTORS; i++)
		w->actors[i].w = w;
	for (unsigned int i = 0; i < actors; i++)
		actor_start(&w->actors[i]);
}

/* All end well, and what is left is whole. */
static inline void world_stop(struct tree_world *w)
{
	for (unsigned int i = WORLD_ACTORS; i-- > 0;)
		actor_stop(&w->actors[i]);
	assert_null(cfs_owner_check(w->owner));
	assert_int_equal(cfs_owner_lease_count(w->owner), 0);
	cfs_owner_free(w->owner);
	cfs_tree_passes_free(w->passes);
	heal_check_clean(&w->h);
	heal_scrub_clean(&w->h);
	heal_reopen(&w->h);
	heal_check_clean(&w->h);
	heal_free(&w->h);
	pthread_cond_destroy(&w->news);
	pthread_mutex_destroy(&w->mutex);
}
