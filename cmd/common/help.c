/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * --help, made from the tables: what is shown is what is parsed.  No line is
 * longer than 79 columns unless a single word (an example) is.
 */
#include "common/tool_priv.h"

#include <ctype.h>
#include <string.h>

#define COLUMNS     79u
#define HELP_COLUMN 26u

bool cfs_opt_argument(const struct cfs_opt *opt, struct cfs_opt_argument *ret)
{
	static const char *const names[] = {
		[CFS_OPT_STRING] = "TEXT",   [CFS_OPT_U64] = "N",
		[CFS_OPT_SIZE] = "SIZE",     [CFS_OPT_DURATION] = "TIME",
		[CFS_OPT_RANGE] = "OFF:LEN",
	};
	const char *from = opt->argument;
	char *p;

	if (opt->type == CFS_OPT_FLAG || opt->is_optional)
		return false;
	if (!from)
		from = opt->type == CFS_OPT_CHOICE ? opt->choices
						   : names[opt->type];
	(void)snprintf(ret->text, sizeof(ret->text), "%s", from);
	for (p = ret->text; opt->type == CFS_OPT_CHOICE && *p; p++) {
		if (*p == ' ')
			*p = '|';
	}
	return true;
}

/*
 * Words of @text from column @at on, broken before COLUMNS; further lines
 * begin at @indent.  Ends the line.
 */
static void put_wrapped(FILE *to, const char *text, size_t length,
			unsigned int at, unsigned int indent)
{
	const char *end = text + length;
	bool is_first = true;
	size_t n;

	while (text < end) {
		for (n = 0; text + n < end && text[n] != ' '; n++)
			;
		if (!is_first && at + 1 + n > COLUMNS) {
			fprintf(to, "\n%*s", (int)indent, "");
			at = indent;
			is_first = true;
		}
		fprintf(to, "%s%.*s", is_first ? "" : " ", (int)n, text);
		at += (unsigned int)n + (is_first ? 0 : 1);
		is_first = false;
		text += n;
		while (text < end && *text == ' ')
			text++;
	}
	fputc('\n', to);
}

/* Call put_wrapped for each line of @text. */
static void put_paragraphs(FILE *to, const char *text)
{
	size_t n;

	while (text && *text) {
		n = strcspn(text, "\n");
		fputc('\n', to);
		put_wrapped(to, text, n, 0, 0);
		text += n + (text[n] == '\n');
	}
}

static void put_sentence(FILE *to, const char *help)
{
	if (!help || !*help)
		return;
	fprintf(to, "\n%c%s.\n", toupper((unsigned char)help[0]), help + 1);
}

static void put_examples(FILE *to, const char *examples)
{
	size_t n;

	if (!examples)
		return;
	fputs("\nExamples:\n", to);
	while (*examples) {
		n = strcspn(examples, "\n");
		fputs("  ", to);
		put_wrapped(to, examples, n, 2, 6);
		examples += n + (examples[n] == '\n');
	}
}

static void put_option(FILE *to, const struct cfs_opt *opt, bool has_letter)
{
	struct cfs_opt_argument arg;
	bool has_arg = cfs_opt_argument(opt, &arg);
	char left[160];
	int n;

	if (opt->is_letter_only)
		n = snprintf(left, sizeof(left), "  -%c%s%s", opt->letter,
			     has_arg ? " " : "", has_arg ? arg.text : "");
	else if (has_letter)
		n = snprintf(left, sizeof(left), "  -%c, --%s%s%s", opt->letter,
			     opt->name, has_arg ? " " : "",
			     has_arg ? arg.text : "");
	else
		n = snprintf(left, sizeof(left), "      --%s%s%s%s", opt->name,
			     opt->is_optional ? "[="
			     : has_arg        ? " "
					      : "",
			     opt->is_optional ? opt->argument
			     : has_arg        ? arg.text
					      : "",
			     opt->is_optional ? "]" : "");
	if (n + 2 > (int)HELP_COLUMN)
		fprintf(to, "%s\n%*s", left, (int)HELP_COLUMN, "");
	else
		fprintf(to, "%-*s", (int)HELP_COLUMN, left);
	put_wrapped(to, opt->help, strlen(opt->help), HELP_COLUMN, HELP_COLUMN);
}

