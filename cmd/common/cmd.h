/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One command while it runs: what was asked, what it answers, how it ends.
 *
 * Rules that every tool keeps by using this and not stdio:
 *  - Standard output is collected and written at the end, and only if nothing
 *    failed; so a failed command leaves it empty.
 *  - Text and JSON are filled side by side; which of them is written is
 *    decided once, by --json.
 *  - An error is one line, TOOL: OBJECT: what is wrong: what to do.
 *  - Of several objects each is tried; the highest exit status counts.
 *
 * A cfs_cmd belongs to the thread that runs the verb, but cfs_cmd_is_stopped
 * and the progress callback may be called from any.
 */
#pragma once

#include "base/out.h"
#include "common/names.h"
#include "common/status.h"
#include "common/verb.h"

#include <stdio.h>

struct cfs_cmd {
	const struct cfs_tool *tool;
	const struct cfs_verb *verb;
	struct cfs_args args;
	char **operands; /* as args.operands */
	unsigned int operand_count;
	void *context; /* of a shell; else NULL */

	/* The common options. */
	bool is_json; /* also with --json-lines */
	bool is_json_lines;
	bool is_quiet;
	bool is_verbose;
	bool is_dry_run;
	bool is_yes;
	bool is_force;
	bool is_bytes;             /* plain numbers, no IEC units */
	bool has_color;            /* on standard output */
	bool has_wait;             /* --wait was given */
	uint64_t wait_ns;          /* 10 s if not */
	unsigned int wait_seconds; /* the same, rounded up */
	/* --search, then $CFS_SEARCH; ends with NULL */
	const char **search;
	size_t search_count;
	const char *env_pool;  /* $CFS_POOL or NULL */
	const char *env_run;   /* $CFS_RUN or NULL */
	const char *env_lease; /* $CFS_LEASE or NULL */
	unsigned int io_mode;  /* $CFS_IO: enum cfs_io_mode */
	/* $CFS_TLS_CERT, _KEY, _CA or NULL */
	const char *env_tls_cert, *env_tls_key, *env_tls_ca;

	/* For results and for what run() returns. */
	struct cfs_err err;
	struct cfs_out *out; /* the JSON document, an open object */
	FILE *text;          /* in memory */

	/* Of the files of this folder. */
	struct cfs_progress *progress; /* the one that has begun; NULL */
	char *search_text;
	char *text_buf;
	size_t text_bytes;
	int status;
	int last_code;
	bool has_failed;
	bool keeps_output; /* may be set: see KEEPS_OUTPUT */
	const char *items; /* may be set: instead of the verb's */
	bool owns_stdout;
	bool is_pipe_closed;
	bool is_usage;
};

/* ---------------------------------------------------------------- input */

/* Options of the verb by their long names; unknown names are bugs. */
bool cfs_cmd_has(const struct cfs_cmd *cmd, const char *name);
size_t cfs_cmd_count(const struct cfs_cmd *cmd, const char *name);
/* The (last) value, or @fallback if the option was not given. */
const char *cfs_cmd_str(const struct cfs_cmd *cmd, const char *name,
			const char *fallback);
uint64_t cfs_cmd_u64(const struct cfs_cmd *cmd, const char *name,
		     uint64_t fallback);
/* The @index-th value of an option that was given so often. */
const struct cfs_opt_value *cfs_cmd_value(const struct cfs_cmd *cmd,
					  const char *name, size_t index);

/*
 * Operand @index as a name, see cfs_name_parse.  -EINVAL names the operand in
 * cmd->err, so that run() may return it as it is.
 */
int cfs_cmd_name(struct cfs_cmd *cmd, unsigned int index, unsigned int need,
		 unsigned int allow, struct cfs_name *ret);

/* Misuse that no table can tell: fills cmd->err, returns -EINVAL. */
int cfs_cmd_usage(struct cfs_cmd *cmd, const char *fmt, ...) CFS_PRINTF(2, 3);

/* Operand @index as a size ("4G"), named in cmd->err if it is none. */
int cfs_cmd_size(struct cfs_cmd *cmd, unsigned int index, uint64_t *ret);

/* --------------------------------------------------------------- output */

/*
 * The schema of the document is "cfs.TOOL.VERB", or "cfs.TOOL" where there
 * is no verb.  A tool whose modes are options names the mode: "cfs.TOOL.@mode".
 * What was added to cmd->out before is gone.  Returns 0 or -ENOMEM.
 */
int cfs_cmd_set_schema(struct cfs_cmd *cmd, const char *mode);

/* Results, for people.  They go to cmd->text. */
void cfs_cmd_print(struct cfs_cmd *cmd, const char *fmt, ...) CFS_PRINTF(2, 3);

