/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl recv: a snapshot from a stream on standard input.  Until all of it
 * has come and is right nobody sees anything of it; what has come of one that
 * was cut is kept.
 */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "common/progress.h"
#include "session/stream.h"

#include <errno.h>
#include <string.h>

struct incoming {
	struct cfs_cmd *cmd;
	const struct cfs_name *name;
	struct cfs_session *s;
	struct snapctl_input *in;
	struct cfs_stream_reader *reader;
	struct cfs_io_volume *v;
	struct cfs_progress *progress;
	uint64_t offset_bytes;
};

/* ---------------------------------------------------------------- token */

static int token(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	char text[CFS_STREAM_TOKEN_BYTES];
	int r = snapctl_open(cmd, name->pool, false, &s);

	if (r < 0)
		return r;
	r = cfs_session_recv_token(s, name->volume, text, &cmd->err);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = snapctl_close(cmd, name->pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_print(cmd, "%s\n", text);
	cfs_out_str(cmd->out, "token", text);
	return 0;
}

/* --------------------------------------------------------------- stream */

/*
 * All that is written is looked at here first: what is altered does not get
 * to whoever holds the pool.  A dry run does nothing else, behind the
 * beginning.
 */
static int put_piece(struct incoming *in, const void *bytes, size_t n)
{
	struct cfs_cmd *cmd = in->cmd;
	int r = 0;

	/* Its own reader says where a stream is not as it should be. */
	if (cmd->is_dry_run || !in->v)
		r = cfs_stream_feed(in->reader, bytes, n, &cmd->err);
	if (r == 0 && !in->v && cfs_stream_reader_begin(in->reader))
		r = cfs_session_recv(in->s, in->name->volume, cmd->is_force,
				     bytes, n, &in->v, &cmd->err);
	if (r == 0 && in->v && !cmd->is_dry_run)
		r = cfs_io_write(in->v, in->offset_bytes, bytes, n, &cmd->err);
	in->offset_bytes += n;
	cfs_progress_update(in->progress, in->offset_bytes, 0);
	return r;
}

static int receive(struct incoming *in)
{
	const void *bytes = NULL;
	size_t n = 1;
	int r = 0;

	while (r == 0 && n > 0) {
		r = snapctl_input_next(in->in, &bytes, &n);
		if (r == 0 && n > 0)
			r = put_piece(in, bytes, n);
	}
	if (r == 0 && (in->cmd->is_dry_run || !in->v))
		r = cfs_stream_feed_end(in->reader, &in->cmd->err);
	else if (r == 0)
		r = cfs_io_sync(in->v, &in->cmd->err);
	return r;
}

/* What is kept of one that did not come to its end. */
static int say_kept(struct incoming *in, int r)
{
	char text[CFS_STREAM_TOKEN_BYTES];

	if (r == 0 || in->cmd->is_dry_run || !in->v)
		return r;
	cfs_io_close(in->v);
	in->v = NULL;
	if (cfs_session_recv_token(in->s, in->name->volume, text, NULL) == 0)
		cfs_cmd_warn(
			in->cmd,
			r == -ENOSPC
				? "%s: what has come is kept: make room and send "
				  "it again, or give it up (slicectl rm, or "
				  "snapctl rollback)"
				: "%s: what has come is kept: send it again, or "
				  "from snapctl recv --token on",
			in->cmd->operands[0]);
	return r;
}

static void put(struct incoming *in)
{
	const struct cfs_stream_begin *begin = cfs_stream_reader_begin(
		in->reader);
	struct cfs_cmd *cmd = in->cmd;

	cfs_cmd_say(cmd, "%s@%s: %sreceived, %llu bytes\n", cmd->operands[0],
		    begin->snap, snapctl_would(cmd),
		    (unsigned long long)in->offset_bytes);
	cfs_out_str(cmd->out, "received", in->name->volume);
	snapctl_put_stream(cmd, begin);
	cfs_out_u64(cmd->out, "stream_bytes", in->offset_bytes);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static void incoming_done(struct incoming *in)
{
	cfs_progress_end(in->progress);
	cfs_io_close(in->v);
	snapctl_input_donep(&in->in);
	cfs_stream_reader_free(in->reader);
	cfs_session_closep(&in->s);
}

static int stream(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(incoming_done)
	struct incoming in = {
		.cmd = cmd,
		.name = name,
	};
	int r = cfs_stream_reader_new(NULL, NULL, &in.reader, &cmd->err);

	if (r == 0)
		r = snapctl_open(cmd, name->pool, true, &in.s);
	if (r == 0)
		r = snapctl_input_new(cmd, &in.in);
	if (r < 0)
		return r;
	in.progress = cfs_progress_begin(cmd, "recv", "bytes", 0);
	r = say_kept(&in, receive(&in));
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	cfs_io_close(in.v);
	in.v = NULL;
	r = snapctl_close(cmd, name->pool, &in.s, r);
	if (r == 0)
		put(&in);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME, CFS_NAME_CLONE, &name);

	if (r < 0)
		return r;
	return cfs_cmd_has(cmd, "token") ? token(cmd, &name)
					 : stream(cmd, &name);
}

const struct cfs_verb snapctl_recv = {
	.name = "recv",
	.operands = "POOL:VOLUME",
	.help = "make a snapshot from a stream on standard input",
	.more = "A whole stream makes the container; one that begins at a "
		"snapshot needs a volume that has it, and nothing newer. With "
		"-f the volume goes back to that snapshot first. An increment "
		"of a clone makes the clone.\n"
		"The snapshot is there when all has come and is verified, and "
		"the volume then is that snapshot; until then nothing of it "
		"is seen. Of a stream that is cut, what has come is kept: the "
		"same stream from its beginning goes on there, or from "
		"snapctl send --resume with what --token prints.",
	.examples = "snapctl send pool.img:vm0@a | snapctl recv other.img:vm0\n"
		    "zstd -dc a-b.zst | snapctl recv other.img:vm0\n"
		    "snapctl recv --token other.img:vm0",
	.opts = CFS_OPTS(
		{ .name = "token",
		  .type = CFS_OPT_FLAG,
		  .help = "print where the last stream was broken off" }),
	.common = CFS_COMMON_WORK | CFS_COMMON_FORCE,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
