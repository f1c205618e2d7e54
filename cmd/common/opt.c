/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The parser of command lines.  It is our own because getopt_long takes
 * prefixes of long names, prints by itself and keeps global state, and a
 * shell runs one command line after another in one process.
 *
 * Nothing is checked twice: a value is converted once, when it is met, and
 * verbs only read results.
 */
#include "common/opt.h"

#include "base/units.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cfs_opt_values {
	struct cfs_opt_value *items;
	size_t count;
};

/* Room for "--name" or "-x" in a message. */
struct shown {
	char text[64];
};

static struct shown show(const struct cfs_opt *opt)
{
	struct shown s;

	if (opt->is_letter_only)
		(void)snprintf(s.text, sizeof(s.text), "-%c", opt->letter);
	else
		(void)snprintf(s.text, sizeof(s.text), "--%s", opt->name);
	return s;
}

/* Whether @list, separated by blanks, has the word of @length bytes; its
 * place in @ret_index, which may be NULL. */
static bool list_has(const char *list, const char *word, size_t length,
		     uint64_t *ret_index)
{
	uint64_t index = 0;
	size_t n;

	for (; list && *list; list += n, index++) {
		list += strspn(list, " ");
		n = strcspn(list, " ");
		if (n && n == length && !memcmp(list, word, n)) {
			if (ret_index)
				*ret_index = index;
			return true;
		}
	}
	return false;
}

static size_t table_count(const struct cfs_opt *table)
{
	size_t n = 0;

	while (table && table[n].name)
		n++;
	return n;
}

static int find_name(const struct cfs_args *args, const char *name,
		     size_t length)
{
	size_t i;

	for (i = 0; i < args->opt_count; i++) {
		if (strlen(args->opts[i]->name) == length &&
		    !memcmp(args->opts[i]->name, name, length))
			return (int)i;
	}
	return -1;
}

/* Index of the option @word names on a command line, or -1. */
static int find_long(const struct cfs_args *args, const char *word,
		     size_t length)
{
	int i = find_name(args, word, length);

	return i >= 0 && args->opts[i]->is_letter_only ? -1 : i;
}

static int find_letter(const struct cfs_args *args, char letter)
{
	size_t i;

	for (i = 0; letter && i < args->opt_count; i++) {
		if (args->opts[i]->letter == letter)
			return (int)i;
	}
	return -1;
}

int cfs_args_init(const struct cfs_opt *own, const struct cfs_opt *common,
		  unsigned int mask, struct cfs_args *ret, struct cfs_err *err)
{
	size_t most = table_count(own) + table_count(common);
	size_t i;

	*ret = (struct cfs_args)CFS_ARGS_INIT;
	ret->opts = calloc(most + 1, sizeof(const struct cfs_opt *));
	ret->values = calloc(most + 1, sizeof(*ret->values));
	if (!ret->opts || !ret->values)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (i = 0; own && own[i].name; i++)
		ret->opts[ret->opt_count++] = &own[i];
	for (i = 0; common && common[i].name; i++) {
		if (!(common[i].common & mask) ||
		    find_name(ret, common[i].name, strlen(common[i].name)) >= 0)
			continue;
		ret->opts[ret->opt_count++] = &common[i];
	}
	return 0;
}

void cfs_args_done(struct cfs_args *args)
{
	size_t i;

	for (i = 0; i < args->opt_count; i++)
		free(args->values[i].items);
	free(args->values);
	free(args->opts);
	free(args->operands);
	*args = (struct cfs_args)CFS_ARGS_INIT;
}

/* OFFSET:LENGTH */
static int parse_range(const char *text, struct cfs_opt_value *value,
		       struct cfs_err *err)
{
	char head[64];
	size_t n = strcspn(text, ":");
	int r;

	if (text[n] != ':' || n >= sizeof(head))
		return cfs_err_set(err, -EINVAL, "'%s' is not OFFSET:LENGTH",
				   text);
	memcpy(head, text, n);
	head[n] = '\0';
	r = cfs_size_parse(head, &value->number, err);
	if (r == 0)
		r = cfs_size_parse(text + n + 1, &value->length, err);
	if (r == 0 && value->length > UINT64_MAX - value->number)
		r = cfs_err_set(err, -EINVAL, "'%s' ends past 2^64", text);
	return r;
}

