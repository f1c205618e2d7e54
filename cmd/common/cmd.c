/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state of a command: set up from options and environment (which only
 * tools read, never libcore), filled by the verb, judged at the end.
 */
#include "common/tool_priv.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_NS_DEFAULT (10 * CFS_NS_PER_S)

/* ------------------------------------------------------------- set up */

static bool is_set(const struct cfs_cmd *cmd, const char *name)
{
	return cfs_args_knows(&cmd->args, name) && cfs_cmd_has(cmd, name);
}

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool wants_color(const struct cfs_cmd *cmd)
{
	const char *how = is_set(cmd, "color") ? cfs_cmd_str(cmd, "color", NULL)
					       : "auto";
	const char *term = env("TERM");

	if (env("NO_COLOR") || !strcmp(how, "never"))
		return false;
	if (!strcmp(how, "always"))
		return true;
	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* --search in their order, then the parts of $CFS_SEARCH. */
static int init_search(struct cfs_cmd *cmd, struct cfs_err *err)
{
	const char *more = env("CFS_SEARCH");
	size_t count = is_set(cmd, "search") ? cfs_cmd_count(cmd, "search") : 0;
	size_t most = count + 2, i;
	char *part, *rest;

	for (i = 0; more && more[i]; i++)
		most += more[i] == ':';
	cmd->search = calloc(most, sizeof(*cmd->search));
	cmd->search_text = strdup(more ? more : "");
	if (!cmd->search || !cmd->search_text)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < count; i++)
		cmd->search[i] = cfs_cmd_value(cmd, "search", i)->text;
	rest = cmd->search_text;
	while ((part = strsep(&rest, ":"))) {
		if (*part)
			cmd->search[count++] = part;
	}
	cmd->search_count = count;
	return 0;
}

int cfs_cmd_set_schema(struct cfs_cmd *cmd, const char *mode)
{
	struct cfs_out *out = NULL;
	char schema[128];
	int r;

	(void)snprintf(schema, sizeof(schema), "cfs.%s%s%s", cmd->tool->name,
		       mode ? "." : "", mode ? mode : "");
	r = cfs_out_new(schema, 1, &out, &cmd->err);
	if (r < 0)
		return r;
	cfs_out_free(cmd->out);
	cmd->out = out;
	return 0;
}

static int init_output(struct cfs_cmd *cmd, struct cfs_err *err)
{
	cmd->text = open_memstream(&cmd->text_buf, &cmd->text_bytes);
	if (!cmd->text)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return cfs_cmd_set_schema(cmd, cmd->verb ? cmd->verb->name : NULL);
}

/* $CFS_IO, as enum cfs_io_mode numbers them; anything else: any. */
static unsigned int io_mode(void)
{
	const char *value = env("CFS_IO");

	if (value && strcmp(value, "direct") == 0)
		return 1;
	return value && strcmp(value, "forwarded") == 0 ? 2 : 0;
}

int cfs_cmd_init(struct cfs_cmd *cmd, struct cfs_err *err)
{
	int r;

	cmd->operands = cmd->args.operands;
	cmd->operand_count = cmd->args.operand_count;
	cmd->is_json_lines = is_set(cmd, "json-lines");
	cmd->is_json = cmd->is_json_lines || is_set(cmd, "json");
	cmd->is_quiet = is_set(cmd, "quiet");
	cmd->is_verbose = is_set(cmd, "verbose");
	cmd->is_dry_run = is_set(cmd, "dry-run");
	cmd->is_yes = is_set(cmd, "yes");
	cmd->is_force = is_set(cmd, "force");
	cmd->is_bytes = is_set(cmd, "bytes");
	cmd->has_color = wants_color(cmd);
	cmd->has_wait = is_set(cmd, "wait");
	cmd->wait_ns = cmd->has_wait ? cfs_cmd_u64(cmd, "wait", 0)
				     : WAIT_NS_DEFAULT;
	cmd->wait_seconds = (unsigned int)CFS_MIN(
		cfs_div_up(cmd->wait_ns, CFS_NS_PER_S), (uint64_t)UINT_MAX);
	cmd->env_pool = env("CFS_POOL");
	cmd->env_run = env("CFS_RUN");
	cmd->env_lease = env("CFS_LEASE");
	cmd->io_mode = io_mode();
	cmd->env_tls_cert = env("CFS_TLS_CERT");
	cmd->env_tls_key = env("CFS_TLS_KEY");
	cmd->env_tls_ca = env("CFS_TLS_CA");
	cmd->items = cmd->verb ? cmd->verb->items : NULL;
	cmd->keeps_output = cmd->verb &&
			    (cmd->verb->flags & CFS_VERB_KEEPS_OUTPUT);
	r = init_search(cmd, err);
	return r < 0 ? r : init_output(cmd, err);
}

void cfs_cmd_done(struct cfs_cmd *cmd)
{
	if (cmd->text)
		fclose(cmd->text);
	free(cmd->text_buf);
	free(cmd->search);
	free(cmd->search_text);
	cfs_out_free(cmd->out);
	cfs_args_done(&cmd->args);
}

/* -------------------------------------------------------------- input */

size_t cfs_cmd_count(const struct cfs_cmd *cmd, const char *name)
{
	return cfs_args_count(&cmd->args, name);
}

