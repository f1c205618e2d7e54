/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/serve_gone.h"

#include "session/serve_run_priv.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "pool/shared.h"
#include "volume/pool_thaw.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct order {
	struct order *next;
	char host[CFS_MSG_HOST_BYTES];
};

struct cfs_serve_gone {
	struct cfs_serve *serve;
	pthread_t thread;
	/* Behind the lock of the lock table. */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct order *orders; /* not begun yet */
	bool is_ending;
};

static bool has_ended(struct cfs_serve_gone *g)
{
	bool has;

	pthread_mutex_lock(&g->lock);
	has = g->is_ending;
	pthread_mutex_unlock(&g->lock);
	return has;
}

/* ---- the work ------------------------------------------------------------ */

struct id_list {
	CFS_VEC(uint64_t) ids;
};

static int list_one(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	struct id_list *list = arg;

	if (rec->state == CFS_OBJECT_DELETING)
		return 0;
	return cfs_vec_push(&list->ids, id) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/*
 * Each with the structure held no longer than that takes.  One that cannot be
 * done keeps nothing from the others; the first one is told.
 */
static int thaw_containers(struct cfs_serve_gone *g, struct cfs_err *err)
{
	struct cfs_session *s = g->serve->session;
	struct id_list list = { .ids = CFS_VEC_INIT };
	int r = cfs_pool_containers(s->pool, list_one, &list, err), r2;

	for (size_t i = 0; i < list.ids.count && !has_ended(g); i++) {
		pthread_rwlock_rdlock(s->structure);
		r2 = cfs_pool_thaw_container(s->pool, list.ids.items[i],
					     r == 0 ? err : NULL);
		pthread_rwlock_unlock(s->structure);
		r = r == 0 ? r2 : r;
	}
	cfs_vec_done(&list.ids);
	return r;
}

static int thaw(struct cfs_serve_gone *g, const char *host, struct cfs_err *err)
{
	struct cfs_session *s = g->serve->session;
	int r = cfs_session_may_write(s, err), r2;

	if (r == 0)
		r = cfs_holder_host_gone(s->holder, host, err);
	if (r != 0)
		return r;
	pthread_rwlock_rdlock(s->structure);
	r = cfs_pool_thaw(s->pool, err);
	pthread_rwlock_unlock(s->structure);
	r2 = thaw_containers(g, r == 0 ? err : NULL);
	r = r == 0 ? r2 : r;
	pthread_rwlock_wrlock(s->structure);
	r2 = cfs_pool_thaw_removed(s->pool, r == 0 ? err : NULL);
	pthread_rwlock_unlock(s->structure);
	return r == 0 ? r2 : r;
}

static void do_order(struct cfs_serve_gone *g, const char *host)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = thaw(g, host, &err);

	if (r != 0)
		cfs_logger_printf(g->serve->logger, CFS_LOG_WARNING,
				  "not all that host %s kept is free: %s", host,
				  err.msg);
	cfs_owner_host_is_gone(cfs_serve_lock(g->serve), host,
			       r == 0 ? NULL : &err);
	cfs_serve_unlock(g->serve);
}

static void *run(void *arg)
{
	struct cfs_serve_gone *g = arg;

	pthread_mutex_lock(&g->lock);
	while (!g->is_ending) {
		struct order *o = g->orders;

		if (!o) {
			pthread_cond_wait(&g->changed, &g->lock);
			continue;
		}
		g->orders = o->next;
		pthread_mutex_unlock(&g->lock);
		do_order(g, o->host);
		free(o);
		pthread_mutex_lock(&g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* ---- orders -------------------------------------------------------------- */

static int gone_new(struct cfs_serve *serve, struct cfs_serve_gone **ret)
{
	struct cfs_serve_gone *g = calloc(1, sizeof(*g));
	sigset_t all, old;
	int r;

	if (!g)
		return -ENOMEM;
	g->serve = serve;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&g->thread, NULL, run, g);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0) {
		*ret = g;
		return 0;
	}
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
	return r;
}

int cfs_serve_gone_host(struct cfs_serve *serve, struct cfs_serve_gone **at,
			const char *host)
{
	struct cfs_holder *holder = serve->session->holder;
	struct order *o, **end;
	int r = 0;

	if (!host || !holder || !cfs_holder_knows_host(holder, host))
		return -ENOENT;
	if (!*at)
		r = gone_new(serve, at);
	if (r != 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	(void)snprintf(o->host, sizeof(o->host), "%s", host);
	pthread_mutex_lock(&(*at)->lock);
	for (end = &(*at)->orders; *end; end = &(*end)->next)
		;
	*end = o;
	pthread_cond_signal(&(*at)->changed);
	pthread_mutex_unlock(&(*at)->lock);
	return 1;
}

void cfs_serve_gone_free(struct cfs_serve_gone *g)
{
	struct order *o;

	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->is_ending = true;
	pthread_cond_signal(&g->changed);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	while ((o = g->orders)) {
		g->orders = o->next;
		free(o);
	}
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
}