static int check_limits(const struct cfs_opt *opt, const char *text,
			uint64_t number, struct cfs_err *err)
{
	if (number < opt->min)
		return cfs_err_set(err, -EINVAL,
				   "'%s' is too small: at least %llu", text,
				   (unsigned long long)opt->min);
	if (opt->max && number > opt->max)
		return cfs_err_set(err, -EINVAL,
				   "'%s' is too large: at most %llu", text,
				   (unsigned long long)opt->max);
	return 0;
}

/* Convert value->text by the type of @opt. */
static int convert(const struct cfs_opt *opt, struct cfs_opt_value *value,
		   struct cfs_err *err)
{
	const char *text = value->text;
	int r = 0;

	if (opt->word && !strcmp(text, opt->word)) {
		value->is_word = true;
		value->number = UINT64_MAX;
		return 0;
	}
	switch (opt->type) {
	case CFS_OPT_FLAG:
	case CFS_OPT_STRING:
		return 0;
	case CFS_OPT_CHOICE:
		if (list_has(opt->choices, text, strlen(text), &value->number))
			return 0;
		return cfs_err_set(err, -EINVAL, "'%s' is not one of: %s", text,
				   opt->choices);
	case CFS_OPT_RANGE:
		return parse_range(text, value, err);
	case CFS_OPT_U64:
		r = cfs_u64_parse(text, UINT64_MAX, &value->number, err);
		break;
	case CFS_OPT_SIZE:
		r = cfs_size_parse(text, &value->number, err);
		break;
	case CFS_OPT_DURATION:
		r = cfs_duration_parse(text, &value->number, err);
		break;
	}
	if (r < 0) /* also -EOVERFLOW: it is misuse all the same */
		return -EINVAL;
	return check_limits(opt, text, value->number, err);
}

/* Note one value of option @index. */
static int add_value(struct cfs_args *args, int index, const char *text,
		     struct cfs_err *err)
{
	const struct cfs_opt *opt = args->opts[index];
	struct cfs_opt_values *values = &args->values[index];
	struct cfs_opt_value value = { .text = text };
	struct cfs_opt_value *items;
	int r;

	r = convert(opt, &value, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "%s", show(opt).text);
	if (!opt->max_count && values->count) {
		values->items[0] = value;
		return 0;
	}
	if (opt->max_count && values->count >= opt->max_count)
		return cfs_err_set(err, -EINVAL,
				   "%s is given more than %u times",
				   show(opt).text, opt->max_count);
	items = realloc(values->items, (values->count + 1) * sizeof(*items));
	if (!items)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	values->items = items;
	items[values->count++] = value;
	return 0;
}

/* "--name", "--name=VALUE" or "--name VALUE" at argv[*at]. */
static int parse_long(struct cfs_args *args, int argc, char **argv, int *at,
		      struct cfs_err *err)
{
	const char *word = argv[*at] + 2;
	size_t length = strcspn(word, "=");
	int index = find_long(args, word, length);

	if (index < 0)
		return cfs_err_set(err, -EINVAL, "unknown option '--%.*s'",
				   (int)length, word);
	if (args->opts[index]->type == CFS_OPT_FLAG) {
		if (word[length] == '=')
			return cfs_err_set(err, -EINVAL,
					   "option '--%.*s' "
					   "takes no argument",
					   (int)length, word);
		return add_value(args, index, "", err);
	}
	if (word[length] == '=')
		return add_value(args, index, word + length + 1, err);
	if (args->opts[index]->is_optional)
		return add_value(args, index, "", err);
	if (*at + 1 >= argc)
		return cfs_err_set(err, -EINVAL,
				   "option '--%s' needs an argument: %s", word,
				   args->opts[index]->argument);
	(*at)++;
	return add_value(args, index, argv[*at], err);
}

/* "-x", "-xVALUE", "-x VALUE" or flags in a row at argv[*at]. */
static int parse_letters(struct cfs_args *args, int argc, char **argv, int *at,
			 struct cfs_err *err)
{
	const char *p;
	int index, r;

	for (p = argv[*at] + 1; *p; p++) {
		index = find_letter(args, *p);
		if (index < 0)
			return cfs_err_set(err, -EINVAL,
					   "unknown option '-%.*s'",
					   (int)strcspn(p, "="), p);
		if (args->opts[index]->type != CFS_OPT_FLAG)
			break;
		r = add_value(args, index, "", err);
		if (r < 0)
			return r;
	}
	if (!*p)
		return 0;
	if (p[1])
		return add_value(args, index, p + 1, err);
	if (*at + 1 >= argc)
		return cfs_err_set(err, -EINVAL,
				   "option '-%c' needs an argument: %s", *p,
				   args->opts[index]->argument);
	(*at)++;
	return add_value(args, index, argv[*at], err);
}

