/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl run: COMMAND under a lease, as flock(1) does it with a lock.
 *
 * The lease is renewed by the connection's own thread.  If the manager goes
 * away, or says nothing for half a period, we look for the next one, or start
 * it, while our period runs; what we hold is reclaimed there.
 *
 * COMMAND ends before the lease does, as far as that can be said: it is told
 * to end when the lease is revoked, not when that has taken effect, and when
 * less than a second of the period is left.
 */
#include "leasectl/leasectl.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REJOIN_MS 500u
#define REJOIN_NS (200 * CFS_NS_PER_MS)

struct run {
	struct cfs_cmd *cmd;
	struct leasectl_want want;
	struct leasectl_join join;
	struct cfs_held *held;
	int wake_fd;
	atomic_bool is_revoked;
	atomic_bool is_gone; /* the connection */
	uint64_t rejoin_ns;  /* when to try again */
	uint64_t margin_ns;  /* of the period, kept back */
	uint64_t half_ns;    /* of the period */
	const char *why;
};

/* ---- what the manager says ----------------------------------------------- */

static void wake(struct run *run)
{
	const uint64_t one = 1;
	ssize_t n = write(run->wake_fd, &one, sizeof(one));

	(void)n; /* full: it is awake */
}

static void on_recall(void *arg, struct cfs_held *held, uint64_t grant_id,
		      const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct run *run = arg;

	(void)held;
	(void)grant_id;
	(void)resource;
	(void)mode;
	/* It is not recallable: this is its end. */
	atomic_store(&run->is_revoked, true);
	wake(run);
}

static void on_lost(void *arg, struct cfs_held *held)
{
	(void)held;
	wake(arg);
}

static void on_gone(void *arg, const struct cfs_err *why)
{
	struct run *run = arg;

	(void)why;
	atomic_store(&run->is_gone, true);
	wake(run);
}

/* ---- while COMMAND runs -------------------------------------------------- */

static bool is_stopped(void *arg)
{
	struct run *run = arg;

	return !cfs_leaser_still_holds(run->held);
}

/* One try, short, since COMMAND's signals wait meanwhile. */
static void rejoin(struct run *run)
{
	struct cfs_session_options opt = leasectl_options(run->cmd);
	struct leasectl_join *j = &run->join;
	uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	int r;

	if (now_ns < run->rejoin_ns)
		return;
	run->rejoin_ns = now_ns + REJOIN_NS;
	opt.stop = is_stopped;
	opt.arg = run;
	r = cfs_manager_find(j->pool, &opt, &j->info, NULL);
	if (r == 0 && !j->info.is_held) {
		if (j->manager_fd >= 0)
			close(j->manager_fd);
		j->manager_fd = -1;
		r = leasectl_start(run->cmd, j->pool, &j->manager_fd);
		if (r == 0)
			r = cfs_manager_find(j->pool, &opt, &j->info, NULL);
	}
	if (r == 0 && j->info.is_held && j->info.address[0] && j->volume)
		r = cfs_manager_refer(&j->info, j->volume, 0, &opt, REJOIN_MS,
				      NULL);
	if (r == 0 && j->info.is_held && j->info.address[0] &&
	    cfs_manager_rejoin(j->leaser, &j->info, &opt, REJOIN_MS, NULL) == 0)
		atomic_store(&run->is_gone, false);
}

static bool goes_on(void *arg)
{
	struct run *run = arg;

	if (atomic_load(&run->is_revoked)) {
		run->why = "the lease was revoked";
		return false;
	}
	if (!cfs_leaser_may_start(run->held, run->margin_ns)) {
		run->why = "the lease was lost";
		return false;
	}
	/* One that stands still keeps the connection, and has perhaps been
	 * taken over; who lives has answered twice by now. */
	if (atomic_load(&run->is_gone) ||
	    !cfs_leaser_may_start(run->held, run->half_ns))
		rejoin(run);
	return true;
}

/* ---- around it ----------------------------------------------------------- */

static int export_lease(struct run *run)
{
	char value[LEASECTL_ENV_BYTES];
	struct cfs_lease_name name;

	cfs_leaser_name(run->held, &name);
	leasectl_env(&name, run->join.info.pool_uuid, value);
	if (setenv("CFS_LEASE", value, 1) < 0)
		return cfs_err_errno(&run->cmd->err, -errno, "CFS_LEASE");
	return 0;
}

/* A second of it is kept back; of a short period a quarter. */
static void learn_period(struct run *run, struct cfs_leaser *leaser)
{
	struct cfs_lease_client *client = cfs_leaser_lock(leaser);
	uint64_t period_ns = cfs_lease_client_welcome(client)->period_ns;

	cfs_leaser_unlock(leaser);
	run->margin_ns = CFS_MIN(CFS_NS_PER_S, period_ns / 4);
	run->half_ns = period_ns / 2;
}

