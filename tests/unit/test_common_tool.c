/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A made-up tool, run as a user would: what stands on standard output and on
 * standard error, and with which status it ends.  Each case runs in a child
 * of its own, since signals and descriptors belong to a process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "common/cmd.h"
#include "common/progress.h"
#include "common/table.h"

static int run_ls(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	unsigned int i;

	table = cfs_table_new(cmd, "NAME|>SIZE");
	cfs_out_begin_array(cmd->out, "things");
	for (i = 0; i < cmd->operand_count; i++) {
		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "name", cmd->operands[i]);
		cfs_out_end(cmd->out);
		cfs_table_str(table, cmd->operands[i]);
		cfs_table_size(table, i * 1024);
	}
	cfs_out_end(cmd->out);
	return cfs_table_print(table, cmd);
}

/* Fails for operands that begin with 'x'; 'd' is damaged. */
static int run_try(struct cfs_cmd *cmd)
{
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int i;

	cmd->keeps_output = cfs_cmd_has(cmd, "keep");
	for (i = 0; i < cmd->operand_count; i++) {
		const char *name = cmd->operands[i];

		if (name[0] == 'x')
			(void)cfs_err_set(&err, -ENOENT, "no such thing");
		else if (name[0] == 'd')
			(void)cfs_err_set(&err, -EUCLEAN, "%s: bad sum", name);
		else
			continue;
		(void)cfs_cmd_fail(cmd, name, &err);
	}
	cfs_cmd_print(cmd, "result\n");
	cfs_cmd_say(cmd, "done\n");
	cfs_cmd_warn(cmd, "a\nwarning");
	cfs_cmd_detail(cmd, "detail");
	return 0;
}

static int run_rm(struct cfs_cmd *cmd)
{
	return cfs_cmd_confirm(cmd, cmd->operands[0], "all of %s", "it");
}

static int run_long(struct cfs_cmd *cmd)
{
	struct cfs_progress *p = cfs_progress_begin(cmd, "work", "bytes", 100);
	int i;

	cfs_cmd_progress(cmd, 50, 0);
	cfs_progress_end(p);
	cfs_cmd_progress(cmd, 60, 0);
	if (cfs_cmd_has(cmd, "kill"))
		(void)raise(SIGTERM);
	for (i = 0; i < 3; i++) {
		if (cfs_cmd_is_stopped(NULL))
			return cfs_err_set(&cmd->err, -EINTR, "stopped");
	}
	return 0;
}

static int run_raw(struct cfs_cmd *cmd)
{
	int r = 0, i;

	cfs_cmd_print(cmd, "never seen\n");
	for (i = 0; i < 100000 && r == 0; i++)
		r = cfs_cmd_write(cmd, "raw raw raw", 11, &cmd->err);
	return r;
}

static int run_watch(struct cfs_cmd *cmd)
{
	int i, r = 0;

	for (i = 0; i < 2 && r == 0; i++) {
		cfs_out_i64(cmd->out, "n", i);
		cfs_cmd_print(cmd, "n %d\n", i);
		r = cfs_cmd_stream(cmd);
	}
	return r;
}

static int run_status(struct cfs_cmd *cmd)
{
	cfs_cmd_print(cmd, "seen\n");
	cfs_cmd_raise(cmd, CFS_STATUS_DEVICE);
	cfs_cmd_raise(cmd, CFS_STATUS_NO_SPACE);
	return 0;
}

static int run_env(struct cfs_cmd *cmd)
{
	struct cfs_name name = CFS_NAME_INIT;
	size_t i;
	int r;

	for (i = 0; i < cmd->search_count; i++)
		cfs_cmd_print(cmd, "%s\n", cmd->search[i]);
	assert_null(cmd->search[i]);
	cfs_cmd_print(cmd, "%u\n", cmd->wait_seconds);
	r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);
	if (r < 0)
		return r;
	cfs_cmd_print(cmd, "%s %s\n", name.pool, name.volume);
	cfs_name_done(&name);
	return 0;
}

