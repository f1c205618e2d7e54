/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl acquire: leases for scripts.  Each is a client of its own that needs
 * no connection; it ends with its period unless somebody renews it
 * (standing.c).
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/units.h"

static void out_lease(struct cfs_cmd *cmd, const struct leasectl_want *want,
		      const struct leasectl_join *j,
		      const struct cfs_lease_name *name, uint64_t period_ns)
{
	char id[LEASECTL_ID_BYTES], client[LEASECTL_ID_BYTES];
	char env[LEASECTL_ENV_BYTES];

	leasectl_id(name->client_id, name->lease_id, id);
	cfs_out_begin_obj(cmd->out, "lease");
	cfs_out_str(cmd->out, "id", id);
	leasectl_want_out(cmd, want);
	cfs_out_str(cmd->out, "client",
		    leasectl_id(name->client_id, 0, client));
	cfs_out_u64(cmd->out, "period_ns", period_ns);
	cfs_out_str(cmd->out, "env",
		    leasectl_env(name, j->info.pool_uuid, env));
	cfs_out_end(cmd->out);
	cfs_cmd_print(cmd, "%s\n", id);
}

static int take(struct cfs_cmd *cmd, struct leasectl_want *want,
		struct leasectl_join *j)
{
	struct cfs_lease_client *client;
	struct cfs_lease_name name;
	struct cfs_held *held = NULL;
	uint64_t period_ns;
	int r = leasectl_want_find(cmd, want);

	if (r == 0)
		r = leasectl_want_take(cmd, want, j, &held);
	if (r < 0)
		return r;
	cfs_leaser_name(held, &name);
	client = cfs_leaser_lock(j->leaser);
	period_ns = cfs_lease_client_welcome(client)->period_ns;
	cfs_leaser_unlock(j->leaser);
	leasectl_remember(cmd, j, held);
	out_lease(cmd, want, j, &name, period_ns);
	/* It stands without us. */
	cfs_leaser_free(j->leaser, false);
	cfs_leaser_forget(held);
	cfs_leaser_forget(j->tree);
	j->tree = NULL;
	j->leaser = NULL;
	return 0;
}

static int plan(struct cfs_cmd *cmd, struct leasectl_want *want)
{
	int r = leasectl_want_find(cmd, want);

	if (r < 0)
		return r;
	cfs_out_begin_obj(cmd->out, "lease");
	leasectl_want_out(cmd, want);
	cfs_out_end(cmd->out);
	cfs_cmd_say(cmd, "%s: would be leased\n", cmd->operands[0]);
	return 0;
}

static int run_acquire(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(leasectl_want_donep)
	struct leasectl_want want = LEASECTL_WANT_INIT;
	struct leasectl_join j = {
		.name = "leasectl acquire",
		.flags = CFS_HELLO_STANDING,
		.deadline_ns = leasectl_deadline(cmd),
	};
	int r = leasectl_want_parse(cmd, &want);

	if (r < 0)
		return r;
	if (cmd->is_dry_run)
		return plan(cmd, &want);
	j.pool = want.name.pool;
	j.volume = want.name.volume;
	r = leasectl_join(cmd, &j);
	if (r < 0)
		return r;
	r = take(cmd, &want, &j);
	leasectl_leave(cmd, &j);
	return r;
}

const struct cfs_verb leasectl_acquire = {
	.name = "acquire",
	.operands = "POOL:VOLUME[:/path]",
	.help = "take a lease and print its id",
	.more = "It ends with its period (10 s, 'slicectl set POOL "
		"lease_period=30s') unless it is renewed.\n"
		"Where nobody manages the pool a manager is left in the "
		"background; it ends with the last lease.",
	.examples =
		"lease=$(leasectl acquire pool.img:vm0)\n"
		"leasectl acquire --shared --range 0:1M pool.img:vm0\n"
		"leasectl acquire --json pool.img:home:/inbox | jq .lease.id",
	.opts = CFS_OPTS(LEASECTL_WANT_OPTS),
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_acquire,
};