bool cfs_cmd_has(const struct cfs_cmd *cmd, const char *name)
{
	return cfs_cmd_count(cmd, name) > 0;
}

const struct cfs_opt_value *cfs_cmd_value(const struct cfs_cmd *cmd,
					  const char *name, size_t index)
{
	return cfs_args_get(&cmd->args, name, index);
}

const char *cfs_cmd_str(const struct cfs_cmd *cmd, const char *name,
			const char *fallback)
{
	size_t count = cfs_cmd_count(cmd, name);

	return count ? cfs_cmd_value(cmd, name, count - 1)->text : fallback;
}

uint64_t cfs_cmd_u64(const struct cfs_cmd *cmd, const char *name,
		     uint64_t fallback)
{
	size_t count = cfs_cmd_count(cmd, name);

	return count ? cfs_cmd_value(cmd, name, count - 1)->number : fallback;
}

int cfs_cmd_name(struct cfs_cmd *cmd, unsigned int index, unsigned int need,
		 unsigned int allow, struct cfs_name *ret)
{
	const char *text = cmd->operands[index];
	int r;

	r = cfs_name_parse(text, need, allow, cmd->env_pool, ret, &cmd->err);
	if (r < 0)
		return cfs_err_wrap(&cmd->err, r, "%s", text);
	return 0;
}

int cfs_cmd_size(struct cfs_cmd *cmd, unsigned int index, uint64_t *ret)
{
	int r = cfs_size_parse(cmd->operands[index], ret, &cmd->err);

	if (r < 0) /* also -EOVERFLOW: it is misuse all the same */
		return cmd->err.code = -EINVAL;
	return 0;
}

int cfs_cmd_usage(struct cfs_cmd *cmd, const char *fmt, ...)
{
	char text[CFS_ERR_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cmd->is_usage = true;
	return cfs_err_set(&cmd->err, -EINVAL, "%s", text);
}

/* --------------------------------------------------------------- ends */

/* " VERB" or nothing. */
static const char *verb_name(const struct cfs_cmd *cmd)
{
	return cmd->verb && cmd->verb->name ? cmd->verb->name : "";
}

/* slicectl: show: unknown option '--foo': Try 'slicectl show --help'. */
static void print_usage(const struct cfs_cmd *cmd, const char *msg)
{
	const char *verb = verb_name(cmd);

	cfs_stderr_line("%s: %s%s%s: Try '%s%s%s --help'.", cmd->tool->name,
			verb, *verb ? ": " : "", msg, cmd->tool->name,
			*verb ? " " : "", verb);
}

/* Whether @msg begins with "@object:", so that it is not named twice. */
static bool names_object(const char *msg, const char *object)
{
	size_t n = strlen(object);

	return !strncmp(msg, object, n) && msg[n] == ':';
}

static void print_error(const struct cfs_cmd *cmd, const char *object,
			const char *msg)
{
	char *shown;

	if (!object || !*object || names_object(msg, object)) {
		cfs_stderr_line("%s: %s", cmd->tool->name, msg);
		return;
	}
	shown = cfs_text_escape_dup(object, strlen(object));
	cfs_stderr_line("%s: %s: %s", cmd->tool->name, shown ? shown : "?",
			msg);
	free(shown);
}

int cfs_cmd_fail(struct cfs_cmd *cmd, const char *object,
		 const struct cfs_err *err)
{
	bool is_fsck = cmd->tool->is_fsck;
	int code = err->code ? err->code : -EPROTO;
	int status;

	cmd->has_failed = true;
	cmd->last_code = code;
	if (code == -EPIPE && cmd->is_pipe_closed)
		return code; /* the reader went away: not an error */
	if (cmd->is_usage) {
		print_usage(cmd, err->msg);
		cmd->is_usage = false;
	} else {
		print_error(cmd, object,
			    err->msg[0] ? err->msg : strerror(-code));
	}
	status = cfs_status_of(code, is_fsck);
	cmd->status = cfs_status_join(cmd->status, status, is_fsck);
	return code;
}

int cfs_cmd_wrap(struct cfs_cmd *cmd, const char *object, int r)
{
	const char *msg = cmd->err.msg;
	const char *tail;
	char rest[CFS_ERR_BYTES];
	size_t n;

	if (r >= 0 || cmd->is_usage || names_object(msg, object))
		return r;
	for (tail = object; tail; tail = strchr(tail, ':')) {
		tail += *tail == ':';
		n = strlen(tail);
		if (n && names_object(msg, tail) && msg[n + 1] == ' ') {
			(void)snprintf(rest, sizeof(rest), "%s", msg + n + 2);
			return cfs_err_set(&cmd->err, r, "%s: %s", object,
					   rest);
		}
	}
	return cfs_err_wrap(&cmd->err, r, "%s", object);
}

int cfs_cmd_taken(struct cfs_cmd *cmd, const char *name, int r)
{
	if (r == -EEXIST)
		(void)cfs_err_set(&cmd->err, r,
				  "%s exists already: choose "
				  "another name",
				  name);
	return r;
}

void cfs_cmd_raise(struct cfs_cmd *cmd, int status)
{
	cmd->status = cfs_status_join(cmd->status, status, cmd->tool->is_fsck);
}
