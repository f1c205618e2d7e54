/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Signals end a tool cleanly: the handler only sets a flag, which libcore
 * polls through cfs_cmd_is_stopped and which a blocked system call notices by
 * EINTR (no SA_RESTART).  A second signal ends the process at once; the pool
 * is safe either way, only throwaway things may be left for the next tool.
 *
 * SIGPIPE is ignored, so that a peer that hangs up is an error of one call
 * and not the end of the process; tool.c ends quietly when it was standard
 * output.
 */
#include "common/tool_priv.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_int stop_signal;
static atomic_int usr1_count;
static bool are_installed;
static struct sigaction old_int, old_term, old_usr1, old_pipe;

static void on_stop(int signal)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&stop_signal, &none, signal))
		return;
	/* The second one: unblocked when the handler returns. */
	(void)sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL },
			NULL);
	(void)raise(signal);
}

static void on_usr1(int signal)
{
	(void)signal;
	atomic_store(&usr1_count, 1);
}

void cfs_signals_install(void)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	sigemptyset(&act.sa_mask);
	act.sa_handler = on_stop;
	(void)sigaction(SIGINT, &act, &old_int);
	(void)sigaction(SIGTERM, &act, &old_term);
	act.sa_handler = on_usr1;
	act.sa_flags = SA_RESTART; /* a look at progress disturbs nothing */
	(void)sigaction(SIGUSR1, &act, &old_usr1);
	act.sa_handler = SIG_IGN;
	act.sa_flags = 0;
	(void)sigaction(SIGPIPE, &act, &old_pipe);
	are_installed = true;
}

void cfs_cmd_restore_signals(void)
{
	if (!are_installed)
		return;
	(void)sigaction(SIGINT, &old_int, NULL);
	(void)sigaction(SIGTERM, &old_term, NULL);
	(void)sigaction(SIGUSR1, &old_usr1, NULL);
	(void)sigaction(SIGPIPE, &old_pipe, NULL);
}

void cfs_signals_die(int signal)
{
	sigset_t set;

	(void)sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL },
			NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)raise(signal);
}

bool cfs_signals_take_usr1(void)
{
	return atomic_exchange(&usr1_count, 0) != 0;
}

bool cfs_cmd_is_stopped(void *unused)
{
	(void)unused;
	return atomic_load(&stop_signal) != 0;
}

int cfs_cmd_stop_signal(void)
{
	return atomic_load(&stop_signal);
}

void cfs_cmd_clear_stop(void)
{
	atomic_store(&stop_signal, 0);
}
