/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes of this host may hold leases of a manager, so that the next
 * one need not wait for those that are dead.
 *
 * A manager that was killed says nothing; the one behind it grants nothing new
 * until whoever held leases is back, or his period is over (grace).  Where all
 * of them were processes of this host, and each is dead or back, nobody else
 * comes.
 * They stand in a file beside the manager's socket, a line of fixed length for
 * each, written before he is welcome; as the file goes with the host's memory,
 * it is never flushed.
 *
 * What must stay true:
 *  F1 Whoever is welcome stands in the file, or the file says that it has not
 *     all of them (a client of another host, one without a process, or more
 *     than there is room for).
 *  F2 The file counts only for the epoch that the holder's record names with
 *     the mark of clients (seat.clients_epoch), on the boot and in the space of
 *     process numbers in which it was written.  Else nothing is known.
 *
 * Thread safety: none; the caller serialises.
 */
#pragma once

#include "base/err.h"
#include "lease/link.h"
#include "lease/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct cfs_former;

/*
 * For a manager of @epoch with its socket in @directory.  @before: the epoch of
 * whose clients there may be, 0: nobody knows; @has_clients: there may be some.
 * From here on the file is of @epoch, and has those too.
 * NULL in *ret, and 0, where there cannot be such a file.  -ENOMEM.
 */
int cfs_former_open(const char *directory, const uint8_t pool_uuid[16],
		    bool has_clients, uint32_t before, uint32_t epoch,
		    struct cfs_former **ret, struct cfs_err *err);
/* The file goes too if it says nothing of anybody.  NULL is allowed. */
void cfs_former_close(struct cfs_former *f);

/*
 * May somebody have leases of the manager of the epoch @before, who answered at
 * @addresses and is dead?  For one who answers nobody, and changes nothing of
 * the list.  Secondaries do not count: what they have stands in the pool.
 */
bool cfs_former_may_live(const char *addresses, const uint8_t pool_uuid[16],
			 uint32_t before);

/* Has @client, who has come back, all that he had, as far as he will? */
typedef bool (*cfs_former_has_all_fn)(void *arg, uint64_t client);
/*
 * Is it known of each that was there before that he is dead, or has come back
 * as the client that he was and @has_all?  NULL: nobody has.
 */
bool cfs_former_are_settled(const struct cfs_former *f,
			    cfs_former_has_all_fn has_all, void *arg);
/* They are nobody's concern any more. */
void cfs_former_forget(struct cfs_former *f);

/* There are others, of whom this file does not know. */
void cfs_former_add_unknown(struct cfs_former *f);

/* Somebody says @hello over the connection @peer, and is to be let in. */
void cfs_former_hello(struct cfs_former *f, const struct cfs_link_peer *peer,
		      const struct cfs_msg_hello *hello);
/* He was, as @client; 0: he was not. */
void cfs_former_welcome(struct cfs_former *f, uint64_t client);
/* The client has ended. */
void cfs_former_ended(struct cfs_former *f, uint64_t client);
