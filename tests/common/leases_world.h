/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world in which leases are simulated: machines that manage, clients with
 * actors in them, a network, and a device that all of them see.
 *
 * The owner's and the client's state machines are the real ones; so are the
 * periods and the device.  What is made up:
 *  - who is the manager: a seat (a record that changes hands by compare and
 *    swap); its holder manages while a period of its own runs, others take it
 *    when they saw it unchanged for longer than that (period.h both);
 *  - the data: blocks that are registers.  A client writes records into a log
 *    of its own on the device, in fresh places; the owner folds them into the
 *    tree, and sets the log's gravestone when it seals the client.
 *
 * What is judged behind each step: see leases_judge.c.
 */
#pragma once

#include "device/device.h"
#include "device/sim.h"
#include "lease/client.h"
#include "lease/owner.h"
#include "lease/period.h"
#include "sim_engine.h"
#include "sim_linear.h"

#define LEASES_CLIENTS    4u
#define LEASES_MANAGERS   3u
#define LEASES_ACTORS     2u
#define LEASES_BLOCKS     3u
#define LEASES_LOGS       200u
#define LEASES_SLOTS      127u /* records of a log */
#define LEASES_LOG_BYTES  65536u
#define LEASES_SLOT_BYTES 512u
#define LEASES_KNOWN      64u

enum leases_counter {
	COUNT_GRANT,
	COUNT_CACHED,
	COUNT_QUEUED,
	COUNT_EXPIRE,
	COUNT_REVOKE,
	COUNT_FINAL,
	COUNT_RECALL,
	COUNT_TAKEOVER,
	COUNT_ZOMBIE_MANAGER,
	COUNT_RECLAIM,
	COUNT_PRELOAD,
	COUNT_SEAL,
	COUNT_WRITE,
	COUNT_READ,
	COUNT_REFUSED,
	COUNT_LATE_ACCESS,
	COUNT_LATE_RECORD,
	COUNT_GONE,
	COUNT_CHANGE,
	COUNT_GOODBYE,
	COUNT_DOUBLE,
	COUNT_CUT,
	COUNT_STOPPED,
	COUNT_TAINTED,
	COUNT_DEADLOCK,
	COUNT_NOT_KNOWN,
};

/* What the seed has in store. */
struct leases_plan {
	uint64_t period_ns;
	uint32_t drift_ppm;
	uint64_t access_ns; /* D */
	uint64_t delay_ns;  /* of messages, at most */
	uint64_t think_ns;
	uint64_t trouble_ns; /* between two troubles */
	uint64_t quiet_ns;   /* true time at which they end */
	uint64_t recall_ns;
	unsigned int clients, managers, actors;
	unsigned int cut_in, double_in, late_in;
	unsigned int accesses; /* under one lease, at most */
	bool is_quick;         /* sealing takes no time */
	bool is_contended;     /* all want all of it, and keep it */
	bool has_stops;        /* clocks of clients stop: `checked` */
	bool is_quiet;         /* now */
};

struct leases_conn {
	uint64_t id; /* the peer, from 1 */
	uint32_t client, client_life;
	uint32_t manager, term;
	bool client_open, manager_open;
	bool is_cut;
	bool is_lost[2]; /* what is under way: to manager, back */
	uint64_t hellos; /* sent on it */
	uint64_t last_ns[2];
};

/* A read or write at the device. */
struct leases_flight {
	struct leases_flight *next;
	uint32_t client, actor, client_life;
	uint64_t op;
	struct cfs_dev *dev; /* write: holds it */
	unsigned int blocks; /* bits */
	bool is_write;
	uint64_t until_ns; /* true time: well-behaved until then */
	bool is_tainted;
};

enum leases_log_state { LOG_FREE, LOG_OPEN, LOG_SEALED, LOG_CLOSED };

struct leases_log {
	enum leases_log_state state;
	uint64_t client_id;
	struct cfs_owner_known known;
};

struct leases_value {
	uint64_t generation, seq, value;
};

