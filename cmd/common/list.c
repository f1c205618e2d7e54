/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * --list-verbs and --list-options: the tables for programs, which are the
 * generator of the completions and the test that manual page, help and
 * completions agree.  As text: tab-separated, "-" for what is not there, so
 * that a shell can read it; with --json the same as a document.
 *
 *	verb  operands  help
 *	verb  long  letter  argument  type  choices  help
 *
 * A tool without verbs has "-" as its verb; the options that stand before a
 * verb have the verb "*".  Hidden options and verbs are left out.
 */
#include "common/tool_priv.h"

#include <string.h>

static const char *const type_names[] = {
	[CFS_OPT_FLAG] = "flag",         [CFS_OPT_STRING] = "string",
	[CFS_OPT_U64] = "number",        [CFS_OPT_SIZE] = "size",
	[CFS_OPT_DURATION] = "duration", [CFS_OPT_CHOICE] = "choice",
	[CFS_OPT_RANGE] = "range",
};

static bool is_shown(const struct cfs_verb *verb)
{
	return !(verb->flags & CFS_VERB_HIDDEN);
}

static const char *dash(const char *text)
{
	return text && *text ? text : "-";
}

/* Forms are one a line; in a tab-separated line they stand behind "; ". */
static void put_forms(FILE *to, const char *forms)
{
	forms = dash(forms);
	for (; *forms; forms++) {
		if (*forms == '\n')
			fputs("; ", to);
		else
			fputc(*forms, to);
	}
}

/* Each word of @list, separated by @separator, as an item of an array. */
static void out_words(struct cfs_out *out, const char *key, const char *list,
		      const char *separator)
{
	char word[256];
	size_t n;

	cfs_out_begin_array(out, key);
	while (list && *list) {
		n = strcspn(list, separator);
		(void)snprintf(word, sizeof(word), "%.*s", (int)n, list);
		if (n)
			cfs_out_str(out, NULL, word);
		list += n + (list[n] != '\0');
	}
	cfs_out_end(out);
}

int cfs_list_verbs(FILE *to, struct cfs_out *out, const struct cfs_tool *tool)
{
	const struct cfs_verb *verb;
	size_t i;

	if (out)
		cfs_out_begin_array(out, "verbs");
	for (i = 0; tool->verbs[i]; i++) {
		verb = tool->verbs[i];
		if (!is_shown(verb))
			continue;
		if (to) {
			fprintf(to, "%s\t", dash(verb->name));
			put_forms(to, verb->operands);
			fprintf(to, "\t%s\n", dash(verb->help));
		}
		if (out) {
			cfs_out_begin_obj(out, NULL);
			cfs_out_str(out, "name", verb->name);
			cfs_out_str(out, "help", verb->help);
			out_words(out, "operands", verb->operands, "\n");
			cfs_out_end(out);
		}
	}
	if (out)
		cfs_out_end(out);
	return 0;
}

static void put_option(FILE *to, const char *verb, const struct cfs_opt *opt,
		       char letter)
{
	struct cfs_opt_argument arg;
	bool has_arg = cfs_opt_argument(opt, &arg);

	fprintf(to, "%s\t%s\t%c\t%s\t%s\t%s\t%s\n", verb,
		opt->is_letter_only ? "-" : opt->name, letter ? letter : '-',
		has_arg ? arg.text : "-",
		type_names[opt->is_optional ? CFS_OPT_FLAG : opt->type],
		dash(opt->choices), opt->help);
}

static void out_option(struct cfs_out *out, const char *verb,
		       const struct cfs_opt *opt, char letter)
{
	struct cfs_opt_argument arg;
	char text[2] = { letter, '\0' };

	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "verb", strcmp(verb, "-") ? verb : NULL);
	cfs_out_str(out, "name", opt->is_letter_only ? NULL : opt->name);
	cfs_out_str(out, "letter", letter ? text : NULL);
	cfs_out_str(out, "argument",
		    cfs_opt_argument(opt, &arg) ? arg.text : NULL);
	cfs_out_str(out, "type", type_names[opt->type]);
	out_words(out, "choices", opt->choices, " ");
	cfs_out_bool(out, "can_repeat", opt->max_count > 1);
	cfs_out_bool(out, "is_common", opt->common != 0);
	cfs_out_str(out, "help", opt->help);
	cfs_out_end(out);
}

/* All options of one verb; @verb NULL: those that stand before a verb. */
static int list_verb(FILE *to, struct cfs_out *out, const char *name,
		     const struct cfs_verb *verb, struct cfs_err *err)
{
	struct cfs_args args;
	size_t i, k;
	char letter;
	int r;

	r = cfs_args_init(verb ? verb->opts : NULL, cfs_common_opts,
			  cfs_common_mask(verb), &args, err);
	for (i = 0; r == 0 && i < args.opt_count; i++) {
		if (args.opts[i]->is_hidden)
			continue;
		letter = args.opts[i]->letter;
		for (k = 0; k < i; k++) {
			if (args.opts[k]->letter == letter)
				letter = 0; /* taken by the verb's own */
		}
		if (to)
			put_option(to, name, args.opts[i], letter);
		if (out)
			out_option(out, name, args.opts[i], letter);
	}
	cfs_args_done(&args);
	return r;
}

int cfs_list_options(FILE *to, struct cfs_out *out, const struct cfs_tool *tool,
		     struct cfs_err *err)
{
	const struct cfs_verb *verb;
	size_t i;
	int r = 0;

	if (out)
		cfs_out_begin_array(out, "options");
	if (!cfs_tool_find(tool, NULL))
		r = list_verb(to, out, "*", NULL, err);
	for (i = 0; r == 0 && tool->verbs[i]; i++) {
		verb = tool->verbs[i];
		if (is_shown(verb))
			r = list_verb(to, out, dash(verb->name), verb, err);
	}
	if (out)
		cfs_out_end(out);
	return r;
}
