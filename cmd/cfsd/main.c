/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * cfsd: holds a pool, or one container of a pool that another one holds, and
 * answers those who want something of it.
 *
 * All work is done by the session and its service; this thread takes the
 * pool, says that it is ready, waits for the signal, and closes it.  That the
 * manager wants its container back is a signal too, from ourselves.
 */
#include "cfsd/export.h"
#include "common/cmd.h"
#include "common/run.h"

#include "base/cleanup.h"
#include "lease/address.h"
#include "session/secondary.h"
#include "session/serve.h"
#include "session/session.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* What still runs at the end may take so long; systemd waits 90 s. */
#define GRACE_MS 60000u

static void on_log(void *arg, enum cfs_log_level level, const char *line)
{
	struct cfs_cmd *cmd = arg;

	if (level == CFS_LOG_WARNING)
		cfs_cmd_warn(cmd, "%s", line);
	else
		cfs_cmd_detail(cmd, "%s", line);
}

/* An option, else the environment. */
static const char *tls_file(const struct cfs_cmd *cmd, const char *option,
			    const char *variable)
{
	const char *value = getenv(variable);

	return cfs_cmd_str(cmd, option, value && *value ? value : NULL);
}

static bool take_tls(const struct cfs_cmd *cmd, struct cfs_tls_config *ret)
{
	ret->cert = tls_file(cmd, "tls-cert", "CFS_TLS_CERT");
	ret->key = tls_file(cmd, "tls-key", "CFS_TLS_KEY");
	ret->ca = tls_file(cmd, "tls-ca", "CFS_TLS_CA");
	return ret->cert || ret->key || ret->ca;
}

static int take_addresses(struct cfs_cmd *cmd, struct cfs_address **ret,
			  size_t *ret_count)
{
	size_t count = cfs_cmd_count(cmd, "listen"), i;
	struct cfs_address *all = calloc(count + 1, sizeof(*all));

	if (!all)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	*ret = all;
	*ret_count = count;
	for (i = 0; i < count; i++) {
		const char *text = cfs_cmd_value(cmd, "listen", i)->text;
		struct cfs_err why;

		if (cfs_address_parse(text, &all[i], &why) < 0)
			return cfs_cmd_usage(cmd, "--listen: %s", why.msg);
	}
	return 0;
}

/* For people, for scripts that read a line, and for the service manager. */
static int say_ready(struct cfs_cmd *cmd, const char *pool,
		     struct cfs_serve *serve, const struct exports *exports)
{
	struct cfs_pool_info info;
	int r = cfs_session_pool_info(cfs_serve_session(serve), &info,
				      &cmd->err);

	if (r < 0)
		return r;
	cfs_out_begin_obj(cmd->out, "manager");
	cfs_out_uuid(cmd->out, "uuid", info.uuid);
	cfs_out_u64(cmd->out, "pid", (uint64_t)getpid());
	cfs_out_u64_str(cmd->out, "epoch", info.epoch);
	cfs_out_str(cmd->out, "address", cfs_serve_address(serve));
	cfs_out_end(cmd->out);
	cfs_cmd_say(cmd, "%s: served at %s\n", pool, cfs_serve_address(serve));
	cfs_out_begin_array(cmd->out, "exports");
	for (size_t i = 0; i < exports->count; i++) {
		const struct export *x = &exports->all[i];

		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "kind", x->kind);
		cfs_out_str(cmd->out, "address", x->shown);
		cfs_out_u64(cmd->out, "pid", (uint64_t)x->pid);
		cfs_out_end(cmd->out);
		cfs_cmd_say(cmd, "%s: %s at %s\n", pool, x->kind, x->shown);
	}
	cfs_out_end(cmd->out);
	r = cfs_cmd_stream(cmd);
	if (r == -EPIPE) {
		/* Nobody wanted to know; those who use the pool still do. */
		cmd->is_pipe_closed = false;
		r = 0;
	}
	if (r == 0)
		cfs_cmd_notify("READY=1");
	return r;
}

static int serve_until_stopped(struct cfs_cmd *cmd, const char *pool,
			       struct cfs_serve *serve,
			       const struct cfs_serve_options *opt)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = cfs_serve_start(serve, opt, &cmd->err), r2;
	struct exports exports;

	if (r < 0)
		return r;
	exports_take(cmd, pool, &exports);
	r = exports_start(cmd, &exports);
	if (r == 0)
		r = say_ready(cmd, pool, serve, &exports);
	if (r == 0)
		exports_watch(cmd, &exports);
	cfs_cmd_notify("STOPPING=1");
	exports_stop(&exports);
	r2 = cfs_serve_stop(serve, GRACE_MS, &err);
	if (r == 0 && r2 < 0) {
		cmd->err = err;
		r = r2;
	}
	return r;
}

static void on_wanted(void *arg, const char *why)
{
	struct cfs_cmd *cmd = arg;

	cfs_cmd_warn(cmd, "%s: %s", cmd->operands[0], why);
	(void)kill(getpid(), SIGTERM);
}

/* The pool, or the container, with the same options. */
static int take(struct cfs_cmd *cmd, const struct cfs_name *name,
		struct cfs_session_options *opt, struct cfs_session **ret)
{
	const struct cfs_secondary_options own = {
		.wanted = on_wanted,
		.arg = cmd,
	};

	if (name->volume)
		return cfs_secondary_open(name->pool, name->volume, opt, &own,
					  ret, &cmd->err);
	opt->must_hold = true;
	/* Standing by has no end but a signal. */
	if (!cmd->has_wait)
		opt->wait_seconds = UINT_MAX;
	return cfs_session_open(name->pool, opt, ret, &cmd->err);
}

