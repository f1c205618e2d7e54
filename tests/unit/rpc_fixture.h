/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manager and its clients in one process: a pool in a file, a session that
 * holds it, a service with the session's requests, and sessions that ask it
 * over pairs of links.  Include after <cmocka.h>.
 */
#pragma once

#include "lease/conn.h"
#include "lease/server.h"
#include "session/remote.h"
#include "session/serve_rpc.h"
#include "session/session_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(expr)                                                               \
	do {                                                                   \
		struct cfs_err err_ = CFS_ERR_INIT;                            \
		int r_ = (expr);                                               \
		if (r_ != 0)                                                   \
			fail_msg("%s: %d: %s", #expr, r_, err_.msg);           \
	} while (0)
#define E &err_

struct manager {
	char path[64];
	struct cfs_session *session;
	struct cfs_serve_rpc *rpc;
	struct cfs_server *server;
};

static struct manager manager;

static void manager_opened(void *arg, uint64_t peer,
			   const struct cfs_link_peer *identity)
{
	(void)arg;
	(void)identity;
	cfs_server_accept_peer(manager.server, peer);
}

static void manager_ended(void *arg, uint64_t peer)
{
	(void)arg;
	cfs_serve_rpc_ended(manager.rpc, peer);
}

static inline void manager_start(void)
{
	const struct cfs_server_options opt = {
		.opened = manager_opened,
		.ended = manager_ended,
	};
	const struct cfs_session_options session_opt = { .is_writable = true };

	OK(cfs_session_open(manager.path, &session_opt, &manager.session, E));
	OK(cfs_serve_rpc_new(manager.session, &manager.rpc, E));
	OK(cfs_server_new(&opt, &manager.server, E));
	OK(cfs_server_handle_worker(manager.server, CFS_RPC_TYPE_FIRST,
				    CFS_RPC_TYPE_LAST, cfs_serve_rpc_request,
				    manager.rpc, E));
	OK(cfs_server_start(manager.server, E));
}

static inline void manager_stop(void)
{
	cfs_server_stop(manager.server, 1000);
	cfs_server_free(manager.server);
	cfs_serve_rpc_free(manager.rpc);
	OK(cfs_session_close(manager.session, E));
	manager.session = NULL;
}

static inline int manager_setup(void **state)
{
	const char *device = manager.path;
	const struct cfs_format_options format = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(256) << 20,
	};
	struct cfs_format_result result;
	int fd;

	(void)state;
	strcpy(manager.path, "/tmp/cfs-rpc-XXXXXX");
	fd = mkstemp(manager.path);
	assert_true(fd >= 0);
	close(fd);
	OK(cfs_pool_format(&format, &result, E));
	manager_start();
	return 0;
}

static inline int manager_teardown(void **state)
{
	(void)state;
	manager_stop();
	unlink(manager.path);
	return 0;
}

/* A connection of its own; @opt may be NULL. */
static inline struct cfs_session *client_open(
	const struct cfs_session_options *opt)
{
	const struct cfs_session_options own = { .is_writable = true };
	const struct cfs_conn_options conn_opt = { .calls_max = 0 };
	struct cfs_session *s = calloc(1, sizeof(*s));
	struct cfs_link *links[2];
	struct cfs_conn *conn;
	uint64_t peer;

	assert_non_null(s);
	s->opt = opt ? *opt : own;
	pthread_mutex_init(&s->lock, NULL);
	OK(cfs_link_pair(links, E));
	OK(cfs_server_add_link(manager.server, links[1], &peer, E));
	OK(cfs_conn_new(links[0], &conn_opt, &conn, E));
	OK(cfs_remote_on(conn, &s->opt, &s->remote, E));
	return s;
}

static inline void client_close(struct cfs_session *s)
{
	OK(cfs_session_close(s, E));
}
