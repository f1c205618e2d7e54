// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The service of a session: its sockets, and the address in the holder's
 * record.
 *
 * Order at the start: sockets, so that nobody who reads the address is turned
 * away; record; thread.  At the end: no new connections and sockets away,
 * requests done, record.
 */
#include "session/serve_lease.h"
#include "session/serve_run_priv.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "lease/hand.h"
#include "session/delegate_msg.h"
#include "session/direct_msg.h"
#include "session/io_local.h"
#include "session/mover.h"
#include "session/rpc.h"
#include "session/secondary.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static void on_ended(void *arg, uint64_t peer)
{
	struct cfs_serve *serve = arg;
	struct cfs_serve_hooks hooks;

	cfs_serve_rpc_ended(serve->rpc, peer);
	pthread_mutex_lock(&serve->lock);
	hooks = serve->hooks;
	pthread_mutex_unlock(&serve->lock);
	if (hooks.ended)
		hooks.ended(hooks.arg, peer);
	cfs_serve_delegate_peer_ended(serve->delegate, peer);
}

/*
 * Of a secondary: what was read is handed on, and what was done is said to be,
 * only if the container was ours when it was.
 */
static int answer(struct cfs_serve *serve, int r, struct cfs_err *err)
{
	return r < 0 || !serve->session->secondary
		       ? r
		       : cfs_secondary_may_answer(serve->session->secondary,
						  err);
}

static int on_rpc(void *arg, struct cfs_server_request *request,
		  struct cfs_buf *reply, struct cfs_err *err)
{
	struct cfs_serve *serve = arg;

	return answer(serve,
		      cfs_serve_rpc_request(serve->rpc, request, reply, err),
		      err);
}

static int on_direct(void *arg, struct cfs_server_request *request,
		     struct cfs_buf *reply, struct cfs_err *err)
{
	struct cfs_serve *serve = arg;
	int r = cfs_serve_direct_request(serve->direct, request, reply, err);

	if (r == 0 && answer(serve, r, err) < 0)
		r = cfs_err_set(err, -ESHUTDOWN,
				"another process has the "
				"container: it is to be asked");
	return r;
}

int cfs_serve_make_server(struct cfs_serve *serve, struct cfs_err *err)
{
	const struct cfs_server_options opt = {
		.logger = serve->logger,
		.clock = &serve->clock.clock,
		.closed = cfs_serve_on_closed,
		.admit = cfs_serve_on_admit,
		.tick = cfs_serve_on_tick,
		.ended = on_ended,
		.arg = serve,
	};
	int r = cfs_serve_rpc_new(serve->session, &serve->rpc, err);

	if (r == 0)
		r = cfs_server_new(&opt, &serve->server, err);
	if (r == 0)
		r = cfs_server_handle_loop(serve->server, 1,
					   CFS_MSG_TYPE_LEASE_LAST,
					   cfs_serve_on_lease, serve, err);
	if (r == 0)
		r = cfs_server_handle_worker(serve->server, CFS_RPC_TYPE_FIRST,
					     CFS_RPC_TYPE_LAST, on_rpc, serve,
					     err);
	return r;
}

void cfs_serve_sweep(struct cfs_serve *serve)
{
	cfs_serve_rpc_sweep(serve->rpc);
}

int cfs_serve_make_direct(struct cfs_serve *serve, struct cfs_err *err)
{
	int r = cfs_serve_direct_new(serve, serve->logger, &serve->direct, err);

	if (r < 0)
		return r;
	serve->session->beside_us = serve->direct;
	return cfs_server_handle_worker(serve->server, CFS_DIRECT_TYPE_FIRST,
					CFS_DIRECT_TYPE_LAST, on_direct, serve,
					err);
}

int cfs_serve_make_delegate(struct cfs_serve *serve, struct cfs_err *err)
{
	int r = cfs_serve_delegate_new(serve, serve->logger, &serve->delegate,
				       err);

	return r < 0 ? r
		     : cfs_server_handle_worker(serve->server,
						CFS_DELEGATE_TYPE_FIRST,
						CFS_DELEGATE_TYPE_LAST,
						cfs_serve_delegate_request,
						serve->delegate, err);
}

void cfs_serve_stop_direct(struct cfs_serve *serve)
{
	cfs_serve_delegate_stop(serve->delegate);
	serve->session->beside_us = NULL;
	cfs_serve_direct_stop(serve->direct);
}

/* Whoever needs it first starts it. */
int cfs_serve_run(struct cfs_serve *serve, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&serve->lock);
	r = serve->is_running ? 0 : cfs_server_start(serve->server, err);
	serve->is_running |= r == 0;
	pthread_mutex_unlock(&serve->lock);
	return r;
}

