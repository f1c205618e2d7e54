/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl send: a snapshot, or what changed since another one, as a stream. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "common/progress.h"
#include "session/stream.h"

#include <errno.h>
#include <unistd.h>

struct out {
	struct cfs_cmd *cmd;
	struct cfs_progress *progress;
	uint64_t bytes;
};

static int write_bytes(void *arg, const void *bytes, size_t n,
		       struct cfs_err *err)
{
	struct out *out = arg;
	int r;

	if (cfs_cmd_is_stopped(NULL))
		return cfs_err_set(err, -EINTR, "stopped");
	r = cfs_cmd_write(out->cmd, bytes, n, err);
	out->bytes += n;
	cfs_progress_update(out->progress, out->bytes, 0);
	return r;
}

/* The dry run counts. */
static int count_bytes(void *arg, const void *bytes, size_t n,
		       struct cfs_err *err)
{
	struct out *out = arg;

	(void)bytes;
	if (cfs_cmd_is_stopped(NULL))
		return cfs_err_set(err, -EINTR, "stopped");
	out->bytes += n;
	cfs_progress_update(out->progress, out->bytes, 0);
	return 0;
}

static void put(struct cfs_cmd *cmd, const struct cfs_stream_totals *totals)
{
	cfs_cmd_say(cmd, "%s: would be a stream of %llu bytes\n",
		    cmd->operands[0], (unsigned long long)totals->bytes);
	cfs_out_u64(cmd->out, "stream_bytes", totals->bytes);
	cfs_out_u64(cmd->out, "data_bytes", totals->data_bytes);
	cfs_out_bool(cmd->out, "is_dry_run", true);
}

static int send_stream(struct cfs_cmd *cmd, const struct cfs_name *name,
		       struct cfs_session *s)
{
	struct cfs_send_options opt = {
		.volume = name->volume,
		.snap = name->snap,
		.base = cfs_cmd_str(cmd, "increment", NULL),
		.token = cfs_cmd_str(cmd, "resume", NULL),
	};
	struct cfs_stream_totals totals = { 0, 0, 0 };
	struct out out = { .cmd = cmd };
	int r = 0;

	if (opt.base)
		r = cfs_name_parse_snap(opt.base, &opt.base, &cmd->err);
	if (r < 0)
		return r;
	snapctl_widen_pipe(STDOUT_FILENO);
	out.progress = cfs_progress_begin(cmd, "send", "bytes", 0);
	r = cfs_session_send(s, &opt,
			     cmd->is_dry_run ? count_bytes : write_bytes, &out,
			     &totals, &cmd->err);
	cfs_progress_end(out.progress);
	if (r == 0 && cmd->is_dry_run)
		put(cmd, &totals);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			     CFS_NAME_CLONE, &name);

	if (r == 0 && !cmd->is_dry_run && isatty(STDOUT_FILENO))
		return cfs_cmd_usage(cmd,
				     "a stream is not for a terminal: "
				     "put '| snapctl recv ...' or '> FILE' "
				     "behind it");
	if (r == 0)
		r = snapctl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	r = cfs_cmd_wrap(cmd, cmd->operands[0], send_stream(cmd, &name, s));
	return snapctl_close(cmd, name.pool, &s, r);
}

const struct cfs_verb snapctl_send = {
	.name = "send",
	.operands = "POOL:VOLUME@B",
	.help = "write a snapshot as a stream to standard output",
	.more = "With -i the stream holds only what changed since snapshot A, "
		"which the receiver must have: of the same volume or, for a "
		"clone, of what it is a clone of. The cost follows what "
		"changed.\n"
		"Each block travels with the checksum that it was written "
		"with; the stream is verified to its end by who receives it. "
		"With --resume it goes on where snapctl recv --token says "
		"that it was broken off.",
	.examples =
		"snapctl send pool.img:vm0@a | ssh host snapctl recv p:vm0\n"
		"snapctl send -i @a pool.img:vm0@b | zstd > a-b.zst\n"
		"snapctl send --resume TOKEN pool.img:vm0@b | snapctl recv p:vm0",
	.opts = CFS_OPTS({ .name = "increment",
			   .letter = 'i',
			   .type = CFS_OPT_STRING,
			   .argument = "@A",
			   .help = "only what changed since that snapshot" },
			 { .name = "resume",
			   .type = CFS_OPT_STRING,
			   .argument = "TOKEN",
			   .conflicts = "increment",
			   .help = "go on where the receiver's token says" }),
	.common = CFS_COMMON_WORK,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
