/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a secondary share. */
#pragma once

#include "lease/conn_lease.h"
#include "lease/hand.h"
#include "session/delegate_msg.h"
#include "session/secondary.h"
#include "session/serve_delegate_priv.h"
#include "session/session_priv.h"

struct cfs_secondary {
	struct cfs_session *s;
	struct cfs_secondary_options own;
	struct cfs_devset *set; /* the session's, too */
	struct cfs_client_identity who;
	uint64_t container;
	struct cfs_member *member; /* of it, as long as the pool is open */
	uint32_t epoch;
	struct cfs_handed_list given; /* with the container */
	struct cfs_buf left;          /* such a list, as bytes */
	/*
	 * The connection: read-locked by who uses it, written by who makes it
	 * anew.  The leaser is made with the first one, and stays.
	 */
	pthread_rwlock_t link;
	struct cfs_leaser *leaser;
	bool is_down;

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	uint64_t bound_client; /* to which the container is bound, over
				* this connection; 0: none */
	char address[CFS_SEAT_ADDRESS_BYTES];
	bool has_clients;
	bool is_over; /* it is ours no more */
	bool is_told;
	bool is_ending;
	bool is_woken; /* the thread, and has not looked since */
	pthread_t thread;
	bool has_thread;
};

/* ---- secondary_hand.c ---------------------------------------------------- */

/* Who was handed over with the container, in sec->given. */
void secondary_ask_given(struct cfs_secondary *sec);
/* Before the container is returned. */
void secondary_tell_left(struct cfs_secondary *sec);

/* ---- secondary_link.c ---------------------------------------------------- */

struct cfs_secondary *secondary_new(struct cfs_session *s,
				    const struct cfs_secondary_options *own);
/* The first connection, or another one; once.  -EBUSY: nobody answers. */
int secondary_connect(struct cfs_secondary *sec, struct cfs_err *err);
/*
 * Ask the manager, this one or the next, for as long as @patience_ns says (0:
 * once).  -EBUSY: there is none; -ESTALE: the container is not ours any more.
 * @reply is appended to; may be NULL.
 */
int secondary_call(struct cfs_secondary *sec, uint16_t type,
		   const struct cfs_delegate_request *q, uint64_t patience_ns,
		   struct cfs_buf *reply, struct cfs_err *err);
/* Tell the manager where we are, and that the container is ours. */
int secondary_again(struct cfs_secondary *sec, uint64_t patience_ns,
		    struct cfs_err *err);
/* The client that we are now is the one that has the container. */
void secondary_bind(struct cfs_secondary *sec);
/* It is, and its period runs. */
bool secondary_is_bound(struct cfs_secondary *sec);
/* It is to be closed. */
void secondary_over(struct cfs_secondary *sec, const char *why);
int secondary_start(struct cfs_secondary *sec, struct cfs_err *err);