/* ---- the directory ------------------------------------------------------- */

/* Ours or root's, and nobody else can put a socket of his there. */
static int check_directory(const char *path, struct cfs_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return cfs_err_set(err, -ENOTDIR, "%s: not a directory", path);
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022))
		return cfs_err_set(err, -EPERM,
				   "%s: others may write there: "
				   "give a directory of your own",
				   path);
	return 0;
}

static int make_directory(const char *path, struct cfs_err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return cfs_err_errno(err, -errno, "%s", path);
	return check_directory(path, err);
}

static int socket_of(const char *run_directory, const uint8_t pool_uuid[16],
		     uint64_t container, struct cfs_address *ret,
		     struct cfs_err *err)
{
	struct cfs_address address = { .kind = CFS_ADDRESS_UNIX };
	char uuid[CFS_UUID_TEXT_BYTES], of[24] = "";
	int n;

	if (container)
		(void)snprintf(of, sizeof(of), "-%" PRIu64, container);
	n = snprintf(address.path, sizeof(address.path), "%s/%s%s.sock",
		     run_directory, cfs_uuid_format(pool_uuid, uuid), of);
	if (n < 0 || (size_t)n >= sizeof(address.path))
		return cfs_err_set(err, -ENAMETOOLONG,
				   "%s: too long a path "
				   "for a socket: give another directory",
				   run_directory);
	*ret = address;
	return 0;
}

int cfs_serve_socket(const char *run_directory, const uint8_t pool_uuid[16],
		     struct cfs_address *ret, struct cfs_err *err)
{
	return socket_of(run_directory, pool_uuid, 0, ret, err);
}

/* ---- addresses ----------------------------------------------------------- */

/* Everywhere here is nowhere to those who read it. */
static void name_host(struct cfs_address *address)
{
	struct utsname host;

	if (address->kind == CFS_ADDRESS_TCP &&
	    (strcmp(address->host, "0.0.0.0") == 0 ||
	     strcmp(address->host, "::") == 0) &&
	    uname(&host) == 0)
		snprintf(address->host, sizeof(address->host), "%s",
			 host.nodename);
}