/* The first option of @list that was given, or NULL. */
static const struct cfs_opt *find_given(const struct cfs_args *args,
					const char *list)
{
	const struct cfs_opt *opt;
	size_t i;

	for (i = 0; i < args->opt_count; i++) {
		opt = args->opts[i];
		if (args->values[i].count &&
		    list_has(list, opt->name, strlen(opt->name), NULL))
			return opt;
	}
	return NULL;
}

/* "a b" as "--a, --b"; cut where it is too long. */
static void show_list(const char *list, char *ret, size_t ret_bytes)
{
	size_t used = 0, n;

	for (ret[0] = '\0'; used < ret_bytes; list += n) {
		list += strspn(list, " ");
		n = strcspn(list, " ");
		if (n == 0)
			return;
		used += (size_t)snprintf(ret + used, ret_bytes - used,
					 "%s--%.*s", used ? ", " : "", (int)n,
					 list);
	}
}

int cfs_args_check(const struct cfs_args *args, const char *one_of,
		   struct cfs_err *err)
{
	const struct cfs_opt *opt, *other;
	char list[256];
	size_t i;

	for (i = 0; i < args->opt_count; i++) {
		opt = args->opts[i];
		if (!args->values[i].count)
			continue;
		other = find_given(args, opt->conflicts);
		if (other)
			return cfs_err_set(err, -EINVAL,
					   "%s and %s exclude each other",
					   show(opt).text, show(other).text);
		if (!opt->needs || find_given(args, opt->needs))
			continue;
		show_list(opt->needs, list, sizeof(list));
		return cfs_err_set(err, -EINVAL,
				   "%s needs one of these "
				   "options: %s",
				   show(opt).text, list);
	}
	if (!one_of || find_given(args, one_of))
		return 0;
	show_list(one_of, list, sizeof(list));
	return cfs_err_set(err, -EINVAL, "one of these options is needed: %s",
			   list);
}

int cfs_args_parse(struct cfs_args *args, int argc, char **argv,
		   struct cfs_err *err)
{
	bool is_over = false;
	int i, r = 0;

	free(args->operands);
	args->operand_count = 0;
	args->operands = calloc((size_t)argc + 1, sizeof(char *));
	if (!args->operands)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (i = 0; i < argc && r == 0; i++) {
		if (is_over || argv[i][0] != '-' || !argv[i][1]) {
			args->operands[args->operand_count++] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			is_over = true;
			args->has_dashdash = true;
			args->dashdash_index = args->operand_count;
		} else if (argv[i][1] == '-') {
			r = parse_long(args, argc, argv, &i, err);
		} else {
			r = parse_letters(args, argc, argv, &i, err);
		}
	}
	if (!args->has_dashdash)
		args->dashdash_index = args->operand_count;
	return r;
}

/* Words that the option at @word takes, 1 or 2; 0: no option of ours. */
static int option_words(const struct cfs_args *args, const char *word)
{
	size_t length;
	int index;

	if (word[1] == '-') {
		length = strcspn(word + 2, "=");
		index = find_long(args, word + 2, length);
		if (index < 0)
			return 0;
		return args->opts[index]->type == CFS_OPT_FLAG ||
				       word[2 + length]
			       ? 1
			       : 2;
	}
	for (word++; *word; word++) {
		index = find_letter(args, *word);
		if (index < 0)
			return 0;
		if (args->opts[index]->type != CFS_OPT_FLAG)
			return word[1] ? 1 : 2;
	}
	return 1;
}

int cfs_args_find_operand(const struct cfs_args *args, int argc, char **argv)
{
	int i = 0, n;

	while (i < argc && argv[i][0] == '-' && argv[i][1] &&
	       strcmp(argv[i], "--")) {
		n = option_words(args, argv[i]);
		if (!n)
			return i;
		i += n;
	}
	return i < argc ? i : argc;
}

bool cfs_args_knows(const struct cfs_args *args, const char *name)
{
	return find_name(args, name, strlen(name)) >= 0;
}

size_t cfs_args_count(const struct cfs_args *args, const char *name)
{
	int index = find_name(args, name, strlen(name));

	assert(index >= 0);
	return args->values[index].count;
}

const struct cfs_opt_value *cfs_args_get(const struct cfs_args *args,
					 const char *name, size_t index)
{
	int i = find_name(args, name, strlen(name));

	assert(i >= 0);
	assert(index < args->values[i].count);
	return &args->values[i].items[index];
}