static const struct cfs_verb ls = {
	.name = "ls",
	.operands = "[THING...]",
	.help = "list things",
	.examples = "tool ls a b",
	.common = CFS_COMMON_READ,
	.items = "things",
	.max_operands = CFS_OPERANDS_MANY,
	.run = run_ls,
};
static const struct cfs_verb try = {
	.name = "try",
	.operands = "THING...",
	.help = "try things",
	.opts = CFS_OPTS({ .name = "keep", .help = "print all the same" }),
	.min_operands = 1,
	.max_operands = 3,
	.run = run_try,
};
static const struct cfs_verb rm = {
	.name = "rm",
	.operands = "THING",
	.help = "destroy a thing",
	.common = CFS_COMMON_DRY_RUN | CFS_COMMON_DESTROY,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_rm,
};
static const struct cfs_verb longer = {
	.name = "long",
	.help = "work for long",
	.opts = CFS_OPTS({ .name = "kill", .help = "be stopped" }),
	.common = CFS_COMMON_PROGRESS,
	.run = run_long,
};
static const struct cfs_verb raw = {
	.name = "raw",
	.help = "write bytes",
	.flags = CFS_VERB_NO_JSON,
	.run = run_raw,
};
static const struct cfs_verb watch = {
	.name = "watch",
	.help = "watch events",
	.run = run_watch,
};
static const struct cfs_verb status = {
	.name = "status",
	.help = "tell the state",
	.run = run_status,
};
static const struct cfs_verb env = {
	.name = "env",
	.operands = "NAME",
	.help = "show what is set",
	.common = CFS_COMMON_READ,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_env,
};
static const struct cfs_verb *const verbs[] = { &ls,     &try, &rm,
						&longer, &raw, &watch,
						&status, &env, NULL };
static const struct cfs_tool tool = {
	.name = "tool",
	.help = "a tool",
	.verbs = verbs,
};
static const struct cfs_verb bare_verb = {
	.operands = "THING",
	.help = "try one thing",
	.min_operands = 1,
	.max_operands = 1,
	.opts = CFS_OPTS({ .name = "keep", .help = "print all the same" }),
	.run = run_try,
};
static const struct cfs_verb *const bare_verbs[] = { &bare_verb, NULL };
static const struct cfs_tool bare = {
	.name = "bare",
	.help = "a tool without verbs",
	.verbs = bare_verbs,
};
static const struct cfs_verb *const mixed_verbs[] = { &bare_verb, &ls, NULL };
static const struct cfs_tool mixed = {
	.name = "mixed",
	.help = "both",
	.verbs = mixed_verbs,
};
static const struct cfs_tool fsck = {
	.name = "fsck",
	.help = "bits",
	.verbs = verbs,
	.is_fsck = true,
};

static char out[65536], errors[65536];
static const char *stdout_path; /* NULL: a file that is read back */

static void read_back(int fd, char *to)
{
	ssize_t n = pread(fd, to, 65535, 0);

	assert_true(n >= 0);
	to[n] = '\0';
	close(fd);
}

