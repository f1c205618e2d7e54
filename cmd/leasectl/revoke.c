/* SPDX-License-Identifier: GPL-3.0-or-later */
/* leasectl revoke and gone: an operator's orders. */
#include "leasectl/leasectl.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

/* Members of "ended": what it was about. */
struct target {
	uint64_t lease, client;
	const char *host; /* NULL: none */
};

static void say(struct cfs_cmd *cmd, const struct target *t, const char *what,
		const char *done)
{
	char id[LEASECTL_ID_BYTES];

	cfs_cmd_say(cmd, "%s: %s%s\n", what, cmd->is_dry_run ? "would be " : "",
		    done);
	cfs_out_str(cmd->out, "lease", t->lease ? what : NULL);
	cfs_out_str(cmd->out, "client",
		    t->client ? leasectl_id(t->client, 0, id) : NULL);
	cfs_out_str(cmd->out, "host", t->host);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

struct revoking {
	const struct cfs_cmd *cmd;
	struct target *t;
};

static int do_revoke(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	const struct revoking *v = arg;

	if (v->cmd->is_dry_run)
		return 0;
	return cfs_manager_revoke(m, v->t->lease,
				  v->t->lease ? 0 : v->t->client, err);
}

static int nobody(struct cfs_cmd *cmd)
{
	return cfs_err_set(&cmd->err, -ENOENT, "%s: nobody manages the pool",
			   cmd->operands[1]);
}

/* -ENOENT: it is nowhere, or nobody holds the pool, so there is nothing. */
static int revoke_it(struct cfs_cmd *cmd, const char *pool, struct target *t)
{
	struct revoking v = { cmd, t };
	int r = leasectl_ask(cmd, pool, do_revoke, NULL, &v, -ENOENT);

	if (r == -ENOENT)
		return cfs_err_set(&cmd->err, r, "%s: no such lease or client",
				   cmd->operands[1]);
	return r == 1 ? nobody(cmd) : r;
}

static int run_revoke(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct cfs_lease_name lease = { .client_id = 0 };
	struct target t = { .lease = 0 };
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0 && leasectl_client_parse(cmd->operands[1], &t.client) < 0) {
		r = leasectl_id_parse(cmd, cmd->operands[1], &lease);
		t.lease = lease.lease_id;
	}
	if (r == 0)
		r = revoke_it(cmd, name.pool, &t);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[1], r);
	say(cmd, &t, cmd->operands[1], "revoked");
	return 0;
}

static bool is_named(const struct cfs_cmd *cmd, const char *host)
{
	for (unsigned int i = 1; i < cmd->operand_count; i++)
		if (strcmp(cmd->operands[i], host) == 0)
			return true;
	return false;
}

/*
 * Hosts that held the pool, the last one among them, or nobody does now: it is
 * taken and closed again, which leaves it free, and gives back what they kept.
 * 0; 1: another one holds it.
 */
static int free_pool(struct cfs_cmd *cmd, const char *pool, const char *hosts)
{
	struct cfs_session_options opt = { .is_writable = true,
					   .must_hold = true,
					   .gone_host = hosts,
					   CFS_CMD_SESSION(cmd) };
	const struct cfs_session_options look = leasectl_options(cmd);
	struct cfs_pool_info pool_info = { .is_shared = false };
	struct cfs_manager_info info;
	struct cfs_session *s = NULL;
	int r = cfs_manager_find(pool, &look, &info, &cmd->err), r2;

	if (r == 0 && info.is_held &&
	    (info.is_here || !is_named(cmd, info.host)))
		return 1;
	if (r < 0 || (cmd->is_dry_run && info.is_held))
		return r;
	opt.is_dry_run = cmd->is_dry_run;
	r = cfs_session_open(pool, &opt, &s, &cmd->err);
	/* This opens all containers. */
	r2 = r < 0 ? r : cfs_session_pool_info(s, &pool_info, &cmd->err);
	r = r < 0 ? r : cfs_session_close(s, &cmd->err);
	if (r < 0 || r2 < 0)
		return r < 0 ? r : r2;
	return !info.is_held && !pool_info.is_shared;
}

