/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl prune: remove snapshots by age, for a timer.  Each rule says what
 * stays; what no rule keeps goes.  Only snapshots of the prefix are looked
 * at: they are what rules count, and nothing else is ever removed.  Held ones
 * and those with clones are counted as the others are, and stay.
 *
 * What stays is worked out twice, before the question and after it, as the
 * pool is let go of in between; a snapshot that was taken meanwhile counts.
 */
#include "snapctl/removal.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The newest snapshot of each of the last N periods; no period: of all. */
static const struct rule {
	const char *option;
	const char *period; /* strftime: equal within one */
} rules[] = {
	{ "keep-last", NULL },        { "keep-hourly", "%Y-%m-%d %H %z" },
	{ "keep-daily", "%Y-%m-%d" }, { "keep-weekly", "%G-%V" },
	{ "keep-monthly", "%Y-%m" },  { "keep-yearly", "%Y" },
};

struct kept {
	char volume[260];
	char name[128];
	const char *rule;
};

struct prune {
	struct snapctl_removal removal;
	CFS_VEC(struct kept) kept;
};

static void prune_donep(struct prune *p)
{
	snapctl_removal_donep(&p->removal);
	cfs_vec_done(&p->kept);
}

/* What is removed of one volume. */
struct choice {
	struct snapctl_list list;
	const char **keeps; /* of each snapshot: the rule; NULL: it goes */
};

static void choice_donep(struct choice *ch)
{
	snapctl_list_donep(&ch->list);
	free(ch->keeps);
}

/* ---- rules --------------------------------------------------------------- */

/* Empty: a time that no calendar has. */
static void period_of(uint64_t created_ns, const char *format, char ret[64])
{
	const time_t seconds = (time_t)(created_ns / 1000000000u);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(ret, 64, format, &tm))
		ret[0] = '\0';
}

/* From the newest on, the first of each period, until @count have been. */
static void keep_periods(const struct rule *rule, uint64_t count,
			 struct choice *ch)
{
	char last[64] = "", period[64];

	for (size_t i = ch->list.snaps.count; i-- > 0 && count > 0;) {
		if (rule->period) {
			period_of(ch->list.snaps.items[i].created_ns,
				  rule->period, period);
			if (!strcmp(period, last))
				continue;
			strcpy(last, period);
		}
		count--;
		if (!ch->keeps[i])
			ch->keeps[i] = rule->option;
	}
}

static void keep_within(uint64_t age_ns, struct choice *ch)
{
	struct timespec now;
	uint64_t now_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	for (size_t i = 0; i < ch->list.snaps.count; i++) {
		uint64_t created_ns = ch->list.snaps.items[i].created_ns;

		/* One of the future, by our clock, is young. */
		if (!ch->keeps[i] &&
		    (created_ns > now_ns || now_ns - created_ns <= age_ns))
			ch->keeps[i] = "keep-within";
	}
}

static void drop_others(const char *prefix, struct snapctl_list *list)
{
	const size_t bytes = strlen(prefix);
	size_t count = 0;

	for (size_t i = 0; i < list->snaps.count; i++)
		if (!strncmp(list->snaps.items[i].name, prefix, bytes))
			list->snaps.items[count++] = list->snaps.items[i];
	list->snaps.count = count;
}

static int choose(struct snapctl_one *one, struct choice *ch)
{
	struct cfs_cmd *cmd = one->cmd;
	int r = snapctl_list_fill(one->s, one->name->volume, false, &ch->list,
				  &cmd->err);

	if (r < 0)
		return r;
	drop_others(cfs_cmd_str(cmd, "prefix", ""), &ch->list);
	ch->keeps = calloc(ch->list.snaps.count + 1, sizeof(*ch->keeps));
	if (!ch->keeps)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < CFS_ARRAY_COUNT(rules); i++)
		keep_periods(&rules[i], cfs_cmd_u64(cmd, rules[i].option, 0),
			     ch);
	if (cfs_cmd_has(cmd, "keep-within"))
		keep_within(cfs_cmd_u64(cmd, "keep-within", 0), ch);
	return 0;
}

/* ---- asking and removing ------------------------------------------------- */

static int ask(struct snapctl_one *one)
{
	CFS_CLEANUP(choice_donep) struct choice ch = { .keeps = NULL };
	size_t count = 0;
	int r = choose(one, &ch);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ch.list.snaps.count; i++)
		count += !ch.keeps[i] &&
			 !snapctl_is_stuck(&ch.list.snaps.items[i]);
	if (!count)
		return 0;
	/* Whoever is asked may think for long: let go of the pool. */
	cfs_session_closep(&one->s);
	one->s = NULL;
	return cfs_cmd_confirm(
		one->cmd, one->operand, "%zu of %zu %s", count,
		ch.list.snaps.count,
		cfs_plural(ch.list.snaps.count, "snapshot", "snapshots"));
}