static int temp(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Run in a child; the wait status. */
static int run_tool(const struct cfs_tool *t, const char *const *words)
{
	int out_fd = temp(), err_fd = temp(), argc = 0, wait_status;
	char *argv[16] = { NULL };
	pid_t pid;

	for (; words[argc]; argc++)
		memcpy(&argv[argc], &words[argc], sizeof(char *));
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int fd = stdout_path ? open(stdout_path, O_WRONLY) : out_fd;
		int null = open("/dev/null", O_RDONLY);

		/* A child that hangs must not hang the test. */
		alarm(20);
		dup2(null, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(err_fd, STDERR_FILENO);
		_exit(cfs_tool_main(t, argc, argv));
	}
	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	read_back(out_fd, out);
	read_back(err_fd, errors);
	return wait_status;
}

/* The exit status; of a signal, its number below 0. */
static int run(const struct cfs_tool *t, const char *const *words)
{
	int wait_status = run_tool(t, words);

	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
				      : -WTERMSIG(wait_status);
}

#define RUN(t, ...) run(t, (const char *const[]){ __VA_ARGS__, NULL })

#define EXPECT(status_, out_, errors_, ...)                                    \
	do {                                                                   \
		assert_int_equal(RUN(__VA_ARGS__), status_);                   \
		assert_string_equal(out, out_);                                \
		assert_string_equal(errors, errors_);                          \
	} while (0)

static void test_usage(void **state)
{
	(void)state;
	EXPECT(2, "",
	       "tool: try: unknown option '--foo': "
	       "Try 'tool try --help'.\n",
	       &tool, "tool", "try", "a", "--foo");
	EXPECT(2, "", "tool: unknown option '--foo': Try 'tool --help'.\n",
	       &tool, "tool", "--foo", "try");
	EXPECT(2, "", "tool: unknown verb 'tr': Try 'tool --help'.\n", &tool,
	       "tool", "tr");
	EXPECT(2, "", "tool: no verb is given: Try 'tool --help'.\n", &tool,
	       "tool");
	EXPECT(2, "",
	       "tool: try: no operand is given: "
	       "Try 'tool try --help'.\n",
	       &tool, "tool", "try");
	EXPECT(2, "",
	       "tool: rm: 'b' is one operand too many: "
	       "Try 'tool rm --help'.\n",
	       &tool, "tool", "rm", "a", "b");
	EXPECT(2, "", "bare: unknown option '-z': Try 'bare --help'.\n", &bare,
	       "bare", "-z");
	EXPECT(16, "",
	       "fsck: rm: unknown option '-z': "
	       "Try 'fsck rm --help'.\n",
	       &fsck, "fsck", "rm", "-z", "a");
	/* One line, whatever is in it. */
	EXPECT(2, "", "tool: unknown verb 'a?b': Try 'tool --help'.\n", &tool,
	       "tool", "a\nb");
}

static void test_help(void **state)
{
	char *line;

	(void)state;
	assert_int_equal(RUN(&tool, "tool", "rm", "--help"), 0);
	assert_string_equal(errors, "");
	assert_memory_equal(out,
			    "Usage: tool rm [OPTION...] THING\n\n"
			    "Destroy a thing.\n\nOptions:\n",
			    60);
	assert_non_null(strstr(out, "\n  -y, --yes               destroy "
				    "data without asking\n"));
	assert_null(strstr(out, "--wait")); /* not for this verb */
	assert_null(strstr(out, "--list-verbs"));
	assert_int_equal(RUN(&tool, "tool", "-h"), 0);
	assert_non_null(strstr(out, "\n  try THING...            try "
				    "things\n"));
	for (line = strtok(out, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 80);
	EXPECT(0, "tool (cfs) " CFS_VERSION "\n", "", &tool, "tool", "-V");
	EXPECT(0, "tool (cfs) " CFS_VERSION "\n", "", &tool, "tool", "ls",
	       "--version");
}

static void test_verb_lookup(void **state)
{
	(void)state;
	EXPECT(0, "result\n", "", &tool, "tool", "-q", "try", "a");
	EXPECT(0, "NAME   SIZE\na       0 B\nb     1 KiB\n", "", &tool, "tool",
	       "--search", "try", "ls", "a", "b");
	EXPECT(0, "result\n", "", &mixed, "mixed", "-q", "a");
	EXPECT(0, "NAME  SIZE\na      0 B\n", "", &mixed, "mixed", "ls", "a");
	EXPECT(0, "result\n", "", &mixed, "mixed", "--keep", "-q", "ls");
}

static void test_json(void **state)
{
	(void)state;
	assert_int_equal(RUN(&tool, "tool", "ls", "--json"), 0);
	assert_non_null(strstr(out, "\"schema\": \"cfs.tool.ls\""));
	assert_non_null(strstr(out, "\"version\": 1"));
	assert_non_null(strstr(out, "\"things\": []"));
	assert_int_equal(RUN(&tool, "tool", "ls", "--json-lines", "a", "b"), 0);
	assert_string_equal(out, "{\"name\":\"a\"}\n{\"name\":\"b\"}\n");
	assert_int_equal(RUN(&bare, "bare", "--json", "a"), 0);
	assert_non_null(strstr(out, "\"schema\": \"cfs.bare\""));
	assert_int_equal(RUN(&tool, "tool", "raw", "--json"), 2);
}

static void test_failures(void **state)
{
	(void)state;
	/* Each is tried and named, once; the highest status counts. */
	EXPECT(7, "", "tool: x: no such thing\ntool: d: bad sum\n", &tool,
	       "tool", "try", "-q", "x", "d", "a");
	EXPECT(7, "", "tool: d: bad sum\ntool: x: no such thing\n", &tool,
	       "tool", "try", "-q", "d", "x");
	EXPECT(3, "", "tool: x\\x0ay: no such thing\n", &tool, "tool", "try",
	       "-q", "x\ny");
	EXPECT(3, "result\n", "tool: x: no such thing\n", &tool, "tool", "try",
	       "--keep", "-q", "x");
	EXPECT(12, "", "fsck: x: no such thing\nfsck: d: bad sum\n", &fsck,
	       "fsck", "try", "-q", "x", "d");
	EXPECT(9, "seen\n", "", &tool, "tool", "status");
}

static void test_chatter(void **state)
{
	(void)state;
	EXPECT(0, "result\ndone\n", "tool: a?warning\n", &tool, "tool", "try",
	       "a");
	EXPECT(0, "result\ndone\n", "tool: a?warning\ntool: detail\n", &tool,
	       "tool", "try", "a", "-v");
	EXPECT(0, "result\n", "", &tool, "tool", "try", "a", "-q");
}

static void test_confirm(void **state)
{
	(void)state;
	EXPECT(5, "",
	       "tool: a: this destroys all of it: give --yes to do "
	       "it\n",
	       &tool, "tool", "rm", "a");
	EXPECT(0, "", "", &tool, "tool", "rm", "-y", "a");
	EXPECT(0, "", "", &tool, "tool", "rm", "-n", "a");
	EXPECT(8, "",
	       "fsck: a: this destroys all of it: give --yes to do "
	       "it\n",
	       &fsck, "fsck", "rm", "a");
}

static void test_progress(void **state)
{
	(void)state;
	EXPECT(0, "", "", &tool, "tool", "long");
	EXPECT(0, "", "", &tool, "tool", "long", "--progress=never");
	assert_int_equal(RUN(&tool, "tool", "long", "--progress=json"), 0);
	assert_non_null(strstr(errors, "\"schema\":\"cfs.tool.progress\""));
	assert_non_null(strstr(errors, "\"done\":50"));
	assert_non_null(strstr(errors, "\"total\":100"));
	assert_non_null(strstr(errors, "\"is_done\":true}\n"));
	assert_int_equal(RUN(&tool, "tool", "long", "--progress=always"), 0);
	assert_non_null(strstr(errors, "work: 50 B of 100 B, 50 %, "));
}

static void test_signals(void **state)
{
	const char *const words[] = { "tool", "long", "--kill", NULL };
	int wait_status;

	(void)state;
	wait_status = run_tool(&tool, words);
	assert_true(WIFSIGNALED(wait_status));
	assert_int_equal(WTERMSIG(wait_status), SIGTERM);
	assert_string_equal(errors, "tool: stopped\n");
	/* fsck(8) has a bit for it, and a bit is no signal. */
	wait_status = run_tool(&fsck, words);
	assert_int_equal(WEXITSTATUS(wait_status), 32);
}

static void test_full_disk(void **state)
{
	(void)state;
	stdout_path = "/dev/full";
	EXPECT(6, "", "tool: standard output: No space left on device\n", &tool,
	       "tool", "ls", "a");
	EXPECT(6, "", "tool: standard output: No space left on device\n", &tool,
	       "tool", "ls", "--json", "a");
	EXPECT(6, "", "tool: standard output: No space left on device\n", &tool,
	       "tool", "raw");
	EXPECT(6, "", "tool: standard output: No space left on device\n", &tool,
	       "tool", "--help");
	/* Nothing to say: nothing can fail. */
	EXPECT(0, "", "", &tool, "tool", "rm", "-y", "a");
	stdout_path = NULL;
}

/* A pipe whose reader is gone, under a name that a child can open. */
static void test_closed_pipe(void **state)
{
	const char *const words[] = { "tool", "raw", NULL };
	char path[64];
	int fds[2], wait_status;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[1]);
	close(fds[0]);
	stdout_path = path;
	signal(SIGPIPE, SIG_DFL);
	wait_status = run_tool(&tool, words);
	assert_string_equal(errors, "");
	assert_true(WIFSIGNALED(wait_status) &&
		    WTERMSIG(wait_status) == SIGPIPE);
	/* The work of these was done before anything was written. */
	EXPECT(0, "", "", &tool, "tool", "ls", "a");
	EXPECT(9, "", "", &tool, "tool", "status");
	stdout_path = NULL;
	close(fds[1]);
}

static void test_stream(void **state)
{
	(void)state;
	EXPECT(0, "n 0\nn 1\n", "", &tool, "tool", "watch");
	EXPECT(0,
	       "{\"schema\":\"cfs.tool.watch\",\"version\":1,\"n\":0}\n"
	       "{\"schema\":\"cfs.tool.watch\",\"version\":1,\"n\":1}\n",
	       "", &tool, "tool", "watch", "--json-lines");
}

static void test_environment(void **state)
{
	(void)state;
	setenv("CFS_SEARCH", "/c::/d", 1);
	setenv("CFS_POOL", "/p", 1);
	EXPECT(0, "/a\n/b\n/c\n/d\n3\n/p v\n", "", &tool, "tool", "env",
	       "--search=/a", ":v", "--search", "/b", "--wait", "2500ms");
	unsetenv("CFS_POOL");
	unsetenv("CFS_SEARCH");
	EXPECT(0, "10\np v\n", "", &tool, "tool", "env", "p:v");
	EXPECT(2, "",
	       "tool: :v: a name that begins with ':' needs a pool in "
	       "$CFS_POOL\n",
	       &tool, "tool", "env", ":v");
}

static void test_lists(void **state)
{
	(void)state;
	assert_int_equal(RUN(&tool, "tool", "--list-verbs"), 0);
	assert_non_null(strstr(out, "try\tTHING...\ttry things\n"));
	assert_int_equal(RUN(&tool, "tool", "--list-options"), 0);
	assert_non_null(strstr(out, "*\thelp\th\t-\tflag\t-\tshow this help "
				    "and exit\n"));
	assert_non_null(strstr(out, "long\tprogress\t-\tauto|always|never|json"
				    "\tchoice\tauto always never json\t"));
	assert_null(strstr(out, "list-options"));
	assert_int_equal(RUN(&bare, "bare", "--list-options", "--json"), 0);
	assert_non_null(strstr(out, "\"name\": \"keep\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_verb_lookup),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_chatter),
		cmocka_unit_test(test_confirm),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_closed_pipe),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_lists),
	};

	unsetenv("CFS_POOL");
	unsetenv("CFS_SEARCH");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
