/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl status: who manages the pool, its clients, and what they hold.
 * On a pool that nobody holds it reads the record of the last holder, and no
 * more.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "base/vec.h"

#include <errno.h>
#include <inttypes.h>

struct status {
	struct cfs_cmd *cmd;
	struct cfs_manager_info info;
	struct cfs_msg_status_head head;
	CFS_VEC(struct cfs_lease_record) records;
	struct cfs_lease_names *names;
	struct cfs_session *s; /* NULL: names are not known */
	CFS_VEC(struct cfs_delegation_info) delegations;
};

static void status_donep(struct status *st)
{
	cfs_vec_done(&st->records);
	cfs_vec_done(&st->delegations);
	cfs_lease_names_free(st->names);
	cfs_session_closep(&st->s);
}

/* It is not shown, so its client, which came before it, has one less. */
static void not_counted(struct status *st, uint64_t client)
{
	for (size_t i = st->records.count; i-- > 0;) {
		struct cfs_lease_record *r = &st->records.items[i];

		if (r->kind != CFS_RECORD_CLIENT || r->client_id != client)
			continue;
		r->u.client.lease_count--;
		return;
	}
}

static int keep(void *arg, const struct cfs_lease_record *record)
{
	struct status *st = arg;

	/* The manager itself, which uses nothing at the moment. */
	if (record->kind == CFS_RECORD_CLIENT &&
	    record->u.client.pid == st->info.pid &&
	    !record->u.client.lease_count)
		return 0;
	if (record->kind == CFS_RECORD_LEASE &&
	    cfs_lease_is_intent(&record->u.lease.resource,
				record->u.lease.mode)) {
		not_counted(st, record->client_id);
		return 0;
	}
	return cfs_vec_push(&st->records, *record) < 0 ? -ENOMEM : 0;
}

/* 1: nobody holds it. */
static int collect(struct status *st, const char *pool)
{
	CFS_CLEANUP(cfs_manager_closep) struct cfs_manager *m = NULL;
	struct cfs_cmd *cmd = st->cmd;
	int r = leasectl_connect(cmd, pool, leasectl_deadline(cmd), &st->info,
				 &m);

	/* It is held by one who does not answer: that is what there is. */
	if (r == -EBUSY && !st->info.address[0])
		return 1;
	if (r == 0)
		r = cfs_manager_status(m, keep, st, &st->head, &cmd->err);
	if (r == -ENOMEM)
		cfs_err_set(&cmd->err, r, "out of memory");
	return cfs_cmd_wrap(cmd, pool, r);
}

static int keep_delegation(void *arg, const struct cfs_delegation_info *d)
{
	struct status *st = arg;

	return cfs_vec_push(&st->delegations, *d) < 0 ? -ENOMEM : 0;
}

/* Names come from the manager too; without them numbers are shown. */
static int open_names(struct status *st, const char *pool)
{
	struct cfs_session_options opt = leasectl_options(st->cmd);
	int r = cfs_lease_names_new(&st->names, &st->cmd->err);

	opt.wait_seconds = 0;
	opt.warn = NULL;
	if (r == 0 && cfs_session_open(pool, &opt, &st->s, NULL) == 0)
		r = cfs_session_delegated(st->s, keep_delegation, st,
					  &st->cmd->err);
	if (r == -ENOMEM)
		cfs_err_set(&st->cmd->err, r, "out of memory");
	return r;
}

/* ---- JSON ---------------------------------------------------------------- */

static void out_manager(struct cfs_out *out, const struct status *st)
{
	const struct cfs_manager_info *info = &st->info;

	if (!info->is_held) {
		cfs_out_null(out, "manager");
		return;
	}
	cfs_out_begin_obj(out, "manager");
	cfs_out_str(out, "host", info->host);
	cfs_out_u64(out, "pid", info->pid);
	cfs_out_u64_str(out, "epoch", info->epoch);
	cfs_out_str(out, "address", info->address[0] ? info->address : NULL);
	cfs_out_u64(out, "period_ns", st->head.period_ns);
	cfs_out_u64(out, "grace_ns", st->head.grace_ns);
	cfs_out_end(out);
}

static void out_client(struct cfs_out *out, const struct cfs_lease_record *c)
{
	char id[LEASECTL_ID_BYTES];

	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "id", leasectl_id(c->client_id, 0, id));
	cfs_out_str(out, "name", c->u.client.name);
	cfs_out_str(out, "host", c->u.client.host);
	cfs_out_u64(out, "pid", c->u.client.pid);
	cfs_out_u64(out, "leases", c->u.client.lease_count);
	cfs_out_u64(out, "ends_in_ns", c->ends_in_ns);
	cfs_out_bool(out, "is_connected", c->flags & CFS_CLIENT_CONNECTED);
	cfs_out_bool(out, "is_ending", c->flags & CFS_CLIENT_SEALING);
	cfs_out_end(out);
}

