/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl evacuate, remove, replace: devices that leave a pool.  What a
 * command that was stopped has moved stays moved, and the same command goes
 * on; the result says how much was moved by this one.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "common/progress.h"
#include "session/judge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put_result(struct cfs_cmd *cmd, const struct cfs_move_result *m)
{
	cfs_out_u64(cmd->out, "need_slices", m->need_slices);
	cfs_out_u64(cmd->out, "need_bytes", m->need_bytes);
	cfs_out_u64(cmd->out, "moved_slices", m->moved_slices);
	cfs_out_u64(cmd->out, "moved_bytes", m->moved_bytes);
	cfs_out_u64(cmd->out, "damaged_blocks", m->damaged_blocks);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

#define BACKGROUND                                                             \
	{                                                                      \
		.name = "background",                                          \
		.help = "return at once, and go on in the background"          \
	}

static void say_begun(struct cfs_cmd *cmd, const char *device,
		      const struct cfs_move_result *m, const char *what)
{
	char text[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_say(cmd, "%s: is being %s: %llu %s (%s) to move\n", device,
		    what, (unsigned long long)m->need_slices,
		    cfs_plural(m->need_slices, "slice", "slices"),
		    cfs_table_format_size(cmd, m->need_bytes, text));
}

static bool in_background(const struct cfs_cmd *cmd)
{
	return cfs_cmd_has(cmd, "background") && !cmd->is_dry_run;
}

static void say_moved(struct cfs_cmd *cmd, const char *device,
		      const struct cfs_move_result *m, const char *what)
{
	char text[CFS_TABLE_SIZE_BYTES];
	const uint64_t slices = cmd->is_dry_run ? m->need_slices
						: m->moved_slices;
	const uint64_t bytes = cmd->is_dry_run ? m->need_bytes : m->moved_bytes;

	cfs_cmd_say(cmd, "%s: %s%s: %llu %s (%s) %smoved\n", device,
		    slicectl_would(cmd), what, (unsigned long long)slices,
		    cfs_plural(slices, "slice", "slices"),
		    cfs_table_format_size(cmd, bytes, text),
		    slicectl_would(cmd));
}

/* Damage that was moved along: the work is done, the status says so. */
static int judge_damage(struct cfs_cmd *cmd, const char *device,
			const struct cfs_move_result *m)
{
	if (!m->damaged_blocks)
		return 0;
	cfs_cmd_warn(cmd,
		     "%s: %llu damaged %s moved as %s: cfsck-heal trace "
		     "--bad says of what, after a scrub",
		     device, (unsigned long long)m->damaged_blocks,
		     cfs_plural(m->damaged_blocks, "block was", "blocks were"),
		     cfs_plural(m->damaged_blocks, "it is", "they are"));
	cfs_cmd_raise(cmd, CFS_STATUS_DAMAGED);
	return 0;
}

/* ---- evacuate ------------------------------------------------------------ */

static int begin_evacuate(struct slicectl_move *mv, struct cfs_session *s,
			  struct cfs_move_result *ret)
{
	return cfs_cmd_wrap(
		mv->cmd, mv->device,
		cfs_session_evacuate(s, mv->device, ret, &mv->cmd->err));
}

static int evacuate_behind(struct cfs_cmd *cmd, const char *pool,
			   const char *device)
{
	struct slicectl_move mv = {
		.cmd = cmd,
		.pool = pool,
		.device = device,
		.begin = begin_evacuate,
	};
	struct cfs_move_result moved = { 0 };
	int r = slicectl_move_background(cmd, &mv, &moved);

	if (r < 0)
		return r;
	say_begun(cmd, device, &moved, "evacuated");
	cfs_out_str(cmd->out, "device", device);
	put_result(cmd, &moved);
	return 0;
}

static int run_evacuate(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *device = cmd->operands[1];
	struct cfs_move_result moved = { 0 };
	struct cfs_progress *progress;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0 && in_background(cmd))
		return evacuate_behind(cmd, name.pool, device);
	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "evacuate", "bytes", 0);
	r = cfs_session_evacuate(s, device, &moved, &cmd->err);
	cfs_progress_end(progress);
	r = cfs_cmd_wrap(cmd, device, r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	say_moved(cmd, device, &moved, "evacuated");
	cfs_out_str(cmd->out, "device", device);
	put_result(cmd, &moved);
	return judge_damage(cmd, device, &moved);
}

const struct cfs_verb slicectl_evacuate = {
	.name = "evacuate",
	.operands = "POOL DEVICE",
	.help = "move a device's slices to the others",
	.more = "Nothing new is put on the device from then on, and df shows "
		"what is left there. It is refused at once if the others have "
		"too little room. The pool is used as before meanwhile. "
		"Stopped or killed, it goes on when it is called again, or "
		"when cfsd or a mount serves the pool. Then remove takes the "
		"device out, or resize takes it into use again.",
	.examples =
		"slicectl evacuate pool.img /dev/sdb\n"
		"slicectl evacuate -n --json pool.img /dev/sdb | jq .need_bytes"
		"\nslicectl evacuate --background pool.img /dev/sdb",
	.opts = CFS_OPTS(BACKGROUND),
	.common = CFS_COMMON_WORK,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_evacuate,
};

/* ---- remove -------------------------------------------------------------- */

static int run_remove(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *device = cmd->operands[1];
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_session_remove_device(s, device, cmd->is_force, &cmd->err);
	if (r == -EPERM)
		r = cmd->err.code = CFS_REFUSED;
	r = cfs_cmd_wrap(cmd, device, r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %sremoved from the pool\n", device,
		    slicectl_would(cmd));
	cfs_out_str(cmd->out, "device", device);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

const struct cfs_verb slicectl_remove = {
	.name = "remove",
	.operands = "POOL DEVICE",
	.help = "take an empty device out of a pool",
	.more = "A device with slices in use is left alone: evacuate it "
		"first. One with frozen slices is refused without --force. "
		"Its label is wiped. A pool keeps one device, a mirror two.",
	.examples = "slicectl evacuate pool.img /dev/sdb && "
		    "slicectl remove pool.img /dev/sdb",
	.common = CFS_COMMON_WRITE | CFS_COMMON_FORCE,
	.min_operands = 2,
	.max_operands = 2,
	.run = run_remove,
};

/* ---- replace ------------------------------------------------------------- */

/* What stands on the new device goes; one of the pool's own has gone on before,
 * or was away. */
static int ask(struct cfs_cmd *cmd, const char *path)
{
	char lost[CFS_JUDGE_TEXT_BYTES];
	struct cfs_probe probe;
	int r = cfs_probe_device(path, &probe, &cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(cmd, path, r);
	r = cfs_device_judge(path, &probe, cmd->is_force, false, lost,
			     &cmd->err);
	if (r == -EEXIST)
		return cmd->err.code = CFS_REFUSED;
	if (r < 0)
		return r;
	return cfs_cmd_confirm(cmd, path, "%s",
			       lost[0] ? lost : "what is on the new device");
}

struct find {
	const char *path;
	bool is_found;
};

static int is_it(void *arg, const struct cfs_device_info *d)
{
	struct find *f = arg;
	char *a = realpath(d->path, NULL), *b = realpath(f->path, NULL);

	f->is_found |= a && b && strcmp(a, b) == 0 &&
		       strcmp(d->state, "missing") != 0;
	free(a);
	free(b);
	return 0;
}

/* As slicectl_open, but without the device @without, if that is not NULL. */
static int open_without(struct cfs_cmd *cmd, const char *pool, bool is_writable,
			const char *without, struct cfs_session **ret)
{
	struct cfs_session_options opt = { .is_writable = is_writable,
					   .without = without,
					   CFS_CMD_SESSION(cmd) };

	return cfs_cmd_wrap(cmd, pool,
			    cfs_session_open(pool, &opt, ret, &cmd->err));
}

/*
 * Was the new device taken into the pool by a command that was stopped?  Of
 * halves that were each used without the other @old is given up, if that is
 * forced: then *@ret_without is @old.
 */
static int look(struct cfs_cmd *cmd, const char *pool, const char *old,
		const char *path, const char **ret_without, bool *ret)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct find f = { .path = path };
	struct cfs_err why;
	int r = open_without(cmd, pool, false, NULL, &s);

	if (r == -EUCLEAN && cmd->is_force) {
		why = cmd->err;
		r = open_without(cmd, pool, false, old, &s);
		*ret_without = r == 0 ? old : NULL;
		if (r < 0) {
			r = why.code;
			cmd->err = why;
		}
	}
	if (r == 0)
		r = cfs_cmd_wrap(cmd, pool,
				 cfs_session_devices(s, is_it, &f, &cmd->err));
	*ret = f.is_found;
	return r;
}

static int begin_replace(struct slicectl_move *mv, struct cfs_session *s,
			 struct cfs_move_result *ret)
{
	return cfs_cmd_wrap(mv->cmd, mv->device,
			    cfs_session_replace_device(s, mv->device, mv->path,
						       mv->cmd->is_force, ret,
						       &mv->cmd->err));
}

static int replace_behind(struct cfs_cmd *cmd, const char *pool,
			  const char *old, const char *path,
			  const char *without)
{
	struct slicectl_move mv = {
		.cmd = cmd,
		.pool = pool,
		.device = old,
		.path = path,
		.without = without,
		.begin = begin_replace,
	};
	struct cfs_move_result moved = { 0 };
	int r = slicectl_move_background(cmd, &mv, &moved);

	if (r < 0)
		return r;
	say_begun(cmd, old, &moved, "replaced");
	cfs_out_str(cmd->out, "device", path);
	cfs_out_str(cmd->out, "replaced", old);
	put_result(cmd, &moved);
	return 0;
}

static int run_replace(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *old = cmd->operands[1], *path = cmd->operands[2];
	struct cfs_move_result moved = { 0 };
	struct cfs_progress *progress;
	const char *without = NULL;
	bool is_ours = false;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = look(cmd, name.pool, old, path, &without, &is_ours);
	if (r == 0 && !is_ours)
		r = ask(cmd, path);
	if (r == 0 && in_background(cmd))
		return replace_behind(cmd, name.pool, old, path, without);
	if (r == 0)
		r = open_without(cmd, name.pool, true, without, &s);
	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "replace", "bytes", 0);
	r = cfs_session_replace_device(s, old, path, cmd->is_force, &moved,
				       &cmd->err);
	cfs_progress_end(progress);
	r = cfs_cmd_wrap(cmd, old, r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	say_moved(cmd, old, &moved, "replaced");
	cfs_out_str(cmd->out, "device", path);
	cfs_out_str(cmd->out, "replaced", old);
	put_result(cmd, &moved);
	return judge_damage(cmd, path, &moved);
}

const struct cfs_verb slicectl_replace = {
	.name = "replace",
	.operands = "POOL OLD NEW",
	.help = "put a new device in the place of one that is lost or to go",
	.more = "OLD is a path, or a UUID as df shows it for a device that is "
		"gone, which a mirror may be; then every slice is on two "
		"devices again. What is on NEW is lost, so it asks. A device "
		"that was away and has missed writes is put back by naming it "
		"as OLD and NEW, with --force. The pool is used as before "
		"meanwhile. Stopped or killed, it goes on when it is called "
		"again.",
	.examples = "slicectl replace a.img b.img c.img\n"
		    "slicectl replace -y a.img "
		    "0b6ee1a0-5c5c-4b3e-9a55-8d4e1c2f3a4b /dev/sdc\n"
		    "slicectl replace -y -f a.img b.img b.img",
	.opts = CFS_OPTS(BACKGROUND),
	.common = CFS_COMMON_WORK | CFS_COMMON_DESTROY | CFS_COMMON_FORCE,
	.min_operands = 3,
	.max_operands = 3,
	.run = run_replace,
};