static int note_kept(struct prune *p, struct snapctl_one *one,
		     const struct cfs_snapshot_info *info, const char *rule)
{
	struct kept kept = { .rule = rule };

	memcpy(kept.volume, info->volume, sizeof(kept.volume));
	memcpy(kept.name, info->name, sizeof(kept.name));
	cfs_cmd_detail(one->cmd, "%s:%s@%s: kept: --%s", one->name->pool,
		       info->volume, info->name, rule);
	if (cfs_vec_push(&p->kept, kept) < 0)
		return cfs_err_set(&one->cmd->err, -ENOMEM, "out of memory");
	return 0;
}

static int prune(struct snapctl_one *one)
{
	CFS_CLEANUP(choice_donep) struct choice ch = { .keeps = NULL };
	struct prune *p = one->arg;
	int r = choose(one, &ch);

	for (size_t i = 0; r == 0 && i < ch.list.snaps.count; i++) {
		const struct cfs_snapshot_info *info = &ch.list.snaps.items[i];

		if (ch.keeps[i])
			r = note_kept(p, one, info, ch.keeps[i]);
		else
			r = snapctl_removal_add(&p->removal, one, info);
	}
	if (r == 0)
		r = snapctl_removal_flush(&p->removal, one);
	p->removal.count = 0;
	return r;
}

static void put_kept(struct cfs_cmd *cmd, const struct prune *p)
{
	cfs_out_begin_array(cmd->out, "kept");
	for (size_t i = 0; i < p->kept.count; i++) {
		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "volume", p->kept.items[i].volume);
		cfs_out_str(cmd->out, "name", p->kept.items[i].name);
		cfs_out_str(cmd->out, "rule", p->kept.items[i].rule);
		cfs_out_end(cmd->out);
	}
	cfs_out_end(cmd->out);
}

static int run(struct cfs_cmd *cmd)
{
	const unsigned int need = CFS_NAME_VOLUME;
	const unsigned int allow = CFS_NAME_ANY_VOLUME;
	CFS_CLEANUP(prune_donep)
	struct prune p = {
		.removal = SNAPCTL_REMOVAL_INIT,
	};
	CFS_CLEANUP(cfs_freep) bool *is_out = NULL;
	int r = 0;

	tzset(); /* localtime_r need not */
	is_out = calloc(cmd->operand_count, sizeof(*is_out));
	if (!is_out)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	cfs_out_begin_array(cmd->out, "removed");
	if (!cmd->is_yes && !cmd->is_dry_run)
		r = snapctl_each(cmd, false, need, allow, is_out, ask, NULL);
	if (r == 0)
		(void)snapctl_each(cmd, true, need, allow, is_out, prune, &p);
	cfs_out_end(cmd->out);
	put_kept(cmd, &p);
	snapctl_removal_end(&p.removal, cmd);
	return 0; /* what failed was printed */
}

#define KEEP(periods)                                                          \
	.type = CFS_OPT_U64, .argument = "N", .min = 1,                        \
	.help = "keep the newest of each of the last N " periods

const struct cfs_verb snapctl_prune = {
	.name = "prune",
	.operands = "POOL:VOLUME...",
	.help = "remove snapshots by age",
	.more = "At least one rule says what stays; what none keeps is "
		"removed. Periods are of local time, and those without a "
		"snapshot are not counted. Snapshots that are held or have "
		"clones stay, and are named.",
	.examples =
		"snapctl prune -n --keep-daily 7 --keep-weekly 5 pool.img:vm0\n"
		"snapctl prune -y --prefix auto- --keep-within 2d pool.img:vm0",
	.opts = CFS_OPTS({ .name = "prefix",
			   .type = CFS_OPT_STRING,
			   .argument = "P",
			   .help = "only snapshots whose names begin with P" },
			 { .name = "keep-last",
			   .type = CFS_OPT_U64,
			   .argument = "N",
			   .min = 1,
			   .help = "keep the newest N" },
			 { .name = "keep-hourly", KEEP("hours") },
			 { .name = "keep-daily", KEEP("days") },
			 { .name = "keep-weekly", KEEP("weeks") },
			 { .name = "keep-monthly", KEEP("months") },
			 { .name = "keep-yearly", KEEP("years") },
			 { .name = "keep-within",
			   .type = CFS_OPT_DURATION,
			   .argument = "AGE",
			   .help = "keep those younger than AGE" }),
	.one_of = "keep-last keep-hourly keep-daily keep-weekly keep-monthly "
		  "keep-yearly keep-within",
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY,
	.items = "removed",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
