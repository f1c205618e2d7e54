/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl renew and release: leases that stand by themselves, by their ids,
 * and by what this host remembers of them (session/standing.h).
 *
 * Who renews asks whoever has the lease.  Where nobody knows it, or nobody
 * manages the pool, and its period runs, the owner has died: then it is
 * reclaimed of the next one, which is started if there is none, as the command
 * of a run is.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "common/run.h"
#include "lease/period.h"
#include "ondisk/delegation.h"
#include "session/standing.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define TRY_MS 5000u

struct named {
	struct cfs_cmd *cmd;
	struct cfs_name pool;
	struct cfs_lease_name name;
	struct cfs_standing *st; /* NULL: nothing is known of it here */
	bool is_forgotten;       /* here, so that nobody comes back with it */
};
#define NAMED_INIT(c)                                                          \
	{                                                                      \
		.cmd = (c), .pool = CFS_NAME_INIT                              \
	}

static void named_donep(struct named *n)
{
	cfs_standing_close(n->st);
	cfs_name_done(&n->pool);
}

void leasectl_remember(struct cfs_cmd *cmd, struct leasectl_join *j,
		       struct cfs_held *held)
{
	struct cfs_held *all[CFS_STANDING_LEASES_MAX];
	char directory[CFS_RUN_DIRECTORY_BYTES];
	char line[CFS_ERR_BYTES + 64];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_standing_record rec;
	size_t count = 0;
	int r = cfs_run_directory(cmd->env_run, directory, &err);

	if (j->tree)
		all[count++] = j->tree;
	all[count++] = held;
	cfs_standing_of(j->leaser, j->info.pool_uuid, all, count, &rec);
	if (r == 0)
		r = cfs_standing_keep(directory, &rec, &err);
	if (r == 0)
		return;
	(void)snprintf(line, sizeof(line),
		       "the lease will not outlive its manager: %s", err.msg);
	cfs_cmd_warn_line(cmd, line);
}

