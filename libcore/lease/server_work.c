// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The workers of a server: what takes long, or may wait for a device.
 *
 * Threads are started when there is work and nobody idle, and stay until the
 * end.  One peer gets at most half of them, so that it cannot keep the others
 * waiting; what is known to take long does not count at all.
 */
#include "lease/server_priv.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool may_run(const struct cfs_server *server, const struct cfs_job *job)
{
	unsigned int most = CFS_MAX(server->opt.workers_max / 2, 1u);

	/* The end of a peer follows its last request: it waits for nobody. */
	return !job->handler || job->peer->running < most;
}

/* The first that may run; moved to those that do.  With the lock. */
static struct cfs_job *take_job(struct cfs_server *server)
{
	struct cfs_job *job;

	TAILQ_FOREACH(job, &server->queued, link)
	if (may_run(server, job))
		break;
	if (!job)
		return NULL;
	TAILQ_REMOVE(&server->queued, job, link);
	TAILQ_INSERT_TAIL(&server->running, job, link);
	job->peer->running++;
	return job;
}

/* The answer, whatever the handler did. */
static void answer(struct cfs_job *job, int code, const struct cfs_buf *reply,
		   const struct cfs_err *err)
{
	const struct cfs_server_request *q = &job->request;

	if (code == 0 && reply->bytes > CFS_MSG_BODY_MAX)
		code = -EMSGSIZE;
	if (code == 0)
		(void)cfs_peer_send_parts(job->peer,
					  q->type | CFS_MSG_TYPE_REPLY, q->id,
					  0, reply->data, reply->bytes);
	else
		(void)cfs_peer_send_error(job->peer, q->type, q->id, code,
					  err->code == code ? err->msg
							    : strerror(-code));
}

static void run_request(struct cfs_job *job)
{
	struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (job->is_cancelled)
		r = cfs_err_set(&err, -EINTR, "cancelled");
	else
		r = job->handler->worker(job->handler->arg, &job->request,
					 &reply, &err);
	answer(job, r, &reply, &err);
	cfs_buf_donep(&reply);
}

static void start_worker(struct cfs_server *server);

/* The last request of a peer that has left: now its things can be closed.
 * With the lock. */
static void queue_end(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;
	struct cfs_job *job;

	if (!server->opt.ended)
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return; /* it is closed with the session then */
	job->request.peer = peer->id;
	job->peer = peer;
	peer->refs++;
	TAILQ_INSERT_TAIL(&server->queued, job, link);
	start_worker(server);
}

/* With the lock. */
static void finish(struct cfs_job *job)
{
	struct cfs_server_peer *peer = job->peer;
	struct cfs_server *server = peer->server;

	TAILQ_REMOVE(&server->running, job, link);
	if (job->is_long)
		server->long_count--;
	else
		peer->running--;
	if (job->handler) {
		peer->requests--;
		if (peer->has_left && peer->requests == 0)
			queue_end(peer);
		/* One that was held back by this peer's share may go. */
		if (!TAILQ_EMPTY(&server->queued))
			pthread_cond_signal(&server->work);
	}
	if (server->is_stopping)
		cfs_server_wake(server);
}

