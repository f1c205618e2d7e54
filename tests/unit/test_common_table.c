/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tables align and escape; trees draw their lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "common/table.h"

static struct cfs_cmd cmd;

static int setup(void **state)
{
	(void)state;
	memset(&cmd, 0, sizeof(cmd));
	cmd.text = open_memstream(&cmd.text_buf, &cmd.text_bytes);
	return cmd.text ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	fclose(cmd.text);
	free(cmd.text_buf);
	return 0;
}

static void expect(const char *text)
{
	fflush(cmd.text);
	assert_string_equal(cmd.text_buf, text);
}

static void test_align(void **state)
{
	struct cfs_table *table = cfs_table_new(&cmd, "NAME|>SIZE|NOTE");

	(void)state;
	cfs_table_str(table, "vm0");
	cfs_table_size(table, 1536);
	cfs_table_str(table, "x");
	cfs_table_str(table, "a-longer-name");
	cfs_table_size(table, 0);
	cfs_table_str(table, NULL);
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cfs_table_free(table);
	expect("NAME              SIZE  NOTE\n"
	       "vm0            1.5 KiB  x\n"
	       "a-longer-name      0 B  -\n");
}

static void add_rows(struct cfs_table *table)
{
	char wide[400];

	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	cfs_table_str(table, "a\tb");
	cfs_table_u64(table, 12345);
	cfs_table_str(table, NULL);
	cfs_table_str(table, wide);
	cfs_table_u64(table, 7);
	cfs_table_str(table, "\xc3\xa4");
}

/* A long one looks like one whose cells were kept. */
static void test_flow(void **state)
{
	struct cfs_table *kept = cfs_table_new(&cmd, "NAME|>N|NOTE");
	struct cfs_table *flown = cfs_table_new(&cmd, "NAME|>N|NOTE");
	char *text;

	(void)state;
	add_rows(kept);
	assert_int_equal(cfs_table_print(kept, &cmd), 0);
	fflush(cmd.text);
	text = strdup(cmd.text_buf);
	assert_non_null(text);
	assert_non_null(strstr(text, "a\\x09b  "));
	rewind(cmd.text);
	cfs_table_measure(flown);
	add_rows(flown);
	fflush(cmd.text);
	assert_int_equal(cmd.text_bytes, 0);
	assert_int_equal(cfs_table_flow(flown, &cmd), 0);
	add_rows(flown);
	expect(text);
	free(text);
	cfs_table_free(kept);
	cfs_table_free(flown);
}

static void test_bytes_and_empty(void **state)
{
	struct cfs_table *table = cfs_table_new(&cmd, "A|>B");

	(void)state;
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cmd.is_bytes = true;
	cfs_table_u64(table, 7);
	cfs_table_size(table, 1048576);
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cfs_table_free(table);
	expect("A  B\nA        B\n7  1048576\n");
}

static void test_escapes_and_width(void **state)
{
	struct cfs_table *table = cfs_table_new(&cmd, "A|B");

	(void)state;
	cfs_table_str(table, "\xc3\xa4\xc3\xb6"); /* two characters */
	cfs_table_str(table, "x");
	cfs_table_str(table, "a\033[2J");
	cfs_table_str(table, "y");
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cfs_table_free(table);
	expect("A         B\n"
	       "\xc3\xa4\xc3\xb6        x\n"
	       "a\\x1b[2J  y\n");
}

static void test_color(void **state)
{
	struct cfs_table *table = cfs_table_new(&cmd, "A|B");

	(void)state;
	cfs_table_str(table, "bad");
	cfs_table_color(table, CFS_COLOR_BAD);
	cfs_table_str(table, "x");
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cmd.has_color = true;
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cfs_table_free(table);
	expect("A    B\nbad  x\n"
	       "\033[1mA\033[0m    \033[1mB\033[0m\n\033[31mbad\033[0m  x\n");
}

static void test_facts_and_time(void **state)
{
	struct cfs_table *table = cfs_table_new_facts(&cmd);

	(void)state;
	cfs_table_str(table, "name:");
	cfs_table_str(table, "vm0");
	cfs_table_str(table, "created:");
	cfs_table_time(table, UINT64_C(1700000000123456789));
	cfs_table_str(table, "gone:");
	cfs_table_time(table, 0);
	assert_int_equal(cfs_table_print(table, &cmd), 0);
	cfs_table_free(table);
	expect("name:     vm0\n"
	       "created:  2023-11-14T22:13:20Z\n"
	       "gone:     -\n");
}

static void test_no_memory(void **state)
{
	(void)state;
	cfs_table_str(NULL, "x");
	cfs_table_size(NULL, 1);
	assert_int_equal(cfs_table_print(NULL, &cmd), -ENOMEM);
	assert_int_equal(cmd.err.code, -ENOMEM);
	cfs_table_free(NULL);
}

static void test_tree(void **state)
{
	static const struct cfs_draw_node nodes[] = {
		{ "vm0", 0 }, { "@a", 0 }, { "vm0/c1", 1 }, { "@b", 0 },
		{ "t\n", 4 }, { "@s", 4 }, { "@x", 2 },
	};

	(void)state;
	setenv("LC_ALL", "C", 1);
	cfs_draw_tree(&cmd, nodes, CFS_ARRAY_COUNT(nodes));
	expect("vm0\n"
	       "|- @a\n"
	       "|  `- vm0/c1\n"
	       "|     `- @x\n"
	       "`- @b\n"
	       "t\\x0a\n"
	       "`- @s\n");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_align),           CASE(test_flow),
		CASE(test_bytes_and_empty), CASE(test_escapes_and_width),
		CASE(test_color),           CASE(test_facts_and_time),
		CASE(test_no_memory),       CASE(test_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
