/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conditions that are waited for with an end, by a clock that nobody sets: what
 * waits for a moment must not wait for hours because somebody put the time of
 * day right.  Any thread.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

/* For cfs_cond_wait_ns; pthread_cond_destroy ends it. */
void cfs_cond_init(pthread_cond_t *cond);

/*
 * With @mutex: wait for a signal, at most @ns from now.  As with any
 * condition, it may come back without one: the caller looks again.
 * 0; -ETIMEDOUT.
 */
int cfs_cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns);