/* Whether a letter still leads to @opt: a verb's own options come first. */
static bool owns_letter(const struct cfs_args *args, size_t index)
{
	char letter = args->opts[index]->letter;
	size_t i;

	for (i = 0; i < index; i++) {
		if (args->opts[i]->letter == letter)
			return false;
	}
	return letter != 0;
}

static void put_options(FILE *to, const struct cfs_args *args)
{
	size_t i;

	fputs("\nOptions:\n", to);
	for (i = 0; i < args->opt_count; i++) {
		if (!args->opts[i]->is_hidden)
			put_option(to, args->opts[i], owns_letter(args, i));
	}
}

static void put_usage(FILE *to, const struct cfs_tool *tool,
		      const struct cfs_verb *verb, bool *is_first)
{
	const char *forms = verb->operands ? verb->operands : "";
	char line[512];
	unsigned int at;
	size_t n;

	do {
		n = strcspn(forms, "\n");
		at = (unsigned int)fprintf(to, "%s %s%s%s ",
					   *is_first ? "Usage:" : "      ",
					   tool->name, verb->name ? " " : "",
					   verb->name ? verb->name : "");
		(void)snprintf(line, sizeof(line), "[OPTION...]%s%.*s",
			       n ? " " : "", (int)n, forms);
		put_wrapped(to, line, strlen(line), at, at);
		*is_first = false;
		forms += n + (forms[n] == '\n');
	} while (*forms);
}

void cfs_help_verb(FILE *to, const struct cfs_tool *tool,
		   const struct cfs_verb *verb, const struct cfs_args *args)
{
	bool is_first = true;

	put_usage(to, tool, verb, &is_first);
	put_sentence(to, verb->help);
	put_paragraphs(to, verb->more);
	put_options(to, args);
	put_examples(to, verb->examples);
}

/* "  ls POOL[:NAME]   list volumes", help in a column of its own. */
static void put_verb(FILE *to, const struct cfs_verb *verb)
{
	const char *forms = verb->operands ? verb->operands : "";
	char left[160];
	int n;

	n = snprintf(left, sizeof(left), "  %s %.*s", verb->name,
		     (int)strcspn(forms, "\n"), forms);
	if (n + 2 > (int)HELP_COLUMN)
		fprintf(to, "%s\n%*s", left, (int)HELP_COLUMN, "");
	else
		fprintf(to, "%-*s", (int)HELP_COLUMN, left);
	put_wrapped(to, verb->help, strlen(verb->help), HELP_COLUMN,
		    HELP_COLUMN);
}

void cfs_help_tool(FILE *to, const struct cfs_tool *tool,
		   const struct cfs_args *args)
{
	const struct cfs_verb *unnamed = cfs_tool_find(tool, NULL);
	bool is_first = true;
	size_t i;

	if (unnamed)
		put_usage(to, tool, unnamed, &is_first);
	fprintf(to, "%s %s VERB [OPTION...] [OPERAND...]\n",
		is_first ? "Usage:" : "      ", tool->name);
	put_sentence(to, tool->help);
	put_paragraphs(to, tool->more);
	fputs("\nVerbs:\n", to);
	for (i = 0; tool->verbs[i]; i++) {
		if (tool->verbs[i]->name &&
		    !(tool->verbs[i]->flags & CFS_VERB_HIDDEN))
			put_verb(to, tool->verbs[i]);
	}
	fprintf(to, "\n'%s VERB --help' shows the options of a verb.\n",
		tool->name);
	put_options(to, args);
	put_examples(to, tool->examples);
}
