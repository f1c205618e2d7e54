// SPDX-License-Identifier: LGPL-2.1-or-later
/* A server as others see it: made, started, spoken through, ended. */
#include "lease/server_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HELLO_MS 5000u
#define DEAF_MS  60000u

int cfs_server_thread(pthread_t *ret, const char *name, void *(*fn)(void *),
		      void *arg)
{
	sigset_t all, before;
	int r;

	/* Signals are for the thread that decides when to stop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		(void)pthread_setname_np(*ret, name);
	return -r;
}

void cfs_server_wake(struct cfs_server *server)
{
	const uint64_t one = 1;
	ssize_t n = write(server->wake_fd, &one, sizeof(one));

	(void)n; /* it can only fail by being awake already */
}

void cfs_server_kick(struct cfs_server *server)
{
	if (server->is_started)
		cfs_server_wake(server);
}

uint64_t cfs_server_now(const struct cfs_server *server)
{
	return cfs_clock_elapsed_ns(server->opt.clock);
}

static void set_defaults(struct cfs_server_options *opt)
{
	if (!opt->peers_max)
		opt->peers_max = 4096;
	if (!opt->queue_bytes_max)
		opt->queue_bytes_max = (size_t)1 << 20;
	if (!opt->requests_max)
		opt->requests_max = 64;
	if (!opt->workers_max)
		opt->workers_max = 8;
	if (!opt->long_max)
		opt->long_max = 64;
	if (!opt->hello_ms)
		opt->hello_ms = HELLO_MS;
	if (!opt->deaf_ms)
		opt->deaf_ms = DEAF_MS;
	if (!opt->clock)
		opt->clock = cfs_clock_system();
}

static int open_descriptors(struct cfs_server *server, struct cfs_err *err)
{
	struct epoll_event event = {
		.events = EPOLLIN,
		.data.ptr = &server->wake,
	};

	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->epoll_fd < 0 || server->wake_fd < 0 ||
	    epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd,
		      &event) < 0)
		return cfs_err_errno(err, -errno, "service");
	return 0;
}

int cfs_server_new(const struct cfs_server_options *opt,
		   struct cfs_server **ret, struct cfs_err *err)
{
	struct cfs_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	server->opt = *opt;
	set_defaults(&server->opt);
	server->wake.kind = CFS_SOURCE_WAKE;
	server->epoll_fd = server->wake_fd = server->spare_fd = -1;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->work, NULL);
	TAILQ_INIT(&server->new_peers);
	TAILQ_INIT(&server->again);
	TAILQ_INIT(&server->incoming);
	TAILQ_INIT(&server->queued);
	TAILQ_INIT(&server->running);
	server->workers = calloc(server->opt.workers_max +
					 (size_t)server->opt.long_max,
				 sizeof(*server->workers));
	r = server->workers ? open_descriptors(server, err)
			    : cfs_err_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		cfs_server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

void cfs_server_free(struct cfs_server *server)
{
	if (!server)
		return;
	cfs_server_stop(server, 0);
	if (server->epoll_fd >= 0)
		close(server->epoll_fd);
	if (server->wake_fd >= 0)
		close(server->wake_fd);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	pthread_cond_destroy(&server->work);
	pthread_mutex_destroy(&server->lock);
	free(server->workers);
	free(server);
}

/* ---- handlers and listeners ---------------------------------------------- */

static int add_handler(struct cfs_server *server, struct cfs_handler handler,
		       struct cfs_err *err)
{
	if (server->handler_count == CFS_SERVER_HANDLERS_MAX)
		return cfs_err_set(err, -ENOMEM, "too many handlers");
	server->handlers[server->handler_count++] = handler;
	return 0;
}

int cfs_server_handle_loop(struct cfs_server *server, uint16_t first,
			   uint16_t last, cfs_server_loop_fn fn, void *arg,
			   struct cfs_err *err)
{
	return add_handler(server,
			   (struct cfs_handler){
				   .first = first,
				   .last = last,
				   .loop = fn,
				   .arg = arg,
			   },
			   err);
}

int cfs_server_handle_worker(struct cfs_server *server, uint16_t first,
			     uint16_t last, cfs_server_worker_fn fn, void *arg,
			     struct cfs_err *err)
{
	return add_handler(server,
			   (struct cfs_handler){
				   .first = first,
				   .last = last,
				   .worker = fn,
				   .arg = arg,
			   },
			   err);
}

int cfs_server_listen(struct cfs_server *server,
		      const struct cfs_address *address, struct cfs_tls *tls,
		      struct cfs_address *ret_address, struct cfs_err *err)
{
	struct cfs_listener *l = &server->listeners[server->listener_count];
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = l };
	struct cfs_address said;
	struct stat st;
	int r;

	if (server->listener_count == CFS_SERVER_LISTENERS_MAX)
		return cfs_err_set(err, -E2BIG, "too many addresses");
	r = cfs_link_listen(address, tls != NULL, &l->fd, &said, err);
	if (r < 0)
		return r;
	l->source.kind = CFS_SOURCE_LISTENER;
	l->tls = address->kind == CFS_ADDRESS_TCP ? tls : NULL;
	l->address = said;
	if (said.kind == CFS_ADDRESS_UNIX && lstat(said.path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, l->fd, &event) < 0) {
		r = cfs_err_errno(err, -errno, "service");
		cfs_listener_close(l);
		return r;
	}
	server->listener_count++;
	if (ret_address)
		*ret_address = said;
	return 0;
}

