/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verbs of leasectl, and what they share: finding the pool's manager (or
 * starting one), and how leases are named and shown.
 *
 * A lease is called CLIENT-LEASE, two numbers in hex that the manager never
 * gives twice.  $CFS_LEASE has a secret behind them, and the pool.
 */
#pragma once

#include "common/cmd.h"
#include "common/table.h"
#include "base/uuid.h"
#include "session/lease.h"
#include "session/session.h"

extern const struct cfs_tool leasectl_tool;

extern const struct cfs_verb leasectl_acquire;
extern const struct cfs_verb leasectl_gone;
extern const struct cfs_verb leasectl_release;
extern const struct cfs_verb leasectl_renew;
extern const struct cfs_verb leasectl_revoke;
extern const struct cfs_verb leasectl_run;
extern const struct cfs_verb leasectl_serve;
extern const struct cfs_verb leasectl_shell;
extern const struct cfs_verb leasectl_status;
extern const struct cfs_verb leasectl_watch;

/* ---- the manager (common.c) ---------------------------------------------- */

/* Options of a session that only looks. */
struct cfs_session_options leasectl_options(struct cfs_cmd *cmd);

/* Elapsed time at which --wait is over; 0: --wait was 0. */
uint64_t leasectl_deadline(const struct cfs_cmd *cmd);
/* Milliseconds to go, at least @least_ms. */
unsigned int leasectl_left_ms(uint64_t deadline_ns, unsigned int least_ms);
/*
 * Sleep a little.  -EINTR: a signal asked to stop, in cmd->err; -ETIMEDOUT,
 * without a message: the deadline is over.
 */
int leasectl_pause(struct cfs_cmd *cmd, uint64_t deadline_ns);

/*
 * Connect to look on.  0; 1: nobody holds the pool; -EBUSY: the holder does
 * not answer until the deadline.  @ret_info may be NULL; it is set with 0, 1
 * and -EBUSY.  Errors name @pool.
 */
int leasectl_connect(struct cfs_cmd *cmd, const char *pool,
		     uint64_t deadline_ns, struct cfs_manager_info *ret_info,
		     struct cfs_manager **ret);

/*
 * Ask whoever has what is asked about, the manager or one who has a container
 * in its place.  @fn returns @none if it is not there.  A lease may be on its
 * way from one to the other: that is tried again until the deadline.
 * @last (may be NULL) is asked of the manager where it is nowhere; -EAGAIN: that
 * is not sure either.
 * What @fn returned, in the end @none; 1: nobody holds the pool.  @fn says why
 * in cmd->err.
 */
typedef int (*leasectl_ask_fn)(void *arg, struct cfs_manager *m,
			       struct cfs_err *err);
int leasectl_ask(struct cfs_cmd *cmd, const char *pool, leasectl_ask_fn fn,
		 leasectl_ask_fn last, void *arg, int none);

/* Become a client, of a manager that is started if there is none; or of the
 * process that serves the container of the volume in its place. */
struct leasectl_join {
	const char *pool;
	const char *volume; /* that it is about */
	const char *name;   /* what it is called there */
	uint32_t flags;     /* CFS_HELLO_STANDING or 0 */
	const struct cfs_leaser_hooks *hooks;
	uint64_t deadline_ns;
	struct cfs_manager_info info; /* results */
	struct cfs_leaser *leaser;
	struct cfs_held *tree; /* beside that on a file */
	int manager_fd;        /* that was started; -1: none */
};
int leasectl_join(struct cfs_cmd *cmd, struct leasectl_join *j);
/* The connection has broken: as who we were, if that is still anybody. */
int leasectl_join_again(struct cfs_cmd *cmd, struct leasectl_join *j);
/*
 * Say goodbye; and if the manager was started for us and nobody else is there,
 * wait until it has let go of the pool.
 */
void leasectl_leave(struct cfs_cmd *cmd, struct leasectl_join *j);

/* ---- leases that stand by themselves (standing.c) ------------------------- */

/* So that @held, and what it needs, survives its owner.  Says so if not. */
void leasectl_remember(struct cfs_cmd *cmd, struct leasectl_join *j,
		       struct cfs_held *held);

