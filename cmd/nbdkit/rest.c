/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An export that nobody uses at the moment should not keep the memory that it
 * took when many did.  nbdkit has no call for that, so a thread looks.
 */
#include "nbdkit/plugin.h"

#include "base/clock.h"
#include "base/cond.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define QUIET_LOOKS 3u /* a second apart */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_t thread;
static bool is_running, is_ending;
static atomic_uint_fast64_t calls;

/* False: it is to end. */
static bool sleep_a_little(void)
{
	bool goes_on;

	pthread_mutex_lock(&lock);
	if (!is_ending)
		(void)cfs_cond_wait_ns(&changed, &lock, CFS_NS_PER_S);
	goes_on = !is_ending;
	pthread_mutex_unlock(&lock);
	return goes_on;
}

static void *look(void *arg)
{
	uint64_t seen = 0, rested = 0, now;
	unsigned int quiet = 0;

	while (sleep_a_little()) {
		now = atomic_load(&calls);
		quiet = now == seen ? quiet + 1 : 0;
		seen = now;
		if (now == rested || quiet < QUIET_LOOKS)
			continue;
		rested = now;
		pool_rest();
	}
	return arg;
}

void rest_not_yet(void)
{
	atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

int rest_begin(void)
{
	sigset_t all, before;
	int code;

	cfs_cond_init(&changed);
	/* Signals are for nbdkit's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&thread, NULL, look, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	is_running = code == 0;
	return code;
}

void rest_end(void)
{
	if (!is_running)
		return;
	pthread_mutex_lock(&lock);
	is_ending = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&changed);
	is_running = false;
}
