/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * COMMAND of `leasectl run`: a process group of its own, in the foreground if
 * we are, which gets the signals that we get.
 *
 * A second process of ours, the guard, sleeps until we are gone: if we are
 * killed nobody renews the lease any more, and so the guard ends COMMAND.  It
 * was forked beside threads and does only what is safe then.
 *
 * The group lives until all of it is gone or the guard is told that all is
 * done, so its number is not another's meanwhile: COMMAND itself is waited for
 * behind that.
 */
#include "leasectl/leasectl.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 100
#define KILL_NS CFS_NS_PER_S /* behind SIGTERM */

struct command {
	pid_t pid; /* and its process group */
	pid_t guard;
	int guard_fd; /* its end: we are gone */
	int signal_fd;
	int tty; /* -1: not ours to give */
	sigset_t before;
	bool is_ending;
	uint64_t kill_ns;
};

static const int passed_on[] = {
	SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM,
};

/* ---- beginning ----------------------------------------------------------- */

/* Async-signal-safe, as is all behind a fork. */
static void nap(long milliseconds)
{
	struct timespec ts = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000,
	};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

static void be_guard(pid_t group, int fd)
{
	ssize_t n;
	char done;

	do {
		n = read(fd, &done, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1 && kill(-group, SIGTERM) == 0) {
		(void)kill(-group, SIGCONT);
		nap(1000);
		(void)kill(-group, SIGKILL);
	}
	_exit(0);
}

static int start_guard(struct command *c)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	c->guard = fork();
	if (c->guard == 0) {
		(void)setpgid(0, 0); /* not hit by what hits our group */
		(void)close(fds[1]);
		/* Open files, a terminal or a pipe, are not kept by it. */
		if (fds[0] != 0 && dup2(fds[0], 0) < 0)
			_exit(1);
		(void)close_range(1, ~0u, 0);
		be_guard(c->pid, 0);
	}
	close(fds[0]);
	if (c->guard < 0) {
		close(fds[1]);
		return -errno;
	}
	c->guard_fd = fds[1];
	return 0;
}

static void be_command(const struct command *c, char *const *argv, int go_fd)
{
	char go;
	int code;

	(void)setpgid(0, 0);
	/* When the guard stands. */
	if (read(go_fd, &go, 1) != 1)
		_exit(126);
	cfs_cmd_restore_signals();
	(void)sigprocmask(SIG_SETMASK, &c->before, NULL);
	execvp(argv[0], argv);
	code = errno;
	dprintf(STDERR_FILENO, "leasectl: %s: %s\n", argv[0], strerror(code));
	_exit(code == ENOENT ? 127 : 126);
}

static void block_signals(struct command *c)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < CFS_ARRAY_COUNT(passed_on); i++)
		sigaddset(&set, passed_on[i]);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTTOU); /* giving the terminal away */
	pthread_sigmask(SIG_BLOCK, &set, &c->before);
	sigdelset(&set, SIGTTOU);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void give_terminal(const struct command *c, pid_t group)
{
	if (c->tty >= 0)
		(void)tcsetpgrp(c->tty, group);
}

static int start(struct command *c, char *const *argv)
{
	int go[2], r;

	if (c->signal_fd < 0 || pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	c->pid = fork();
	if (c->pid == 0) {
		(void)close(go[1]);
		be_command(c, argv, go[0]);
	}
	r = c->pid < 0 ? -errno : 0;
	close(go[0]);
	if (r == 0) {
		(void)setpgid(c->pid, c->pid);
		r = start_guard(c);
	}
	if (r == 0) {
		give_terminal(c, c->pid);
		if (write(go[1], "", 1) != 1)
			r = -EIO;
	}
	close(go[1]); /* without a word it ends */
	if (r < 0 && c->pid > 0)
		(void)waitpid(c->pid, NULL, 0);
	return r;
}

/* ---- while it runs ------------------------------------------------------- */

static void signal_group(const struct command *c, int number)
{
	(void)kill(-c->pid, number);
}

/* It was stopped at the terminal, and so are we until we go on. */
static void stop_too(const struct command *c)
{
	give_terminal(c, getpgrp());
	(void)raise(SIGSTOP);
	if (c->tty >= 0 && tcgetpgrp(c->tty) == getpgrp())
		give_terminal(c, c->pid);
	signal_group(c, SIGCONT);
}

/* It ended, which leaves it to be waited for; or it was stopped. */
static bool has_ended(struct command *c)
{
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)c->pid, &info,
		   WEXITED | WSTOPPED | WNOHANG | WNOWAIT) < 0)
		return true;
	if (info.si_pid == 0)
		return false;
	if (info.si_code != CLD_STOPPED)
		return true;
	(void)waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WNOHANG);
	if (c->tty >= 0)
		stop_too(c);
	return false;
}

static void take_signals(struct command *c)
{
	struct signalfd_siginfo info;

	while (read(c->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			signal_group(c, (int)info.ssi_signo);
}

static void end_it(struct command *c)
{
	uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());

	if (!c->is_ending) {
		c->is_ending = true;
		c->kill_ns = now_ns + KILL_NS;
		signal_group(c, SIGTERM);
		signal_group(c, SIGCONT);
	} else if (now_ns >= c->kill_ns) {
		signal_group(c, SIGKILL);
	}
}

static void follow(struct command *c, const struct leasectl_command *what)
{
	struct pollfd fds[] = {
		{ .fd = c->signal_fd, .events = POLLIN },
		{ .fd = what->wake_fd, .events = POLLIN },
	};
	uint64_t count;

	while (!has_ended(c)) {
		if (poll(fds, CFS_ARRAY_COUNT(fds), LOOK_MS) > 0 &&
		    (fds[1].revents & POLLIN) &&
		    read(what->wake_fd, &count, sizeof(count)) < 0)
			fds[1].fd = -1;
		take_signals(c);
		if (c->is_ending || !what->goes_on(what->arg))
			end_it(c);
	}
}

/* COMMAND has ended; its group, if it must not go on, now ends too. */
static int finish(struct command *c)
{
	int status = 0;

	if (c->is_ending)
		signal_group(c, SIGKILL);
	if (write(c->guard_fd, "", 1) != 1)
		signal_group(c, SIGTERM);
	close(c->guard_fd);
	while (waitpid(c->guard, NULL, 0) < 0 && errno == EINTR)
		;
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	give_terminal(c, getpgrp());
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

int leasectl_command(struct cfs_cmd *cmd, const struct leasectl_command *what,
		     bool *ret_was_ended)
{
	struct command c = { .tty = -1, .guard_fd = -1 };
	int r;

	if (isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp())
		c.tty = STDIN_FILENO;
	block_signals(&c);
	/* What came before they were ours to pass on was meant for it too. */
	r = cfs_cmd_is_stopped(NULL) ? -EINTR : start(&c, what->argv);
	if (r < 0) {
		cfs_err_errno(&cmd->err, r, "%s", what->argv[0]);
	} else {
		follow(&c, what);
		r = finish(&c);
	}
	*ret_was_ended = c.is_ending;
	if (c.signal_fd >= 0)
		close(c.signal_fd);
	pthread_sigmask(SIG_SETMASK, &c.before, NULL);
	return r;
}