/* It, once it is ours, and no longer than we are wanted. */
static int hold(struct cfs_cmd *cmd, const struct cfs_name *name,
		const struct cfs_serve_options *opt)
{
	const struct cfs_logger logger = {
		.write = on_log,
		.context = cmd,
		.max_level = cmd->is_verbose ? CFS_LOG_DEBUG : CFS_LOG_WARNING,
	};
	struct cfs_session_options session_opt = {
		.is_writable = true,
		CFS_CMD_SESSION(cmd),
	};
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_session *s = NULL;
	struct cfs_serve *serve = NULL;
	int r = take(cmd, name, &session_opt, &s), r2;

	if (r < 0)
		return r;
	r = cfs_serve_new(s, &logger, &serve, &cmd->err);
	if (r == 0)
		r = serve_until_stopped(cmd, cmd->operands[0], serve, opt);
	cfs_serve_free(serve);
	r2 = cfs_session_close(s, &err);
	if (r == 0 && r2 < 0) {
		cmd->err = err;
		r = r2;
	}
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_freep) struct cfs_address *listen = NULL;
	char directory[CFS_RUN_DIRECTORY_BYTES];
	struct cfs_serve_options opt = { .run_directory = directory };
	struct cfs_tls_config tls;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0)
		r = take_addresses(cmd, &listen, &opt.listen_count);
	if (r < 0)
		return r;
	opt.listen = listen;
	if (take_tls(cmd, &tls))
		opt.tls = &tls;
	r = cfs_cmd_run_directory(cmd, directory);
	if (r < 0 && opt.listen_count) {
		opt.run_directory = NULL; /* it has another place */
		r = 0;
	}
	if (r == 0)
		r = hold(cmd, &name, &opt);
	/* Asked to stop while it stood by: that too is a clean end. */
	if (r == -EINTR && cfs_cmd_is_stopped(NULL))
		return 0;
	return r == -EINVAL && cmd->is_usage
		       ? r
		       : cfs_cmd_wrap(cmd, cmd->operands[0], r);
}

static const struct cfs_verb serve_verb = {
	.operands = "POOL[:NAME]",
	.help = "hold a pool and answer those who use it",
	.more = "With NAME only that container, of a pool that another cfsd "
		"holds: it is delegated to this one, until this one ends or "
		"it is wanted back.\n"
		"Stays in the foreground. Answers at UUID.sock in $CFS_RUN, "
		"else in /run/cfs (root) or $XDG_RUNTIME_DIR/cfs, and at each "
		"--listen. Where it answers stands in the pool, so tools find "
		"it by themselves. If somebody else holds the pool, it stands "
		"by to take over; with --wait no longer than that.\n"
		"SIGTERM and SIGINT end it: what runs is finished, and the "
		"pool is closed cleanly.\n"
		"TCP is for 127.0.0.1 only, unless the three --tls files are "
		"given ($CFS_TLS_CERT, $CFS_TLS_KEY, $CFS_TLS_CA): then both "
		"sides show a certificate of the CA.\n"
		"With --nbd, --iscsi, --nfs or --smb the pool's LUNs or trees "
		"are exported too, by a server in a process of its own "
		"(cfs-export), at ADDRESS: HOST:PORT, for --nbd also "
		"unix:PATH. Without an address other hosts are not answered. "
		"`cfs-export status` shows who is connected.",
	.examples = "cfsd pool.img\n"
		    "cfsd --nbd --iscsi=10.0.0.5:3260 /dev/sdb\n"
		    "cfsd --wait 30 --listen tcp:127.0.0.1:7010 /dev/sdb\n"
		    "cfsd pool.img:vm0\n"
		    "cfsd --listen tcp:0.0.0.0:7010 --tls-cert a.crt "
		    "--tls-key a.key --tls-ca ca.crt /dev/sdb",
	.opts = CFS_OPTS(
		{ .name = "nbd",
		  .type = CFS_OPT_STRING,
		  .is_optional = true,
		  .argument = "ADDRESS",
		  .help = "export LUNs over NBD" },
		{ .name = "iscsi",
		  .type = CFS_OPT_STRING,
		  .is_optional = true,
		  .argument = "ADDRESS",
		  .help = "export LUNs over iSCSI" },
		{ .name = "nfs",
		  .type = CFS_OPT_STRING,
		  .is_optional = true,
		  .argument = "ADDRESS",
		  .help = "export trees over NFS" },
		{ .name = "smb",
		  .type = CFS_OPT_STRING,
		  .is_optional = true,
		  .argument = "ADDRESS",
		  .help = "export trees over SMB" },
		{ .name = "listen",
		  .type = CFS_OPT_STRING,
		  .argument = "ADDRESS",
		  .max_count = 15,
		  .help = "answer here too: unix:PATH or tcp:HOST:PORT" },
		{ .name = "tls-cert",
		  .type = CFS_OPT_STRING,
		  .argument = "FILE",
		  .help = "our certificate (PEM)" },
		{ .name = "tls-key",
		  .type = CFS_OPT_STRING,
		  .argument = "FILE",
		  .help = "its private key (PEM)" },
		{ .name = "tls-ca",
		  .type = CFS_OPT_STRING,
		  .argument = "FILE",
		  .help = "certificates of who signs the clients' (PEM)" }),
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};

static const struct cfs_verb *const verbs[] = { &serve_verb, NULL };

static const struct cfs_tool tool = {
	.name = "cfsd",
	.help = "hold a pool and answer those who use it",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&tool, argc, argv);
}
