/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of cmd/common share among themselves. */
#pragma once

#include "common/cmd.h"

/* The options that are defined once; ends with a row without a name. */
extern const struct cfs_opt cfs_common_opts[];

/* Which of them @verb has; NULL: a tool that was given no verb. */
unsigned int cfs_common_mask(const struct cfs_verb *verb);

/* What an option's argument is called; NULL for a flag. */
struct cfs_opt_argument {
	char text[64];
};
bool cfs_opt_argument(const struct cfs_opt *opt, struct cfs_opt_argument *ret);

/*
 * Help for a verb, or for a tool that has several (@verb NULL).  @args knows
 * the options.
 */
void cfs_help_verb(FILE *to, const struct cfs_tool *tool,
		   const struct cfs_verb *verb, const struct cfs_args *args);
void cfs_help_tool(FILE *to, const struct cfs_tool *tool,
		   const struct cfs_args *args);

/*
 * The tables for programs: tab-separated lines to @to, or JSON to @out,
 * whichever is not NULL.
 */
int cfs_list_verbs(FILE *to, struct cfs_out *out, const struct cfs_tool *tool);
int cfs_list_options(FILE *to, struct cfs_out *out, const struct cfs_tool *tool,
		     struct cfs_err *err);

/* Set up a command from parsed options; what it owns is freed by done. */
int cfs_cmd_init(struct cfs_cmd *cmd, struct cfs_err *err);
void cfs_cmd_done(struct cfs_cmd *cmd);
/* Write what was collected, if it is to be written.  Errors are printed. */
void cfs_cmd_finish(struct cfs_cmd *cmd);

/* All of @bytes to @fd; 0 or negative errno. */
int cfs_write_all(int fd, const void *bytes, size_t length_bytes);

/* Handlers of SIGINT, SIGTERM, SIGUSR1; SIGPIPE is ignored. */
void cfs_signals_install(void);
/* End as @signal would have ended us.  Returns if it cannot. */
void cfs_signals_die(int signal);
/* Whether SIGUSR1 came since the last call. */
bool cfs_signals_take_usr1(void);

/* One line on standard error, in one write; a progress line makes way. */
void cfs_stderr_line(const char *fmt, ...) CFS_PRINTF(1, 2);
