/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a connection has open, and how it all ends with it. */
#include "session/serve_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "session/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_WAIT_NS (5 * CFS_NS_PER_S) /* for no commit to run */
#define LOOK_NS      (50 * CFS_NS_PER_MS)

/* ---- peers --------------------------------------------------------------- */

static void name_peer(struct serve_peer *peer, const struct cfs_link_peer *p)
{
	struct cfs_use_actor *a = &peer->actor;

	a->id = peer;
	a->pid = p && p->is_local ? p->pid : 0;
	if (p && p->is_local && p->pid)
		snprintf(a->who, sizeof(a->who),
			 "process %" PRIu32 " on this host", p->pid);
	else if (p && p->has_certificate)
		snprintf(a->who, sizeof(a->who), "%.255s", p->name);
	else if (p && p->address[0])
		snprintf(a->who, sizeof(a->who), "%.255s", p->address);
	else
		strcpy(a->who, "another process");
}

struct serve_peer *serve_peer_get(struct cfs_serve_rpc *rpc,
				  const struct cfs_server_request *request)
{
	struct serve_peer *peer;

	pthread_mutex_lock(&rpc->lock);
	HASH_FIND(hh, rpc->peers, &request->peer, sizeof(request->peer), peer);
	if (!peer) {
		peer = calloc(1, sizeof(*peer));
		if (peer) {
			peer->id = request->peer;
			peer->rpc = rpc;
			peer->is_local = request->identity &&
					 request->identity->is_local;
			name_peer(peer, request->identity);
			pthread_mutex_init(&peer->lock, NULL);
			cfs_cond_init(&peer->changed);
			if (CFS_HASH_ADD(rpc->peers, id, peer) < 0) {
				pthread_cond_destroy(&peer->changed);
				pthread_mutex_destroy(&peer->lock);
				free(peer);
				peer = NULL;
			}
		}
	}
	pthread_mutex_unlock(&rpc->lock);
	return peer;
}

