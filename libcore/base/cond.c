/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cond.h"

#include <time.h>

#include "base/clock.h"

void cfs_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

int cfs_cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(ns / CFS_NS_PER_S);
	at.tv_nsec += (long)(ns % CFS_NS_PER_S);
	if (at.tv_nsec >= (long)CFS_NS_PER_S) {
		at.tv_nsec -= (long)CFS_NS_PER_S;
		at.tv_sec++;
	}
	return -pthread_cond_timedwait(cond, mutex, &at);
}
