/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nbdkit's plugin for cfs, what its files share.
 *
 *   plugin.c   what nbdkit asks, and the parameters
 *   pool.c     the pool: ours, or asked of whoever holds it
 *   rest.c     what is done when nobody asks for anything
 *   volume.c   volumes that are open, each once for all its connections
 *   io.c       reads, writes, and what else is done to them
 *   clients.c  a list of who is connected
 *
 * nbdkit may fork between config_complete and after_fork, and threads and the
 * kernel's locks are not to be had before that: so the pool is looked for in
 * get_ready, where the user still sees what is wrong, and opened in after_fork.
 */
#pragma once

#include "base/err.h"
#include "session/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- pool.c -------------------------------------------------------------- */

struct pool_config {
	char *pool;          /* a path that is good anywhere, or a
			      * URI */
	char *volume;        /* the default export, or NULL */
	char *clients;       /* where they are listed, or NULL */
	const char **search; /* ends with NULL */
	size_t search_count;
	unsigned int wait_seconds;
};
extern struct pool_config pool_config;

/* A session while somebody uses it. */
struct pool;

/* Is there such a pool?  Takes nothing.  Errors of cfs_session_open. */
int pool_look(struct cfs_err *err);
/*
 * Open the pool, and answer others if we are the one who holds it.  Once a
 * session has broken (its holder is gone), the next pool_get is told so by
 * pool_is_broken and opens a new one.
 */
int pool_get(struct pool **ret, struct cfs_err *err);
void pool_put(struct pool *p);
void pool_is_broken(struct pool *p);
struct cfs_session *pool_session(struct pool *p);
/* All volumes are closed.  Says what failed. */
void pool_end(void);

/* With nobody at work (cfs_session_rest); nothing if there is no pool. */
void pool_rest(void);

/* ---- rest.c -------------------------------------------------------------- */

/* A thread of its own that calls pool_rest when no call has come for a while;
 * behind the fork.  0, or an errno. */
int rest_begin(void);
/* A call. */
void rest_not_yet(void);
void rest_end(void);

/* ---- volume.c ------------------------------------------------------------ */

/* A connection to an export. */
struct export
{
	struct volume *volume;
	uint64_t size_bytes; /* when the client came */
	bool is_writable;
};

/* @name: "VOLUME" or "VOLUME@SNAP".  -ENOENT, -EBUSY, -EINVAL (a tree). */
int export_open(const char *name, bool is_readonly, struct export **ret,
		struct cfs_err *err);
void export_close(struct export *e);
/* For a call. */
struct cfs_io_volume *export_io(const struct export *e);
/* A call for @e has failed so: what it says of the session. */
void export_failed(const struct export *e, int r);

/* ---- clients.c ----------------------------------------------------------- */

/* In the thread of the connection; nothing if nobody wants to know. */
void clients_add(const struct export *e, const char *name);
void clients_drop(const struct export *e);

/* ---- io.c ---------------------------------------------------------------- */

int io_pread(void *handle, void *buf, uint32_t count, uint64_t offset,
	     uint32_t flags);
int io_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
	      uint32_t flags);
int io_flush(void *handle, uint32_t flags);
int io_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
int io_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
struct nbdkit_extents;
int io_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
	       struct nbdkit_extents *extents);
int io_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