/* "It is done", which --quiet leaves out; goes to cmd->text too. */
void cfs_cmd_say(struct cfs_cmd *cmd, const char *fmt, ...) CFS_PRINTF(2, 3);

/* A line on standard error: a warning, unless --quiet; only with --verbose. */
void cfs_cmd_warn(struct cfs_cmd *cmd, const char *fmt, ...) CFS_PRINTF(2, 3);
void cfs_cmd_detail(struct cfs_cmd *cmd, const char *fmt, ...) CFS_PRINTF(2, 3);

/* The warning of a library: one line.  A callback; @cmd is a struct cfs_cmd. */
void cfs_cmd_warn_line(void *cmd, const char *line);

/*
 * A stream of items (watch, stat --interval): write what was collected at
 * once, and begin anew.  Text: the text.  JSON: the document as one line if
 * the verb has no items, else its items, one a line.  After the first call
 * nothing is written at the end.  Returns 0; -EPIPE: nobody reads any more,
 * the verb returns it; or another errno with cmd->err set.
 */
int cfs_cmd_stream(struct cfs_cmd *cmd);

/*
 * Raw bytes on standard output (an archive, a stream of snapshots).  From the
 * first call on the text and the document are not written.  Errors as of
 * cfs_cmd_stream.  Fit to be a callback: @cmd is a struct cfs_cmd.
 */
int cfs_cmd_write(void *cmd, const void *bytes, size_t length_bytes,
		  struct cfs_err *err);

/* ----------------------------------------------------------------- ends */

/*
 * Print @err for @object (NULL: none; not said twice if the message begins
 * with it) and raise the exit status.  The verb may go on with other objects.
 * Returns err->code.
 */
int cfs_cmd_fail(struct cfs_cmd *cmd, const char *object,
		 const struct cfs_err *err);

/*
 * Put @object ("pool.img:vm0@a") before what cmd->err says, unless the message
 * names it already; a message that begins with its last part ("vm0@a: ...")
 * gets the whole.  Returns @r, of which 0 and more leave the message alone.
 */
int cfs_cmd_wrap(struct cfs_cmd *cmd, const char *object, int r);

/*
 * What @r says exists already (-EEXIST) is @name, which was to be made.
 * Returns @r.
 */
int cfs_cmd_taken(struct cfs_cmd *cmd, const char *name, int r);

/*
 * Raise the exit status without an error: the document is written all the
 * same (slicectl pools, cfsck-heal).
 */
void cfs_cmd_raise(struct cfs_cmd *cmd, int status);

/*
 * What is about to be done destroys what the message names ("all data of
 * volume vm0 and its 3 snapshots").  Asks on a terminal.  Returns 0: go on,
 * also with --yes or --dry-run; CFS_REFUSED with cmd->err set.
 */
int cfs_cmd_confirm(struct cfs_cmd *cmd, const char *object, const char *fmt,
		    ...) CFS_PRINTF(3, 4);

/*
 * Whether SIGINT or SIGTERM asked to stop.  A callback for libcore, which
 * then returns -EINTR; the argument is not used.
 */
bool cfs_cmd_is_stopped(void *unused);

/*
 * What every tool hands to a session, as members of an initialiser:
 *	struct cfs_session_options opt = {
 *		.is_writable = true, CFS_CMD_SESSION(cmd)
 *	};
 */
#define CFS_CMD_SESSION(cmd)                                                   \
	.is_dry_run = (cmd)->is_dry_run, .wait_seconds = (cmd)->wait_seconds,  \
	.search = (cmd)->search, .search_count = (cmd)->search_count,          \
	.tls_cert = (cmd)->env_tls_cert, .tls_key = (cmd)->env_tls_key,        \
	.tls_ca = (cmd)->env_tls_ca, .lease = (cmd)->env_lease,                \
	.io_mode = (enum cfs_io_mode)(cmd)->io_mode,                           \
	.stop = cfs_cmd_is_stopped, .progress = cfs_cmd_progress,              \
	.warn = cfs_cmd_warn_line, .arg = (cmd)

/*
 * Done so far, for the progress that cfs_progress_begin began (progress.h);
 * nothing happens without one.  A callback; @cmd is a struct cfs_cmd.
 */
void cfs_cmd_progress(void *cmd, uint64_t done, uint64_t total);

/* The signal that asked, or 0. */
int cfs_cmd_stop_signal(void);
/* Forget it: a shell goes on after a command was stopped. */
void cfs_cmd_clear_stop(void);

/*
 * In a child between fork and exec: signals as they were when the tool began.
 * Only async-signal-safe calls.
 */
void cfs_cmd_restore_signals(void);
