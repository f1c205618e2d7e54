/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl resize: a LUN, or a device that has another size now.  Shrinking a
 * LUN throws its end away and asks; the question is put while nobody is kept
 * from the pool, so that the size is looked at again before anything is done.
 */
#include "slicectl/slicectl.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "ondisk/table.h"

struct wish {
	const char *volume;
	bool is_more; /* +SIZE */
	uint64_t bytes;
	bool may_shrink;
	uint64_t old_bytes; /* what was found */
	uint64_t new_bytes; /* what it comes to */
};

static int parse_size(struct cfs_cmd *cmd, struct wish *wish)
{
	const char *text = cmd->operands[1];
	int r;

	wish->is_more = *text == '+';
	r = cfs_size_parse_multiple(text + wish->is_more, CFS_BLOCK_BYTES,
				    &wish->bytes, &cmd->err);
	if (r < 0) /* also -EOVERFLOW: misuse all the same */
		return cmd->err.code = -EINVAL;
	if (!wish->bytes)
		return cfs_cmd_usage(cmd, "'%s' is no size of a LUN", text);
	return 0;
}

/* What the wish comes to for the volume as it is now. */
static int judge(struct cfs_cmd *cmd, struct cfs_session *s, struct wish *wish)
{
	struct cfs_volume_info info;
	int r = cfs_session_volume(s, wish->volume, &info, &cmd->err);

	if (r < 0)
		return r;
	if (info.kind != CFS_VOLUME_LUN)
		return cfs_err_set(&cmd->err, -EINVAL,
				   "is a tree, which has "
				   "no size: set a limit instead");
	wish->old_bytes = info.size_bytes;
	wish->new_bytes = wish->bytes;
	if (wish->is_more &&
	    __builtin_add_overflow(info.size_bytes, wish->bytes,
				   &wish->new_bytes))
		return cfs_err_set(&cmd->err, -EINVAL,
				   "larger than any LUN "
				   "can be");
	return 0;
}

/* Ask, if the LUN would lose its end. */
static int ask(struct cfs_cmd *cmd, const struct cfs_name *name,
	       struct wish *wish)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	char text[CFS_TABLE_SIZE_BYTES];
	const char *object = cmd->operands[0];
	int r;

	wish->may_shrink = cmd->is_yes || cmd->is_dry_run;
	if (wish->may_shrink || wish->is_more)
		return 0;
	r = slicectl_open(cmd, name->pool, false, &s);
	if (r == 0)
		r = cfs_cmd_wrap(cmd, object, judge(cmd, s, wish));
	if (r < 0 || wish->new_bytes >= wish->old_bytes)
		return r;
	cfs_session_closep(&s);
	s = NULL;
	wish->may_shrink = true;
	return cfs_cmd_confirm(
		cmd, object, "the last %s of the LUN",
		cfs_table_format_size(cmd, wish->old_bytes - wish->new_bytes,
				      text));
}

static int do_resize(struct cfs_cmd *cmd, struct cfs_session *s,
		     struct wish *wish)
{
	int r = judge(cmd, s, wish);

	if (r < 0)
		return r;
	if (wish->new_bytes < wish->old_bytes && !wish->may_shrink)
		return cfs_err_set(&cmd->err, -EBUSY,
				   "was resized by somebody "
				   "else meanwhile: look at it again");
	return cfs_session_resize_volume(s, wish->volume, wish->new_bytes,
					 &cmd->err);
}

static int resize_volume(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct wish wish = { .volume = name->volume };
	char from[CFS_TABLE_SIZE_BYTES], to[CFS_TABLE_SIZE_BYTES];
	int r = parse_size(cmd, &wish);

	if (r == 0)
		r = ask(cmd, name, &wish);
	if (r == 0)
		r = slicectl_open(cmd, name->pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_cmd_wrap(cmd, cmd->operands[0], do_resize(cmd, s, &wish));
	r = slicectl_close(cmd, name->pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %sresized from %s to %s\n", cmd->operands[0],
		    slicectl_would(cmd),
		    cfs_table_format_size(cmd, wish.old_bytes, from),
		    cfs_table_format_size(cmd, wish.new_bytes, to));
	cfs_out_str(cmd->out, "volume", name->volume);
	cfs_out_u64(cmd->out, "old_size_bytes", wish.old_bytes);
	cfs_out_u64(cmd->out, "size_bytes", wish.new_bytes);
	return 0;
}

static int resize_device(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	uint64_t old_slices = 0, new_slices = 0;
	const char *device = cmd->operands[1];
	struct cfs_session_options opt = { .is_writable = true,
					   .allows_short = true,
					   CFS_CMD_SESSION(cmd) };
	int r = cfs_session_open(name->pool, &opt, &s, &cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(cmd, name->pool, r);
	r = cfs_session_resize_device(s, device, &old_slices, &new_slices,
				      &cmd->err);
	r = cfs_cmd_wrap(cmd, device, r);
	r = slicectl_close(cmd, name->pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %sresized from %llu to %llu slices\n", device,
		    slicectl_would(cmd), (unsigned long long)old_slices,
		    (unsigned long long)new_slices);
	cfs_out_str(cmd->out, "device", device);
	cfs_out_u64(cmd->out, "old_total_slices", old_slices);
	cfs_out_u64(cmd->out, "total_slices", new_slices);
	return 0;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);

	if (r < 0)
		return r;
	r = name.volume ? resize_volume(cmd, &name) : resize_device(cmd, &name);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return r;
}

const struct cfs_verb slicectl_resize = {
	.name = "resize",
	.operands = "POOL:VOLUME SIZE|+SIZE\nPOOL DEVICE",
	.help = "grow or shrink a LUN, or use a device's new size",
	.more = "What a shrunk LUN loses is gone, so it asks; snapshots keep "
		"the size they were taken with. A device that has grown "
		"gives its new slices to the pool; it may have shrunk only if "
		"the slices at its end are empty.",
	.examples =
		"slicectl resize pool.img:vm0 +10G\n"
		"slicectl resize -y pool.img:vm0 4G\n"
		"truncate -s 2G pool.img && slicectl resize pool.img pool.img",
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