static void *worker(void *arg)
{
	struct cfs_server *server = arg;
	struct cfs_job *job;

	pthread_mutex_lock(&server->lock);
	for (;;) {
		job = take_job(server);
		if (!job && server->workers_end && TAILQ_EMPTY(&server->queued))
			break;
		if (!job) {
			server->idle_count++;
			pthread_cond_wait(&server->work, &server->lock);
			server->idle_count--;
			continue;
		}
		pthread_mutex_unlock(&server->lock);
		if (job->handler)
			run_request(job);
		else
			server->opt.ended(server->opt.arg, job->request.peer);
		pthread_mutex_lock(&server->lock);
		finish(job);
		pthread_mutex_unlock(&server->lock);
		cfs_peer_put(job->peer);
		free(job);
		pthread_mutex_lock(&server->lock);
	}
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

/* One that was woken counts as idle until it runs: so each job that may run
 * needs one of its own. */
static bool are_enough_idle(const struct cfs_server *server)
{
	const struct cfs_job *job;
	size_t n = 0;

	TAILQ_FOREACH(job, &server->queued, link)
	if (may_run(server, job) && ++n > server->idle_count)
		return false;
	return server->idle_count > 0;
}

/* Somebody for what was queued.  With the lock. */
static void start_worker(struct cfs_server *server)
{
	size_t most = server->opt.workers_max + server->long_count;
	pthread_t *at = &server->workers[server->worker_count];
	char name[16];

	if (are_enough_idle(server) || server->worker_count >= most ||
	    (server->workers_end && server->worker_count)) {
		pthread_cond_signal(&server->work);
		return;
	}
	snprintf(name, sizeof(name), "cfs-work-%u",
		 (unsigned int)(server->worker_count % 1000));
	if (cfs_server_thread(at, name, worker, server) == 0)
		server->worker_count++;
}

static struct cfs_job *new_job(struct cfs_server_peer *peer,
			       const struct cfs_handler *handler,
			       uint64_t client, const struct cfs_msg_head *head,
			       const uint8_t *body, size_t body_bytes)
{
	struct cfs_job *job = calloc(1, sizeof(*job) + body_bytes);

	if (!job)
		return NULL;
	if (body_bytes)
		memcpy(job->body, body, body_bytes);
	job->peer = peer;
	job->handler = handler;
	job->request = (struct cfs_server_request){
		.server = peer->server,
		.peer = peer->id,
		.client = client,
		.identity = cfs_link_peer(peer->link),
		.type = head->type,
		.id = head->id,
		.body = job->body,
		.body_bytes = body_bytes,
	};
	return job;
}

void cfs_work_request(struct cfs_server_peer *peer,
		      const struct cfs_handler *handler, uint64_t client,
		      const struct cfs_msg_head *head, const uint8_t *body,
		      size_t body_bytes)
{
	struct cfs_server *server = peer->server;
	struct cfs_job *job = new_job(peer, handler, client, head, body,
				      body_bytes);
	bool is_taken = false;

	if (!job) {
		(void)cfs_peer_send_error(peer, head->type, head->id, -ENOMEM,
					  "the manager is out of memory");
		return;
	}
	pthread_mutex_lock(&server->lock);
	if (peer->requests < server->opt.requests_max) {
		is_taken = true;
		peer->requests++;
		peer->refs++;
		server->stats.requests++;
		TAILQ_INSERT_TAIL(&server->queued, job, link);
		start_worker(server);
	}
	if (is_taken && server->worker_count == 0) {
		/* Not one thread is to be had. */
		is_taken = false;
		TAILQ_REMOVE(&server->queued, job, link);
		peer->requests--;
		peer->refs--;
	}
	pthread_mutex_unlock(&server->lock);
	if (is_taken)
		return;
	free(job);
	(void)cfs_peer_send_error(peer, head->type, head->id, -EAGAIN,
				  "too many requests at once");
}

/* ---- cancelling ---------------------------------------------------------- */

/* Waiters for room in the peer's queue look again.  Needs a reference. */
static void nudge(struct cfs_server_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	pthread_cond_broadcast(&peer->room);
	pthread_mutex_unlock(&peer->lock);
}

/* With the lock. */
static void mark(struct cfs_jobs *jobs, const struct cfs_server_peer *peer,
		 bool is_any, uint64_t id)
{
	struct cfs_job *job;

	TAILQ_FOREACH(job, jobs, link)
	if (!peer || (job->peer == peer && (is_any || job->request.id == id)))
		atomic_store(&job->is_cancelled, true);
}

void cfs_work_cancel(struct cfs_server_peer *peer, uint64_t id)
{
	struct cfs_server *server = peer->server;

	pthread_mutex_lock(&server->lock);
	mark(&server->queued, peer, false, id);
	mark(&server->running, peer, false, id);
	pthread_mutex_unlock(&server->lock);
	nudge(peer);
}

void cfs_work_peer_left(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;

	pthread_mutex_lock(&server->lock);
	mark(&server->queued, peer, true, 0);
	mark(&server->running, peer, true, 0);
	peer->has_left = true;
	if (peer->requests == 0)
		queue_end(peer);
	pthread_mutex_unlock(&server->lock);
	nudge(peer);
}

void cfs_work_cancel_all(struct cfs_server *server)
{
	pthread_mutex_lock(&server->lock);
	mark(&server->queued, NULL, true, 0);
	mark(&server->running, NULL, true, 0);
	pthread_mutex_unlock(&server->lock);
}

bool cfs_work_is_idle(struct cfs_server *server)
{
	bool is_idle;

	pthread_mutex_lock(&server->lock);
	is_idle = TAILQ_EMPTY(&server->queued) && TAILQ_EMPTY(&server->running);
	pthread_mutex_unlock(&server->lock);
	return is_idle;
}

void cfs_work_end(struct cfs_server *server)
{
	size_t i;

	pthread_mutex_lock(&server->lock);
	server->workers_end = true;
	/* What is queued needs somebody, also if no thread was to be had. */
	if (!TAILQ_EMPTY(&server->queued) && server->worker_count == 0)
		start_worker(server);
	pthread_cond_broadcast(&server->work);
	pthread_mutex_unlock(&server->lock);
	/* Nobody starts more: no requests come, and those that run count. */
	for (i = 0; i < server->worker_count; i++)
		pthread_join(server->workers[i], NULL);
	server->worker_count = 0;
}

/* ---- for handlers -------------------------------------------------------- */

static struct cfs_job *job_of(struct cfs_server_request *request)
{
	return (struct cfs_job *)(void *)((char *)request -
					  offsetof(struct cfs_job, request));
}

bool cfs_server_request_is_cancelled(struct cfs_server_request *request)
{
	struct cfs_job *job = job_of(request);

	return job->is_cancelled || job->peer->is_dead;
}

int cfs_server_request_set_long(struct cfs_server_request *request,
				struct cfs_err *err)
{
	struct cfs_server *server = request->server;
	struct cfs_job *job = job_of(request);
	int r = 0;

	pthread_mutex_lock(&server->lock);
	if (!job->is_long && server->long_count >= server->opt.long_max) {
		r = cfs_err_set(err, -EAGAIN, "too much long work at once");
	} else if (!job->is_long) {
		job->is_long = true;
		job->peer->running--;
		server->long_count++;
		if (!TAILQ_EMPTY(&server->queued))
			start_worker(server);
	}
	pthread_mutex_unlock(&server->lock);
	return r;
}

/* Half of the queue is for streams: short answers still find room. */
static bool has_room(const struct cfs_server_peer *peer, size_t bytes)
{
	return peer->queue_bytes == 0 ||
	       peer->queue_bytes + bytes <=
		       peer->server->opt.queue_bytes_max / 2;
}

int cfs_server_request_more(struct cfs_server_request *request,
			    const void *body, size_t bytes, struct cfs_err *err)
{
	struct cfs_job *job = job_of(request);
	struct cfs_server_peer *peer = job->peer;
	int r;

	pthread_mutex_lock(&peer->lock);
	while (!has_room(peer, bytes + CFS_MSG_HEAD_BYTES) && !peer->is_dead &&
	       !job->is_cancelled)
		pthread_cond_wait(&peer->room, &peer->lock);
	pthread_mutex_unlock(&peer->lock);
	if (peer->is_dead)
		return cfs_err_set(err, -EPIPE, "nobody reads any more");
	if (job->is_cancelled)
		return cfs_err_set(err, -EINTR, "cancelled");
	r = cfs_peer_send_parts(
		peer, request->type | CFS_MSG_TYPE_REPLY | CFS_MSG_TYPE_MORE,
		request->id, 0, body, bytes);
	if (r == -EMSGSIZE || r == -ENOMEM)
		return cfs_err_errno(err, r, "a part of an answer");
	return r < 0 ? cfs_err_set(err, -EPIPE, "nobody reads any more") : 0;
}
