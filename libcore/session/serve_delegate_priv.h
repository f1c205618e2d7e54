/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of serve_delegate share. */
#pragma once

#include "lease/hand.h"
#include "session/delegate_msg.h"
#include "session/serve_delegate.h"
#include "session/serve_use.h"
#include "session/session_priv.h"
#include "volume/pool_delegate.h"

enum away_step {
	AWAY_OUT,      /* it has the container */
	AWAY_COMING,   /* to be ended or sealed, and opened */
	AWAY_SETTLING, /* open; its clients may come back */
	AWAY_FROZEN,   /* home; what it had on loan is not */
};

struct away {
	struct away *next;
	struct cfs_delegation d;
	enum away_step step;
	uint64_t client;                /* in the lease table; 0: not bound */
	uint64_t peer;                  /* its connection; 0: none */
	uint64_t until_ns;              /* OUT: unbound, or wanted: silent from
					 * here on */
	uint64_t look_ns, look_step_ns; /* for its mark */
	bool is_wanted;
	bool is_gone;   /* it is known to be */
	bool is_home;   /* SETTLING: and has nothing on loan */
	bool has_grace; /* of its clients; of the thread */
	/* It is on its way there: who goes with it is not known yet; then
	 * they are in @given, as bytes of a list. */
	bool is_going;
	/* What peers have open in it is opened there (serve_onward.h), before
	 * anybody else is told where that is: until @join_end_ns; 0: it has
	 * not begun.  @joins: right now. */
	bool is_joining, joins;
	uint64_t join_end_ns;
	struct cfs_buf given;
	/* What it has said that it leaves, and that this is all of it. */
	struct cfs_buf left;
	bool has_left;
	/* Whom the grace waits for; of the thread. */
	struct cfs_handed_list awaited;
	unsigned int users; /* requests, the thread */
	bool is_dropped;
};

struct cfs_serve_delegate {
	struct cfs_serve *serve;
	struct cfs_session *s;
	const struct cfs_logger *logger;
	pthread_rwlock_t *structure; /* of requests; containers go away */

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	struct away *list;
	unsigned int count;   /* not FROZEN; atomic */
	uint64_t patience_ns; /* an owner's period of it; atomic */
	uint64_t grace_ns;    /* and of its clients; atomic */
	bool is_ending;
	pthread_t thread;
	bool has_thread;
};

/* ---- serve_delegate.c; with the mutex ------------------------------------ */

struct away *away_find(struct cfs_serve_delegate *sd, uint64_t container,
		       uint32_t epoch);
struct away *away_add(struct cfs_serve_delegate *sd,
		      const struct cfs_delegation *d);
void away_step(struct cfs_serve_delegate *sd, struct away *a,
	       enum away_step step);
void away_put(struct cfs_serve_delegate *sd, struct away *a);
void away_drop(struct cfs_serve_delegate *sd, struct away *a);
uint64_t away_now(void);
/* An owner's period of clients like any from now; and of secondaries. */
uint64_t away_grace(struct cfs_serve_delegate *sd);
uint64_t away_patience(struct cfs_serve_delegate *sd);
void away_learn_patience(struct cfs_serve_delegate *sd);

/* ---- serve_delegate_take.c ----------------------------------------------- */

/* Who asks is he who has it, over this connection.  With the mutex. */
void away_bind(struct away *a, const struct cfs_server_request *request);
/* TAKE. */
int away_take(struct cfs_serve_delegate *sd,
	      const struct cfs_delegate_request *q,
	      struct cfs_server_request *request, struct cfs_buf *reply,
	      struct cfs_err *err);

/* ---- serve_delegate_hand.c ----------------------------------------------- */

/* Those who went with it, from @list. */
void away_give(struct cfs_serve_delegate *sd, uint64_t container,
	       uint32_t epoch, const struct cfs_handed_list *list);
/* CLIENTS, LEFT. */
int away_clients(struct cfs_serve_delegate *sd, struct away *a,
		 struct cfs_server_request *request, struct cfs_buf *reply,
		 struct cfs_err *err);
int away_left(struct cfs_serve_delegate *sd, struct away *a,
	      const struct cfs_delegate_request *q, struct cfs_err *err);
/* In the grace of its container, which has begun: who comes back, as far as
 * that is known, and what comes by itself.  By the thread. */
void away_expect(struct cfs_serve_delegate *sd, struct away *a);
/* All of them are back, dead or gone.  By the thread. */
bool away_are_settled(struct cfs_serve_delegate *sd, struct away *a);
void away_free(struct away *a);

/* ---- serve_delegate_list.c ----------------------------------------------- */

int away_list(struct cfs_serve_delegate *sd, struct cfs_server_request *request,
	      struct cfs_buf *reply, struct cfs_err *err);
/* All of @buf: what one message cannot take goes before. */
int away_answer_parts(struct cfs_server_request *request, struct cfs_buf *buf,
		      struct cfs_buf *reply, struct cfs_err *err);

/* ---- serve_delegate_home.c ----------------------------------------------- */

/* Is it known that it writes no more?  @gone_host may be NULL. */
bool away_is_gone(struct cfs_session *s, const struct cfs_client_identity *who,
		  const char *gone_host);
/* The number of its mark on the devices. */
uint64_t away_mark(const uint8_t instance[16]);
void *away_run(void *sd);
