/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finding the manager, becoming its client, and leaving. */
#include "leasectl/leasectl.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_NS      (50 * CFS_NS_PER_MS)
#define ANSWER_MS_MIN 1000u
/* Who does not answer in this has perhaps been followed by another. */
#define TRY_MS_MAX    5000u
/* A manager that nobody needs ends within this. */
#define ENDS_MS       3000

struct cfs_session_options leasectl_options(struct cfs_cmd *cmd)
{
	return (struct cfs_session_options){
		.wait_seconds = cmd->wait_seconds,
		.search = cmd->search,
		.search_count = cmd->search_count,
		.tls_cert = cmd->env_tls_cert,
		.tls_key = cmd->env_tls_key,
		.tls_ca = cmd->env_tls_ca,
		.stop = cfs_cmd_is_stopped,
		.warn = cfs_cmd_warn_line,
		.arg = cmd,
	};
}

uint64_t leasectl_deadline(const struct cfs_cmd *cmd)
{
	if (cmd->wait_ns == 0)
		return 0;
	return cfs_deadline_add(cfs_clock_elapsed_ns(cfs_clock_system()),
				cmd->wait_ns);
}

unsigned int leasectl_left_ms(uint64_t deadline_ns, unsigned int least_ms)
{
	uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	uint64_t left_ms = deadline_ns > now_ns
				   ? (deadline_ns - now_ns) / CFS_NS_PER_MS
				   : 0;

	if (left_ms > UINT32_MAX / 2)
		left_ms = UINT32_MAX / 2;
	return left_ms > least_ms ? (unsigned int)left_ms : least_ms;
}

int leasectl_pause(struct cfs_cmd *cmd, uint64_t deadline_ns)
{
	uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());

	if (cfs_cmd_is_stopped(NULL))
		return cfs_err_set(&cmd->err, -EINTR, "stopped");
	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	cfs_clock_sleep_until(cfs_clock_system(), now_ns + PAUSE_NS);
	return 0;
}

static int find(struct cfs_cmd *cmd, const char *pool,
		struct cfs_manager_info *ret)
{
	const struct cfs_session_options opt = leasectl_options(cmd);

	return cfs_cmd_wrap(cmd, pool,
			    cfs_manager_find(pool, &opt, ret, &cmd->err));
}

/* Who holds it and does not answer. */
static int silent(struct cfs_cmd *cmd, const char *pool,
		  const struct cfs_manager_info *info)
{
	return cfs_err_set(&cmd->err, -EBUSY,
			   "%s: in use by process %llu on "
			   "%s, which does not answer",
			   pool, (unsigned long long)info->pid,
			   info->is_here ? "this host" : info->host);
}

int leasectl_connect(struct cfs_cmd *cmd, const char *pool,
		     uint64_t deadline_ns, struct cfs_manager_info *ret_info,
		     struct cfs_manager **ret)
{
	const struct cfs_session_options opt = leasectl_options(cmd);
	struct cfs_manager_info own = { .pid = 0 },
				*info = ret_info ? ret_info : &own;
	int r;

	for (;;) {
		r = find(cmd, pool, info);
		if (r < 0)
			return r;
		if (!info->is_held)
			return 1;
		r = -EBUSY;
		if (info->address[0])
			r = cfs_manager_connect(
				info, "leasectl", &opt,
				leasectl_left_ms(deadline_ns, ANSWER_MS_MIN),
				ret, &cmd->err);
		if (r != -EBUSY)
			return cfs_cmd_wrap(cmd, pool, r);
		r = leasectl_pause(cmd, deadline_ns);
		if (r == -ETIMEDOUT)
			return silent(cmd, pool, info);
		if (r < 0)
			return cfs_cmd_wrap(cmd, pool, r);
	}
}

struct asking {
	struct cfs_cmd *cmd;
	leasectl_ask_fn fn, last;
	void *arg;
	int none;
	bool is_unsure; /* it may be on its way */
};

static int ask_owner(struct asking *a, const struct cfs_manager_info *info)
{
	const struct cfs_session_options opt = leasectl_options(a->cmd);
	struct cfs_manager *m = NULL;
	int r = -EBUSY;

	if (info->address[0])
		r = cfs_manager_connect(info, "leasectl", &opt, ANSWER_MS_MIN,
					&m, &a->cmd->err);
	if (r == 0)
		r = a->fn(a->arg, m, &a->cmd->err);
	cfs_manager_close(m);
	if (r != -EBUSY && r != -ECONNRESET && r != -ESHUTDOWN)
		return r;
	a->is_unsure = true;
	return a->none;
}

/* The manager has the last word, too: what comes home it has before it says
 * that nobody else has it. */
static int ask_all(struct asking *a, struct cfs_manager *m,
		   const struct cfs_manager_info *info)
{
	struct cfs_manager_infos owners = { CFS_VEC_INIT };
	int r = a->fn(a->arg, m, &a->cmd->err);

	if (r != a->none && r != -EREMOTE)
		return r;
	r = cfs_manager_owners(m, info, &owners, &a->cmd->err);
	if (r == 0)
		r = a->none;
	for (size_t i = 0; i < owners.v.count && r == a->none; i++)
		r = ask_owner(a, &owners.v.items[i]);
	if (r == a->none) {
		r = a->fn(a->arg, m, &a->cmd->err);
		a->is_unsure |= r == -EREMOTE && owners.v.count == 0;
		r = r == -EREMOTE ? a->none : r;
	}
	if (r == a->none && a->last) {
		r = a->last(a->arg, m, &a->cmd->err);
		a->is_unsure |= r == -EAGAIN;
		r = r == -EAGAIN ? a->none : r;
	}
	cfs_vec_done(&owners.v);
	return r;
}

