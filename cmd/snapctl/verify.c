/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl verify: is a stream whole, and what is it? */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "common/progress.h"
#include "session/stream.h"

static int read_all(struct cfs_cmd *cmd, struct cfs_stream_reader *reader,
		    struct snapctl_input *in)
{
	struct cfs_progress *progress = cfs_progress_begin(cmd, "verify",
							   "bytes", 0);
	const void *bytes = NULL;
	uint64_t done = 0;
	size_t n = 1;
	int r = 0;

	while (r == 0 && n > 0) {
		r = snapctl_input_next(in, &bytes, &n);
		if (r == 0 && n > 0)
			r = cfs_stream_feed(reader, bytes, n, &cmd->err);
		done += n;
		cfs_progress_update(progress, done, 0);
	}
	cfs_progress_end(progress);
	return r < 0 ? r : cfs_stream_feed_end(reader, &cmd->err);
}

static void put(struct cfs_cmd *cmd, const struct cfs_stream_reader *reader)
{
	const struct cfs_stream_begin *begin = cfs_stream_reader_begin(reader);
	struct cfs_stream_totals totals;

	cfs_stream_reader_totals(reader, &totals);
	cfs_cmd_print(cmd, "%s %s@%s: whole, %llu bytes",
		      begin->kind == CFS_VOLUME_LUN ? "LUN" : "tree",
		      begin->volume, begin->snap,
		      (unsigned long long)totals.bytes);
	if (begin->from_snap[0])
		cfs_cmd_print(cmd, ", begins at @%s", begin->from_snap);
	cfs_cmd_print(cmd, "\n");
	snapctl_put_stream(cmd, begin);
	cfs_out_time_ns(cmd->out, "created_at", begin->created_ns);
	cfs_out_u64(cmd->out, "stream_bytes", totals.bytes);
	cfs_out_u64(cmd->out, "data_bytes", totals.data_bytes);
	cfs_out_u64(cmd->out, "records", totals.records);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_stream_reader_freep)
	struct cfs_stream_reader *reader = NULL;
	CFS_CLEANUP(snapctl_input_donep) struct snapctl_input *in = NULL;
	int r = cfs_stream_reader_new(NULL, NULL, &reader, &cmd->err);

	if (r == 0)
		r = snapctl_input_new(cmd, &in);
	if (r == 0)
		r = read_all(cmd, reader, in);
	if (r < 0)
		return cfs_cmd_wrap(cmd, "standard input", r);
	put(cmd, reader);
	return 0;
}

const struct cfs_verb snapctl_verify = {
	.name = "verify",
	.help = "check a stream on standard input",
	.more = "All checksums are looked at, those of the blocks too. One "
		"that is cut is 1, one that was altered 7, one that is no "
		"stream 8.",
	.examples = "snapctl verify < vm0.stream\n"
		    "zstd -dc a-b.zst | snapctl verify --json | jq .base.name",
	.common = CFS_COMMON_PROGRESS,
	.max_operands = 0,
	.run = run,
};
