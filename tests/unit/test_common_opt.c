/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a command line is read, against a table with one option of each kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "common/opt.h"

static const struct cfs_opt own[] = {
	{ .name = "flag", .letter = 'f' },
	{ .name = "name",
	  .letter = 'n',
	  .type = CFS_OPT_STRING,
	  .argument = "NAME" },
	{ .name = "count",
	  .type = CFS_OPT_U64,
	  .min = 2,
	  .max = 9,
	  .argument = "N" },
	{ .name = "size",
	  .letter = 's',
	  .type = CFS_OPT_SIZE,
	  .word = "auto",
	  .argument = "SIZE" },
	{ .name = "sized", .conflicts = "size flag" },
	{ .name = "limit",
	  .type = CFS_OPT_SIZE,
	  .needs = "size sized",
	  .argument = "SIZE" },
	{ .name = "age", .type = CFS_OPT_DURATION, .argument = "AGE" },
	{ .name = "kind",
	  .type = CFS_OPT_CHOICE,
	  .choices = "lun tree",
	  .argument = "KIND" },
	{ .name = "range", .type = CFS_OPT_RANGE, .argument = "OFF:LEN" },
	{ .name = "disk",
	  .letter = 'd',
	  .type = CFS_OPT_STRING,
	  .max_count = 2,
	  .argument = "DISK" },
	{ .name = "old",
	  .letter = 'E',
	  .type = CFS_OPT_STRING,
	  .is_letter_only = true,
	  .argument = "X" },
	{ .name = "at",
	  .type = CFS_OPT_STRING,
	  .argument = "PLACE",
	  .is_optional = true },
	{ .name = NULL },
};

static const struct cfs_opt common[] = {
	{ .name = "force", .letter = 'f', .common = 1 },
	{ .name = "json", .common = 1 },
	{ .name = "flag", .letter = 'F', .common = 1 },
	{ .name = "yes", .letter = 'y', .common = 2 },
	{ .name = NULL },
};

static struct cfs_args args;
static struct cfs_err err;

static int parse(const char *const *words)
{
	char *argv[16];
	int argc = 0, r;

	for (; words[argc]; argc++)
		memcpy(&argv[argc], &words[argc], sizeof(char *));
	argv[argc] = NULL;
	cfs_args_done(&args);
	assert_int_equal(cfs_args_init(own, common, 1, &args, &err), 0);
	r = cfs_args_parse(&args, argc, argv, &err);
	return r < 0 ? r : cfs_args_check(&args, NULL, &err);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

#define REFUSED(says, ...)                                                     \
	do {                                                                   \
		assert_int_equal(PARSE(__VA_ARGS__), -EINVAL);                 \
		assert_string_equal(err.msg, says);                            \
	} while (0)

static const char *text_of(const char *name, size_t index)
{
	return cfs_args_get(&args, name, index)->text;
}

static uint64_t number_of(const char *name)
{
	return cfs_args_get(&args, name, 0)->number;
}

static void test_spellings(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--name", "x"), 0);
	assert_string_equal(text_of("name", 0), "x");
	assert_int_equal(PARSE("--name=x=y"), 0);
	assert_string_equal(text_of("name", 0), "x=y");
	assert_int_equal(PARSE("--name="), 0);
	assert_string_equal(text_of("name", 0), "");
	assert_int_equal(PARSE("-n", "x"), 0);
	assert_string_equal(text_of("name", 0), "x");
	assert_int_equal(PARSE("-nx"), 0);
	assert_string_equal(text_of("name", 0), "x");
	assert_int_equal(PARSE("-fnx"), 0);
	assert_string_equal(text_of("name", 0), "x");
	assert_int_equal(cfs_args_count(&args, "flag"), 1);
	/* An argument may look like an option. */
	assert_int_equal(PARSE("--name", "--flag"), 0);
	assert_string_equal(text_of("name", 0), "--flag");
	assert_int_equal(cfs_args_count(&args, "flag"), 0);
	assert_int_equal(PARSE("-E", "3"), 0);
	assert_string_equal(text_of("old", 0), "3");
}

/* Its argument comes with '=', or not at all. */
static void test_optional(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--at", "x"), 0);
	assert_string_equal(text_of("at", 0), "");
	assert_int_equal(args.operand_count, 1);
	assert_int_equal(PARSE("--at=here", "x"), 0);
	assert_string_equal(text_of("at", 0), "here");
	assert_int_equal(args.operand_count, 1);
}

static void test_operands(void **state)
{
	(void)state;
	assert_int_equal(PARSE("a", "-f", "-", "--", "-f", "b", "--"), 0);
	assert_int_equal(args.operand_count, 5);
	assert_string_equal(args.operands[0], "a");
	assert_string_equal(args.operands[1], "-");
	assert_string_equal(args.operands[2], "-f");
	assert_string_equal(args.operands[4], "--");
	assert_true(args.has_dashdash);
	assert_int_equal(args.dashdash_index, 2);
	assert_int_equal(cfs_args_count(&args, "flag"), 1);
	assert_int_equal(PARSE("a"), 0);
	assert_false(args.has_dashdash);
}

static void test_unknown(void **state)
{
	(void)state;
	REFUSED("unknown option '--fla'", "--fla"); /* no prefixes */
	REFUSED("unknown option '--flags'", "--flags=1");
	REFUSED("unknown option '-x'", "-x");
	REFUSED("unknown option '-x'", "-fx");
	REFUSED("unknown option '--old'", "--old", "3");
	REFUSED("unknown option '--yes'", "--yes"); /* not in the mask */
	REFUSED("option '--flag' takes no argument", "--flag=1");
	REFUSED("option '--name' needs an argument: NAME", "--name");
	REFUSED("option '-n' needs an argument: NAME", "-fn");
}

static void test_values(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--count", "9", "--size=4K", "--age", "90",
			       "--kind", "tree", "--range", "4K:1M"),
			 0);
	assert_int_equal(number_of("count"), 9);
	assert_int_equal(number_of("size"), 4096);
	assert_int_equal(number_of("age"), UINT64_C(90000000000));
	assert_int_equal(number_of("kind"), 1);
	assert_int_equal(number_of("range"), 4096);
	assert_int_equal(cfs_args_get(&args, "range", 0)->length, 1048576);
	assert_int_equal(PARSE("-sauto"), 0);
	assert_true(cfs_args_get(&args, "size", 0)->is_word);
	REFUSED("--count: '1' is too small: at least 2", "--count", "1");
	REFUSED("--count: '10' is too large: at most 9", "--count", "10");
	REFUSED("--kind: 'lu' is not one of: lun tree", "--kind", "lu");
	REFUSED("--range: '5' is not OFFSET:LENGTH", "--range", "5");
	assert_int_equal(PARSE("--count", "x"), -EINVAL);
	assert_int_equal(PARSE("--count", "-3"), -EINVAL);
	assert_int_equal(PARSE("--size", "4X"), -EINVAL);
	assert_int_equal(PARSE("--size", "16E"), -EINVAL);
	assert_int_equal(PARSE("--age", "soon"), -EINVAL);
	assert_int_equal(PARSE("--range", "7E:8E"), 0);
	assert_int_equal(PARSE("--range", "15E:8E"), -EINVAL);
}

