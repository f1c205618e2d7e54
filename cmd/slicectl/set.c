/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl set: settings of a pool or a volume.  All are judged before the
 * first is changed; a failure after that says which ones were.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "common/progress.h"

#include <stdlib.h>
#include <string.h>

struct setting {
	char *key; /* the value is in the same memory */
	const char *value;
};

struct settings {
	CFS_VEC(struct setting) list;
};

struct key {
	const char *name;
	bool is_volume; /* else the pool's */
};

static const struct key keys[] = {
	{ "label", false },       { "cache", false },
	{ "mirror", false },      { "lease_period", false },
	{ "clock_drift", false }, { "limit", true },
	{ "checked", false },     { "checked", true },
};

static void settings_donep(struct settings *s)
{
	size_t i;

	for (i = 0; i < s->list.count; i++)
		free(s->list.items[i].key);
	cfs_vec_done(&s->list);
}

static int check_key(struct cfs_cmd *cmd, const struct settings *s,
		     const char *key, bool is_volume)
{
	bool is_known = false;
	size_t i;

	for (i = 0; i < s->list.count; i++) {
		if (!strcmp(s->list.items[i].key, key))
			return cfs_cmd_usage(cmd, "'%s' is given twice", key);
	}
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (keys[i].is_volume == is_volume)
			return 0;
		is_known = true;
	}
	if (is_known)
		return cfs_cmd_usage(cmd, "'%s' is a setting of a %s", key,
				     is_volume ? "pool" : "volume");
	return cfs_cmd_usage(cmd, "'%s' is no setting", key);
}

static int parse(struct cfs_cmd *cmd, bool is_volume, struct settings *ret)
{
	struct setting one;
	unsigned int i;
	char *equals;
	int r;

	for (i = 1; i < cmd->operand_count; i++) {
		one.key = strdup(cmd->operands[i]);
		if (!one.key || cfs_vec_reserve(&ret->list, 1) < 0) {
			free(one.key);
			return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
		}
		equals = strchr(one.key, '=');
		if (equals)
			*equals = '\0';
		one.value = equals ? equals + 1 : "";
		r = equals ? check_key(cmd, ret, one.key, is_volume)
			   : cfs_cmd_usage(cmd, "'%s' is not KEY=VALUE",
					   cmd->operands[i]);
		if (r < 0) {
			free(one.key);
			return r;
		}
		(void)cfs_vec_push(&ret->list, one);
	}
	return 0;
}

/* An error says which settings before the failing one were changed. */
static int say_done(struct cfs_cmd *cmd, const struct settings *s, size_t count,
		    int r)
{
	char done[256] = "";
	size_t i, used = 0;

	for (i = 0; i < count && used < sizeof(done); i++)
		used += (size_t)snprintf(done + used, sizeof(done) - used,
					 "%s%s", i ? ", " : "",
					 s->list.items[i].key);
	if (!count || cmd->is_dry_run)
		return r;
	return cfs_err_set(&cmd->err, r, "%s: changed before that: %s",
			   cmd->err.msg, done);
}

static int apply(struct cfs_cmd *cmd, const struct cfs_name *name,
		 const struct settings *settings)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_progress *progress;
	const struct setting *one;
	size_t i;
	int r = slicectl_open(cmd, name->pool, true, &s);

	if (r < 0)
		return r;
	cfs_out_begin_array(cmd->out, "settings");
	for (i = 0; i < settings->list.count && r == 0; i++) {
		one = &settings->list.items[i];
		progress = cfs_progress_begin(cmd, one->key, "bytes", 0);
		r = cfs_session_set(s, name->volume, one->key, one->value,
				    &cmd->err);
		cfs_progress_end(progress);
		if (r == -EOVERFLOW) /* a number: misuse all the same */
			r = cmd->err.code = -EINVAL;
		if (r < 0) {
			r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
			r = say_done(cmd, settings, i, r);
			break;
		}
		cfs_cmd_say(cmd, "%s: %s %sset to %s\n", cmd->operands[0],
			    one->key, slicectl_would(cmd),
			    one->value[0] ? one->value : "nothing");
		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "key", one->key);
		cfs_out_str(cmd->out, "value", one->value);
		cfs_out_end(cmd->out);
	}
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return slicectl_close(cmd, name->pool, &s, r);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(settings_donep)
	struct settings settings = { .list = CFS_VEC_INIT };
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);

	if (r == 0)
		r = parse(cmd, name.volume, &settings);
	return r < 0 ? r : apply(cmd, &name, &settings);
}

const struct cfs_verb slicectl_set = {
	.name = "set",
	.operands = "POOL[:VOLUME] KEY=VALUE...",
	.help = "change settings of a pool or a volume",
	.more = "Of a pool: label, cache (SIZE), lease_period (a time), "
		"clock_drift (parts per million), checked (yes, no); mirror=yes "
		"puts every slice on two devices, for good. Of a volume: limit "
		"(SIZE, or none), checked.",
	.examples = "slicectl set pool.img label=lab lease_period=30s\n"
		    "slicectl set pool.img mirror=yes\n"
		    "slicectl set pool.img:vm0 limit=20G",
	.common = CFS_COMMON_WORK,
	.items = "settings",
	.min_operands = 2,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