static void handle_free(struct serve_peer *peer, struct serve_handle *h)
{
	/* A secondary closes what the end of a connection leaves. */
	struct cfs_fs *fs = h->v && !h->onward.remote ? cfs_io_fs(h->v) : NULL;
	struct serve_inode *i, *next;

	HASH_ITER(hh, h->inodes, i, next) {
		HASH_DEL(h->inodes, i);
		for (; fs && i->count > 0; i->count--)
			(void)cfs_fs_close_ino(fs, i->ino, NULL);
		free(i);
	}
	/* One that stands still is not waited for. */
	__atomic_store_n(&h->onward.is_over, true, __ATOMIC_RELAXED);
	cfs_io_close(h->v);
	cfs_remote_close(h->onward.remote);
	cfs_serve_volume_leave(peer->rpc->s, h->onward.kept);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/*
 * What was not finished goes, as the next opener would do after a crash.  What
 * a scrub looks at just now, or a client has open who is not known to be gone,
 * is left until the next connection, or client, ends.
 */
static void remove_locked(struct cfs_serve_rpc *rpc,
			  struct serve_unfinished *all)
{
	struct serve_unfinished **at = &all, *u;

	while (*at)
		at = &(*at)->next;
	*at = rpc->orphans;
	rpc->orphans = NULL;
	while ((u = all)) {
		all = u->next;
		if (cfs_local_remove_unfinished(rpc->s, u->name, NULL) ==
		    -EBUSY) {
			u->next = rpc->orphans;
			rpc->orphans = u;
		} else {
			free(u);
		}
	}
}

static void remove_all(struct cfs_serve_rpc *rpc, struct serve_unfinished *all)
{
	pthread_rwlock_wrlock(&rpc->structure);
	remove_locked(rpc, all);
	pthread_rwlock_unlock(&rpc->structure);
}

/* A request that looks at the structure may wait for the very thread that calls
 * this: then it is left to the end of the connection that asked for that. */
void cfs_serve_rpc_sweep(struct cfs_serve_rpc *rpc)
{
	if (pthread_rwlock_trywrlock(&rpc->structure) != 0)
		return;
	remove_locked(rpc, NULL);
	pthread_rwlock_unlock(&rpc->structure);
}

/* ---- dry runs ------------------------------------------------------------ */

static int sync_one(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	struct cfs_session *s = arg;
	struct cfs_member *m;

	/* One that cannot be opened has nothing that waits. */
	if (rec->state == CFS_OBJECT_DELETING ||
	    cfs_pool_member_by_id(s->pool, id, &m, NULL) < 0)
		return 0;
	return cfs_container_sync(m->container, err);
}

int serve_hold(struct serve_peer *peer, struct cfs_err *err)
{
	struct cfs_session *s = peer->rpc->s;
	int r = cfs_pool_containers(s->pool, sync_one, s, err);

	if (r == 0)
		r = cfs_container_sync(cfs_pool_container0(s->pool), err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&peer->lock);
	if (!peer->has_hold) {
		r = cfs_local_pin(s, NULL, &peer->hold_use, err);
		if (r == 0 &&
		    cfs_commit_hold(cfs_devset_holds(s->set), &peer->hold,
				    HOLD_WAIT_NS,
				    CFS_RPC_HOLD_SECONDS * CFS_NS_PER_S) < 0)
			r = cfs_err_set(err, -EBUSY,
					"too busy for a dry "
					"run");
		if (r < 0) {
			cfs_serve_volume_leave(s, peer->hold_use);
			peer->hold_use = NULL;
		}
		peer->has_hold = r == 0;
	}
	pthread_mutex_unlock(&peer->lock);
	return r;
}

static void release_hold(struct serve_peer *peer)
{
	struct cfs_session *s = peer->rpc->s;

	if (!peer->has_hold)
		return;
	(void)cfs_commit_release(cfs_devset_holds(s->set), &peer->hold);
	cfs_serve_volume_leave(s, peer->hold_use);
}

void serve_peer_free(struct serve_peer *peer)
{
	struct serve_handle *h, *next;
	struct serve_stage *stage;

	release_hold(peer);

	HASH_ITER(hh, peer->handles, h, next) {
		HASH_DEL(peer->handles, h);
		handle_free(peer, h);
	}
	remove_all(peer->rpc, peer->unfinished);
	peer->unfinished = NULL;
	while ((stage = peer->stages)) {
		peer->stages = stage->next;
		serve_stage_free(stage);
	}
	pthread_cond_destroy(&peer->changed);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

/* ---- handles ------------------------------------------------------------- */

int serve_handle_add(struct serve_peer *peer, struct cfs_io_volume *v,
		     bool is_writable, uint64_t *ret, struct cfs_err *err)
{
	struct serve_handle *h = calloc(1, sizeof(*h));
	bool is_full;
	int r = 0;

	if (!h)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->v = v;
	h->is_writable = is_writable;
	pthread_mutex_lock(&peer->lock);
	is_full = HASH_COUNT(peer->handles) >= SERVE_HANDLES_MAX;
	if (!is_full) {
		h->id = ++peer->next_handle;
		*ret = h->id;
		r = CFS_HASH_ADD(peer->handles, id, h);
	}
	pthread_mutex_unlock(&peer->lock);
	if (!is_full && r == 0)
		return 0;
	pthread_mutex_destroy(&h->lock);
	free(h);
	if (r < 0)
		return cfs_err_set(err, r, "out of memory");
	return cfs_err_set(err, -ENFILE, "too many open volumes");
}

/* Its container is between two owners; with the lock, which is let go. */
static struct serve_handle *find_handle(struct serve_peer *peer, uint64_t id)
{
	struct serve_handle *h;
	bool has_told = false;

	for (;;) {
		HASH_FIND(hh, peer->handles, &id, sizeof(id), h);
		if (!h || (h->step != SERVE_STOPPED && h->step != SERVE_AWAY) ||
		    cfs_serve_is_cancelled())
			return h;
		if (!has_told) {
			has_told = true;
			pthread_mutex_unlock(&peer->lock);
			(void)cfs_serve_will_wait();
			pthread_mutex_lock(&peer->lock);
			continue;
		}
		(void)cfs_cond_wait_ns(&peer->changed, &peer->lock, LOOK_NS);
	}
}

int serve_handle_get(struct serve_peer *peer, uint64_t id,
		     struct serve_handle **ret, struct cfs_err *err)
{
	struct serve_handle *h;
	enum serve_step step = SERVE_HERE;

	pthread_mutex_lock(&peer->lock);
	h = find_handle(peer, id);
	if (h)
		step = h->step;
	if (h && (step == SERVE_HERE || step == SERVE_THERE))
		h->users++;
	pthread_mutex_unlock(&peer->lock);
	if (!h)
		return cfs_err_set(err, -EBADF, "no such open volume");
	if (step == SERVE_LOST)
		return cfs_err_set(err, -ECONNRESET,
				   "the process that served it is gone, and "
				   "with it perhaps what was not synced");
	if (step == SERVE_STOPPED || step == SERVE_AWAY)
		return cfs_err_set(err, -EINTR, "stopped");
	if (step == SERVE_THERE)
		(void)cfs_serve_will_wait();
	/* Until it is put. */
	cfs_serve_set_patience(h->patience_ns);
	*ret = h;
	return 0;
}

void serve_handle_put(struct serve_peer *peer, struct serve_handle *h)
{
	cfs_serve_set_patience(0);
	bool is_last;

	pthread_mutex_lock(&peer->lock);
	h->users--;
	is_last = h->users == 0 && h->holds == 0 && h->is_closing;
	pthread_cond_broadcast(&peer->changed);
	pthread_mutex_unlock(&peer->lock);
	if (is_last)
		handle_free(peer, h);
}

void serve_handle_hold(struct serve_handle *h)
{
	h->holds++;
}

void serve_handle_let_go(struct serve_peer *peer, struct serve_handle *h)
{
	bool is_last;

	pthread_mutex_lock(&peer->lock);
	h->holds--;
	is_last = h->users == 0 && h->holds == 0 && h->is_closing;
	pthread_mutex_unlock(&peer->lock);
	if (is_last)
		handle_free(peer, h);
}

int serve_handle_close(struct serve_peer *peer, uint64_t id,
		       struct cfs_err *err)
{
	struct serve_handle *h;
	bool is_last;

	/* It can be closed wherever it is. */
	pthread_mutex_lock(&peer->lock);
	HASH_FIND(hh, peer->handles, &id, sizeof(id), h);
	if (h) {
		h->is_closing = true;
		HASH_DEL(peer->handles, h);
	}
	is_last = h && h->users == 0 && h->holds == 0;
	pthread_mutex_unlock(&peer->lock);
	if (is_last)
		handle_free(peer, h);
	return h ? 0 : cfs_err_set(err, -EBADF, "no such open volume");
}

int serve_inode_add(struct serve_handle *h, uint64_t ino, struct cfs_err *err)
{
	struct serve_inode *i;
	int r = 0;

	pthread_mutex_lock(&h->lock);
	HASH_FIND(hh, h->inodes, &ino, sizeof(ino), i);
	if (!i && HASH_COUNT(h->inodes) >= SERVE_INODES_MAX)
		r = cfs_err_set(err, -EMFILE, "too many open files");
	if (!i && r == 0) {
		i = calloc(1, sizeof(*i));
		if (i)
			i->ino = ino;
		if (!i || CFS_HASH_ADD(h->inodes, ino, i) < 0) {
			free(i);
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		}
	}
	/* An inode has room for 2^32 opens in all. */
	if (r == 0 && i->count >= SERVE_INODES_MAX)
		r = cfs_err_set(err, -EMFILE, "too many open files");
	if (r == 0)
		i->count++;
	pthread_mutex_unlock(&h->lock);
	return r;
}

int serve_inode_drop(struct serve_handle *h, uint64_t ino, struct cfs_err *err)
{
	struct serve_inode *i;

	pthread_mutex_lock(&h->lock);
	HASH_FIND(hh, h->inodes, &ino, sizeof(ino), i);
	if (i && --i->count == 0) {
		HASH_DEL(h->inodes, i);
		free(i);
	}
	pthread_mutex_unlock(&h->lock);
	return i ? 0
		 : cfs_err_set(err, -EBADF, "inode %" PRIu64 ": is not open",
			       ino);
}

/* ---- long requests ------------------------------------------------------- */

void serve_stage_free(struct serve_stage *stage)
{
	if (!stage)
		return;
	free(stage->data);
	free(stage);
}

static struct serve_stage *stage_new(struct serve_peer *peer, uint64_t token,
				     size_t bytes)
{
	struct serve_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return NULL;
	stage->data = malloc(bytes);
	if (!stage->data) {
		free(stage);
		return NULL;
	}
	stage->token = token;
	stage->bytes = bytes;
	stage->next = peer->stages;
	peer->stages = stage;
	peer->stage_bytes += bytes;
	return stage;
}

/* In order, from the front; a piece at 0 begins one. */
static int stage_piece(struct serve_peer *peer, const struct cfs_rpc_args *a,
		       struct cfs_err *err)
{
	struct serve_stage *stage;

	for (stage = peer->stages; stage; stage = stage->next)
		if (stage->token == a->token)
			break;
	if (!stage && a->offset_bytes == 0 &&
	    a->size_bytes <= SERVE_STAGES_BYTES_MAX - peer->stage_bytes) {
		stage = stage_new(peer, a->token, (size_t)a->size_bytes);
		if (!stage)
			return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (!stage)
		return cfs_err_set(err, -ENOBUFS, "too many long requests");
	if (a->size_bytes != stage->bytes ||
	    a->offset_bytes != stage->filled_bytes ||
	    a->data_bytes > stage->bytes - stage->filled_bytes)
		return cfs_err_set(err, -EPROTO, "a piece that does not fit");
	memcpy(stage->data + stage->filled_bytes, a->data, a->data_bytes);
	stage->filled_bytes += a->data_bytes;
	return 0;
}

int serve_stage_put(struct serve_peer *peer, const struct cfs_rpc_args *args,
		    struct cfs_err *err)
{
	int r;

	if (args->token == 0 || args->data_bytes == 0 ||
	    args->size_bytes > CFS_RPC_STAGE_BYTES_MAX)
		return cfs_err_set(err, -E2BIG, "too much for one request");
	pthread_mutex_lock(&peer->lock);
	r = stage_piece(peer, args, err);
	pthread_mutex_unlock(&peer->lock);
	return r;
}

struct serve_stage *serve_stage_take(struct serve_peer *peer, uint64_t token)
{
	struct serve_stage **at, *stage;

	pthread_mutex_lock(&peer->lock);
	for (at = &peer->stages; *at && (*at)->token != token;
	     at = &(*at)->next)
		;
	stage = *at;
	if (stage) {
		*at = stage->next;
		peer->stage_bytes -= stage->bytes;
	}
	pthread_mutex_unlock(&peer->lock);
	if (stage && stage->filled_bytes != stage->bytes) {
		serve_stage_free(stage);
		return NULL;
	}
	return stage;
}

/* ---- cancelling ---------------------------------------------------------- */

void serve_running_add(struct serve_peer *peer, struct serve_running *run)
{
	pthread_mutex_lock(&peer->lock);
	run->next = peer->running;
	peer->running = run;
	pthread_mutex_unlock(&peer->lock);
}

void serve_running_drop(struct serve_peer *peer, struct serve_running *run)
{
	struct serve_running **at;

	pthread_mutex_lock(&peer->lock);
	for (at = &peer->running; *at != run; at = &(*at)->next)
		;
	*at = run->next;
	pthread_mutex_unlock(&peer->lock);
}

void serve_running_cancel(struct serve_peer *peer, uint64_t token)
{
	pthread_mutex_lock(&peer->lock);
	for (struct serve_running *run = peer->running; run; run = run->next)
		if (token && run->token == token)
			__atomic_store_n(&run->is_cancelled, true,
					 __ATOMIC_RELAXED);
	pthread_mutex_unlock(&peer->lock);
}

/* ---- volumes that are being filled --------------------------------------- */

int serve_unfinished_add(struct serve_peer *peer, const char *name,
			 struct cfs_err *err)
{
	struct serve_unfinished *u;
	bool is_full;

	if (strlen(name) >= sizeof(u->name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	u = calloc(1, sizeof(*u));
	if (!u)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	strcpy(u->name, name);
	pthread_mutex_lock(&peer->lock);
	is_full = peer->unfinished_count >= SERVE_UNFINISHED_MAX;
	if (!is_full) {
		u->next = peer->unfinished;
		peer->unfinished = u;
		peer->unfinished_count++;
	}
	pthread_mutex_unlock(&peer->lock);
	if (!is_full)
		return 0;
	free(u);
	return cfs_err_set(err, -EMFILE, "too many volumes are being made");
}

void serve_unfinished_drop(struct serve_peer *peer, const char *name)
{
	struct serve_unfinished **at, *u = NULL;

	pthread_mutex_lock(&peer->lock);
	for (at = &peer->unfinished; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, name) == 0) {
			u = *at;
			*at = u->next;
			peer->unfinished_count--;
			break;
		}
	}
	pthread_mutex_unlock(&peer->lock);
	free(u);
}