struct leases_store {
	struct cfs_sim *sim;
	struct cfs_dev *dev;
	struct leases_log logs[LEASES_LOGS];
	unsigned int log_count;
	struct leases_value tree[LEASES_BLOCKS];
	struct {
		uint64_t epoch, seq;
		uint32_t manager;
	} seat;
};

/* When the owner last handled something of a client: by its own clock. */
struct leases_handled {
	uint64_t client_id, at_ns;
	uint64_t lease_id, final_ns; /* or: a lease that was stopped */
};

struct leases_manager {
	struct leases_world *w;
	uint32_t index, node;
	struct sim_clock clock;
	struct cfs_owner *owner; /* NULL: not the manager */
	uint32_t term;           /* grows with each owner */
	uint64_t epoch;
	struct cfs_period seat;
	uint64_t seat_id;
	uint64_t seen_epoch, seen_seq, seen_ns; /* of the seat */
	uint64_t wake_ns;                       /* true time of the next tick */
	struct leases_handled handled[LEASES_KNOWN];
	uint64_t granted[LEASES_KNOWN]; /* leases, in this step */
	unsigned int granted_count;
};

enum leases_actor_state {
	ACTOR_IDLE,
	ACTOR_ASKED,
	ACTOR_HELD,
	ACTOR_BUSY,
	ACTOR_FLYING,
	ACTOR_FOLDING,
	ACTOR_CHANGING,
	ACTOR_DONE,
};

struct leases_actor {
	struct leases_world *w;
	struct leases_client *c;
	uint32_t index;
	enum leases_actor_state state;
	uint64_t op; /* events of older ones are void */
	struct cfs_lease *token;
	unsigned int resource;
	int accesses; /* left */
	bool is_answered, is_recallable;
	uint64_t dirty_count; /* to be folded */
	bool is_write;
	unsigned int block;
	uint64_t check_ns; /* true time of the check */
	size_t history;
	uint64_t value, seq, generation, log_client;
	uint32_t log;
	unsigned int slot;
	unsigned int rounds; /* left, in the end */
};

struct leases_client {
	struct leases_world *w;
	uint32_t index, node;
	struct sim_clock clock;
	struct cfs_lease_client *lc; /* NULL: crashed, or has left */
	struct leases_conn *conn;
	bool is_reader; /* no log: the owner forgets it */
	bool is_connecting, is_leaving, has_left;
	uint64_t out_until_ns; /* cut off until then */
	uint64_t taint_ns;     /* clock: not to be judged before */
	uint64_t wake_ns;
	uint64_t rpc_id, open_id, fold_id;
	uint64_t fold_count; /* writes that the fold under way has */
	uint64_t log_client; /* id to which the log belongs; 0 */
	uint32_t log;
	unsigned int slot;
	uint64_t seq, stamp;
	uint64_t folded_count, acked_count; /* of writes */
	struct leases_value own[LEASES_BLOCKS];
	uint64_t recalled[64], yielding[64];
	unsigned int recalled_count, yielding_count;
	unsigned int writes_active;
	struct leases_actor actors[LEASES_ACTORS];
};

struct leases_world {
	struct sim *sim;
	struct leases_plan plan;
	struct leases_manager managers[LEASES_MANAGERS];
	struct leases_client clients[LEASES_CLIENTS];
	struct leases_conn **conns;
	size_t conn_count, conn_room;
	struct leases_flight *flights;
	struct leases_store store;
	struct sim_history histories[LEASES_BLOCKS];
	uint64_t next_value;
	uint64_t dead[LEASES_KNOWN]; /* ids of crashed clients */
	unsigned int dead_count;
	struct leases_manager *touched; /* in this step */
};

static inline void leases_count(struct leases_world *w,
				enum leases_counter counter)
{
	w->sim->counters[counter]++;
}

