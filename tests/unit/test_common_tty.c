/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is different on a terminal: questions, colour, the progress line.  The
 * tool runs as the leader of a pseudo terminal, which the test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cmd.h"
#include "common/progress.h"
#include "common/table.h"

static int run_rm(struct cfs_cmd *cmd)
{
	return cfs_cmd_confirm(cmd, cmd->operands[0], "all of\n%s", "it");
}

static int run_ls(struct cfs_cmd *cmd)
{
	struct cfs_table *table = cfs_table_new(cmd, "NAME");
	int r = cfs_table_print(table, cmd);

	cfs_table_free(table);
	return r;
}

static void nap(void)
{
	const struct timespec ts = { .tv_nsec = 10 * 1000 * 1000 };

	nanosleep(&ts, NULL);
}

static int run_work(struct cfs_cmd *cmd)
{
	struct cfs_progress *p = cfs_progress_begin(cmd, "work", "bytes", 200);
	uint64_t i;

	for (i = 1; i <= 130 && !cfs_cmd_is_stopped(NULL); i++) {
		cfs_cmd_progress(cmd, i, 0);
		nap();
	}
	cfs_cmd_warn(cmd, "a warning");
	cfs_progress_end(p);
	return 0;
}

/* Two signals: the first is only noted, the second ends the process. */
static int run_stubborn(struct cfs_cmd *cmd)
{
	(void)cmd;
	(void)raise(SIGINT);
	(void)raise(SIGTERM);
	return 0;
}

/* A look at progress: one line, at once, though nothing is drawn yet. */
static int run_asked(struct cfs_cmd *cmd)
{
	struct cfs_progress *p = cfs_progress_begin(cmd, "work", "nodes", 200);

	cfs_cmd_progress(cmd, 10, 0);
	(void)raise(SIGUSR1);
	cfs_cmd_progress(cmd, 20, 0);
	cfs_progress_end(p);
	return 0;
}

static const struct cfs_verb rm = {
	.name = "rm",
	.operands = "THING",
	.help = "destroy a thing",
	.common = CFS_COMMON_DESTROY,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_rm,
};
static const struct cfs_verb ls = {
	.name = "ls",
	.help = "list things",
	.run = run_ls,
};
static const struct cfs_verb work = {
	.name = "work",
	.help = "work",
	.common = CFS_COMMON_PROGRESS,
	.run = run_work,
};
static const struct cfs_verb stubborn = {
	.name = "stubborn",
	.help = "do not stop",
	.run = run_stubborn,
};
static const struct cfs_verb asked = {
	.name = "asked",
	.help = "be asked",
	.common = CFS_COMMON_PROGRESS,
	.run = run_asked,
};
static const struct cfs_verb *const verbs[] = { &rm,       &ls,    &work,
						&stubborn, &asked, NULL };
static const struct cfs_tool tool = {
	.name = "tool",
	.help = "a tool",
	.verbs = verbs,
};

static char seen[65536];

/* Run on a terminal that types @input; what it showed is in seen. */
static int run(const char *input, const char *const *words)
{
	char *argv[8] = { NULL };
	size_t used = 0;
	int argc = 0, fd, wait_status;
	ssize_t n;
	pid_t pid;

	for (; words[argc]; argc++)
		memcpy(&argv[argc], &words[argc], sizeof(char *));
	pid = forkpty(&fd, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (!pid) {
		alarm(20);
		_exit(cfs_tool_main(&tool, argc, argv));
	}
	assert_int_equal(write(fd, input, strlen(input)), strlen(input));
	while (used < sizeof(seen) - 1) {
		n = read(fd, seen + used, sizeof(seen) - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	seen[used] = '\0';
	close(fd);
	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
				      : -WTERMSIG(wait_status);
}

#define RUN(input, ...)                                                        \
	run(input, (const char *const[]){ "tool", __VA_ARGS__, NULL })

static void test_question(void **state)
{
	(void)state;
	assert_int_equal(RUN("y\n", "rm", "a"), 0);
	assert_non_null(strstr(seen, "tool: a: this destroys all of?it. "
				     "Go on? [y/N] "));
	assert_int_equal(RUN("n\n", "rm", "a"), 5);
	assert_non_null(strstr(seen, "tool: a: not done, nothing was "
				     "changed\r\n"));
	assert_int_equal(RUN("\n", "rm", "a"), 5);
	assert_int_equal(RUN("\004", "rm", "a"), 5); /* end of input */
	assert_int_equal(RUN("", "rm", "-y", "a"), 0);
	assert_string_equal(seen, "");
}

static void test_color(void **state)
{
	(void)state;
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	assert_int_equal(RUN("", "ls"), 0);
	assert_string_equal(seen, "\033[1mNAME\033[0m\r\n");
	assert_int_equal(RUN("", "ls", "--color=never"), 0);
	assert_string_equal(seen, "NAME\r\n");
	setenv("NO_COLOR", "1", 1);
	assert_int_equal(RUN("", "ls"), 0);
	assert_string_equal(seen, "NAME\r\n");
	assert_int_equal(RUN("", "ls", "--color=always"), 0);
	assert_string_equal(seen, "NAME\r\n");
}

static void test_line(void **state)
{
	(void)state;
	assert_int_equal(RUN("", "work"), 0);
	assert_non_null(strstr(seen, " B of 200 B, "));
	assert_null(strstr(seen, "work: 1 B")); /* not in the first second */
	/* A message takes the line away first. */
	assert_non_null(strstr(seen, "\r\033[Ktool: a warning\r\n"));
	assert_int_equal(RUN("", "work", "-q"), 0);
	assert_string_equal(seen, "");
	assert_int_equal(RUN("", "asked", "--progress=never"), 0);
	assert_non_null(strstr(seen, "work: 20 nodes of 200 nodes, 10 %"));
	assert_null(strstr(seen, "10 nodes"));
}

static void test_second_signal(void **state)
{
	(void)state;
	assert_int_equal(RUN("", "stubborn"), -SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_color),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_second_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
