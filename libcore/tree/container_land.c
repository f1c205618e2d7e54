/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Data on its way: writes of many at the same time.
 *
 * A write of whole blocks makes its records in an operation, under the lock,
 * and writes the data behind it without.  Until that has landed, records name
 * blocks whose content is not there yet.  What must stay true:
 *
 *  - no frame and no root is written that names them: a sync and a commit wait
 *    until all has landed, and so does whoever takes the lock to read;
 *  - who reads without the lock finds that such a block does not verify, and
 *    takes the lock;
 *  - whoever waits goes first: no write departs while somebody waits, or the
 *    wait might have no end;
 *  - what could not be written is put into memory by an operation of its own
 *    before it counts as landed, or the container is closed for writing.
 */
#include "tree/container_priv.h"

#include <assert.h>

void cfs_container_drain_locked(struct cfs_container *c)
{
	if (atomic_load(&c->flight_count) == 0)
		return;
	c->draining++;
	while (atomic_load(&c->flight_count))
		pthread_cond_wait(&c->landed, &c->lock);
	if (--c->draining == 0)
		pthread_cond_broadcast(&c->landed);
}

void cfs_container_depart(struct cfs_container *c)
{
	assert(c->in_op);
	atomic_fetch_add(&c->flight_count, 1);
}

/* Only the last one has something to tell; who waits has looked under the
 * lock, so it hears of it. */
void cfs_container_land(struct cfs_container *c)
{
	const unsigned int before = atomic_fetch_sub(&c->flight_count, 1);

	assert(before);
	if (before > 1)
		return;
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->landed);
	pthread_mutex_unlock(&c->lock);
}