/* The manager, one by one. */
static int tell_all(struct cfs_cmd *cmd, const char *pool)
{
	CFS_CLEANUP(cfs_manager_closep) struct cfs_manager *m = NULL;
	int r = leasectl_connect(cmd, pool, leasectl_deadline(cmd), NULL, &m);

	if (r != 0)
		return cfs_err_set(
			&cmd->err, -EBUSY,
			"another one holds it: name that host too if it "
			"is dead, else close it there");
	for (unsigned int i = 1; r == 0 && i < cmd->operand_count; i++) {
		const char *host = cmd->operands[i];

		r = cmd->is_dry_run ? 0
				    : cfs_manager_gone(m, 0, host, &cmd->err);
		if (r == -ENOENT)
			return cfs_err_set(&cmd->err, r, "%s: no such host",
					   host);
	}
	return r;
}

/* Several are hosts. */
static int gone_hosts(struct cfs_cmd *cmd, const char *pool)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf names = CFS_BUF_INIT;
	struct target t = { .lease = 0 };
	int r = 0;

	for (unsigned int i = 1; r == 0 && i < cmd->operand_count; i++)
		r = cfs_buf_printf(&names, "%s%s", i > 1 ? " " : "",
				   cmd->operands[i]);
	if (r < 0)
		return cfs_err_set(&cmd->err, r, "out of memory");
	t.host = cfs_buf_text(&names);
	r = free_pool(cmd, pool, t.host);
	if (r == 1)
		r = tell_all(cmd, pool);
	if (r < 0)
		return cfs_cmd_wrap(cmd, pool, r);
	say(cmd, &t, t.host, "taken for dead");
	return 0;
}

/* Digits may be a host too. */
static int do_gone(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	const struct revoking *v = arg;
	const char *who = v->cmd->operands[1];
	struct target *t = v->t;
	int r;

	*t = (struct target){ .lease = 0 };
	r = leasectl_client_parse(who, &t->client);
	if (r == 0)
		r = v->cmd->is_dry_run
			    ? 0
			    : cfs_manager_gone(m, t->client, NULL, err);
	if (r == -ENOENT || r == -EINVAL) {
		t->client = 0;
		t->host = who;
		r = v->cmd->is_dry_run ? 0 : cfs_manager_gone(m, 0, who, err);
	}
	return r;
}

static int run_gone(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct target t = { .lease = 0 };
	struct revoking v = { cmd, &t };
	const char *who = cmd->operands[1];
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0 && strlen(who) >= CFS_MSG_HOST_BYTES)
		return cfs_cmd_usage(cmd, "'%s' is no client and no host", who);
	if (r == 0 && cmd->operand_count > 2)
		return gone_hosts(cmd, name.pool);
	if (r == 0)
		r = free_pool(cmd, name.pool, who);
	if (r < 0)
		return cfs_cmd_wrap(cmd, name.pool, r);
	if (r == 0) {
		t.host = who;
		say(cmd, &t, who, "taken for dead");
		return 0;
	}
	r = leasectl_ask(cmd, name.pool, do_gone, NULL, &v, -ENOENT);
	if (r == 1)
		return nobody(cmd);
	if (r == -ENOENT)
		return cfs_err_set(&cmd->err, r, "%s: no such client or host",
				   who);
	if (r < 0)
		return cfs_cmd_wrap(cmd, who, r);
	say(cmd, &t, who, "taken for dead");
	return 0;
}

const struct cfs_verb leasectl_revoke = {
	.name = "revoke",
	.operands = "POOL LEASE|CLIENT",
	.help = "end a lease, or all of a client, against its will",
	.more = "Its holder is told, and may go on until the period that it "
		"knows of is over; nobody else gets the lease before that.",
	.examples = "leasectl revoke pool.img 200000001-200000002\n"
		    "leasectl revoke pool.img 200000001",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_revoke,
};

const struct cfs_verb leasectl_gone = {
	.name = "gone",
	.operands = "POOL CLIENT|HOST...",
	.help = "say that a client or a host is dead",
	.more = "What it had on loan comes back at once, and so does what a "
		"host kept that has held a shared pool. If it still runs "
		"and writes, data is lost: be sure. Where nobody answers, "
		"hosts that have held the pool are named together, the "
		"last one among them.",
	.examples = "leasectl gone pool.img 200000001\n"
		    "leasectl gone pool.img node7\n"
		    "leasectl gone pool.img node5 node7",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run_gone,
};