/* Another process may be at it: until --wait is over. */
static int recall_it(struct named *n)
{
	const uint64_t deadline_ns = leasectl_deadline(n->cmd);
	const struct cfs_session_options opt = leasectl_options(n->cmd);
	char directory[CFS_RUN_DIRECTORY_BYTES];
	struct cfs_manager_info info;
	int r = cfs_manager_find(n->pool.pool, &opt, &info, &n->cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(n->cmd, n->pool.pool, r);
	if (cfs_run_directory(n->cmd->env_run, directory, NULL) < 0)
		return 0;
	do {
		r = cfs_standing_open(directory, info.pool_uuid, &n->name,
				      &n->st);
	} while (r == -EBUSY && leasectl_pause(n->cmd, deadline_ns) == 0);
	if (r == -EBUSY)
		return cfs_err_set(&n->cmd->err, r,
				   "another process renews it");
	if (r == 0)
		n->name = cfs_standing_record(n->st)->name;
	return 0;
}

static int find_named(struct named *n)
{
	int r = cfs_cmd_name(n->cmd, 0, 0, 0, &n->pool);

	if (r == 0)
		r = leasectl_id_parse(n->cmd, n->cmd->operands[1], &n->name);
	return r == 0 ? recall_it(n) : r;
}

/* Nothing is done for a dry run. */
static int look(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	(void)arg;
	(void)m;
	(void)err;
	return 0;
}

static int tell(struct named *n, const char *done)
{
	struct cfs_cmd *cmd = n->cmd;
	char id[LEASECTL_ID_BYTES];

	leasectl_id(n->name.client_id, n->name.lease_id, id);
	cfs_cmd_say(cmd, "%s: %s%s\n", id, cmd->is_dry_run ? "would be " : "",
		    done);
	cfs_out_begin_obj(cmd->out, "lease");
	cfs_out_str(cmd->out, "id", id);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

static int fail(struct named *n, int r, int none, const char *why)
{
	char id[LEASECTL_ID_BYTES];

	leasectl_id(n->name.client_id, n->name.lease_id, id);
	if (r == 1 || r == none)
		return cfs_err_set(&n->cmd->err, none, "%s: %s", id, why);
	return cfs_cmd_wrap(n->cmd, id, r);
}

/* ---- renew --------------------------------------------------------------- */

static int renew(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	struct named *n = arg;
	struct cfs_lease_clock sent;
	int r;

	cfs_lease_clock_init(&sent);
	r = cfs_manager_renew(m, &n->name, err);
	if (r == 0 && n->st)
		cfs_standing_renewed(n->st, cfs_manager_info_of(m)->epoch,
				     &sent);
	return r;
}

static int come(struct named *n, const struct cfs_manager *m, uint64_t epoch,
		struct cfs_err *err)
{
	const struct cfs_session_options opt = leasectl_options(n->cmd);

	return cfs_standing_reclaim(n->st, cfs_manager_info_of(m), epoch,
				    "leasectl acquire", &opt, TRY_MS, err);
}

/*
 * Was the owner that knew it last a secondary, which has given it to a manager
 * since, without a word to anybody?  As long as it is one it answers itself, or
 * is taken over: then the manager takes it as that one's.
 */
static bool has_come_home(const struct named *n, struct cfs_manager *m)
{
	const uint64_t epoch = cfs_standing_record(n->st)->epoch;
	struct cfs_manager_infos owners = { CFS_VEC_INIT };
	bool has = cfs_epoch_is_delegated((uint32_t)epoch) &&
		   cfs_manager_owners(m, cfs_manager_info_of(m), &owners,
				      NULL) == 0;

	for (size_t i = 0; i < owners.v.count; i++)
		has = has && owners.v.items[i].epoch != epoch;
	cfs_vec_done(&owners.v);
	return has;
}

/* Nobody knows it: the owner that did has perhaps died. */
static int reclaim(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	struct named *n = arg;
	int r;

	if (!n->st || !cfs_standing_still_runs(n->st))
		return -ESTALE;
	r = come(n, m, cfs_standing_record(n->st)->epoch, err);
	if (r == -EAGAIN && has_come_home(n, m)) {
		r = come(n, m, cfs_manager_info_of(m)->epoch - 1, err);
		return r == 0 || r == -EINTR ? r : -EAGAIN;
	}
	/* Who has said so may give it to another: so it stays. */
	if (r == -ESTALE)
		(void)cfs_standing_drop(n->st);
	return r == 0 || r == -ESTALE || r == -EINTR ? r : -EAGAIN;
}

static bool can_come_back(const struct named *n)
{
	return n->st && !n->cmd->is_dry_run && cfs_standing_still_runs(n->st);
}

/* As leasectl_ask; with a manager, if the lease needs one. */
static int ask_to_renew(struct named *n)
{
	const uint64_t deadline_ns = leasectl_deadline(n->cmd);
	const bool is_dry = n->cmd->is_dry_run;
	const char *pool = n->pool.pool;
	int fd, r, r2;

	for (;;) {
		r = leasectl_ask(n->cmd, pool, is_dry ? look : renew,
				 is_dry ? NULL : reclaim, n, -ESTALE);
		if (r != 1 || !can_come_back(n))
			return r;
		r = leasectl_start(n->cmd, pool, &fd);
		if (r == 0)
			close(fd);
		else if (r != -EBUSY)
			return r;
		r2 = r == 0 ? 0 : leasectl_pause(n->cmd, deadline_ns);
		if (r2 < 0)
			return r2 == -ETIMEDOUT ? r : r2;
	}
}

static int run_renew(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(named_donep) struct named n = NAMED_INIT(cmd);
	int r = find_named(&n);

	if (r < 0)
		return r;
	r = ask_to_renew(&n);
	return r == 0 ? tell(&n, "renewed")
		      : fail(&n, r, -ESTALE, "the lease is lost");
}

/* ---- release ------------------------------------------------------------- */

struct rest {
	uint64_t client, lease;
};

static int find_rest(void *arg, const struct cfs_lease_record *record)
{
	struct rest *rest = arg;

	if (record->kind == CFS_RECORD_LEASE &&
	    record->client_id == rest->client &&
	    cfs_lease_is_intent(&record->u.lease.resource,
				record->u.lease.mode))
		rest->lease = record->u.lease.lease_id;
	return 0;
}

/* At once; or, where another host may remember it, when nobody can come back
 * with it any more. */
static int give(const struct named *n, const struct cfs_lease_name *name,
		struct cfs_manager *m, struct cfs_err *err)
{
	return n->is_forgotten ? cfs_manager_release(m, name, err)
			       : cfs_manager_revoke(m, name->lease_id, 0, err);
}

/* With that on a file goes what it needed of the tree. */
static int release(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	const struct named *n = arg;
	struct rest rest = { .client = n->name.client_id };
	struct cfs_lease_name also = n->name;
	struct cfs_msg_status_head head;
	int r = give(n, &n->name, m, err);

	if (r == 0 &&
	    cfs_manager_status(m, find_rest, &rest, &head, NULL) == 0 &&
	    rest.lease) {
		also.lease_id = rest.lease;
		(void)give(n, &also, m, NULL);
	}
	return r;
}

static int run_release(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(named_donep) struct named n = NAMED_INIT(cmd);
	const bool is_dry = cmd->is_dry_run;
	bool was_had = false;
	int r = find_named(&n);

	if (r < 0)
		return r;
	if (n.st) {
		was_had = cfs_standing_still_runs(n.st);
		if (!is_dry)
			n.is_forgotten = cfs_standing_drop(n.st);
	}
	r = leasectl_ask(cmd, n.pool.pool, is_dry ? look : release, NULL, &n,
			 -ENOENT);
	/* The owner has died, and nobody comes back with it to the next. */
	if (was_had && n.is_forgotten && (r == 1 || r == -ENOENT))
		r = 0;
	if (r != 0)
		return fail(&n, r, -ENOENT, "no such lease");
	return tell(&n, n.is_forgotten || is_dry ? "released"
						 : "ends with its period");
}

const struct cfs_verb leasectl_renew = {
	.name = "renew",
	.operands = "POOL LEASE",
	.help = "let a lease run for another period from now",
	.more = "Where its manager has died, the host that took it goes on with "
		"it at the next one, which is started if there is none.",
	.examples = "leasectl renew pool.img \"$lease\" || exit",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_renew,
};

const struct cfs_verb leasectl_release = {
	.name = "release",
	.operands = "POOL LEASE",
	.help = "give a lease back",
	.more = "One that another host, or another user, took ends with its "
		"period.",
	.examples = "leasectl release pool.img \"$lease\"",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_release,
};