static void out_lease(struct status *st, const struct cfs_lease_record *l)
{
	struct cfs_out *out = st->cmd->out;
	char id[LEASECTL_ID_BYTES], client[LEASECTL_ID_BYTES];

	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "id",
		    leasectl_id(l->client_id, l->u.lease.lease_id, id));
	leasectl_place_out(
		out, &l->u.lease.resource, l->u.lease.mode,
		cfs_lease_names_find(st->names, st->s, &l->u.lease.resource));
	cfs_out_str(out, "client", leasectl_id(l->client_id, 0, client));
	cfs_out_u64(out, "ends_in_ns", l->ends_in_ns);
	cfs_out_bool(out, "is_waiting", l->flags & CFS_LEASE_WAITING);
	cfs_out_bool(out, "is_recalled", l->flags & CFS_LEASE_RECALLED);
	cfs_out_bool(out, "is_borrowed", l->flags & CFS_LEASE_BORROWED);
	cfs_out_end(out);
}

static const char *delegation_state(const struct cfs_delegation_info *d)
{
	return !d->is_held    ? "frozen"
	       : d->is_wanted ? "wanted"
	       : d->client_id ? "held"
			      : "away";
}

static void out_delegation(struct cfs_out *out,
			   const struct cfs_delegation_info *d)
{
	char id[LEASECTL_ID_BYTES];

	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "volume", d->name);
	cfs_out_str(out, "host", d->host);
	cfs_out_u64(out, "pid", d->pid);
	cfs_out_str(out, "client",
		    d->client_id ? leasectl_id(d->client_id, 0, id) : NULL);
	cfs_out_u64_str(out, "epoch", d->epoch);
	cfs_out_str(out, "address", d->address[0] ? d->address : NULL);
	cfs_out_time_ns(out, "since", d->since_ns);
	cfs_out_str(out, "state", delegation_state(d));
	cfs_out_end(out);
}

static void out_all(struct status *st)
{
	struct cfs_out *out = st->cmd->out;

	out_manager(out, st);
	cfs_out_begin_array(out, "clients");
	for (size_t i = 0; i < st->records.count; i++)
		if (st->records.items[i].kind == CFS_RECORD_CLIENT)
			out_client(out, &st->records.items[i]);
	cfs_out_end(out);
	cfs_out_begin_array(out, "leases");
	for (size_t i = 0; i < st->records.count; i++)
		if (st->records.items[i].kind == CFS_RECORD_LEASE)
			out_lease(st, &st->records.items[i]);
	cfs_out_end(out);
	cfs_out_begin_array(out, "delegations");
	for (size_t i = 0; i < st->delegations.count; i++)
		out_delegation(out, &st->delegations.items[i]);
	cfs_out_end(out);
}

/* ---- text ---------------------------------------------------------------- */

static int print_manager(struct status *st)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *t = NULL;
	const struct cfs_manager_info *info = &st->info;
	char period[CFS_DURATION_TEXT_BYTES];

	if (!info->is_held) {
		cfs_cmd_print(st->cmd, "nobody manages the pool\n");
		return 0;
	}
	t = cfs_table_new_facts(st->cmd);
	cfs_table_str(t, "Manager:");
	cfs_table_fmt(t, "process %" PRIu64 " on %s", info->pid, info->host);
	cfs_table_str(t, "Address:");
	cfs_table_str(t, info->address[0] ? info->address : "does not answer");
	cfs_table_str(t, "Epoch:");
	cfs_table_fmt(t, "%" PRIu64, info->epoch);
	if (st->head.period_ns) {
		cfs_table_str(t, "Period:");
		cfs_table_str(t,
			      cfs_duration_format(st->head.period_ns, period));
	}
	if (st->head.grace_ns) {
		cfs_table_str(t, "Grace:");
		cfs_table_fmt(t, "%s left",
			      cfs_duration_format(st->head.grace_ns, period));
	}
	return cfs_table_print(t, st->cmd);
}

static void ends_in(struct cfs_table *t, uint64_t ns)
{
	char text[CFS_DURATION_TEXT_BYTES];

	cfs_table_str(t, ns ? cfs_duration_format(ns, text) : NULL);
}