/* Which blocks a mode on the resource @index lets one read and write. */
#define LEASES_RESOURCES 6u
const struct cfs_lock_resource *leases_resource(unsigned int index);
unsigned int leases_reads(const struct cfs_lock_resource *res, uint32_t mode);
unsigned int leases_writes(const struct cfs_lock_resource *res, uint32_t mode);

/* leases_net.c: @to_manager tells the direction */
struct leases_conn *leases_connect(struct leases_world *w,
				   struct leases_client *c,
				   struct leases_manager *m);
int leases_send(struct leases_world *w, struct leases_conn *conn,
		bool to_manager, const void *msg, size_t bytes);
void leases_cut(struct leases_world *w, struct leases_conn *conn);
struct leases_conn *leases_conn(struct leases_world *w, uint64_t id);

/* leases_store.c */
void leases_store_init(struct leases_world *w);
void leases_store_done(struct leases_world *w);
/* The log of @client_id, made if there is none. */
int leases_store_open_log(struct leases_world *w,
			  const struct cfs_owner_known *known);
struct leases_log *leases_store_log(struct leases_world *w, uint64_t client_id);
void leases_store_bury(struct leases_world *w, const struct leases_log *log);
bool leases_store_is_buried(struct leases_world *w, uint32_t log,
			    uint64_t client_id);
void leases_store_fold(struct leases_world *w, const struct leases_log *log);
void leases_store_write(struct leases_world *w, struct cfs_dev *dev,
			uint32_t log, unsigned int slot, uint64_t client_id,
			unsigned int block, const struct leases_value *v);

/* leases_manager.c */
void leases_manager_init(struct leases_world *w, uint32_t index);
void leases_manager_done(struct leases_manager *m);
void leases_manager_crash(struct leases_manager *m);
void leases_manager_receive(struct leases_manager *m, struct leases_conn *conn,
			    const void *msg, size_t bytes);
void leases_manager_closed(struct leases_manager *m, uint64_t peer);
/* The period of its seat runs; else it retires. */
bool leases_manager_guard(struct leases_manager *m);
void leases_manager_kick(struct leases_manager *m);
struct leases_manager *leases_manager_current(struct leases_world *w);

/* leases_client.c */
void leases_client_init(struct leases_world *w, uint32_t index);
void leases_client_done(struct leases_client *c);
void leases_client_crash(struct leases_client *c);
void leases_client_start(struct leases_client *c);
void leases_client_receive(struct leases_client *c, struct leases_conn *conn,
			   const void *msg, size_t bytes);
void leases_client_disconnected(struct leases_client *c,
				struct leases_conn *conn);
void leases_client_kick(struct leases_client *c);
/* Ask the owner to fold, unless it is under way. */
void leases_client_fold(struct leases_client *c);
bool leases_client_is_tainted(const struct leases_client *c);

/* leases_actor.c */
void leases_actor_start(struct leases_actor *a);
void leases_actor_wake(struct leases_actor *a);
/* It is as if it had never been: the process died. */
void leases_actor_drop(struct leases_actor *a);
/* Land or forget what crashed clients have under way. */
bool leases_flight_exists(const struct leases_world *w, uint32_t client,
			  uint32_t below_life);

/* leases_trouble.c */
void leases_plan_make(struct leases_world *w);
void leases_trouble_start(struct leases_world *w);

/* leases_judge.c */
void leases_judge_step(struct leases_world *w);
void leases_judge_end(struct leases_world *w);
/* The owner's own rule: hooks of the manager. */
void leases_judge_handled(struct leases_manager *m, uint64_t client_id);
/*
 * Leases that are not extended any more end with what was handled until now.
 * @is_exact: nothing was handled since they may have been stopped.
 */
void leases_judge_stopped(struct leases_manager *m, bool is_exact);
void leases_judge_event(struct leases_manager *m,
			const struct cfs_lease_event *event);
void leases_judge_sent(struct leases_manager *m, uint64_t client_id,
		       const void *msg, size_t bytes);
/* What the owner has, in the story. */
void leases_tell_owner(struct leases_world *w, struct leases_manager *m);