void cfs_listener_close(struct cfs_listener *listener)
{
	const char *path = listener->address.path;
	struct stat st;

	/* Another one may stand under the name by now. */
	if (listener->address.kind == CFS_ADDRESS_UNIX && listener->ino &&
	    lstat(path, &st) == 0 && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		(void)unlink(path);
	close(listener->fd);
	listener->fd = -1;
}

/* ---- running ------------------------------------------------------------- */

int cfs_server_start(struct cfs_server *server, struct cfs_err *err)
{
	int r = cfs_server_thread(&server->thread, "cfs-serve", cfs_server_loop,
				  server);

	if (r < 0)
		return cfs_err_errno(err, r, "service");
	server->is_started = true;
	return 0;
}

int cfs_server_add_link(struct cfs_server *server, struct cfs_link *link,
			uint64_t *ret_peer, struct cfs_err *err)
{
	struct cfs_server_peer *peer;
	int r = cfs_peer_new(server, link, &peer, err);

	if (r < 0)
		return r;
	if (ret_peer)
		*ret_peer = peer->id;
	pthread_mutex_lock(&server->lock);
	TAILQ_INSERT_TAIL(&server->incoming, peer, in_new);
	pthread_mutex_unlock(&server->lock);
	cfs_server_wake(server);
	return 0;
}

void cfs_server_stop(struct cfs_server *server, unsigned int grace_ms)
{
	size_t i;

	if (!server->is_started) {
		for (i = 0; i < server->listener_count; i++)
			cfs_listener_close(&server->listeners[i]);
		server->listener_count = 0;
		return;
	}
	atomic_store(&server->stop_ns,
		     cfs_server_now(server) + grace_ms * CFS_NS_PER_MS);
	atomic_store(&server->is_stopping, true);
	cfs_server_wake(server);
	pthread_join(server->thread, NULL);
	cfs_work_end(server);
	server->is_started = false;
}

bool cfs_server_close_idle(struct cfs_server *server)
{
	bool is_idle;

	pthread_mutex_lock(&server->lock);
	is_idle = server->peer_count == 0;
	server->is_closed |= is_idle;
	pthread_mutex_unlock(&server->lock);
	return is_idle;
}

void cfs_server_open_again(struct cfs_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->is_closed = false;
	pthread_mutex_unlock(&server->lock);
}

int cfs_server_send(struct cfs_server *server, uint64_t peer, const void *msg,
		    size_t bytes)
{
	struct cfs_server_peer *p = cfs_peer_get(server, peer);
	int r;

	if (!p)
		return -ENOTCONN;
	r = cfs_peer_send(p, msg, bytes);
	cfs_peer_put(p);
	return r;
}

void cfs_server_accept_peer(struct cfs_server *server, uint64_t peer)
{
	struct cfs_server_peer *p = cfs_peer_get(server, peer);

	if (!p)
		return;
	pthread_mutex_lock(&server->lock);
	p->is_accepted = true;
	pthread_mutex_unlock(&server->lock);
	cfs_peer_put(p);
}

void cfs_server_drop_peer(struct cfs_server *server, uint64_t peer,
			  bool is_gentle)
{
	struct cfs_server_peer *p = cfs_peer_get(server, peer);

	if (!p)
		return;
	if (is_gentle)
		cfs_peer_close_gently(p);
	else
		cfs_peer_kill(p);
	cfs_peer_put(p);
}

int cfs_server_peer_identity(struct cfs_server *server, uint64_t peer,
			     struct cfs_link_peer *ret)
{
	struct cfs_server_peer *p = cfs_peer_get(server, peer);

	if (!p)
		return -ENOTCONN;
	*ret = *cfs_link_peer(p->link);
	cfs_peer_put(p);
	return 0;
}

void cfs_server_stats(struct cfs_server *server, struct cfs_server_stats *ret)
{
	struct cfs_server_stats stats;
	struct cfs_server_peer *peer;
	const struct cfs_job *job;
	size_t i;

	pthread_mutex_lock(&server->lock);
	stats = server->stats;
	stats.peers = server->peer_count;
	stats.workers = server->worker_count;
	stats.requests_running = 0;
	TAILQ_FOREACH(job, &server->running, link)
	stats.requests_running += job->handler != NULL;
	for (i = 0; i < CFS_SERVER_BUCKETS; i++) {
		LIST_FOREACH(peer, &server->peers[i], in_bucket)
		{
			struct cfs_link_stats link;

			cfs_link_stats(peer->link, &link);
			stats.sent_bytes += link.sent_bytes;
			stats.received_bytes += link.received_bytes;
			stats.sent_messages += link.sent_messages;
			stats.received_messages += link.received_messages;
		}
	}
	pthread_mutex_unlock(&server->lock);
	*ret = stats;
}