static void test_repeats(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--name=a", "-nb"), 0);
	assert_int_equal(cfs_args_count(&args, "name"), 1);
	assert_string_equal(text_of("name", 0), "b");
	assert_int_equal(PARSE("--disk=a", "-db"), 0);
	assert_int_equal(cfs_args_count(&args, "disk"), 2);
	assert_string_equal(text_of("disk", 0), "a");
	assert_string_equal(text_of("disk", 1), "b");
	REFUSED("--disk is given more than 2 times", "-da", "-db", "-dc");
}

static void test_together(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--sized"), 0);
	REFUSED("--sized and --size exclude each other", "--sized", "-s1");
	REFUSED("--sized and --flag exclude each other", "-f", "--sized");
	assert_int_equal(PARSE("--limit=1", "-s1"), 0);
	REFUSED("--limit needs one of these options: "
		"--size, --sized",
		"--limit=1");
	assert_int_equal(PARSE("--flag"), 0);
	assert_int_equal(cfs_args_check(&args, "count flag", &err), 0);
	assert_int_equal(cfs_args_check(&args, "count age", &err), -EINVAL);
	assert_string_equal(err.msg, "one of these options is needed: "
				     "--count, --age");
}

static void test_own_before_common(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-f"), 0);
	assert_int_equal(cfs_args_count(&args, "flag"), 1);
	assert_int_equal(cfs_args_count(&args, "force"), 0);
	assert_int_equal(PARSE("--force"), 0);
	assert_int_equal(cfs_args_count(&args, "force"), 1);
	/* A common option whose name the verb took is not there at all. */
	REFUSED("unknown option '-F'", "-F");
	assert_true(cfs_args_knows(&args, "json"));
	assert_false(cfs_args_knows(&args, "yes"));
}

static void test_find_operand(void **state)
{
	char *argv[] = { (char *)"-n",  (char *)"x", (char *)"--name=y",
			 (char *)"-fE", (char *)"z", (char *)"ls",
			 (char *)"-f",  NULL };

	(void)state;
	assert_int_equal(PARSE("-f"), 0);
	assert_int_equal(cfs_args_find_operand(&args, 7, argv), 5);
	argv[2] = (char *)"--what";
	assert_int_equal(cfs_args_find_operand(&args, 7, argv), 2);
	assert_int_equal(cfs_args_find_operand(&args, 1, argv), 1);
}

static int teardown(void **state)
{
	(void)state;
	cfs_args_done(&args);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_optional),
		cmocka_unit_test(test_operands),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_own_before_common),
		cmocka_unit_test(test_find_operand),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