static int command(struct run *run, char *const *argv)
{
	const struct leasectl_command what = {
		.argv = argv,
		.goes_on = goes_on,
		.arg = run,
		.wake_fd = run->wake_fd,
	};
	const char *outer = run->cmd->env_lease;
	bool was_ended = false;
	int r = export_lease(run);

	if (r < 0)
		return r;
	learn_period(run, run->join.leaser);
	r = leasectl_command(run->cmd, &what, &was_ended);
	/* In a shell the next command is not under it. */
	if (outer)
		(void)setenv("CFS_LEASE", outer, 1);
	else
		(void)unsetenv("CFS_LEASE");
	if (r >= 0 && was_ended)
		return cfs_err_set(&run->cmd->err, -ESTALE,
				   "%s: %s, and "
				   "the command was ended",
				   run->cmd->operands[0], run->why);
	return r;
}

static int take_and_run(struct run *run, char *const *argv)
{
	struct cfs_cmd *cmd = run->cmd;
	int r = leasectl_join(cmd, &run->join);

	if (r == 0)
		r = leasectl_want_find(cmd, &run->want);
	if (r == 0)
		r = leasectl_want_take(cmd, &run->want, &run->join, &run->held);
	/* The connection that broke while we waited was another one. */
	atomic_store(&run->is_gone, false);
	if (r == 0)
		r = command(run, argv);
	cfs_leaser_release(run->held);
	if (run->join.leaser)
		leasectl_leave(cmd, &run->join);
	return r;
}

static int plan(struct cfs_cmd *cmd, struct leasectl_want *want)
{
	int r = leasectl_want_find(cmd, want);

	if (r < 0)
		return r;
	cfs_out_begin_obj(cmd->out, "lease");
	leasectl_want_out(cmd, want);
	cfs_out_end(cmd->out);
	cfs_out_begin_array(cmd->out, "command");
	for (unsigned int i = 1; i < cmd->operand_count; i++)
		cfs_out_str(cmd->out, NULL, cmd->operands[i]);
	cfs_out_end(cmd->out);
	cfs_cmd_say(cmd, "%s: '%s' would be run under a lease\n",
		    cmd->operands[0], cmd->operands[1]);
	return 0;
}

/* -E: scripts tell by it that COMMAND did not end by itself. */
static int status_of(struct cfs_cmd *cmd, int r)
{
	bool is_lost = r == -EBUSY || r == -ETIMEDOUT || r == -ESTALE;

	if (!is_lost || !cfs_cmd_has(cmd, "conflict-exit-code"))
		return r;
	cfs_cmd_fail(cmd, NULL, &cmd->err);
	cmd->status = (int)cfs_cmd_u64(cmd, "conflict-exit-code", 0);
	return 0;
}

static int run_verb(struct cfs_cmd *cmd)
{
	struct run run = {
		.cmd = cmd,
		.want = LEASECTL_WANT_INIT,
	};
	const struct cfs_leaser_hooks hooks = {
		.recall = on_recall,
		.lost = on_lost,
		.gone = on_gone,
		.arg = &run,
	};
	char **argv = cmd->operands + 1;
	int r = leasectl_want_parse(cmd, &run.want);

	if (r == 0 && cmd->is_dry_run)
		r = plan(cmd, &run.want);
	if (r < 0 || cmd->is_dry_run)
		goto done;
	run.join.pool = run.want.name.pool;
	run.join.volume = run.want.name.volume;
	run.join.name = "leasectl run";
	run.join.hooks = &hooks;
	run.join.deadline_ns = leasectl_deadline(cmd);
	run.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (run.wake_fd < 0) {
		r = cfs_err_errno(&cmd->err, -errno, "eventfd");
		goto done;
	}
	r = take_and_run(&run, argv);
	close(run.wake_fd);
	/* Standard output was COMMAND's. */
	if (r >= 0)
		(void)cfs_cmd_write(cmd, "", 0, &cmd->err);
	r = status_of(cmd, r);
done:
	leasectl_want_donep(&run.want);
	return r;
}

const struct cfs_verb leasectl_run = {
	.name = "run",
	.operands = "POOL:VOLUME[:/path] -- COMMAND...",
	.help = "run a command under a lease",
	.more = "As flock(1) does: the status is COMMAND's, and 4 if the lease "
		"was not granted within --wait or was lost; then COMMAND "
		"gets SIGTERM and after a second SIGKILL.\n"
		"Tools that COMMAND starts work under the lease "
		"($CFS_LEASE); all others are kept out.",
	.examples = "leasectl run pool.img:vm0 -- backup.sh\n"
		    "leasectl run --wait 0 -E 75 pool.img:vm0 -- true\n"
		    "leasectl run --shared --range 0:1M pool.img:vm0 -- sum.sh",
	.opts = CFS_OPTS(LEASECTL_WANT_OPTS,
			 { .name = "conflict-exit-code",
			   .letter = 'E',
			   .type = CFS_OPT_U64,
			   .argument = "STATUS",
			   .max = 255,
			   .help = "the status instead of 4" }),
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH | CFS_COMMON_DRY_RUN,
	.min_operands = 2,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run_verb,
};