static int print_clients(struct status *st)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *t = NULL;

	t = cfs_table_new(st->cmd, "CLIENT|NAME|HOST|>PID|>LEASES|>ENDS IN|"
				   "STATE");
	for (size_t i = 0; i < st->records.count; i++) {
		const struct cfs_lease_record *c = &st->records.items[i];
		char id[LEASECTL_ID_BYTES];

		if (c->kind != CFS_RECORD_CLIENT)
			continue;
		cfs_table_str(t, leasectl_id(c->client_id, 0, id));
		cfs_table_str(t, c->u.client.name);
		cfs_table_str(t, c->u.client.host);
		cfs_table_u64(t, c->u.client.pid);
		cfs_table_u64(t, c->u.client.lease_count);
		ends_in(t, c->ends_in_ns);
		cfs_table_str(t, c->flags & CFS_CLIENT_SEALING     ? "ending"
				 : c->flags & CFS_CLIENT_CONNECTED ? "connected"
				 : c->flags & CFS_CLIENT_STANDING  ? "standing"
								   : "away");
	}
	return cfs_table_print(t, st->cmd);
}

static const char *lease_state(uint32_t flags)
{
	return flags & CFS_LEASE_WAITING                         ? "waits"
	       : flags & (CFS_LEASE_STOPPED | CFS_LEASE_SEALING) ? "ending"
	       : flags & CFS_LEASE_RECALLED                      ? "recalled"
	       : flags & CFS_LEASE_BORROWED                      ? "borrowed"
								 : "held";
}

static int print_leases(struct status *st)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *t = NULL;
	char text[LEASECTL_PLACE_BYTES];

	t = cfs_table_new(st->cmd, "LEASE|MODE|>ENDS IN|STATE|ON");
	for (size_t i = 0; i < st->records.count; i++) {
		const struct cfs_lease_record *l = &st->records.items[i];
		const struct cfs_lock_resource *res = &l->u.lease.resource;
		char id[LEASECTL_ID_BYTES];

		if (l->kind != CFS_RECORD_LEASE)
			continue;
		cfs_table_str(
			t, leasectl_id(l->client_id, l->u.lease.lease_id, id));
		cfs_table_str(t, leasectl_mode(l->u.lease.mode));
		ends_in(t, l->ends_in_ns);
		cfs_table_str(t, lease_state(l->flags));
		cfs_table_color(t, l->flags & CFS_LEASE_WAITING
					   ? CFS_COLOR_WARN
					   : CFS_COLOR_NONE);
		leasectl_place_text(
			res, cfs_lease_names_find(st->names, st->s, res), text);
		cfs_table_str(t, text);
	}
	return cfs_table_print(t, st->cmd);
}

static int print_delegations(struct status *st)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *t = NULL;

	t = cfs_table_new(st->cmd, "DELEGATED|CLIENT|HOST|>PID|STATE|ADDRESS");
	for (size_t i = 0; i < st->delegations.count; i++) {
		const struct cfs_delegation_info *d = &st->delegations.items[i];
		char id[LEASECTL_ID_BYTES];

		cfs_table_str(t, d->name);
		cfs_table_str(t, d->client_id ? leasectl_id(d->client_id, 0, id)
					      : NULL);
		cfs_table_str(t, d->host);
		cfs_table_u64(t, d->pid);
		cfs_table_str(t, delegation_state(d));
		cfs_table_str(t, d->address[0] ? d->address : NULL);
	}
	return cfs_table_print(t, st->cmd);
}

static int print_all(struct status *st)
{
	int r = print_manager(st);

	if (r == 0 && st->records.count) {
		cfs_cmd_print(st->cmd, "\n");
		r = print_clients(st);
	}
	if (r == 0 && st->head.lease_count) {
		cfs_cmd_print(st->cmd, "\n");
		r = print_leases(st);
	}
	if (r == 0 && st->delegations.count) {
		cfs_cmd_print(st->cmd, "\n");
		r = print_delegations(st);
	}
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(status_donep) struct status st = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = collect(&st, name.pool);
	if (r >= 0)
		r = open_names(&st, name.pool);
	if (r < 0)
		return r;
	out_all(&st);
	return print_all(&st);
}

const struct cfs_verb leasectl_status = {
	.name = "status",
	.operands = "POOL",
	.help = "show manager, clients and leases",
	.more = "A lease ends with the period of its client unless that is "
		"renewed. STATE 'waits' is one that is asked for. Containers "
		"that another process serves are listed with it; to have one "
		"back, revoke its CLIENT.",
	.examples = "leasectl status pool.img\n"
		    "leasectl status --json pool.img | jq '.leases[].volume'",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH,
	.items = "leases",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