static int add_address(struct cfs_serve *serve,
		       const struct cfs_address *address, struct cfs_err *err)
{
	size_t used = strlen(serve->address);
	char text[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_address said, again;
	int n, r;

	r = cfs_server_listen(serve->server, address, serve->tls, &said, err);
	if (r < 0)
		return r;
	name_host(&said);
	cfs_address_format(&said, text);
	/* Who reads it must be able to. */
	r = cfs_address_parse(text, &again, err);
	if (r < 0)
		return r;
	n = snprintf(serve->address + used, sizeof(serve->address) - used,
		     "%s%s", used ? " " : "", text);
	if (n < 0 || (size_t)n >= sizeof(serve->address) - used)
		return cfs_err_set(err, -E2BIG,
				   "the addresses are too long "
				   "to be kept with the pool");
	return 0;
}

static int open_sockets(struct cfs_serve *serve,
			const struct cfs_serve_options *opt,
			struct cfs_err *err)
{
	struct cfs_session *s = serve->session;
	struct cfs_address own;
	size_t i;
	int r = 0;

	if (opt->tls)
		r = cfs_tls_new(opt->tls, &serve->tls, err);
	if (r == 0 && opt->run_directory) {
		r = socket_of(opt->run_directory,
			      cfs_devset_label(s->set, 0)->pool_uuid,
			      s->secondary
				      ? cfs_secondary_container(s->secondary)
				      : 0,
			      &own, err);
		if (r == 0)
			r = make_directory(opt->run_directory, err);
		if (r == 0)
			r = add_address(serve, &own, err);
	}
	for (i = 0; r == 0 && i < opt->listen_count; i++)
		r = add_address(serve, &opt->listen[i], err);
	return r;
}

/*
 * Who may come back: if that is nobody, nobody is waited for.  The record names
 * the list with the address.
 */
static int find_former(struct cfs_serve *serve,
		       const struct cfs_serve_options *opt, struct cfs_err *err)
{
	struct cfs_session *s = serve->session;
	struct cfs_seat *seat = &s->seat;
	int r;

	/* Those of a secondary are told of by the manager's record. */
	if (!opt->run_directory || s->secondary)
		return 0;
	pthread_mutex_lock(&serve->lock);
	r = cfs_former_open(opt->run_directory,
			    cfs_devset_label(s->set, 0)->pool_uuid,
			    seat->has_clients, seat->clients_epoch, seat->epoch,
			    &serve->former, err);
	if (r == 0 && serve->former)
		cfs_serve_look_for_former(serve);
	pthread_mutex_lock(&s->seat_lock);
	seat->clients_epoch = seat->has_clients && serve->former ? seat->epoch
								 : 0;
	pthread_mutex_unlock(&s->seat_lock);
	pthread_mutex_unlock(&serve->lock);
	return r;
}

static int store_address(struct cfs_serve *serve, const char *address,
			 struct cfs_err *err)
{
	struct cfs_session *s = serve->session;
	int r;

	pthread_mutex_lock(&s->seat_lock);
	memset(s->seat.address, 0, sizeof(s->seat.address));
	memcpy(s->seat.address, address, strlen(address));
	/* Leases are renewed from now on, or no more. */
	s->seat.silent_ns = address[0] || !s->seat.has_clients
				    ? 0
				    : cfs_clock_elapsed_ns(cfs_clock_system());
	r = cfs_session_store_seat_locked(s, err);
	pthread_mutex_unlock(&s->seat_lock);
	return r;
}

/* ---- start and stop ------------------------------------------------------ */

/* What a secondary has is moved by the manager, when it comes home; and nobody
 * moves slices of shared pools. */
static int start_mover(struct cfs_serve *serve, struct cfs_err *err)
{
	struct cfs_session *s = serve->session;

	if (s->secondary || cfs_devset_is_shared(s->set) || s->mover)
		return 0;
	return cfs_mover_new(s, serve->logger, &s->mover, err);
}

static void stop_mover(struct cfs_serve *serve)
{
	struct cfs_mover *m = serve->session->mover;

	cfs_mover_free(m);
	serve->session->mover = NULL;
}

int cfs_serve_start(struct cfs_serve *serve,
		    const struct cfs_serve_options *opt, struct cfs_err *err)
{
	int r = open_sockets(serve, opt, err);

	if (r == 0)
		r = find_former(serve, opt, err);
	if (r == 0)
		r = store_address(serve, serve->address, err);
	if (r == 0) {
		cfs_serve_lease_start(serve->session, serve);
		cfs_serve_direct_answer(serve->direct, true);
		r = cfs_local_begin_leases(serve->session, err);
	}
	if (r == 0)
		r = cfs_serve_run(serve, err);
	if (r == 0)
		r = start_mover(serve, err);
	if (r < 0) {
		cfs_serve_direct_answer(serve->direct, false);
		cfs_serve_lease_stop(serve->session);
		cfs_server_stop(serve->server, 0);
		serve->address[0] = '\0';
		(void)store_address(serve, "", NULL);
	}
	return r;
}

bool cfs_serve_is_moving(struct cfs_serve *serve)
{
	struct cfs_mover *m = serve->session->mover;

	return m && !cfs_mover_is_idle(m);
}

static bool is_ours(void *arg, uint64_t client)
{
	return cfs_serve_is_local(arg, client);
}

/* Of a secondary: who has leases here, for whoever has the container next. */
static void say_who_is_left(struct cfs_serve *serve)
{
	CFS_CLEANUP(cfs_handed_list_donep)
	struct cfs_handed_list list = {
		.is_all = true,
		.space = cfs_handed_space(),
	};

	if (!serve->session->secondary)
		return;
	pthread_mutex_lock(&serve->lock);
	cfs_owner_hand_all(serve->owner, is_ours, serve, &list);
	pthread_mutex_unlock(&serve->lock);
	cfs_secondary_leave(serve->session->secondary, &list);
}

/* Asked beside requests, which may need it started, too. */
static bool is_running(struct cfs_serve *serve)
{
	bool is;

	pthread_mutex_lock(&serve->lock);
	is = serve->is_running;
	pthread_mutex_unlock(&serve->lock);
	return is;
}

int cfs_serve_stop(struct cfs_serve *serve, unsigned int grace_ms,
		   struct cfs_err *err)
{
	int r = 0, r2;

	if (serve->session->secondary && is_running(serve))
		cfs_secondary_retire(serve->session->secondary);
	cfs_server_stop(serve->server, grace_ms);
	/* Behind the last request, which may have woken them. */
	cfs_serve_gone_free(serve->gone);
	serve->gone = NULL;
	stop_mover(serve);
	cfs_serve_stop_direct(serve);
	cfs_serve_lease_stop(serve->session);
	say_who_is_left(serve);
	serve->is_running = false;
	if (serve->address[0]) {
		serve->address[0] = '\0';
		r = store_address(serve, "", err);
	}
	r2 = cfs_serve_unmark(serve, r < 0 ? NULL : err);
	return r < 0 ? r : r2;
}
