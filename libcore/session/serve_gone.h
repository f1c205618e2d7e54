/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An operator's word about a host that had a shared pool before us: what it
 * kept is given back while we go on (volume/pool_thaw.h), by a thread, which
 * tells the lock table when that is done.
 *
 * That word is all that this rests on.  A host that lives would write where
 * others do by then; that it was silent for long says nothing.
 */
#pragma once

#include "session/serve.h"

struct cfs_serve_gone;

/*
 * Hook of the owner, with its lock (cfs_serve_lock): 1, it is seen to, and
 * cfs_owner_host_is_gone follows; -ENOENT: @host had not the pool; -ENOMEM,
 * -EAGAIN: no thread.  *@at is made when it is needed first.
 */
int cfs_serve_gone_host(struct cfs_serve *serve, struct cfs_serve_gone **at,
			const char *host);
/*
 * No order comes any more.  Ends behind the container that it is at: whoever
 * holds the pool next goes on with it.  NULL is allowed.
 */
void cfs_serve_gone_free(struct cfs_serve_gone *g);
