/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of a connection: receiving (conn_read.c), calls (conn.c).
 *
 * The reader: one thread at a time receives, and gives out what it gets; that
 * is what has_reader guards, not a lock, since hooks are called meanwhile.
 * While somebody waits, and a moment longer, the background thread does not
 * watch the socket, or each answer would wake two.
 */
#pragma once

#include "lease/conn.h"
#include "lease/msg.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct cfs_conn_part { /* of a streamed answer */
	STAILQ_ENTRY(cfs_conn_part) link;
	size_t bytes;
	uint8_t data[];
};

struct cfs_conn_waiter { /* a call, or a wait for something */
	LIST_ENTRY(cfs_conn_waiter) link;
	pthread_cond_t cond;
	uint64_t id;      /* 0: no call */
	bool is_done;     /* the last answer is here */
	bool is_sleeping; /* on cond: fit to become the reader */
	int code;
	struct cfs_err err;
	struct cfs_buf *reply; /* may be NULL */
	STAILQ_HEAD(cfs_conn_parts, cfs_conn_part) parts;
};

struct cfs_conn {
	struct cfs_conn_options opt;
	struct cfs_link *link;
	int epoll_fd; /* of the background thread */
	int wake_fd;  /* wakes it */
	int nudge_fd; /* wakes a reader that waits */
	int timer_fd; /* it is time to watch the socket again */
	pthread_t thread;
	_Atomic uint64_t next_id;
	uint8_t msg[CFS_MSG_BYTES_MAX]; /* of the reader */

	pthread_mutex_t send_lock;

	pthread_mutex_t lock;
	LIST_HEAD(cfs_conn_waiters, cfs_conn_waiter) waiters;
	unsigned int waiter_count; /* the socket is theirs if not 0 */
	unsigned int call_count;
	pthread_cond_t turn; /* fewer calls than calls_max */
	bool has_reader;
	bool is_watched; /* by the background thread */
	bool is_timed;   /* timer_fd runs */
	bool was_used;   /* since it does */
	uint64_t news;   /* counts messages and ticks */
	atomic_bool is_gone, is_ending, is_kicked;
	struct cfs_err why; /* gone */
};

void *cfs_conn_loop(void *conn);
/* The socket is for the background thread, or not.  With the lock. */
void cfs_conn_set_watched(struct cfs_conn *conn, bool is_watched);
/* The last waiter has left: watch it soon.  With the lock. */
void cfs_conn_watch_soon(struct cfs_conn *conn);
/*
 * As the reader (has_reader is the caller's): wait for the socket for at most
 * @timeout_ns, then give out what is there.  Without the lock.
 */
void cfs_conn_read(struct cfs_conn *conn, uint64_t timeout_ns);
/* The reader's role is free: who waits may have it.  With the lock. */
void cfs_conn_hand_on(struct cfs_conn *conn);