/* ---- starting one (serve.c) ---------------------------------------------- */

/*
 * A manager in the background, which ends by itself.  0, and a descriptor
 * that ends with it in *ret_fd; -EBUSY: somebody else was quicker; or why it
 * did not start, with @pool in cmd->err.
 */
int leasectl_start(struct cfs_cmd *cmd, const char *pool, int *ret_fd);

/* ---- places and leases (place.c) ----------------------------------------- */

/* What is asked for on the command line. */
struct leasectl_want {
	struct cfs_name name;
	struct cfs_lease_place place;
	bool is_shared;
	struct cfs_lock_resource resource;
	char path[4096]; /* resolved; empty: none */
};
#define LEASECTL_WANT_INIT                                                     \
	{                                                                      \
		.name = CFS_NAME_INIT                                          \
	}
void leasectl_want_donep(struct leasectl_want *want);

/* Operand 0, --shared and --range. */
int leasectl_want_parse(struct cfs_cmd *cmd, struct leasectl_want *ret);
/* Look it up, by way of the manager if there is one. */
int leasectl_want_find(struct cfs_cmd *cmd, struct leasectl_want *want);
/*
 * Ask, and wait until the deadline.  0; -ETIMEDOUT and -EBUSY name in cmd->err
 * who has it.
 */
int leasectl_want_take(struct cfs_cmd *cmd, struct leasectl_want *want,
		       struct leasectl_join *j, struct cfs_held **ret);
/* "what": the members of the wish, for a dry run. */
void leasectl_want_out(struct cfs_cmd *cmd, const struct leasectl_want *want);

#define LEASECTL_ID_BYTES 40u
char *leasectl_id(uint64_t client, uint64_t lease, char ret[LEASECTL_ID_BYTES]);
/* For $CFS_LEASE: with the secret behind it, and the pool. */
#define LEASECTL_ENV_BYTES (CFS_LEASE_NAME_BYTES + CFS_UUID_TEXT_BYTES)
char *leasectl_env(const struct cfs_lease_name *name,
		   const uint8_t pool_uuid[16], char ret[LEASECTL_ENV_BYTES]);
/* CLIENT-LEASE, or with a secret behind it.  -EINVAL names @text. */
int leasectl_id_parse(struct cfs_cmd *cmd, const char *text,
		      struct cfs_lease_name *ret);
/* A client's number.  -EINVAL without a message. */
int leasectl_client_parse(const char *text, uint64_t *ret);

/* "shared" or "exclusive". */
const char *leasectl_mode(unsigned int mode);
/* Members of the open object: volume, path, mode, lock, range. */
void leasectl_place_out(struct cfs_out *out,
			const struct cfs_lock_resource *resource,
			unsigned int mode, const struct cfs_place_name *name);
/* "vm0:/path 4096:8192", or numbers where @name is NULL. */
#define LEASECTL_PLACE_BYTES 4500u
char *leasectl_place_text(const struct cfs_lock_resource *resource,
			  const struct cfs_place_name *name,
			  char ret[LEASECTL_PLACE_BYTES]);

/* The options of whoever takes a lease, for CFS_OPTS. */
#define LEASECTL_WANT_OPTS                                                     \
	{ .name = "shared", .help = "for readers: others may have it too" },   \
	{                                                                      \
		.name = "range", .type = CFS_OPT_RANGE, .argument = "OFF:LEN", \
		.min = 1, .help = "only these bytes of the LUN or the file"    \
	}

/* ---- COMMAND (command.c) ------------------------------------------------- */

/* While COMMAND runs, every tenth of a second: false ends it. */
struct leasectl_command {
	char *const *argv;
	bool (*goes_on)(void *arg);
	void *arg;
	int wake_fd; /* an eventfd: ask at once */
};
/*
 * Run it in a process group of its own, which gets the signals that we get.
 * When goes_on says no: SIGTERM, and after a second SIGKILL, and
 * *ret_was_ended.  Returns its status as a shell gives it (127: not found), or
 * a negative errno in cmd->err.
 */
int leasectl_command(struct cfs_cmd *cmd, const struct leasectl_command *c,
		     bool *ret_was_ended);
