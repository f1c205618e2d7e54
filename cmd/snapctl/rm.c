/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl rm: snapshots, one by one or as a range in time.  A single one that
 * is held or has clones is an error; in a range it is skipped and named, so
 * that "everything from here to there" is one command.  All questions come
 * before the first snapshot goes.
 */
#include "snapctl/removal.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct range {
	struct snapctl_list list;
	size_t first, last; /* both in it */
};

static void range_donep(struct range *range)
{
	snapctl_list_donep(&range->list);
}

/* ------------------------------------------------------------- operands */

/* SIZE_MAX: there is none of that name. */
static size_t find(const struct snapctl_list *list, const char *snap)
{
	size_t i;

	for (i = 0; i < list->snaps.count; i++) {
		if (!strcmp(list->snaps.items[i].name, snap))
			return i;
	}
	return SIZE_MAX;
}

static int find_ends(const struct cfs_name *name, struct range *ret,
		     struct cfs_err *err)
{
	const char *missing = NULL;

	ret->first = find(&ret->list, name->range_first);
	ret->last = find(&ret->list, name->range_last);
	if (ret->first == SIZE_MAX)
		missing = name->range_first;
	else if (ret->last == SIZE_MAX)
		missing = name->range_last;
	if (missing)
		return cfs_err_set(err, -ENOENT, "no snapshot @%s", missing);
	if (ret->first > ret->last)
		return cfs_err_set(err, -EINVAL, "@%s is newer than @%s",
				   name->range_first, name->range_last);
	return 0;
}

/*
 * What the operand stands for.  "a..b" may also be the name of one snapshot,
 * and then it is that.  @ret is to be given to range_donep either way.
 */
static int resolve(struct snapctl_one *one, struct range *ret,
		   bool *ret_is_range)
{
	const struct cfs_name *name = one->name;
	struct cfs_err *err = &one->cmd->err;
	struct cfs_snapshot_info info;
	int r;

	r = cfs_session_snapshot_brief(one->s, name->volume, name->snap, &info,
				       err);
	if (r == 0) {
		*ret_is_range = false;
		ret->first = 0;
		ret->last = 0;
		if (cfs_vec_push(&ret->list.snaps, info) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		return 0;
	}
	if (r != -ENOENT || !name->range_first)
		return r;
	*ret_is_range = true;
	r = snapctl_list_fill(one->s, name->volume, false, &ret->list, err);
	return r < 0 ? r : find_ends(name, ret, err);
}

/* -EBUSY for a single one that cannot go. */
static int check_single(const struct range *range, struct cfs_err *err)
{
	const struct cfs_snapshot_info *info = range->list.snaps.items;

	if (info->is_held)
		return cfs_err_set(err, -EBUSY, "is held: release it first");
	if (info->clone_count)
		return cfs_err_set(err, -EBUSY, "has %llu %s first",
				   (unsigned long long)info->clone_count,
				   cfs_plural(info->clone_count,
					      "clone: remove it",
					      "clones: remove them"));
	return 0;
}

/* -------------------------------------------------------------- asking */

static int ask(struct snapctl_one *one)
{
	CFS_CLEANUP(range_donep) struct range range = { .first = 0 };
	const struct cfs_snapshot_info *info;
	bool is_range = false;
	size_t i, count = 0;
	int r = resolve(one, &range, &is_range);

	if (r == 0 && !is_range)
		r = check_single(&range, &one->cmd->err);
	if (r < 0)
		return r;
	for (i = range.first; i <= range.last; i++) {
		info = &range.list.snaps.items[i];
		count += !snapctl_is_stuck(info);
	}
	if (!count)
		return 0;
	/* Whoever is asked may think for long: let go of the pool. */
	cfs_session_closep(&one->s);
	one->s = NULL;
	if (is_range)
		return cfs_cmd_confirm(
			one->cmd, one->operand, "%zu %s of %s", count,
			cfs_plural(count, "snapshot", "snapshots"),
			one->name->volume);
	return cfs_cmd_confirm(one->cmd, one->operand, "the snapshot");
}

/* ------------------------------------------------------------- removing */

static int remove_range(struct snapctl_one *one)
{
	CFS_CLEANUP(range_donep) struct range range = { .first = 0 };
	struct snapctl_removal *removal = one->arg;
	bool is_range = false;
	int r = resolve(one, &range, &is_range);

	if (r == 0 && !is_range)
		r = check_single(&range, &one->cmd->err);
	for (size_t i = range.first; r == 0 && i <= range.last; i++)
		r = snapctl_removal_add(removal, one,
					&range.list.snaps.items[i]);
	if (r == 0)
		r = snapctl_removal_flush(removal, one);
	removal->count = 0;
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	const unsigned int need = CFS_NAME_VOLUME | CFS_NAME_SNAP;
	const unsigned int allow = CFS_NAME_CLONE | CFS_NAME_RANGE;
	CFS_CLEANUP(snapctl_removal_donep)
	struct snapctl_removal removal = SNAPCTL_REMOVAL_INIT;
	CFS_CLEANUP(cfs_freep) bool *is_out = NULL;
	int r = 0;

	is_out = calloc(cmd->operand_count, sizeof(*is_out));
	if (!is_out)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	cfs_out_begin_array(cmd->out, "removed");
	if (!cmd->is_yes && !cmd->is_dry_run)
		r = snapctl_each(cmd, false, need, allow, is_out, ask, NULL);
	if (r == 0)
		(void)snapctl_each(cmd, true, need, allow, is_out, remove_range,
				   &removal);
	cfs_out_end(cmd->out);
	snapctl_removal_end(&removal, cmd);
	return 0; /* what failed was printed */
}

const struct cfs_verb snapctl_rm = {
	.name = "rm",
	.operands = "POOL:VOLUME@SNAP...\nPOOL:VOLUME@FIRST..LAST...",
	.help = "remove snapshots",
	.more = "A snapshot that is held or has clones cannot be removed. A "
		"range goes from an older to a newer one, both included; "
		"those that cannot be removed are skipped and named.",
	.examples = "snapctl rm -y pool.img:vm0@monday\n"
		    "snapctl rm -n pool.img:vm0@monday..friday",
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY,
	.items = "removed",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
