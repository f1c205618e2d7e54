/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl acquire, renew and release: leases for scripts.  Each is a client
 * of its own that needs no connection; it ends with its period unless somebody
 * renews it.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/units.h"

#include <errno.h>

static void out_lease(struct cfs_cmd *cmd, const struct leasectl_want *want,
		      const struct cfs_lease_name *name, uint64_t period_ns)
{
	char id[LEASECTL_ID_BYTES], client[LEASECTL_ID_BYTES];

	leasectl_id(name->client_id, name->lease_id, id);
	cfs_out_begin_obj(cmd->out, "lease");
	cfs_out_str(cmd->out, "id", id);
	leasectl_want_out(cmd, want);
	cfs_out_str(cmd->out, "client",
		    leasectl_id(name->client_id, 0, client));
	cfs_out_u64(cmd->out, "period_ns", period_ns);
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
	out_lease(cmd, want, &name, period_ns);
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

/* ---- by their ids -------------------------------------------------------- */

/* Nothing is done for a dry run. */
static int look(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	(void)arg;
	(void)m;
	(void)err;
	return 0;
}

static int change(struct cfs_cmd *cmd, leasectl_ask_fn fn, int none,
		  const char *done)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct cfs_lease_name lease = { .client_id = 0 };
	char id[LEASECTL_ID_BYTES];
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = leasectl_id_parse(cmd, cmd->operands[1], &lease);
	if (r < 0)
		return r;
	r = leasectl_ask(cmd, name.pool, cmd->is_dry_run ? look : fn, &lease,
			 none);
	leasectl_id(lease.client_id, lease.lease_id, id);
	if (r == 1 || r == none)
		return cfs_err_set(&cmd->err, none, "%s: %s", id,
				   none == -ESTALE ? "the lease is lost"
						   : "no such lease");
	if (r < 0)
		return cfs_cmd_wrap(cmd, id, r);
	cfs_cmd_say(cmd, "%s: %s%s\n", id, cmd->is_dry_run ? "would be " : "",
		    done);
	cfs_out_begin_obj(cmd->out, "lease");
	cfs_out_str(cmd->out, "id", id);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

static int renew(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	return cfs_manager_renew(m, arg, err);
}

static int run_renew(struct cfs_cmd *cmd)
{
	return change(cmd, renew, -ESTALE, "renewed");
}

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

/* With that on a file goes what it needed of the tree. */
static int release(void *arg, struct cfs_manager *m, struct cfs_err *err)
{
	const struct cfs_lease_name *name = arg;
	struct rest rest = { .client = name->client_id };
	struct cfs_lease_name also = *name;
	struct cfs_msg_status_head head;
	int r = cfs_manager_release(m, name, err);

	if (r == 0 &&
	    cfs_manager_status(m, find_rest, &rest, &head, NULL) == 0 &&
	    rest.lease) {
		also.lease_id = rest.lease;
		(void)cfs_manager_release(m, &also, NULL);
	}
	return r;
}

static int run_release(struct cfs_cmd *cmd)
{
	return change(cmd, release, -ENOENT, "released");
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

const struct cfs_verb leasectl_renew = {
	.name = "renew",
	.operands = "POOL LEASE",
	.help = "let a lease run for another period from now",
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
	.examples = "leasectl release pool.img \"$lease\"",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_release,
};
