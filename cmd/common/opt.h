/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Options as a table.  One row per option feeds the parser, --help,
 * --list-options (and with it the completions) and the test that manual page,
 * help and completions agree: what is not in the table does not exist.
 *
 * Options stand before or after operands.  Long names count in full only, as
 * a prefix that matches today breaks a script on the day an option is added.
 * "--name VALUE", "--name=VALUE", "-x VALUE", "-xVALUE" and clusters of flags
 * ("-fn") are understood; "--" ends the options.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cfs_opt_type {
	CFS_OPT_FLAG, /* no argument */
	CFS_OPT_STRING,
	CFS_OPT_U64,      /* decimal, within min..max */
	CFS_OPT_SIZE,     /* 4K, 1GiB, 5MB: bytes within min..max */
	CFS_OPT_DURATION, /* 90, 1.5s, 200ms, 2h: nanoseconds */
	CFS_OPT_CHOICE,   /* one of "choices" */
	CFS_OPT_RANGE,    /* OFFSET:LENGTH, both as SIZE */
};

/* A row.  All lists of names are separated by single blanks. */
struct cfs_opt {
	const char *name; /* long name without "--"; the key */
	char letter;      /* 0: none */
	enum cfs_opt_type type;
	const char *argument; /* what help calls it: "SIZE" */
	const char *help;     /* no capital, no full stop */
	uint64_t min;
	uint64_t max;           /* 0: no limit */
	const char *choices;    /* of CFS_OPT_CHOICE */
	const char *word;       /* also taken in place of a number */
	const char *conflicts;  /* long names that exclude this one */
	const char *needs;      /* one of these must be given too */
	unsigned int max_count; /* 0: the last one counts; else so many
				   may be given, and all count */
	bool is_letter_only;    /* "name" is a key, not an option */
	bool is_hidden;         /* works, but is not shown */
	bool is_optional;       /* the argument of a STRING, which then is
				   given with '='; "" if it is not */
	unsigned int common;    /* see verb.h; 0 in a verb's table */
};

#define CFS_OPT_MANY 65536u

/* The table of a verb, in place: ends with a row without a name. */
#define CFS_OPTS(...)                                                          \
	((const struct cfs_opt[]){ __VA_ARGS__, { .name = NULL } })

/* One value as it was given. */
struct cfs_opt_value {
	const char *text; /* points into argv */
	uint64_t number;  /* U64, SIZE, DURATION, RANGE's offset;
			     CHOICE: index; UINT64_MAX: the word */
	uint64_t length;  /* RANGE's length */
	bool is_word;     /* "word" was given, not a number */
};

/* What a command line says.  Filled by cfs_args_parse. */
struct cfs_args {
	const struct cfs_opt **opts;   /* all that are known */
	struct cfs_opt_values *values; /* one for each of them */
	size_t opt_count;
	char **operands; /* point into argv */
	unsigned int operand_count;
	/* operands before "--"; operand_count if there was no "--" */
	unsigned int dashdash_index;
	bool has_dashdash;
};

#define CFS_ARGS_INIT                                                          \
	{                                                                      \
		.opts = NULL                                                   \
	}

/*
 * Make room for the options of @own and, of @common, those that share a bit
 * with @mask.  Either table may be NULL.  An option of @own hides one of
 * @common that has the same letter or name.
 * Returns 0 or -ENOMEM.  @ret is to be given to cfs_args_done either way.
 */
int cfs_args_init(const struct cfs_opt *own, const struct cfs_opt *common,
		  unsigned int mask, struct cfs_args *ret, struct cfs_err *err);
void cfs_args_done(struct cfs_args *args);

/*
 * Read @argv[0..@argc), without the names of tool and verb.  @argv must stay
 * as long as @args.  Returns 0; -EINVAL: misuse, and @err says of what;
 * -ENOMEM.
 */
int cfs_args_parse(struct cfs_args *args, int argc, char **argv,
		   struct cfs_err *err);

/*
 * Judge what stands together: conflicts, needs, and, of the list @one_of
 * (NULL: none), at least one.  A step of its own, since --help comes first.
 */
int cfs_args_check(const struct cfs_args *args, const char *one_of,
		   struct cfs_err *err);

/*
 * Index of the first word of argv that is neither an option of the table nor
 * its argument (so an operand, "--", or an unknown option), or @argc: how a
 * tool finds its verb behind common options.
 */
int cfs_args_find_operand(const struct cfs_args *args, int argc, char **argv);

/*
 * What was given for the option @name, which must be in the table (else it is
 * a bug, and asserted): how often, and its @index-th value, from 0.
 */
size_t cfs_args_count(const struct cfs_args *args, const char *name);
const struct cfs_opt_value *cfs_args_get(const struct cfs_args *args,
					 const char *name, size_t index);

/* The table has an option of this name. */
bool cfs_args_knows(const struct cfs_args *args, const char *name);