int leasectl_ask(struct cfs_cmd *cmd, const char *pool, leasectl_ask_fn fn,
		 leasectl_ask_fn last, void *arg, int none)
{
	const uint64_t deadline_ns = leasectl_deadline(cmd);
	struct asking a = { cmd, fn, last, arg, none, false };
	int r;

	for (;;) {
		struct cfs_manager_info info = { .pid = 0 };
		struct cfs_manager *m = NULL;

		a.is_unsure = false;
		r = leasectl_connect(cmd, pool, deadline_ns, &info, &m);
		if (r != 0)
			return r;
		r = ask_all(&a, m, &info);
		cfs_manager_close(m);
		if (r != none || !a.is_unsure)
			return r;
		r = leasectl_pause(cmd, deadline_ns);
		if (r < 0)
			return r == -ETIMEDOUT ? none : r;
	}
}

/* ---- as a client --------------------------------------------------------- */

static unsigned int try_ms(const struct leasectl_join *j)
{
	return CFS_MIN(leasectl_left_ms(j->deadline_ns, ANSWER_MS_MIN),
		       TRY_MS_MAX);
}

/* One try.  -EBUSY: again a little later, and perhaps with somebody else: a
 * host that stands still takes connections and says nothing. */
static int try_join(struct cfs_cmd *cmd, struct leasectl_join *j)
{
	const struct cfs_session_options opt = leasectl_options(cmd);
	int r = find(cmd, j->pool, &j->info);

	if (r == 0 && !j->info.is_held) {
		if (j->manager_fd >= 0)
			close(j->manager_fd);
		j->manager_fd = -1;
		r = leasectl_start(cmd, j->pool, &j->manager_fd);
		if (r == 0)
			r = find(cmd, j->pool, &j->info);
	}
	if (r < 0)
		return r;
	if (!j->info.is_held || !j->info.address[0])
		return silent(cmd, j->pool, &j->info);
	if (j->volume)
		r = cfs_manager_refer(&j->info, j->volume, 0, &opt, try_ms(j),
				      &cmd->err);
	if (r == 0)
		r = j->leaser ? cfs_manager_rejoin(j->leaser, &j->info, &opt,
						   try_ms(j), &cmd->err)
			      : cfs_manager_join(&j->info, j->name, j->flags,
						 j->hooks, &opt, try_ms(j),
						 &j->leaser, &cmd->err);
	return cfs_cmd_wrap(cmd, j->pool, r == -ETIMEDOUT ? -EBUSY : r);
}

static int join(struct cfs_cmd *cmd, struct leasectl_join *j)
{
	struct cfs_err why;
	int r;

	while ((r = try_join(cmd, j)) == -EBUSY) {
		why = cmd->err;
		r = leasectl_pause(cmd, j->deadline_ns);
		if (r == -ETIMEDOUT) {
			cmd->err = why;
			return -EBUSY;
		}
		if (r < 0)
			break;
	}
	return cfs_cmd_wrap(cmd, j->pool, r);
}

int leasectl_join(struct cfs_cmd *cmd, struct leasectl_join *j)
{
	j->manager_fd = -1;
	return join(cmd, j);
}

int leasectl_join_again(struct cfs_cmd *cmd, struct leasectl_join *j)
{
	int r = join(cmd, j);

	if (r == 0 && j->tree && !cfs_leaser_still_holds(j->tree)) {
		cfs_leaser_release(j->tree);
		j->tree = NULL;
	}
	return r;
}

struct others {
	uint64_t manager_pid; /* its own uses keep it from nothing */
	unsigned int count;
};

static int count_other(void *arg, const struct cfs_lease_record *record)
{
	struct others *others = arg;

	others->count += record->kind == CFS_RECORD_CLIENT &&
			 record->u.client.pid != others->manager_pid;
	return 0;
}

/* Does the manager stay for others when we are gone? */
static bool has_others(struct cfs_cmd *cmd, const struct leasectl_join *j)
{
	const struct cfs_session_options opt = leasectl_options(cmd);
	struct cfs_manager *m = NULL;
	struct cfs_msg_status_head head;
	struct cfs_manager_info info = j->info;
	struct others others = { .manager_pid = info.pid };
	int r = cfs_manager_connect(&info, "leasectl", &opt, ANSWER_MS_MIN, &m,
				    NULL);

	if (r == 0)
		r = cfs_manager_status(m, count_other, &others, &head, NULL);
	cfs_manager_close(m);
	return r == 0 && others.count > 0;
}

void leasectl_leave(struct cfs_cmd *cmd, struct leasectl_join *j)
{
	cfs_leaser_release(j->tree);
	j->tree = NULL;
	cfs_leaser_free(j->leaser, true);
	j->leaser = NULL;
	if (j->manager_fd < 0)
		return;
	if (!has_others(cmd, j)) {
		struct pollfd wait = { .fd = j->manager_fd, .events = POLLIN };

		/* Its end closes the other side. */
		(void)poll(&wait, 1, ENDS_MS);
	}
	close(j->manager_fd);
	j->manager_fd = -1;
}
